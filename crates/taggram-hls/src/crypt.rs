//! AES-128 in CBC mode with PKCS #7 padding, as whole segments are encrypted (RFC 8216 §4.3.2.4).

use aes::cipher::{BlockModeDecrypt, KeyIvInit};

use crate::HlsError;

/// Decrypts a segment in place.
///
/// # Errors
/// The length is no multiple of 16, or the padding is wrong: a wrong key or cut bytes.
pub fn decrypt(mut bytes: Vec<u8>, key: &[u8; 16], iv: &[u8; 16]) -> Result<Vec<u8>, HlsError> {
    if bytes.is_empty() || !bytes.len().is_multiple_of(16) {
        return Err(HlsError::malformed(format!(
            "an encrypted segment has {} bytes, which is no multiple of 16",
            bytes.len()
        )));
    }
    let mut cipher = cbc::Decryptor::<aes::Aes128>::new(key.into(), iv.into());
    for block in bytes.as_chunks_mut::<16>().0 {
        cipher.decrypt_block(block.into());
    }
    let padding = usize::from(bytes[bytes.len() - 1]);
    let from = bytes.len().wrapping_sub(padding);
    let sound =
        (1..=16).contains(&padding) && bytes[from..].iter().all(|&b| usize::from(b) == padding);
    if !sound {
        return Err(HlsError::malformed(
            "a segment could not be decrypted: the key is not its key",
        ));
    }
    bytes.truncate(from);
    Ok(bytes)
}

/// The vector of a segment that names none: its number, big-endian.
pub fn iv_of(sequence: u64) -> [u8; 16] {
    u128::from(sequence).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// NIST SP 800-38A, F.2.2 (CBC-AES128.Decrypt): its first block is found, and what follows
    /// has no padding, which is an error.
    #[test]
    fn a_published_vector() {
        let hex = |s: &str| -> Vec<u8> {
            (0..s.len()).step_by(2).map(|i| u8::from_str_radix(&s[i..i + 2], 16).unwrap()).collect()
        };
        let key: [u8; 16] = hex("2b7e151628aed2a6abf7158809cf4f3c").try_into().unwrap();
        let iv: [u8; 16] = hex("000102030405060708090a0b0c0d0e0f").try_into().unwrap();
        let cipher = hex("7649abac8119b246cee98e9b12e9197d");
        assert!(decrypt(cipher, &key, &iv).is_err());
        // The same block with a vector that turns the plain text into sixteen times 16: nothing.
        let plain = hex("6bc1bee22e409f96e93d7e117393172a");
        let turned: Vec<u8> = plain.iter().zip(iv).map(|(p, v)| p ^ v ^ 16).collect();
        let cipher = hex("7649abac8119b246cee98e9b12e9197d");
        assert_eq!(decrypt(cipher, &key, &turned.try_into().unwrap()).unwrap(), Vec::<u8>::new());
        assert!(decrypt(vec![0; 15], &key, &iv).is_err());
    }

    #[test]
    fn vectors_from_numbers() {
        assert_eq!(iv_of(0x1_02)[14..], [1, 2]);
    }
}

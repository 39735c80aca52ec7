//! As much of the protocol-buffers wire format as checkpoints use.

/// Reads a little-endian base-128 number from the front of `bytes`; none when cut off or
/// longer than 64 bits.
pub fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7F);
        if bits.checked_shl(shift)? >> shift != bits {
            return None;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1.
    Fixed64(u64),
    /// Wire type 2: text, bytes or a message.
    Bytes(&'a [u8]),
    /// Wire type 5.
    Fixed32(u32),
}

/// Splits a message into its fields, `(number, value)`; none when it is damaged.
pub fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, Value<'_>)>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let value = match key & 7 {
            0 => Value::Varint(varint(&mut bytes)?),
            1 => Value::Fixed64(u64::from_le_bytes(*take(&mut bytes)?)),
            2 => {
                let len = usize::try_from(varint(&mut bytes)?).ok()?;
                let (value, rest) = bytes.split_at_checked(len)?;
                bytes = rest;
                Value::Bytes(value)
            }
            5 => Value::Fixed32(u32::from_le_bytes(*take(&mut bytes)?)),
            _ => return None,
        };
        fields.push((key >> 3, value));
    }
    Some(fields)
}

fn take<'a, const N: usize>(bytes: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (first, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers_and_refuses_endless_ones() {
        assert_eq!(varint(&mut [0xAC, 0x02, 9].as_slice()), Some(300));
        assert_eq!(varint(&mut [0x80].as_slice()), None);
        assert_eq!(varint(&mut [0xFF; 11].as_slice()), None);
        let largest = [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1];
        assert_eq!(varint(&mut largest.as_slice()), Some(u64::MAX));
        let mut beyond = largest;
        beyond[9] = 2;
        assert_eq!(varint(&mut beyond.as_slice()), None);
    }

    #[test]
    fn splits_fields() {
        let message = [0x08, 1, 0x12, 2, 7, 8, 0x35, 1, 0, 0, 0];
        let expected =
            vec![(1, Value::Varint(1)), (2, Value::Bytes(&[7, 8])), (6, Value::Fixed32(1))];
        assert_eq!(fields(&message), Some(expected));
        assert_eq!(fields(&message[..5]), None);
        assert_eq!(fields(&[0x0B]), None, "groups are not used");
    }
}

//! What a file sounds like, as 16 bytes: a hash of its encoded audio without its tags.
//!
//! Two files with equal fingerprints hold the same encoded audio, wherever they lie, whatever
//! they are called and however they are tagged. The hash is XXH3 with 128 bits: fast, and good
//! against accidents (a pair among a billion tracks: 1 in 10²⁰), not against forgery.

mod containers;
mod ogg;

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use crate::{ErrorKind, LibraryError};

/// Bytes read at a time.
const BLOCK: usize = 1 << 17;

/// A hash of encoded audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 16]);

impl Fingerprint {
    /// Of a file. Reads it once, front to back, and keeps nothing of it in memory.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn of(path: &Path) -> Result<Self, LibraryError> {
        let read = || Self::read(&mut File::open(path)?);
        read().map_err(|e| {
            LibraryError::new(
                ErrorKind::Unreadable,
                format!("{} cannot be read: {e}", path.display()),
            )
        })
    }

    /// Of a file's bytes.
    ///
    /// # Errors
    /// What the source reports.
    pub fn read<R: Read + Seek>(source: &mut R) -> io::Result<Self> {
        let size = source.seek(SeekFrom::End(0))?;
        let mut source = BufReader::with_capacity(BLOCK, source);
        let mut hash = Xxh3::new();
        match containers::find(&mut source, size)? {
            containers::Payload::Spans(spans) => {
                for (start, length) in spans {
                    source.seek(SeekFrom::Start(start))?;
                    feed(&mut source, length, &mut hash)?;
                }
            }
            containers::Payload::Ogg { start, end } => {
                source.seek(SeekFrom::Start(start))?;
                ogg::feed(&mut source, end - start, &mut hash)?;
            }
        }
        Ok(Self(hash.digest128().to_be_bytes()))
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Hashes `length` bytes, or those that there are.
fn feed(source: &mut impl Read, length: u64, hash: &mut Xxh3) -> io::Result<()> {
    let mut block = vec![0; BLOCK];
    let mut left = length;
    while left > 0 {
        let want = left.min(BLOCK as u64) as usize;
        let count = source.read(&mut block[..want])?;
        if count == 0 {
            break;
        }
        hash.update(&block[..count]);
        left -= count as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn of(bytes: &[u8]) -> Fingerprint {
        Fingerprint::read(&mut Cursor::new(bytes)).unwrap()
    }

    fn id3v2(size: usize) -> Vec<u8> {
        let mut tag = b"ID3\x04\0\0".to_vec();
        tag.extend([21, 14, 7, 0].map(|shift| ((size >> shift) & 0x7f) as u8));
        tag.extend((0..size).map(|i| (i * 7) as u8));
        tag
    }

    fn apev2() -> Vec<u8> {
        let item = b"\x04\0\0\0\0\0\0\0Genre\0Rock";
        let mut tag = item.to_vec();
        tag.extend(b"APETAGEX\xd0\x07\0\0");
        tag.extend((item.len() as u32 + 32).to_le_bytes());
        tag.extend([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        tag
    }

    fn id3v1() -> Vec<u8> {
        let mut tag = b"TAG".to_vec();
        tag.resize(128, b'x');
        tag
    }

    fn chunk(id: &[u8], data: &[u8], big: bool) -> Vec<u8> {
        let size = data.len() as u32;
        let size = if big { size.to_be_bytes() } else { size.to_le_bytes() };
        let mut out = [id, &size, data].concat();
        out.resize(out.len() + data.len() % 2, 0);
        out
    }

    fn riff(chunks: &[Vec<u8>]) -> Vec<u8> {
        [b"RIFF\0\0\0\0WAVE".to_vec(), chunks.concat()].concat()
    }

    #[test]
    fn tags_around_an_mp3_do_not_count() {
        let audio: Vec<u8> =
            (0u32..5000).map(|i| (i.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
        let plain = of(&audio);
        for tagged in [
            [id3v2(300), audio.clone()].concat(),
            [id3v2(5), id3v2(900), audio.clone(), id3v1()].concat(),
            [audio.clone(), apev2()].concat(),
            [id3v2(77), audio.clone(), apev2(), id3v1()].concat(),
        ] {
            assert_eq!(of(&tagged), plain);
        }
        let mut other = audio.clone();
        other[2500] ^= 1;
        assert_ne!(of(&other), plain);
        assert_ne!(of(&audio[1..]), plain);
    }

    #[test]
    fn only_format_and_samples_of_a_wav_count() {
        let (format, data) = (chunk(b"fmt ", &[1; 16], false), chunk(b"data", &[7; 999], false));
        let plain = of(&riff(&[format.clone(), data.clone()]));
        let list = chunk(b"LIST", b"INFOIGNR\x05\0\0\0Jazz\0\0", false);
        assert_eq!(of(&riff(&[format.clone(), list.clone(), data.clone()])), plain);
        assert_eq!(of(&riff(&[format.clone(), data.clone(), list])), plain);
        assert_ne!(of(&riff(&[chunk(b"fmt ", &[2; 16], false), data])), plain);
    }

    #[test]
    fn flac_and_mp4_and_aiff_leave_their_headers_out() {
        let flac = |comment: &[u8]| {
            let mut out = b"fLaC\x00\x00\x00\x22".to_vec();
            out.extend([9; 34]);
            out.push(0x84);
            out.extend(&(comment.len() as u32).to_be_bytes()[1..]);
            out.extend(comment);
            out.extend(b"\xff\xf8 frames of audio");
            out
        };
        assert_eq!(of(&flac(b"GENRE=Jazz")), of(&flac(b"GENRE=Rock and much more of it")));
        let boxed = |kind: &[u8], data: &[u8]| {
            [&(data.len() as u32 + 8).to_be_bytes()[..], kind, data].concat()
        };
        let mp4 = |moov: &[u8], audio: &[u8]| {
            [boxed(b"ftyp", b"M4A \0\0\0\0"), boxed(b"moov", moov), boxed(b"mdat", audio)].concat()
        };
        assert_eq!(of(&mp4(b"one", b"sound")), of(&mp4(b"another", b"sound")));
        assert_ne!(of(&mp4(b"one", b"sound")), of(&mp4(b"one", b"noise")));
        let aiff = |name: &[u8]| {
            let chunks = [
                chunk(b"COMM", &[3; 18], true),
                chunk(b"NAME", name, true),
                chunk(b"SSND", &[5; 40], true),
            ];
            [b"FORM\0\0\0\0AIFF".to_vec(), chunks.concat()].concat()
        };
        assert_eq!(of(&aiff(b"a song")), of(&aiff(b"the song of songs")));
    }

    #[test]
    fn an_ogg_may_be_paged_anew_around_another_comment() {
        let packets = |comment: &[u8]| {
            vec![
                b"\x01vorbis identification".to_vec(),
                [b"\x03vorbis", comment].concat(),
                b"\x05vorbis setup".to_vec(),
                vec![42; 700],
                vec![43; 255],
                vec![],
                vec![44; 30_000],
            ]
        };
        let a = ogg::tests::file(&packets(b"GENRE=Jazz"), 17);
        let b = ogg::tests::file(&packets(&[b'x'; 70_000]), 255);
        assert_eq!(of(&a), of(&b));
        let mut other = packets(b"GENRE=Jazz");
        other[6][29_999] ^= 1;
        assert_ne!(of(&a), of(&ogg::tests::file(&other, 17)));
    }

    #[test]
    fn whatever_the_bytes_are_there_is_a_fingerprint() {
        let mut state = 1u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let starts: [&[u8]; 9] = [
            b"",
            b"ID3\x04\0\0\x7f\x7f\x7f\x7f",
            b"RIFF\0\0\0\0WAVE",
            b"FORM\0\0\0\0AIFF",
            b"fLaC",
            b"OggS",
            b"\0\0\0\x08ftyp",
            b".snd\xff\xff\xff\xff",
            b"\0\0\0\x01ftyp",
        ];
        for start in starts {
            for length in [0usize, 1, 30, 200, 4000] {
                let mut bytes = start.to_vec();
                bytes.extend((0..length).map(|_| random()));
                of(&bytes);
            }
        }
    }
}

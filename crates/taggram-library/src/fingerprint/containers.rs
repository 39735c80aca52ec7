//! Where in a file its encoded audio lies, for every container whose tags are known here.
//!
//! Sources: ID3v2.4 §3.1 and §3.4, ID3v1, APEv2 (Hydrogenaudio), Lyrics3v2; FLAC (RFC 9639 §8);
//! RIFF and RF64 (EBU 3306); AIFF-C; ISO/IEC 14496-12 §4.2; the AU header.

use std::io::{self, Read, Seek, SeekFrom};

/// Where the audio is.
pub(super) enum Payload {
    /// Start and length of each piece, bytes.
    Spans(Vec<(u64, u64)>),
    /// Packets in Ogg pages between two positions.
    Ogg { start: u64, end: u64 },
}

/// Tags in a row that are looked through; more are not tags but an attempt to keep us busy.
const MOST_TAGS: usize = 16;
/// Chunks or boxes side by side that are looked through.
const MOST_CHUNKS: usize = 100_000;

/// Finds the audio in a file of `size` bytes.
pub(super) fn find<R: Read + Seek>(source: &mut R, size: u64) -> io::Result<Payload> {
    let mut start = 0;
    for _ in 0..MOST_TAGS {
        match leading_tag(source, start, size)? {
            0 => break,
            length => start += length,
        }
    }
    let head: [u8; 12] = bytes_at(source, start, size)?;
    let body = start + 12;
    Ok(match &head {
        [b'O', b'g', b'g', b'S', ..] => Payload::Ogg { start, end: size },
        [b'f', b'L', b'a', b'C', ..] => {
            let frames = after_flac_blocks(source, start + 4, size)?;
            let end = without_trailing_tags(source, frames, size)?;
            Payload::Spans(vec![(frames, end - frames)])
        }
        [b'R', b'I' | b'F', b'F' | b'6', b'F' | b'4', .., b'W', b'A', b'V', b'E'] => {
            Payload::Spans(chunks(source, body, size, false, &[b"fmt ", b"data"])?)
        }
        [b'F', b'O', b'R', b'M', .., b'A', b'I', b'F', b'F' | b'C'] => {
            Payload::Spans(chunks(source, body, size, true, &[b"COMM", b"SSND"])?)
        }
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => Payload::Spans(mdat(source, start, size)?),
        [b'.', b's', b'n', b'd', a, b, c, d, ..] => {
            // The header's first eight bytes are its length; its text annotation is a tag.
            let samples = start + u64::from(u32::from_be_bytes([*a, *b, *c, *d]));
            let samples = samples.min(size);
            Payload::Spans(vec![(samples, size - samples)])
        }
        _ => {
            let end = without_trailing_tags(source, start, size)?;
            Payload::Spans(vec![(start, end - start)])
        }
    })
}

/// Bytes at a position; zeros beyond the end.
fn bytes_at<R: Read + Seek, const N: usize>(
    source: &mut R,
    at: u64,
    size: u64,
) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let there = size.saturating_sub(at).min(N as u64) as usize;
    source.seek(SeekFrom::Start(at))?;
    let mut read = 0;
    while read < there {
        match source.read(&mut bytes[read..there])? {
            0 => break,
            count => read += count,
        }
    }
    Ok(bytes)
}

/// Length of an ID3v2 or APEv2 tag that begins here, 0 for none.
fn leading_tag<R: Read + Seek>(source: &mut R, at: u64, size: u64) -> io::Result<u64> {
    let head: [u8; 32] = bytes_at(source, at, size)?;
    let length = if head.starts_with(b"ID3") && head[6..10].iter().all(|b| b & 0x80 == 0) {
        let content = head[6..10].iter().fold(0u64, |n, &b| n << 7 | u64::from(b));
        let footer = if head[5] & 0x10 != 0 { 10 } else { 0 };
        10 + content + footer
    } else if head.starts_with(b"APETAGEX") {
        32 + u64::from(u32::from_le_bytes([head[12], head[13], head[14], head[15]]))
    } else {
        0
    };
    Ok(if at + length <= size { length } else { 0 })
}

/// Where the audio ends before ID3v1, APEv2 and Lyrics3v2 tags.
fn without_trailing_tags<R: Read + Seek>(source: &mut R, start: u64, size: u64) -> io::Result<u64> {
    let mut end = size;
    for _ in 0..MOST_TAGS {
        let room = end - start;
        let mut length = 0;
        if room >= 128 && bytes_at::<_, 3>(source, end - 128, end)? == *b"TAG" {
            length = 128;
        } else if room >= 32 {
            let footer: [u8; 32] = bytes_at(source, end - 32, end)?;
            if footer.starts_with(b"APETAGEX") {
                let content = u32::from_le_bytes([footer[12], footer[13], footer[14], footer[15]]);
                let header = if footer[23] & 0x80 != 0 { 32 } else { 0 };
                length = u64::from(content) + header;
            } else if footer.ends_with(b"LYRICS200") {
                let digits = std::str::from_utf8(&footer[17..23]).unwrap_or_default();
                length = digits.parse::<u64>().map_or(0, |n| n + 15);
            }
        }
        if length == 0 || length > room {
            break;
        }
        end -= length;
    }
    Ok(end)
}

/// Where the frames of a FLAC file begin.
fn after_flac_blocks<R: Read + Seek>(source: &mut R, from: u64, size: u64) -> io::Result<u64> {
    let mut at = from;
    for _ in 0..MOST_CHUNKS {
        let head: [u8; 4] = bytes_at(source, at, size)?;
        at += 4 + u64::from(u32::from_be_bytes([0, head[1], head[2], head[3]]));
        if head[0] & 0x80 != 0 || at >= size {
            break;
        }
    }
    Ok(at.min(size))
}

/// The content of the wanted chunks of a RIFF or AIFF file.
fn chunks<R: Read + Seek>(
    source: &mut R,
    from: u64,
    size: u64,
    big_endian: bool,
    wanted: &[&[u8; 4]],
) -> io::Result<Vec<(u64, u64)>> {
    let (mut at, mut spans) = (from, Vec::new());
    // The length of a `data` chunk that does not fit 32 bits stands in `ds64`.
    let mut wide = None;
    for _ in 0..MOST_CHUNKS {
        if at + 8 > size {
            break;
        }
        let head: [u8; 8] = bytes_at(source, at, size)?;
        let number = [head[4], head[5], head[6], head[7]];
        let written =
            if big_endian { u32::from_be_bytes(number) } else { u32::from_le_bytes(number) };
        let mut length = u64::from(written);
        if &head[..4] == b"ds64" {
            wide = Some(u64::from_le_bytes(bytes_at(source, at + 16, size)?));
        }
        if written == u32::MAX && &head[..4] == b"data" {
            length = wide.unwrap_or(u64::MAX);
        }
        let length = length.min(size - at - 8);
        if wanted.iter().any(|id| id[..] == head[..4]) {
            spans.push((at + 8, length));
        }
        at += 8 + length + length % 2;
    }
    Ok(spans)
}

/// The content of every `mdat` box at the top of an MP4 file.
fn mdat<R: Read + Seek>(source: &mut R, from: u64, size: u64) -> io::Result<Vec<(u64, u64)>> {
    let (mut at, mut spans) = (from, Vec::new());
    for _ in 0..MOST_CHUNKS {
        if at + 8 > size {
            break;
        }
        let head: [u8; 16] = bytes_at(source, at, size)?;
        let short = u64::from(u32::from_be_bytes([head[0], head[1], head[2], head[3]]));
        let (length, header) = match short {
            0 => (size - at, 8),
            1 => {
                let mut wide = [0; 8];
                wide.copy_from_slice(&head[8..]);
                (u64::from_be_bytes(wide), 16)
            }
            length => (length, 8),
        };
        let length = length.min(size - at);
        if length < header {
            break;
        }
        if &head[4..8] == b"mdat" {
            spans.push((at + header, length - header));
        }
        at += length;
    }
    Ok(spans)
}

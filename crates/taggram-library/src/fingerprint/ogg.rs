//! The packets of an Ogg file (RFC 3533) without the one that holds the tags: writing tags moves
//! page borders and renumbers pages, so only what the pages carry can be hashed.

use std::collections::HashMap;
use std::io::{self, Read};

use xxhash_rust::xxh3::Xxh3;

/// Streams in one file that are told apart; more are hashed without leaving anything out.
const MOST_STREAMS: usize = 64;

/// Where in a stream we are.
#[derive(Default)]
struct Place {
    /// Number of the packet.
    packet: u64,
    /// Whether its first byte has been seen.
    begun: bool,
    /// Whether it is left out.
    skip: bool,
    /// The stream is FLAC, whose comments and pictures are the packets before the first frame.
    flac: bool,
}

/// Hashes the packets in `length` bytes of pages.
pub(super) fn feed(source: &mut impl Read, length: u64, hash: &mut Xxh3) -> io::Result<()> {
    let mut source = source.take(length);
    let mut streams: HashMap<[u8; 4], Place> = HashMap::new();
    let mut body = Vec::new();
    loop {
        let mut head = [0; 27];
        let count = fill(&mut source, &mut head)?;
        if count < head.len() || !head.starts_with(b"OggS") {
            // No page: what is left counts as it is.
            hash.update(&head[..count]);
            return super::feed(&mut source, u64::MAX, hash);
        }
        let serial = [head[14], head[15], head[16], head[17]];
        let mut table = [0; 255];
        let segments = usize::from(head[26]);
        let there = fill(&mut source, &mut table[..segments])?;
        let total = table[..there].iter().map(|&n| usize::from(n)).sum();
        body.resize(total, 0);
        let got = fill(&mut source, &mut body)?;
        if !streams.contains_key(&serial) && streams.len() == MOST_STREAMS {
            hash.update(&body[..got]);
            continue;
        }
        page(streams.entry(serial).or_default(), &table[..there], &body[..got], hash);
    }
}

/// Hashes one page. A packet ends with a segment shorter than 255 bytes.
fn page(place: &mut Place, table: &[u8], body: &[u8], hash: &mut Xxh3) {
    let mut at = 0;
    for &length in table {
        let end = (at + usize::from(length)).min(body.len());
        let segment = &body[at..end];
        at = end;
        if !place.begun && !segment.is_empty() {
            place.begun = true;
            place.flac |= place.packet == 0 && segment.starts_with(b"\x7fFLAC");
            place.skip =
                if place.flac { place.packet > 0 && segment[0] != 0xff } else { place.packet == 1 };
        }
        if !place.skip {
            hash.update(segment);
        }
        if length < 255 {
            if !place.skip {
                // Where packets end is part of the audio.
                hash.update(b"|");
            }
            place.packet += 1;
            (place.begun, place.skip) = (false, false);
        }
    }
}

/// Reads until the buffer is full or the source ends.
fn fill(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    while count < buffer.len() {
        match source.read(&mut buffer[count..])? {
            0 => break,
            n => count += n,
        }
    }
    Ok(count)
}

#[cfg(test)]
pub(super) mod tests {
    /// Pages of at most `most` segments that carry these packets; checksums are left zero.
    pub fn file(packets: &[Vec<u8>], most: usize) -> Vec<u8> {
        let mut table = Vec::new();
        let mut data = Vec::new();
        for packet in packets {
            table.extend(std::iter::repeat_n(255u8, packet.len() / 255));
            table.push((packet.len() % 255) as u8);
            data.extend(packet);
        }
        let (mut out, mut at) = (Vec::new(), 0);
        for (number, segments) in table.chunks(most).enumerate() {
            out.extend(b"OggS\0\0");
            out.extend([0; 8]);
            out.extend(b"abcd");
            out.extend((number as u32).to_le_bytes());
            out.extend([0; 4]);
            out.push(segments.len() as u8);
            out.extend(segments);
            let length: usize = segments.iter().map(|&n| usize::from(n)).sum();
            out.extend(&data[at..at + length]);
            at += length;
        }
        out
    }
}

//! The little of an MP4 file that symphonia leaves unread: how much of the decoded audio is
//! encoder delay and padding. Two places may say so, the edit list (`elst`, ISO/IEC 14496-12
//! §8.6.6) and Apple's `iTunSMPB` tag.

use std::io::{Read, Seek, SeekFrom};

use super::Trim;

/// The largest index held in memory; a 24-hour file has about 20 MB.
const MAX_INDEX: u64 = 64 << 20;

/// Finds the trim of the first audio track; leaves `media` at the start.
pub(crate) fn trim<M: Read + Seek + ?Sized>(media: &mut M) -> Trim {
    let found = index(media).and_then(|moov| from_index(&moov));
    // A failure here shows again, with a message, when the demuxer reads the same bytes.
    let _ = media.seek(SeekFrom::Start(0));
    found.unwrap_or_default()
}

/// The content of the `moov` box.
fn index<M: Read + Seek + ?Sized>(media: &mut M) -> Option<Vec<u8>> {
    media.seek(SeekFrom::Start(0)).ok()?;
    // A file has a handful of boxes at the top (a fragmented one more): the bound ends loops.
    for _ in 0..100_000 {
        let mut header = [0; 8];
        media.read_exact(&mut header).ok()?;
        let mut size = u64::from(be32(&header, 0)?);
        let mut taken = 8;
        if size == 1 {
            let mut large = [0; 8];
            media.read_exact(&mut large).ok()?;
            size = u64::from_be_bytes(large);
            taken = 16;
        }
        let content = if size == 0 { MAX_INDEX } else { size.checked_sub(taken)? };
        if &header[4..] == b"moov" {
            let mut moov = Vec::new();
            media.take(content.min(MAX_INDEX)).read_to_end(&mut moov).ok()?;
            return Some(moov);
        }
        if size == 0 {
            return None;
        }
        media.seek(SeekFrom::Current(i64::try_from(content).ok()?)).ok()?;
    }
    None
}

fn from_index(moov: &[u8]) -> Option<Trim> {
    let movie_rate = timescale(child(moov, b"mvhd")?)?.0;
    let track = boxes(moov).filter(|(kind, _)| kind == b"trak").map(|(_, content)| content).find(
        |track| {
            let handler = child(track, b"mdia").and_then(|m| child(m, b"hdlr"));
            handler.and_then(|h| h.get(8..12)) == Some(b"soun")
        },
    )?;
    let (rate, length) = timescale(child(child(track, b"mdia")?, b"mdhd")?)?;
    let edits = child(track, b"edts").and_then(|e| child(e, b"elst"));
    edits
        .and_then(|list| from_edits(list, movie_rate, rate, length))
        .or_else(|| from_tag(moov, rate))
}

/// Ticks a second and length in ticks, from an `mvhd` or `mdhd`.
fn timescale(header: &[u8]) -> Option<(u32, u64)> {
    let (rate, length) = if *header.first()? == 1 {
        (be32(header, 20)?, be64(header, 24)?)
    } else {
        (be32(header, 12)?, u64::from(be32(header, 16)?))
    };
    (rate > 0).then_some((rate, length))
}

/// One edit that begins inside the media (an empty one before it only delays playing).
fn from_edits(list: &[u8], movie_rate: u32, rate: u32, length: u64) -> Option<Trim> {
    let wide = *list.first()? == 1;
    let count = be32(list, 4)?;
    let mut edits = Vec::new();
    for i in 0..count.min(16) as usize {
        let (duration, start) = if wide {
            (be64(list, 8 + i * 20)?, be64(list, 16 + i * 20)? as i64)
        } else {
            (u64::from(be32(list, 8 + i * 12)?), i64::from(be32(list, 12 + i * 12)? as i32))
        };
        if start >= 0 {
            edits.push((duration, start as u64));
        }
    }
    // Several edits rearrange the track; then everything is read, as if there were none.
    let &[(duration, skip)] = edits.as_slice() else { return None };
    if length == 0 && duration == 0 {
        // A fragmented file: how long it is nobody knew when its index was written.
        return Some(Trim { rate, skip, keep: None });
    }
    let rest = length.checked_sub(skip)?;
    // The duration counts in the movie's ticks, often milliseconds: where the track's own, exact
    // length agrees with it within a tick, that is meant. Zero stands for "to the end".
    let coarse = (u128::from(duration) * u128::from(rate) / u128::from(movie_rate)) as u64;
    let tick = u64::from(rate.div_ceil(movie_rate));
    let keep = if duration == 0 || coarse.abs_diff(rest) <= tick { rest } else { coarse.min(rest) };
    Some(Trim { rate, skip, keep: (keep > 0).then_some(keep) })
}

/// `iTunSMPB`: hexadecimal words, of which the second is the delay, the third the padding and
/// the fourth the length, in samples.
fn from_tag(moov: &[u8], rate: u32) -> Option<Trim> {
    let meta = child(child(moov, b"udta")?, b"meta")?;
    // `meta` is a full box: four bytes of version and flags precede its children.
    let list = child(meta.get(4..)?, b"ilst")?;
    let text = boxes(list).filter(|(kind, _)| kind == b"----").find_map(|(_, item)| {
        let name = child(item, b"name")?.get(4..)?;
        (name == b"iTunSMPB").then(|| child(item, b"data")?.get(8..)).flatten()
    })?;
    let text = std::str::from_utf8(text).ok()?;
    let mut words = text.split_ascii_whitespace().map(|w| u64::from_str_radix(w, 16));
    let _reserved = words.next()?;
    let skip = words.next()?.ok()?;
    let _padding = words.next()?;
    let keep = words.next()?.ok()?;
    Some(Trim { rate, skip, keep: (keep > 0).then_some(keep) })
}

/// The boxes side by side in `data`; stops at the first that does not fit.
fn boxes(mut data: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let size = be32(data, 0)? as usize;
        let kind = data.get(4..8)?.try_into().ok()?;
        let size = if size == 0 { data.len() } else { size };
        let content = data.get(8..size)?;
        data = &data[size..];
        Some((kind, content))
    })
}

fn child<'a>(data: &'a [u8], kind: &[u8; 4]) -> Option<&'a [u8]> {
    boxes(data).find(|(k, _)| k == kind).map(|(_, content)| content)
}

fn be32(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(data.get(at..at + 4)?.try_into().ok()?))
}

fn be64(data: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(data.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(edits: &[(u32, i32)]) -> Vec<u8> {
        let mut list = vec![0; 4];
        list.extend((edits.len() as u32).to_be_bytes());
        for (duration, start) in edits {
            list.extend(duration.to_be_bytes());
            list.extend(start.to_be_bytes());
            list.extend(0x10000u32.to_be_bytes());
        }
        list
    }

    #[test]
    fn an_edit_list_in_milliseconds_is_made_exact() {
        // 44,100 Hz, one second after 1,024 frames of delay; the movie counts milliseconds.
        let trim = from_edits(&list(&[(1000, 1024)]), 1000, 44_100, 45_124).unwrap();
        assert_eq!(trim, Trim { rate: 44_100, skip: 1024, keep: Some(44_100) });
        // A real cut stays one.
        let trim = from_edits(&list(&[(500, 1024)]), 1000, 44_100, 45_124).unwrap();
        assert_eq!(trim.keep, Some(22_050));
        // A delay before it changes nothing; two pieces are left alone.
        assert!(from_edits(&list(&[(20, -1), (1000, 1024)]), 1000, 44_100, 45_124).is_some());
        assert!(from_edits(&list(&[(20, 9), (1000, 1024)]), 1000, 44_100, 45_124).is_none());
    }

    #[test]
    fn a_fragmented_file_begins_where_its_edit_list_says() {
        let trim = from_edits(&list(&[(0, 1024)]), 1000, 44_100, 0).unwrap();
        assert_eq!(trim, Trim { rate: 44_100, skip: 1024, keep: None });
    }

    #[test]
    fn nonsense_is_no_trim() {
        let mut noise = std::io::Cursor::new((0..=255u8).cycle().take(4000).collect::<Vec<_>>());
        assert_eq!(trim(&mut noise), Trim::default());
    }
}

//! Initialisation segments and fragments: what is in them, as packets.

use taggram_audio::{Gapless, PacketCodec};

use super::{be16, be32, be64, boxes, child};
use crate::HlsError;

/// What an initialisation segment says of its first audio track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Init {
    /// Codec of the packets.
    pub codec: PacketCodec,
    /// What is music of what is decoded.
    pub gapless: Gapless,
    track: u32,
    default_size: u32,
}

/// Samples in one fragment at most; a fragment of ten seconds has about 500.
const MOST_SAMPLES: u32 = 100_000;

/// Whether bytes begin like an MP4 (or a fragment of one).
pub fn is_mp4(bytes: &[u8]) -> bool {
    const KINDS: [&[u8; 4]; 8] =
        [b"ftyp", b"styp", b"moof", b"moov", b"sidx", b"emsg", b"prft", b"free"];
    bytes.get(4..8).is_some_and(|kind| KINDS.iter().any(|k| *k == kind))
}

/// Reads an initialisation segment.
///
/// # Errors
/// There is no index or audio track in it, or its codec is not supported.
pub fn read_init(bytes: &[u8]) -> Result<Init, HlsError> {
    let moov = child(bytes, &[b"moov"])
        .ok_or_else(|| HlsError::malformed("the initialisation segment has no moov box"))?;
    let track = boxes(moov)
        .filter(|(kind, _, _)| kind == b"trak")
        .map(|(_, _, content)| content)
        .find(|t| child(t, &[b"mdia", b"hdlr"]).and_then(|h| h.get(8..12)) == Some(b"soun"))
        .ok_or_else(|| HlsError::unsupported("the initialisation segment has no audio track"))?;
    let broken = || HlsError::malformed("the audio track of the initialisation segment is broken");
    let header = child(track, &[b"tkhd"]).ok_or_else(broken)?;
    let wide = header.first() == Some(&1);
    let id = be32(header, if wide { 20 } else { 12 }).ok_or_else(broken)?;
    let time = child(track, &[b"mdia", b"mdhd"]).ok_or_else(broken)?;
    let rate = be32(time, if time.first() == Some(&1) { 20 } else { 12 }).ok_or_else(broken)?;
    let entries = child(track, &[b"mdia", b"minf", b"stbl", b"stsd"]).ok_or_else(broken)?;
    let (kind, _, entry) = boxes(entries.get(8..).ok_or_else(broken)?).next().ok_or_else(broken)?;
    let codec = codec(&kind, entry)?;
    let defaults = child(moov, &[b"mvex"]).into_iter().flat_map(boxes);
    let default_size = defaults
        .filter(|(kind, _, content)| kind == b"trex" && be32(content, 4) == Some(id))
        .find_map(|(_, _, content)| be32(content, 16))
        .unwrap_or(0);
    let skip = child(track, &[b"edts", b"elst"]).and_then(skip).unwrap_or(0);
    let gapless = if skip > 0 { Gapless { rate, skip, keep: None } } else { Gapless::default() };
    Ok(Init { codec, gapless, track: id, default_size })
}

/// Where the one edit begins in the media, in its ticks.
fn skip(list: &[u8]) -> Option<u64> {
    let wide = *list.first()? == 1;
    let starts: Vec<i64> = (0..be32(list, 4)?.min(16) as usize)
        .map_while(|i| {
            if wide {
                be64(list, 16 + i * 20).map(|s| s as i64)
            } else {
                be32(list, 12 + i * 12).map(|s| i64::from(s as i32))
            }
        })
        .filter(|start| *start >= 0)
        .collect();
    match starts[..] {
        [start] => u64::try_from(start).ok(),
        _ => None,
    }
}

fn codec(kind: &[u8; 4], entry: &[u8]) -> Result<PacketCodec, HlsError> {
    let broken =
        |what: &str| HlsError::malformed(format!("the description of the {what} is broken"));
    // 28 bytes of every audio entry precede the boxes of its codec (version 0; QuickTime's
    // version 1 has 16 more).
    let more = if be16(entry, 8) == Some(1) { 16 } else { 0 };
    let inner = entry.get(28 + more..).unwrap_or_default();
    match kind {
        b"mp4a" => {
            let esds = child(inner, &[b"esds"]).and_then(|b| b.get(4..));
            let (object, config) = esds.and_then(descriptor).ok_or_else(|| broken("AAC track"))?;
            match object {
                0x40 | 0x66..=0x68 if config.len() >= 2 => {
                    Ok(PacketCodec::Aac { config: config.to_vec() })
                }
                0x69 | 0x6b => Ok(PacketCodec::Mp3),
                _ => Err(HlsError::unsupported(format!(
                    "the audio is of MPEG-4 object type 0x{object:02x}, which is not supported"
                ))),
            }
        }
        b"fLaC" => {
            let stream_info = child(inner, &[b"dfLa"]).and_then(|b| b.get(8..42));
            let stream_info = stream_info.ok_or_else(|| broken("FLAC track"))?.to_vec();
            Ok(PacketCodec::Flac { stream_info })
        }
        b"Opus" => {
            let d = child(inner, &[b"dOps"]).filter(|d| d.len() >= 11);
            let d = d.ok_or_else(|| broken("Opus track"))?;
            // The same fields as in OpusHead, but big-endian and of version 0.
            let mut head = b"OpusHead\x01".to_vec();
            head.push(d[1]);
            head.extend([d[3], d[2], d[7], d[6], d[5], d[4], d[9], d[8]]);
            head.extend_from_slice(&d[10..]);
            Ok(PacketCodec::Opus { head })
        }
        b"alac" => {
            let cookie = child(inner, &[b"alac"]).and_then(|b| b.get(4..));
            Ok(PacketCodec::Alac { cookie: cookie.ok_or_else(|| broken("ALAC track"))?.to_vec() })
        }
        b".mp3" => Ok(PacketCodec::Mp3),
        b"enca" => Err(HlsError::unsupported("the audio is encrypted sample by sample")),
        _ => Err(HlsError::unsupported(format!(
            "the audio is of the kind \"{}\", which is not supported",
            kind.escape_ascii()
        ))),
    }
}

/// Object type and decoder configuration in an elementary stream descriptor (ISO/IEC 14496-1 §7.2.6).
fn descriptor(esds: &[u8]) -> Option<(u8, &[u8])> {
    fn open(data: &[u8], tag: u8) -> Option<&[u8]> {
        if *data.first()? != tag {
            return None;
        }
        // A length of up to four bytes, seven bits each.
        let mut length = 0usize;
        for i in 1..5 {
            let byte = *data.get(i)?;
            length = length << 7 | usize::from(byte & 0x7f);
            if byte & 0x80 == 0 {
                return data.get(i + 1..(i + 1 + length).min(data.len()));
            }
        }
        None
    }
    let stream = open(esds, 3)?;
    let flags = *stream.get(2)?;
    let mut at = 3;
    at += if flags & 0x80 != 0 { 2 } else { 0 };
    at += if flags & 0x40 != 0 { 1 + usize::from(*stream.get(at)?) } else { 0 };
    at += if flags & 0x20 != 0 { 2 } else { 0 };
    let decoder = open(stream.get(at..)?, 4)?;
    let config = decoder.get(13..).and_then(|d| open(d, 5)).unwrap_or_default();
    Some((*decoder.first()?, config))
}

/// Gives the packets of the track in the fragments of a segment.
///
/// # Errors
/// A fragment that points outside of the segment; or what `found` returns.
pub fn fragment_packets<E: From<HlsError>>(
    init: &Init,
    segment: &[u8],
    found: &mut dyn FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let broken = || HlsError::malformed("a fragment does not say where its samples are");
    for (kind, start, moof) in boxes(segment) {
        if &kind != b"moof" {
            continue;
        }
        for (kind, _, traf) in boxes(moof) {
            if &kind != b"traf" {
                continue;
            }
            let header = child(traf, &[b"tfhd"]).ok_or_else(broken)?;
            if be32(header, 4) != Some(init.track) {
                continue;
            }
            let flags = be32(header, 0).ok_or_else(broken)?;
            let mut at = 8;
            let mut base = start as u64;
            if flags & 0x01 != 0 {
                base = be64(header, at).ok_or_else(broken)?;
                at += 8;
            }
            at += if flags & 0x02 != 0 { 4 } else { 0 };
            at += if flags & 0x08 != 0 { 4 } else { 0 };
            let size = if flags & 0x10 != 0 { be32(header, at) } else { None };
            let size = size.unwrap_or(init.default_size);
            let mut next = base;
            for (kind, _, run) in boxes(traf) {
                if &kind == b"trun" {
                    next = self::run(segment, run, base, next, size, found)?;
                }
            }
        }
    }
    Ok(())
}

/// One run of samples; gives where it ends.
fn run<E: From<HlsError>>(
    segment: &[u8],
    run: &[u8],
    base: u64,
    next: u64,
    default_size: u32,
    found: &mut dyn FnMut(&[u8]) -> Result<(), E>,
) -> Result<u64, E> {
    let broken = || HlsError::malformed("the table of a fragment is cut short");
    let flags = be32(run, 0).ok_or_else(broken)?;
    let count = be32(run, 4).ok_or_else(broken)?;
    if count > MOST_SAMPLES {
        return Err(HlsError::malformed(format!("a fragment claims {count} samples")).into());
    }
    let mut at = 8;
    let mut place = next;
    if flags & 0x01 != 0 {
        let offset = be32(run, at).ok_or_else(broken)? as i32;
        place = base.wrapping_add_signed(i64::from(offset));
        at += 4;
    }
    at += if flags & 0x04 != 0 { 4 } else { 0 };
    let step = 4 * (flags >> 8 & 0xf).count_ones() as usize;
    let before = if flags & 0x100 != 0 { 4 } else { 0 };
    for _ in 0..count {
        let size = if flags & 0x200 != 0 {
            be32(run, at + before).ok_or_else(broken)?
        } else {
            default_size
        };
        at += step;
        let end = place.wrapping_add(u64::from(size));
        let range = usize::try_from(place).ok().zip(usize::try_from(end).ok());
        let packet = range.and_then(|(a, b)| segment.get(a..b)).ok_or_else(|| {
            HlsError::malformed("a fragment points to samples outside of its segment")
        })?;
        if !packet.is_empty() {
            found(packet)?;
        }
        place = end;
    }
    Ok(place)
}

//! Frames of MP3 and AAC in a run of bytes: packed audio, or the payload of a transport stream.

use taggram_audio::PacketCodec;

use crate::ts::Elementary;

/// Sample rates by their index (ISO/IEC 14496-3 table 1.18), Hz.
pub(crate) const AAC_RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];

/// A frame header: what is needed to find the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    /// Bytes of the frame, with header.
    length: usize,
    /// Bytes of the header that a decoder does not get (ADTS).
    skip: usize,
    /// What must stay the same from frame to frame.
    sameness: [u8; 2],
}

/// A frame of MPEG-1, 2 or 2.5 layer III (ISO/IEC 11172-3 §2.4.2.3).
fn mpeg(b: &[u8]) -> Option<Header> {
    let b: &[u8; 4] = b.first_chunk()?;
    if b[0] != 0xff || b[1] & 0xe6 != 0xe2 || b[1] & 0x18 == 0x08 {
        return None;
    }
    let first = b[1] & 0x18 == 0x18;
    let kbps: [u16; 14] = if first {
        [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320]
    } else {
        [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160]
    };
    let kbps = usize::from(*kbps.get(usize::from(b[2] >> 4).checked_sub(1)?)?);
    let rate = [44_100, 48_000, 32_000].get(usize::from(b[2] >> 2 & 3)).copied()?;
    // MPEG-2 halves the rate, MPEG-2.5 quarters it.
    let rate = rate >> [2, 2, 1, 0][usize::from(b[1] >> 3 & 3)];
    let per_slot = if first { 144 } else { 72 };
    let padding = usize::from(b[2] >> 1 & 1);
    let length = per_slot * kbps * 1000 / rate + padding;
    Some(Header { length, skip: 0, sameness: [b[1] & 0xfe, b[2] & 0x0c] })
}

/// An ADTS frame of one access unit (ISO/IEC 13818-7 §6.2).
fn adts(b: &[u8]) -> Option<Header> {
    let b: &[u8; 7] = b.first_chunk()?;
    if b[0] != 0xff || b[1] & 0xf6 != 0xf0 || usize::from(b[2] >> 2 & 0xf) >= AAC_RATES.len() {
        return None;
    }
    let length = usize::from(b[3] & 3) << 11 | usize::from(b[4]) << 3 | usize::from(b[5] >> 5);
    let skip = if b[1] & 1 == 0 { 9 } else { 7 };
    (length > skip).then_some(Header { length, skip, sameness: [b[2] & 0xfd, b[3] & 0xc0] })
}

/// The AudioSpecificConfig that says what an ADTS header says.
fn config(header: &[u8]) -> [u8; 2] {
    let object = u16::from(header[2] >> 6) + 1;
    let rate = u16::from(header[2] >> 2 & 0xf);
    let channels = u16::from(header[2] & 1) << 2 | u16::from(header[3] >> 6);
    (object << 11 | rate << 7 | channels << 3).to_be_bytes()
}

/// An ADTS header for an access unit of `length` bytes, from its AudioSpecificConfig. `None` when
/// the configuration or the length is beyond what ADTS can say.
#[cfg(any(test, feature = "origin"))]
pub(crate) fn adts_header(config: &[u8], length: usize) -> Option<[u8; 7]> {
    let word = u16::from_be_bytes([*config.first()?, *config.get(1)?]);
    let (object, rate, channels) = (word >> 11, word >> 7 & 0xf, word >> 3 & 0xf);
    let total = length + 7;
    // SBR signalled before its core (object type 5) is told by ADTS through the core alone.
    if !(1..=4).contains(&object) || rate > 12 || !(1..=7).contains(&channels) || total > 0x1fff {
        return None;
    }
    Some([
        0xff,
        0xf1,
        ((object - 1) << 6 | rate << 2 | channels >> 2) as u8,
        ((channels & 3) << 6) as u8 | (total >> 11) as u8,
        (total >> 3) as u8,
        ((total & 7) << 5) as u8 | 0x1f,
        0xfc,
    ])
}

/// Length of an ID3v2 tag (with its header) at the beginning of `bytes`, if there is one.
pub(crate) fn id3_length(bytes: &[u8]) -> Option<usize> {
    let head: &[u8; 10] = bytes.first_chunk()?;
    let well_formed = head.starts_with(b"ID3") && head[6..].iter().all(|b| b & 0x80 == 0);
    let footer = if head[5] & 0x10 == 0 { 0 } else { 10 };
    let size = head[6..].iter().fold(0, |n, &b| n << 7 | usize::from(b));
    well_formed.then_some(10 + size + footer)
}

/// An ID3 tag with the timestamp of packed audio, 1/90,000 s (RFC 8216 §3.4).
#[cfg(any(test, feature = "origin"))]
pub(crate) fn id3_timestamp(pts: u64) -> Vec<u8> {
    let mut private = b"com.apple.streaming.transportStreamTimestamp\0".to_vec();
    private.extend((pts & 0x1_ffff_ffff).to_be_bytes());
    let length = |n: usize| [0, 0, (n >> 7) as u8 & 0x7f, n as u8 & 0x7f];
    let mut tag = b"ID3\x04\0\0".to_vec();
    tag.extend(length(private.len() + 10));
    tag.extend(b"PRIV");
    tag.extend(length(private.len()));
    tag.extend([0, 0]);
    tag.extend(private);
    tag
}

/// What is found in a run of frames.
pub enum Found<'a> {
    /// The codec, before its first packet and whenever it changes.
    Codec(PacketCodec),
    /// A packet of it.
    Packet(&'a [u8]),
}

/// Bytes held at most while a frame is looked for.
const HELD: usize = 1 << 16;

/// Splits bytes into frames; a frame may come in several pieces.
pub struct Framer {
    kind: Elementary,
    held: Vec<u8>,
    /// What the frames before said of themselves; `None` after something that was no frame.
    sure: Option<[u8; 2]>,
    config: Option<[u8; 2]>,
    began: bool,
    skipped: u64,
}

impl Framer {
    /// For frames of `kind`.
    pub fn new(kind: Elementary) -> Self {
        Self { kind, held: Vec::new(), sure: None, config: None, began: false, skipped: 0 }
    }

    /// Bytes that belong to no frame.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Takes bytes and gives the frames that are complete.
    pub fn push<E>(
        &mut self,
        bytes: &[u8],
        found: &mut dyn FnMut(Found) -> Result<(), E>,
    ) -> Result<(), E> {
        self.held.extend_from_slice(bytes);
        self.split(false, found)
    }

    /// The end: the last frame needs no other behind it.
    pub fn finish<E>(&mut self, found: &mut dyn FnMut(Found) -> Result<(), E>) -> Result<(), E> {
        self.split(true, found)?;
        self.skipped += self.held.len() as u64;
        self.held.clear();
        self.sure = None;
        Ok(())
    }

    fn header(&self, bytes: &[u8]) -> Option<Header> {
        match self.kind {
            Elementary::Mpeg => mpeg(bytes),
            Elementary::Adts => adts(bytes),
        }
    }

    fn split<E>(
        &mut self,
        last: bool,
        found: &mut dyn FnMut(Found) -> Result<(), E>,
    ) -> Result<(), E> {
        let held = std::mem::take(&mut self.held);
        let mut at = 0;
        // Seven bytes tell every header.
        while at + 7 <= held.len() {
            let rest = &held[at..];
            if let Some(tag) = id3_length(rest) {
                if rest.len() < tag && !last && tag < HELD {
                    break;
                }
                at += tag.min(rest.len());
                continue;
            }
            let Some(header) = self.header(rest) else {
                self.skipped += 1;
                self.sure = None;
                at += 1;
                continue;
            };
            if rest.len() < header.length {
                if last {
                    self.skipped += 1;
                    self.sure = None;
                    at += 1;
                    continue;
                }
                break;
            }
            if self.sure != Some(header.sameness) {
                // Two in a row are needed to believe the first.
                match rest.get(header.length..).filter(|next| next.len() >= 7) {
                    None if !last => break,
                    None => {}
                    Some(next) => {
                        let goes_on =
                            self.header(next).is_some_and(|n| n.sameness == header.sameness)
                                || id3_length(next).is_some();
                        if !goes_on {
                            self.skipped += 1;
                            self.sure = None;
                            at += 1;
                            continue;
                        }
                    }
                }
            }
            self.sure = Some(header.sameness);
            let frame = &rest[..header.length];
            at += header.length;
            match self.kind {
                Elementary::Mpeg => {
                    if !self.began {
                        self.began = true;
                        found(Found::Codec(PacketCodec::Mp3))?;
                    }
                    // A frame that holds an index instead of music.
                    if !is_index(frame) {
                        found(Found::Packet(frame))?;
                    }
                }
                Elementary::Adts => {
                    let config = config(frame);
                    if self.config != Some(config) {
                        self.config = Some(config);
                        found(Found::Codec(PacketCodec::Aac { config: config.to_vec() }))?;
                    }
                    found(Found::Packet(&frame[header.skip..]))?;
                }
            }
        }
        self.held = held[at..].to_vec();
        Ok(())
    }
}

/// Whether an MP3 frame is a Xing, Info or VBRI header.
fn is_index(frame: &[u8]) -> bool {
    let first = frame[1] & 0x18 == 0x18;
    let mono = frame[3] & 0xc0 == 0xc0;
    let at = match (first, mono) {
        (true, false) => 36,
        (true, true) | (false, false) => 21,
        (false, true) => 13,
    };
    let mark = |at: usize| frame.get(at..at + 4);
    matches!(mark(at), Some(b"Xing" | b"Info")) || mark(36) == Some(b"VBRI")
}

/// What bytes begin with, past ID3 tags: MPEG audio or ADTS.
pub(crate) fn sniff(mut bytes: &[u8]) -> Option<Elementary> {
    while let Some(tag) = id3_length(bytes) {
        bytes = bytes.get(tag..)?;
    }
    // A frame that another one follows, within the first few kilobytes.
    for at in 0..bytes.len().min(8192) {
        let rest = &bytes[at..];
        for (kind, header) in [(Elementary::Adts, adts(rest)), (Elementary::Mpeg, mpeg(rest))] {
            let Some(header) = header else { continue };
            let next = rest.get(header.length..).unwrap_or_default();
            let follower = match kind {
                Elementary::Adts => adts(next),
                Elementary::Mpeg => mpeg(next),
            };
            let ends = next.is_empty() && rest.len() == header.length;
            if ends || follower.is_some_and(|f| f.sameness == header.sameness) {
                return Some(kind);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adts_headers_say_what_their_configuration_says() {
        // 44.1 kHz stereo AAC-LC is 12 10.
        let header = adts_header(&[0x12, 0x10], 300).unwrap();
        assert_eq!(config(&header), [0x12, 0x10]);
        assert_eq!(adts(&header).unwrap().length, 307);
        assert!(adts_header(&[0x12, 0x10], 9000).is_none());
        assert!(adts_header(&[0x2b, 0x92], 100).is_none());
    }

    #[test]
    fn timestamps_are_a_well_formed_tag() {
        let tag = id3_timestamp(0x1_2345_6789);
        assert_eq!(id3_length(&tag), Some(tag.len()));
        assert!(tag.ends_with(&[0, 0, 0, 1, 0x23, 0x45, 0x67, 0x89]));
    }

    #[test]
    fn frames_come_out_whole_however_they_come_in() {
        let mut stream = b"noise before".to_vec();
        let units: Vec<Vec<u8>> = (1..40usize).map(|n| vec![n as u8; n * 13]).collect();
        for unit in &units {
            stream.extend(adts_header(&[0x12, 0x10], unit.len()).unwrap());
            stream.extend(unit);
        }
        for chunk in [1, 7, 100, 100_000] {
            let (mut framer, mut got) = (Framer::new(Elementary::Adts), Vec::new());
            let mut take = |found: Found| -> Result<(), ()> {
                if let Found::Packet(packet) = found {
                    got.push(packet.to_vec());
                }
                Ok(())
            };
            for part in stream.chunks(chunk) {
                framer.push(part, &mut take).unwrap();
            }
            framer.finish(&mut take).unwrap();
            assert_eq!(got, units, "in chunks of {chunk}");
            assert_eq!(framer.skipped(), 12);
        }
        assert_eq!(sniff(&stream), Some(Elementary::Adts));
    }

    #[test]
    fn the_length_of_an_mp3_frame() {
        // MPEG-1 layer III, 128 kbit/s, 44.1 kHz: 417 bytes, 418 with padding.
        assert_eq!(mpeg(&[0xff, 0xfb, 0x90, 0]).unwrap().length, 417);
        assert_eq!(mpeg(&[0xff, 0xfb, 0x92, 0]).unwrap().length, 418);
        // MPEG-2, 64 kbit/s, 22.05 kHz: 208 bytes.
        assert_eq!(mpeg(&[0xff, 0xf3, 0x80, 0]).unwrap().length, 208);
        assert!(mpeg(&[0xff, 0xff, 0xff, 0xff]).is_none());
    }
}

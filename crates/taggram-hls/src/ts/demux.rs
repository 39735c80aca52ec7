//! Finding the audio in a transport stream.

use super::{PACKET, SYNC, crc};
use crate::HlsError;

/// What an audio stream consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Elementary {
    /// MPEG audio frames.
    Mpeg,
    /// AAC in ADTS frames.
    Adts,
}

/// The longest header of a PES packet: nine bytes and what the ninth says.
const LONGEST_HEADER: usize = 9 + 255;

/// The longest section that is put together.
const LONGEST_SECTION: usize = 1024;

/// Takes segments of a transport stream apart. What came before is remembered from segment to segment.
#[derive(Default)]
pub struct TsDemuxer {
    /// Bytes of a packet whose rest has not come.
    partial: Vec<u8>,
    pat: Vec<u8>,
    pmt: Vec<u8>,
    pmt_pid: Option<u16>,
    audio: Option<(u16, Elementary)>,
    /// The header of a PES packet that is not complete; `None` inside a payload or before a start.
    header: Option<Vec<u8>>,
    inside: bool,
    counter: Option<u8>,
    lost: u64,
    pts: Option<u64>,
    jumps: u64,
    /// Audio streams that cannot be read, for the message.
    refused: Option<&'static str>,
}

impl TsDemuxer {
    /// Takes bytes and hands the audio's bytes to `sink`. Gives the kind of the audio once it is known.
    ///
    /// # Errors
    /// The stream holds only audio of a kind that is not read here.
    pub fn push(
        &mut self,
        mut bytes: &[u8],
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<Option<Elementary>, HlsError> {
        if !self.partial.is_empty() {
            let taken = (PACKET - self.partial.len()).min(bytes.len());
            self.partial.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if self.partial.len() == PACKET {
                let packet = std::mem::take(&mut self.partial);
                self.packet(&packet, sink);
            }
        }
        while !bytes.is_empty() {
            if bytes[0] != SYNC {
                // Lost: the next place where two packets in a row begin.
                let at = (1..bytes.len()).find(|&i| {
                    bytes[i] == SYNC && bytes.get(i + PACKET).is_none_or(|&b| b == SYNC)
                });
                self.lost += 1;
                bytes = &bytes[at.unwrap_or(bytes.len())..];
                continue;
            }
            let Some(packet) = bytes.get(..PACKET) else {
                self.partial = bytes.to_vec();
                break;
            };
            self.packet(packet, sink);
            bytes = &bytes[PACKET..];
        }
        match (self.audio, self.refused) {
            (None, Some(what)) => Err(HlsError::unsupported(format!(
                "the transport stream holds {what}, which is not supported"
            ))),
            (audio, _) => Ok(audio.map(|(_, kind)| kind)),
        }
    }

    /// A segment is over: half a packet at its end belongs to nothing.
    pub fn end_of_segment(&mut self) {
        if !self.partial.is_empty() {
            self.lost += 1;
            self.partial.clear();
        }
        self.header = None;
    }

    /// Places where packets are missing or damaged.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Timestamps that went back, or ahead by more than ten seconds. The audio is heard all the
    /// same, in the order in which it comes.
    pub fn jumps(&self) -> u64 {
        self.jumps
    }

    fn packet(&mut self, packet: &[u8], sink: &mut dyn FnMut(&[u8])) {
        let pid = u16::from_be_bytes([packet[1] & 0x1f, packet[2]]);
        let (start, control) = (packet[1] & 0x40 != 0, packet[3] >> 4 & 3);
        if packet[1] & 0x80 != 0 {
            // The transport layer itself says that the packet is damaged.
            self.lost += 1;
            return;
        }
        if control & 1 == 0 {
            return;
        }
        let from = if control == 3 { 5 + usize::from(packet[4]) } else { 4 };
        let Some(payload) = packet.get(from..) else {
            self.lost += 1;
            return;
        };
        if pid == 0 {
            if let Some(section) = gather(&mut self.pat, start, payload) {
                self.read_pat(&section);
            }
        } else if Some(pid) == self.pmt_pid {
            if let Some(section) = gather(&mut self.pmt, start, payload) {
                self.read_pmt(&section);
            }
        } else if self.audio.is_some_and(|(audio, _)| audio == pid) {
            let counter = packet[3] & 0xf;
            if self.counter == Some(counter) && !start {
                return; // Sent twice, which is allowed.
            }
            if self.counter.is_some_and(|last| (last + 1) & 0xf != counter) {
                self.lost += 1;
            }
            self.counter = Some(counter);
            self.audio_payload(start, payload, sink);
        }
    }

    fn read_pat(&mut self, section: &[u8]) {
        if section[0] != 0 {
            return;
        }
        let programs = section.get(8..section.len() - 4).unwrap_or_default();
        // Program 0 is the network information.
        let first = programs.chunks_exact(4).find(|p| p[0] != 0 || p[1] != 0);
        self.pmt_pid = first.map(|p| u16::from_be_bytes([p[2] & 0x1f, p[3]])).or(self.pmt_pid);
    }

    fn read_pmt(&mut self, section: &[u8]) {
        if section[0] != 2 || section.len() < 16 {
            return;
        }
        let end = section.len() - 4;
        let mut at = 12 + (usize::from(section[10] & 0xf) << 8 | usize::from(section[11]));
        let mut found = None;
        let mut refused = None;
        while at + 5 <= end {
            let pid = u16::from_be_bytes([section[at + 1] & 0x1f, section[at + 2]]);
            match section[at] {
                0x03 | 0x04 => found = found.or(Some((pid, Elementary::Mpeg))),
                0x0f => found = found.or(Some((pid, Elementary::Adts))),
                0x11 => refused = Some("AAC in LATM"),
                0x81 | 0x87 => refused = Some("AC-3"),
                0xcf | 0xc1 | 0xc2 => refused = Some("audio encrypted sample by sample"),
                0x1c => refused = Some("raw MPEG-4 audio"),
                _ => {}
            }
            at += 5 + (usize::from(section[at + 3] & 0xf) << 8 | usize::from(section[at + 4]));
        }
        self.refused = refused;
        if found.is_some() && found != self.audio {
            self.audio = found;
            (self.counter, self.header, self.inside) = (None, None, false);
        }
    }

    fn audio_payload(&mut self, start: bool, payload: &[u8], sink: &mut dyn FnMut(&[u8])) {
        if start {
            self.header = Some(Vec::new());
            self.inside = false;
        }
        let Some(header) = &mut self.header else {
            if self.inside {
                sink(payload);
            }
            return;
        };
        header.extend_from_slice(payload);
        if header.len() < 9 {
            return;
        }
        if !header.starts_with(&[0, 0, 1]) {
            self.header = None;
            self.lost += 1;
            return;
        }
        let length = 9 + usize::from(header[8]);
        debug_assert!(length <= LONGEST_HEADER);
        if header.len() < length {
            return;
        }
        let header = std::mem::take(header);
        self.header = None;
        self.inside = true;
        if header[7] & 0x80 != 0 && length >= 14 {
            self.time(&header[9..14]);
        }
        sink(&header[length..]);
    }

    fn time(&mut self, b: &[u8]) {
        let pts = u64::from(b[0] >> 1 & 7) << 30
            | u64::from(b[1]) << 22
            | u64::from(b[2] >> 1) << 15
            | u64::from(b[3]) << 7
            | u64::from(b[4] >> 1);
        if let Some(last) = self.pts {
            // Timestamps have 33 bits and wrap after 26.5 hours.
            let ahead = pts.wrapping_sub(last) & 0x1_ffff_ffff;
            self.jumps += u64::from(ahead > 10 * 90_000);
        }
        self.pts = Some(pts);
    }
}

/// Puts a section together from the payloads of packets; gives it when it is whole and sound.
fn gather(held: &mut Vec<u8>, start: bool, payload: &[u8]) -> Option<Vec<u8>> {
    if start {
        // What precedes the start ends an older section; tables that long are not needed here.
        let from = 1 + usize::from(*payload.first()?);
        held.clear();
        held.extend_from_slice(payload.get(from..)?);
    } else if !held.is_empty() && held.len() < LONGEST_SECTION + PACKET {
        held.extend_from_slice(payload);
    }
    let length = 3 + (usize::from(*held.get(1)? & 0xf) << 8 | usize::from(*held.get(2)?));
    if held.len() < length || !(12..=LONGEST_SECTION + 3).contains(&length) {
        return None;
    }
    let section = held[..length].to_vec();
    held.clear();
    let (body, sum) = section.split_at(length - 4);
    (crc(body).to_be_bytes() == sum).then_some(section)
}

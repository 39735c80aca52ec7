//! Writing a transport stream of one audio stream, segment by segment.

use super::{Elementary, PACKET, SYNC, crc};

/// Where the tables and the audio travel; any numbers from 0x10 to 0x1ffe would do.
const PMT_PID: u16 = 0x1000;
const AUDIO_PID: u16 = 0x0100;

/// Between the clock reference and the presentation of a frame, in 1/90,000 s: time to decode.
const LEAD: u64 = 9_000;

/// Writes transport packets; their counters go on from segment to segment.
pub struct TsMuxer {
    stream_type: u8,
    /// Continuity counters of PAT, PMT and audio.
    counters: [u8; 3],
}

impl TsMuxer {
    /// For frames of `elementary`; at low rates (below 32 kHz) MP3 is of MPEG-2, another stream type.
    pub fn new(elementary: Elementary, sample_rate: u32) -> Self {
        let stream_type = match elementary {
            Elementary::Mpeg if sample_rate < 32_000 => 0x04,
            Elementary::Mpeg => 0x03,
            Elementary::Adts => 0x0f,
        };
        Self { stream_type, counters: [0; 3] }
    }

    /// Begins a segment: the tables that a decoder needs.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        // Program 1 is described at PMT_PID.
        let pat = section(0x00, 1, &[0, 1, 0xe0 | (PMT_PID >> 8) as u8, PMT_PID as u8]);
        self.table(0, 0, &pat, out);
        let audio = [0xe0 | (AUDIO_PID >> 8) as u8, AUDIO_PID as u8];
        // The clock is on the audio PID; no descriptors.
        let pmt = section(
            0x02,
            1,
            &[audio[0], audio[1], 0xf0, 0, self.stream_type, audio[0], audio[1], 0xf0, 0],
        );
        self.table(1, PMT_PID, &pmt, out);
    }

    /// Writes a frame (an MP3 frame, or an access unit with its ADTS header) that is presented at
    /// `pts` (1/90,000 s). The first of a segment is marked as a place to begin.
    pub fn frame(&mut self, frame: &[u8], pts: u64, first: bool, out: &mut Vec<u8>) {
        let mut pes = Vec::with_capacity(frame.len() + 14);
        pes.extend([0, 0, 1, 0xc0]);
        // The length counts what follows it: 8 bytes of header and the frame; 0 is "not said".
        let length = u16::try_from(frame.len() + 8).unwrap_or(0);
        pes.extend(length.to_be_bytes());
        pes.extend([0x84, 0x80, 5]);
        pes.extend(pts_field(pts));
        pes.extend_from_slice(frame);
        let clock = first.then(|| pts.wrapping_sub(LEAD) & MOST_TIME);
        let mut rest = &pes[..];
        let mut start = true;
        while !rest.is_empty() {
            rest = self.packet(2, AUDIO_PID, start, rest, if start { clock } else { None }, out);
            start = false;
        }
    }

    fn table(&mut self, counter: usize, pid: u16, section: &[u8], out: &mut Vec<u8>) {
        // The pointer field: the section begins at once. The rest of the packet is stuffed with
        // 0xff in the payload, as sections are.
        let mut payload = vec![0];
        payload.extend_from_slice(section);
        payload.resize(PACKET - 4, 0xff);
        self.packet(counter, pid, true, &payload, None, out);
    }

    /// One packet with as much of `payload` as fits; gives what is left.
    fn packet<'a>(
        &mut self,
        counter: usize,
        pid: u16,
        start: bool,
        payload: &'a [u8],
        clock: Option<u64>,
        out: &mut Vec<u8>,
    ) -> &'a [u8] {
        let mut content = Vec::new();
        if let Some(clock) = clock {
            // Random access, and a clock reference of 33 bits and an extension of 0.
            content.push(0x50);
            content.extend(clock_field(clock));
        }
        let mut adaptation = Vec::new();
        if clock.is_some() || payload.len() < PACKET - 4 {
            let stuffing = (PACKET - 5 - content.len()).saturating_sub(payload.len());
            if content.is_empty() && stuffing > 0 {
                // Flags, none of them set; a field of length 0 has none.
                content.push(0);
                content.resize(stuffing, 0xff);
            } else {
                content.resize(content.len() + stuffing, 0xff);
            }
            adaptation.push(content.len() as u8);
            adaptation.append(&mut content);
        }
        let taken = (PACKET - 4 - adaptation.len()).min(payload.len());
        let unit = if start { 0x40 } else { 0 };
        let control = if adaptation.is_empty() { 0x10 } else { 0x30 };
        out.extend([SYNC, unit | (pid >> 8) as u8, pid as u8, control | self.counters[counter]]);
        self.counters[counter] = (self.counters[counter] + 1) & 0xf;
        out.extend_from_slice(&adaptation);
        out.extend_from_slice(&payload[..taken]);
        &payload[taken..]
    }
}

/// Times have 33 bits.
const MOST_TIME: u64 = 0x1_ffff_ffff;

/// A presentation time as it stands in a PES header, with the marks around its three parts.
fn pts_field(pts: u64) -> [u8; 5] {
    let [a, b] = (((pts >> 14) as u16 & 0xfffe) | 1).to_be_bytes();
    let [c, d] = (((pts << 1) as u16 & 0xfffe) | 1).to_be_bytes();
    [0x21 | ((pts >> 29) as u8 & 0x0e), a, b, c, d]
}

/// A clock reference as it stands in an adaptation field, its extension 0.
fn clock_field(clock: u64) -> [u8; 6] {
    let [a, b, c, d] = ((clock >> 1) as u32).to_be_bytes();
    [a, b, c, d, ((clock as u8 & 1) << 7) | 0x7e, 0]
}

/// Adds `ticks` to the times in a packet that [`TsMuxer`] wrote. Where the packet does not join the
/// one before it (a packet with a clock), it is said to begin a new sequence of counters.
#[cfg(feature = "origin")]
pub(crate) fn shift_packet(packet: &mut [u8; PACKET], ticks: u64, joins: bool) {
    let later = |time: u64| time.wrapping_add(ticks) & MOST_TIME;
    if packet[1..3] != [0x40 | (AUDIO_PID >> 8) as u8, AUDIO_PID as u8] {
        return;
    }
    let mut payload = 4;
    if packet[3] & 0x20 != 0 {
        payload += 1 + usize::from(packet[4]);
        // A clock reference is present.
        if packet[4] >= 7 && packet[5] & 0x10 != 0 {
            packet[5] |= if joins { 0 } else { 0x80 };
            let high = packet[6..10].iter().fold(0, |time, &b| time << 8 | u64::from(b));
            let clock = high << 1 | u64::from(packet[10] >> 7);
            packet[6..12].copy_from_slice(&clock_field(later(clock)));
        }
    }
    // A PES header with a presentation time.
    if let Some(pes) = packet.get_mut(payload..payload + 14)
        && pes.starts_with(&[0, 0, 1])
        && pes[7] & 0x80 != 0
    {
        let b = |i: usize| u64::from(pes[i]);
        let pts = (b(9) >> 1 & 7) << 30 | b(10) << 22 | b(11) >> 1 << 15 | b(12) << 7 | b(13) >> 1;
        pes[9..14].copy_from_slice(&pts_field(later(pts)));
    }
}

/// A section of one table with its CRC; `id` is the transport stream or the program.
fn section(table: u8, id: u16, content: &[u8]) -> Vec<u8> {
    // Five bytes follow the length before the content, four after it.
    let length = (content.len() + 9) as u16;
    let mut section = vec![table, 0xb0 | (length >> 8) as u8, length as u8];
    section.extend(id.to_be_bytes());
    // Version 0, valid now; section 0 of 0.
    section.extend([0xc1, 0, 0]);
    section.extend_from_slice(content);
    section.extend(crc(&section).to_be_bytes());
    section
}

//! Moving the timestamps of a segment: a radio plays tracks one after the other on one clock, while
//! each track was cut on a clock of its own.

use crate::frames::id3_length;
use crate::mp4;
use crate::ts::{PACKET, shift_packet};

/// Adds `ticks` (1/90,000 s) to every timestamp of a segment that this program wrote: with the
/// ending `extension`, of a track of `rate` Hz. `joins` says that the segment goes on where the one
/// before it in the stream ended; otherwise a transport stream is told that its counters begin anew.
pub(crate) fn shift(extension: &str, rate: u32, ticks: u64, joins: bool, segment: &mut [u8]) {
    match extension {
        "ts" => {
            for packet in segment.as_chunks_mut::<PACKET>().0 {
                shift_packet(packet, ticks, joins);
            }
        }
        "m4s" => {
            let frames = u128::from(ticks) * u128::from(rate) / 90_000;
            mp4::shift_fragment(segment, frames as u64);
        }
        _ => {
            // The tag ends with its timestamp, of which 33 bits count.
            let at = id3_length(segment).and_then(|n| n.checked_sub(8));
            if let Some(time) = at.and_then(|at| segment.get_mut(at..)?.first_chunk_mut::<8>()) {
                let moved = u64::from_be_bytes(*time).wrapping_add(ticks) & 0x1_ffff_ffff;
                *time = moved.to_be_bytes();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::id3_timestamp;
    use crate::mp4::Mp4Writer;
    use crate::ts::{Elementary, TsMuxer};
    use taggram_audio::{Gapless, PacketCodec};

    /// A moved segment is the one that would have been written at the later time.
    #[test]
    fn moved_is_written_later() {
        // Near the end of 33 bits, so that they wrap.
        for ticks in [0, 90_000, 123_456_789, 0x1_ffff_ff00] {
            let write = |extension: &str, pts: u64| {
                let mut out = Vec::new();
                match extension {
                    "ts" => {
                        let mut muxer = TsMuxer::new(Elementary::Mpeg, 44_100);
                        muxer.begin(&mut out);
                        for i in 0..20 {
                            let frame = [i as u8; 417];
                            muxer.frame(&frame, pts + i * 2351, i % 5 == 0, &mut out);
                        }
                    }
                    "m4s" => {
                        let codec = PacketCodec::Aac { config: vec![0x12, 0x10] };
                        let writer = Mp4Writer::new(&codec, 45_000, 2, Gapless::default()).unwrap();
                        let mut packets = [(&[7u8; 300][..], 1024)].into_iter();
                        writer.segment(1, pts / 2, &mut packets, &mut out);
                    }
                    _ => {
                        out = id3_timestamp(pts);
                        out.extend([0xff; 50]);
                    }
                }
                out
            };
            for extension in ["ts", "m4s", "aac"] {
                let mut moved = write(extension, 126_000);
                shift(extension, 45_000, ticks, true, &mut moved);
                assert_eq!(moved, write(extension, 126_000 + ticks), "{extension}, {ticks}");
            }
        }
    }

    #[test]
    fn nonsense_is_left_alone() {
        for extension in ["ts", "m4s", "aac"] {
            for length in 0..600 {
                shift(extension, 0, u64::MAX, false, &mut vec![0xff; length]);
                shift(extension, u32::MAX, u64::MAX, false, &mut vec![0x47; length]);
            }
        }
    }
}

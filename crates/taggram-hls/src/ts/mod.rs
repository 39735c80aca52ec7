//! MPEG-2 transport streams (ISO/IEC 13818-1), as far as they carry audio.

mod demux;
mod mux;

pub use demux::{Elementary, TsDemuxer};
pub use mux::TsMuxer;
#[cfg(feature = "origin")]
pub(crate) use mux::shift_packet;

/// Bytes of a transport packet, which begins with [`SYNC`].
pub const PACKET: usize = 188;

/// First byte of a transport packet.
pub const SYNC: u8 = 0x47;

/// CRC-32 of sections (polynomial 0x04C11DB7, not reflected, all ones at the start).
fn crc(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte) << 24;
        for _ in 0..8 {
            crc = (crc << 1) ^ if crc & 0x8000_0000 == 0 { 0 } else { 0x04c1_1db7 };
        }
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_published_check_value() {
        // CRC-32/MPEG-2 of "123456789" in the catalogue of parametrised CRC algorithms.
        assert_eq!(crc(b"123456789"), 0x0376_e6e7);
    }

    #[test]
    fn what_is_muxed_is_demuxed() {
        for elementary in [Elementary::Mpeg, Elementary::Adts] {
            let frames: Vec<Vec<u8>> =
                (0..50usize).map(|i| (0..(i * 37) % 900 + 1).map(|b| b as u8).collect()).collect();
            let mut muxer = TsMuxer::new(elementary, 44_100);
            let mut demuxer = TsDemuxer::default();
            let mut found = Vec::new();
            for part in frames.chunks(20) {
                let mut segment = Vec::new();
                muxer.begin(&mut segment);
                for (i, frame) in part.iter().enumerate() {
                    muxer.frame(frame, 90_000 + i as u64 * 2351, i == 0, &mut segment);
                }
                assert_eq!(segment.len() % PACKET, 0);
                let kind = demuxer.push(&segment, &mut |bytes| found.extend_from_slice(bytes));
                assert_eq!(kind.unwrap(), Some(elementary));
                demuxer.end_of_segment();
            }
            assert_eq!(found, frames.concat());
            assert_eq!(demuxer.lost(), 0);
        }
    }
}

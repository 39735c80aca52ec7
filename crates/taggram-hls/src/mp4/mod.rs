//! Fragmented MP4 (ISO/IEC 14496-12, CMAF), as far as it carries one track of audio.

mod read;
mod write;

pub use read::{Init, fragment_packets, is_mp4, read_init};
#[cfg(feature = "origin")]
pub(crate) use write::shift_fragment;
pub use write::{Mp4Writer, codec_name};

/// The boxes side by side in `data`: kind, offset of the box, content. Stops at one that does not fit.
fn boxes(data: &[u8]) -> impl Iterator<Item = ([u8; 4], usize, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let head: &[u8; 8] = data.get(at..)?.first_chunk()?;
        let kind = [head[4], head[5], head[6], head[7]];
        let mut size = be32(head, 0)? as usize;
        let mut taken = 8;
        if size == 1 {
            size = usize::try_from(be64(data, at + 8)?).ok()?;
            taken = 16;
        } else if size == 0 {
            size = data.len() - at;
        }
        let content = data.get(at.checked_add(taken)?..at.checked_add(size)?)?;
        let start = at;
        at += size;
        Some((kind, start, content))
    })
}

fn child<'a>(data: &'a [u8], path: &[&[u8; 4]]) -> Option<&'a [u8]> {
    path.iter().try_fold(data, |data, kind| {
        boxes(data).find(|(k, _, _)| k == *kind).map(|(_, _, content)| content)
    })
}

fn be16(data: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*data.get(at..)?.first_chunk()?))
}

fn be32(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*data.get(at..)?.first_chunk()?))
}

fn be64(data: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(*data.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use taggram_audio::{Gapless, PacketCodec};

    #[test]
    fn what_is_written_is_read() {
        let codecs = [
            PacketCodec::Aac { config: vec![0x12, 0x10] },
            // Blocks of 4096, 44.1 kHz, two channels of 16 bits; sizes and sums unknown.
            PacketCodec::Flac {
                stream_info: [
                    &[16, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0x0a, 0xc4, 0x42, 0xf0][..],
                    &[0; 20],
                ]
                .concat(),
            },
        ];
        for codec in codecs {
            let gapless = Gapless { rate: 44_100, skip: 1024, keep: None };
            let writer = Mp4Writer::new(&codec, 44_100, 2, gapless).unwrap();
            let init = read_init(&writer.init()).unwrap();
            assert_eq!(init.codec, codec);
            assert_eq!(init.gapless, gapless);
            let packets: Vec<Vec<u8>> = (1..30u8).map(|n| vec![n; usize::from(n) * 11]).collect();
            let mut segment = Vec::new();
            writer.segment(7, 123_456, &mut packets.iter().map(|p| (&p[..], 1024)), &mut segment);
            let mut got = Vec::new();
            fragment_packets(&init, &segment, &mut |p| {
                got.push(p.to_vec());
                Ok::<_, crate::HlsError>(())
            })
            .unwrap();
            assert_eq!(got, packets);
        }
    }

    #[test]
    fn nonsense_is_an_error_or_nothing() {
        let codec = PacketCodec::Aac { config: vec![0x12, 0x10] };
        let writer = Mp4Writer::new(&codec, 44_100, 2, Gapless::default()).unwrap();
        let bytes = writer.init();
        let init = read_init(&bytes).unwrap();
        let mut segment = Vec::new();
        writer.segment(1, 0, &mut [(&[1u8; 100][..], 1024)].into_iter(), &mut segment);
        for source in [&bytes, &segment] {
            for at in 0..source.len() {
                for flip in [0x01, 0x80, 0xff] {
                    let mut broken = source.clone();
                    broken[at] ^= flip;
                    let _ = read_init(&broken);
                    let _ = read_init(&broken[..at]);
                    let mut sum = 0;
                    let _ = fragment_packets(&init, &broken, &mut |p| {
                        sum += p.len();
                        Ok::<_, crate::HlsError>(())
                    });
                    assert!(sum <= 1 << 20);
                }
            }
        }
    }
}

//! Writing fragmented MP4 of one audio track.

use taggram_audio::{Gapless, PacketCodec};

use crate::HlsError;
#[cfg(feature = "origin")]
use crate::mp4::boxes;

/// Writes an initialisation segment and media segments.
pub struct Mp4Writer {
    entry: Vec<u8>,
    rate: u32,
    gapless: Gapless,
}

/// Ticks a second of the movie itself; nothing is counted in them here.
const MOVIE_RATE: u32 = 1000;

/// The matrix that leaves a picture alone, in 16.16 and 2.30 fixed point.
const UNITY: [u32; 9] = [0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x4000_0000];

impl Mp4Writer {
    /// For packets of `codec` at `rate` Hz.
    ///
    /// # Errors
    /// A codec that is not written.
    pub fn new(
        codec: &PacketCodec,
        rate: u32,
        channels: usize,
        gapless: Gapless,
    ) -> Result<Self, HlsError> {
        let mut entry = vec![0; 6];
        entry.extend(1u16.to_be_bytes());
        entry.extend([0; 8]);
        let channels = u16::try_from(channels).unwrap_or(2).clamp(1, 8);
        entry.extend(channels.to_be_bytes());
        entry.extend(sample_bits(codec).to_be_bytes());
        entry.extend([0; 4]);
        // 16.16 fixed point; rates beyond it stand in the codec's own description.
        entry.extend((u32::from(u16::try_from(rate).unwrap_or(0)) << 16).to_be_bytes());
        let kind = match codec {
            PacketCodec::Aac { config } => {
                put(&mut entry, b"esds", |b| {
                    b.extend([0; 4]);
                    b.extend(descriptor(config));
                });
                b"mp4a"
            }
            PacketCodec::Flac { stream_info } => {
                put(&mut entry, b"dfLa", |b| {
                    // The one metadata block, the last, of type 0.
                    b.extend([0, 0, 0, 0, 0x80, 0, 0, stream_info.len() as u8]);
                    b.extend(of_any_length(stream_info));
                });
                b"fLaC"
            }
            _ => return Err(HlsError::unsupported("only AAC and FLAC are written as MP4 here")),
        };
        let mut whole = Vec::new();
        put(&mut whole, kind, |b| b.extend(entry));
        Ok(Self { entry: whole, rate, gapless })
    }

    /// The initialisation segment.
    pub fn init(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, b"ftyp", |b| b.extend(b"iso6\0\0\0\0iso6cmfcmp41"));
        put(&mut out, b"moov", |b| {
            full(b, b"mvhd", 0, |b| {
                words(b, &[0, 0, MOVIE_RATE, 0, 0x10000, 0x0100_0000, 0, 0]);
                words(b, &UNITY);
                words(b, &[0; 6]);
                words(b, &[2]);
            });
            put(b, b"trak", |b| self.track(b));
            put(b, b"mvex", |b| full(b, b"trex", 0, |b| words(b, &[1, 1, 0, 0, 0])));
        });
        out
    }

    fn track(&self, b: &mut Vec<u8>) {
        // Enabled, in the movie; track 1 at full volume.
        full(b, b"tkhd", 3, |b| {
            words(b, &[0, 0, 1, 0, 0, 0, 0, 0, 0x0100_0000]);
            words(b, &UNITY);
            words(b, &[0, 0]);
        });
        if self.gapless.skip > 0 {
            // One edit to the end, beginning behind the encoder's delay.
            let skip =
                u64::from(self.rate) * self.gapless.skip / u64::from(self.gapless.rate.max(1));
            put(b, b"edts", |b| full(b, b"elst", 0, |b| words(b, &[1, 0, skip as u32, 0x10000])));
        }
        put(b, b"mdia", |b| {
            // The language is "und", five bits a letter.
            full(b, b"mdhd", 0, |b| words(b, &[0, 0, self.rate, 0, 0x55c4_0000]));
            full(b, b"hdlr", 0, |b| {
                words(b, &[0]);
                b.extend(b"soun\0\0\0\0\0\0\0\0\0\0\0\0audio\0");
            });
            put(b, b"minf", |b| {
                full(b, b"smhd", 0, |b| words(b, &[0]));
                put(b, b"dinf", |b| {
                    full(b, b"dref", 0, |b| {
                        words(b, &[1]);
                        // Flag 1: the media are in this file.
                        full(b, b"url ", 1, |_| {});
                    });
                });
                put(b, b"stbl", |b| {
                    full(b, b"stsd", 0, |b| {
                        words(b, &[1]);
                        b.extend(&self.entry);
                    });
                    full(b, b"stts", 0, |b| words(b, &[0]));
                    full(b, b"stsc", 0, |b| words(b, &[0]));
                    full(b, b"stsz", 0, |b| words(b, &[0, 0]));
                    full(b, b"stco", 0, |b| words(b, &[0]));
                });
            });
        });
    }

    /// Appends a media segment of one fragment: its `number` (from 1), the time of its first
    /// packet in frames, and packets with their lengths in frames.
    pub fn segment(
        &self,
        number: u32,
        time: u64,
        packets: &mut dyn Iterator<Item = (&[u8], u32)>,
        out: &mut Vec<u8>,
    ) {
        let packets: Vec<(&[u8], u32)> = packets.collect();
        put(out, b"styp", |b| b.extend(b"msdh\0\0\0\0msdhcmfs"));
        let start = out.len();
        let mut place = 0;
        put(out, b"moof", |b| {
            full(b, b"mfhd", 0, |b| words(b, &[number]));
            put(b, b"traf", |b| {
                // Offsets count from the moof box; every sample can be begun with.
                full(b, b"tfhd", 0x02_0020, |b| words(b, &[1, 0x0200_0000]));
                full(b, b"tfdt", 1 << 24, |b| b.extend(time.to_be_bytes()));
                // Data offset, and of each sample its duration and size.
                full(b, b"trun", 0x301, |b| {
                    words(b, &[packets.len() as u32]);
                    place = b.len();
                    words(b, &[0]);
                    for (packet, frames) in &packets {
                        words(b, &[*frames, packet.len() as u32]);
                    }
                });
            });
        });
        let offset = (out.len() - start + 8) as u32;
        out[place..place + 4].copy_from_slice(&offset.to_be_bytes());
        put(out, b"mdat", |b| packets.iter().for_each(|(packet, _)| b.extend_from_slice(packet)));
    }
}

/// Bits of a sample: those of FLAC, which players compare with its own description (bits 100 to 104
/// of it tell one less); 16 stands for "compressed" elsewhere.
fn sample_bits(codec: &PacketCodec) -> u16 {
    match codec {
        PacketCodec::Flac { stream_info } if stream_info.len() >= 14 => {
            (u16::from(stream_info[12] & 1) << 4 | u16::from(stream_info[13] >> 4)) + 1
        }
        _ => 16,
    }
}

/// A STREAMINFO block without what is true of one whole file alone: sizes of frames, number of
/// samples and their checksum, which may all be 0 for "unknown" (RFC 9639 §8.2). So tracks that were
/// encoded alike have the same initialisation, and players go on from one to the next.
fn of_any_length(stream_info: &[u8]) -> Vec<u8> {
    let mut info = stream_info.to_vec();
    if info.len() == 34 {
        info[4..10].fill(0);
        info[13] &= 0xf0;
        info[14..].fill(0);
    }
    info
}

/// Adds `frames` to the time of each fragment of a segment that [`Mp4Writer`] wrote.
#[cfg(feature = "origin")]
pub(crate) fn shift_fragment(segment: &mut [u8], frames: u64) {
    // Box in box, each behind a header of eight bytes; the time follows version and flags.
    let mut times = Vec::new();
    for (kind, moof_at, moof) in boxes(segment) {
        for (_, traf_at, traf) in boxes(moof).filter(|b| kind == *b"moof" && b.0 == *b"traf") {
            let found = boxes(traf).filter(|b| b.0 == *b"tfdt" && b.2.first() == Some(&1));
            times.extend(found.map(|(_, tfdt_at, _)| moof_at + 8 + traf_at + 8 + tfdt_at + 12));
        }
    }
    for at in times {
        if let Some(time) = segment.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<8>()) {
            *time = u64::from_be_bytes(*time).wrapping_add(frames).to_be_bytes();
        }
    }
}

/// What a codec is called in `CODECS` (RFC 6381).
pub fn codec_name(codec: &PacketCodec) -> String {
    match codec {
        PacketCodec::Mp3 => "mp4a.40.34".into(),
        // The object type is in the first five bits of the configuration.
        PacketCodec::Aac { config } => {
            format!("mp4a.40.{}", config.first().map_or(2, |b| b >> 3))
        }
        PacketCodec::Flac { .. } => "fLaC".into(),
        PacketCodec::Opus { .. } => "Opus".into(),
        _ => "alac".into(),
    }
}

/// An elementary stream descriptor of MPEG-4 audio (ISO/IEC 14496-1 §7.2.6).
fn descriptor(config: &[u8]) -> Vec<u8> {
    let inner = config.len() as u8;
    let mut out = vec![3, inner + 23, 0, 1, 0];
    // Object type 0x40, audio stream; buffer and bit rates are not said.
    out.extend([4, inner + 15, 0x40, 0x15, 0, 0, 0]);
    out.extend([0; 8]);
    out.extend([5, inner]);
    out.extend(config);
    out.extend([6, 1, 2]);
    out
}

/// A box whose content `fill` appends.
fn put(out: &mut Vec<u8>, kind: &[u8; 4], fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend([0; 4]);
    out.extend(kind);
    fill(out);
    let size = (out.len() - start) as u32;
    out[start..start + 4].copy_from_slice(&size.to_be_bytes());
}

/// A box with version (the upper eight bits) and flags.
fn full(out: &mut Vec<u8>, kind: &[u8; 4], flags: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    put(out, kind, |b| {
        words(b, &[flags]);
        fill(b);
    });
}

fn words(out: &mut Vec<u8>, words: &[u32]) {
    words.iter().for_each(|w| out.extend(w.to_be_bytes()));
}

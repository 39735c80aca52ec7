//! Opus packets from an Ogg stream (RFC 7845).

use opus_pure::{MAX_PACKET_SAMPLES, OpusDecoder, OpusMSDecoder};

use crate::AudioError;

/// Opus always decodes to this rate; timestamps count in it too.
pub(crate) const RATE: u32 = 48_000;

/// A decoder set up by an `OpusHead` packet.
pub(crate) struct Opus {
    decoder: Inner,
    channels: usize,
    gain: f32,
    /// Frames at the start that belong to the codec, not to the music.
    pub pre_skip: u16,
    buffer: Vec<f32>,
}

enum Inner {
    Plain(Box<OpusDecoder>),
    Many(Box<OpusMSDecoder>),
}

impl Opus {
    pub fn new(head: &[u8]) -> Result<Self, AudioError> {
        let bad = |what: &str| AudioError::malformed(format!("the Opus header is broken: {what}"));
        if head.len() < 19 || !head.starts_with(b"OpusHead") {
            return Err(bad("it is too short or lacks its signature"));
        }
        let channels = usize::from(head[9]);
        let pre_skip = u16::from_le_bytes([head[10], head[11]]);
        let gain_q8 = i16::from_le_bytes([head[16], head[17]]);
        let family = head[18];
        let setup = |e: opus_pure::Error| {
            AudioError::unsupported(format!("this Opus stream cannot be set up: {e}"))
        };
        let decoder = match (family, channels) {
            (0, 1 | 2) => {
                Inner::Plain(Box::new(OpusDecoder::new(RATE as i32, channels).map_err(setup)?))
            }
            (1, 1..=8) => {
                let many = OpusMSDecoder::new(RATE as i32, channels, 1).map_err(setup)?;
                let (layout, table) = (many.layout(), &head[19..]);
                let standard = table.len() >= 2 + channels
                    && usize::from(table[0]) == layout.nb_streams
                    && usize::from(table[1]) == layout.nb_coupled_streams
                    && table[2..2 + channels] == layout.mapping[..];
                if !standard {
                    return Err(AudioError::unsupported(
                        "this Opus stream arranges its channels in an unusual order, which is not supported",
                    ));
                }
                Inner::Many(Box::new(many))
            }
            (0 | 1, _) => {
                return Err(bad(&format!("{channels} channels in mapping family {family}")));
            }
            _ => {
                return Err(AudioError::unsupported(format!(
                    "Opus channel mapping family {family} is not supported (0 and 1 are)"
                )));
            }
        };
        Ok(Self {
            decoder,
            channels,
            gain: 10f32.powf(f32::from(gain_q8) / (20.0 * 256.0)),
            pre_skip,
            buffer: vec![0.0; MAX_PACKET_SAMPLES * channels],
        })
    }

    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Appends the packet's frames, interleaved, without the last `drop_end` of them.
    pub fn decode(
        &mut self,
        packet: &[u8],
        drop_end: u64,
        out: &mut Vec<f32>,
    ) -> Result<(), String> {
        let room = MAX_PACKET_SAMPLES;
        let frames = match &mut self.decoder {
            Inner::Plain(decoder) => decoder.decode(packet, room, &mut self.buffer),
            Inner::Many(decoder) => decoder.decode(packet, room, &mut self.buffer),
        }
        .map_err(|e| e.to_string())?;
        let frames = (frames as u64).saturating_sub(drop_end) as usize;
        let samples = &self.buffer[..(frames * self.channels).min(self.buffer.len())];
        if self.gain == 1.0 {
            out.extend_from_slice(samples);
        } else {
            out.extend(samples.iter().map(|x| x * self.gain));
        }
        Ok(())
    }

    pub fn reset(&mut self) {
        // It only fails for settings that were accepted before.
        let _ = match &mut self.decoder {
            Inner::Plain(decoder) => decoder.reset_state(),
            Inner::Many(decoder) => decoder.reset_state(),
        };
    }
}

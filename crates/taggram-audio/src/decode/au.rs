//! AU / SND, the format of Sun and NeXT: a header of six numbers, then plain samples.

use std::io::{Read, SeekFrom};

use symphonia::core::io::MediaSource;

use super::{Chunk, Claims, Damage, Decode};
use crate::source::Opened;
use crate::{AudioError, ErrorKind};

/// Frames a chunk.
const CHUNK: usize = 4096;

/// How a sample is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    MuLaw,
    ALaw,
    Int8,
    Int16,
    Int24,
    Int32,
    Float32,
    Float64,
}

impl Coding {
    /// From the encoding number of the header.
    fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::MuLaw,
            2 => Self::Int8,
            3 => Self::Int16,
            4 => Self::Int24,
            5 => Self::Int32,
            6 => Self::Float32,
            7 => Self::Float64,
            27 => Self::ALaw,
            _ => return None,
        })
    }

    fn bytes(self) -> usize {
        match self {
            Self::MuLaw | Self::ALaw | Self::Int8 => 1,
            Self::Int16 => 2,
            Self::Int24 => 3,
            Self::Int32 | Self::Float32 => 4,
            Self::Float64 => 8,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::MuLaw => "pcm_mulaw",
            Self::ALaw => "pcm_alaw",
            Self::Int8 => "pcm_s8",
            Self::Int16 => "pcm_s16be",
            Self::Int24 => "pcm_s24be",
            Self::Int32 => "pcm_s32be",
            Self::Float32 => "pcm_f32be",
            Self::Float64 => "pcm_f64be",
        }
    }

    /// One sample from its big-endian bytes (`bytes()` of them).
    fn sample(self, b: &[u8]) -> f32 {
        match self {
            Self::MuLaw => f32::from(mu_law(b[0])) / 32768.0,
            Self::ALaw => f32::from(a_law(b[0])) / 32768.0,
            Self::Int8 => f32::from(b[0] as i8) / 128.0,
            Self::Int16 => f32::from(i16::from_be_bytes([b[0], b[1]])) / 32768.0,
            // Put into the upper three bytes, so that the sign is in place.
            Self::Int24 => (i32::from_be_bytes([b[0], b[1], b[2], 0]) >> 8) as f32 / 8_388_608.0,
            Self::Int32 => {
                (f64::from(i32::from_be_bytes([b[0], b[1], b[2], b[3]])) / 2_147_483_648.0) as f32
            }
            Self::Float32 => f32::from_be_bytes([b[0], b[1], b[2], b[3]]),
            Self::Float64 => {
                f64::from_be_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]) as f32
            }
        }
    }
}

/// ITU-T G.711 µ-law to 16 bits.
fn mu_law(code: u8) -> i16 {
    let code = !code;
    let magnitude = ((i16::from(code & 0x0f) << 3) + 0x84) << ((code >> 4) & 7);
    if code & 0x80 != 0 { 0x84 - magnitude } else { magnitude - 0x84 }
}

/// ITU-T G.711 A-law to 16 bits.
fn a_law(code: u8) -> i16 {
    let code = code ^ 0x55;
    let (exponent, mantissa) = ((code >> 4) & 7, i16::from(code & 0x0f) << 4);
    let magnitude = match exponent {
        0 => mantissa + 8,
        _ => (mantissa + 0x108) << (exponent - 1),
    };
    if code & 0x80 != 0 { magnitude } else { -magnitude }
}

/// A decoder of AU files.
pub(crate) struct Au {
    media: Box<dyn MediaSource>,
    claims: Claims,
    coding: Coding,
    little_endian: bool,
    rate: u32,
    channels: usize,
    data_start: u64,
    /// Frames read so far, and how many there are at most.
    position: u64,
    frames: u64,
    bytes: Vec<u8>,
}

impl Au {
    pub fn open(opened: Opened) -> Result<Self, AudioError> {
        let Opened { mut media, size, .. } = opened;
        let mut header = [0; 24];
        media.read_exact(&mut header).map_err(|_| {
            AudioError::new(ErrorKind::TooShort, "the file ends within its AU header of 24 bytes")
        })?;
        // Some machines wrote the whole header, and the samples, the other way round.
        let little_endian = header.starts_with(b"dns.");
        let word = |i: usize| {
            let bytes = [header[i * 4], header[i * 4 + 1], header[i * 4 + 2], header[i * 4 + 3]];
            if little_endian { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) }
        };
        let (data_start, data_size, number, rate, channels) =
            (word(1), word(2), word(3), word(4), word(5));
        let coding = Coding::from_number(number).ok_or_else(|| {
            AudioError::unsupported(format!(
                "the AU encoding {number} is not supported (1–7 and 27, plain samples, are)"
            ))
        })?;
        if data_start < 24 || channels == 0 || channels > 65_535 || rate == 0 {
            return Err(AudioError::malformed(format!(
                "the AU header makes no sense: samples from byte {data_start}, {channels} channels, {rate} Hz"
            )));
        }
        let skipped =
            std::io::copy(&mut (&mut media).take(u64::from(data_start) - 24), &mut std::io::sink())
                .map_err(|e| AudioError::unreadable("reading the file", &e))?;
        if skipped < u64::from(data_start) - 24 {
            return Err(AudioError::new(
                ErrorKind::TooShort,
                format!(
                    "the AU header says that samples begin at byte {data_start}, which is behind the end"
                ),
            ));
        }
        let frame = (coding.bytes() * channels as usize) as u64;
        // −1 says that the length was not known when the header was written.
        let promised = (data_size != u32::MAX).then(|| u64::from(data_size) / frame);
        let there = size.map(|size| size.saturating_sub(data_start.into()) / frame);
        let can_go_back = media.is_seekable();
        let mut codec = coding.name().to_owned();
        if little_endian && coding.bytes() > 1 {
            codec.replace_range(codec.len() - 2.., "le");
        }
        Ok(Self {
            claims: Claims {
                container: "au",
                codec,
                frames: promised.or(there),
                frames_rate: rate,
                can_go_back,
                ..Claims::default()
            },
            media,
            coding,
            little_endian,
            rate,
            channels: channels as usize,
            data_start: data_start.into(),
            position: 0,
            frames: promised.unwrap_or(u64::MAX),
            bytes: Vec::new(),
        })
    }
}

impl Decode for Au {
    fn claims(&self) -> &Claims {
        &self.claims
    }

    fn next(&mut self, out: &mut Vec<f32>, _: &mut Damage) -> Result<Option<Chunk>, AudioError> {
        let width = self.coding.bytes();
        let frame = width * self.channels;
        let wanted =
            self.frames.saturating_sub(self.position).min((CHUNK / self.channels).max(1) as u64);
        self.bytes.clear();
        (&mut self.media)
            .take(wanted * frame as u64)
            .read_to_end(&mut self.bytes)
            .map_err(|e| AudioError::unreadable("reading the file", &e))?;
        let whole = self.bytes.len() / frame;
        if whole == 0 {
            return Ok(None);
        }
        let bytes = &mut self.bytes[..whole * frame];
        if self.little_endian {
            bytes.chunks_exact_mut(width).for_each(<[u8]>::reverse);
        }
        out.extend(bytes.chunks_exact(width).map(|b| self.coding.sample(b)));
        let start = self.position as i64;
        self.position += whole as u64;
        Ok(Some(Chunk { start: Some(start), rate: self.rate, channels: self.channels }))
    }

    fn seek(&mut self, frame: u64, _: u32) -> Result<bool, AudioError> {
        if !self.claims.can_go_back {
            return Ok(false);
        }
        let frame = frame.min(self.frames);
        let size = (self.coding.bytes() * self.channels) as u64;
        let place = frame.checked_mul(size).and_then(|bytes| bytes.checked_add(self.data_start));
        let place =
            place.ok_or_else(|| AudioError::malformed("a position behind the end of the file"))?;
        self.media
            .seek(SeekFrom::Start(place))
            .map_err(|e| AudioError::unreadable("seeking in the file", &e))?;
        self.position = frame;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_laws_of_telephony() {
        // Ends and zeros of the tables in G.711.
        assert_eq!((mu_law(0x00), mu_law(0x80), mu_law(0xff), mu_law(0x7f)), (-32124, 32124, 0, 0));
        assert_eq!((a_law(0xd5), a_law(0x55), a_law(0xaa), a_law(0x2a)), (8, -8, 32256, -32256));
    }
}

//! Packets in, mono samples at one rate out: the reader's path for music that comes in pieces.

use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::{
    CODEC_ID_AAC, CODEC_ID_ALAC, CODEC_ID_FLAC, CODEC_ID_MP3, CODEC_ID_OPUS,
};
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, Timestamp};

use super::{Gapless, PacketCodec};
use crate::decode::{Claims, Codec, TRIAL, choose, heaac, opus};
use crate::reader::{guarded, mix_down, silence_absurd};
use crate::{AudioError, ErrorKind, Limits, Resampler, ResamplingKind};

/// Samples gathered before they are resampled: filters work best on runs.
const GATHER: usize = 1 << 14;

/// Damaged packets in a row after which nothing more is expected of a stream.
const PATIENCE: usize = 2000;

/// Decodes packets as they come, in bounded memory. The same packets give the same samples as
/// [`MonoStream`](crate::MonoStream) over the file that holds them.
pub struct PacketStream {
    params: AudioCodecParameters,
    codec: Option<Codec>,
    /// AAC only: packets that wait until there are enough to tell its kind.
    waiting: Vec<Packet>,
    rate: u32,
    resampling: ResamplingKind,
    resampler: Option<(u32, Resampler)>,
    limits: Limits,
    gapless: Gapless,
    /// Frames decoded so far at the current rate, and seconds before that.
    position: u64,
    before_s: f64,
    block: Vec<f32>,
    gathered: Vec<f32>,
    damaged: u64,
    in_a_row: usize,
    reason: String,
    replaced: u64,
    notes: Vec<String>,
}

impl PacketStream {
    /// A decoder for packets of `codec` that gives mono samples at `rate` Hz (at least 1).
    ///
    /// # Errors
    /// When the codec's configuration is broken or not supported.
    pub fn new(
        codec: &PacketCodec,
        rate: u32,
        resampling: ResamplingKind,
        limits: &Limits,
    ) -> Result<Self, AudioError> {
        let mut params = AudioCodecParameters::new();
        let (id, extra) = match codec {
            PacketCodec::Mp3 => (CODEC_ID_MP3, None),
            PacketCodec::Aac { config } => (CODEC_ID_AAC, Some(config)),
            PacketCodec::Flac { stream_info } => (CODEC_ID_FLAC, Some(stream_info)),
            PacketCodec::Opus { head } => (CODEC_ID_OPUS, Some(head)),
            PacketCodec::Alac { cookie } => (CODEC_ID_ALAC, Some(cookie)),
        };
        params.for_codec(id);
        if let Some(extra) = extra {
            params.with_extra_data(extra.clone().into_boxed_slice());
        }
        if let PacketCodec::Aac { config } = codec {
            // What the container would say; the decoder takes both from the configuration.
            params.with_sample_rate(core_rate(config).unwrap_or(0));
        }
        let mut stream = Self {
            params,
            codec: None,
            waiting: Vec::new(),
            rate,
            resampling,
            resampler: None,
            limits: limits.clone(),
            gapless: Gapless::default(),
            position: 0,
            before_s: 0.0,
            block: Vec::new(),
            gathered: Vec::new(),
            damaged: 0,
            in_a_row: 0,
            reason: String::new(),
            replaced: 0,
            notes: Vec::new(),
        };
        if id != CODEC_ID_AAC {
            stream.codec = Some(stream.set_up()?);
        }
        Ok(stream)
    }

    /// Says what of the decoded frames is music. Before the first packet.
    pub fn set_gapless(&mut self, gapless: Gapless) {
        self.gapless = gapless;
    }

    /// Takes a packet and appends the samples that it completes. A damaged one is left out, with
    /// a [warning](Self::warnings).
    ///
    /// # Errors
    /// The codec is not supported; over a limit; too many damaged packets; a defect of a decoder.
    pub fn push(&mut self, packet: &[u8], out: &mut Vec<f32>) -> Result<(), AudioError> {
        let packet = Packet::new(0, Timestamp::new(0), Duration::from(0u64), packet);
        if self.codec.is_some() {
            return self.decode(&packet, out);
        }
        self.waiting.push(packet);
        if self.waiting.len() >= TRIAL { self.begin(out) } else { Ok(()) }
    }

    /// Takes the end and appends the samples that were still held.
    ///
    /// # Errors
    /// As [`PacketStream::push`].
    pub fn finish(mut self, out: &mut Vec<f32>) -> Result<(), AudioError> {
        self.end(out)
    }

    /// [`PacketStream::finish`] for one that is held by reference; packets must not follow.
    ///
    /// # Errors
    /// As [`PacketStream::push`].
    pub fn end(&mut self, out: &mut Vec<f32>) -> Result<(), AudioError> {
        if !self.waiting.is_empty() {
            self.begin(out)?;
        }
        self.flush(out);
        Ok(())
    }

    /// What was noticed so far, each a sentence.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.notes.clone();
        if self.damaged > 0 {
            warnings.push(format!(
                "{} damaged packets were left out (the last: {})",
                self.damaged, self.reason
            ));
        }
        if self.replaced > 0 {
            warnings.push(format!(
                "{} samples were not numbers, or absurdly large, and were read as silence",
                self.replaced
            ));
        }
        warnings
    }

    fn set_up(&mut self) -> Result<Codec, AudioError> {
        let mut claims = Claims::default();
        let codec = guarded(|| choose(&self.params, &self.waiting, &mut claims))?;
        if let Codec::Opus(_) = codec
            && self.gapless == Gapless::default()
        {
            self.gapless = Gapless { rate: opus::RATE, skip: claims.trim.skip, keep: None };
        }
        Ok(codec)
    }

    fn begin(&mut self, out: &mut Vec<f32>) -> Result<(), AudioError> {
        self.codec = Some(self.set_up()?);
        for packet in std::mem::take(&mut self.waiting) {
            self.decode(&packet, out)?;
        }
        Ok(())
    }

    fn decode(&mut self, packet: &Packet, out: &mut Vec<f32>) -> Result<(), AudioError> {
        let Some(codec) = &mut self.codec else { return Ok(()) };
        let block = &mut self.block;
        let (rate, channels) = match guarded(|| Ok(codec.decode(packet, block)))? {
            Ok(found) => found,
            Err(reason) => {
                self.damaged += 1;
                self.in_a_row += 1;
                self.reason = reason;
                if self.in_a_row > PATIENCE {
                    return Err(AudioError::malformed(format!(
                        "{PATIENCE} packets in a row could not be decoded ({})",
                        self.reason
                    )));
                }
                return Ok(());
            }
        };
        self.in_a_row = 0;
        if rate == 0 || channels == 0 || self.block.is_empty() {
            return Ok(());
        }
        if channels > self.limits.max_channels || rate > self.limits.max_sample_rate {
            return Err(AudioError::new(
                ErrorKind::OverLimit,
                format!("{channels} channels at {rate} Hz are more than is accepted"),
            ));
        }
        self.replaced += silence_absurd(&mut self.block);
        if self.resampler.as_ref().is_none_or(|(from, _)| *from != rate) {
            self.change_rate(rate, out);
        }
        let frames = (self.block.len() / channels) as u64;
        let skip = self.frames_of(self.gapless.skip, rate);
        let end = self.gapless.keep.map_or(u64::MAX, |keep| skip + self.frames_of(keep, rate));
        let first = skip.saturating_sub(self.position).min(frames);
        let last = end.saturating_sub(self.position).clamp(first, frames);
        self.position += frames;
        let seconds = self.before_s + self.position as f64 / f64::from(rate);
        if seconds > self.limits.max_seconds {
            return Err(AudioError::new(
                ErrorKind::OverLimit,
                format!("the audio is longer than the {} s accepted", self.limits.max_seconds),
            ));
        }
        let kept = &self.block[first as usize * channels..last as usize * channels];
        mix_down(kept, channels, &mut self.gathered);
        if self.gathered.len() >= GATHER
            && let Some((_, resampler)) = &mut self.resampler
        {
            resampler.push(&self.gathered, out);
            self.gathered.clear();
        }
        Ok(())
    }

    /// The first packet, or one of another rate: what was heard so far is brought to its end.
    fn change_rate(&mut self, rate: u32, out: &mut Vec<f32>) {
        if let Some((from, _)) = self.resampler {
            self.flush(out);
            self.notes.push(format!("the sample rate changed from {from} to {rate} Hz"));
            self.before_s += self.position as f64 / f64::from(from);
            self.position = 0;
            self.gapless = Gapless::default();
        }
        self.resampler = Some((rate, Resampler::new(rate, self.rate, self.resampling)));
    }

    fn flush(&mut self, out: &mut Vec<f32>) {
        if let Some((_, resampler)) = &mut self.resampler {
            resampler.push(&self.gathered, out);
            resampler.finish(out);
            self.gathered.clear();
        }
    }

    /// Ticks of the gapless information as frames at `rate`, rounded.
    fn frames_of(&self, ticks: u64, rate: u32) -> u64 {
        let per_second = u128::from(self.gapless.rate.max(1));
        ((u128::from(ticks) * u128::from(rate) + per_second / 2) / per_second).min(1 << 62) as u64
    }
}

/// The core sample rate in an AudioSpecificConfig.
fn core_rate(config: &[u8]) -> Option<u32> {
    let word = u16::from_be_bytes([*config.first()?, *config.get(1)?]);
    heaac::RATES.get(usize::from(word >> 7 & 0xf)).copied()
}

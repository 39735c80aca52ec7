//! The decoder of one track's packets: symphonia's, or ours for Opus and HE-AAC.

use symphonia::core::codecs::audio::well_known::{
    CODEC_ID_AAC, CODEC_ID_MP3, CODEC_ID_OPUS, CODEC_ID_VORBIS,
};
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::packet::Packet;

use super::heaac::{self, HeAac};
use super::opus::{self, Opus};
use super::{Claims, Trim};
use crate::AudioError;

/// A decoder that is set up.
pub(crate) enum Codec {
    Symphonia(Box<dyn AudioDecoder>),
    Opus(Box<Opus>),
    HeAac(Box<HeAac>),
}

impl Codec {
    /// Its short name.
    pub fn name(&self) -> String {
        match self {
            Self::Symphonia(decoder) => decoder.codec_info().short_name.to_owned(),
            Self::Opus(_) => "opus".to_owned(),
            Self::HeAac(_) => "he-aac".to_owned(),
        }
    }

    /// Decodes a packet into interleaved frames; gives their rate (Hz) and channels, or what is
    /// wrong with this packet.
    pub fn decode(&mut self, packet: &Packet, out: &mut Vec<f32>) -> Result<(u32, usize), String> {
        out.clear();
        match self {
            Self::Symphonia(decoder) => match decoder.decode(packet) {
                Ok(buffer) => {
                    buffer.copy_to_vec_interleaved(out);
                    Ok((buffer.spec().rate(), buffer.spec().channels().count()))
                }
                Err(Error::ResetRequired) => {
                    decoder.reset();
                    Err("the decoder had to start afresh".to_owned())
                }
                Err(error) => Err(error.to_string()),
            },
            Self::Opus(opus) => {
                let channels = opus.channels();
                opus.decode(&packet.data, packet.trim_end.get(), out)
                    .map(|()| (opus::RATE, channels))
            }
            Self::HeAac(decoder) => decoder.decode(&packet.data, out),
        }
    }

    /// Forgets all packets, for a jump.
    pub fn reset(&mut self) {
        match self {
            Self::Symphonia(decoder) => decoder.reset(),
            Self::Opus(opus) => opus.reset(),
            Self::HeAac(decoder) => decoder.reset(),
        }
    }
}

/// The decoder of a track, given its first packets.
pub(crate) fn choose(
    params: &AudioCodecParameters,
    first: &[Packet],
    claims: &mut Claims,
) -> Result<Codec, AudioError> {
    if params.codec == CODEC_ID_OPUS {
        let opus = Opus::new(params.extra_data.as_deref().unwrap_or_default())?;
        claims.trim = Trim { rate: opus::RATE, skip: opus.pre_skip.into(), keep: None };
        // Timestamps count the skipped frames too.
        claims.frames = claims.frames.map(|n| n.saturating_sub(opus.pre_skip.into()));
        return Ok(Codec::Opus(Box::new(opus)));
    }
    let plain = symphonia::default::get_codecs()
        .make_audio_decoder(params, &AudioDecoderOptions::default());
    if params.codec == CODEC_ID_AAC {
        let core = params.sample_rate.unwrap_or(0);
        let built = params.channels.as_ref().and_then(|c| heaac::lc_config(core, c.count()));
        let config = params.extra_data.as_deref().or(built.as_ref().map(|c| &c[..]));
        if let Some(config) = config
            && (plain.is_err() || HeAac::present(config, core, first))
            && let Some(decoder) = HeAac::new(config)
        {
            // Its length is told by what is decoded, not by a count of half-rate frames.
            claims.preroll *= 2;
            return Ok(Codec::HeAac(Box::new(decoder)));
        }
    }
    plain.map(Codec::Symphonia).map_err(|e| {
        let name = params.codec;
        AudioError::unsupported(format!("the codec of this file is not supported ({name}; {e})"))
    })
}

/// Frames a decoder needs to be run in before its output is what it would have been.
pub(crate) fn preroll(params: &AudioCodecParameters) -> u64 {
    match params.codec {
        // The bit reservoir reaches back up to nine frames, the overlap one more.
        CODEC_ID_MP3 => 12 * 1152,
        CODEC_ID_AAC => 4 * 1024,
        // Two of the longest blocks.
        CODEC_ID_VORBIS => 2 * 8192,
        // RFC 7845 §4.6 asks for 80 ms; after half a second the difference is below −100 dB.
        CODEC_ID_OPUS => 24_000,
        _ => 0,
    }
}

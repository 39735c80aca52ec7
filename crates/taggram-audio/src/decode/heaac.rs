//! HE-AAC: AAC whose upper half of the spectrum (SBR) and stereo image (PS) are side information.
//!
//! symphonia decodes its core alone, at half the rate and without a word, so every AAC stream is
//! first shown to a decoder that knows better.

use symphonia::core::packet::Packet;
use syom::{DecodeOptions, Decoder};

/// A decoder for AAC access units with SBR and PS.
pub(crate) struct HeAac {
    decoder: Decoder,
    config: Vec<u8>,
}

impl HeAac {
    /// From an AudioSpecificConfig (ISO/IEC 14496-3), or `None` if it is not understood.
    pub fn new(config: &[u8]) -> Option<Self> {
        let decoder = Decoder::from_asc(config, DecodeOptions::unbounded()).ok()?;
        Some(Self { decoder, config: config.to_vec() })
    }

    /// Decodes an access unit into interleaved frames; gives their rate and channels.
    pub fn decode(&mut self, unit: &[u8], out: &mut Vec<f32>) -> Result<(u32, usize), String> {
        let mut found = (0, 0);
        let result = self.decoder.decode_au(unit, |frame| {
            found = (frame.sample_rate, frame.planar.len());
            out.reserve(frame.samples * frame.planar.len());
            for i in 0..frame.samples {
                out.extend(frame.planar.iter().map(|plane| plane.get(i).copied().unwrap_or(0.0)));
            }
            Ok(())
        });
        result.map(|()| found).map_err(|error| {
            // An error leaves the decoder unusable until it is set up again.
            self.reset();
            error.to_string()
        })
    }

    pub fn reset(&mut self) {
        self.decoder.reset();
        // The configuration was accepted once, so it is again.
        let _ = self.decoder.set_asc(&self.config);
    }

    /// Whether the first access units of a stream carry SBR: they come out faster than the core.
    pub fn present(config: &[u8], core_rate: u32, first: &[Packet]) -> bool {
        let Some(mut trial) = Self::new(config) else { return false };
        let mut out = Vec::new();
        first.iter().any(|packet| {
            out.clear();
            trial.decode(&packet.data, &mut out).is_ok_and(|(rate, _)| rate > core_rate)
        })
    }
}

/// Sample rates by their index in an AudioSpecificConfig (ISO/IEC 14496-3 table 1.18), Hz.
pub(crate) const RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];

/// An AudioSpecificConfig for AAC-LC, for streams (ADTS) that carry none.
pub(crate) fn lc_config(rate: u32, channels: usize) -> Option<[u8; 2]> {
    let rate = RATES.iter().position(|&r| r == rate)? as u16;
    let channels = match channels {
        1..=6 => channels as u16,
        8 => 7,
        _ => return None,
    };
    // Five bits object type 2 (LC), four bits rate, four bits channels, three zero flags.
    Some(((2 << 11) | (rate << 7) | (channels << 3)).to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_configuration() {
        // 44.1 kHz stereo AAC-LC is the well-known 12 10.
        assert_eq!(lc_config(44_100, 2), Some([0x12, 0x10]));
        assert_eq!(lc_config(44_101, 2), None);
    }
}

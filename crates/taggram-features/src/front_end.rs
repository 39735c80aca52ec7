//! The front-end: samples in, frames of a feature map out, the same for a whole clip and for a
//! stream in chunks of any size.

use crate::chroma::ChromaBank;
use crate::error::{FeatureError, Kind, within};
use crate::map::{FeatureFrames, FeatureMap};
use crate::mel::MelBank;
use crate::numeric::{dct, decibel, dot, log10, round_half};
use crate::power::PowerSpectrum;
use crate::recipe::{FrontEnd, Map, Scale};
use crate::stft::Framer;

/// Mel bands under the cepstral coefficients, as in librosa.
const MFCC_MELS: usize = 128;
/// Lowest chroma value on its decibel-like scale.
const CHROMA_FLOOR: f32 = -80.0;

impl FrontEnd {
    /// Refuses numbers that no map can be made of, naming the number.
    pub fn check(&self) -> Result<(), FeatureError> {
        within("front-end sample_rate", self.sample_rate as usize, 1_000, 768_000, "Hz")?;
        within("front-end n_fft", self.n_fft, 16, 1 << 16, "samples")?;
        if !self.n_fft.is_multiple_of(2) {
            return Err(FeatureError::new(
                Kind::Unsupported,
                "front-end n_fft",
                format!("{} samples asked for, an even number is needed", self.n_fft),
            ));
        }
        within("front-end hop", self.hop, 1, 1 << 20, "samples")?;
        match self.map {
            Map::Mel { bands, scale } | Map::MelChroma { bands, scale } => {
                within("front-end bands", bands, 1, 1024, "mel bands")?;
                match scale {
                    Scale::Log10Half { multiply } if !(multiply > 0.0 && multiply.is_finite()) => {
                        Err(FeatureError::new(
                            Kind::Unsupported,
                            "front-end multiply",
                            format!(
                                "a factor of {multiply} before the logarithm, a positive number is needed"
                            ),
                        ))
                    }
                    _ => Ok(()),
                }
            }
            Map::Mfcc { count, .. } => {
                within("front-end count", count, 1, MFCC_MELS, "coefficients")
            }
        }
    }

    /// Number of channels of the map: 2 for mel with chroma, else 1.
    pub fn channels(&self) -> usize {
        if matches!(self.map, Map::MelChroma { .. }) { 2 } else { 1 }
    }

    /// Number of values a frame and channel.
    pub fn bands(&self) -> usize {
        match self.map {
            Map::Mel { bands, .. } | Map::MelChroma { bands, .. } => bands,
            Map::Mfcc { count, rms } => count + usize::from(rms),
        }
    }

    /// Frames a second: sample rate / hop.
    pub fn frame_rate(&self) -> f64 {
        f64::from(self.sample_rate) / self.hop as f64
    }

    /// A stream that turns samples at [`FrontEnd::sample_rate`] into frames.
    ///
    /// # Errors
    /// Those of [`FrontEnd::check`].
    pub fn stream(&self) -> Result<MapStream, FeatureError> {
        self.check()?;
        let mel_bands = match self.map {
            Map::Mel { bands, .. } | Map::MelChroma { bands, .. } => bands,
            Map::Mfcc { .. } => MFCC_MELS,
        };
        let dct = match self.map {
            Map::Mfcc { count, .. } => dct(count, MFCC_MELS),
            _ => Vec::new(),
        };
        let chroma = matches!(self.map, Map::MelChroma { .. })
            .then(|| ChromaBank::new(self.sample_rate, self.n_fft, 0.0));
        let analyser = Analyser {
            map: self.map.clone(),
            spectrum: PowerSpectrum::new(self.n_fft),
            mel: MelBank::new(self.sample_rate, self.n_fft, mel_bands),
            chroma,
            dct,
            power: vec![0.0; self.n_fft / 2 + 1],
            bands: vec![0.0; mel_bands],
        };
        Ok(MapStream { framer: Framer::new(self.n_fft, self.hop), analyser })
    }

    /// The map of a whole clip, 1 + ⌊samples / hop⌋ frames (none of no samples).
    ///
    /// # Errors
    /// Those of [`FrontEnd::check`].
    pub fn map(&self, samples: &[f32]) -> Result<FeatureMap, FeatureError> {
        let mut stream = self.stream()?;
        let mut frames = FeatureFrames::new(self.channels(), self.bands());
        stream.push(samples, &mut frames);
        stream.finish(&mut frames);
        Ok(frames.into_map())
    }
}

/// A front-end at work. Chunks of any size give, bit for bit, the frames of the whole.
pub struct MapStream {
    framer: Framer,
    analyser: Analyser,
}

impl MapStream {
    /// Takes samples (finite, −1…1) in and appends the frames that they complete to `out`.
    pub fn push(&mut self, samples: &[f32], out: &mut FeatureFrames) {
        self.framer.push(samples, |frame| self.analyser.frame(frame, out));
    }

    /// Ends the signal: appends the frames around its end, and is ready for another signal.
    pub fn finish(&mut self, out: &mut FeatureFrames) {
        self.framer.finish(|frame| self.analyser.frame(frame, out));
    }
}

struct Analyser {
    map: Map,
    spectrum: PowerSpectrum,
    mel: MelBank,
    chroma: Option<ChromaBank>,
    /// `[coefficient, mel]`, empty unless cepstral coefficients are made.
    dct: Vec<f32>,
    power: Vec<f32>,
    bands: Vec<f32>,
}

impl Analyser {
    fn frame(&mut self, frame: &[f32], out: &mut FeatureFrames) {
        self.spectrum.power(frame, &mut self.power);
        self.mel.apply(&self.power, &mut self.bands);
        match self.map {
            Map::Mel { scale, .. } | Map::MelChroma { scale, .. } => {
                compress(&mut self.bands, scale);
                out.data.extend_from_slice(&self.bands);
            }
            Map::Mfcc { rms, .. } => {
                compress(&mut self.bands, Scale::Decibel);
                out.data.extend(self.dct.chunks_exact(MFCC_MELS).map(|row| dot(row, &self.bands)));
                if rms {
                    out.data.push(decibel(dot(frame, frame) / frame.len() as f32));
                }
            }
        }
        if let Some(bank) = &self.chroma {
            let chroma = bank.apply(&self.power);
            let bands = self.bands.len();
            out.data
                .extend((0..bands).map(|band| CHROMA_FLOOR * (1.0 - chroma[band * 12 / bands])));
        }
    }
}

fn compress(power: &mut [f32], scale: Scale) {
    match scale {
        Scale::Power => {}
        Scale::Decibel => power.iter_mut().for_each(|p| *p = decibel(*p)),
        Scale::Log10Half { multiply } => {
            power.iter_mut().for_each(|p| *p = log10(multiply * round_half(*p) + 1.0));
        }
    }
}

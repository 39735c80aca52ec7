//! The front-end: samples in, frames of a feature map out, the same for a whole clip and for a
//! stream in chunks of any size.

use crate::chroma::ChromaBank;
use crate::error::{FeatureError, Kind, within};
use crate::map::{FeatureFrames, FeatureMap};
use crate::mel::MelBank;
use crate::numeric::{dct, decibel, dot, log10, round_half};
use crate::picture::{rate_column, wave_column};
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
            Map::MelMfcc { bands, count } => {
                within("front-end bands", bands, 1, 1024, "mel bands")?;
                within("front-end count", count, 1, bands, "coefficients")
            }
            Map::MfccPlot { count, rows } => {
                within("front-end count", count, 1, MFCC_MELS, "coefficients")?;
                within("front-end rows", rows, count, 1024, "rows")
            }
            Map::WavePlot { rows } | Map::ZeroCrossingPlot { rows } => {
                within("front-end rows", rows, 2, 1024, "rows")
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
            Map::MelMfcc { bands, count } => bands + count,
            Map::MfccPlot { rows, .. }
            | Map::WavePlot { rows }
            | Map::ZeroCrossingPlot { rows } => rows,
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
            Map::Mel { bands, .. } | Map::MelChroma { bands, .. } | Map::MelMfcc { bands, .. } => {
                bands
            }
            Map::Mfcc { .. } | Map::MfccPlot { .. } => MFCC_MELS,
            Map::WavePlot { .. } | Map::ZeroCrossingPlot { .. } => 0,
        };
        let dct = match self.map {
            Map::Mfcc { count, .. } | Map::MelMfcc { count, .. } | Map::MfccPlot { count, .. } => {
                dct(count, mel_bands)
            }
            _ => Vec::new(),
        };
        let chroma = matches!(self.map, Map::MelChroma { .. })
            .then(|| ChromaBank::new(self.sample_rate, self.n_fft, 0.0));
        let spectral = (mel_bands > 0).then(|| Spectral {
            spectrum: PowerSpectrum::new(self.n_fft),
            mel: MelBank::new(self.sample_rate, self.n_fft, mel_bands),
            power: vec![0.0; self.n_fft / 2 + 1],
        });
        let analyser = Analyser {
            map: self.map.clone(),
            hop: self.hop,
            spectral,
            chroma,
            dct,
            bands: vec![0.0; mel_bands],
            last: None,
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
        self.analyser.last = None;
    }
}

struct Analyser {
    map: Map,
    hop: usize,
    /// Absent for pictures of the wave itself.
    spectral: Option<Spectral>,
    chroma: Option<ChromaBank>,
    /// `[coefficient, mel]`, empty unless cepstral coefficients are made.
    dct: Vec<f32>,
    bands: Vec<f32>,
    /// Height of a drawn line in the frame before, 0…1.
    last: Option<f32>,
}

/// From a frame to the power in its mel bands.
struct Spectral {
    spectrum: PowerSpectrum,
    mel: MelBank,
    power: Vec<f32>,
}

impl Analyser {
    fn frame(&mut self, frame: &[f32], out: &mut FeatureFrames) {
        if let Some(Spectral { spectrum, mel, power }) = &mut self.spectral {
            spectrum.power(frame, power);
            mel.apply(power, &mut self.bands);
        }
        match self.map {
            Map::Mel { scale, .. } | Map::MelChroma { scale, .. } => {
                compress(&mut self.bands, scale);
                out.data.extend_from_slice(&self.bands);
            }
            Map::Mfcc { rms, .. } => {
                self.coefficients(&mut out.data);
                if rms {
                    out.data.push(decibel(dot(frame, frame) / frame.len() as f32));
                }
            }
            Map::MelMfcc { .. } => {
                let at = out.data.len();
                self.coefficients(&mut out.data);
                // The picture comes first.
                out.data.splice(at..at, self.bands.iter().copied());
            }
            Map::MfccPlot { count, rows } => {
                let mut coefficients = Vec::with_capacity(count);
                self.coefficients(&mut coefficients);
                out.data.extend((0..rows).map(|row| coefficients[row * count / rows]));
            }
            Map::WavePlot { rows } => wave_column(self.middle(frame), rows, &mut out.data),
            Map::ZeroCrossingPlot { rows } => {
                let middle = self.middle(frame);
                self.last = Some(rate_column(middle, self.last, rows, &mut out.data));
            }
        }
        if let (Some(bank), Some(spectral)) = (&self.chroma, &self.spectral) {
            let chroma = bank.apply(&spectral.power);
            let bands = self.bands.len();
            out.data
                .extend((0..bands).map(|band| CHROMA_FLOOR * (1.0 - chroma[band * 12 / bands])));
        }
    }

    /// Turns the bands into decibels and appends their cepstral coefficients.
    fn coefficients(&mut self, out: &mut Vec<f32>) {
        compress(&mut self.bands, Scale::Decibel);
        out.extend(self.dct.chunks_exact(self.bands.len()).map(|row| dot(row, &self.bands)));
    }

    /// The samples that are nearer to this frame's centre than to any other's.
    fn middle<'a>(&self, frame: &'a [f32]) -> &'a [f32] {
        let length = self.hop.min(frame.len());
        &frame[(frame.len() - length) / 2..][..length]
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

//! Descriptors: numbers that say what a sound is like, frame by frame, as librosa 0.11 defines
//! them. All share one short-time Fourier transform, [`Spectra`].
//!
//! | family | in words |
//! |---|---|
//! | [`time`] | how noisy the wave is (zero crossings), how loud (RMS) |
//! | [`shape`] | where the energy lies in frequency: centroid, bandwidth, roll-off, contrast, flatness |
//! | [`pitch`] | which notes sound: tuning, chroma, tonnetz |
//! | [`cepstrum`] | the colour of the sound: MFCC and their slopes |
//! | [`separation`] | what is held (harmonic) and what is struck (percussive) |
//! | [`rhythm`] | onsets, tempo, beats |

pub mod cepstrum;
mod median;
pub mod pitch;
pub mod rhythm;
pub mod separation;
pub mod shape;
pub mod time;

use realfft::num_complex::Complex32;

use crate::error::{FeatureError, Kind, within};
use crate::map::FeatureMap;
use crate::mel::MelBank;
use crate::stft::{Framer, Spectrum, frame_count};

/// Length of the transform and of the frame under every descriptor, samples.
pub const N_FFT: usize = 2048;
/// Distance between the starts of frames, samples.
pub const HOP: usize = 512;
/// Mel bands under the cepstral coefficients and the onsets.
pub const MEL_BANDS: usize = 128;
/// Longest clip, frames: 23 minutes at 22,050 Hz, 750 MB of spectra.
const MAX_FRAMES: usize = 60_000;

/// The spectra of a clip: what the descriptors are computed from.
pub struct Spectra<'a> {
    samples: &'a [f32],
    sample_rate: u32,
    /// `[frame, bin]`.
    complex: Vec<Complex32>,
    /// `[frame, bin]`.
    magnitude: Vec<f32>,
}

impl<'a> Spectra<'a> {
    /// The spectra of `samples` (mono, −1…1) at `sample_rate` Hz: 1 + ⌊samples / 512⌋ frames of 1025 bins.
    ///
    /// # Errors
    /// `TooShort` for no samples, `Malformed` for a sample that is not a finite number, `Unsupported` or
    /// `OverLimit` for an unreasonable sample rate, `OverLimit` for more than 23 minutes at 22,050 Hz.
    pub fn new(samples: &'a [f32], sample_rate: u32) -> Result<Self, FeatureError> {
        within("sample_rate", sample_rate as usize, 1_000, 768_000, "Hz")?;
        if samples.is_empty() {
            return Err(FeatureError::new(
                Kind::TooShort,
                "samples",
                "none found, at least 1 is needed",
            ));
        }
        if let Some(at) = samples.iter().position(|s| !s.is_finite()) {
            let found = format!("sample {at} is {}, a finite number is needed", samples[at]);
            return Err(FeatureError::new(Kind::Malformed, "samples", found));
        }
        let frames = frame_count(samples.len(), HOP);
        if frames > MAX_FRAMES {
            let found = format!(
                "{} found, {} at most are taken as one clip",
                samples.len(),
                MAX_FRAMES * HOP
            );
            return Err(FeatureError::new(Kind::OverLimit, "samples", found));
        }
        let mut spectrum = Spectrum::new(N_FFT);
        let mut framer = Framer::new(N_FFT, HOP);
        let mut complex = Vec::with_capacity(frames * spectrum.bins());
        let mut magnitude = Vec::with_capacity(frames * spectrum.bins());
        let mut take = |frame: &[f32]| {
            let bins = spectrum.complex(frame);
            let narrowed = bins.iter().map(|b| Complex32::new(b.re as f32, b.im as f32));
            let from = complex.len();
            complex.extend(narrowed);
            magnitude.extend(complex[from..].iter().map(|b| (b.re * b.re + b.im * b.im).sqrt()));
        };
        framer.push(samples, &mut take);
        framer.finish(&mut take);
        Ok(Self { samples, sample_rate, complex, magnitude })
    }

    /// Number of frames.
    pub fn frames(&self) -> usize {
        self.magnitude.len() / Self::BINS
    }

    /// Number of frequency bins.
    pub const BINS: usize = N_FFT / 2 + 1;

    /// Sample rate, Hz.
    pub fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    /// Centre of a bin, Hz.
    pub fn bin_hz(&self, bin: usize) -> f64 {
        bin as f64 * f64::from(self.sample_rate) / N_FFT as f64
    }

    /// Magnitude spectra |X|, one frame after the other, each `[bin]`.
    pub fn magnitudes(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.magnitude.chunks_exact(Self::BINS)
    }

    /// Mel power spectrogram, `[time, band]`.
    pub fn mel(&self) -> FeatureMap {
        let bank = MelBank::new(self.sample_rate, N_FFT, MEL_BANDS);
        let mut data = vec![0.0; self.frames() * MEL_BANDS];
        let mut power = vec![0.0; Self::BINS];
        for (mel, magnitude) in data.chunks_exact_mut(MEL_BANDS).zip(self.magnitudes()) {
            power.iter_mut().zip(magnitude).for_each(|(p, m)| *p = m * m);
            bank.apply(&power, mel);
        }
        FeatureMap::new(1, self.frames(), MEL_BANDS, data)
    }
}

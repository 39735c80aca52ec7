//! Harmonic / percussive separation (Fitzgerald 2010): what is held is smooth along time in the
//! spectrogram, what is struck is smooth along frequency.

use realfft::RealFftPlanner;

use super::median::{LANES, running_median};
use super::{HOP, N_FFT, Spectra};
use crate::stft::hann;

/// A clip split in two that sum to it; librosa's `effects.hpss` with its defaults.
pub struct Separated {
    /// What is held: sung notes, strings, pads. `[sample]`.
    pub harmonic: Vec<f32>,
    /// What is struck: drums, clicks, attacks. `[sample]`.
    pub percussive: Vec<f32>,
}

/// Splits the clip by soft masks: magnitudes smoothed by a median over 31 frames (harmonic) and over
/// 31 bins (percussive), squared, as shares of their sum.
pub fn separate(spectra: &Spectra) -> Separated {
    let along_time = medians_along_time(spectra);
    let mut share = medians_along_frequency(spectra);
    // Where both medians are zero librosa gives the cell to neither: marked by −1.
    let mut lost = false;
    for ((p, &h), &m) in share.iter_mut().zip(&along_time).zip(&spectra.magnitude) {
        let larger = h.max(*p);
        let scale = 1.0 / larger.max(f32::MIN_POSITIVE);
        let (h, q) = (h * scale, *p * scale);
        let nobody = larger < f32::MIN_POSITIVE;
        lost |= nobody & (m > 0.0);
        let whole = h * h / (h * h + q * q);
        *p = if nobody { -1.0 } else { whole };
    }
    let harmonic = inverse(spectra, |i| share[i].max(0.0));
    let percussive = if lost {
        inverse(spectra, |i| if share[i] < 0.0 { 0.0 } else { 1.0 - share[i] })
    } else {
        // The shares sum to one, and the transform of the whole leads back to the samples.
        spectra.samples.iter().zip(&harmonic).map(|(s, h)| s - h).collect()
    };
    Separated { harmonic, percussive }
}

/// Median over 31 frames of each bin, `[frame, bin]`.
fn medians_along_time(spectra: &Spectra) -> Vec<f32> {
    let (frames, bins) = (spectra.frames(), Spectra::BINS);
    let mut out = vec![0.0; frames * bins];
    for first in (0..bins).step_by(LANES) {
        // The last group overlaps the one before it: all are full.
        let first = first.min(bins - LANES);
        let row = |frame: usize| {
            let from = &spectra.magnitude[frame * bins + first..];
            *from.first_chunk().expect("a full group of bins")
        };
        running_median(frames, row, |frame, median| {
            let to = &mut out[frame * bins + first..];
            *to.first_chunk_mut().expect("a full group of bins") = *median;
        });
    }
    out
}

/// Median over 31 bins of each frame, `[frame, bin]`.
fn medians_along_frequency(spectra: &Spectra) -> Vec<f32> {
    let (frames, bins) = (spectra.frames(), Spectra::BINS);
    let mut out = vec![0.0; frames * bins];
    let mut turned = vec![[0.0f32; LANES]; bins];
    let mut medians = turned.clone();
    for first in (0..frames).step_by(LANES) {
        let group = first * bins..(first + LANES).min(frames) * bins;
        for (lane, magnitude) in spectra.magnitude[group.clone()].chunks_exact(bins).enumerate() {
            turned.iter_mut().zip(magnitude).for_each(|(row, m)| row[lane] = *m);
        }
        running_median(bins, |bin| turned[bin], |bin, median| medians[bin] = *median);
        for (lane, out) in out[group].chunks_exact_mut(bins).enumerate() {
            out.iter_mut().zip(&medians).for_each(|(m, row)| *m = row[lane]);
        }
    }
    out
}

/// The samples whose spectra are those of the clip times `mask` (by index into `[frame, bin]`):
/// windowed inverse transforms, added and divided by the sum of the squared windows.
fn inverse(spectra: &Spectra, mask: impl Fn(usize) -> f32) -> Vec<f32> {
    let bins = Spectra::BINS;
    let fft = RealFftPlanner::<f32>::new().plan_fft_inverse(N_FFT);
    let (mut input, mut frame, mut scratch) =
        (fft.make_input_vec(), fft.make_output_vec(), fft.make_scratch_vec());
    let window: Vec<f32> = hann(N_FFT).into_iter().map(|w| w as f32).collect();
    let padded = (spectra.frames() - 1) * HOP + N_FFT;
    let mut sum = vec![0.0f32; padded];
    let mut weight = vec![0.0f32; padded];
    for (t, spectrum) in spectra.complex.chunks_exact(bins).enumerate() {
        for (k, (x, bin)) in input.iter_mut().zip(spectrum).enumerate() {
            *x = bin * mask(t * bins + k);
        }
        // A real signal has no phase at 0 Hz and at half the sample rate.
        input[0].im = 0.0;
        input[bins - 1].im = 0.0;
        fft.process_with_scratch(&mut input, &mut frame, &mut scratch)
            .expect("buffers of the plan's own sizes");
        let to = t * HOP..t * HOP + N_FFT;
        let sums = sum[to.clone()].iter_mut().zip(&mut weight[to]);
        for ((s, v), (x, w)) in sums.zip(frame.iter().zip(&window)) {
            *s += x * w;
            *v += w * w;
        }
    }
    let scale = 1.0 / N_FFT as f32;
    let from = N_FFT / 2;
    (0..spectra.samples.len())
        .map(|i| {
            let w = weight[from + i];
            sum[from + i] * scale / if w > f32::MIN_POSITIVE { w } else { 1.0 }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn energy(samples: &[f32]) -> f32 {
        samples.iter().map(|s| s * s).sum()
    }

    #[test]
    fn the_whole_leads_back_to_the_samples() {
        let samples: Vec<f32> =
            (0..12_345).map(|i| ((i * i % 1013) as f32 / 1013.0) - 0.5).collect();
        let spectra = Spectra::new(&samples, 22_050).unwrap();
        let back = inverse(&spectra, |_| 1.0);
        assert!(samples.iter().zip(&back).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn a_tone_is_held_and_a_click_is_struck() {
        let tone: Vec<f32> = (0..44_100).map(|i| (i as f32 * 0.1).sin() * 0.3).collect();
        let parts = separate(&Spectra::new(&tone, 22_050).unwrap());
        assert!(energy(&parts.harmonic) > 50.0 * energy(&parts.percussive));

        let mut clicks = vec![0.0; 44_100];
        clicks.iter_mut().step_by(11_025).skip(1).for_each(|s| *s = 1.0);
        let parts = separate(&Spectra::new(&clicks, 22_050).unwrap());
        assert!(energy(&parts.percussive) > 50.0 * energy(&parts.harmonic));

        let parts = separate(&Spectra::new(&[0.0; 3_000], 22_050).unwrap());
        assert!(parts.harmonic.iter().chain(&parts.percussive).all(|&s| s == 0.0));
    }
}

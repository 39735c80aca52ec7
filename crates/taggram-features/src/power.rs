//! The power spectrum of real samples: the hot path of the front-end.
//!
//! The even samples are taken as real and the odd ones as imaginary parts, so that a complex
//! transform of half the length does; its result is taken apart and squared in one pass.

use std::sync::Arc;

use realfft::num_complex::Complex32;
use rustfft::{Fft, FftPlanner};

use crate::stft::hann;

/// Bins worked on side by side.
const LANES: usize = 8;

/// Power spectra under a periodic Hann window, without allocating.
pub(crate) struct PowerSpectrum {
    fft: Arc<dyn Fft<f32>>,
    window: Vec<f32>,
    /// n_fft / 2 values: samples two by two, then their spectrum.
    halves: Vec<Complex32>,
    scratch: Vec<Complex32>,
    /// Real and imaginary part of exp(−2πik / n_fft), `[bin]`.
    turn: (Vec<f32>, Vec<f32>),
}

impl PowerSpectrum {
    /// Spectra of `n_fft` samples (even).
    pub fn new(n_fft: usize) -> Self {
        let fft = FftPlanner::new().plan_fft_forward(n_fft / 2);
        let angle = |k: usize| -std::f64::consts::TAU * k as f64 / n_fft as f64;
        let scratch = vec![Complex32::default(); fft.get_inplace_scratch_len()];
        Self {
            fft,
            window: hann(n_fft).into_iter().map(|w| w as f32).collect(),
            halves: vec![Complex32::default(); n_fft / 2],
            scratch,
            turn: (0..n_fft / 4 + 1)
                .map(|k| (angle(k).cos() as f32, angle(k).sin() as f32))
                .unzip(),
        }
    }

    /// |X|² of `frame` (n_fft samples) into `power`, `[bin]`, n_fft / 2 + 1 bins.
    pub fn power(&mut self, frame: &[f32], power: &mut [f32]) {
        let pairs = frame.chunks_exact(2).zip(self.window.chunks_exact(2));
        for (z, (x, w)) in self.halves.iter_mut().zip(pairs) {
            *z = Complex32::new(x[0] * w[0], x[1] * w[1]);
        }
        self.fft.process_with_scratch(&mut self.halves, &mut self.scratch);
        let z = &self.halves[..];
        let half = z.len();
        power[0] = (z[0].re + z[0].im).powi(2);
        power[half] = (z[0].re - z[0].im).powi(2);
        // Bins k and half − k are made of the same two values; the middle one of itself.
        let last = half / 2;
        let mut k = 1;
        while k + LANES <= last + 1 {
            let above = half + 1 - k - LANES;
            let (mut low, mut high) = ([0.0; LANES], [0.0; LANES]);
            let (a, b) = (&z[k..k + LANES], &z[above..above + LANES]);
            let (re, im) = (&self.turn.0[k..k + LANES], &self.turn.1[k..k + LANES]);
            for i in 0..LANES {
                (low[i], high[LANES - 1 - i]) = two_bins(a[i], b[LANES - 1 - i], re[i], im[i]);
            }
            // In this order: around the middle the two runs overlap, and agree only to rounding.
            power[above..above + LANES].copy_from_slice(&high);
            power[k..k + LANES].copy_from_slice(&low);
            k += LANES;
        }
        for k in k..=last {
            (power[k], power[half - k]) =
                two_bins(z[k], z[half - k], self.turn.0[k], self.turn.1[k]);
        }
    }
}

/// Powers of bins k and n/2 − k from those values of the half-length transform and exp(−2πik / n).
#[inline(always)]
fn two_bins(a: Complex32, b: Complex32, re: f32, im: f32) -> (f32, f32) {
    // Spectra of the even and of the odd samples, doubled.
    let (even_re, even_im) = (a.re + b.re, a.im - b.im);
    let (odd_re, odd_im) = (a.im + b.im, b.re - a.re);
    let (turned_re, turned_im) = (odd_re * re - odd_im * im, odd_re * im + odd_im * re);
    let low = (even_re + turned_re).powi(2) + (even_im + turned_im).powi(2);
    let high = (even_re - turned_re).powi(2) + (even_im - turned_im).powi(2);
    (0.25 * low, 0.25 * high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn power_is_the_textbook_sum() {
        for n in [16, 18, 30, 48, 64, 100, 512, 1026] {
            let frame: Vec<f32> = (0..n).map(|i| ((i * i) as f32 * 0.37).sin()).collect();
            let window = hann(n);
            let mut power = vec![f32::NAN; n / 2 + 1];
            PowerSpectrum::new(n).power(&frame, &mut power);
            for (k, p) in power.iter().enumerate() {
                let (mut re, mut im) = (0.0f64, 0.0f64);
                for (i, (s, w)) in frame.iter().zip(&window).enumerate() {
                    let phase = std::f64::consts::TAU * (k * i % n) as f64 / n as f64;
                    re += f64::from(*s) * w * phase.cos();
                    im -= f64::from(*s) * w * phase.sin();
                }
                let expected = re * re + im * im;
                let error = (f64::from(*p) - expected).abs();
                assert!(error < 1e-5 * (1.0 + expected), "bin {k} of {n}: {p} for {expected}");
            }
        }
    }
}

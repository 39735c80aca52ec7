//! Short-time Fourier transform: which frequencies sound when.
//!
//! Frames are centred: frame t lies around sample t · hop, with zeros beyond the ends of the
//! signal, so that a signal of n samples has 1 + ⌊n / hop⌋ frames (librosa's `center=True`).

use std::sync::Arc;

use realfft::num_complex::Complex64;
use realfft::{RealFftPlanner, RealToComplex};

/// The periodic Hann window of `length` points, 0…1: 0.5 − 0.5 · cos(2πi / length).
pub fn hann(length: usize) -> Vec<f64> {
    let step = std::f64::consts::TAU / length as f64;
    (0..length).map(|i| 0.5 - 0.5 * (step * i as f64).cos()).collect()
}

/// Number of centred frames that `samples` samples make: none of nothing, else 1 + ⌊samples / hop⌋.
pub fn frame_count(samples: usize, hop: usize) -> usize {
    if samples == 0 { 0 } else { 1 + samples / hop }
}

/// One windowed Fourier transform after another, without allocating; in f64, since f32 leaves
/// noise some 130 dB below the loudest bin, and some descriptors look at the quietest.
pub struct Spectrum {
    fft: Arc<dyn RealToComplex<f64>>,
    window: Vec<f64>,
    input: Vec<f64>,
    bins: Vec<Complex64>,
    scratch: Vec<Complex64>,
}

impl Spectrum {
    /// Transforms of `n_fft` samples under a periodic Hann window.
    pub fn new(n_fft: usize) -> Self {
        let fft = RealFftPlanner::new().plan_fft_forward(n_fft);
        let (input, bins, scratch) =
            (fft.make_input_vec(), fft.make_output_vec(), fft.make_scratch_vec());
        Self { fft, window: hann(n_fft), input, bins, scratch }
    }

    /// Number of frequency bins: n_fft / 2 + 1.
    pub fn bins(&self) -> usize {
        self.bins.len()
    }

    /// The complex spectrum of `frame`, `[bin]`; `frame` holds n_fft samples.
    pub fn complex(&mut self, frame: &[f32]) -> &[Complex64] {
        for ((x, &s), &w) in self.input.iter_mut().zip(frame).zip(&self.window) {
            *x = f64::from(s) * w;
        }
        // The buffers were made by the plan itself, so their lengths cannot be wrong.
        self.fft
            .process_with_scratch(&mut self.input, &mut self.bins, &mut self.scratch)
            .expect("buffers of the plan's own sizes");
        &self.bins
    }
}

/// Cuts a stream of samples into centred frames, holding no more than a few frames.
#[derive(Clone, Debug)]
pub struct Framer {
    n_fft: usize,
    hop: usize,
    /// Samples not yet done with; the first is padded sample number `start`.
    held: Vec<f32>,
    /// Position of `held[0]` counted from n_fft / 2 zeros before the first sample.
    start: u64,
    /// Number of the next frame.
    next: u64,
    /// Samples received.
    received: u64,
}

/// Samples taken in at a time, so that a long push does not make a long buffer.
const BLOCK: usize = 1 << 14;

impl Framer {
    /// Frames of `n_fft` samples (even) every `hop` samples (at least 1).
    pub fn new(n_fft: usize, hop: usize) -> Self {
        Self { n_fft, hop, held: vec![0.0; n_fft / 2], start: 0, next: 0, received: 0 }
    }

    /// Takes samples in and hands each frame that they complete to `frame`, `[n_fft]`.
    pub fn push(&mut self, samples: &[f32], mut frame: impl FnMut(&[f32])) {
        self.received += samples.len() as u64;
        for block in samples.chunks(BLOCK) {
            self.held.extend_from_slice(block);
            self.emit(u64::MAX, &mut frame);
        }
    }

    /// Ends the signal: hands out the frames that reach beyond its end, and begins anew.
    pub fn finish(&mut self, mut frame: impl FnMut(&[f32])) {
        if self.received > 0 {
            let frames = 1 + self.received / self.hop as u64;
            self.held.resize(self.held.len() + self.n_fft / 2, 0.0);
            self.emit(frames, &mut frame);
        }
        *self = Self::new(self.n_fft, self.hop);
    }

    fn emit(&mut self, frames: u64, frame: &mut impl FnMut(&[f32])) {
        while self.next < frames {
            let from = (self.next * self.hop as u64 - self.start) as usize;
            let Some(samples) = self.held.get(from..from + self.n_fft) else { break };
            frame(samples);
            self.next += 1;
        }
        let done = (self.next * self.hop as u64 - self.start).min(self.held.len() as u64);
        self.held.drain(..done as usize);
        self.start += done;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spectrum_is_the_textbook_sum() {
        let n = 48;
        let frame: Vec<f32> = (0..n).map(|i| ((i * i) as f32 * 0.37).sin()).collect();
        let mut spectrum = Spectrum::new(n);
        for (k, bin) in spectrum.complex(&frame).iter().enumerate() {
            let (mut re, mut im) = (0.0f64, 0.0f64);
            for (i, s) in frame.iter().enumerate() {
                let phase = std::f64::consts::TAU * (k * i) as f64 / n as f64;
                let w = 0.5 - 0.5 * (std::f64::consts::TAU * i as f64 / n as f64).cos();
                re += f64::from(*s) * w * phase.cos();
                im -= f64::from(*s) * w * phase.sin();
            }
            assert!(
                (bin - Complex64::new(re, im)).norm() < 1e-9,
                "bin {k}: {bin} for {re} + {im}i"
            );
        }
    }

    #[test]
    fn frames_are_centred_and_counted_as_librosa_counts_them() {
        for (samples, n_fft, hop) in
            [(1, 16, 4), (100, 16, 7), (100, 16, 40), (64, 16, 16), (3, 32, 8)]
        {
            let signal: Vec<f32> = (1..=samples).map(|s| s as f32).collect();
            let mut frames: Vec<Vec<f32>> = Vec::new();
            let mut framer = Framer::new(n_fft, hop);
            framer.push(&signal, |f| frames.push(f.to_vec()));
            framer.finish(|f| frames.push(f.to_vec()));
            assert_eq!(frames.len(), frame_count(samples, hop));
            for (t, frame) in frames.iter().enumerate() {
                for (i, &value) in frame.iter().enumerate() {
                    let at = (t * hop + i) as i64 - (n_fft / 2) as i64;
                    let expected =
                        if (0..samples as i64).contains(&at) { at as f32 + 1.0 } else { 0.0 };
                    assert_eq!(value, expected, "frame {t}, sample {i}");
                }
            }
        }
    }

    #[test]
    fn nothing_in_nothing_out() {
        Framer::new(16, 4).finish(|_| panic!("a frame of no samples"));
    }
}

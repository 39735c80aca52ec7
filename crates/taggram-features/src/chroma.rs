//! Chroma: how strongly each of the twelve pitch classes sounds, whatever the octave.

/// Weights from frequency bins to pitch classes, C first (librosa `filters.chroma`: Gaussians of
/// one semitone around each pitch, octaves weighted by a Gaussian of 2 octaves around the 5th).
#[derive(Clone, Debug)]
pub struct ChromaBank {
    /// `[bin, class]`: a bin's twelve weights lie together.
    weights: Vec<[f32; 12]>,
}

impl ChromaBank {
    /// Filters for the bins of a transform of `n_fft` samples at `sample_rate` Hz, for an
    /// instrument tuned `tuning` semitones (−0.5…0.5) above A = 440 Hz.
    pub fn new(sample_rate: u32, n_fft: usize, tuning: f64) -> Self {
        let reference = 440.0 * (tuning / 12.0).exp2() / 16.0;
        let pitch = |bin: usize| {
            12.0 * (bin as f64 * f64::from(sample_rate) / n_fft as f64 / reference).log2()
        };
        // Bin 0 has no pitch; librosa puts it an octave and a half below bin 1.
        let pitches: Vec<f64> = (0..=n_fft / 2 + 1)
            .map(|bin| if bin == 0 { pitch(1) - 18.0 } else { pitch(bin) })
            .collect();
        let weights = pitches
            .windows(2)
            .map(|pair| {
                let width = (pair[1] - pair[0]).max(1.0);
                let mut row = [0.0f64; 12];
                for (class, weight) in row.iter_mut().enumerate() {
                    let distance = (pair[0] - class as f64 + 6.0).rem_euclid(12.0) - 6.0;
                    *weight = (-0.5 * (2.0 * distance / width).powi(2)).exp();
                }
                let norm = row.iter().map(|w| w * w).sum::<f64>().sqrt();
                let octave = (-0.5 * ((pair[0] / 12.0 - 5.0) / 2.0).powi(2)).exp();
                // Pitches were counted from A; C is three classes on.
                std::array::from_fn(|class| (row[(class + 3) % 12] / norm * octave) as f32)
            })
            .collect();
        Self { weights }
    }

    /// The chroma of a power spectrum, scaled so that the strongest class is 1: `[bin]` in, `[class]` out.
    /// All zeros for silence.
    pub fn apply(&self, power: &[f32]) -> [f32; 12] {
        let mut chroma = [0.0f32; 12];
        for (p, row) in power.iter().zip(&self.weights) {
            for (c, w) in chroma.iter_mut().zip(row) {
                *c += p * w;
            }
        }
        let max = chroma.iter().fold(0.0f32, |a, &b| a.max(b));
        if max >= f32::MIN_POSITIVE {
            chroma.iter_mut().for_each(|c| *c /= max);
        }
        chroma
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pure_tone_is_its_pitch_class() {
        let bank = ChromaBank::new(22_050, 4096, 0.0);
        for (hz, class) in
            [(261.63, 0), (440.0, 9), (523.25, 0), (1046.5, 0), (659.26, 4), (1975.5, 11)]
        {
            let mut power = vec![0.0; 2049];
            power[(hz * 4096.0 / 22_050.0f64).round() as usize] = 1.0;
            let chroma = bank.apply(&power);
            assert_eq!(chroma[class], 1.0, "{hz} Hz gave {chroma:?}");
        }
        assert_eq!(bank.apply(&vec![0.0; 2049]), [0.0; 12]);
    }
}

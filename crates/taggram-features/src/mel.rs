//! The mel scale: frequency bins gathered into bands as wide as the ear's.

use crate::numeric::dot;

/// Centre of band spacing below 1 kHz, Hz a mel (Slaney's Auditory Toolbox, 1998).
const LINEAR_HZ: f64 = 200.0 / 3.0;
/// Where Slaney's scale turns from linear to logarithmic, Hz.
const BREAK_HZ: f64 = 1000.0;
/// Logarithmic step above the break: 27 mels span a factor of 6.4.
fn log_step() -> f64 {
    6.4f64.ln() / 27.0
}

/// Frequency in Hz to Slaney mels.
pub fn hz_to_mel(hz: f64) -> f64 {
    if hz < BREAK_HZ {
        hz / LINEAR_HZ
    } else {
        BREAK_HZ / LINEAR_HZ + (hz / BREAK_HZ).ln() / log_step()
    }
}

/// Slaney mels to frequency in Hz.
pub fn mel_to_hz(mel: f64) -> f64 {
    let break_mel = BREAK_HZ / LINEAR_HZ;
    if mel < break_mel {
        mel * LINEAR_HZ
    } else {
        BREAK_HZ * ((mel - break_mel) * log_step()).exp()
    }
}

/// Triangular filters from 0 Hz to half the sample rate, equally spaced in mels, each of unit
/// area (librosa `filters.mel`: `htk=False, norm="slaney"`). Only the non-zero weights are kept.
#[derive(Clone, Debug)]
pub struct MelBank {
    bands: Vec<Band>,
    weights: Vec<f32>,
}

#[derive(Clone, Copy, Debug)]
struct Band {
    /// First bin with a weight.
    bin: usize,
    /// The weights are `weights[from..from + count]`.
    from: usize,
    count: usize,
}

impl MelBank {
    /// `bands` filters over the n_fft / 2 + 1 bins of a transform of `n_fft` samples at `sample_rate` Hz.
    pub fn new(sample_rate: u32, n_fft: usize, bands: usize) -> Self {
        let top = hz_to_mel(f64::from(sample_rate) / 2.0);
        let hz_per_bin = f64::from(sample_rate) / n_fft as f64;
        let edges: Vec<f64> =
            (0..bands + 2).map(|i| mel_to_hz(top * i as f64 / (bands + 1) as f64)).collect();
        let mut bank = Self { bands: Vec::with_capacity(bands), weights: Vec::new() };
        for edge in edges.windows(3) {
            let (low, centre, high) = (edge[0], edge[1], edge[2]);
            let area = 2.0 / (high - low);
            let weight = |bin: &usize| {
                let hz = *bin as f64 * hz_per_bin;
                ((hz - low) / (centre - low)).min((high - hz) / (high - centre)) * area
            };
            // One bin more on each side than lies between the edges, against their rounding.
            let near =
                (low / hz_per_bin) as usize..=((high / hz_per_bin) as usize + 1).min(n_fft / 2);
            let from = bank.weights.len();
            let first = near.clone().find(|bin| weight(bin) > 0.0).unwrap_or(0);
            bank.weights.extend(near.map(|bin| weight(&bin) as f32).filter(|&w| w > 0.0));
            bank.bands.push(Band { bin: first, from, count: bank.weights.len() - from });
        }
        bank
    }

    /// Number of bands.
    pub fn bands(&self) -> usize {
        self.bands.len()
    }

    /// The mel bands of a power spectrum: `[bin]` in, `[band]` out.
    pub fn apply(&self, power: &[f32], mel: &mut [f32]) {
        for (out, band) in mel.iter_mut().zip(&self.bands) {
            let weights = &self.weights[band.from..band.from + band.count];
            *out = dot(weights, &power[band.bin..band.bin + band.count]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_goes_there_and_back() {
        for hz in [0.0, 100.0, 999.0, 1000.0, 1001.0, 8000.0] {
            assert!((mel_to_hz(hz_to_mel(hz)) - hz).abs() < 1e-9);
        }
        assert!((hz_to_mel(1000.0) - 15.0).abs() < 1e-12);
    }

    #[test]
    fn a_filter_peaks_within_a_bin_of_its_centre() {
        let (rate, n_fft, bands) = (22_050, 2048, 128);
        let bank = MelBank::new(rate, n_fft, bands);
        let top = hz_to_mel(11_025.0);
        for (i, band) in bank.bands.iter().enumerate() {
            let weights = &bank.weights[band.from..band.from + band.count];
            let peak =
                weights.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0 + band.bin;
            let centre = mel_to_hz(top * (i + 1) as f64 / (bands + 1) as f64) * n_fft as f64
                / f64::from(rate);
            assert!(
                (peak as f64 - centre).abs() <= 1.0,
                "band {i} peaks at bin {peak}, centre {centre:.2}"
            );
        }
    }

    #[test]
    fn filters_have_unit_area() {
        // Wide filters only: a narrow triangle is sampled too coarsely by the bins.
        let bank = MelBank::new(16_000, 8192, 20);
        for (i, band) in bank.bands.iter().enumerate() {
            let sum: f32 = bank.weights[band.from..band.from + band.count].iter().sum();
            let area = f64::from(sum) * 16_000.0 / 8192.0;
            assert!((area - 1.0).abs() < 1e-3, "band {i} has area {area}");
        }
    }
}

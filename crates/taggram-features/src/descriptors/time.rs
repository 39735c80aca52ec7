//! Descriptors of the wave itself.

use super::{HOP, N_FFT, Spectra};
use crate::numeric::dot;
use crate::stft::{Framer, frame_count};

/// Values closer to zero than this count as zero, that is as positive.
const ZERO: f32 = 1e-10;

/// Zero-crossing rate: how often the wave changes its sign, as a share of the samples of each
/// frame, 0…1; `[frame]`. High for noise and cymbals, low for bass. Beyond the ends the first and the
/// last sample are repeated.
pub fn zero_crossing_rate(samples: &[f32]) -> Vec<f32> {
    // crossings[i]: sign changes between sample 0 and sample i.
    let mut crossings = Vec::with_capacity(samples.len());
    let (mut count, mut before) = (0u32, None);
    for &sample in samples {
        let negative = sample < -ZERO;
        count += u32::from(before.is_some_and(|b| b != negative));
        before = Some(negative);
        crossings.push(count);
    }
    let last = samples.len().saturating_sub(1);
    (0..frame_count(samples.len(), HOP))
        .map(|frame| {
            let from = (frame * HOP).saturating_sub(N_FFT / 2).min(last);
            let to = (frame * HOP + N_FFT / 2 - 1).min(last);
            (crossings[to] - crossings[from]) as f32 / N_FFT as f32
        })
        .collect()
}

/// Sign changes within `samples` as a share of them, 0…1; 0 of no samples.
pub(crate) fn share_of_crossings(samples: &[f32]) -> f32 {
    let changes = samples.windows(2).filter(|w| (w[0] < -ZERO) != (w[1] < -ZERO)).count();
    changes as f32 / samples.len().max(1) as f32
}

/// Loudness: root of the mean square of each frame, 0…1 for samples in −1…1; `[frame]`.
pub fn rms(spectra: &Spectra) -> Vec<f32> {
    let mut out = Vec::with_capacity(spectra.frames());
    let mut framer = Framer::new(N_FFT, HOP);
    let mut take = |frame: &[f32]| out.push((dot(frame, frame) / N_FFT as f32).sqrt());
    framer.push(spectra.samples, &mut take);
    framer.finish(&mut take);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crossings_of_a_square_wave() {
        let wave: Vec<f32> = (0..20_000).map(|i| if i / 8 % 2 == 0 { 0.5 } else { -0.5 }).collect();
        let rate = zero_crossing_rate(&wave);
        assert_eq!(rate.len(), 40);
        assert!(rate[5..30].iter().all(|r| (r - 0.125).abs() < 1e-3));
        assert_eq!(zero_crossing_rate(&[0.0; 1000]), vec![0.0; 2]);
    }

    #[test]
    fn rms_of_a_constant_is_the_constant() {
        let wave = vec![0.25; 10_000];
        let spectra = Spectra::new(&wave, 22_050).unwrap();
        assert!(rms(&spectra)[2..17].iter().all(|r| (r - 0.25).abs() < 1e-6));
    }
}

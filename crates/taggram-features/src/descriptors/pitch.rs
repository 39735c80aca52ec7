//! Descriptors of pitch.

use super::{N_FFT, Spectra};
use crate::chroma::ChromaBank;
use crate::map::FeatureMap;

/// Range in which the peaks of the tuning estimate are looked for, Hz.
const PEAK_HZ: (f64, f64) = (150.0, 4_000.0);
/// Peaks weaker than this share of the frame's maximum are not looked at.
const PEAK_SHARE: f32 = 0.1;
/// Bins of the tuning estimate, each a hundredth of a semitone.
const TUNING_BINS: usize = 100;

/// How far the music is tuned above A = 440 Hz, semitones, −0.5…0.49 in steps of 0.01: librosa's
/// `estimate_tuning(S=power)`, the estimate inside its `chroma_stft`. Peaks of the power
/// spectrum are placed by a parabola; the stronger half vote for their distance from the
/// nearest semitone.
pub fn tuning(spectra: &Spectra) -> f64 {
    let inside = |bin: &usize| (PEAK_HZ.0..PEAK_HZ.1).contains(&spectra.bin_hz(*bin));
    let bins: Vec<usize> = (1..Spectra::BINS - 1).filter(inside).collect();
    let (Some(&first), Some(&last)) = (bins.first(), bins.last()) else { return 0.0 };
    let mut peaks: Vec<(f32, f32)> = Vec::new();
    let mut power = vec![0.0f32; Spectra::BINS];
    for magnitude in spectra.magnitudes() {
        power.iter_mut().zip(magnitude).for_each(|(p, m)| *p = m * m);
        let threshold = PEAK_SHARE * power.iter().fold(0.0f32, |a, &b| a.max(b));
        let above = |p: f32| if p > threshold { p } else { 0.0 };
        for bin in first..=last {
            let (left, centre, right) = (power[bin - 1], power[bin], power[bin + 1]);
            if centre <= threshold || centre <= above(left) || centre < above(right) {
                continue;
            }
            let curve = right + left - 2.0 * centre;
            let slope = (right - left) / 2.0;
            let shift = if slope.abs() >= curve.abs() { 0.0 } else { -slope / curve };
            let hz =
                (bin as f64 + f64::from(shift)) * f64::from(spectra.sample_rate()) / N_FFT as f64;
            peaks.push((hz as f32, centre + 0.5 * slope * shift));
        }
    }
    let strengths: Vec<f32> = peaks.iter().map(|p| p.1).collect();
    let Some(threshold) = median(strengths) else { return 0.0 };
    let mut votes = [0u32; TUNING_BINS];
    for (hz, _) in peaks.iter().filter(|p| p.1 >= threshold) {
        let semitone = 12.0 * (f64::from(*hz) / 27.5).log2();
        let residual = (semitone + 0.5).rem_euclid(1.0);
        votes[((residual * TUNING_BINS as f64) as usize).min(TUNING_BINS - 1)] += 1;
    }
    // The first of equals, as numpy's argmax.
    let best = (0..TUNING_BINS).rev().max_by_key(|&i| votes[i]).unwrap_or(0);
    best as f64 / TUNING_BINS as f64 - 0.5
}

/// Median of `values`, the mean of the middle two of an even number; `None` of none.
pub(crate) fn median(mut values: Vec<f32>) -> Option<f32> {
    let n = values.len();
    if n == 0 {
        return None;
    }
    let (below, &mut upper, _) = values.select_nth_unstable_by(n / 2, f32::total_cmp);
    if n % 2 == 1 {
        return Some(upper);
    }
    let lower = below.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
    Some((lower + upper) / 2.0)
}

/// Chroma: how strongly each pitch class sounds, C first, the strongest of each frame 1;
/// `[time, class]`, 0…1, zeros in silence. The tuning is estimated.
pub fn chroma(spectra: &Spectra) -> FeatureMap {
    let bank = ChromaBank::new(spectra.sample_rate(), N_FFT, tuning(spectra));
    let mut data = Vec::with_capacity(spectra.frames() * 12);
    let mut power = vec![0.0f32; Spectra::BINS];
    for magnitude in spectra.magnitudes() {
        power.iter_mut().zip(magnitude).for_each(|(p, m)| *p = m * m);
        data.extend_from_slice(&bank.apply(&power));
    }
    FeatureMap::new(1, spectra.frames(), 12, data)
}

/// Tonnetz: the tonal centroid on the circles of fifths, minor thirds and major thirds (Harte et
/// al. 2006), two coordinates each; `[time, 6]`, −1…1. Of a [`chroma`] map: librosa's
/// `tonnetz(chroma=…)`; its default is another chroma, of a constant-Q transform.
pub fn tonnetz(chroma: &FeatureMap) -> FeatureMap {
    const TURNS: [f64; 3] = [7.0 / 6.0, 3.0 / 2.0, 2.0 / 3.0];
    const RADII: [f64; 3] = [1.0, 1.0, 0.5];
    let mut data = Vec::with_capacity(chroma.frames * 6);
    for frame in 0..chroma.frames {
        let classes = chroma.frame(0, frame);
        let total: f64 = classes.iter().map(|&c| f64::from(c)).sum();
        let scale = if total > 0.0 { 1.0 / total } else { 0.0 };
        for (turn, radius) in TURNS.iter().zip(RADII) {
            let (mut sine, mut cosine) = (0.0, 0.0);
            for (class, &weight) in classes.iter().enumerate() {
                let angle = std::f64::consts::PI * turn * class as f64;
                sine += f64::from(weight) * angle.sin();
                cosine += f64::from(weight) * angle.cos();
            }
            data.extend([(radius * sine * scale) as f32, (radius * cosine * scale) as f32]);
        }
    }
    FeatureMap::new(1, chroma.frames, 6, data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f64) -> Vec<f32> {
        let sine =
            |i: i32, k: f64| (std::f64::consts::TAU * k * hz * f64::from(i) / 22_050.0).sin() / k;
        (0..40_000).map(|i| (0.3 * (sine(i, 1.0) + sine(i, 2.0) + sine(i, 4.0))) as f32).collect()
    }

    #[test]
    fn tuning_is_found_to_a_few_cents() {
        for cents in [-30, -10, 0, 20, 40] {
            let samples = tone(523.251_13 * 2f64.powf(f64::from(cents) / 1200.0));
            let found = tuning(&Spectra::new(&samples, 22_050).unwrap());
            assert!((found - f64::from(cents) / 100.0).abs() <= 0.06, "{cents} cents: {found}");
        }
        assert_eq!(tuning(&Spectra::new(&[0.0; 4_000], 22_050).unwrap()), 0.0);
    }

    #[test]
    fn a_c_is_a_c_however_tuned() {
        for cents in [-30.0, 0.0, 30.0] {
            let samples = tone(523.251_13 * 2f64.powf(cents / 1200.0));
            let chroma = chroma(&Spectra::new(&samples, 22_050).unwrap());
            assert_eq!(chroma.frame(0, 30)[0], 1.0);
            assert!(chroma.frame(0, 30)[2..11].iter().all(|&c| c < 0.2));
        }
    }

    #[test]
    fn a_lone_note_lies_on_the_circles() {
        let mut classes = vec![0.0; 12];
        classes[0] = 1.0;
        let tonnetz = tonnetz(&FeatureMap::new(1, 1, 12, classes));
        assert_eq!(tonnetz.data, [0.0, 1.0, 0.0, 1.0, 0.0, 0.5]);
    }

    #[test]
    fn medians() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), Some(2.5));
    }
}

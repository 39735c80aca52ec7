//! Cepstral descriptors: the colour of the sound in few numbers.

use super::shape::to_decibel;
use super::{MEL_BANDS, Spectra};
use crate::error::{FeatureError, Kind, within};
use crate::map::FeatureMap;
use crate::numeric::{dct, dot};

/// Width of the window in which a slope is fitted, frames.
const DELTA_WIDTH: usize = 9;

/// The mel spectrogram in dB, raised to at least 80 dB below the clip's maximum; `[time, band]`.
pub fn mel_decibel(spectra: &Spectra) -> FeatureMap {
    let mut mel = spectra.mel();
    to_decibel(&mut mel.data);
    mel
}

/// Mel-frequency cepstral coefficients of a [`mel_decibel`] map: the first `count` (1…128) terms of
/// its orthonormal cosine transform; `[time, coefficient]`. The 0th follows loudness, the 1st the
/// balance of low and high, the rest ever finer detail.
///
/// # Errors
/// `Unsupported` or `OverLimit` for another count.
pub fn mfcc(mel_decibel: &FeatureMap, count: usize) -> Result<FeatureMap, FeatureError> {
    within("mfcc count", count, 1, MEL_BANDS, "coefficients")?;
    let rows = dct(count, mel_decibel.bands);
    let mut data = Vec::with_capacity(mel_decibel.frames * count);
    for mel in mel_decibel.data.chunks_exact(mel_decibel.bands) {
        data.extend(rows.chunks_exact(mel_decibel.bands).map(|row| dot(row, mel)));
    }
    Ok(FeatureMap::new(1, mel_decibel.frames, count, data))
}

/// Delta: the slope of each band over time, units a frame; `[time, band]`. A line is fitted to the
/// 9 frames around each; the first and last four frames take the slope of the first and last 9.
///
/// # Errors
/// `TooShort` for fewer than 9 frames.
pub fn delta(map: &FeatureMap) -> Result<FeatureMap, FeatureError> {
    if map.frames < DELTA_WIDTH {
        let found = format!("{} frames found, a slope needs {DELTA_WIDTH}", map.frames);
        return Err(FeatureError::new(Kind::TooShort, "delta", found));
    }
    let half = DELTA_WIDTH / 2;
    let mut data = Vec::with_capacity(map.data.len());
    for frame in 0..map.frames {
        let centre = frame.clamp(half, map.frames - 1 - half);
        for band in 0..map.bands {
            let at = |frame: usize| map.data[frame * map.bands + band];
            let slope: f32 = (1..=half).map(|k| k as f32 * (at(centre + k) - at(centre - k))).sum();
            // Σ k² over −4…4.
            data.push(slope / 60.0);
        }
    }
    Ok(FeatureMap::new(1, map.frames, map.bands, data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_of_a_line_is_its_slope() {
        let map = FeatureMap::new(
            1,
            12,
            2,
            (0..24).map(|i| (i / 2) as f32 * [0.5, -2.0][i % 2]).collect(),
        );
        let slopes = delta(&map).unwrap();
        assert!(
            slopes.data.chunks(2).all(|s| (s[0] - 0.5).abs() < 1e-6 && (s[1] + 2.0).abs() < 1e-6)
        );
        let short = FeatureMap::new(1, 8, 1, vec![0.0; 8]);
        assert_eq!(
            delta(&short).unwrap_err().to_string(),
            "delta: 8 frames found, a slope needs 9"
        );
    }

    #[test]
    fn a_flat_spectrum_is_all_in_the_0th() {
        let coefficients = mfcc(&FeatureMap::new(1, 1, 128, vec![-10.0; 128]), 5).unwrap();
        assert!((coefficients.data[0] + 10.0 * 128f32.sqrt()).abs() < 1e-3);
        assert!(coefficients.data[1..].iter().all(|c| c.abs() < 1e-4));
    }
}

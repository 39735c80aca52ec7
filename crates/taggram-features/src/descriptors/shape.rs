//! Descriptors of the shape of the spectrum.

use super::Spectra;
use crate::error::{FeatureError, Kind};
use crate::map::FeatureMap;
use crate::numeric::{decibel, dot, log10, sum_of};

/// Smallest positive normal float32: what librosa takes for silence when it divides.
const TINY: f32 = f32::MIN_POSITIVE;
/// Share of the magnitude that lies below the roll-off.
const ROLLOFF: f32 = 0.85;
/// Upper end of the lowest contrast band, Hz; each further band is an octave.
const CONTRAST_HZ: f64 = 200.0;
/// Number of contrast bands.
pub const CONTRAST_BANDS: usize = 7;
/// Share of a band's bins that make its peak, and its valley.
const CONTRAST_QUANTILE: f64 = 0.02;
/// Range kept below the loudest peak, dB.
const TOP_DB: f32 = 80.0;

/// Centre of gravity and width of the spectrum of each frame, both `[frame]`, Hz.
pub struct Centre {
    /// Spectral centroid, the magnitude-weighted mean frequency: what the ear calls brightness.
    pub centroid: Vec<f32>,
    /// Spectral bandwidth, the magnitude-weighted deviation around the centroid.
    pub bandwidth: Vec<f32>,
}

/// Spectral centroid and bandwidth, 0 … half the sample rate; 0 in silence.
pub fn centre(spectra: &Spectra) -> Centre {
    let hz: Vec<f32> = (0..Spectra::BINS).map(|bin| spectra.bin_hz(bin) as f32).collect();
    let mut out = Centre { centroid: Vec::new(), bandwidth: Vec::new() };
    let mut squares = vec![0.0; Spectra::BINS];
    for magnitude in spectra.magnitudes() {
        let total = sum_of(magnitude, |m| m);
        let (mut centroid, mut bandwidth) = (0.0, 0.0);
        if total >= TINY {
            centroid = dot(magnitude, &hz) / total;
            squares.iter_mut().zip(&hz).for_each(|(s, f)| *s = (f - centroid) * (f - centroid));
            bandwidth = (dot(magnitude, &squares) / total).sqrt();
        }
        out.centroid.push(centroid);
        out.bandwidth.push(bandwidth);
    }
    out
}

/// Spectral roll-off: the frequency of the bin below and in which 85 % of the magnitude lies, Hz; `[frame]`.
pub fn rolloff(spectra: &Spectra) -> Vec<f32> {
    /// Bins summed at a time: the bin is looked for only in the block where the sum gets there.
    const BLOCK: usize = 32;
    let bin = |magnitude: &[f32]| {
        let mut sums = [0.0f32; Spectra::BINS.div_ceil(BLOCK)];
        sums.iter_mut()
            .zip(magnitude.chunks(BLOCK))
            .for_each(|(s, block)| *s = sum_of(block, |m| m));
        let wanted = ROLLOFF * sums.iter().sum::<f32>();
        let mut sum = 0.0;
        for (block, (total, magnitudes)) in sums.iter().zip(magnitude.chunks(BLOCK)).enumerate() {
            if sum + total >= wanted {
                for (i, m) in magnitudes.iter().enumerate() {
                    sum += m;
                    if sum >= wanted {
                        return block * BLOCK + i;
                    }
                }
            } else {
                sum += total;
            }
        }
        Spectra::BINS - 1
    };
    spectra.magnitudes().map(|magnitude| spectra.bin_hz(bin(magnitude)) as f32).collect()
}

/// Spectral flatness: geometric by arithmetic mean of the power, 1 for white noise, near 0 for a tone; `[frame]`.
pub fn flatness(spectra: &Spectra) -> Vec<f32> {
    let n = Spectra::BINS as f32;
    let power = |m: f32| (m * m).max(1e-10);
    let value = |magnitude| {
        let mean_log = f64::from(sum_of(magnitude, |m| log10(power(m))) / n);
        (10f64.powf(mean_log) / f64::from(sum_of(magnitude, power) / n)) as f32
    };
    spectra.magnitudes().map(value).collect()
}

/// Spectral contrast: how far the peaks of each octave band stand above its valleys, dB;
/// `[time, band]` of 7 bands, the lowest 0…200 Hz. High for clear notes, low for noise.
///
/// # Errors
/// `Unsupported` when half the sample rate does not exceed 6,400 Hz, where the top band begins.
pub fn contrast(spectra: &Spectra) -> Result<FeatureMap, FeatureError> {
    let bands = contrast_bands(spectra)?;
    let mut peaks = Vec::with_capacity(spectra.frames() * CONTRAST_BANDS);
    let mut valleys = Vec::with_capacity(spectra.frames() * CONTRAST_BANDS);
    let mut sorted = Vec::new();
    for magnitude in spectra.magnitudes() {
        for band in &bands {
            sorted.clear();
            sorted.extend_from_slice(&magnitude[band.from..band.to]);
            let n = sorted.len();
            let mean = |values: &[f32]| values.iter().sum::<f32>() / band.take as f32;
            sorted.select_nth_unstable_by(band.take - 1, f32::total_cmp);
            valleys.push(mean(&sorted[..band.take]));
            sorted.select_nth_unstable_by(n - band.take, f32::total_cmp);
            peaks.push(mean(&sorted[n - band.take..]));
        }
    }
    to_decibel(&mut peaks);
    to_decibel(&mut valleys);
    peaks.iter_mut().zip(&valleys).for_each(|(p, v)| *p -= v);
    Ok(FeatureMap::new(1, spectra.frames(), CONTRAST_BANDS, peaks))
}

/// Power to decibels, raised to at least 80 dB below the largest.
pub(crate) fn to_decibel(power: &mut [f32]) {
    power.iter_mut().for_each(|p| *p = decibel(*p));
    let floor = power.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b)) - TOP_DB;
    power.iter_mut().for_each(|p| *p = p.max(floor));
}

struct ContrastBand {
    from: usize,
    to: usize,
    /// Number of bins that make the peak.
    take: usize,
}

fn contrast_bands(spectra: &Spectra) -> Result<Vec<ContrastBand>, FeatureError> {
    let top = CONTRAST_HZ * 2f64.powi(CONTRAST_BANDS as i32 - 2);
    let nyquist = f64::from(spectra.sample_rate()) / 2.0;
    if nyquist <= top {
        let rate = spectra.sample_rate();
        let found = format!("{rate} Hz found, spectral contrast needs more than {} Hz", 2.0 * top);
        return Err(FeatureError::new(Kind::Unsupported, "sample_rate", found));
    }
    let edge = |k: usize| if k == 0 { 0.0 } else { CONTRAST_HZ * 2f64.powi(k as i32 - 1) };
    let bins = |k: usize| {
        (0..Spectra::BINS).filter(move |&b| (edge(k)..=edge(k + 1)).contains(&spectra.bin_hz(b)))
    };
    Ok((0..CONTRAST_BANDS)
        .map(|k| {
            // librosa lets a band begin one bin early, ends all but the last one bin early, and
            // takes the quantile of the band before that last cut.
            let first = bins(k).next().unwrap_or(0).saturating_sub(usize::from(k > 0));
            let last = if k + 1 == CONTRAST_BANDS {
                Spectra::BINS - 1
            } else {
                bins(k).next_back().unwrap_or(0)
            };
            let count = last + 1 - first;
            let to = last + usize::from(k + 1 == CONTRAST_BANDS);
            let take = ((CONTRAST_QUANTILE * count as f64).round_ties_even() as usize)
                .clamp(1, to - first);
            ContrastBand { from: first, to, take }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f64) -> Vec<f32> {
        (0..30_000)
            .map(|i| (std::f64::consts::TAU * hz * f64::from(i) / 22_050.0).sin() as f32)
            .collect()
    }

    #[test]
    fn a_tone_is_where_it_is() {
        let samples = tone(3_000.0);
        let spectra = Spectra::new(&samples, 22_050).unwrap();
        let centre = centre(&spectra);
        assert!((centre.centroid[20] - 3_000.0).abs() < 5.0);
        assert!(centre.bandwidth[20] < 60.0);
        assert!((rolloff(&spectra)[20] - 3_000.0).abs() < 22.0);
        assert!(flatness(&spectra)[20] < 1e-6);
        let contrast = contrast(&spectra).unwrap();
        assert!(contrast.frame(0, 20)[4] > 30.0, "{:?}", contrast.frame(0, 20));
    }

    #[test]
    fn silence_has_no_place() {
        let samples = vec![0.0; 5_000];
        let spectra = Spectra::new(&samples, 22_050).unwrap();
        let centre = centre(&spectra);
        assert!(
            centre
                .centroid
                .iter()
                .chain(&centre.bandwidth)
                .chain(&rolloff(&spectra))
                .all(|&x| x == 0.0)
        );
        assert!(flatness(&spectra).iter().all(|f| (f - 1.0).abs() < 1e-5));
        assert!(contrast(&spectra).unwrap().data.iter().all(|&x| x == 0.0));
    }

    #[test]
    fn contrast_needs_its_bands() {
        let samples = vec![0.0; 5_000];
        let error = contrast(&Spectra::new(&samples, 8_000).unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "sample_rate: 8000 Hz found, spectral contrast needs more than 12800 Hz"
        );
    }
}

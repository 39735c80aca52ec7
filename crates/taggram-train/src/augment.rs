//! Changes to training patches that leave the genre what it is. Those before normalisation work
//! on decibels; mixing works on normalised patches. All random numbers come from the address
//! (seed, epoch, example), so a continued run sees what an uninterrupted one would have.

use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::rng::Rng;

/// The `[augment]` table of a recipe. Everything is off (0) unless given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augment {
    /// Loudness changes by up to ± this, dB.
    pub gain_db: f32,
    /// The highest band rises and the lowest falls (or the reverse) by up to this, dB, linearly between.
    pub tilt_db: f32,
    /// Distances below the patch's maximum are multiplied by 1 ± up to this, 0 … 1: some
    /// published arrays have lost their own range.
    pub range_scale: f32,
    /// A floor is drawn between this much and `floor_db + floor_spread_db` below the patch's maximum, dB; 0 for none.
    pub floor_db: f32,
    /// See `floor_db`, dB.
    pub floor_spread_db: f32,
    /// In every second patch, up to this many of the highest bands are weakened, as codecs and
    /// resamplers do.
    pub low_pass_bands: usize,
    /// By up to this, dB.
    pub low_pass_db: f32,
    /// Number of stretches of time replaced by the patch's mean (SpecAugment, Park et al. 2019).
    pub time_masks: usize,
    /// Longest such stretch, frames.
    pub time_mask_frames: usize,
    /// Number of ranges of bands replaced by the patch's mean.
    pub band_masks: usize,
    /// Widest such range, bands.
    pub band_mask_bands: usize,
    /// Normal noise added after normalisation, deviation in units of the normalised patch.
    pub noise: f32,
    /// How pairs of patches are mixed.
    pub mix: Mix,
    /// Mixing shares come from Beta(α, α); 0 for no mixing.
    pub mix_alpha: f32,
}

/// How pairs of patches are mixed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mix {
    /// λ · a + (1 − λ) · b (mixup, Zhang et al. 2018).
    #[default]
    Linear,
    /// Divided by √(λ² + (1 − λ)²), so that the deviation stays 1.
    EqualPower,
}

/// Sizes of a patch, row-major `[channel, time, band]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PatchSize {
    /// Channels.
    pub channels: usize,
    /// Frames.
    pub frames: usize,
    /// Bands.
    pub bands: usize,
}

impl Augment {
    /// Refuses amounts outside their ranges.
    ///
    /// # Errors
    /// Names the keys.
    pub fn check(&self) -> Result<(), TrainError> {
        let amounts = [
            self.gain_db,
            self.tilt_db,
            self.range_scale,
            self.floor_db,
            self.floor_spread_db,
            self.noise,
            self.mix_alpha,
            self.low_pass_db,
        ];
        if amounts.iter().all(|v| *v >= 0.0 && v.is_finite()) && self.range_scale < 1.0 {
            return Ok(());
        }
        Err(TrainError::malformed(
            "[augment]",
            "amounts must be 0 or more and finite, `range_scale` below 1",
        ))
    }

    /// Whether any change needs decibels.
    pub fn needs_decibels(&self) -> bool {
        self.gain_db > 0.0
            || self.tilt_db > 0.0
            || self.range_scale > 0.0
            || self.floor_db > 0.0
            || self.low_pass_db > 0.0
    }

    /// Changes a patch in decibels, before normalisation.
    pub fn apply(&self, patch: &mut [f32], size: PatchSize, rng: &mut Rng) {
        let PatchSize { frames, bands, .. } = size;
        let gain = rng.range(-self.gain_db, self.gain_db);
        let tilt = rng.range(-self.tilt_db, self.tilt_db);
        let scale = 1.0 + rng.range(-self.range_scale, self.range_scale);
        let floor = self.floor_db + rng.range(0.0, self.floor_spread_db);
        if self.needs_decibels() {
            for channel in patch.chunks_exact_mut(frames * bands) {
                let most = channel.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let lowest = if self.floor_db > 0.0 { most - floor } else { f32::NEG_INFINITY };
                for frame in channel.chunks_exact_mut(bands) {
                    for (band, value) in frame.iter_mut().enumerate() {
                        let place = 2.0 * band as f32 / (bands.max(2) - 1) as f32 - 1.0;
                        *value = most + (value.max(lowest) - most) * scale + gain + tilt * place;
                    }
                }
            }
        }
        self.low_pass(patch, size, rng);
        self.mask(patch, size, rng);
    }

    /// Weakens the highest bands.
    fn low_pass(&self, patch: &mut [f32], size: PatchSize, rng: &mut Rng) {
        if self.low_pass_bands == 0 || self.low_pass_db == 0.0 || rng.below(2) == 0 {
            return;
        }
        let cut = size.bands - rng.below(self.low_pass_bands.min(size.bands) + 1);
        let less = rng.range(0.0, self.low_pass_db);
        for frame in patch.chunks_exact_mut(size.bands) {
            frame[cut..].iter_mut().for_each(|v| *v -= less);
        }
    }

    /// Replaces stretches of time and ranges of bands by the mean.
    fn mask(&self, patch: &mut [f32], size: PatchSize, rng: &mut Rng) {
        let PatchSize { frames, bands, .. } = size;
        let times: Vec<(usize, usize)> =
            (0..self.time_masks).map(|_| span(self.time_mask_frames, frames, rng)).collect();
        let ranges: Vec<(usize, usize)> =
            (0..self.band_masks).map(|_| span(self.band_mask_bands, bands, rng)).collect();
        if times.is_empty() && ranges.is_empty() {
            return;
        }
        for channel in patch.chunks_exact_mut(frames * bands) {
            let mean =
                (channel.iter().map(|&v| f64::from(v)).sum::<f64>() / channel.len() as f64) as f32;
            for &(start, length) in &times {
                channel[start * bands..(start + length) * bands].fill(mean);
            }
            for frame in channel.chunks_exact_mut(bands) {
                ranges.iter().for_each(|&(start, length)| frame[start..start + length].fill(mean));
            }
        }
    }

    /// Adds noise to a normalised patch.
    pub fn add_noise(&self, patch: &mut [f32], rng: &mut Rng) {
        if self.noise > 0.0 {
            patch.iter_mut().for_each(|v| *v += self.noise * rng.normal());
        }
    }

    /// The share of the first of two mixed patches, ½ … 1; 1 for no mixing.
    pub fn share(&self, rng: &mut Rng) -> f32 {
        if self.mix_alpha > 0.0 {
            let share = rng.beta(self.mix_alpha);
            share.max(1.0 - share)
        } else {
            1.0
        }
    }

    /// `patch` becomes the mixture with `other`.
    pub fn mix(&self, patch: &mut [f32], other: &[f32], share: f32) {
        let norm = match self.mix {
            Mix::Linear => 1.0,
            Mix::EqualPower => share.hypot(1.0 - share),
        };
        let (a, b) = (share / norm, (1.0 - share) / norm);
        patch.iter_mut().zip(other).for_each(|(p, o)| *p = a * *p + b * o);
    }
}

/// A random stretch of 0 … `longest` within `whole`.
fn span(longest: usize, whole: usize, rng: &mut Rng) -> (usize, usize) {
    let length = rng.below(longest.min(whole) + 1);
    (rng.below(whole - length + 1), length)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: PatchSize = PatchSize { channels: 1, frames: 6, bands: 5 };

    fn patch() -> Vec<f32> {
        (0..30).map(|i| -(i as f32)).collect()
    }

    #[test]
    fn nothing_is_changed_unless_asked() {
        let mut changed = patch();
        let augment = Augment::default();
        augment.apply(&mut changed, SIZE, &mut Rng::at(&[1]));
        augment.add_noise(&mut changed, &mut Rng::at(&[1]));
        assert_eq!(changed, patch());
        assert_eq!(augment.share(&mut Rng::at(&[1])), 1.0);
    }

    #[test]
    fn each_change_does_what_it_says() {
        let changed = |augment: Augment| {
            let mut values = patch();
            augment.apply(&mut values, SIZE, &mut Rng::at(&[3]));
            values
        };
        let passed = (1..40)
            .map(|seed| {
                let mut values = patch();
                let augment = Augment { low_pass_bands: 2, low_pass_db: 9.0, ..Augment::default() };
                augment.apply(&mut values, SIZE, &mut Rng::at(&[seed]));
                values
            })
            .find(|values| *values != patch())
            .expect("every second patch is weakened");
        for (i, (a, b)) in passed.iter().zip(patch()).enumerate() {
            assert!(i % 5 >= 3 || *a == b, "only the two highest bands: {i}");
        }
        let gain = changed(Augment { gain_db: 6.0, ..Augment::default() });
        let moved = gain[0] - patch()[0];
        assert!(moved != 0.0 && moved.abs() <= 6.0);
        assert!(gain.iter().zip(patch()).all(|(a, b)| (a - b - moved).abs() < 1e-5));

        let tilted = changed(Augment { tilt_db: 3.0, ..Augment::default() });
        let low = tilted[0] - patch()[0];
        assert!(
            (tilted[2] - patch()[2]).abs() < 1e-5
                && (low + tilted[4] - patch()[4]).abs() < 1e-5
                && low != 0.0
        );

        let scaled = changed(Augment { range_scale: 0.2, ..Augment::default() });
        let factor = scaled[10] / patch()[10];
        assert!(
            scaled[0] == 0.0
                && (0.8..=1.2).contains(&factor)
                && (scaled[20] / patch()[20] - factor).abs() < 1e-5
        );

        let floored = changed(Augment { floor_db: 10.0, ..Augment::default() });
        assert!(floored.iter().zip(patch()).all(|(a, b)| *a == b.max(-10.0)));

        let masked = changed(Augment {
            time_masks: 1,
            time_mask_frames: 6,
            band_masks: 1,
            band_mask_bands: 5,
            ..Augment::default()
        });
        let hidden = masked.iter().filter(|v| (**v + 14.5).abs() < 1e-5).count();
        assert!(hidden > 0, "{masked:?}");
    }

    #[test]
    fn equal_power_keeps_the_deviation() {
        let mut rng = Rng::at(&[8]);
        let mut values = || -> Vec<f32> { (0..20_000).map(|_| rng.normal()).collect() };
        let (mut a, b) = (values(), values());
        let augment = Augment { mix: Mix::EqualPower, mix_alpha: 1.0, ..Augment::default() };
        augment.mix(&mut a, &b, 0.6);
        let var = a.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / a.len() as f64;
        assert!((var - 1.0).abs() < 0.03, "{var}");
    }
}

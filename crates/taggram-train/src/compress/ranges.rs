//! The range of numbers that bytes shall stand for: wide enough for the large ones, narrow enough
//! that the steps between the others are small.

use serde::{Deserialize, Serialize};

use crate::error::TrainError;

/// How the range is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RangeBy {
    /// All values that were seen.
    Extremes,
    /// All but the largest (and as many of the smallest) in ten thousand.
    Percentile,
    /// The one with the least squared error of the values that were seen.
    #[default]
    Mse,
}

/// Bins of the histogram.
const BINS: usize = 2048;

/// Sees values twice: first for their extremes, then for their histogram.
#[derive(Clone, Debug)]
pub struct RangeFinder {
    low: f32,
    high: f32,
    bins: Vec<u64>,
}

impl Default for RangeFinder {
    fn default() -> Self {
        Self { low: 0.0, high: 0.0, bins: vec![0; BINS] }
    }
}

impl RangeFinder {
    /// The first look.
    pub fn see(&mut self, values: &[f32]) {
        for &v in values {
            self.low = self.low.min(v);
            self.high = self.high.max(v);
        }
    }

    /// The second look, at the same values.
    pub fn count(&mut self, values: &[f32]) {
        let scale = BINS as f32 / (self.high - self.low).max(f32::MIN_POSITIVE);
        for &v in values {
            let bin = ((v - self.low) * scale) as usize;
            self.bins[bin.min(BINS - 1)] += 1;
        }
    }

    /// `[low, high]`, 0 among them.
    ///
    /// # Errors
    /// A value that was never anything but 0, or not finite: `name` says which.
    pub fn range(&self, name: &str, by: RangeBy) -> Result<[f32; 2], TrainError> {
        if !(self.low.is_finite() && self.high.is_finite()) {
            let message = "its values are not numbers on the calibration songs";
            return Err(TrainError::malformed(format!("value `{name}`"), message));
        }
        if self.high - self.low < 1e-20 {
            // Nothing to tell apart: any range will do.
            return Ok([0.0, 1.0]);
        }
        Ok(match by {
            RangeBy::Extremes => [self.low, self.high],
            RangeBy::Percentile => self.percentile(1e-4),
            RangeBy::Mse => self.least_error(),
        })
    }

    fn centre(&self, bin: usize) -> f64 {
        let width = f64::from(self.high - self.low) / BINS as f64;
        f64::from(self.low) + (bin as f64 + 0.5) * width
    }

    fn percentile(&self, share: f64) -> [f32; 2] {
        let total: u64 = self.bins.iter().sum();
        let most = (total as f64 * share) as u64;
        let beyond = |bins: &[usize]| {
            let mut seen = 0;
            bins.iter().copied().find(|&bin| {
                seen += self.bins[bin];
                seen > most
            })
        };
        let mut bins: Vec<usize> = (0..BINS).collect();
        let low = beyond(&bins).map_or(self.low, |bin| self.centre(bin) as f32);
        bins.reverse();
        let high = beyond(&bins).map_or(self.high, |bin| self.centre(bin) as f32);
        [low.min(0.0), high.max(0.0)]
    }

    fn least_error(&self) -> [f32; 2] {
        let mut best = (f64::INFINITY, [self.low, self.high]);
        for step in 0..40 {
            let share = 1.0 - step as f32 * 0.02;
            let range = [self.low * share, self.high * share];
            let error = self.error(range);
            if error < best.0 {
                best = (error, range);
            }
        }
        best.1
    }

    /// Squared error of bytes over `range`, by the histogram.
    fn error(&self, [low, high]: [f32; 2]) -> f64 {
        let step = f64::from(high - low) / 255.0;
        let inside = step * step / 12.0;
        let bins = self.bins.iter().enumerate().filter(|(_, count)| **count > 0);
        bins.map(|(bin, &count)| {
            let v = self.centre(bin);
            let outside = (v - f64::from(high)).max(f64::from(low) - v).max(0.0);
            count as f64 * if outside > 0.0 { outside * outside } else { inside }
        })
        .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_outlier_does_not_widen_the_range() {
        let mut values: Vec<f32> = (0..100_000).map(|i| (i % 1000) as f32 / 1000.0).collect();
        values.push(30.0);
        let mut finder = RangeFinder::default();
        finder.see(&values);
        finder.count(&values);
        assert_eq!(finder.range("x", RangeBy::Extremes).unwrap(), [0.0, 30.0]);
        let [low, high] = finder.range("x", RangeBy::Percentile).unwrap();
        assert!(low == 0.0 && high < 1.1, "{low} {high}");
        // The mean error of so many small steps against one large one: somewhere between.
        let [low, high] = finder.range("x", RangeBy::Mse).unwrap();
        assert!(low == 0.0 && (5.0..30.0).contains(&high), "{low} {high}");
        let mut broken = RangeFinder::default();
        broken.see(&[f32::INFINITY]);
        assert!(broken.range("x", RangeBy::Mse).unwrap_err().to_string().contains("`x`"));
    }
}

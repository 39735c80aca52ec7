//! A picture's worth of a feature map: the whole song in a bounded number of columns.

use taggram_features::{FeatureFrames, FeatureMap};

/// Columns that are kept at most; a screen has fewer.
const COLUMNS: usize = 4096;

/// Collects frames; when there are too many, neighbours are averaged and every further column
/// stands for twice as many frames. A ten-hour file costs as much memory as a short one.
pub(crate) struct Overview {
    columns: FeatureFrames,
    /// Frames a column stands for.
    stride: usize,
    /// Sum of the frames of the unfinished column, and how many they are.
    sum: Vec<f32>,
    summed: usize,
}

impl Overview {
    pub(crate) fn new(channels: usize, bands: usize) -> Self {
        Self {
            columns: FeatureFrames::new(channels, bands),
            stride: 1,
            sum: vec![0.0; channels * bands],
            summed: 0,
        }
    }

    /// Takes frames, `[time, channel, band]`.
    pub(crate) fn push(&mut self, frames: &[f32]) {
        for frame in frames.chunks_exact(self.sum.len()) {
            self.sum.iter_mut().zip(frame).for_each(|(s, &x)| *s += x);
            self.summed += 1;
            if self.summed == self.stride {
                self.close_column();
            }
        }
    }

    fn close_column(&mut self) {
        let scale = 1.0 / self.summed as f32;
        self.columns.data.extend(self.sum.iter().map(|s| s * scale));
        self.sum.fill(0.0);
        self.summed = 0;
        if self.columns.frames() == COLUMNS {
            let size = self.sum.len();
            let halved: Vec<f32> = self
                .columns
                .data
                .chunks_exact(2 * size)
                .flat_map(|pair| (0..size).map(move |i| 0.5 * (pair[i] + pair[size + i])))
                .collect();
            self.columns.data = halved;
            self.stride *= 2;
        }
    }

    pub(crate) fn into_map(mut self) -> FeatureMap {
        if self.summed > 0 {
            self.close_column();
        }
        self.columns.into_map()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stay_bounded_and_averages_stay_true() {
        let mut overview = Overview::new(1, 1);
        let frames: Vec<f32> = (0..20_000).map(|i| i as f32).collect();
        overview.push(&frames);
        let map = overview.into_map();
        assert!(map.frames > COLUMNS / 2 && map.frames <= COLUMNS, "{} columns", map.frames);
        let stride = 20_000f32 / map.frames as f32;
        assert!((map.data[100] - 100.5 * stride).abs() < stride, "column 100 is {}", map.data[100]);
    }

    #[test]
    fn few_frames_are_kept_as_they_are() {
        let mut overview = Overview::new(1, 2);
        let frames = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        overview.push(&frames);
        assert_eq!(overview.into_map().data, frames);
    }
}

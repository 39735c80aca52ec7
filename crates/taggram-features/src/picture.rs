//! Pictures drawn column by column: what people look at when they look at sound, for networks
//! that look at pictures. The same samples always give the same picture, and a column depends only on
//! the samples under it and, for a line, on the column before.

use crate::descriptors::time::share_of_crossings;

/// Zero-crossing rate at the top edge of its plot: a crossing every other sample, a tone at a quarter
/// of the sample rate. Music stays far below.
const HIGHEST_RATE: f32 = 0.5;

/// The wave of `samples` (−1…1) as one column of `rows` values 0…1, row 0 at −1: how much of each row
/// lies between the lowest and the highest sample. At least one row's height is inked.
pub(crate) fn wave_column(samples: &[f32], rows: usize, out: &mut Vec<f32>) {
    let (low, high) = samples
        .iter()
        .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &s| (low.min(s), high.max(s)));
    ink(0.5 + 0.5 * low, 0.5 + 0.5 * high, rows, out);
}

/// The zero-crossing rate of `samples` as one column of `rows` values 0…1, row 0 at rate 0: a line
/// from `last`, the height of the column before (0…1), to this column's height, which is returned.
pub(crate) fn rate_column(
    samples: &[f32],
    last: Option<f32>,
    rows: usize,
    out: &mut Vec<f32>,
) -> f32 {
    let height = (share_of_crossings(samples) / HIGHEST_RATE).clamp(0.0, 1.0);
    let from = last.unwrap_or(height);
    ink(from.min(height), from.max(height), rows, out);
    height
}

/// A column whose rows are covered between the heights `low` and `high`, 0…1.
fn ink(low: f32, high: f32, rows: usize, out: &mut Vec<f32>) {
    let (low, high) = (low.clamp(0.0, 1.0) * rows as f32, high.clamp(0.0, 1.0) * rows as f32);
    // A line is one row thick, and stays inside the picture.
    let thin = (1.0 - (high - low)).max(0.0) / 2.0;
    let low = (low - thin).clamp(0.0, rows as f32 - 1.0);
    let high = (high + thin).clamp(low + 1.0, rows as f32);
    out.extend((0..rows).map(|row| {
        let row = row as f32;
        (high.min(row + 1.0) - low.max(row)).clamp(0.0, 1.0)
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(low: f32, high: f32, rows: usize) -> Vec<f32> {
        let mut out = Vec::new();
        ink(low, high, rows, &mut out);
        out
    }

    #[test]
    fn ink_covers_what_lies_between() {
        assert_eq!(column(0.25, 0.75, 8), [0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0]);
        assert_eq!(column(0.0, 0.3125, 8), [1.0, 1.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0]);
        // A line is one row thick wherever it lies.
        for height in [0.0, 0.1, 0.5, 0.93, 1.0] {
            let total: f32 = column(height, height, 8).iter().sum();
            assert!((total - 1.0).abs() < 1e-6, "{height}: {total}");
        }
        assert_eq!(column(1.0, 1.0, 4), [0.0, 0.0, 0.0, 1.0]);
        assert_eq!(column(-3.0, 7.0, 3), [1.0, 1.0, 1.0]);
    }

    #[test]
    fn a_wave_is_drawn_from_its_lowest_to_its_highest_sample() {
        let mut out = Vec::new();
        wave_column(&[0.0, 0.5, -0.5, 0.1], 8, &mut out);
        assert_eq!(out, [0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn a_rate_is_a_line_from_the_column_before() {
        let fast: Vec<f32> = (0..400).map(|i| if i % 4 < 2 { 0.3 } else { -0.3 }).collect();
        let mut out = Vec::new();
        let height = rate_column(&[0.5; 400], None, 4, &mut out);
        assert!(height < 0.01 && out[0] > 0.9, "{out:?}");
        out.clear();
        let top = rate_column(&fast, Some(height), 4, &mut out);
        assert!(top > 0.95 && out.iter().all(|v| *v > 0.9), "{top} {out:?}");
    }
}

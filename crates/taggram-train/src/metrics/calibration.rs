//! Whether "80 %" means right four times in five.

use serde::{Deserialize, Serialize};

use super::counts::argmax;
use super::intervals::{Interval, middle};
use crate::rng::Rng;

/// Bins of the expected calibration error and of the reliability plot, of equal width over 0…1.
pub const ECE_BINS: usize = 15;
/// Probabilities are kept above this before a logarithm (the machine epsilon, as in scikit-learn).
const SMALLEST: f64 = f64::EPSILON;
/// Temperatures are looked for between 1 / this and this.
const MAX_TEMPERATURE: f64 = 50.0;

/// Songs whose confidence lies in one range: `low` excluded (0 included), `high` included.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// Lower edge, 0…1.
    pub low: f64,
    /// Upper edge, 0…1.
    pub high: f64,
    /// Mean probability of the most probable genre; 0 without songs.
    pub confidence: f64,
    /// Share of the songs that were right; 0 without songs.
    pub accuracy: f64,
    /// Number of songs.
    pub songs: usize,
}

/// Confidence and accuracy of the songs in [`ECE_BINS`] bins of confidence.
pub fn reliability(labels: &[usize], probabilities: &[Vec<f64>]) -> Vec<ReliabilityBin> {
    let mut sums = [(0.0f64, 0usize, 0usize); ECE_BINS];
    for (&label, row) in labels.iter().zip(probabilities) {
        let best = argmax(row);
        let bin = (row[best] * ECE_BINS as f64).ceil() as usize;
        let bin = &mut sums[bin.clamp(1, ECE_BINS) - 1];
        bin.0 += row[best];
        bin.1 += usize::from(best == label);
        bin.2 += 1;
    }
    let edge = |i: usize| i as f64 / ECE_BINS as f64;
    let bin = |(i, &(confidence, right, songs)): (usize, &(f64, usize, usize))| {
        let n = songs.max(1) as f64;
        let (confidence, accuracy) = (confidence / n, right as f64 / n);
        ReliabilityBin { low: edge(i), high: edge(i + 1), confidence, accuracy, songs }
    };
    sums.iter().enumerate().map(bin).collect()
}

/// Expected calibration error: the gap between confidence and accuracy, averaged over songs,
/// in [`ECE_BINS`] bins of equal width (Guo et al. 2017).
pub fn ece(labels: &[usize], probabilities: &[Vec<f64>]) -> f64 {
    let gap = |b: &ReliabilityBin| b.songs as f64 * (b.confidence - b.accuracy).abs();
    reliability(labels, probabilities).iter().map(gap).sum::<f64>() / labels.len().max(1) as f64
}

/// The calibration error that chance alone gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChanceError {
    /// Mean over drawings.
    pub mean: f64,
    /// The range of 95 % of the drawings.
    pub range: Interval,
}

/// The [`ece`] of probabilities that mean exactly what they say: each song is drawn to be right with the probability of
/// its most probable genre, `drawings` times. A bin of few songs is off by chance, and the error counts
/// every bin's distance, so it is never 0: an error within this range is no evidence against the probabilities.
pub fn ece_by_chance(probabilities: &[Vec<f64>], drawings: usize, seed: u64) -> ChanceError {
    if probabilities.is_empty() || drawings == 0 {
        return ChanceError::default();
    }
    let mut rng = Rng::at(&[seed, 0xca11]);
    let bests: Vec<usize> = probabilities.iter().map(|row| argmax(row)).collect();
    let mut errors: Vec<f64> = (0..drawings)
        .map(|_| {
            let drawn = probabilities.iter().zip(&bests).map(|(row, &best)| {
                // Any other genre is a wrong one.
                if f64::from(rng.unit()) < row[best] { best } else { best + 1 }
            });
            ece(&drawn.collect::<Vec<_>>(), probabilities)
        })
        .collect();
    let mean = errors.iter().sum::<f64>() / drawings as f64;
    ChanceError { mean, range: middle(&mut errors) }
}

/// Mean of −ln(probability of the true genre), natural logarithm.
pub fn log_loss(labels: &[usize], probabilities: &[Vec<f64>]) -> f64 {
    let loss = |(&label, row): (&usize, &Vec<f64>)| -row[label].clamp(SMALLEST, 1.0).ln();
    labels.iter().zip(probabilities).map(loss).sum::<f64>() / labels.len().max(1) as f64
}

/// Brier score: mean over songs of Σ over genres (probability − truth)², 0…2.
pub fn brier(labels: &[usize], probabilities: &[Vec<f64>]) -> f64 {
    let score = |(&label, row): (&usize, &Vec<f64>)| -> f64 {
        row.iter().enumerate().map(|(i, p)| (p - f64::from(u8::from(i == label))).powi(2)).sum()
    };
    labels.iter().zip(probabilities).map(score).sum::<f64>() / labels.len().max(1) as f64
}

/// Probabilities ∝ p^(1/T): below 1 sharpens, above 1 softens. The same as
/// `taggram_model`'s song-level calibration.
pub fn apply_temperature(row: &[f64], temperature: f64) -> Vec<f64> {
    let powers: Vec<f64> = row.iter().map(|p| p.max(1e-12).powf(1.0 / temperature)).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|p| p / sum).collect()
}

/// The temperature of least log loss on these songs, which must not be test songs. The loss is
/// convex in 1/T, so a golden-section search over ln T finds its minimum. 1 without songs.
///
/// When every song is right (or wrong) the loss falls without end; the answer then is
/// the end of the range, 1/50 or 50.
pub fn fit_temperature(labels: &[usize], probabilities: &[Vec<f64>]) -> f64 {
    if labels.is_empty() {
        return 1.0;
    }
    let logs: Vec<Vec<f64>> =
        probabilities.iter().map(|row| row.iter().map(|p| p.max(1e-12).ln()).collect()).collect();
    let loss = |ln_t: f64| -> f64 {
        let beta = (-ln_t).exp();
        let song = |(&label, row): (&usize, &Vec<f64>)| {
            let top = row.iter().fold(f64::MIN, |m, &v| m.max(v));
            let sum: f64 = row.iter().map(|l| (beta * (l - top)).exp()).sum();
            sum.ln() - beta * (row[label] - top)
        };
        labels.iter().zip(&logs).map(song).sum()
    };
    let ratio = (5f64.sqrt() - 1.0) / 2.0;
    let (mut low, mut high) = (-MAX_TEMPERATURE.ln(), MAX_TEMPERATURE.ln());
    let (mut a, mut b) = (high - ratio * (high - low), low + ratio * (high - low));
    let (mut loss_a, mut loss_b) = (loss(a), loss(b));
    // The bracket shrinks to 8 · 0.618^60 ≈ 2e-12, below what rounding lets a minimum be placed.
    for _ in 0..60 {
        if loss_a <= loss_b {
            (high, b, loss_b) = (b, a, loss_a);
            a = high - ratio * (high - low);
            loss_a = loss(a);
        } else {
            (low, a, loss_a) = (a, b, loss_b);
            b = low + ratio * (high - low);
            loss_b = loss(b);
        }
    }
    f64::midpoint(low, high).exp()
}

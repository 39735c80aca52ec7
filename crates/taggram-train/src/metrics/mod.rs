//! How good a classifier is: numbers from the probabilities it gave songs and the genres the songs have.
//!
//! Throughout, `labels` is `[song]`, the index of the true genre, and `probabilities` is
//! `[song][genre]`, each row summing to 1. One row is one song (unless the leaky
//! protocol says otherwise), because songs, not windows, are what is independent. Definitions
//! are scikit-learn's where it has them; the golden tests hold these against its version 1.9.

pub mod calibration;
pub mod counts;
pub mod intervals;
pub mod ranking;

use serde::{Deserialize, Serialize};

pub use calibration::{
    ChanceError, ECE_BINS, ReliabilityBin, apply_temperature, brier, ece, ece_by_chance,
    fit_temperature, log_loss, reliability,
};
pub use counts::{Averages, Confusion, GenreScore, argmax, top_k_accuracy};
pub use intervals::{Interval, McNemar, bootstrap, mcnemar, wilson};
pub use ranking::{average_precision, pr_curve, roc_auc, roc_curve};

/// Resamples of a bootstrap interval, drawings of the calibration error.
const RESAMPLES: usize = 1000;

/// Every figure of a report. Shares and scores are 0…1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Number of songs.
    pub songs: usize,
    /// Share of songs whose most probable genre is theirs.
    pub accuracy: f64,
    /// 95 % Wilson interval of the accuracy.
    pub accuracy_interval: Interval,
    /// Share of songs whose genre is among the three most probable.
    pub top3: f64,
    /// Precision, recall and F1, the plain mean over genres.
    pub macro_average: Averages,
    /// 95 % bootstrap interval over songs of the macro F1.
    pub macro_f1_interval: Interval,
    /// Precision, recall and F1, weighted by the number of songs.
    pub weighted_average: Averages,
    /// Mean over genres of the average precision, each genre against the rest.
    pub mean_average_precision: f64,
    /// 95 % bootstrap interval over songs of the mean average precision.
    pub mean_average_precision_interval: Interval,
    /// Mean over genres of the area under the ROC curve, each genre against the rest.
    pub roc_auc: f64,
    /// 95 % bootstrap interval over songs of the ROC area.
    pub roc_auc_interval: Interval,
    /// Expected calibration error, 15 bins of equal width.
    pub expected_calibration_error: f64,
    /// What the calibration error would be if every probability meant what it says.
    #[serde(default)]
    pub calibration_error_by_chance: ChanceError,
    /// Mean of −ln(probability of the true genre).
    pub log_loss: f64,
    /// Mean over songs of the squared distance between probabilities and truth, 0…2.
    pub brier: f64,
    /// Scores of each genre.
    pub genres: Vec<GenreScore>,
    /// Counts, true genre × predicted genre.
    pub confusion: Confusion,
    /// Confidence and accuracy in bins.
    pub reliability: Vec<ReliabilityBin>,
}

impl Metrics {
    /// Every figure; `seed` fixes the bootstrap. Zeros when there are no songs.
    ///
    /// # Panics
    /// When labels, rows and genres do not fit together: a bug of the caller.
    pub fn new(genres: &[String], labels: &[usize], probabilities: &[Vec<f64>], seed: u64) -> Self {
        assert_eq!(
            labels.len(),
            probabilities.len(),
            "labels and rows of probabilities differ in number"
        );
        assert!(
            probabilities.iter().all(|p| p.len() == genres.len()),
            "a row has not one value a genre"
        );
        assert!(labels.iter().all(|&l| l < genres.len()), "a label is beyond the genres");
        let confusion = Confusion::new(genres.len(), labels, probabilities);
        let right = confusion.correct();
        let resampled = bootstrap(labels.len(), RESAMPLES, seed, |songs| {
            let labels: Vec<usize> = songs.iter().map(|&s| labels[s]).collect();
            let rows: Vec<&[f64]> = songs.iter().map(|&s| probabilities[s].as_slice()).collect();
            let (average_precision, roc) = ranking::macro_scores(genres.len(), &labels, &rows);
            let f1 = Confusion::new(genres.len(), &labels, &rows).averages().0.f1;
            [f1, average_precision, roc]
        });
        let rows: Vec<&[f64]> = probabilities.iter().map(Vec::as_slice).collect();
        let (mean_average_precision, roc_auc) = ranking::macro_scores(genres.len(), labels, &rows);
        let (macro_average, weighted_average) = confusion.averages();
        Self {
            songs: labels.len(),
            accuracy: right as f64 / labels.len().max(1) as f64,
            accuracy_interval: wilson(right, labels.len()),
            top3: top_k_accuracy(labels, probabilities, 3),
            macro_average,
            macro_f1_interval: resampled[0],
            weighted_average,
            mean_average_precision,
            mean_average_precision_interval: resampled[1],
            roc_auc,
            roc_auc_interval: resampled[2],
            expected_calibration_error: ece(labels, probabilities),
            calibration_error_by_chance: ece_by_chance(probabilities, RESAMPLES, seed),
            log_loss: log_loss(labels, probabilities),
            brier: brier(labels, probabilities),
            genres: confusion.genre_scores(genres, labels, &rows),
            reliability: reliability(labels, probabilities),
            confusion,
        }
    }
}

#[cfg(test)]
mod tests;

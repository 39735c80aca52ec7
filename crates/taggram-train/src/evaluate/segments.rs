//! The leaky protocol `random-segment`: windows of one song on both sides. Only good for showing
//! how much of a published figure is leakage.

use rayon::prelude::*;

use super::{Evaluation, Failure, SongPrediction};
use crate::dataset::error::{Result, fault};
use crate::dataset::{Dataset, ErrorKind, Segment, SegmentSplit, Shares};

/// Anything that gives one window a probability for each genre.
pub trait SegmentClassifier: Sync {
    /// Name for reports.
    fn name(&self) -> String;

    /// Probabilities of a window, one for each genre of the dataset, summing to 1.
    ///
    /// # Errors
    /// A window that it cannot read or classify.
    fn predict(&self, segment: Segment) -> Result<Vec<f64>>;
}

/// Splits all windows of `tracks` at random, lets `fit` learn from the train side and scores
/// the test side, one row a **window**. `segments[i]` is the number of windows of `tracks[i]`.
///
/// # Errors
/// No test windows, or whatever `fit` reports.
pub fn evaluate_segments(
    dataset: &Dataset,
    tracks: &[usize],
    segments: &[usize],
    shares: Shares,
    seed: u64,
    fit: impl FnOnce(&SegmentSplit) -> Result<Box<dyn SegmentClassifier>>,
) -> Result<Evaluation> {
    let split = dataset.random_segments(tracks, segments, shares, seed);
    if split.train.is_empty() || split.test.is_empty() {
        return Err(fault(
            &dataset.origin,
            ErrorKind::TooShort,
            format!(
                "{} windows leave {} to learn from and {} to test on",
                segments.iter().sum::<usize>(),
                split.train.len(),
                split.test.len()
            ),
        ));
    }
    let classifier = fit(&split)?;
    let answers: Vec<_> = split
        .test
        .par_iter()
        .map(|&segment| {
            let track = &dataset.tracks[segment.track];
            let id = format!("{}#{}", track.id, segment.index);
            match classifier.predict(segment) {
                Ok(probabilities) => Ok(SongPrediction {
                    id,
                    label: track.genre,
                    artist: track.artist.clone(),
                    probabilities,
                }),
                Err(error) => Err(Failure { id, reason: error.to_string() }),
            }
        })
        .collect();
    let (mut predictions, mut failed) = (Vec::new(), Vec::new());
    for answer in answers {
        match answer {
            Ok(prediction) => predictions.push(prediction),
            Err(failure) => failed.push(failure),
        }
    }
    let name = classifier.name();
    Ok(Evaluation::new("random-segment", name, dataset.genres.clone(), predictions, failed))
}

//! Asking a classifier about songs and scoring what it says, under named protocols.
//!
//! Each song is asked about once, however many protocols it belongs to. A song that could not be
//! classified is listed and left out of the figures, never counted silently as right or wrong.

mod cross;
mod listening;
mod segments;
mod stored;
mod table;

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::dataset::error::{ErrorKind, Result, TrainError, fault};
use crate::dataset::{Dataset, Track};
use crate::metrics::{Metrics, argmax};

pub use cross::{CrossValidation, cross_validate};
pub use listening::{Heard, Listening};
pub use segments::{SegmentClassifier, evaluate_segments};
pub use stored::StoredRows;
pub(crate) use stored::{STORED_LAYER, stored_rows};
pub use table::{TableClassifier, table_recipe};

/// Seed of the bootstrap intervals: the same predictions give the same report.
const BOOTSTRAP_SEED: u64 = 0;

/// Anything that gives a song a probability for each genre.
pub trait SongClassifier: Sync {
    /// Name for reports.
    fn name(&self) -> String;

    /// The genres it knows, in the order of its probabilities.
    fn genres(&self) -> &[String];

    /// Probabilities of a track, one for each of [`Self::genres`], summing to 1.
    ///
    /// # Errors
    /// A track that it cannot read or classify; the evaluation goes on without it.
    fn predict(&self, dataset: &Dataset, track: &Track) -> Result<Vec<f64>>;
}

/// What a classifier said about one song.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SongPrediction {
    /// Id of the track.
    pub id: String,
    /// True genre, an index into the genres of the evaluation.
    pub label: usize,
    /// Who plays it, when known.
    pub artist: Option<String>,
    /// Probability of each genre.
    pub probabilities: Vec<f64>,
}

impl SongPrediction {
    /// The most probable genre.
    pub fn predicted(&self) -> usize {
        argmax(&self.probabilities)
    }

    /// Whether that is the true one.
    pub fn correct(&self) -> bool {
        self.predicted() == self.label
    }
}

/// A song that could not be classified.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// Id of the track.
    pub id: String,
    /// Why.
    pub reason: String,
}

/// A classifier under one protocol.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Name of the protocol, e.g. `fault-filtered`.
    pub protocol: String,
    /// Name of the classifier.
    pub model: String,
    /// The genres, in the order of the probabilities.
    pub genres: Vec<String>,
    /// What was said, in the order of the dataset.
    pub predictions: Vec<SongPrediction>,
    /// Songs left out because they could not be classified.
    pub failed: Vec<Failure>,
    /// Songs of the protocol's test side that the dataset does not have.
    pub absent: Vec<String>,
    /// The figures.
    pub metrics: Metrics,
}

impl Evaluation {
    /// Scores predictions.
    ///
    /// # Panics
    /// When a prediction does not fit the genres: a bug of the caller.
    pub fn new(
        protocol: impl Into<String>,
        model: impl Into<String>,
        genres: Vec<String>,
        predictions: Vec<SongPrediction>,
        failed: Vec<Failure>,
    ) -> Self {
        let labels: Vec<usize> = predictions.iter().map(|p| p.label).collect();
        let rows: Vec<Vec<f64>> = predictions.iter().map(|p| p.probabilities.clone()).collect();
        let metrics = Metrics::new(&genres, &labels, &rows, BOOTSTRAP_SEED);
        Self {
            protocol: protocol.into(),
            model: model.into(),
            genres,
            predictions,
            failed,
            absent: Vec::new(),
            metrics,
        }
    }

    /// The labels, `[song]`.
    pub fn labels(&self) -> Vec<usize> {
        self.predictions.iter().map(|p| p.label).collect()
    }

    /// The probabilities, `[song][genre]`.
    pub fn probabilities(&self) -> Vec<Vec<f64>> {
        self.predictions.iter().map(|p| p.probabilities.clone()).collect()
    }
}

/// Evaluates on the test sides of several protocols, asking about each song once, in parallel.
/// `progress` is called after each song.
///
/// # Errors
/// An unknown protocol, or genres of the dataset that the classifier does not know.
pub fn evaluate(
    dataset: &Dataset,
    classifier: &dyn SongClassifier,
    protocols: &[&str],
    progress: &(dyn Fn() + Sync),
) -> Result<Vec<Evaluation>> {
    let mut sides = Vec::new();
    for name in protocols {
        let split = dataset.split(name)?;
        sides.push((*name, split.test, split.absent));
    }
    let mut all: Vec<usize> = sides.iter().flat_map(|(_, test, _)| test.iter().copied()).collect();
    all.sort_unstable();
    all.dedup();
    let answers = ask(dataset, classifier, &all, progress)?;
    Ok(sides
        .into_iter()
        .map(|(name, test, absent)| {
            let (mut predictions, mut failed) = (Vec::new(), Vec::new());
            for t in test {
                match &answers[&t] {
                    Ok(prediction) => predictions.push(prediction.clone()),
                    Err(failure) => failed.push(failure.clone()),
                }
            }
            let genres = classifier.genres().to_vec();
            let mut e = Evaluation::new(name, classifier.name(), genres, predictions, failed);
            e.absent = absent;
            e
        })
        .collect())
}

/// Evaluates on given tracks: a validation side, a fold.
///
/// # Errors
/// Genres of the tracks that the classifier does not know.
pub fn evaluate_on(
    dataset: &Dataset,
    classifier: &dyn SongClassifier,
    protocol: &str,
    tracks: &[usize],
    progress: &(dyn Fn() + Sync),
) -> Result<Evaluation> {
    let answers = ask(dataset, classifier, tracks, progress)?;
    let (mut predictions, mut failed) = (Vec::new(), Vec::new());
    for t in tracks {
        match &answers[t] {
            Ok(prediction) => predictions.push(prediction.clone()),
            Err(failure) => failed.push(failure.clone()),
        }
    }
    let genres = classifier.genres().to_vec();
    Ok(Evaluation::new(protocol, classifier.name(), genres, predictions, failed))
}

type Answers = BTreeMap<usize, std::result::Result<SongPrediction, Failure>>;

fn ask(
    dataset: &Dataset,
    classifier: &dyn SongClassifier,
    tracks: &[usize],
    progress: &(dyn Fn() + Sync),
) -> Result<Answers> {
    let labels = vocabulary(dataset, classifier.genres(), tracks)?;
    let one = |&t: &usize| {
        let track = &dataset.tracks[t];
        let answer = classifier.predict(dataset, track).and_then(|p| sound(p, classifier, track));
        progress();
        let answer = match answer {
            Ok(probabilities) => Ok(SongPrediction {
                id: track.id.clone(),
                label: labels[track.genre].unwrap_or_default(),
                artist: track.artist.clone(),
                probabilities,
            }),
            Err(error) => Err(Failure { id: track.id.clone(), reason: error.to_string() }),
        };
        (t, answer)
    };
    Ok(tracks.par_iter().map(one).collect())
}

/// Where each genre of the dataset stands among `genres`, for those that the tracks have.
fn vocabulary(
    dataset: &Dataset,
    genres: &[String],
    tracks: &[usize],
) -> Result<Vec<Option<usize>>> {
    let labels: Vec<Option<usize>> =
        dataset.genres.iter().map(|g| genres.iter().position(|known| known == g)).collect();
    match tracks.iter().find(|&&t| labels[dataset.tracks[t].genre].is_none()) {
        None => Ok(labels),
        Some(&t) => {
            let track = &dataset.tracks[t];
            Err(fault(
                &dataset.origin,
                ErrorKind::Unsupported,
                format!(
                    "`{}` has the genre `{}`, which the classifier does not know; it knows {}",
                    track.id,
                    dataset.genres[track.genre],
                    genres.join(", ")
                ),
            ))
        }
    }
}

/// Refuses an answer that is no distribution, so that no figure is made of it.
fn sound(p: Vec<f64>, classifier: &dyn SongClassifier, track: &Track) -> Result<Vec<f64>> {
    let sum: f64 = p.iter().sum();
    let fits = p.len() == classifier.genres().len();
    if fits && p.iter().all(|v| v.is_finite() && *v >= 0.0) && (sum - 1.0).abs() < 1e-3 {
        return Ok(p);
    }
    Err(TrainError::new(
        track.id.clone(),
        ErrorKind::Bug,
        format!(
            "`{}` answered {} values that sum to {sum}, no distribution over its {} genres",
            classifier.name(),
            p.len(),
            classifier.genres().len()
        ),
    ))
}

#[cfg(test)]
mod tests;

//! Cross-validation: each song is tested once, by a classifier that never met its group.

use super::{Evaluation, SongClassifier, evaluate_on};
use crate::dataset::error::Result;
use crate::dataset::{Dataset, Group, Split};

/// The folds, and all their predictions together.
#[derive(Clone, Debug, PartialEq)]
pub struct CrossValidation {
    /// One evaluation a fold.
    pub folds: Vec<Evaluation>,
    /// Every song once, as one evaluation: what the figures and intervals should be read from.
    pub pooled: Evaluation,
}

impl CrossValidation {
    /// Mean and standard deviation (n − 1) over folds of the accuracy, 0…1.
    pub fn accuracy(&self) -> (f64, f64) {
        let n = self.folds.len() as f64;
        let values = || self.folds.iter().map(|f| f.metrics.accuracy);
        let mean = values().sum::<f64>() / n.max(1.0);
        let squares: f64 = values().map(|v| (v - mean).powi(2)).sum();
        (mean, (squares / (n - 1.0).max(1.0)).sqrt())
    }
}

/// Cross-validates over `tracks` (all of the dataset, or say its train side) in `k` folds, no
/// group on both sides. `fit` makes a classifier from a split, of which it may use only the
/// train side; it is told the number of the fold.
///
/// # Errors
/// Too few groups, or whatever `fit` reports.
pub fn cross_validate(
    dataset: &Dataset,
    tracks: &[usize],
    k: usize,
    group: Group,
    seed: u64,
    mut fit: impl FnMut(usize, &Split) -> Result<Box<dyn SongClassifier>>,
) -> Result<CrossValidation> {
    let protocol = match group {
        Group::Artist => format!("artist-grouped {k}-fold"),
        Group::Song => format!("song-grouped {k}-fold"),
    };
    let mut folds = Vec::with_capacity(k);
    for (i, split) in dataset.k_fold_of(tracks, k, group, seed)?.iter().enumerate() {
        let classifier = fit(i, split)?;
        let name = format!("{protocol}, fold {}", i + 1);
        folds.push(evaluate_on(dataset, classifier.as_ref(), &name, &split.test, &|| ())?);
    }
    let mut predictions: Vec<_> = folds.iter().flat_map(|f| f.predictions.clone()).collect();
    predictions.sort_by_key(|p| dataset.index_of(&p.id));
    let failed = folds.iter().flat_map(|f| f.failed.clone()).collect();
    let (genres, model) = (folds[0].genres.clone(), folds[0].model.clone());
    let pooled = Evaluation::new(protocol, model, genres, predictions, failed);
    Ok(CrossValidation { folds, pooled })
}

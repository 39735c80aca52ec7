//! Cross-validation of a head: the rows of every song are read once, then each fold learns anew.

use std::collections::BTreeMap;

use taggram_model::classifier::Pipeline;

use super::{Calibration, HeadRecipe, calibrate, in_threads, read, song_answer, table, train};
use crate::dataset::error::Result;
use crate::dataset::{Dataset, Group, Track};
use crate::error::TrainError;
use crate::evaluate::{CrossValidation, SongClassifier, cross_validate};
use crate::metrics::apply_temperature;

/// Cross-validates the classifier of `recipe` over all songs of `dataset` in `folds` folds, no
/// group on both sides. Each fold fits its temperature within its own train side, as
/// [`super::train_classifier`] does. `threads` 0 means one a processor.
///
/// # Errors
/// Those of [`super::train_classifier`], and too few groups for the folds.
pub fn cross_validate_classifier(
    name: &str,
    recipe: &HeadRecipe,
    dataset: &Dataset,
    (folds, group, seed): (usize, Group, u64),
    threads: usize,
    notice: &mut (dyn FnMut(&str) + Send),
) -> std::result::Result<CrossValidation, TrainError> {
    in_threads(threads, || {
        let songs: Vec<usize> = (0..dataset.len()).collect();
        notice(&format!("reading {} songs", songs.len()));
        let input = read(recipe, dataset, &songs, threads)?;
        let crossed = cross_validate(dataset, &songs, folds, group, seed, |fold, split| {
            let (calibration, _): (Calibration, BTreeMap<_, _>) =
                calibrate(recipe, dataset, &split.train, &input, &mut |_| ())?;
            let rows = table(dataset, &split.train, &input);
            let pipeline = train(&recipe.classifier(), &rows, &dataset.genres, recipe.data.seed)?;
            notice(&format!("fold {} of {folds} has learnt", fold + 1));
            Ok(Box::new(Head {
                name: name.to_string(),
                genres: dataset.genres.clone(),
                pipeline,
                temperature: f64::from(calibration.temperature),
                // Only what its fold asks about is read from it.
                input: split
                    .test
                    .iter()
                    .map(|t| (dataset.tracks[*t].id.clone(), input.of[t].clone()))
                    .collect(),
            }))
        })?;
        Ok(crossed)
    })
}

/// The classifier of one fold, with the rows of the songs that it will be asked about.
struct Head {
    name: String,
    genres: Vec<String>,
    pipeline: Pipeline,
    temperature: f64,
    input: BTreeMap<String, Vec<f32>>,
}

impl SongClassifier for Head {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn genres(&self) -> &[String] {
        &self.genres
    }

    fn predict(&self, _: &Dataset, track: &Track) -> Result<Vec<f64>> {
        let rows = self.input.get(&track.id).ok_or_else(|| {
            TrainError::malformed(track.id.clone(), "its rows were not read for this fold")
        })?;
        let answer = song_answer(&self.pipeline, rows, track)?;
        Ok(apply_temperature(&answer, self.temperature))
    }
}

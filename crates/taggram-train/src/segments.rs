//! The leaky protocol `random-segment` for networks: the windows that a recipe cuts from songs, split
//! at random, so that windows of one song (overlapping ones even) are on both sides. Only good for
//! showing what published figures under it are worth.

use std::collections::BTreeMap;

use rayon::prelude::*;
use taggram::{Decide, Listener, Model};
use taggram_features::{FeatureMap, FrontEnd, Windows};

use crate::dataset::{Dataset, Segment, SegmentSplit, Shares};
use crate::error::{ErrorKind, TrainError};
use crate::evaluate::{Evaluation, SegmentClassifier, evaluate_segments};
use crate::fit::{Clip, Data};
use crate::recipe::Recipe;

/// The windows of every song, split at random: a clip a song and side.
pub(crate) fn data(
    recipe: &Recipe,
    dataset: &Dataset,
    shares: Shares,
    seed: u64,
) -> Result<Data, TrainError> {
    if !recipe.data.teachers.is_empty() {
        return Err(TrainError::new(
            "[data.teachers]",
            ErrorKind::Unsupported,
            "teachers speak of whole songs; a split of segments has no use for them",
        ));
    }
    let maps = maps(dataset, &recipe.front_end)?;
    let (tracks, starts) = windows_of(&recipe.windows, &maps)?;
    let counts: Vec<usize> = starts.iter().map(Vec::len).collect();
    let split = dataset.random_segments(&tracks, &counts, shares, seed);
    let side = |segments: &[Segment]| {
        let mut clips: BTreeMap<usize, Clip> = BTreeMap::new();
        for s in segments {
            let clip = clips.entry(s.track).or_insert_with(|| Clip {
                id: dataset.tracks[s.track].id.clone(),
                label: dataset.tracks[s.track].genre,
                map: maps[s.track].clone(),
                ..Clip::default()
            });
            clip.starts.push(starts[s.track][s.index]);
        }
        clips.into_values().collect()
    };
    Ok(Data {
        train: side(&split.train),
        valid: side(&split.valid),
        classes: dataset.genres.clone(),
        unlabelled: Vec::new(),
    })
}

/// The map of every track.
fn maps(dataset: &Dataset, front_end: &FrontEnd) -> Result<Vec<FeatureMap>, TrainError> {
    dataset.tracks.par_iter().map(|track| dataset.feature_map(track, front_end)).collect()
}

/// All tracks, and the first frames of the windows of each.
fn windows_of(
    windows: &Windows,
    maps: &[FeatureMap],
) -> Result<(Vec<usize>, Vec<Vec<usize>>), TrainError> {
    let starts = maps
        .iter()
        .enumerate()
        .map(|(t, map)| {
            let patches = windows
                .cut(map)
                .map_err(|e| TrainError::malformed(format!("track {t}"), e.to_string()))?;
            Ok(patches.starts)
        })
        .collect::<Result<_, TrainError>>()?;
    Ok(((0..maps.len()).collect(), starts))
}

/// What a finished model says of the test windows of `random-segment`, one row a window.
///
/// # Errors
/// Songs that cannot be read or that the model cannot hear.
pub fn evaluate_model(
    dataset: &Dataset,
    model: &Model,
    shares: Shares,
    seed: u64,
) -> Result<Evaluation, TrainError> {
    let classes = model.labels().len();
    let rows: Vec<Vec<f64>> = dataset
        .tracks
        .par_iter()
        .map(|track| {
            let fail = |e: taggram::Error| TrainError::malformed(track.id.clone(), e.to_string());
            let map = dataset.feature_map(track, model.front_end())?;
            let mut listener = Listener::new(model, false, 1).map_err(fail)?;
            listener.hear_map(&map).map_err(fail)?;
            let taggram = listener.finish(Decide::default()).map_err(fail)?.taggram;
            let mut rows = Vec::with_capacity(taggram.probabilities.len());
            for row in taggram.probabilities.chunks_exact(classes) {
                let mut row = row.to_vec();
                model.calibration().apply(&mut row);
                let total: f64 = row.iter().map(|p| f64::from(*p)).sum();
                rows.extend(row.iter().map(|p| f64::from(*p) / total));
            }
            Ok(rows)
        })
        .collect::<Result<_, TrainError>>()?;
    let tracks: Vec<usize> = (0..rows.len()).collect();
    let counts: Vec<usize> = rows.iter().map(|r| r.len() / classes).collect();
    let name = model.name().to_string();
    evaluate_segments(dataset, &tracks, &counts, shares, seed, |_: &SegmentSplit| {
        Ok(Box::new(Said { name, classes, rows }))
    })
}

/// Answers that were computed before, `[track][window · class]`.
struct Said {
    name: String,
    classes: usize,
    rows: Vec<Vec<f64>>,
}

impl SegmentClassifier for Said {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn predict(&self, segment: Segment) -> Result<Vec<f64>, TrainError> {
        Ok(self.rows[segment.track][segment.index * self.classes..][..self.classes].to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::tests::{tone, wav};
    use crate::fit::{Quiet, RunOptions};
    use crate::recipe::tests::SMALL;
    use crate::train::{train, train_split};

    /// Three songs of low tones and three of high ones.
    fn songs(folder: &std::path::Path) -> Dataset {
        for i in 0..3 {
            let song = |low: f64| tone(22_050, 1.5, low + 40.0 * f64::from(i));
            wav(&folder.join(format!("low/low.{i:05}.wav")), 22_050, &song(200.0));
            wav(&folder.join(format!("high/high.{i:05}.wav")), 22_050, &song(4000.0));
        }
        Dataset::open(folder).unwrap()
    }

    fn recipe(split: &str) -> Recipe {
        let text = SMALL.replace("teachers.tags = { kind = \"bce\", weight = 0.5 }", "");
        let split = ("data.split".to_string(), split.to_string());
        Recipe::parse_with(&text, "small", &[split]).unwrap()
    }

    #[test]
    fn every_window_is_on_one_side_and_songs_are_on_all() {
        let folder = tempfile::tempdir().unwrap();
        let dataset = songs(folder.path());
        let recipe = recipe("random-segment:50/25/25@1");
        let shares = Shares { train: 50.0, valid: 25.0, test: 25.0 };
        let data = data(&recipe, &dataset, shares, 1).unwrap();
        let count = |clips: &[Clip]| clips.iter().map(|c| c.starts.len()).sum::<usize>();
        // 65 frames of each song make ⌊(65 − 12) / 6⌋ + 1 = 9 windows.
        assert_eq!((count(&data.train), count(&data.valid)), (28, 12));
        assert_eq!(data.train.len(), 6);
        for clip in &data.train {
            let other = data.valid.iter().find(|c| c.id == clip.id);
            let met = |s: &usize| other.is_some_and(|o| o.starts.contains(s));
            assert!(!clip.starts.iter().any(met), "{}", clip.id);
        }
        let made =
            train("small", &recipe, &dataset, &RunOptions::default(), &mut Quiet, &mut |_| ())
                .unwrap();
        let model = Model::from_artifact(made.artifact).unwrap();
        let evaluation = evaluate_model(&dataset, &model, shares, 1).unwrap();
        assert_eq!(evaluation.protocol, "random-segment");
        assert_eq!(evaluation.predictions.len(), 14, "54 windows less 28 and 12");
    }

    #[test]
    fn a_given_split_is_learnt_from_its_train_side() {
        let folder = tempfile::tempdir().unwrap();
        let dataset = songs(folder.path());
        let all: Vec<usize> = (0..dataset.len()).collect();
        let folds = dataset.k_fold_of(&all, 3, crate::dataset::Group::Song, 1).unwrap();
        let made = train_split(
            "small",
            &recipe(""),
            &dataset,
            &folds[0],
            &RunOptions::default(),
            &mut Quiet,
            &mut |_| (),
        )
        .unwrap();
        assert!(made.valid.is_none(), "there is nothing to choose by");
        assert_eq!(made.trained.best_epoch, 4);
        assert!(
            made.artifact.description.about.contains("4 songs"),
            "{}",
            made.artifact.description.about
        );
    }
}

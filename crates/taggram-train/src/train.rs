//! From a recipe and a dataset to a model file: what `taggram train` does for a network.

use std::collections::BTreeMap;

use taggram_model::artifact::FORMAT;
use taggram_model::{Answer, Artifact, Body, Calibration, Description, Engine, Weights};

use crate::classifiers::{self, ClassifierKind, ClassifierRecipe, Rows, Scaling};
use crate::dataset::{Dataset, Group, SoftTargets, Split, Teacher};
use crate::error::{ErrorKind, TrainError};
use crate::fit::{Clip, Data, Progress, RunOptions, Trained, fit, teacher_sizes};
use crate::loss::TeacherLoss;
use crate::metrics::{Metrics, fit_temperature};
use crate::recipe::Recipe;

/// Seed of the bootstrap in figures about the validation songs.
const BOOTSTRAP_SEED: u64 = 0;

/// Name of the teacher that [`crate::recipe::DataRecipe::genres_from`] makes.
const GENRES: &str = "genres";
/// Folds, and weight of the data against the penalty, of its logistic regression: by
/// artist-grouped cross-validation over the train songs (log loss 0.57 at 0.1, 0.63 at 0.03).
const GENRES_FOLDS: usize = 5;
const GENRES_C: f64 = 0.1;

/// A finished training.
pub struct Made {
    /// The model, calibrated on the validation songs.
    pub artifact: Artifact,
    /// What happened on the way.
    pub trained: Trained,
    /// Figures on the validation songs after calibration; none without such songs.
    pub valid: Option<Metrics>,
}

/// Trains the network of `recipe` on the train songs of its split, keeps the epoch that does best on
/// the validation songs and fits the temperature on these. Test songs are never read.
/// `notice` is told what is being done.
///
/// # Errors
/// Data or teachers that cannot be read, a recipe that does not fit them, and those of [`fit()`].
pub fn train(
    name: &str,
    recipe: &Recipe,
    dataset: &Dataset,
    options: &RunOptions,
    progress: &mut (dyn Progress + Send),
    notice: &mut dyn FnMut(&str),
) -> Result<Made, TrainError> {
    let split_name =
        if recipe.data.split.is_empty() { "fault-filtered" } else { &recipe.data.split };
    let split = dataset.split(split_name)?;
    notice(&format!(
        "{} train and {} validation songs of {split_name}; {} test songs stay unread",
        split.train.len(),
        split.valid.len(),
        split.test.len()
    ));
    let mut targets = teachers(recipe, dataset, &split)?;
    if !recipe.data.genres_from.is_empty() {
        notice("asking a logistic regression on the teachers for genres, out of fold");
        targets.push((GENRES.to_string(), out_of_fold(recipe, dataset, &split, &targets)?));
    }
    let data = Data {
        train: clips(recipe, dataset, &split.train, &targets)?,
        valid: clips(recipe, dataset, &split.valid, &[])?,
        classes: dataset.genres.clone(),
    };
    let network = recipe.network(data.classes.len(), &teacher_sizes(&data.train)?)?;
    let lean = network.with_outputs(&["logits"])?;
    notice(&format!(
        "{} parameters, {:.1} million multiply–accumulates a patch",
        lean.parameters()?,
        lean.macs()? as f64 / 1e6
    ));
    let trained = fit(&network, &data, recipe, options, progress)?;
    let (calibration, valid) = calibrate(&trained, recipe, &data)?;
    let mut metrics = BTreeMap::from([("best_epoch".to_string(), trained.best_epoch as f64)]);
    if let Some(valid) = &valid {
        metrics.insert("valid_accuracy".into(), valid.accuracy);
        metrics.insert("valid_log_loss".into(), valid.log_loss);
        metrics.insert("valid_ece".into(), valid.expected_calibration_error);
    }
    let description = Description {
        format: FORMAT,
        name: name.to_string(),
        about: format!(
            "{} genres, trained on {} songs of {split_name}, chosen on {}.",
            data.classes.len(),
            data.train.len(),
            data.valid.len()
        ),
        licence: "MIT".into(),
        labels: data.classes.clone(),
        answer: Answer::Genres,
        body: Body::Network {
            front_end: recipe.front_end.clone(),
            windows: recipe.windows.clone(),
            network: trained.network.clone(),
        },
        calibration,
        recipe: recipe.to_toml()?,
        metrics,
    };
    let artifact = Artifact { description, weights: trained.weights.clone() };
    Ok(Made { artifact, trained, valid })
}

/// Soft targets by the name of their teacher.
type Named = (String, SoftTargets);

/// What the recipe's teachers say of the train songs.
fn teachers(recipe: &Recipe, dataset: &Dataset, split: &Split) -> Result<Vec<Named>, TrainError> {
    let folder = if dataset.origin.is_dir() {
        dataset.origin.clone()
    } else {
        dataset.origin.parent().map(std::path::Path::to_path_buf).unwrap_or_default()
    };
    let mut targets = Vec::new();
    for (name, file) in &recipe.data.teachers {
        let teacher = Teacher::open(&folder.join(file))?;
        let soft = match recipe.loss.teachers.get(name) {
            Some(TeacherLoss::Bce { .. } | TeacherLoss::Kl { .. }) => {
                teacher.probabilities(dataset, split)?
            }
            _ => teacher.standardised(dataset, split)?,
        };
        targets.push((name.clone(), soft));
    }
    Ok(targets)
}

/// What a logistic regression on teachers' values says of the genre of each train song, having learnt
/// from the other folds only: neither the song nor its artist is among what it was fitted on.
fn out_of_fold(
    recipe: &Recipe,
    dataset: &Dataset,
    split: &Split,
    targets: &[Named],
) -> Result<SoftTargets, TrainError> {
    let asked: Vec<&SoftTargets> = recipe
        .data
        .genres_from
        .iter()
        .filter_map(|name| targets.iter().find(|(n, _)| n == name).map(|(_, soft)| soft))
        .collect();
    let row = |track: usize| -> Option<Vec<f32>> {
        let song = &dataset.tracks[track].song;
        asked.iter().try_fold(Vec::new(), |mut row, soft| {
            row.extend_from_slice(soft.get(song)?);
            Some(row)
        })
    };
    let known: Vec<usize> = split.train.iter().copied().filter(|&t| row(t).is_some()).collect();
    let rows = |tracks: &[usize]| {
        let data: Vec<f32> = tracks.iter().filter_map(|&t| row(t)).flatten().collect();
        let labels: Vec<usize> = tracks.iter().map(|&t| dataset.tracks[t].genre).collect();
        let columns = data.len() / labels.len().max(1);
        Rows { data, columns, labels, groups: Vec::new() }
    };
    let regression = ClassifierRecipe {
        scaling: Scaling::Standard,
        pca: None,
        whiten: true,
        classifier: ClassifierKind::Logistic { c: GENRES_C },
    };
    let mut said = Vec::new();
    for fold in dataset.k_fold_of(&known, GENRES_FOLDS, Group::Artist, recipe.fit.seed)? {
        let pipeline = classifiers::train(&regression, &rows(&fold.train), &dataset.genres, 0)?;
        let held_out = rows(&fold.test);
        let answers = pipeline
            .predict_rows(&held_out.data)
            .map_err(|e| TrainError::malformed("genres_from", e.to_string()))?;
        let answers = answers.chunks_exact(dataset.genres.len()).map(<[f32]>::to_vec);
        said.extend(fold.test.iter().map(|&t| dataset.tracks[t].song.clone()).zip(answers));
    }
    Ok(SoftTargets::from_rows(dataset.genres.len(), said))
}

/// The feature maps of songs, with what the teachers say of them.
fn clips(
    recipe: &Recipe,
    dataset: &Dataset,
    tracks: &[usize],
    targets: &[Named],
) -> Result<Vec<Clip>, TrainError> {
    use rayon::prelude::*;
    tracks
        .par_iter()
        .map(|&t| {
            let track = &dataset.tracks[t];
            let targets = targets
                .iter()
                .filter_map(|(name, soft)| Some((name.clone(), soft.get(&track.song)?.to_vec())));
            Ok(Clip {
                id: track.id.clone(),
                label: track.genre,
                map: dataset.feature_map(track, &recipe.front_end)?,
                targets: targets.collect(),
            })
        })
        .collect()
}

/// The temperature that makes the validation songs' probabilities honest, and the figures with it.
/// The engine answers here, as it will when the model listens.
fn calibrate(
    trained: &Trained,
    recipe: &Recipe,
    data: &Data,
) -> Result<(Calibration, Option<Metrics>), TrainError> {
    if data.valid.is_empty() {
        return Ok((Calibration::default(), None));
    }
    let rows = probabilities(&trained.weights, trained, recipe, &data.valid)?;
    let labels: Vec<usize> = data.valid.iter().map(|c| c.label).collect();
    let temperature = fit_temperature(&labels, &rows);
    let calibrated: Vec<Vec<f64>> =
        rows.iter().map(|row| crate::metrics::apply_temperature(row, temperature)).collect();
    let metrics = Metrics::new(&data.classes, &labels, &calibrated, BOOTSTRAP_SEED);
    Ok((Calibration { temperature: temperature as f32 }, Some(metrics)))
}

fn probabilities(
    weights: &Weights,
    trained: &Trained,
    recipe: &Recipe,
    clips: &[Clip],
) -> Result<Vec<Vec<f64>>, TrainError> {
    use rayon::prelude::*;
    let engine = Engine::new(&trained.network, weights)?;
    clips
        .par_iter()
        .map(|clip| {
            let place = || format!("song {}", clip.id);
            let patches = recipe
                .windows
                .cut(&clip.map)
                .map_err(|e| TrainError::malformed(place(), e.to_string()))?;
            let logits = engine.run(&[&patches.data], patches.count)?.remove(0);
            let classes = logits.shape[1];
            let mut mean = vec![0f64; classes];
            for row in logits.data.chunks_exact(classes) {
                let mut row = row.to_vec();
                crate::grad::softmax(&mut row);
                mean.iter_mut()
                    .zip(row)
                    .for_each(|(m, p)| *m += f64::from(p) / patches.count as f64);
            }
            if mean.iter().any(|p| !p.is_finite()) {
                return Err(TrainError::new(
                    place(),
                    ErrorKind::Bug,
                    "its probabilities are not numbers",
                ));
            }
            Ok(mean)
        })
        .collect()
}

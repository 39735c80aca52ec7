//! From a recipe and a dataset to a model file: what `taggram train` does for a network.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use taggram::Model;
use taggram_model::artifact::FORMAT;
use taggram_model::classifier::Pipeline;
use taggram_model::{
    Answer, Artifact, Body, Calibration, Description, Engine, Familiarity, Network, Weights,
};

use crate::classifiers::{self, ClassifierKind, ClassifierRecipe, Rows, Scaling};
use crate::dataset::{Dataset, Group, SoftTargets, Split, Teacher, Track};
use crate::error::{ErrorKind, TrainError};
use crate::familiarity::{self, Embedder, Examples};
use crate::fit::{
    Clip, Data, Progress, RunOptions, SoftTarget, Trained, fit, patches_of, teacher_sizes,
};
use crate::loss::TeacherLoss;
use crate::metrics::{Metrics, fit_temperature};
use crate::recipe::{Recipe, Unlabelled};
use crate::{init, segments};

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
    if let Some((shares, seed)) = dataset.segment_split(split_name)? {
        let data = segments::data(recipe, dataset, shares, seed)?;
        notice(&format!(
            "{split_name}: windows of {} songs to learn from, of {} to choose by, most of them the same songs",
            data.train.len(),
            data.valid.len()
        ));
        return train_on(name, recipe, &data, split_name, options, progress, notice);
    }
    let split = dataset.split(split_name)?;
    notice(&format!(
        "{} train and {} validation songs of {split_name}; {} test songs stay unread",
        split.train.len(),
        split.valid.len(),
        split.test.len()
    ));
    train_split(name, recipe, dataset, &split, options, progress, notice)
}

/// As [`train`], on the train side of a given split, chosen on its validation side (the last epoch is
/// kept where that is empty). The test side is never read.
///
/// # Errors
/// As [`train`].
pub fn train_split(
    name: &str,
    recipe: &Recipe,
    dataset: &Dataset,
    split: &Split,
    options: &RunOptions,
    progress: &mut (dyn Progress + Send),
    notice: &mut dyn FnMut(&str),
) -> Result<Made, TrainError> {
    let mut targets = teachers(recipe, dataset, split)?;
    if !recipe.data.genres_from.is_empty() {
        notice("asking a logistic regression on the teachers for genres, out of fold");
        targets.push((GENRES.to_string(), out_of_fold(recipe, dataset, split, &targets)?));
    }
    let data = Data {
        train: clips(recipe, dataset, &split.train, &targets)?,
        valid: clips(recipe, dataset, &split.valid, &[])?,
        classes: dataset.genres.clone(),
        unlabelled: unlabelled(recipe, dataset, split, &targets, notice)?,
    };
    train_on(name, recipe, &data, &split.name, options, progress, notice)
}

/// Trains on what has been read.
fn train_on(
    name: &str,
    recipe: &Recipe,
    data: &Data,
    split_name: &str,
    options: &RunOptions,
    progress: &mut (dyn Progress + Send),
    notice: &mut dyn FnMut(&str),
) -> Result<Made, TrainError> {
    let network = recipe
        .network(data.classes.len(), &teacher_sizes(data.train.iter().chain(&data.unlabelled))?)?;
    let (mut options, mut licence) = (options.clone(), "MIT".to_string());
    if let (Some(init), None) = (&recipe.fit.init, &options.start) {
        let begun = init::beginning(init, &network, &recipe.front_end)?;
        notice(&format!("beginning with the weights of {init}: {} tensors", begun.weights.len()));
        options.start = Some(begun.weights);
        if begun.licence != licence {
            licence += &format!("; the weights it began with, of {init}: {}", begun.licence);
        }
    }
    let lean = network.with_outputs(&["logits"])?;
    notice(&format!(
        "{} parameters, {:.1} million multiply–accumulates a patch",
        lean.parameters()?,
        lean.macs()? as f64 / 1e6
    ));
    // Read before the training, which may take hours, and not after it.
    let strange = strange(recipe)?;
    let trained = fit(&network, data, recipe, &options, progress)?;
    let (calibration, valid) = calibrated(&trained.network, &trained.weights, recipe, data)?;
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
        licence,
        labels: data.classes.clone(),
        answer: Answer::Genres,
        body: Body::Network {
            front_end: recipe.front_end.clone(),
            windows: recipe.windows.clone(),
            network: trained.network.clone(),
            quantisation: None,
        },
        calibration,
        recipe: recipe.to_toml()?,
        metrics,
    };
    let mut weights = trained.weights.clone();
    if let Some(familiarity) = familiarity(&trained, recipe, data, &strange)? {
        familiarity.store(&mut weights);
    }
    let artifact = Artifact { description, weights };
    Ok(Made { artifact, trained, valid })
}

/// Soft targets by the name of their teacher.
type Named = (String, SoftTargets);

/// The split of a recipe.
pub(crate) fn labelled(recipe: &Recipe, dataset: &Dataset) -> Result<Split, TrainError> {
    let name = &recipe.data.split;
    dataset.split(if name.is_empty() { "fault-filtered" } else { name })
}

/// A teacher of some tracks: `model:NAME` or `model:NAME:LAYER` (an installed model or a model file) is
/// asked about each of them now; anything else is a file of vectors below `folder`.
fn teacher(
    source: &str,
    folder: &Path,
    dataset: &Dataset,
    tracks: &[usize],
) -> Result<Teacher, TrainError> {
    let Some(name) = source.strip_prefix("model:") else {
        return Teacher::open(&folder.join(source));
    };
    // A model file may have a `:` in its path; a layer has neither dot nor slash.
    let (name, layer) = match name.rsplit_once(':') {
        Some((name, layer)) if !layer.contains(['.', '/', '\\']) => (name, Some(layer)),
        _ => (name, None),
    };
    let fail = |e: taggram::Error| {
        TrainError::new(format!("teacher {source}"), ErrorKind::Unsupported, e.to_string())
    };
    let artifact = taggram::artifact(name).map_err(fail)?;
    let model = match layer {
        Some(layer) => Model::layer_of(artifact, layer),
        None => Model::from_artifact(artifact),
    };
    Teacher::ask(&model.map_err(fail)?, dataset, tracks)
}

/// What a model says of songs.
pub(crate) fn says(
    artifact: &Artifact,
    dataset: &Dataset,
    tracks: &[usize],
) -> Result<SoftTargets, TrainError> {
    let model = Model::from_artifact(artifact.clone()).map_err(|e| {
        let name = artifact.description.name.clone();
        TrainError::new(name, ErrorKind::Unsupported, e.to_string())
    })?;
    let rows = Teacher::ask(&model, dataset, tracks)?.into_rows();
    Ok(SoftTargets::from_rows(model.labels().len(), rows))
}

/// What the recipe's teachers say of the train songs.
fn teachers(recipe: &Recipe, dataset: &Dataset, split: &Split) -> Result<Vec<Named>, TrainError> {
    let folder = folder(dataset);
    let mut targets = Vec::new();
    for (name, file) in &recipe.data.teachers {
        let teacher = teacher(file, &folder, dataset, &split.train)?;
        let soft = match recipe.loss.teachers.get(name) {
            Some(TeacherLoss::Bce { .. } | TeacherLoss::Kl { .. }) => {
                teacher.probabilities(dataset, split)?
            }
            Some(TeacherLoss::LogOdds { .. }) => teacher.log_odds(dataset, split)?,
            _ => teacher.standardised(dataset, split)?,
        };
        targets.push((name.clone(), soft));
    }
    Ok(targets)
}

/// The folder that paths in a recipe are relative to.
fn folder(dataset: &Dataset) -> PathBuf {
    if dataset.origin.is_dir() {
        dataset.origin.clone()
    } else {
        dataset.origin.parent().map(Path::to_path_buf).unwrap_or_default()
    }
}

/// The songs of `[data.unlabelled]`, with what their teachers say and, where the recipe asks for genres, what a
/// logistic regression makes of that which has learnt from the train songs.
fn unlabelled(
    recipe: &Recipe,
    dataset: &Dataset,
    split: &Split,
    targets: &[Named],
    notice: &mut dyn FnMut(&str),
) -> Result<Vec<Clip>, TrainError> {
    let Some(asked) = &recipe.data.unlabelled else { return Ok(Vec::new()) };
    let others = others(asked, dataset, split)?;
    let mut said = Vec::new();
    for (name, file) in &asked.teachers {
        let teacher = teacher(file, Path::new(""), &others, &all_of(&others))?;
        if let Some((_, known)) = targets.iter().find(|(n, _)| n == name) {
            said.push((name.clone(), known.of_others(&teacher, &others)?));
        }
    }
    let from: Vec<&String> =
        recipe.data.genres_from.iter().filter(|n| asked.teachers.contains_key(*n)).collect();
    if !from.is_empty() {
        let known = asked_of(&from, targets);
        let regression = regression(&known, dataset, &known_to(&known, dataset, &split.train))?;
        let these = asked_of(&from, &said);
        let tracks = known_to(&these, &others, &all_of(&others));
        let answers = answers(&regression, &these, &others, &tracks)?;
        said.push((GENRES.into(), SoftTargets::from_rows(dataset.genres.len(), answers)));
    }
    notice(&format!("{} songs without genres, known to {}", others.len(), names(&said)));
    let tracks: Vec<usize> = (0..others.len())
        .filter(|&t| said.iter().any(|(_, soft)| soft.get(&others.tracks[t].song).is_some()))
        .collect();
    clips(recipe, &others, &tracks, &said)
}

/// The songs of `[data.unlabelled]`; none of them may be a validation or test song.
fn others(asked: &Unlabelled, dataset: &Dataset, split: &Split) -> Result<Dataset, TrainError> {
    let others = Dataset::open_unlabelled(Path::new(&asked.songs))?;
    let kept: BTreeSet<&str> =
        split.valid.iter().chain(&split.test).map(|&t| dataset.tracks[t].song.as_str()).collect();
    if let Some(track) = others.tracks.iter().find(|t| kept.contains(t.song.as_str())) {
        let message = format!(
            "`{}` is a validation or test song of {}: nothing may be learnt from it",
            track.id, split.name
        );
        return Err(TrainError::malformed("[data.unlabelled] songs", message));
    }
    Ok(others)
}

/// The sounds of `[data] strange`.
fn strange(recipe: &Recipe) -> Result<Vec<Clip>, TrainError> {
    let Some(folder) = &recipe.data.strange else { return Ok(Vec::new()) };
    let sounds = Dataset::open_unlabelled(Path::new(folder))?;
    clips(recipe, &sounds, &all_of(&sounds), &[])
}

fn all_of(dataset: &Dataset) -> Vec<usize> {
    (0..dataset.len()).collect()
}

fn names(said: &[Named]) -> String {
    said.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
}

/// The soft targets of the teachers of these names.
fn asked_of<'t>(names: &[&String], targets: &'t [Named]) -> Vec<&'t SoftTargets> {
    let of = |name: &&String| targets.iter().find(|(n, _)| n == *name).map(|(_, soft)| soft);
    names.iter().filter_map(of).collect()
}

/// What teachers say of a song, one after the other; none where one does not know it.
fn row(of: &[&SoftTargets], song: &str) -> Option<Vec<f32>> {
    of.iter().try_fold(Vec::new(), |mut row, soft| {
        row.extend_from_slice(soft.get(song)?);
        Some(row)
    })
}

fn known_to(of: &[&SoftTargets], dataset: &Dataset, tracks: &[usize]) -> Vec<usize> {
    tracks.iter().copied().filter(|&t| row(of, &dataset.tracks[t].song).is_some()).collect()
}

fn rows(of: &[&SoftTargets], dataset: &Dataset, tracks: &[usize]) -> Rows {
    let data: Vec<f32> =
        tracks.iter().filter_map(|&t| row(of, &dataset.tracks[t].song)).flatten().collect();
    let labels: Vec<usize> = tracks.iter().map(|&t| dataset.tracks[t].genre).collect();
    let columns = data.len() / labels.len().max(1);
    Rows { data, columns, labels, groups: Vec::new() }
}

/// A logistic regression from what teachers say of `tracks` to their genres.
fn regression(
    of: &[&SoftTargets],
    dataset: &Dataset,
    tracks: &[usize],
) -> Result<Pipeline, TrainError> {
    let recipe = ClassifierRecipe {
        scaling: Scaling::Standard,
        pca: None,
        whiten: true,
        classifier: ClassifierKind::Logistic { c: GENRES_C },
    };
    classifiers::train(&recipe, &rows(of, dataset, tracks), &dataset.genres, 0)
}

/// Its genre probabilities for songs, by their names.
fn answers(
    regression: &Pipeline,
    of: &[&SoftTargets],
    dataset: &Dataset,
    tracks: &[usize],
) -> Result<Vec<(String, Vec<f32>)>, TrainError> {
    let answers = regression
        .predict_rows(&rows(of, dataset, tracks).data)
        .map_err(|e| TrainError::malformed("genres_from", e.to_string()))?;
    let answers = answers.chunks_exact(regression.classes().len()).map(<[f32]>::to_vec);
    Ok(tracks.iter().map(|&t| dataset.tracks[t].song.clone()).zip(answers).collect())
}

/// What a logistic regression on teachers' values says of the genre of each train song, having learnt
/// from the other folds only: neither the song nor its artist is among what it was fitted on.
fn out_of_fold(
    recipe: &Recipe,
    dataset: &Dataset,
    split: &Split,
    targets: &[Named],
) -> Result<SoftTargets, TrainError> {
    let of = asked_of(&recipe.data.genres_from.iter().collect::<Vec<_>>(), targets);
    let known = known_to(&of, dataset, &split.train);
    let mut said = Vec::new();
    for fold in dataset.k_fold_of(&known, GENRES_FOLDS, Group::Artist, recipe.fit.seed)? {
        let regression = regression(&of, dataset, &fold.train)?;
        said.extend(answers(&regression, &of, dataset, &fold.test)?);
    }
    Ok(SoftTargets::from_rows(dataset.genres.len(), said))
}

/// The feature maps of songs, with what the teachers say of them.
pub(crate) fn clips(
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
            let map = dataset.feature_map(track, &recipe.front_end)?;
            let share = recipe.windows.frames as f64 / map.frames.max(1) as f64;
            let targets = targets.iter().filter_map(|(name, soft)| {
                let values = if recipe.data.by_patch.contains(name) {
                    soft.course(&track.song, share)?
                } else {
                    soft.get(&track.song)?.to_vec()
                };
                Some((name.clone(), SoftTarget::new(values, soft.width)))
            });
            let targets = targets.collect();
            Ok(Clip { id: track.id.clone(), label: track.genre, map, starts: Vec::new(), targets })
        })
        .collect()
}

/// Values of the widest embedding that is remembered: the shape of a cloud of wider ones is not to be had from some
/// hundreds of songs, and its principal axes take minutes.
const WIDEST_EMBEDDING: usize = 512;

/// What the model remembers of its songs, so that it can say when it does not know; none without songs to
/// fit a threshold on, nor of an embedding wider than [`WIDEST_EMBEDDING`].
fn familiarity(
    trained: &Trained,
    recipe: &Recipe,
    data: &Data,
    strange: &[Clip],
) -> Result<Option<Familiarity>, TrainError> {
    let embedder = Embedder::new(&trained.network, &trained.weights, &recipe.windows)?;
    let wanted = |e: &Embedder<'_>| !data.valid.is_empty() && e.width() <= WIDEST_EMBEDDING;
    let Some(embedder) = embedder.filter(wanted) else { return Ok(None) };
    let learnt = embedder.embeddings(&data.train)?;
    let labels = data.train.iter().map(|c| c.label).collect();
    let of = Examples {
        learnt: &labelled_rows(learnt, labels),
        music: &embedder.embeddings(if strange.is_empty() { &[] } else { &data.unlabelled })?,
        strange: &embedder.embeddings(strange)?,
        validation: &embedder.embeddings(&data.valid)?,
    };
    familiarity::fit(&of, data.classes.len()).map(Some)
}

fn labelled_rows(embeddings: Vec<Vec<f32>>, labels: Vec<usize>) -> Rows {
    let columns = embeddings.first().map_or(0, Vec::len);
    Rows { data: embeddings.concat(), columns, labels, groups: Vec::new() }
}

/// Learns anew what a trained network calls unknown, from the songs and sounds of its recipe; the network stays as it
/// is. `strange`, if given, takes the place of the recipe's `[data] strange`.
///
/// # Errors
/// A model without a recipe or an embedding, one that computes in integers, and data that cannot be read.
pub fn remember(
    artifact: &mut Artifact,
    dataset: &Dataset,
    strange: Option<&str>,
    notice: &mut dyn FnMut(&str),
) -> Result<(), TrainError> {
    let name = artifact.description.name.clone();
    let cannot = |why: &str| TrainError::new(name.clone(), ErrorKind::Unsupported, why);
    let Body::Network { network, windows, quantisation: None, .. } = &artifact.description.body
    else {
        return Err(cannot(
            "only a network that computes in floats can do this; do it before it is compressed",
        ));
    };
    let mut recipe = Recipe::parse(&artifact.description.recipe, "the model's recipe")
        .map_err(|_| cannot("it holds no recipe of `taggram train` that would name its songs"))?;
    let embedder = Embedder::new(network, &artifact.weights, windows)?
        .ok_or_else(|| cannot("it has no layer before its answer"))?;
    if embedder.width() > WIDEST_EMBEDDING {
        return Err(cannot(&format!("its embedding has more than {WIDEST_EMBEDDING} values")));
    }
    let embeddings =
        |of: &Dataset, tracks: &[usize]| embedder.embeddings_of(of, tracks, &recipe.front_end);
    let split = labelled(&recipe, dataset)?;
    let learnt = embeddings(dataset, &split.train)?;
    let labels = split.train.iter().map(|&t| dataset.tracks[t].genre).collect();
    let folder = strange.map(str::to_string).or_else(|| recipe.data.strange.clone());
    let (mut music, mut sounds) = (Vec::new(), Vec::new());
    if let Some(folder) = &folder {
        let others_of = |asked| others(asked, dataset, &split);
        if let Some(others) = recipe.data.unlabelled.as_ref().map(others_of).transpose()? {
            music = embeddings(&others, &all_of(&others))?;
        }
        let strange = Dataset::open_unlabelled(Path::new(folder))?;
        sounds = embeddings(&strange, &all_of(&strange))?;
    }
    let of = Examples {
        learnt: &labelled_rows(learnt, labels),
        music: &music,
        strange: &sounds,
        validation: &embeddings(dataset, &split.valid)?,
    };
    let familiarity = familiarity::fit(&of, dataset.genres.len())?;
    let known = |rows: &[Vec<f32>]| rows.iter().filter(|e| familiarity.knows(e)).count();
    notice(&format!(
        "of {} validation songs {} are unknown, of {} strange sounds, which it has learnt from, {}",
        of.validation.len(),
        of.validation.len() - known(of.validation),
        sounds.len(),
        sounds.len() - known(&sounds)
    ));
    familiarity.store(&mut artifact.weights);
    if strange.is_some() {
        recipe.data.strange = folder;
        artifact.description.recipe = recipe.to_toml()?;
    }
    Ok(())
}

/// Share, 0…1, of songs that the model says it knows: of genres that it has not met, say.
///
/// # Errors
/// Songs without a feature map; a model without [`Familiarity`].
pub fn known_share(
    artifact: &Artifact,
    dataset: &Dataset,
    tracks: &[Track],
) -> Result<f64, TrainError> {
    let lacks = || TrainError::malformed("model", "it does not remember what it learnt from");
    let Body::Network { front_end, windows, network, .. } = &artifact.description.body else {
        return Err(lacks());
    };
    let familiarity = Familiarity::find(&artifact.weights)
        .map_err(|e| TrainError::malformed("model", e))?
        .ok_or_else(lacks)?;
    let embedder = Embedder::new(network, &artifact.weights, windows)?.ok_or_else(lacks)?;
    let mut known = 0usize;
    for track in tracks {
        let embedding = embedder.embedding(&dataset.feature_map(track, front_end)?)?;
        known += usize::from(familiarity.knows(&embedding));
    }
    Ok(known as f64 / tracks.len().max(1) as f64)
}

/// The temperature that makes the validation songs' probabilities honest, and the figures with it.
/// The engine answers here, as it will when the model listens.
pub(crate) fn calibrated(
    network: &Network,
    weights: &Weights,
    recipe: &Recipe,
    data: &Data,
) -> Result<(Calibration, Option<Metrics>), TrainError> {
    if data.valid.is_empty() {
        return Ok((Calibration::default(), None));
    }
    let rows = probabilities(network, weights, recipe, &data.valid)?;
    let labels: Vec<usize> = data.valid.iter().map(|c| c.label).collect();
    let temperature = fit_temperature(&labels, &rows);
    let calibrated: Vec<Vec<f64>> =
        rows.iter().map(|row| crate::metrics::apply_temperature(row, temperature)).collect();
    let metrics = Metrics::new(&data.classes, &labels, &calibrated, BOOTSTRAP_SEED);
    Ok((Calibration { temperature: temperature as f32 }, Some(metrics)))
}

fn probabilities(
    network: &Network,
    weights: &Weights,
    recipe: &Recipe,
    clips: &[Clip],
) -> Result<Vec<Vec<f64>>, TrainError> {
    use rayon::prelude::*;
    let engine = Engine::new(network, weights)?;
    clips
        .par_iter()
        .map(|clip| {
            let place = || format!("song {}", clip.id);
            let patches = patches_of(clip, &recipe.windows)?;
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

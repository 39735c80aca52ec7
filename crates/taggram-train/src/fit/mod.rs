//! Training a network: epochs of random patches, validation on whole songs, checkpoints.

mod batch;
mod progress;
#[cfg(test)]
mod tests;
mod validate;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rayon::prelude::*;
use taggram_features::FeatureMap;
use taggram_model::{Network, Tensor, Weights};

use crate::checkpoint::{Checkpoint, RunProgress};
use crate::curves::{self, EpochRecord};
use crate::error::{ErrorKind, TrainError};
use crate::files::write_whole;
use crate::grad::{Backend, Mode, Trainable};
use crate::loss::{LOGITS, batch_loss};
use crate::optim::OptimiserState;
use crate::recipe::{Recipe, Select};

pub use progress::{Progress, Quiet, StepReport, Terminal};
pub(crate) use validate::patches_of;
pub use validate::{SongScores, predict_songs};

/// A labelled song as training sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Clip {
    /// Name for messages.
    pub id: String,
    /// Its genre, an index into [`Data::classes`].
    pub label: usize,
    /// Its feature map, not normalised.
    pub map: FeatureMap,
    /// Frames at which its patches start, where only some may be used (a split of segments);
    /// empty: any while training, those of the recipe's windows when judged.
    pub starts: Vec<usize>,
    /// Soft targets by the name of their teacher; songs without one may be among the others.
    pub targets: BTreeMap<String, SoftTarget>,
}

/// What a teacher says of a song: one thing, or one of each of several stretches.
#[derive(Clone, Debug, PartialEq)]
pub struct SoftTarget {
    width: usize,
    /// `[stretch, value]`, evenly spread from the beginning of the song to its end.
    values: Vec<f32>,
}

impl SoftTarget {
    /// Targets of `width` values of stretches, `[stretch, value]`, evenly spread over the song.
    ///
    /// # Panics
    /// If there is none, or not a whole number of them.
    pub fn new(values: Vec<f32>, width: usize) -> Self {
        assert!(width > 0 && !values.is_empty() && values.len().is_multiple_of(width));
        Self { width, values }
    }

    /// The target at a place of the song: 0 of the first stretch, 1 of the last.
    pub fn at(&self, place: f32) -> &[f32] {
        let last = self.values.len() / self.width - 1;
        let stretch = (place.clamp(0.0, 1.0) * last as f32).round() as usize;
        &self.values[stretch * self.width..][..self.width]
    }
}

/// What a network is trained on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Data {
    /// Songs learnt from.
    pub train: Vec<Clip>,
    /// Songs that choose the epoch; may be empty, then the last one is kept.
    pub valid: Vec<Clip>,
    /// Names of the genres.
    pub classes: Vec<String>,
    /// Songs of which only the soft targets are learnt; their labels mean nothing.
    pub unlabelled: Vec<Clip>,
}

impl Data {
    /// All songs that updates are made of.
    fn learnt_from(&self) -> impl Iterator<Item = &Clip> {
        self.train.iter().chain(&self.unlabelled)
    }
}

/// Where and how a training runs; nothing here changes its numbers, but for rounding by the backend.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Folder for `last.safetensors`, `curves.csv` and `curves.png`; none for no files.
    pub folder: Option<PathBuf>,
    /// Continue from `last.safetensors` when it is there.
    pub resume: bool,
    /// Threads; 0 for all cores.
    pub threads: usize,
    /// What computes the passes.
    pub backend: Backend,
    /// Set (by Ctrl-C, say) to stop after the current update.
    pub stop: Arc<AtomicBool>,
    /// Weights to start from instead of random ones; heads of other sizes start afresh.
    pub start: Option<Weights>,
    /// Weights that stay 0, by name: true where.
    pub zeros: BTreeMap<String, Vec<bool>>,
}

/// Why a training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All epochs were done.
    Finished,
    /// No improvement on the validation songs for as long as the recipe's patience.
    Patience,
    /// The stop flag was set; the unfinished epoch is lost.
    Stopped,
}

/// A trained network.
#[derive(Clone, Debug, PartialEq)]
pub struct Trained {
    /// The network without the heads that only training used.
    pub network: Network,
    /// Its weights after the best epoch.
    pub weights: Weights,
    /// Which epoch that was, 1 = the first.
    pub best_epoch: usize,
    /// What happened in each.
    pub history: Vec<EpochRecord>,
    /// Why it ended.
    pub ended: Ended,
}

/// Name of the checkpoint in a run's folder.
pub const CHECKPOINT: &str = "last.safetensors";

/// Trains `network` (from [`Recipe::network`]) on `data`.
///
/// The same recipe, data and machine give the same weights to the bit, on any number of threads,
/// interrupted or not.
///
/// # Errors
/// Data that does not fit (a genre without train songs, maps or targets of other sizes), a
/// checkpoint of another run, files that cannot be written, or a loss that is no longer a number:
/// then the message says at which update, and the checkpoint of the last whole epoch is kept.
pub fn fit(
    network: &Network,
    data: &Data,
    recipe: &Recipe,
    options: &RunOptions,
    progress: &mut (dyn Progress + Send),
) -> Result<Trained, TrainError> {
    recipe.check()?;
    check_data(network, data, recipe)?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads)
        .build()
        .map_err(|e| TrainError::new("threads", ErrorKind::Overloaded, e.to_string()))?;
    pool.install(|| Run::new(network, data, recipe, options)?.train(progress))
}

/// The sizes of the teachers' targets among `clips`.
///
/// # Errors
/// A teacher whose targets differ in size.
pub fn teacher_sizes<'a>(
    clips: impl IntoIterator<Item = &'a Clip>,
) -> Result<BTreeMap<String, usize>, TrainError> {
    let mut sizes = BTreeMap::new();
    for clip in clips {
        for (name, target) in &clip.targets {
            let size = *sizes.entry(name.clone()).or_insert(target.width);
            if size != target.width {
                let message = format!(
                    "its target `{name}` has {} values, that of earlier songs {size}",
                    target.width
                );
                return Err(TrainError::malformed(format!("song {}", clip.id), message));
            }
        }
    }
    Ok(sizes)
}

fn check_data(network: &Network, data: &Data, recipe: &Recipe) -> Result<(), TrainError> {
    let shapes = network.shapes()?;
    let input = match network.inputs.as_slice() {
        [only] if only.shape.len() == 3 => &only.shape,
        _ => {
            return Err(TrainError::new(
                "network",
                ErrorKind::Unsupported,
                "training needs a network with one input [channel, time, band]",
            ));
        }
    };
    if input[1] != recipe.windows.frames {
        let message = format!(
            "the network takes {} frames, [windows] gives {}",
            input[1], recipe.windows.frames
        );
        return Err(TrainError::malformed("network", message));
    }
    if shapes.get(LOGITS).is_none_or(|s| s[..] != [data.classes.len()]) {
        let message =
            format!("is {:?}; there are {} genres", shapes.get(LOGITS), data.classes.len());
        return Err(TrainError::malformed("output `logits`", message));
    }
    for clip in data.learnt_from().chain(&data.valid) {
        let place = || format!("song {}", clip.id);
        if clip.map.channels != input[0] || clip.map.bands != input[2] || clip.map.frames == 0 {
            let message = format!(
                "its map has {} channels, {} frames and {} bands; the network takes {} channels and {} bands",
                clip.map.channels, clip.map.frames, clip.map.bands, input[0], input[2]
            );
            return Err(TrainError::malformed(place(), message));
        }
        if clip.label >= data.classes.len() {
            return Err(TrainError::malformed(
                place(),
                format!("its genre is number {} of {}", clip.label, data.classes.len()),
            ));
        }
        if clip.map.data.iter().any(|v| !v.is_finite()) {
            return Err(TrainError::malformed(
                place(),
                "its map holds values that are not numbers",
            ));
        }
    }
    let sizes = teacher_sizes(data.learnt_from())?;
    for (name, teacher) in &recipe.loss.teachers {
        let Some(&size) = sizes.get(name) else {
            let message = "no train song has a target of this name";
            return Err(TrainError::malformed(format!("[loss.teachers.{name}]"), message));
        };
        let output = if teacher.needs_head() { name.as_str() } else { LOGITS };
        if !network.outputs.iter().any(|o| o == output) || shapes[output] != [size] {
            let message = format!(
                "the targets have {size} values, the network's output `{output}` is {:?}",
                shapes.get(output)
            );
            return Err(TrainError::malformed(format!("[loss.teachers.{name}]"), message));
        }
    }
    for (class, name) in data.classes.iter().enumerate() {
        if !data.train.iter().any(|c| c.label == class) {
            let message = format!(
                "no train song has this genre, so it cannot be learnt; the {} train songs have {:?}",
                data.train.len(),
                present(data)
            );
            return Err(TrainError::new(format!("genre {name}"), ErrorKind::TooShort, message));
        }
    }
    Ok(())
}

fn present(data: &Data) -> Vec<&str> {
    let has = |class: &usize| data.train.iter().any(|c| c.label == *class);
    (0..data.classes.len()).filter(has).map(|c| data.classes[c].as_str()).collect()
}

/// Sets to 0 what has to stay so.
fn keep_zeros(trainable: &mut Trainable, zeros: &BTreeMap<String, Vec<bool>>) {
    for p in trainable.parameters_mut() {
        if let Some(zero) = zeros.get(&p.name) {
            for (w, _) in p.value.iter_mut().zip(zero).filter(|(_, zero)| **zero) {
                *w = 0.0;
            }
        }
    }
}

/// A training in progress.
struct Run<'a> {
    data: &'a Data,
    recipe: &'a Recipe,
    options: &'a RunOptions,
    trainable: Trainable,
    optimiser: OptimiserState,
    /// Moving average of every parameter; empty when none is kept.
    average: Vec<Vec<f32>>,
    best: Option<Weights>,
    progress: RunProgress,
    batches: batch::Batches<'a>,
}

/// Copies what fits from `start` into fresh weights.
fn begin_from(trainable: &mut Trainable, start: &Weights) -> Result<(), TrainError> {
    let mut taken = 0;
    for p in trainable.parameters_mut() {
        if let Some(given) = start.get(&p.name).filter(|t| t.shape == p.shape) {
            p.value.copy_from_slice(&given.data);
            taken += 1;
        }
    }
    if taken > 0 {
        return Ok(());
    }
    let names = |all: Vec<&str>| all.into_iter().take(3).collect::<Vec<_>>().join(", ");
    let message = format!(
        "none of its {} tensors ({}, …) has the name and shape of one of the network's weights ({}, …)",
        start.len(),
        names(start.keys().map(String::as_str).collect()),
        names(trainable.parameters().iter().map(|p| p.name.as_str()).collect())
    );
    Err(TrainError::malformed("the weights to start from", message))
}

/// Refuses to freeze layers that would keep random weights.
fn check_frozen(
    trainable: &Trainable,
    start: Option<&Weights>,
    freeze: &[String],
) -> Result<(), TrainError> {
    let frozen = |name: &str| freeze.iter().any(|prefix| name.starts_with(prefix.as_str()));
    for p in trainable.parameters().iter().filter(|p| frozen(&p.name)) {
        let given = start.and_then(|s| s.get(&p.name));
        if given.is_none_or(|t| t.shape != p.shape) {
            let message = format!(
                "`{}` would stay at random values: it is not among the weights to start from ([fit] init)",
                p.name
            );
            return Err(TrainError::malformed("[fit] freeze", message));
        }
    }
    Ok(())
}

impl<'a> Run<'a> {
    fn new(
        network: &Network,
        data: &'a Data,
        recipe: &'a Recipe,
        options: &'a RunOptions,
    ) -> Result<Self, TrainError> {
        let mut trainable = Trainable::new(network.clone(), recipe.fit.seed)?;
        if let Some(start) = &options.start {
            begin_from(&mut trainable, start)?;
        }
        check_frozen(&trainable, options.start.as_ref(), &recipe.fit.freeze)?;
        trainable.freeze(&recipe.fit.freeze)?;
        keep_zeros(&mut trainable, &options.zeros);
        let optimiser = recipe.optimiser.start(trainable.parameters());
        let average = if recipe.fit.average > 0.0 {
            trainable.parameters().iter().map(|p| p.value.clone()).collect()
        } else {
            Vec::new()
        };
        let progress = RunProgress {
            fingerprint: fingerprint(network, data, recipe),
            ..RunProgress::default()
        };
        let batches = batch::Batches::new(data, recipe);
        let mut run = Self {
            data,
            recipe,
            options,
            trainable,
            optimiser,
            average,
            best: None,
            progress,
            batches,
        };
        if let Some(folder) = &options.folder {
            std::fs::create_dir_all(folder).map_err(|e| TrainError::io(folder, &e))?;
            let path = folder.join(CHECKPOINT);
            if options.resume && path.exists() {
                run.restore(Checkpoint::load(&path)?, &path)?;
            }
        }
        Ok(run)
    }

    fn train(mut self, shown: &mut (dyn Progress + Send)) -> Result<Trained, TrainError> {
        if let Some(device) = self.trainable.compute_with(self.options.backend)? {
            shown.device(&device);
        }
        let epochs = self.recipe.fit.epochs;
        shown.start(epochs, self.batches.per_epoch(), &self.progress.history);
        let mut ended = Ended::Finished;
        while self.progress.history.len() < epochs {
            if self.patience_is_over() {
                ended = Ended::Patience;
                break;
            }
            let Some(record) = self.epoch(shown)? else {
                ended = Ended::Stopped;
                break;
            };
            self.progress.history.push(record.clone());
            if self.is_best(&record) {
                self.progress.best_epoch = record.epoch;
                self.best = Some(self.judged_weights());
            }
            self.save()?;
            shown.epoch(&record, self.progress.best_epoch == record.epoch);
        }
        shown.end();
        let Some(best) = self.best else {
            let message = "stopped before the first epoch was whole: there is nothing to keep";
            return Err(TrainError::new("training", ErrorKind::TooShort, message));
        };
        let network = self.trainable.network().with_outputs(&[LOGITS])?;
        let names: Vec<String> = network.weight_specs()?.into_iter().map(|s| s.name).collect();
        let weights = best.into_iter().filter(|(name, _)| names.contains(name)).collect();
        let RunProgress { history, best_epoch, .. } = self.progress;
        Ok(Trained { network, weights, best_epoch, history, ended })
    }

    /// One pass over the train songs and a validation; none when stopped.
    fn epoch(
        &mut self,
        shown: &mut (dyn Progress + Send),
    ) -> Result<Option<EpochRecord>, TrainError> {
        let started = Instant::now();
        let epoch = self.progress.history.len();
        let steps = self.batches.per_epoch();
        let losses: Vec<f64> =
            self.progress.history.iter().filter_map(|r| r.valid_log_loss).collect();
        let (mut total, mut classes, mut norms, mut correct, mut seen) =
            (0.0, 0.0, 0.0, 0usize, 0usize);
        let mut rate = 0.0;
        let order = self.batches.order(epoch);
        for step in 0..steps {
            if self.options.stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let batch = self.batches.make(epoch, &order, step);
            let updates = self.progress.updates;
            let mode = Mode::Train { seed: self.recipe.fit.seed, step: updates };
            self.trainable.forward(&[&batch.patches], mode)?;
            let loss = batch_loss(&self.recipe.loss, &self.trainable, &batch.targets)?;
            if !loss.total.is_finite() {
                return Err(self.diverged("the loss", loss.total, step));
            }
            self.trainable.clear_gradients();
            self.trainable.backward(&loss.gradients)?;
            let factor =
                self.recipe.schedule.factor(updates, steps as u64, self.recipe.fit.epochs, &losses);
            rate = self.recipe.optimiser.learning_rate() * factor;
            let norm = self.recipe.optimiser.update(
                &mut self.optimiser,
                self.trainable.parameters_mut(),
                rate,
            );
            if !norm.is_finite() {
                return Err(self.diverged("the gradient's norm", f64::from(norm), step));
            }
            keep_zeros(&mut self.trainable, &self.options.zeros);
            self.progress.updates += 1;
            self.move_average();
            let size = batch.targets.weights.len();
            seen += size;
            correct += loss.correct;
            total += loss.total * size as f64;
            classes += loss.classes * size as f64;
            norms += f64::from(norm);
            let seconds = started.elapsed().as_secs_f64();
            shown.step(&StepReport {
                epoch: epoch + 1,
                step: step + 1,
                loss: total / seen as f64,
                accuracy: correct as f64 / seen as f64,
                samples_per_second: seen as f64 / seconds,
            });
        }
        let training_seconds = started.elapsed().as_secs_f64();
        let scores = self.validate()?;
        Ok(Some(EpochRecord {
            epoch: epoch + 1,
            train_loss: total / seen as f64,
            train_log_loss: classes / seen as f64,
            train_accuracy: correct as f64 / seen as f64,
            valid_log_loss: scores.map(|s| s.log_loss),
            valid_accuracy: scores.map(|s| s.accuracy),
            learning_rate: f64::from(rate),
            gradient_norm: norms / steps as f64,
            samples_per_second: seen as f64 / training_seconds,
            seconds: started.elapsed().as_secs_f64(),
        }))
    }

    fn diverged(&self, what: &str, value: f64, step: usize) -> TrainError {
        let epoch = self.progress.history.len();
        let kept = match (&self.options.folder, epoch) {
            (_, 0) => "no epoch was whole before it".to_string(),
            (None, _) => format!("epoch {epoch} was the last good one"),
            (Some(folder), _) => format!(
                "the checkpoint of epoch {epoch} is kept in {}",
                folder.join(CHECKPOINT).display()
            ),
        };
        let place = format!("epoch {}, update {} of it", epoch + 1, step + 1);
        let message = format!(
            "{what} became {value}; {kept}; a smaller learning rate or a clip_norm may help"
        );
        TrainError::new(place, ErrorKind::Malformed, message)
    }

    fn move_average(&mut self) {
        // Early on the average follows closely, so that it forgets the random start.
        let updates = self.progress.updates as f32;
        let memory = self.recipe.fit.average.min((1.0 + updates) / (10.0 + updates));
        const CHUNK: usize = 1 << 16;
        for (average, p) in self.average.iter_mut().zip(self.trainable.parameters()) {
            let chunks = average.par_chunks_mut(CHUNK).zip(p.value.par_chunks(CHUNK));
            chunks.for_each(|(average, value)| {
                let pairs = average.iter_mut().zip(value);
                pairs.for_each(|(a, v)| *a = memory * *a + (1.0 - memory) * v);
            });
        }
    }

    /// Exchanges the weights and their average, if one is kept.
    fn swap_average(&mut self) {
        for (average, p) in self.average.iter_mut().zip(self.trainable.parameters_mut()) {
            std::mem::swap(average, &mut p.value);
        }
    }

    fn validate(&mut self) -> Result<Option<SongScores>, TrainError> {
        if self.data.valid.is_empty() {
            return Ok(None);
        }
        self.swap_average();
        let scores = predict_songs(&mut self.trainable, &self.data.valid, &self.recipe.windows);
        self.swap_average();
        Ok(Some(SongScores::of(&scores?, &self.data.valid)))
    }

    /// The weights that validation judged.
    fn judged_weights(&mut self) -> Weights {
        self.swap_average();
        let weights = self.trainable.weights();
        self.swap_average();
        weights
    }

    fn is_best(&self, record: &EpochRecord) -> bool {
        is_better(
            self.recipe.fit.select,
            record,
            self.progress.best_epoch.checked_sub(1).map(|i| &self.progress.history[i]),
        )
    }

    fn patience_is_over(&self) -> bool {
        let patience = self.recipe.fit.patience;
        patience > 0
            && !self.data.valid.is_empty()
            && self.progress.history.len() - self.progress.best_epoch >= patience
    }

    fn named(&self, arrays: &[Vec<f32>], prefix: &str) -> Weights {
        let all = self.trainable.parameters().iter().zip(arrays).filter(|(_, a)| !a.is_empty());
        all.map(|(p, a)| (format!("{prefix}{}", p.name), Tensor::new(p.shape.clone(), a.clone())))
            .collect()
    }

    fn save(&mut self) -> Result<(), TrainError> {
        let Some(folder) = &self.options.folder else { return Ok(()) };
        let mut optimiser = self.named(&self.optimiser.first, "first/");
        optimiser.extend(self.named(&self.optimiser.second, "second/"));
        let checkpoint = Checkpoint {
            weights: self.trainable.weights(),
            average: (!self.average.is_empty()).then(|| self.named(&self.average, "")),
            best: self.best.clone(),
            optimiser,
            progress: self.progress.clone(),
        };
        checkpoint.save(&folder.join(CHECKPOINT))?;
        let csv = curves::csv(&self.progress.history);
        write_whole(&folder.join("curves.csv"), |file| file.write_all(csv.as_bytes()))?;
        curves::draw(&self.progress.history, "Learning curves", &folder.join("curves.png"))
    }

    fn restore(&mut self, checkpoint: Checkpoint, path: &Path) -> Result<(), TrainError> {
        let place = path.display().to_string();
        if checkpoint.progress.fingerprint != self.progress.fingerprint {
            let message = "this checkpoint is of another recipe, other songs or another version of the network; train into another folder, or without resuming";
            return Err(TrainError::malformed(place, message));
        }
        let arrays = |from: &Weights,
                      prefix: &str,
                      to: &mut Vec<Vec<f32>>,
                      names: &[String]|
         -> Result<(), TrainError> {
            for (array, name) in to.iter_mut().zip(names).filter(|(a, _)| !a.is_empty()) {
                let found =
                    from.get(&format!("{prefix}{name}")).filter(|t| t.data.len() == array.len());
                let message = || format!("`{prefix}{name}` is absent or of another size");
                *array = found
                    .ok_or_else(|| TrainError::malformed(place.clone(), message()))?
                    .data
                    .clone();
            }
            Ok(())
        };
        let names: Vec<String> =
            self.trainable.parameters().iter().map(|p| p.name.clone()).collect();
        let mut values: Vec<Vec<f32>> =
            self.trainable.parameters().iter().map(|p| p.value.clone()).collect();
        arrays(&checkpoint.weights, "", &mut values, &names)?;
        self.trainable.parameters_mut().iter_mut().zip(values).for_each(|(p, v)| p.value = v);
        arrays(&checkpoint.optimiser, "first/", &mut self.optimiser.first, &names)?;
        arrays(&checkpoint.optimiser, "second/", &mut self.optimiser.second, &names)?;
        arrays(&checkpoint.average.unwrap_or_default(), "", &mut self.average, &names)?;
        self.optimiser.updates = checkpoint.progress.updates;
        self.best = checkpoint.best;
        self.progress = checkpoint.progress;
        Ok(())
    }
}

/// Whether an epoch beats the best one before it.
fn is_better(select: Select, record: &EpochRecord, best: Option<&EpochRecord>) -> bool {
    let (Some(best), Some(loss), Some(accuracy)) =
        (best, record.valid_log_loss, record.valid_accuracy)
    else {
        return true;
    };
    let (best_loss, best_accuracy) =
        (best.valid_log_loss.unwrap_or(f64::INFINITY), best.valid_accuracy.unwrap_or(0.0));
    match select {
        Select::Last => true,
        Select::LogLoss => loss < best_loss,
        Select::Accuracy => {
            accuracy > best_accuracy || (accuracy == best_accuracy && loss < best_loss)
        }
    }
}

/// What a run is: recipe, network, genres and songs, as 64 bits of FNV-1a.
fn fingerprint(network: &Network, data: &Data, recipe: &Recipe) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut add = |bytes: &[u8]| {
        bytes.iter().for_each(|b| hash = (hash ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3))
    };
    add(format!("{recipe:?}{network:?}{:?}", data.classes).as_bytes());
    for clip in data.learnt_from().chain(&data.valid) {
        add(format!(
            "{}\n{} {} {:?} {:?}",
            clip.id,
            clip.label,
            clip.map.frames,
            clip.starts,
            clip.targets.keys()
        )
        .as_bytes());
        // A sample of the values tells other features apart at no cost.
        clip.map.data.iter().step_by(997).for_each(|v| add(&v.to_le_bytes()));
    }
    format!("{hash:016x}")
}

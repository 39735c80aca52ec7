//! From a recipe and a dataset to a model file, for classifiers of rows: heads on what a network
//! says of a song, and classifiers of descriptors. What `taggram train` does for a recipe with a
//! `[classifier]` table:
//!
//! ```toml
//! scaling = "standard"
//! [data]
//! split = "fault-filtered"
//! [input]
//! kind = "layer"
//! base = "msd-musicnn"
//! layer = "tags"
//! over = "song"
//! [classifier]
//! kind = "logistic"
//! c = 0.1
//! ```

mod cross;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::{Deserialize, Serialize};
use taggram::{Listen, Model, Source};
use taggram_features::FeatureSet;
use taggram_model::artifact::FORMAT;
use taggram_model::classifier::{Classifier, Pipeline, Step, log_odds};
use taggram_model::statistics::song_row;
use taggram_model::{Answer, Artifact, Body, Calibration, Description, Over, Weights};

use crate::classifiers::perceptron::tune;
use crate::classifiers::{ClassifierKind, ClassifierRecipe, MlpOptions, Rows, Scaling, train};
use crate::dataset::{Dataset, Group, Track, TrackSource};
use crate::error::{ErrorKind, TrainError};
use crate::evaluate::{STORED_LAYER, stored_rows};
use crate::metrics::{Metrics, apply_temperature, fit_temperature};

pub use cross::cross_validate_classifier;

/// Seed of the bootstrap in figures about the train songs.
const BOOTSTRAP_SEED: u64 = 0;

/// A recipe for a classifier of rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadRecipe {
    /// What happens to each column first.
    #[serde(default)]
    pub scaling: Scaling,
    /// Number of principal components kept; absent: the columns stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pca: Option<usize>,
    /// Whether the components are brought to deviation 1.
    #[serde(default = "yes")]
    pub whiten: bool,
    /// The songs and how they are split.
    #[serde(default)]
    pub data: HeadData,
    /// What a row is.
    pub input: Input,
    /// The classifier and its numbers.
    pub classifier: ClassifierKind,
}

/// The `[data]` table of a classifier's recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeadData {
    /// Name of the split whose train songs are learnt from; `all` learns from every song.
    pub split: String,
    /// Folds of the cross-validation over the train songs, by artist, that the temperature is fitted on.
    /// 0: none, and the temperature stays 1.
    pub folds: usize,
    /// Everything random follows from it.
    pub seed: u64,
}

impl Default for HeadData {
    fn default() -> Self {
        Self { split: "fault-filtered".into(), folds: 5, seed: 1 }
    }
}

/// What a row of the classifier is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Input {
    /// What a network says: read from stored taggrams, or computed from audio.
    Layer {
        /// Name of the network's model, e.g. `msd-musicnn`.
        base: String,
        /// Its layer, e.g. `tags` or `max_pool`.
        layer: String,
        /// A row a patch, or a row a song.
        over: Over,
    },
    /// A row of a table of descriptors, whose columns must be those of a known set.
    Table {
        /// Rate of the audio that the table was made from, Hz.
        #[serde(default = "rate")]
        sample_rate: u32,
        /// Length of the segments that its rows are of, s; absent: whole clips.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        segment_s: Option<f64>,
    },
}

fn yes() -> bool {
    true
}

fn rate() -> u32 {
    22_050
}

impl HeadRecipe {
    /// Reads a recipe file; `None` when it has no `[classifier]` table and so is one of a network.
    ///
    /// # Errors
    /// A file that cannot be read or is no TOML, an unknown or missing key.
    pub fn load(path: &Path) -> Result<Option<Self>, TrainError> {
        let text = std::fs::read_to_string(path).map_err(|e| TrainError::io(path, &e))?;
        Self::parse(&text, &path.display().to_string())
    }

    /// As [`Self::load`], from the text; `place` (a file name) appears in errors.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn parse(text: &str, place: &str) -> Result<Option<Self>, TrainError> {
        let broken = |e: toml::de::Error| TrainError::malformed(place, e.to_string().trim_end());
        let table: toml::Table = toml::from_str(text).map_err(broken)?;
        if !table.contains_key("classifier") {
            return Ok(None);
        }
        toml::from_str(text).map(Some).map_err(broken)
    }

    fn classifier(&self) -> ClassifierRecipe {
        ClassifierRecipe {
            scaling: self.scaling,
            pca: self.pca,
            whiten: self.whiten,
            classifier: self.classifier.clone(),
        }
    }
}

/// Trains the classifier of `recipe` on the train songs of its split. The temperature is fitted
/// on what classifiers say of train songs whose artists they have not met; test songs are never
/// read. `threads` 0 means one a processor; the model does not depend on it. `notice` is told
/// what is being done.
///
/// # Errors
/// Data that cannot be read or does not fit the recipe; those of [`train()`].
pub fn train_classifier(
    name: &str,
    recipe: &HeadRecipe,
    dataset: &Dataset,
    threads: usize,
    notice: &mut (dyn FnMut(&str) + Send),
) -> Result<Artifact, TrainError> {
    in_threads(threads, || train_here(name, recipe, dataset, threads, notice))
}

/// Runs `work` on so many threads; 0 means one a processor.
fn in_threads<T: Send>(
    threads: usize,
    work: impl FnOnce() -> Result<T, TrainError> + Send,
) -> Result<T, TrainError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(|e| {
        TrainError::new("threads", ErrorKind::Overloaded, format!("they could not be started: {e}"))
    })?;
    pool.install(work)
}

fn train_here(
    name: &str,
    recipe: &HeadRecipe,
    dataset: &Dataset,
    threads: usize,
    notice: &mut dyn FnMut(&str),
) -> Result<Artifact, TrainError> {
    let songs = train_songs(recipe, dataset)?;
    let input = read(recipe, dataset, &songs, threads)?;
    let rows = table(dataset, &songs, &input);
    notice(&format!(
        "{} rows of {} values from {} train songs of {}",
        rows.len(),
        rows.columns,
        songs.len(),
        recipe.data.split
    ));
    let (calibration, metrics) = calibrate(recipe, dataset, &songs, &input, notice)?;
    let pipeline = train(&recipe.classifier(), &rows, &dataset.genres, recipe.data.seed)?;
    let parts = pipeline.to_parts().map_err(|e| TrainError::malformed(e.place, e.message))?;
    let body = match &recipe.input {
        Input::Layer { base, layer, over } => Body::Head {
            base: base.clone(),
            layer: layer.clone(),
            over: *over,
            classifier: parts.description,
        },
        Input::Table { sample_rate, segment_s } => Body::Descriptors {
            set: set_of(dataset)?.name().to_string(),
            sample_rate: *sample_rate,
            segment_s: *segment_s,
            classifier: parts.description,
        },
    };
    let what = match &recipe.input {
        Input::Layer { base, layer, .. } => format!("{layer} of {base}"),
        Input::Table { .. } => "descriptors".into(),
    };
    let description = Description {
        format: FORMAT,
        name: name.to_string(),
        about: format!(
            "{} genres from {what}, trained on {} songs of {}.",
            dataset.genres.len(),
            songs.len(),
            recipe.data.split
        ),
        licence: "MIT".into(),
        labels: dataset.genres.clone(),
        answer: Answer::Genres,
        body,
        calibration,
        recipe: toml::to_string(recipe)
            .map_err(|e| TrainError::malformed("recipe", e.to_string()))?,
        metrics,
    };
    Ok(Artifact { description, weights: parts.tensors })
}

/// Trains the dense classifier of `artifact`, whose recipe is `recipe`, further from `weights`:
/// `epochs` passes with `rate` times the recipe's step size. Weights that `zeros` names stay 0
/// where it says so.
///
/// # Errors
/// Data that cannot be read or does not fit the recipe; a classifier that is not dense.
pub(crate) fn tune_dense(
    artifact: &Artifact,
    weights: &Weights,
    zeros: &BTreeMap<String, Vec<bool>>,
    recipe: &HeadRecipe,
    dataset: &Dataset,
    (epochs, rate): (usize, f32),
) -> Result<Weights, TrainError> {
    let place = || artifact.description.name.clone();
    let (Body::Head { classifier, .. } | Body::Descriptors { classifier, .. }) =
        &artifact.description.body
    else {
        return Err(TrainError::new(place(), ErrorKind::Unsupported, "it has no classifier"));
    };
    let current = Artifact { description: artifact.description.clone(), weights: weights.clone() };
    let pipeline =
        current.pipeline(classifier).map_err(|e| TrainError::malformed(place(), e.to_string()))?;
    let (Classifier::Mlp(start), ClassifierKind::Mlp(options)) =
        (pipeline.classifier(), &recipe.classifier)
    else {
        let message = "its classifier has no layers that could be trained further";
        return Err(TrainError::new(place(), ErrorKind::Unsupported, message));
    };
    let songs = train_songs(recipe, dataset)?;
    let input = read(recipe, dataset, &songs, 0)?;
    let mut rows = table(dataset, &songs, &input);
    if rows.columns != pipeline.inputs() {
        let message = format!(
            "its rows have {} values; the classifier takes {}",
            rows.columns,
            pipeline.inputs()
        );
        return Err(TrainError::malformed(dataset.origin.display().to_string(), message));
    }
    rows.data = rows
        .data
        .chunks_exact(rows.columns)
        .flat_map(|row| {
            pipeline.steps().iter().fold(row.to_vec(), |row, step| match step {
                Step::Scaler(s) => s.apply(&row),
                Step::Pca(p) => p.apply(&row),
                Step::LogOdds => row.iter().map(|p| log_odds(*p)).collect(),
            })
        })
        .collect();
    rows.columns = start.inputs();
    let options =
        MlpOptions { epochs, learning_rate: options.learning_rate * rate, ..options.clone() };
    let own = |name: &String| name.strip_prefix("classifier.").map(str::to_string);
    let zeros = zeros.iter().filter_map(|(n, z)| Some((own(n)?, z.clone()))).collect();
    let tuned = tune(&rows, start, &options, recipe.data.seed, &zeros)?;
    let mut all = weights.clone();
    all.extend(tuned.into_iter().map(|(name, tensor)| (format!("classifier.{name}"), tensor)));
    Ok(all)
}

/// Fits the temperature of `artifact`, whose recipe is `recipe`, anew on the validation songs of the
/// recipe's split, which a classifier does not learn from. Nothing changes where there are none.
///
/// # Errors
/// Data that cannot be read or does not fit the classifier.
pub(crate) fn refit_temperature(
    artifact: &mut Artifact,
    recipe: &HeadRecipe,
    dataset: &Dataset,
) -> Result<(), TrainError> {
    let (Body::Head { classifier, .. } | Body::Descriptors { classifier, .. }) =
        &artifact.description.body
    else {
        return Ok(());
    };
    let pipeline = artifact
        .pipeline(classifier)
        .map_err(|e| TrainError::malformed(artifact.description.name.clone(), e.to_string()))?;
    let songs = dataset.split(&recipe.data.split)?.valid;
    if songs.is_empty() {
        return Ok(());
    }
    let input = read(recipe, dataset, &songs, 0)?;
    let (mut labels, mut said) = (Vec::new(), Vec::new());
    for &t in &songs {
        labels.push(dataset.tracks[t].genre);
        said.push(song_answer(&pipeline, &input.of[&t], &dataset.tracks[t])?);
    }
    let temperature = fit_temperature(&labels, &said);
    artifact.description.calibration.temperature = temperature as f32;
    Ok(())
}

/// The songs that are learnt from. A classifier has no epochs to choose, so validation songs are
/// left alone too.
fn train_songs(recipe: &HeadRecipe, dataset: &Dataset) -> Result<Vec<usize>, TrainError> {
    let split = dataset.split(&recipe.data.split)?;
    Ok(if recipe.data.split == "all" { split.test } else { split.train })
}

/// The rows of songs: `[row, column]` by track, all of one width.
struct Examples {
    columns: usize,
    of: HashMap<usize, Vec<f32>>,
}

fn read(
    recipe: &HeadRecipe,
    dataset: &Dataset,
    songs: &[usize],
    threads: usize,
) -> Result<Examples, TrainError> {
    let reader = Reader::new(recipe, dataset, songs, threads)?;
    let mut examples = Examples { columns: 0, of: HashMap::new() };
    for &t in songs {
        let track = &dataset.tracks[t];
        let (rows, width) = reader.rows(dataset, track)?;
        if examples.columns != 0 && width != examples.columns {
            return Err(TrainError::malformed(
                track.id.clone(),
                format!("its rows have {width} values; those before have {}", examples.columns),
            ));
        }
        examples.columns = width;
        examples.of.insert(t, rows);
    }
    Ok(examples)
}

/// Where the rows of a song come from.
struct Reader<'r> {
    input: &'r Input,
    /// The network, when there is audio to listen to.
    model: Option<Model>,
    threads: usize,
}

impl<'r> Reader<'r> {
    fn new(
        recipe: &'r HeadRecipe,
        dataset: &Dataset,
        songs: &[usize],
        threads: usize,
    ) -> Result<Self, TrainError> {
        let unsupported = |message: String| {
            TrainError::new(dataset.origin.display().to_string(), ErrorKind::Unsupported, message)
        };
        let source = songs.first().map(|&t| &dataset.tracks[t].source);
        let model = match (&recipe.input, source) {
            (Input::Table { .. }, Some(TrackSource::TableRow(_))) => {
                set_of(dataset)?;
                None
            }
            (Input::Table { .. }, _) => {
                return Err(unsupported("the recipe needs a table of descriptors".into()));
            }
            (Input::Layer { layer, .. }, Some(TrackSource::Patches(_))) => {
                if layer != STORED_LAYER {
                    return Err(unsupported(format!(
                        "the stored taggrams are of the layer {STORED_LAYER}; {layer} is computed from audio"
                    )));
                }
                None
            }
            (Input::Layer { base, layer, .. }, Some(TrackSource::Audio(_))) => {
                let model = taggram::artifact(base).and_then(|a| Model::layer_of(a, layer));
                Some(model.map_err(|e| {
                    TrainError::new("[input]", ErrorKind::Unsupported, e.to_string())
                })?)
            }
            (Input::Layer { .. }, _) => {
                return Err(unsupported("the recipe needs audio or stored taggrams".into()));
            }
        };
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n,
        };
        Ok(Self { input: &recipe.input, model, threads })
    }

    /// The rows of a song and their width.
    fn rows(&self, dataset: &Dataset, track: &Track) -> Result<(Vec<f32>, usize), TrainError> {
        let (rows, width) = match (&self.model, &track.source) {
            (Some(model), TrackSource::Audio(path)) => {
                let how = Listen { threads: self.threads, ..Listen::default() };
                let heard = taggram::listen(model, Source::Path(path.clone()), &how)
                    .map_err(|e| TrainError::malformed(track.id.clone(), e.to_string()))?;
                (heard.taggram.probabilities, model.labels().len())
            }
            _ => stored_rows(dataset, track)?,
        };
        Ok(match self.input {
            Input::Layer { over: Over::Song, .. } => {
                let row = song_row(&rows, width);
                let width = row.len();
                (row, width)
            }
            _ => (rows, width),
        })
    }
}

/// The set of descriptors that a table's columns are.
fn set_of(dataset: &Dataset) -> Result<FeatureSet, TrainError> {
    [FeatureSet::Gtzan57, FeatureSet::System3, FeatureSet::All]
        .into_iter()
        .find(|set| set.columns() == dataset.feature_names())
        .ok_or_else(|| {
            TrainError::new(
                dataset.origin.display().to_string(),
                ErrorKind::Unsupported,
                format!(
                    "its {} columns are none of the sets gtzan57, system3 and all: a model of them could not be used on audio",
                    dataset.feature_names().len()
                ),
            )
        })
}

/// The rows of some songs as a table; a song is a group.
fn table(dataset: &Dataset, songs: &[usize], input: &Examples) -> Rows {
    let mut rows = Rows { columns: input.columns, ..Rows::default() };
    let mut group_of = HashMap::new();
    for &t in songs {
        let (track, data) = (&dataset.tracks[t], &input.of[&t]);
        let next = group_of.len();
        let group = *group_of.entry(&track.song).or_insert(next);
        let count = data.len() / input.columns;
        rows.data.extend_from_slice(data);
        rows.labels.extend(std::iter::repeat_n(track.genre, count));
        rows.groups.extend(std::iter::repeat_n(group, count));
    }
    rows
}

/// Artist-grouped cross-validation over the train songs: the temperature that makes song
/// probabilities honest, and figures about songs of unknown artists.
fn calibrate(
    recipe: &HeadRecipe,
    dataset: &Dataset,
    songs: &[usize],
    input: &Examples,
    notice: &mut dyn FnMut(&str),
) -> Result<(Calibration, BTreeMap<String, f64>), TrainError> {
    if recipe.data.folds == 0 {
        return Ok((Calibration::default(), BTreeMap::new()));
    }
    let (mut labels, mut said) = (Vec::new(), Vec::new());
    for fold in dataset.k_fold_of(songs, recipe.data.folds, Group::Artist, recipe.data.seed)? {
        let rows = table(dataset, &fold.train, input);
        let pipeline = train(&recipe.classifier(), &rows, &dataset.genres, recipe.data.seed)?;
        for &t in &fold.test {
            labels.push(dataset.tracks[t].genre);
            said.push(song_answer(&pipeline, &input.of[&t], &dataset.tracks[t])?);
        }
        notice(&format!("{} by artist is done", fold.name));
    }
    let temperature = fit_temperature(&labels, &said);
    let calibrated: Vec<Vec<f64>> =
        said.iter().map(|p| apply_temperature(p, temperature)).collect();
    let before = Metrics::new(&dataset.genres, &labels, &said, BOOTSTRAP_SEED);
    let after = Metrics::new(&dataset.genres, &labels, &calibrated, BOOTSTRAP_SEED);
    notice(&format!(
        "cross-validated on train songs by artist: accuracy {:.1} %, log loss {:.3}, ECE {:.3} before and {:.3} after temperature {temperature:.3}",
        100.0 * after.accuracy,
        after.log_loss,
        before.expected_calibration_error,
        after.expected_calibration_error
    ));
    let metrics = BTreeMap::from([
        ("cv_accuracy".to_string(), after.accuracy),
        ("cv_log_loss".to_string(), after.log_loss),
        ("cv_ece".to_string(), after.expected_calibration_error),
        ("cv_ece_uncalibrated".to_string(), before.expected_calibration_error),
    ]);
    Ok((Calibration { temperature: temperature as f32 }, metrics))
}

/// Mean over a song's rows of what the classifier says.
fn song_answer(pipeline: &Pipeline, rows: &[f32], track: &Track) -> Result<Vec<f64>, TrainError> {
    let answers = pipeline
        .predict_rows(rows)
        .map_err(|e| TrainError::malformed(track.id.clone(), e.to_string()))?;
    let classes = pipeline.classes().len();
    let count = (answers.len() / classes).max(1) as f64;
    let mut mean = vec![0f64; classes];
    for row in answers.chunks_exact(classes) {
        mean.iter_mut().zip(row).for_each(|(m, p)| *m += f64::from(*p) / count);
    }
    Ok(mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_is_told_by_its_classifier_table() {
        let network = "[data]\nsplit = \"strict\"";
        assert_eq!(HeadRecipe::parse(network, "n.toml").unwrap(), None);
        let head = "[input]\nkind = \"layer\"\nbase = \"b\"\nlayer = \"tags\"\nover = \"song\"\n\
                    [classifier]\nkind = \"logistic\"";
        let recipe = HeadRecipe::parse(head, "h.toml").unwrap().unwrap();
        assert_eq!(recipe.data, HeadData::default());
        let again = HeadRecipe::parse(&toml::to_string(&recipe).unwrap(), "h.toml").unwrap();
        assert_eq!(again, Some(recipe));
        let wrong = head.replace("over = \"song\"", "over = \"song\"\nlayers = 1");
        assert!(HeadRecipe::parse(&wrong, "h.toml").unwrap_err().to_string().contains("layers"));
    }
}

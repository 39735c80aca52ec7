//! A recipe: every number of a training, in one small TOML file. It is stored inside the model it makes.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use taggram_features::{FrontEnd, Map, Normalise, Scale, Windows};
use taggram_model::Network;
use taggram_model::architectures::{Architecture, Heads};

use crate::augment::Augment;
use crate::error::TrainError;
use crate::loss::{LOGITS, LossRecipe};
use crate::optim::Optimiser;
use crate::schedule::Schedule;

/// A recipe for training a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// What the songs are and how they are split.
    #[serde(default)]
    pub data: DataRecipe,
    /// From samples to feature maps.
    pub front_end: FrontEnd,
    /// From feature maps to patches. In training a patch may start at any frame.
    pub windows: Windows,
    /// The network.
    pub model: Architecture,
    /// Random changes to training patches.
    #[serde(default)]
    pub augment: Augment,
    /// What is minimised.
    #[serde(default)]
    pub loss: LossRecipe,
    /// How the weights move.
    pub optimiser: Optimiser,
    /// How the step size changes.
    #[serde(default)]
    pub schedule: Schedule,
    /// How long, in what portions, and what counts as best.
    pub fit: FitRecipe,
}

/// The `[data]` table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataRecipe {
    /// Name of the split; the dataset's own where empty.
    pub split: String,
    /// Teachers of the train songs: name → file, relative to the dataset's folder, or `model:NAME`
    /// (an installed model or a model file) or `model:NAME:LAYER`, which is asked about each song.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub teachers: BTreeMap<String, String>,
    /// Teachers whose taggrams are followed patch by patch: a patch learns what they say of its own stretch of the
    /// song, not of the whole. Their rows are taken to be evenly spread over it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by_patch: Vec<String>,
    /// Teachers whose values together become one more, named `genres`: the genre probabilities of
    /// a logistic regression on them that never saw the song's artist (5 folds of the train songs).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub genres_from: Vec<String>,
    /// Genres left out, to measure what the model makes of music that it has not met.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<String>,
    /// Songs without genres, of which only what teachers say is learnt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unlabelled: Option<Unlabelled>,
    /// Sounds that are no music, to be answered with `unknown`: a feature cache or a folder of audio, relative to
    /// the working folder. Nothing of the network is learnt from them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strange: Option<String>,
}

/// The `[data.unlabelled]` table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unlabelled {
    /// A feature cache or a folder of audio, relative to the working folder: it is no part of the
    /// dataset. What genres it names is ignored.
    pub songs: String,
    /// Teachers of these songs: name → file, relative to the working folder. Names are among those
    /// of `[data.teachers]`: the values are brought to the same scale.
    pub teachers: BTreeMap<String, String>,
    /// Random patches taken from each of these songs in an epoch.
    #[serde(default = "one")]
    pub patches_per_clip: usize,
}

/// The `[fit]` table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FitRecipe {
    /// Most passes over the train songs.
    pub epochs: usize,
    /// Patches an update.
    pub batch: usize,
    /// Everything random follows from it.
    pub seed: u64,
    /// Random patches taken from each train song in an epoch.
    #[serde(default = "one")]
    pub patches_per_clip: usize,
    /// Epochs without improvement on the validation songs after which training ends; 0 for never.
    #[serde(default)]
    pub patience: usize,
    /// Which epoch is kept.
    #[serde(default)]
    pub select: Select,
    /// Validate and keep a moving average of the weights with this memory per update (0.999, say); 0 for the weights themselves.
    #[serde(default)]
    pub average: f32,
    /// Weights to begin with, by the names of the layers: a model that is installed (`msd-musicnn`) or a file,
    /// `.safetensors`, PyTorch's `.pt`/`.pth` or `.onnx`. Layers that it does not have start afresh; kernels of a model on another mel
    /// spectrogram are brought onto the frames and bands of this recipe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<String>,
    /// Layers whose names start so keep their (imported) weights.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub freeze: Vec<String>,
}

fn one() -> usize {
    1
}

/// Which epoch is kept, judged on the validation songs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Select {
    /// The lowest song-level log loss.
    #[default]
    LogLoss,
    /// The highest song-level accuracy; of equals the lowest log loss.
    Accuracy,
    /// The last one, whatever its score: for fixed budgets.
    Last,
}

impl Recipe {
    /// As [`Recipe::parse`], with some of its keys replaced: `("fit.epochs", "3")`. A value is read as
    /// TOML, and as text where it is none.
    ///
    /// # Errors
    /// As [`Recipe::parse`]; a key that leads through something that is no table.
    pub fn parse_with(
        text: &str,
        place: &str,
        replaced: &[(String, String)],
    ) -> Result<Self, TrainError> {
        if replaced.is_empty() {
            return Self::parse(text, place);
        }
        let mut whole: toml::Table = toml::from_str(text)
            .map_err(|e| TrainError::malformed(place, e.to_string().trim_end().to_string()))?;
        for (key, value) in replaced {
            let mut table = &mut whole;
            let (path, last) = key.rsplit_once('.').unwrap_or(("", key));
            for part in path.split('.').filter(|p| !p.is_empty()) {
                let next = table
                    .entry(part)
                    .or_insert_with(|| toml::Value::Table(toml::Table::new()))
                    .as_table_mut();
                table = next.ok_or_else(|| {
                    TrainError::malformed(place, format!("`{part}` of `{key}` is no table"))
                })?;
            }
            let value = toml::from_str::<toml::Table>(&format!("value = {value}"))
                .ok()
                .and_then(|mut t| t.remove("value"))
                .unwrap_or_else(|| toml::Value::String(value.clone()));
            table.insert(last.to_string(), value);
        }
        Self::parse(&whole.to_string(), place)
    }

    /// Reads a recipe from TOML text; `place` (a file name) appears in errors.
    ///
    /// # Errors
    /// An unknown or missing key, or a number outside its range: named, with its line.
    pub fn parse(text: &str, place: &str) -> Result<Self, TrainError> {
        let recipe: Self = toml::from_str(text)
            .map_err(|e| TrainError::malformed(place, e.to_string().trim_end().to_string()))?;
        recipe
            .check()
            .map_err(|e| TrainError::new(format!("{place}, {}", e.place), e.kind, e.message))?;
        Ok(recipe)
    }

    /// Reads a recipe file.
    ///
    /// # Errors
    /// A file that cannot be read, and those of [`Recipe::parse`].
    pub fn load(path: &Path) -> Result<Self, TrainError> {
        let text = std::fs::read_to_string(path).map_err(|e| TrainError::io(path, &e))?;
        Self::parse(&text, &path.display().to_string())
    }

    /// The recipe as TOML.
    ///
    /// # Errors
    /// A value that TOML cannot hold (a seed above 2⁶³ − 1).
    pub fn to_toml(&self) -> Result<String, TrainError> {
        toml::to_string(self).map_err(|e| TrainError::malformed("recipe", e.to_string()))
    }

    /// Refuses numbers outside their ranges and tables that contradict each other.
    ///
    /// # Errors
    /// Names the table and what is wrong.
    pub fn check(&self) -> Result<(), TrainError> {
        self.front_end.check().map_err(|e| TrainError::malformed("[front_end]", e.to_string()))?;
        self.windows
            .check(self.front_end.bands())
            .map_err(|e| TrainError::malformed("[windows]", e.to_string()))?;
        self.augment.check()?;
        self.loss.check()?;
        self.optimiser.check()?;
        self.schedule.check()?;
        let fit = &self.fit;
        if fit.epochs == 0 || fit.batch < 2 || fit.patches_per_clip == 0 {
            let message = format!(
                "epochs is {}, batch {}, patches_per_clip {}; at least 1, 2 and 1 are needed",
                fit.epochs, fit.batch, fit.patches_per_clip
            );
            return Err(TrainError::malformed("[fit]", message));
        }
        if !(0.0..1.0).contains(&fit.average) {
            let message = format!("is {}; it must be at least 0 and below 1", fit.average);
            return Err(TrainError::malformed("[fit] average", message));
        }
        if fit.init.is_none() && !fit.freeze.is_empty() {
            return Err(TrainError::malformed(
                "[fit] freeze",
                "layers at random values cannot be kept so: there is no `init` with weights for them",
            ));
        }
        for name in self.data.teachers.keys() {
            if !self.loss.teachers.contains_key(name) {
                let message =
                    format!("there is no [loss.teachers.{name}] that says how to learn from it");
                return Err(TrainError::malformed(format!("[data.teachers] {name}"), message));
            }
        }
        if let Some(unlabelled) = &self.data.unlabelled {
            if unlabelled.teachers.is_empty() || unlabelled.patches_per_clip == 0 {
                let message = "songs without genres need a teacher and at least one patch an epoch";
                return Err(TrainError::malformed("[data.unlabelled]", message));
            }
            for name in unlabelled.teachers.keys() {
                if !self.data.teachers.contains_key(name) {
                    let message = "this teacher is not among those of the train songs";
                    return Err(TrainError::malformed(
                        format!("[data.unlabelled.teachers] {name}"),
                        message,
                    ));
                }
            }
        }
        for (key, names) in
            [("genres_from", &self.data.genres_from), ("by_patch", &self.data.by_patch)]
        {
            if let Some(name) = names.iter().find(|n| !self.data.teachers.contains_key(*n)) {
                let message = format!("there is no teacher `{name}` in [data.teachers]");
                return Err(TrainError::malformed(format!("[data] {key}"), message));
            }
        }
        let decibels = matches!(
            self.front_end.map,
            Map::Mel { scale: Scale::Decibel, .. } | Map::MelChroma { scale: Scale::Decibel, .. }
        );
        if self.augment.needs_decibels() && !decibels {
            let message = "gain, tilt, range and floor work on decibels, but [front_end] makes a map of another scale";
            return Err(TrainError::malformed("[augment]", message));
        }
        if self.augment.floor_db > 0.0 && self.windows.normalise == Normalise::BandZScore {
            return Err(TrainError::malformed(
                "[augment] floor_db",
                "a floor has no meaning for bands normalised one by one",
            ));
        }
        Ok(())
    }

    /// The network for training: `[channel, time, band]` patches in, `classes` logits and the
    /// teachers' heads (name → number of values) out.
    ///
    /// # Errors
    /// A network that does not fit the patches: the node is named.
    pub fn network(
        &self,
        classes: usize,
        teachers: &BTreeMap<String, usize>,
    ) -> Result<Network, TrainError> {
        let input = [self.front_end.channels(), self.windows.frames, self.front_end.bands()];
        let auxiliary = teachers
            .iter()
            .filter(|(name, _)| self.loss.teachers.get(*name).is_some_and(|t| t.needs_head()))
            .map(|(name, &size)| (name.clone(), size))
            .collect();
        let network = self.model.build(input, &Heads { classes, auxiliary });
        let shapes = network.shapes().map_err(|e| {
            let e = TrainError::from(e);
            let message = format!("{} (patches are {input:?}: channels, frames, bands)", e.message);
            TrainError::new(format!("[model] {}", e.place), e.kind, message)
        })?;
        if shapes.get(LOGITS).is_none_or(|s| *s != [classes]) {
            let message = format!(
                "the network answers {:?}; `logits` of {classes} classes are needed",
                shapes.get(LOGITS)
            );
            return Err(TrainError::malformed("[model]", message));
        }
        Ok(network)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const SMALL: &str = r#"
[front_end]
sample_rate = 22050
n_fft = 2048
hop = 512
map = { kind = "mel", bands = 16, scale = { kind = "decibel" } }

[windows]
frames = 12
hop = 6
normalise = { kind = "patch_z_score", top_db = 60.0 }

[model]
architecture = "compact"
stem = 4
blocks = [6]
columns = 8
embedding = 8
dropout = 0.1

[augment]
gain_db = 3.0
tilt_db = 2.0
time_masks = 1
time_mask_frames = 3
mix_alpha = 0.3

[loss]
label_smoothing = 0.05
teachers.tags = { kind = "bce", weight = 0.5 }

[optimiser]
kind = "adamw"
learning_rate = 0.01
weight_decay = 0.01

[schedule]
kind = "cosine"
warmup_epochs = 1.0

[fit]
epochs = 4
batch = 8
seed = 7
patches_per_clip = 2
average = 0.9
"#;

    #[test]
    fn a_recipe_survives_being_written() {
        let recipe = Recipe::parse(SMALL, "small.toml").unwrap();
        assert_eq!(Recipe::parse(&recipe.to_toml().unwrap(), "again").unwrap(), recipe);
    }

    #[test]
    fn keys_can_be_replaced() {
        let set = |pairs: &[(&str, &str)]| {
            let pairs: Vec<(String, String)> =
                pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
            Recipe::parse_with(SMALL, "small.toml", &pairs)
        };
        let recipe = set(&[
            ("fit.epochs", "9"),
            ("data.split", "random-segment:70/20/10@3"),
            ("windows.normalise", "{ kind = \"none\" }"),
        ])
        .unwrap();
        assert_eq!((recipe.fit.epochs, recipe.windows.normalise), (9, Normalise::None));
        assert_eq!(recipe.data.split, "random-segment:70/20/10@3");
        assert!(set(&[("fit.epoch", "9")]).unwrap_err().to_string().contains("epoch"));
        assert!(set(&[("fit.epochs.more", "9")]).unwrap_err().to_string().contains("no table"));
        assert!(set(&[("fit.freeze", "[\"stem\"]")]).unwrap_err().to_string().contains("init"));
    }

    #[test]
    fn mistakes_are_named() {
        let cases = [
            ("seed = 7", "seed = 7\nbogus = 1", "bogus"),
            ("epochs = 4", "", "epochs"),
            ("gain_db = 3.0", "gain_dB = 3.0", "gain_dB"),
            ("learning_rate = 0.01", "learning_rate = -1.0", "[optimiser]"),
            ("batch = 8", "batch = 1", "[fit]"),
            ("{ kind = \"decibel\" }", "{ kind = \"power\" }", "[augment]"),
            ("label_smoothing = 0.05", "label_smoothing = 1.5", "label_smoothing"),
            ("frames = 12", "frames = 0", "[windows]"),
        ];
        for (from, to, named) in cases {
            assert!(SMALL.contains(from), "{from}");
            let error =
                Recipe::parse(&SMALL.replacen(from, to, 1), "small.toml").unwrap_err().to_string();
            assert!(error.contains(named) && error.starts_with("small.toml"), "{to}: {error}");
        }
    }

    #[test]
    fn a_network_that_does_not_fit_names_its_node() {
        let recipe = Recipe::parse(
            &SMALL.replacen("blocks = [6]", "blocks = [6, 6, 6, 6, 6, 6, 6, 6]", 1),
            "r",
        )
        .unwrap();
        let error = recipe.network(10, &BTreeMap::new()).unwrap_err().to_string();
        assert!(error.contains("[model]") && error.contains("patches are [1, 12, 16]"), "{error}");
    }
}

//! Post-training quantisation: bytes for weights, and for values whose ranges calibration songs show.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use taggram_features::{FeatureMap, FrontEnd, Windows};
use taggram_model::musicnn::{self, MusicnnRunner};
use taggram_model::transform::{fold_norms, plain_norms};
use taggram_model::{
    Activation, Artifact, Body, Engine, Network, Node, Op, Quantisation, Storage, Weights,
};

use super::ranges::{RangeBy, RangeFinder};
use super::{CompressRecipe, Compressed, cannot, sign};
use crate::dataset::Dataset;
use crate::error::{ErrorKind, TrainError};

/// The `quantize` recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quantize {
    /// What computes.
    pub arithmetic: Arithmetic,
    /// Name of the split whose train songs show the ranges.
    pub split: String,
    /// Most songs that are looked at.
    pub songs: usize,
    /// Most patches of each.
    pub patches: usize,
    /// How ranges are chosen.
    pub ranges: RangeBy,
    /// Layers whose names start so keep computing in floats.
    pub floats: Vec<String>,
}

/// What a quantised model computes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arithmetic {
    /// Bytes, with sums of 32 bits.
    #[default]
    Int8,
    /// Floats; weights are stored in half the bytes.
    F16,
}

impl Default for Quantize {
    fn default() -> Self {
        Self {
            arithmetic: Arithmetic::Int8,
            split: "fault-filtered".into(),
            songs: 120,
            patches: 3,
            ranges: RangeBy::Mse,
            floats: Vec::new(),
        }
    }
}

impl Quantize {
    pub(super) fn check(&self, place: &str) -> Result<(), TrainError> {
        if self.songs == 0 || self.patches == 0 {
            let message =
                format!("songs is {}, patches {}; at least 1 is needed", self.songs, self.patches);
            return Err(TrainError::malformed(place, message));
        }
        Ok(())
    }
}

/// Quantises `artifact`. Songs of `dataset` on the train side of the split show the ranges; for
/// storage alone (`f16`, or a dense classifier) none are needed.
///
/// # Errors
/// A model without layers, one that is quantised already, calibration songs that are not there or
/// made by another front-end.
pub fn quantize(
    artifact: &Artifact,
    dataset: Option<&Dataset>,
    recipe: &Quantize,
    notice: &mut dyn FnMut(&str),
) -> Result<Compressed, TrainError> {
    let mut made = artifact.clone();
    let named = CompressRecipe::Quantize(recipe.clone());
    if recipe.arithmetic == Arithmetic::F16 {
        if let Body::Head { classifier, .. } | Body::Descriptors { classifier, .. } =
            &artifact.description.body
            && classifier.to_string().contains("trees")
        {
            return Err(cannot(
                artifact,
                "borders between trees' questions are exact numbers, which halves would move",
            ));
        }
        sign(&mut made, &named, "Stored in halves.")?;
        return Ok(Compressed { artifact: made, storage: Storage::F16 });
    }
    let (front_end, windows, network) = match &artifact.description.body {
        Body::Network { quantisation: Some(_), .. } => {
            return Err(cannot(artifact, "it is quantised already"));
        }
        Body::Network { front_end, windows, network, .. } => (front_end, windows, network),
        Body::Head { classifier, .. } | Body::Descriptors { classifier, .. } => {
            if !has_layers(classifier) {
                return Err(cannot(
                    artifact,
                    "its classifier has no layers of weights; quantize works on networks and dense classifiers",
                ));
            }
            notice("a small dense classifier: bytes for its weights, floats to compute");
            sign(&mut made, &named, "Weights stored as bytes.")?;
            return Ok(Compressed { artifact: made, storage: Storage::Int8 });
        }
    };
    let dataset = dataset.ok_or_else(|| {
        TrainError::new(
            "calibration",
            ErrorKind::TooShort,
            "integer arithmetic needs songs that show the ranges of values: give a dataset",
        )
    })?;
    let maps = calibration_maps(dataset, front_end, recipe)?;
    notice(&format!("ranges of values from {} train songs of {}", maps.len(), recipe.split));
    let whole_song = MusicnnRunner::new(network, &artifact.weights).is_ok();
    // musicnn's whole-song path needs the network as it is; norms are folded there.
    let (network, weights) = match whole_song {
        true => (network.clone(), plain_norms(network, &artifact.weights)?),
        false => fold_norms(network, &artifact.weights)?,
    };
    let names = if whole_song {
        musicnn::POINTS.iter().map(|n| (*n).to_string()).collect()
    } else {
        points(&network, &recipe.floats)
    };
    let mut quantisation = find(&network, &weights, windows, &maps, &names, recipe)?;
    if whole_song {
        // Two digits are enough of a limit, and short to write.
        let limits = MusicnnRunner::new(&network, &weights)?.spectrum_limits(&maps);
        let short = |limit: &f32| format!("{limit:.1e}").parse().unwrap_or(*limit);
        quantisation.spectrum = limits.iter().map(short).collect();
    } else {
        let steps = Engine::quantised(&network, &weights, &quantisation)?.integer_steps();
        if steps == 0 {
            return Err(cannot(artifact, "none of its layers can compute in integers"));
        }
        notice(&format!("{steps} steps compute in integers"));
    }
    made.weights = weights;
    if let Body::Network { network: n, quantisation: q, .. } = &mut made.description.body {
        *n = network;
        *q = Some(quantisation);
    }
    sign(&mut made, &named, "Quantised to bytes.")?;
    Ok(Compressed { artifact: made, storage: Storage::Int8 })
}

/// Whether a classifier is a dense network.
pub(super) fn has_layers(classifier: &serde_json::Value) -> bool {
    classifier.pointer("/classifier/kind").and_then(|k| k.as_str()) == Some("mlp")
}

/// Feature maps of train songs, spread over the whole list.
fn calibration_maps(
    dataset: &Dataset,
    front_end: &FrontEnd,
    recipe: &Quantize,
) -> Result<Vec<FeatureMap>, TrainError> {
    let train = dataset.split(&recipe.split)?.train;
    let count = recipe.songs.min(train.len());
    if count == 0 {
        return Err(TrainError::new(
            dataset.origin.display().to_string(),
            ErrorKind::TooShort,
            format!("it has none of the train songs of {}", recipe.split),
        ));
    }
    let chosen: Vec<usize> = (0..count).map(|i| train[i * train.len() / count]).collect();
    chosen.par_iter().map(|&t| dataset.feature_map(&dataset.tracks[t], front_end)).collect()
}

/// The ranges of the values `names` on the patches of `maps`.
fn find(
    network: &Network,
    weights: &Weights,
    windows: &Windows,
    maps: &[FeatureMap],
    names: &[String],
    recipe: &Quantize,
) -> Result<Quantisation, TrainError> {
    let input = network.inputs[0].name.as_str();
    let nodes: Vec<&str> = names.iter().map(String::as_str).filter(|n| *n != input).collect();
    let engine = if nodes.is_empty() {
        None
    } else {
        Some(Engine::new(&network.with_outputs(&nodes)?, weights)?)
    };
    let wants_input = names.iter().any(|n| n == input);
    let look = |map: &FeatureMap, finders: &mut [RangeFinder], second: bool| {
        let patches =
            windows.cut(map).map_err(|e| TrainError::malformed("calibration", e.to_string()))?;
        let count = recipe.patches.min(patches.count);
        let len = patches.patch_len();
        for i in 0..count {
            let patch = &patches.data[i * patches.count / count * len..][..len];
            let see = |finder: &mut RangeFinder, values: &[f32]| match second {
                false => finder.see(values),
                true => finder.count(values),
            };
            if wants_input {
                see(&mut finders[nodes.len()], patch);
            }
            if let Some(engine) = &engine {
                for (finder, value) in finders.iter_mut().zip(engine.run(&[patch], 1)?) {
                    see(finder, &value.data);
                }
            }
        }
        Ok::<(), TrainError>(())
    };
    let mut finders = vec![RangeFinder::default(); nodes.len() + 1];
    for second in [false, true] {
        for map in maps {
            look(map, &mut finders, second)?;
        }
    }
    let mut quantisation = Quantisation::default();
    for (name, finder) in nodes.iter().zip(&finders) {
        quantisation.ranges.insert((*name).into(), finder.range(name, recipe.ranges)?);
    }
    if wants_input {
        let range = finders[nodes.len()].range(input, recipe.ranges)?;
        quantisation.ranges.insert(input.into(), range);
    }
    quantisation.check(network)?;
    Ok(quantisation)
}

/// The values that live as bytes: what a layer or sum makes after all that is absorbed into it,
/// and what else layers read — but not the answer, nor what only the layer before it reads.
fn points(network: &Network, floats: &[String]) -> Vec<String> {
    let readers = |name: &str| -> Vec<&Node> {
        network.nodes.iter().filter(|n| n.from.iter().any(|f| f == name)).collect()
    };
    let is_output = |name: &str| network.outputs.iter().any(|o| o == name);
    let last_of = |node: &Node| match readers(&node.name)[..] {
        [next]
            if next.op == Op::Activation(Activation::Relu)
                && !is_output(&node.name)
                && matches!(node.op, Op::Conv2d { .. } | Op::Dense { .. } | Op::Add) =>
        {
            next.name.clone()
        }
        _ => node.name.clone(),
    };
    let mut names: Vec<String> = network.inputs.iter().map(|i| i.name.clone()).collect();
    for node in &network.nodes {
        let name = last_of(node);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.retain(|name| {
        let readers = readers(name);
        let useful = readers.iter().any(|r| !is_output(&last_of(r)));
        let kept = readers.iter().any(|r| floats.iter().any(|f| r.name.starts_with(f.as_str())));
        useful && !kept && !is_output(name)
    });
    names
}

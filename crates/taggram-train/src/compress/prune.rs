//! Weights, or whole filters, taken away in steps, and the rest tuned after each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use taggram_model::{Artifact, Body, Op, Storage, Weights};

use super::quantize::has_layers;
use super::surgery::shrink;
use super::tune::Tuner;
use super::{CompressRecipe, Compressed, cannot, sign};
use crate::dataset::Dataset;
use crate::error::TrainError;
use crate::fit::Progress;
use crate::train_classifier::{HeadRecipe, refit_temperature, tune_dense};

/// The `prune` recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Prune {
    /// What is taken away.
    pub take: Take,
    /// How much of it in the end, 0 … 1.
    pub share: f32,
    /// In how many steps: after step i of n, share · (1 − (1 − i/n)³) is gone (Zhu and Gupta, "To
    /// prune, or not to prune", 2017).
    pub steps: usize,
    /// Passes over the train songs after each step.
    pub epochs: usize,
    /// Step size of the tuning, in units of that of the model's own recipe.
    pub rate: f32,
    /// Whether what is left is stored as bytes with one scale a row; else as halves.
    pub int8: bool,
}

/// What is taken away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Take {
    /// Single weights, the smallest of each layer: the file becomes smaller.
    #[default]
    Weights,
    /// Whole filters and units: the network becomes smaller, and so faster.
    Filters,
}

impl Default for Prune {
    fn default() -> Self {
        Self { take: Take::Weights, share: 0.8, steps: 4, epochs: 5, rate: 0.2, int8: false }
    }
}

impl Prune {
    pub(super) fn check(&self, place: &str) -> Result<(), TrainError> {
        let sound = (0.0..1.0).contains(&self.share)
            && (1..=1000).contains(&self.steps)
            && self.rate > 0.0
            && self.rate.is_finite();
        if sound {
            return Ok(());
        }
        let message = format!(
            "share is {}, steps {}, rate {}; a share of at least 0 and below 1, 1 to 1000 steps and a rate above 0 are needed",
            self.share, self.steps, self.rate
        );
        Err(TrainError::malformed(place, message))
    }

    /// How much is gone after a step, the first being 1.
    fn share_after(&self, step: usize) -> f32 {
        let left = 1.0 - step as f32 / self.steps as f32;
        self.share * (1.0 - left.powi(3))
    }
}

/// Prunes `artifact`, tuning it on the train songs of its own recipe's split.
///
/// # Errors
/// A model without layers, without a recipe to tune it by, or of arithmetic that cannot be tuned.
pub fn prune(
    artifact: &Artifact,
    dataset: &Dataset,
    recipe: &Prune,
    progress: &mut (dyn Progress + Send),
    notice: &mut dyn FnMut(&str),
) -> Result<Compressed, TrainError> {
    let mut made = match &artifact.description.body {
        Body::Network { quantisation: Some(_), .. } => {
            return Err(cannot(artifact, "it is quantised: prune first, then quantize"));
        }
        Body::Network { .. } => network(artifact, dataset, recipe, progress, notice)?,
        Body::Head { classifier, .. } | Body::Descriptors { classifier, .. } => {
            if !has_layers(classifier) {
                return Err(cannot(
                    artifact,
                    "its classifier has no layers of weights; prune works on networks and dense classifiers",
                ));
            }
            if recipe.take == Take::Filters {
                return Err(cannot(
                    artifact,
                    "it is a dense classifier, which is small enough to be fast: take = \"weights\" makes its file smaller",
                ));
            }
            classifier_weights(artifact, dataset, recipe, notice)?
        }
    };
    let what = match recipe.take {
        Take::Weights => format!("{:.0} % of its weights are 0.", 100.0 * recipe.share),
        Take::Filters => format!("{:.0} % of its filters were taken out.", 100.0 * recipe.share),
    };
    sign(&mut made, &CompressRecipe::Prune(recipe.clone()), &what)?;
    let storage = match (recipe.take, recipe.int8) {
        (Take::Weights, true) => Storage::SparseInt8,
        (Take::Weights, false) => Storage::SparseF16,
        (Take::Filters, true) => Storage::Int8,
        (Take::Filters, false) => Storage::F16,
    };
    Ok(Compressed { artifact: made, storage })
}

fn network(
    artifact: &Artifact,
    dataset: &Dataset,
    recipe: &Prune,
    progress: &mut (dyn Progress + Send),
    notice: &mut dyn FnMut(&str),
) -> Result<Artifact, TrainError> {
    let Body::Network { network, .. } = &artifact.description.body else {
        return Err(cannot(artifact, "it has no network of its own"));
    };
    let tuner = Tuner::new(artifact, dataset)?;
    let (original, mut network, mut weights) =
        (network.clone(), network.clone(), artifact.weights.clone());
    let layers = layer_weights(&original);
    for step in 1..=recipe.steps {
        let share = recipe.share_after(step);
        let mut zeros = BTreeMap::new();
        match recipe.take {
            Take::Weights => zeros = smallest(&mut weights, &layers, share),
            Take::Filters => {
                // Of what the last step has left, so that the whole comes to `share`.
                let before = recipe.share_after(step - 1);
                (network, weights) =
                    shrink(&network, &weights, 1.0 - (1.0 - share) / (1.0 - before))?;
            }
        }
        notice(&format!("step {step} of {}: {:.0} % gone", recipe.steps, 100.0 * share));
        let how = (recipe.epochs, recipe.rate);
        weights = tuner.tune(&network, weights, zeros, how, Some(&mut *progress))?;
    }
    let (calibration, metrics) = tuner.calibrate(&network, &weights)?;
    if let (Some(a), Some(b)) =
        (artifact.description.metrics.get("valid_accuracy"), metrics.get("valid_accuracy"))
    {
        notice(&format!("validation accuracy {:.1} %, {:.1} % before", 100.0 * b, 100.0 * a));
    }
    let mut made = artifact.clone();
    // What the whole model remembered of its songs is not what this one makes of them.
    let needed: Vec<String> = network.weight_specs()?.into_iter().map(|s| s.name).collect();
    weights.retain(|name, _| needed.contains(name));
    made.weights = weights;
    made.description.calibration = calibration;
    made.description.metrics = metrics;
    if let Body::Network { network: n, .. } = &mut made.description.body {
        *n = network;
    }
    Ok(made)
}

fn classifier_weights(
    artifact: &Artifact,
    dataset: &Dataset,
    recipe: &Prune,
    notice: &mut dyn FnMut(&str),
) -> Result<Artifact, TrainError> {
    let text = &artifact.description.recipe;
    let head = HeadRecipe::parse(text, "the model's recipe")?.ok_or_else(|| {
        cannot(artifact, "it holds no recipe of a classifier that it could be tuned by")
    })?;
    let mut weights = artifact.weights.clone();
    let layers: Vec<String> = weights
        .iter()
        .filter(|(name, t)| name.ends_with(".weight") && t.shape.len() == 2)
        .map(|(name, _)| name.clone())
        .collect();
    for step in 1..=recipe.steps {
        let share = recipe.share_after(step);
        let zeros = smallest(&mut weights, &layers, share);
        notice(&format!("step {step} of {}: {:.0} % gone", recipe.steps, 100.0 * share));
        weights =
            tune_dense(artifact, &weights, &zeros, &head, dataset, (recipe.epochs, recipe.rate))?;
    }
    let mut made = artifact.clone();
    made.weights = weights;
    // The zeros make it less sure of itself than the whole was, and the tuning more.
    refit_temperature(&mut made, &head, dataset)?;
    notice(&format!(
        "temperature {:.3} by the validation songs, {:.3} before",
        made.description.calibration.temperature, artifact.description.calibration.temperature
    ));
    Ok(made)
}

/// The weights of convolutions and dense layers but the last, which decides.
fn layer_weights(network: &taggram_model::Network) -> Vec<String> {
    network
        .nodes
        .iter()
        .filter(|n| matches!(n.op, Op::Conv2d { .. } | Op::Dense { .. }))
        .filter(|n| !network.outputs.contains(&n.name))
        .map(|n| format!("{}.weight", n.name))
        .collect()
}

/// Sets the smallest `share` of the named layers' weights to 0, as many of each layer, and says
/// which are 0.
fn smallest(weights: &mut Weights, layers: &[String], share: f32) -> BTreeMap<String, Vec<bool>> {
    let mut zeros = BTreeMap::new();
    for name in layers {
        let Some(tensor) = weights.get_mut(name) else { continue };
        let count = (tensor.len() as f32 * share) as usize;
        let mut order: Vec<usize> = (0..tensor.len()).collect();
        order.sort_by(|a, b| tensor.data[*a].abs().total_cmp(&tensor.data[*b].abs()));
        let mut zero = vec![false; tensor.len()];
        for &i in &order[..count] {
            tensor.data[i] = 0.0;
            zero[i] = true;
        }
        zeros.insert(name.clone(), zero);
    }
    zeros
}

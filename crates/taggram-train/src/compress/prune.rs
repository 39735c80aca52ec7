//! Weights, or whole filters, taken away in steps, and the rest tuned after each; or dead filters
//! taken out at once, after which there is nothing to tune.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use taggram_model::{Artifact, Body, Op, Storage, Weights};

use super::dead::take_out;
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
    /// How much of it in the end, 0 … 1. Of no use to `dead`, nor are the other numbers but `below` and `int8`.
    pub share: f32,
    /// In how many steps: after step i of n, share · (1 − (1 − i/n)³) is gone (Zhu and Gupta, "To
    /// prune, or not to prune", 2017).
    pub steps: usize,
    /// Passes over the train songs after each step.
    pub epochs: usize,
    /// Step size of the tuning, in units of that of the model's own recipe.
    pub rate: f32,
    /// Whether what is left is stored as bytes with one scale a row; else as halves (`dead`: as it was).
    pub int8: bool,
    /// `dead`: filters are dead whose norm is at most so many times the largest of their layer.
    pub below: f32,
}

/// The largest [`Prune::below`]: a hundredth of a layer's largest filter is no longer nothing.
const MOST_BELOW: f32 = 0.01;

/// What is taken away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Take {
    /// Single weights, the smallest of each layer: the file becomes smaller.
    #[default]
    Weights,
    /// Whole filters and units: the network becomes smaller, and so faster.
    Filters,
    /// Filters and units whose weights are all but 0, so that they make a constant: it goes into the biases of
    /// what reads it, and the network says the same. Needs no songs and no tuning.
    Dead,
}

impl Default for Prune {
    fn default() -> Self {
        Self {
            take: Take::Weights,
            share: 0.8,
            steps: 4,
            epochs: 5,
            rate: 0.2,
            int8: false,
            below: 1e-5,
        }
    }
}

impl Prune {
    pub(super) fn check(&self, place: &str) -> Result<(), TrainError> {
        if !(0.0..=MOST_BELOW).contains(&self.below) {
            let message = format!(
                "below is {}; dead filters are those with at most 0 to {MOST_BELOW} times the norm of the largest",
                self.below
            );
            return Err(TrainError::malformed(place, message));
        }
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

/// Prunes `artifact`, tuning it on the train songs of its own recipe's split; what is dead is taken out without songs.
///
/// # Errors
/// A model without layers, without a recipe to tune it by, or of arithmetic that cannot be tuned;
/// no dataset to tune it on.
pub fn prune(
    artifact: &Artifact,
    dataset: Option<&Dataset>,
    recipe: &Prune,
    progress: &mut (dyn Progress + Send),
    notice: &mut dyn FnMut(&str),
) -> Result<Compressed, TrainError> {
    if recipe.take == Take::Dead {
        return prune_dead(artifact, recipe, notice);
    }
    let dataset = dataset
        .ok_or_else(|| cannot(artifact, "what is left of it is tuned on songs: give a dataset"))?;
    let filters = recipe.take == Take::Filters;
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
            if filters {
                return Err(cannot(
                    artifact,
                    "it is a dense classifier, which is small enough to be fast: take = \"weights\" makes its file smaller",
                ));
            }
            classifier_weights(artifact, dataset, recipe, notice)?
        }
    };
    let gone = 100.0 * recipe.share;
    let what = if filters {
        format!("{gone:.0} % of its filters were taken out.")
    } else {
        format!("{gone:.0} % of its weights are 0.")
    };
    sign(&mut made, &CompressRecipe::Prune(recipe.clone()), &what)?;
    let storage = match (filters, recipe.int8) {
        (false, true) => Storage::SparseInt8,
        (false, false) => Storage::SparseF16,
        (true, true) => Storage::Int8,
        (true, false) => Storage::F16,
    };
    Ok(Compressed { artifact: made, storage })
}

/// Takes the dead filters out of the network of `artifact`. Everything else of it — calibration, figures,
/// what it remembers of its songs — is kept, as it still says the same.
///
/// # Errors
/// A model without a network of its own, one that is quantised, and one without dead filters
/// that could go.
fn prune_dead(
    artifact: &Artifact,
    recipe: &Prune,
    notice: &mut dyn FnMut(&str),
) -> Result<Compressed, TrainError> {
    let Body::Network { network, quantisation, .. } = &artifact.description.body else {
        return Err(cannot(
            artifact,
            "it has no network of its own that filters could be taken out of",
        ));
    };
    if quantisation.is_some() {
        return Err(cannot(artifact, "it is quantised: prune first, then quantize"));
    }
    let (small, weights, layers) = take_out(network, &artifact.weights, recipe.below)?;
    let taken: usize = layers.iter().map(|layer| layer.taken).sum();
    for layer in &layers {
        let (name, filters) = (&layer.name, layer.filters);
        let left = filters - layer.taken;
        let held = match layer.dead - layer.taken {
            0 => String::new(),
            held => format!(
                ", {held} of them dead but needed for the shape of what reads them or for its edges"
            ),
        };
        notice(&format!("{name}: {left} of {filters} stay{held}"));
    }
    if taken == 0 {
        let why = if layers.is_empty() {
            format!(
                "there is nothing to take out: none of its filters is smaller than {:e} times the largest of its layer",
                recipe.below
            )
        } else {
            "there is nothing to take out: what reads its dead filters needs them".into()
        };
        return Err(cannot(artifact, why));
    }
    let (before, after) = (network.parameters()?, small.parameters()?);
    notice(&format!("{after} of {before} parameters are left"));
    let halves = artifact
        .weights
        .values()
        .flat_map(|t| &t.data)
        .all(|w| half::f16::from_f32(*w).to_f32() == *w);
    let mut made = artifact.clone();
    // What is beside the network's weights stays: it belongs to other parts of the model.
    for spec in network.weight_specs()? {
        made.weights.remove(&spec.name);
    }
    made.weights.extend(weights);
    if let Body::Network { network, .. } = &mut made.description.body {
        *network = small;
    }
    let did = format!(
        "{taken} dead filters were taken out ({after} of {before} parameters are left; it says the same)."
    );
    sign(&mut made, &CompressRecipe::Prune(recipe.clone()), &did)?;
    let storage = match (recipe.int8, halves) {
        (true, _) => Storage::Int8,
        (false, true) => Storage::F16,
        (false, false) => Storage::F32,
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
        if recipe.take == Take::Filters {
            // Of what the last step has left, so that the whole comes to `share`.
            let before = recipe.share_after(step - 1);
            (network, weights) = shrink(&network, &weights, 1.0 - (1.0 - share) / (1.0 - before))?;
        } else {
            zeros = smallest(&mut weights, &layers, share);
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

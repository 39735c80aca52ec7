//! What is left of a network after a cut learns to say again what the whole one said.

use std::collections::BTreeMap;

use taggram_model::{Artifact, Body, Calibration, Network, Weights};

use super::cannot;
use crate::dataset::Dataset;
use crate::error::TrainError;
use crate::fit::{Progress, Quiet, RunOptions, fit};
use crate::loss::TeacherLoss;
use crate::recipe::{Recipe, Select};
use crate::train::{calibrated, clips, labelled, says};

/// Name of the whole model as a teacher.
const WHOLE: &str = "whole";

/// The songs and the recipe that a cut model is tuned by.
pub(super) struct Tuner {
    recipe: Recipe,
    data: crate::fit::Data,
}

/// Leaves a recipe one teacher, the whole model, and no songs but those of the dataset.
fn taught_by_the_whole(recipe: &mut Recipe) {
    recipe.data.teachers.clear();
    recipe.data.genres_from.clear();
    recipe.data.by_patch.clear();
    recipe.data.unlabelled = None;
    recipe.loss.teachers =
        BTreeMap::from([(WHOLE.into(), TeacherLoss::Kl { weight: 1.0, temperature: 2.0 })]);
    recipe.fit.select = Select::Last;
    recipe.fit.patience = 0;
}

impl Tuner {
    /// Reads the train and validation songs of the recipe that is stored in `artifact`, and asks
    /// the whole model about the former.
    pub fn new(artifact: &Artifact, dataset: &Dataset) -> Result<Self, TrainError> {
        let Body::Network { .. } = &artifact.description.body else {
            return Err(cannot(artifact, "it has no network of its own to tune"));
        };
        let mut recipe = Recipe::parse(&artifact.description.recipe, "the model's recipe")
            .map_err(|_| {
                cannot(
                    artifact,
                    "it was not trained by `taggram train`, so it holds no recipe that what is left could be tuned by",
                )
            })?;
        taught_by_the_whole(&mut recipe);
        let split = labelled(&recipe, dataset)?;
        let whole = says(artifact, dataset, &split.train)?;
        let data = crate::fit::Data {
            train: clips(&recipe, dataset, &split.train, &[(WHOLE.into(), whole)])?,
            valid: clips(&recipe, dataset, &split.valid, &[])?,
            classes: dataset.genres.clone(),
            unlabelled: Vec::new(),
        };
        Ok(Self { recipe, data })
    }

    /// Tunes `weights` for some epochs with a step size `factor` times that of the recipe; weights
    /// that `zeros` names stay 0 where it says so.
    pub fn tune(
        &self,
        network: &Network,
        weights: Weights,
        zeros: BTreeMap<String, Vec<bool>>,
        (epochs, factor): (usize, f32),
        progress: Option<&mut (dyn Progress + Send)>,
    ) -> Result<Weights, TrainError> {
        if epochs == 0 {
            return Ok(weights);
        }
        let mut recipe = self.recipe.clone();
        recipe.fit.epochs = epochs;
        recipe.optimiser = recipe.optimiser.scaled(factor);
        recipe.schedule = crate::schedule::Schedule::default();
        let options = RunOptions { start: Some(weights), zeros, ..RunOptions::default() };
        let mut quiet = Quiet;
        let progress = progress.unwrap_or(&mut quiet);
        Ok(fit(network, &self.data, &recipe, &options, progress)?.weights)
    }

    /// The temperature for the tuned network and its figures on the validation songs.
    pub fn calibrate(
        &self,
        network: &Network,
        weights: &Weights,
    ) -> Result<(Calibration, BTreeMap<String, f64>), TrainError> {
        let (calibration, valid) = calibrated(network, weights, &self.recipe, &self.data)?;
        let metrics = valid.map(|m| {
            BTreeMap::from([
                ("valid_accuracy".to_string(), m.accuracy),
                ("valid_log_loss".to_string(), m.log_loss),
            ])
        });
        Ok((calibration, metrics.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_models_own_recipe_can_tune_it() {
        let text = include_str!("../../../../recipes/default.toml");
        let mut recipe = Recipe::parse(text, "default.toml").unwrap();
        taught_by_the_whole(&mut recipe);
        recipe.check().unwrap();
    }
}

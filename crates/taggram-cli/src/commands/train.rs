//! `taggram train`: a recipe and a dataset in, a model out.

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use taggram_model::Storage;
use taggram_train::dataset::Dataset;
use taggram_train::fit::{Ended, RunOptions, Terminal};
use taggram_train::recipe::Recipe;
use taggram_train::train::known_share;
use taggram_train::train_classifier::{HeadRecipe, train_classifier};

use crate::Outcome;
use crate::args::{Backend, Train};
use crate::work::stop_on_signal;

/// The model that a run makes, in the run's folder.
const MODEL_FILE: &str = "model.safetensors";

pub fn run(arguments: &Train) -> anyhow::Result<Outcome> {
    if let Some(recipe) = HeadRecipe::load(&arguments.recipe)? {
        return head(arguments, recipe);
    }
    let backend: taggram_train::grad::Backend = arguments.backend.into();
    // Before songs are read, which takes a while.
    backend.check()?;
    let text = std::fs::read_to_string(&arguments.recipe)
        .with_context(|| format!("{} could not be read", arguments.recipe.display()))?;
    let place = arguments.recipe.display().to_string();
    let mut recipe = Recipe::parse_with(&text, &place, &arguments.replaced)?;
    if let Some(seed) = arguments.seed {
        recipe.fit.seed = seed;
    }
    let mut dataset = Dataset::open(&arguments.data)?;
    let name = name_of(&arguments.recipe);
    std::fs::create_dir_all(&arguments.out)
        .with_context(|| format!("the folder {} could not be made", arguments.out.display()))?;
    let options = RunOptions {
        folder: Some(arguments.out.clone()),
        resume: arguments.resume,
        threads: arguments.jobs.map_or(0, usize::from),
        backend,
        stop: stop_on_signal("stopping after this update; once more to quit at once")?,
        ..RunOptions::default()
    };
    let mut progress = Terminal::default();
    let strangers = dataset.take_out(&recipe.data.without)?;
    let made = taggram_train::train::train(
        &name,
        &recipe,
        &dataset,
        &options,
        &mut progress,
        &mut |notice| eprintln!("{notice}"),
    )?;
    if !strangers.is_empty() {
        let known = known_share(&made.artifact, &dataset, &strangers)?;
        eprintln!(
            "of {} songs of {}, which it has not met, it calls {:.1} % unknown",
            strangers.len(),
            recipe.data.without.join(", "),
            100.0 * (1.0 - known)
        );
    }
    let path = arguments.out.join(MODEL_FILE);
    let bytes = made.artifact.write(Storage::F16)?;
    taggram_train::files::write_whole(&path, |file| file.write_all(&bytes))?;
    if made.trained.ended == Ended::Stopped {
        eprintln!("stopped; `--resume` goes on after epoch {}", made.trained.history.len());
    }
    if let Some(valid) = &made.valid {
        eprintln!(
            "epoch {} is kept: validation accuracy {:.1} %, log loss {:.3}, temperature {:.2}",
            made.trained.best_epoch,
            100.0 * valid.accuracy,
            valid.log_loss,
            made.artifact.description.calibration.temperature
        );
    }
    println!("{}", path.display());
    Ok(Outcome::Done)
}

/// The recipe is one of a classifier on rows, not of a network.
fn head(arguments: &Train, mut recipe: HeadRecipe) -> anyhow::Result<Outcome> {
    if !arguments.replaced.is_empty() {
        anyhow::bail!("--set changes the recipe of a network, and this is one of a classifier");
    }
    if arguments.backend != Backend::Own {
        anyhow::bail!("--backend is for a network's recipe, and this is one of a classifier");
    }
    if arguments.resume {
        anyhow::bail!("a classifier is trained in one go: there is nothing to resume");
    }
    if let Some(seed) = arguments.seed {
        recipe.data.seed = seed;
    }
    let dataset = Dataset::open(&arguments.data)?;
    std::fs::create_dir_all(&arguments.out)
        .with_context(|| format!("the folder {} could not be made", arguments.out.display()))?;
    let artifact = train_classifier(
        &name_of(&arguments.recipe),
        &recipe,
        &dataset,
        arguments.jobs.map_or(0, usize::from),
        &mut |notice| eprintln!("{notice}"),
    )?;
    let path = arguments.out.join(MODEL_FILE);
    // Borders between trees' questions are exact numbers: half precision would move them.
    let bytes = artifact.write(Storage::F32)?;
    taggram_train::files::write_whole(&path, |file| file.write_all(&bytes))?;
    println!("{}", path.display());
    Ok(Outcome::Done)
}

/// A model is called after its recipe.
fn name_of(recipe: &Path) -> String {
    recipe.file_stem().map_or_else(|| "model".into(), |s| s.to_string_lossy().into_owned())
}

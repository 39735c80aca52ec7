//! `taggram compress`: a model in, a smaller one out.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use taggram_train::compress::{self, CompressRecipe, Compressed};
use taggram_train::dataset::Dataset;
use taggram_train::fit::{RunOptions, Terminal};

use crate::Outcome;
use crate::work::stop_on_signal;

#[derive(Debug, Args)]
pub struct Compress {
    /// Model: a name (`taggram model list`) or a .safetensors file
    #[arg(value_name = "NAME|FILE")]
    pub model: String,
    /// Where the smaller model is written
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// How, with its usual numbers
    #[arg(long, value_enum, conflicts_with = "recipe", required_unless_present = "recipe")]
    pub method: Option<Method>,
    /// How, with numbers of your own: a recipe (.toml) with `method = "…"`
    #[arg(long, value_name = "RECIPE")]
    pub recipe: Option<PathBuf>,
    /// Dataset whose train songs show the ranges of values, or are learnt from
    #[arg(long, value_name = "DATASET")]
    pub data: Option<PathBuf>,
}

/// Ways to compress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// Bytes for weights and values: smaller and faster, nothing is trained
    Quantize,
    /// The smallest weights become 0, the others are tuned: a smaller file (recipes can also take out whole
    /// filters, or those that are dead, which needs no dataset)
    Prune,
    /// A small student learns what the model says: smaller and faster
    Distill,
}

pub fn run(arguments: &Compress) -> anyhow::Result<Outcome> {
    let recipe = match (&arguments.recipe, arguments.method) {
        (Some(path), _) => CompressRecipe::load(path)?,
        (None, Some(Method::Quantize)) => CompressRecipe::usual("quantize")?,
        (None, Some(Method::Prune)) => CompressRecipe::usual("prune")?,
        (None, _) => CompressRecipe::usual("distill")?,
    };
    let artifact = taggram::artifact(&arguments.model)?;
    let mut dataset = match &arguments.data {
        Some(path) => Some(Dataset::open(path)?),
        None => None,
    };
    let genres = artifact.description.answer == taggram_model::Answer::Genres;
    if let (Some(dataset), true) = (&mut dataset, genres) {
        dataset.use_genres(&artifact.description.labels)?;
    }
    let mut notice = |text: &str| eprintln!("{text}");
    let mut progress = Terminal::default();
    let Compressed { artifact, storage } = match &recipe {
        CompressRecipe::Quantize(recipe) => {
            compress::quantize(&artifact, dataset.as_ref(), recipe, &mut notice)?
        }
        CompressRecipe::Prune(recipe) => {
            compress::prune(&artifact, dataset.as_ref(), recipe, &mut progress, &mut notice)?
        }
        CompressRecipe::Distill(recipe) => {
            let dataset = dataset.as_ref().ok_or_else(|| {
                anyhow::anyhow!("the student learns from songs: name a dataset with --data")
            })?;
            let name = arguments.out.file_stem().map_or("student".into(), |s| s.to_string_lossy());
            let options = RunOptions {
                stop: stop_on_signal("stopping after this update; once more to quit at once")?,
                ..RunOptions::default()
            };
            compress::distill(
                &artifact,
                &arguments.model,
                &name,
                dataset,
                recipe,
                &options,
                &mut progress,
                &mut notice,
            )?
        }
    };
    let bytes = artifact.write(storage)?;
    taggram_train::files::write_whole(&arguments.out, |file| file.write_all(&bytes))?;
    println!("{} {} bytes", arguments.out.display(), bytes.len());
    Ok(Outcome::Done)
}

//! `taggram dataset`: what is wrong with a dataset, and its feature maps in one file.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use taggram_audio::Excerpt;
use taggram_train::dataset::{self, CheckOptions, Dataset, ExtractOptions};
use taggram_train::recipe::Recipe;

use crate::Outcome;
use crate::work::progress_bar;

#[derive(Debug, Args)]
pub struct DatasetArguments {
    #[command(subcommand)]
    pub task: Task,
}

#[derive(Debug, Subcommand)]
pub enum Task {
    /// Look for what is wrong with a dataset; exit status 1 when anything is
    Check(Check),
    /// Compute the feature maps that a recipe's front-end makes, once for all trainings
    Extract(Extract),
}

#[derive(Debug, Args)]
pub struct Check {
    /// Dataset: a folder of genre folders, a table of paths and labels, or a feature cache
    pub dataset: PathBuf,
    /// Splits whose sides are compared [default: all that have lists]
    #[arg(long, value_name = "NAME")]
    pub split: Vec<String>,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t = ReportForm::Text)]
    pub format: ReportForm,
    /// Files to work on at once [default: one a processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
}

#[derive(Debug, Args)]
pub struct Extract {
    /// Dataset with audio: a folder of genre folders, or a table of paths and labels
    pub dataset: PathBuf,
    /// Recipe (.toml) whose front-end is used
    #[arg(long, value_name = "RECIPE")]
    pub recipe: PathBuf,
    /// Folder for the feature cache
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Part of each song: full, or middle:SECONDS
    #[arg(long, value_name = "PART", default_value = "full", value_parser = crate::args::excerpt)]
    pub excerpt: Excerpt,
    /// Files to work on at once [default: one a processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
}

/// Form of the findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportForm {
    /// Lines for people
    Text,
    /// One JSON object
    Json,
}

pub fn run(arguments: &DatasetArguments) -> anyhow::Result<Outcome> {
    match &arguments.task {
        Task::Check(arguments) => check(arguments),
        Task::Extract(arguments) => extract(arguments),
    }
}

fn check(arguments: &Check) -> anyhow::Result<Outcome> {
    let dataset = Dataset::open(&arguments.dataset)?;
    let options = CheckOptions {
        splits: arguments.split.clone(),
        jobs: arguments.jobs.map_or(0, usize::from),
    };
    let bar = progress_bar(dataset.len());
    let report = dataset::check(&dataset, &options, &|_| bar.inc(1))?;
    bar.finish_and_clear();
    let text = match arguments.format {
        ReportForm::Text => report.to_text(),
        ReportForm::Json => serde_json::to_string_pretty(&report)? + "\n",
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(if report.findings.is_empty() { Outcome::Done } else { Outcome::SomeFailed })
}

fn extract(arguments: &Extract) -> anyhow::Result<Outcome> {
    let recipe = Recipe::load(&arguments.recipe)?;
    let dataset = Dataset::open(&arguments.dataset)?;
    let middle_s = match arguments.excerpt {
        Excerpt::Middle { seconds } => Some(seconds),
        _ => None,
    };
    let options = ExtractOptions { middle_s, jobs: arguments.jobs.map_or(0, usize::from) };
    let bar = progress_bar(dataset.len());
    let made =
        dataset::extract_cache(&dataset, &recipe.front_end, &arguments.out, options, &|_| {
            bar.inc(1)
        })?;
    bar.finish_and_clear();
    for (id, why) in &made.failed {
        eprintln!("taggram: {id}: {why}");
    }
    eprintln!("{} tracks, {} failed", made.ids.len(), made.failed.len());
    println!("{}", made.array.display());
    Ok(if made.failed.is_empty() { Outcome::Done } else { Outcome::SomeFailed })
}

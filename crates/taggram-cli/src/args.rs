//! What can be typed. Each flag is defined here once; help is generated from it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use taggram::{Decide, Excerpt};

/// Tells the genre of music, and how it unfolds over time.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100, disable_help_subcommand = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Tell the genre of files, and of all audio in folders
    Classify(Classify),
    /// Draw the taggram of a file: genre × time, with the spectrogram and the verdict
    Show(Show),
    /// Train a model from a recipe
    Train(Train),
    /// Make a model smaller and faster: integers, fewer weights, or a small student
    Compress(crate::commands::compress::Compress),
    /// Tell the tags of files and how they unfold, or what any layer of the network holds
    Tags(crate::commands::tags::Tags),
    /// List, install and remove models
    Model(crate::commands::model::Model),
    /// Measure a model on a dataset under an honest protocol
    Evaluate(Evaluate),
    /// Put evaluation reports side by side
    Compare(crate::commands::compare::Compare),
    /// Describe audio by numbers: a table of features
    Features(crate::commands::features::Features),
    /// Find the songs nearest to one
    Similar(crate::commands::similar::Similar),
    /// Check a dataset, or compute its feature maps
    Dataset(crate::commands::dataset::DatasetArguments),
    /// Classify a whole library once and remember it; again: only what is new or changed
    Scan(crate::commands::scan::Scan),
    /// Write the genres of a scanned library into its files, or take that back
    Tag(crate::commands::tag::Tag),
    /// Write a scanned library as a table or as playlists
    Export(crate::commands::export::Export),
    /// Tell what a scanned library is made of
    Stats(crate::commands::stats::StatsArguments),
    /// Give tracks to workers on many machines, and tell how they stand
    Submit(crate::commands::submit::Submit),
    /// Work for a run: take jobs from a queue, write answers as Parquet parts
    Worker(crate::commands::worker::Worker),
    /// Answer over HTTP, and show a page where one drops a song
    Serve(crate::commands::serve::Serve),
    /// Turn audio into WAV or FLAC, sample by sample
    Convert(crate::commands::convert::Convert),
    /// Serve a folder as HTTP Live Streaming, or listen to any stream
    Hls(crate::commands::hls::HlsArguments),
}

/// Which model listens, and to what.
#[derive(Args, Clone, Debug)]
pub struct Hearing {
    /// Model: a name (`taggram model list`) or a .safetensors file
    #[arg(long, value_name = "NAME|FILE", default_value = taggram::DEFAULT_NAME)]
    pub model: String,
    #[command(flatten)]
    pub listening: Listening,
}

/// How a model listens to a song.
#[derive(Args, Clone, Debug)]
pub struct Listening {
    /// Part of each song to listen to: full, or middle:SECONDS
    #[arg(long, value_name = "PART", default_value = "full", value_parser = excerpt)]
    pub excerpt: Excerpt,
    /// How the windows of a song agree on its genre
    #[arg(long, value_enum, default_value_t = DecideBy::Mean)]
    pub decide: DecideBy,
}

#[derive(Debug, Args)]
pub struct Classify {
    /// Audio files, and folders to search for them
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    #[command(flatten)]
    pub hearing: Hearing,
    /// Name the nearest genre even where the answer would be `unknown`: silence, and what is unlike all music
    /// that the model has learnt
    #[arg(long)]
    pub nearest: bool,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Genres to name for each file [default: 3 in text, all in json and csv]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub top: Option<u16>,
    /// Files to work on at once [default: one a processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
}

#[derive(Debug, Args)]
pub struct Show {
    /// Audio file
    pub file: PathBuf,
    #[command(flatten)]
    pub hearing: Hearing,
    /// Where to write it; the ending tells the form: .png, .svg, .json or .csv
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

#[derive(Debug, Args)]
pub struct Train {
    /// Recipe (.toml) that holds every number of the training
    pub recipe: PathBuf,
    /// Dataset: a folder of genre folders, a table of paths and labels, or a feature cache
    #[arg(long, value_name = "DATASET")]
    pub data: PathBuf,
    /// Folder for the model, its curves and checkpoints
    #[arg(long, value_name = "RUN")]
    pub out: PathBuf,
    /// Go on from the last checkpoint in RUN
    #[arg(long)]
    pub resume: bool,
    /// Seed to use instead of the recipe's
    #[arg(long)]
    pub seed: Option<u64>,
    /// Value to use instead of the recipe's, e.g. --set fit.epochs=3 (a network's recipe; repeatable)
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub replaced: Vec<(String, String)>,
    /// Threads to use [default: one a processor]; the weights do not depend on it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
    /// What computes the passes (of a network's recipe)
    #[arg(long, value_enum, default_value_t = Backend::Own)]
    pub backend: Backend,
}

/// What computes a training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// This program, on the processor
    Own,
    /// libtorch, on a GPU when there is one; needs a build with the feature `libtorch`
    Libtorch,
}

impl From<Backend> for taggram_train::grad::Backend {
    fn from(backend: Backend) -> Self {
        match backend {
            Backend::Own => Self::Own,
            Backend::Libtorch => Self::Libtorch,
        }
    }
}

/// `KEY=VALUE`.
pub fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("KEY=VALUE is needed, e.g. fit.epochs=3")?;
    Ok((key.trim().to_string(), value.trim().to_string()))
}

#[derive(Debug, Args)]
pub struct Evaluate {
    /// Model: a name or a .safetensors file; or the recipe (.toml) of a classifier of a table or of a
    /// network, which is learnt first
    #[arg(value_name = "MODEL|RECIPE")]
    pub model: String,
    /// Dataset: a folder of genre folders, a table of paths and labels, or a feature cache
    #[arg(long, value_name = "DATASET")]
    pub data: PathBuf,
    #[command(flatten)]
    pub hearing: Listening,
    /// Split whose test songs are scored: fault-filtered, strict, random-song, all; random-segment
    /// scores windows instead (leaky)
    #[arg(long, value_name = "NAME", default_value = "fault-filtered")]
    pub split: String,
    #[command(flatten)]
    pub learning: crate::commands::evaluate_recipe::Learning,
    /// Folder for the report
    #[arg(long, value_name = "REPORT")]
    pub out: PathBuf,
}

/// Form of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Lines for people
    Text,
    /// One JSON object a line
    Json,
    /// A table
    Csv,
}

/// How windows agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DecideBy {
    /// Mean of the windows' probabilities
    Mean,
    /// Each window votes
    Majority,
}

impl From<DecideBy> for Decide {
    fn from(by: DecideBy) -> Self {
        match by {
            DecideBy::Mean => Decide::Mean,
            DecideBy::Majority => Decide::Majority,
        }
    }
}

/// `full` or `middle:SECONDS`.
pub fn excerpt(text: &str) -> Result<Excerpt, String> {
    text.parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn excerpts() {
        assert!(matches!(excerpt("full"), Ok(Excerpt::Full)));
        assert!(matches!(excerpt("middle:7"), Ok(Excerpt::Middle { seconds }) if seconds == 7.0));
        for wrong in ["", "middle", "middle:", "middle:-1", "middle:nan", "start:3"] {
            assert!(excerpt(wrong).is_err(), "{wrong} was taken");
        }
    }
}

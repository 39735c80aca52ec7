//! `taggram evaluate RECIPE.toml`: a classifier that is learnt and tested, in one split or in folds.

use std::path::Path;

use clap::{Args, ValueEnum};
use taggram_train::classifiers::ClassifierRecipe;
use taggram_train::dataset::{Dataset, Group, Split};
use taggram_train::error::TrainError;
use taggram_train::evaluate::{
    Heard, SongClassifier, TableClassifier, cross_validate, evaluate, table_recipe,
};
use taggram_train::fit::{RunOptions, Terminal};
use taggram_train::recipe::Recipe;
use taggram_train::report::ReportInfo;
use taggram_train::train::train_split;
use taggram_train::train_classifier::{HeadRecipe, Input, cross_validate_classifier};

use crate::Outcome;
use crate::args::Evaluate;

/// What only matters when a recipe is evaluated.
#[derive(Args, Clone, Debug)]
pub struct Learning {
    /// With a recipe: cross-validate over all songs in K folds, instead of one split
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u16).range(2..=1000))]
    pub cv: Option<u16>,
    /// With --cv: whose songs must stay on one side
    #[arg(long, value_enum, default_value_t = Together::Artist)]
    pub group: Together,
    /// With a recipe: seed of the folds and of the training
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// With a network's recipe: value to use instead of the recipe's, e.g. --set fit.epochs=3
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = crate::args::key_and_value)]
    pub replaced: Vec<(String, String)>,
}

/// What stays on one side of a fold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Together {
    /// The songs of an artist
    Artist,
    /// The segments of a song
    Song,
}

pub fn run(arguments: &Evaluate) -> anyhow::Result<Outcome> {
    let path = Path::new(&arguments.model);
    let head = HeadRecipe::load(path)?.filter(|r| matches!(r.input, Input::Layer { .. }));
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let dataset = Dataset::open(&arguments.data)?;
    let Learning { cv, group, seed, .. } = arguments.learning;
    let replaced: String = arguments
        .learning
        .replaced
        .iter()
        .map(|(key, value)| format!(" --set '{key}={value}'"))
        .collect();
    let mut info = ReportInfo {
        command: format!(
            "taggram evaluate {} --data {} {} --seed {seed}{replaced} --out {}",
            arguments.model,
            arguments.data.display(),
            cv.map_or_else(
                || format!("--split {}", arguments.split),
                |k| format!("--cv {k} --group {}", if group == Together::Artist { "artist" } else { "song" })
            ),
            arguments.out.display()
        ),
        model_hash: "none: learnt from the recipe for this report".into(),
        dataset: arguments.data.display().to_string(),
        notes: vec!["Each classifier learnt from the train side alone; nothing was chosen by the test side.".into()],
    };
    if head.is_some() && !replaced.is_empty() {
        anyhow::bail!("--set changes the recipe of a network, and this is one of a classifier");
    }
    if head.is_some() && cv.is_none() {
        anyhow::bail!(
            "{}: a head on a network's layer is learnt within an evaluation only with --cv K; for a split, `taggram train` it and evaluate the model",
            path.display()
        );
    }
    if let Some(k) = cv {
        let group = if group == Together::Artist { Group::Artist } else { Group::Song };
        if group == Group::Artist {
            let all: Vec<usize> = (0..dataset.len()).collect();
            for (genre, artist) in dataset.lone_artists(&all) {
                let note = format!(
                    "Every song of {genre} is by {artist}: these are split by song, which flatters their figures."
                );
                eprintln!("{note}");
                info.notes.push(note);
            }
        }
        let crossed = if let Some(recipe) = &head {
            let folds = (usize::from(k), group, seed);
            cross_validate_classifier(&name, recipe, &dataset, folds, 0, &mut |message| {
                eprintln!("{message}");
            })?
        } else {
            let learner = Learner::load(path, &arguments.learning)?;
            let all: Vec<usize> = (0..dataset.len()).collect();
            cross_validate(&dataset, &all, usize::from(k), group, seed, |_, split| {
                learner.learn(&name, &dataset, split, seed)
            })?
        };
        let (mean, deviation) = crossed.accuracy();
        let note = format!(
            "Accuracy of the {k} folds: mean {:.1} %, standard deviation {:.1} points.",
            100.0 * mean,
            100.0 * deviation
        );
        eprintln!("{note}");
        info.notes.push(note);
        return super::evaluate::finish(&arguments.out, &info, &[crossed.pooled]);
    }
    let learner = Learner::load(path, &arguments.learning)?;
    let protocols = match arguments.split.as_str() {
        "fault-filtered" => vec!["fault-filtered", "strict"],
        other => vec![other],
    };
    let split = dataset.split(protocols[0])?;
    if split.train.is_empty() {
        anyhow::bail!("the split `{}` has no train side to learn from", arguments.split);
    }
    let classifier = learner.learn(&name, &dataset, &split, seed)?;
    let evaluations = evaluate(&dataset, classifier.as_ref(), &protocols, &|| ())?;
    super::evaluate::finish(&arguments.out, &info, &evaluations)
}

/// What can be learnt within an evaluation.
enum Learner {
    Table(ClassifierRecipe),
    Network(Box<Recipe>),
}

impl Learner {
    fn load(path: &Path, learning: &Learning) -> anyhow::Result<Self> {
        if HeadRecipe::load(path)?.is_some() {
            if !learning.replaced.is_empty() {
                anyhow::bail!(
                    "--set changes the recipe of a network, and this is one of a classifier"
                );
            }
            return Ok(Self::Table(table_recipe(path)?));
        }
        let text = std::fs::read_to_string(path)?;
        let place = path.display().to_string();
        Ok(Self::Network(Box::new(Recipe::parse_with(&text, &place, &learning.replaced)?)))
    }

    fn learn(
        &self,
        name: &str,
        dataset: &Dataset,
        split: &Split,
        seed: u64,
    ) -> Result<Box<dyn SongClassifier>, TrainError> {
        let recipe = match self {
            Self::Table(recipe) => {
                let learnt = TableClassifier::fit(name, recipe, dataset, &split.train, seed)?;
                return Ok(Box::new(learnt));
            }
            Self::Network(recipe) => recipe,
        };
        let mut recipe = recipe.clone();
        recipe.fit.seed = seed;
        let made = train_split(
            name,
            &recipe,
            dataset,
            split,
            &RunOptions::default(),
            &mut Terminal::default(),
            &mut |notice| eprintln!("{}: {notice}", split.name),
        )?;
        Ok(Box::new(Heard::new(made.artifact)?))
    }
}

//! `taggram tag`: genres from the index into the files, on request and with a way back.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use taggram_library::LibraryError;
use taggram_library::tags::{self, Journal, Policy, Rules, Undone, Verdict, Vocabulary};

use super::library::{Where, optional_root, root};
use crate::Outcome;

#[derive(Debug, Args)]
pub struct Tag {
    /// Folder of music (or a single file) that was scanned; with --undo all of the last run if none is given
    #[arg(value_name = "LIBRARY", required_unless_present = "undo")]
    pub library: Option<PathBuf>,
    #[command(flatten)]
    pub index: Where,
    /// Write; without it, what would be written is shown and nothing is touched
    #[arg(long)]
    pub write: bool,
    /// Which files get a genre
    #[arg(long, value_enum, default_value_t = When::Missing)]
    pub when: When,
    /// Least probability of a genre that is written, 0…1
    #[arg(long, value_name = "P", default_value_t = 0.5, value_parser = probability)]
    pub threshold: f32,
    /// Most genres a file gets
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub top: u16,
    /// Your own words: a TOML file of lines such as `hiphop = "Hip-Hop"`; an empty word is never written
    #[arg(long, value_name = "FILE")]
    pub vocabulary: Option<PathBuf>,
    /// Take the last run back: its files become byte for byte what they were
    #[arg(long, conflicts_with = "write")]
    pub undo: bool,
}

/// Which files get a genre.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// Those without one
    Missing,
    /// Also those that say something else
    Different,
    /// All, even to change only how it is written
    Always,
}

/// A probability.
pub fn probability(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(p) if (0.0..=1.0).contains(&p) => Ok(p),
        _ => Err("a number from 0 to 1 is needed".to_string()),
    }
}

pub fn run(arguments: &Tag) -> anyhow::Result<Outcome> {
    if arguments.undo {
        return undo(arguments);
    }
    let index = arguments.index.existing()?;
    let library = optional_root(arguments.library.as_ref())?;
    let rules = Rules {
        policy: match arguments.when {
            When::Missing => Policy::Missing,
            When::Different => Policy::Different,
            When::Always => Policy::Always,
        },
        threshold: arguments.threshold,
        top: usize::from(arguments.top),
        vocabulary: match &arguments.vocabulary {
            Some(path) => Vocabulary::load(path)?,
            None => Vocabulary::default(),
        },
    };
    let mut tracks = Vec::new();
    index.tracks::<LibraryError>(library.as_deref(), false, |track| {
        tracks.push(track);
        Ok(())
    })?;
    let Some(first) = tracks.first() else {
        anyhow::bail!("the index has no track there; `taggram scan` comes first");
    };
    for name in rules.vocabulary.unknown(&first.labels) {
        eprintln!("taggram: the vocabulary names \"{name}\", which is no genre of {}", first.model);
    }
    let journal =
        if arguments.write { Some(Journal::open(&Journal::beside(index.path()))?) } else { None };
    let run = journal.as_ref().map(Journal::begin).transpose()?;
    let (mut changed, mut kept, mut unsure, mut failed) = (0usize, 0usize, 0usize, 0usize);
    let mut out = std::io::stdout().lock();
    for track in &tracks {
        let done = tags::plan(track, &rules).and_then(|verdict| {
            if let (Verdict::Change(change), Some(journal), Some(run)) = (&verdict, &journal, run) {
                tags::write(&index, journal, run, change)?;
            }
            Ok(verdict)
        });
        match done {
            Ok(Verdict::Change(change)) => {
                changed += 1;
                let old = if change.before.is_empty() {
                    "(none)".into()
                } else {
                    change.before.join("; ")
                };
                writeln!(
                    out,
                    "{}\n  - {old}\n  + {}  ({:.0} %)",
                    change.path.display(),
                    change.after.join("; "),
                    100.0 * change.confidence
                )?;
            }
            Ok(Verdict::Keep(_)) => kept += 1,
            Ok(Verdict::Unsure) => unsure += 1,
            Err(error) => {
                failed += 1;
                eprintln!("taggram: {error}");
            }
        }
    }
    let what = if arguments.write { "tagged" } else { "would be tagged (--write does it)" };
    eprintln!(
        "{changed} {what} · {kept} left as they are · {unsure} less sure than {:.0} % · {failed} failed",
        100.0 * rules.threshold
    );
    if let Some(journal) = journal.filter(|_| changed > 0) {
        eprintln!(
            "the way back: taggram tag --undo ({:.1} KB in {})",
            journal.bytes()? as f64 / 1e3,
            Journal::beside(index.path()).display()
        );
    }
    Ok(if failed == 0 { Outcome::Done } else { Outcome::SomeFailed })
}

fn undo(arguments: &Tag) -> anyhow::Result<Outcome> {
    let path = arguments.index.path()?;
    let journal_path = Journal::beside(&path);
    if !journal_path.is_file() {
        anyhow::bail!("there is no undo journal {}", journal_path.display());
    }
    // The way back must not depend on a sound index.
    let index = arguments.index.existing().map_err(|e| eprintln!("taggram: {e:#}")).ok();
    let library = arguments.library.as_deref().map(root).transpose()?;
    let journal = Journal::open(&journal_path)?;
    let (mut restored, mut refused) = (0usize, 0usize);
    journal.undo(library.as_deref(), index.as_ref(), |path, undone| match undone {
        Undone::Restored => {
            restored += 1;
            println!("{}  restored", path.display());
        }
        Undone::AsBefore => println!("{}  is as it was", path.display()),
        Undone::Refused(why) => {
            refused += 1;
            eprintln!("taggram: {}: {why}", path.display());
        }
    })?;
    eprintln!("{restored} restored · {refused} left alone");
    Ok(if refused == 0 { Outcome::Done } else { Outcome::SomeFailed })
}

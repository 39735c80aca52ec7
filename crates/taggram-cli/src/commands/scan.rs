//! `taggram scan`: a library classified once and remembered.

use std::collections::HashMap;
use std::io::{IsTerminal, stderr};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use taggram_library::scan::{Event, Options, Outcome as Done, Summary, scan, watch};
use taggram_library::{Analyst, Index, Listening};

use super::library::{Where, is_damaged, root};
use crate::Outcome;
use crate::work::{processors, stop_on_signal};

/// Genres named in the live display.
const SHOWN: usize = 5;

#[derive(Debug, Args)]
pub struct Scan {
    /// Folders of music (or single files)
    #[arg(required = true, value_name = "LIBRARY")]
    pub libraries: Vec<PathBuf>,
    #[command(flatten)]
    pub index: Where,
    /// Model: a name (`taggram model list`) or a .safetensors file
    #[arg(long, value_name = "NAME|FILE", default_value = taggram::DEFAULT_NAME)]
    pub model: String,
    /// Listen to all of each track, not to three windows spread over it
    #[arg(long)]
    pub thorough: bool,
    /// Name the nearest genre even of tracks that the model does not know
    #[arg(long)]
    pub nearest: bool,
    /// Try files again that failed before
    #[arg(long)]
    pub retry: bool,
    /// Go on: follow the library and take up what is added or changed, until Ctrl-C
    #[arg(long)]
    pub watch: bool,
    /// Forget files that are no longer there (a disk that is not mounted included)
    #[arg(long)]
    pub prune: bool,
    /// Set a damaged index aside and begin a new one
    #[arg(long)]
    pub rebuild: bool,
    /// Files to work on at once [default: one a processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
}

pub fn run(arguments: &Scan) -> anyhow::Result<Outcome> {
    let listening = if arguments.thorough { Listening::Thorough } else { Listening::Spread };
    let roots = arguments
        .libraries
        .iter()
        .map(|path| path.canonicalize().with_context(|| format!("there is no {}", path.display())))
        .collect::<anyhow::Result<Vec<PathBuf>>>()?;
    let mut index = open(arguments)?;
    let mut analyst = Analyst::new(&arguments.model, listening)?;
    if arguments.nearest {
        analyst = analyst.naming_the_nearest();
    }
    let options = Options {
        jobs: arguments.jobs.map_or_else(processors, usize::from),
        retry: arguments.retry,
    };
    let stop = stop_on_signal("stopping; what was heard is kept. Once more to quit at once")?;
    let mut display = Display::new(analyst.model().labels());
    let summary =
        scan(&mut index, &analyst, &roots, options, &stop, &mut |event| display.show(event))?;
    display.close(&summary);
    if arguments.prune && !summary.stopped {
        let forgotten = index.forget_gone()?;
        eprintln!("{forgotten} files that are no longer there were forgotten");
    }
    let mut failed = summary.failed + summary.still_failed;
    if arguments.watch && !summary.stopped {
        eprintln!("following {}; Ctrl-C ends it", files(&roots));
        watch::follow(&roots, &stop, |paths| {
            let paths: Vec<PathBuf> = paths.iter().filter_map(|path| root(path).ok()).collect();
            let display = Display::new(analyst.model().labels());
            let again = Options { retry: true, ..options };
            let summary = scan(&mut index, &analyst, &paths, again, &stop, &mut |event| {
                display.follow(event);
            })?;
            failed += summary.failed;
            Ok(())
        })?;
    }
    Ok(if failed == 0 { Outcome::Done } else { Outcome::SomeFailed })
}

fn open(arguments: &Scan) -> anyhow::Result<Index> {
    let path = arguments.index.path()?;
    let opened = Index::open(&path);
    if !arguments.rebuild || !opened.as_ref().is_err_and(is_damaged) {
        return Ok(opened?);
    }
    let (index, aside) = Index::rebuild(&path)?;
    if let Some(aside) = aside {
        eprintln!("the damaged index was set aside as {}", aside.display());
    }
    Ok(index)
}

fn files(roots: &[PathBuf]) -> String {
    taggram_library::display(roots)
}

/// What a person sees while it runs: a line that changes on a terminal, only what matters elsewhere.
struct Display {
    bar: ProgressBar,
    begun: Instant,
    genres: HashMap<String, usize>,
    labels: Vec<String>,
    failed: usize,
}

impl Display {
    fn new(labels: &[String]) -> Self {
        let bar = if stderr().is_terminal() {
            let style = ProgressStyle::with_template(
                "{bar:24} {pos}/{len} · {per_sec} · {eta} left · {msg}",
            );
            ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        } else {
            ProgressBar::hidden()
        };
        Self {
            bar,
            begun: Instant::now(),
            genres: HashMap::new(),
            labels: labels.to_vec(),
            failed: 0,
        }
    }

    fn show(&mut self, event: &Event<'_>) {
        match event {
            Event::Found { work, all, .. } => {
                self.bar.set_length(*work as u64);
                let walking = if *all { "" } else { " · still looking for files" };
                let failed = match self.failed {
                    0 => String::new(),
                    n => format!(" · {n} failed"),
                };
                self.bar.set_message(format!("{}{failed}{walking}", self.top()));
            }
            Event::File(path, done) => {
                self.bar.inc(1);
                match done {
                    Done::Heard(answer) => self.count(answer.genre),
                    Done::Recognised => {}
                    Done::Failed(why) => self.say(&format!("{}: {why}", path.display())),
                    Done::InFlux => self.bar.suspend(|| {
                        eprintln!(
                            "taggram: {}: it changed while it was read; the next scan takes it up",
                            path.display()
                        );
                    }),
                }
            }
            Event::Unreadable(path, why) => self.say(&format!("{}: {why}", path.display())),
        }
    }

    /// While following: a line for every file.
    fn follow(&self, event: &Event<'_>) {
        match event {
            Event::File(path, Done::Heard(answer)) => {
                let genre = self.name(answer.genre);
                println!("{}  {genre} {:.0} %", path.display(), 100.0 * answer.confidence);
            }
            Event::File(path, Done::Recognised) => println!("{}  recognised", path.display()),
            Event::File(path, Done::Failed(why)) => eprintln!("taggram: {}: {why}", path.display()),
            Event::Unreadable(path, why) => eprintln!("taggram: {}: {why}", path.display()),
            _ => {}
        }
    }

    fn say(&mut self, text: &str) {
        self.failed += 1;
        self.bar.suspend(|| eprintln!("taggram: {text}"));
    }

    fn count(&mut self, genre: Option<usize>) {
        let name = self.name(genre).to_string();
        *self.genres.entry(name).or_default() += 1;
    }

    fn name(&self, genre: Option<usize>) -> &str {
        genre.and_then(|genre| self.labels.get(genre)).map_or(taggram::UNKNOWN, String::as_str)
    }

    /// The most frequent genres so far.
    fn top(&self) -> String {
        let mut counts: Vec<(&String, &usize)> = self.genres.iter().collect();
        counts.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        let named = counts.iter().take(SHOWN).map(|(genre, n)| format!("{genre} {n}"));
        named.collect::<Vec<_>>().join(" · ")
    }

    fn close(&self, s: &Summary) {
        self.bar.finish_and_clear();
        let seconds = self.begun.elapsed().as_secs_f64();
        let mut said = vec![format!("{} files", s.found), format!("{} heard", s.heard)];
        for (count, what) in [
            (s.recognised, "recognised by their audio"),
            (s.unchanged, "unchanged"),
            (s.failed, "failed"),
            (s.still_failed, "failed before (--retry tries again)"),
            (s.in_flux, "changed while they were read"),
            (s.gone, "gone"),
        ] {
            if count > 0 {
                said.push(format!("{count} {what}"));
            }
        }
        let rate = if s.heard > 0 {
            format!(" · {:.1} tracks/s", s.heard as f64 / seconds.max(1e-3))
        } else {
            String::new()
        };
        let stopped = if s.stopped { " · stopped before the end" } else { "" };
        eprintln!("{} · {seconds:.1} s{rate}{stopped}", said.join(" · "));
    }
}

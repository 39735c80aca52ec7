//! `taggram classify`: files in, genres out, all processors at work, answers in order.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Instant;

use taggram::{Error, ErrorKind, Listen, Model, Record, Source};

use crate::Outcome;
use crate::args::{Classify, Format};
use crate::output::Printer;
use crate::work::{in_order, processors, progress_bar};
use taggram_library::{self as files, Found};

/// Paths in text are aligned up to this width.
const WIDEST_PATH: usize = 60;

pub fn run(arguments: &Classify) -> anyhow::Result<Outcome> {
    let mut model = taggram::model(&arguments.hearing.model)?;
    if arguments.nearest {
        model = model.naming_the_nearest();
    }
    let files = files::find(&arguments.paths);
    if files.is_empty() {
        anyhow::bail!("there is no audio file in {}", files::display(&arguments.paths));
    }
    let top = arguments.top.map_or(default_top(arguments.format), usize::from);
    let jobs = arguments.jobs.map_or_else(processors, usize::from).min(files.len());
    let how = Listen {
        excerpt: arguments.hearing.listening.excerpt,
        decide: arguments.hearing.listening.decide.into(),
        ..Listen::default()
    };
    let width = files
        .iter()
        .flatten()
        .map(|p| p.to_string_lossy().chars().count().min(WIDEST_PATH))
        .max()
        .unwrap_or(0);
    let mut printer = Printer::new(io::stdout().lock(), arguments.format, model.labels(), width)?;
    let bar = progress_bar(files.len());
    let mut failed = 0usize;
    in_order(
        &files,
        jobs,
        |found| classify(&model, found, &how, top),
        |record| {
            bar.inc(1);
            if let Some(error) = &record.error {
                failed += 1;
                bar.suspend(|| eprintln!("taggram: {}: {error}", record.path));
            } else {
                for warning in &record.warnings {
                    bar.suspend(|| eprintln!("taggram: {}: {warning}", record.path));
                }
            }
            bar.suspend(|| printer.print(&record))
        },
    )?;
    bar.finish_and_clear();
    if failed > 0 && files.len() > 1 {
        eprintln!("taggram: {failed} of {} failed", files.len());
    }
    Ok(if failed == 0 { Outcome::Done } else { Outcome::SomeFailed })
}

fn default_top(format: Format) -> usize {
    if format == Format::Text { 3 } else { usize::MAX }
}

/// One file. Whatever goes wrong in it, a decoder's panic too, stays with this file.
fn classify(model: &Model, found: &Found, how: &Listen, top: usize) -> Record {
    let start = Instant::now();
    let path: &Path = match found {
        Ok(path) => path,
        Err((path, _)) => path,
    };
    let name = path.to_string_lossy();
    let heard = match found {
        Err((_, why)) => Err(Error::new(ErrorKind::Unreadable, why.clone())),
        Ok(path) => catch_unwind(AssertUnwindSafe(|| {
            taggram::listen(model, Source::Path(path.clone()), how)
        }))
        .unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Bug, "a bug: the analysis of this file panicked"))
        }),
    };
    match heard {
        Ok(heard) => Record::heard(&name, model, &heard, top),
        Err(error) => Record::failed(&name, model, &error, start.elapsed().as_secs_f64() * 1e3),
    }
}

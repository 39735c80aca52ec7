//! `taggram classify`: files in, genres out, all processors at work, answers in order.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use taggram::{Error, ErrorKind, Listen, Model, Record, Source};

use crate::Outcome;
use crate::args::{Classify, Format};
use crate::files::{self, Found};
use crate::output::Printer;

/// Paths in text are aligned up to this width.
const WIDEST_PATH: usize = 60;

pub fn run(arguments: &Classify) -> anyhow::Result<Outcome> {
    let model = taggram::model(&arguments.hearing.model)?;
    let files = files::find(&arguments.paths);
    if files.is_empty() {
        anyhow::bail!("there is no audio file in {}", display_all(&arguments.paths));
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

/// Does `work` on every item with `jobs` threads and hands the results to `take` in the order of the items.
fn in_order<T: Sync, R: Send>(
    items: &[T],
    jobs: usize,
    work: impl Fn(&T) -> R + Sync,
    mut take: impl FnMut(R) -> io::Result<()>,
) -> io::Result<()> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let (send, receive) = mpsc::sync_channel::<(usize, R)>(2 * jobs);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            let (send, next, work) = (send.clone(), &next, &work);
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some(item) = items.get(index) else { return };
                    // The receiver is gone when the output is closed: then stop quietly.
                    if send.send((index, work(item))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(send);
        let mut waiting = BTreeMap::new();
        let mut due = 0;
        for (index, result) in receive {
            waiting.insert(index, result);
            while let Some(result) = waiting.remove(&due) {
                take(result)?;
                due += 1;
            }
        }
        Ok(())
    })
}

/// A bar on a terminal; nothing anywhere else.
fn progress_bar(files: usize) -> ProgressBar {
    if files < 2 || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} files · {per_sec} · {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(files as u64).with_style(style)
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn display_all(paths: &[std::path::PathBuf]) -> String {
    paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_items() {
        let items: Vec<u64> = (0..200).collect();
        let mut seen = Vec::new();
        in_order(
            &items,
            4,
            |&i| {
                std::thread::sleep(std::time::Duration::from_micros((i * 7919) % 300));
                i
            },
            |i| {
                seen.push(i);
                Ok(())
            },
        )
        .unwrap();
        assert_eq!(seen, items);
    }

    #[test]
    fn a_closed_output_stops_the_work() {
        let items: Vec<u64> = (0..100_000).collect();
        let done = std::sync::atomic::AtomicUsize::new(0);
        let result = in_order(
            &items,
            2,
            |&i| {
                done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                i
            },
            |i| if i < 10 { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) },
        );
        assert!(result.is_err());
        assert!(done.into_inner() < 1000);
    }
}

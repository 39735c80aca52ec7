//! Many files, all processors, answers in order.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use anyhow::Context;

use indicatif::{ProgressBar, ProgressStyle};

/// Does `work` on every item with `jobs` threads and hands the results to `take` in the order of the items.
pub fn in_order<'t, T: Sync, R: Send>(
    items: &'t [T],
    jobs: usize,
    work: impl Fn(&'t T) -> R + Sync,
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
pub fn progress_bar(files: usize) -> ProgressBar {
    if files < 2 || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} files · {per_sec} · {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(files as u64).with_style(style)
}

/// A flag that Ctrl-C, or a request to end, sets: what is in hand is brought to an end. The second
/// time the process ends at once.
pub fn stop_on_signal(notice: &'static str) -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("\n{notice}");
    })
    .context("Ctrl-C cannot be caught")?;
    Ok(stop)
}

/// Processors of this machine, at least 1.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
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

//! Following a folder: what is added or changed is scanned once it has come to rest.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use notify::{EventKind, RecursiveMode, Watcher};

use crate::{ErrorKind, LibraryError};

/// A path is taken up when nothing happened to the library for this long: a copy in progress
/// tells of itself many times a second.
const REST: Duration = Duration::from_secs(2);

/// However busy the library is, what waited this long is taken up.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How often `stop` is looked at.
const TICK: Duration = Duration::from_millis(200);

/// Calls `changed` with the paths below `roots` that changed, whenever the library has come to rest, until
/// `stop`. Paths may be files, folders, or no longer there. When the system lost track of what
/// changed, they are the roots.
///
/// # Errors
/// When the system cannot watch a folder; whatever `changed` gives.
pub fn follow(
    roots: &[PathBuf],
    stop: &AtomicBool,
    mut changed: impl FnMut(Vec<PathBuf>) -> Result<(), LibraryError>,
) -> Result<(), LibraryError> {
    let (send, receive) = mpsc::channel();
    let cannot = |path: &Path, e: &notify::Error| {
        LibraryError::new(
            ErrorKind::Unreadable,
            format!("{} cannot be watched: {e}", path.display()),
        )
    };
    let mut watcher = notify::recommended_watcher(move |event| {
        // The receiver only goes away when the watch is over.
        let _ = send.send(event);
    })
    .map_err(|e| cannot(Path::new("the library"), &e))?;
    for root in roots {
        watcher.watch(root, RecursiveMode::Recursive).map_err(|e| cannot(root, &e))?;
    }
    let mut waiting: BTreeSet<PathBuf> = BTreeSet::new();
    let (mut last, mut first) = (Instant::now(), Instant::now());
    while !stop.load(Ordering::Relaxed) {
        match receive.recv_timeout(TICK) {
            Ok(event) => {
                if waiting.is_empty() {
                    first = Instant::now();
                }
                match event {
                    Ok(event) if matches!(event.kind, EventKind::Access(_)) => continue,
                    Ok(event) if !event.need_rescan() => waiting.extend(event.paths),
                    // Events were lost.
                    Ok(_) | Err(_) => waiting.extend(roots.iter().cloned()),
                }
                last = Instant::now();
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        let rested = last.elapsed() >= REST || first.elapsed() >= LONGEST_WAIT;
        if rested && !waiting.is_empty() {
            let paths = outermost(std::mem::take(&mut waiting));
            changed(paths)?;
        }
    }
    Ok(())
}

/// Leaves out what lies below another of the paths.
fn outermost(paths: BTreeSet<PathBuf>) -> Vec<PathBuf> {
    let mut kept: Vec<PathBuf> = Vec::new();
    // In their order a folder comes before what is in it.
    for path in paths {
        if !kept.last().is_some_and(|folder| path.starts_with(folder)) {
            kept.push(path);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_stands_for_what_is_in_it() {
        let paths = ["/m/a", "/m/a/1.mp3", "/m/a/b/2.mp3", "/m/ab", "/m/c.mp3"];
        let kept = outermost(paths.iter().map(PathBuf::from).collect());
        assert_eq!(kept, ["/m/a", "/m/ab", "/m/c.mp3"].map(PathBuf::from));
    }
}

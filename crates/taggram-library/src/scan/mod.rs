//! Walk, classify what is new, remember: a library is brought up to date.
//!
//! One thread walks and compares sizes and times with the index; workers take what is new or
//! changed, hash its audio, and listen unless that audio is known; the calling thread alone
//! writes to the index, one commit a file, so that a process killed at any moment loses at most
//! the files in flight.

pub mod watch;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, RwLock, mpsc};

use taggram::{ErrorKind as Kind, Source};

use crate::index::{Known, Row, Stamp, key};
use crate::tags::{self, Facts};
use crate::{Analyst, Answer, ErrorKind, Fingerprint, Index, LibraryError, walk};

/// How to scan.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Files to work on at once, 1 or more.
    pub jobs: usize,
    /// Try again what failed before, although it did not change.
    pub retry: bool,
}

/// What came of a file that was not as the index knew it.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It was listened to.
    Heard(Answer),
    /// Its audio was known: it moved, was re-tagged, or is a copy.
    Recognised,
    /// There is no answer for it.
    Failed(String),
    /// It changed while it was read; the next scan takes it up.
    InFlux,
}

/// Something that happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// So many files were found so far, of which so many need work; `all` once the walk is over.
    Found {
        /// Audio files come upon.
        files: usize,
        /// Of these, new or changed ones.
        work: usize,
        /// The walk is over.
        all: bool,
    },
    /// A file is done.
    File(&'a Path, &'a Outcome),
    /// A folder could not be read; what the index knows below it stays.
    Unreadable(&'a Path, &'a str),
}

/// What a scan did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Audio files found.
    pub found: usize,
    /// As they were at the last scan.
    pub unchanged: usize,
    /// Of the unchanged ones, those that failed before.
    pub still_failed: usize,
    /// Listened to.
    pub heard: usize,
    /// Known by their audio.
    pub recognised: usize,
    /// Without an answer, and folders that could not be read.
    pub failed: usize,
    /// Changed while they were read.
    pub in_flux: usize,
    /// Known before and no longer there.
    pub gone: usize,
    /// It was stopped before the end.
    pub stopped: bool,
}

/// What a worker hands back.
struct Looked {
    path: PathBuf,
    stamp: Stamp,
    facts: Facts,
    fingerprint: Option<Fingerprint>,
    outcome: Outcome,
    /// Asking again would not help.
    lasting: bool,
}

/// What the walk hands over.
enum Message {
    Unreadable(PathBuf, String),
    Walked(Walked),
    Done(Box<Looked>),
}

/// What is known once the walk is over.
#[derive(Default)]
struct Walked {
    there_again: Vec<i64>,
    gone: Vec<i64>,
    unchanged: usize,
    still_failed: usize,
}

/// Brings the index up to date with the files at or below `roots`. Files that are no longer there
/// are marked, not forgotten: a disk that is not mounted loses nothing.
///
/// # Errors
/// When the index cannot be read or written. What happens to a file is an [`Event`].
pub fn scan(
    index: &mut Index,
    analyst: &Analyst,
    roots: &[PathBuf],
    options: Options,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(&Event<'_>),
) -> Result<Summary, LibraryError> {
    let analysis = index.analysis(analyst)?;
    let heard = RwLock::new(index.heard(analysis)?);
    let mut known = HashMap::new();
    for root in roots {
        known.extend(index.known(root)?);
    }
    let (found, work) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (give, jobs) = mpsc::channel::<PathBuf>();
    let jobs = Mutex::new(jobs);
    // Bounded: when the index cannot keep up, the workers wait.
    let (send, receive) = mpsc::sync_channel::<Message>(4 * options.jobs.max(1));
    // Set when the index refuses a write, so that the workers end.
    let broken = AtomicBool::new(false);
    let halt = || stop.load(Ordering::Relaxed) || broken.load(Ordering::Relaxed);
    let mut summary = Summary::default();
    let mut result = Ok(());
    std::thread::scope(|scope| {
        let walker =
            Walk { known: &known, analysis, retry: options.retry, found: &found, work: &work };
        let tell_walk = send.clone();
        let halt = &halt;
        scope.spawn(move || {
            let walked = walker.run(roots, &give, &tell_walk, halt);
            // The receiver only goes away when the scan ends early.
            let _ = tell_walk.send(Message::Walked(walked));
        });
        for _ in 0..options.jobs.max(1) {
            let (send, jobs, heard) = (send.clone(), &jobs, &heard);
            scope.spawn(move || {
                loop {
                    let next = jobs.lock().unwrap_or_else(|e| e.into_inner()).recv();
                    let Ok(path) = next else { return };
                    if halt() {
                        return;
                    }
                    let done = look_at(analyst, path, heard);
                    if send.send(Message::Done(Box::new(done))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(send);
        let mut all = false;
        for message in receive {
            let counts = |all| Event::Found {
                files: found.load(Ordering::Relaxed),
                work: work.load(Ordering::Relaxed),
                all,
            };
            match message {
                Message::Unreadable(path, why) => {
                    summary.failed += 1;
                    tell(&Event::Unreadable(&path, &why));
                }
                Message::Walked(walked) => {
                    all = true;
                    summary.unchanged = walked.unchanged;
                    summary.still_failed = walked.still_failed;
                    summary.gone = walked.gone.len();
                    let mut mark = || {
                        index.mark(&walked.there_again, false)?;
                        index.mark(&walked.gone, true)
                    };
                    if result.is_ok() {
                        result = mark();
                    }
                }
                Message::Done(done) => {
                    if result.is_ok() {
                        result = remember(index, analysis, &heard, &done);
                    }
                    match &done.outcome {
                        Outcome::Heard(_) => summary.heard += 1,
                        Outcome::Recognised => summary.recognised += 1,
                        Outcome::Failed(_) => summary.failed += 1,
                        Outcome::InFlux => summary.in_flux += 1,
                    }
                    tell(&Event::File(&done.path, &done.outcome));
                }
            }
            tell(&counts(all));
            if result.is_err() {
                broken.store(true, Ordering::Relaxed);
            }
        }
    });
    summary.found = found.into_inner();
    summary.stopped = stop.load(Ordering::Relaxed);
    result.map(|()| summary)
}

/// Writes what came of a file.
fn remember(
    index: &Index,
    analysis: i64,
    heard: &RwLock<HashMap<Fingerprint, i64>>,
    done: &Looked,
) -> Result<(), LibraryError> {
    let row = match (&done.outcome, done.fingerprint) {
        (Outcome::InFlux, _) => return Ok(()),
        (Outcome::Heard(answer), Some(fingerprint)) => {
            let id = index.put_audio(analysis, fingerprint, answer)?;
            heard.write().unwrap_or_else(|e| e.into_inner()).insert(fingerprint, id);
            Row::Audio(id)
        }
        (Outcome::Recognised, Some(fingerprint)) => {
            let known = heard.read().unwrap_or_else(|e| e.into_inner()).get(&fingerprint).copied();
            Row::Audio(known.ok_or_else(|| {
                LibraryError::new(ErrorKind::Bug, "recognised audio is not in the index")
            })?)
        }
        (Outcome::Failed(why), _) => Row::Failed { why, lasting: done.lasting },
        (Outcome::Heard(_) | Outcome::Recognised, None) => {
            return Err(LibraryError::new(ErrorKind::Bug, "an answer without a fingerprint"));
        }
    };
    index.put_file(&done.path, done.stamp, analysis, &row, &done.facts)
}

/// The walk: what is there, and what of it is new.
struct Walk<'a> {
    known: &'a HashMap<Box<[u8]>, Known>,
    analysis: i64,
    retry: bool,
    found: &'a AtomicUsize,
    work: &'a AtomicUsize,
}

impl Walk<'_> {
    fn run(
        &self,
        roots: &[PathBuf],
        give: &mpsc::Sender<PathBuf>,
        tell: &mpsc::SyncSender<Message>,
        halt: impl Fn() -> bool,
    ) -> Walked {
        let mut seen = HashMap::with_capacity(self.known.len());
        let mut unread: Vec<Vec<u8>> = Vec::new();
        let mut walked = Walked::default();
        for entry in roots.iter().flat_map(|root| walk(root)) {
            if halt() {
                return Walked { gone: Vec::new(), ..walked };
            }
            let entry = match entry {
                Ok(entry) => entry,
                Err((path, _)) if !path.exists() && roots.contains(&path) => continue,
                Err((path, why)) => {
                    unread.push(key(&path));
                    if tell.send(Message::Unreadable(path, why)).is_err() {
                        return walked;
                    }
                    continue;
                }
            };
            self.found.fetch_add(1, Ordering::Relaxed);
            let path = key(entry.path());
            let known = self.known.get(path.as_slice());
            if let Some(known) = known {
                seen.insert(known.id, ());
                let same = entry.metadata().is_ok_and(|facts| Stamp::of(&facts) == known.stamp)
                    && known.analysis == Some(self.analysis);
                if same && !(known.failed && self.retry) {
                    walked.unchanged += 1;
                    walked.still_failed += usize::from(known.failed);
                    if known.gone {
                        walked.there_again.push(known.id);
                    }
                    continue;
                }
            }
            self.work.fetch_add(1, Ordering::Relaxed);
            if give.send(entry.into_path()).is_err() {
                return walked;
            }
        }
        let hidden = |path: &[u8]| unread.iter().any(|folder| path.starts_with(folder));
        walked.gone = self
            .known
            .iter()
            .filter(|(path, known)| !known.gone && !seen.contains_key(&known.id) && !hidden(path))
            .map(|(_, known)| known.id)
            .collect();
        walked
    }
}

/// A file that is new or changed.
fn look_at(analyst: &Analyst, path: PathBuf, heard: &RwLock<HashMap<Fingerprint, i64>>) -> Looked {
    let nothing = Stamp { size: 0, mtime_ns: 0 };
    let mut done = Looked {
        stamp: nothing,
        facts: Facts::default(),
        fingerprint: None,
        outcome: Outcome::InFlux,
        lasting: false,
        path,
    };
    let stamp = |path: &Path| std::fs::metadata(path).map(|facts| Stamp::of(&facts));
    match stamp(&done.path) {
        Ok(stamp) => done.stamp = stamp,
        Err(e) => {
            done.outcome = Outcome::Failed(format!("the file cannot be read: {e}"));
            return done;
        }
    }
    (done.outcome, done.lasting) = match Fingerprint::of(&done.path) {
        Err(e) => (Outcome::Failed(e.message), false),
        Ok(fingerprint) => {
            done.fingerprint = Some(fingerprint);
            done.facts = tags::facts(&done.path);
            let known = heard.read().unwrap_or_else(|e| e.into_inner()).contains_key(&fingerprint);
            if known {
                (Outcome::Recognised, true)
            } else {
                match analyst.analyse(Source::Path(done.path.clone())) {
                    Ok(answer) => (Outcome::Heard(answer), true),
                    Err(e) => {
                        let lasting = e.kind != Kind::Unreadable;
                        (Outcome::Failed(e.message), lasting)
                    }
                }
            }
        }
    };
    // What was hashed and what was heard must be the same file.
    if stamp(&done.path).ok() != Some(done.stamp) {
        done.outcome = Outcome::InFlux;
    }
    done
}

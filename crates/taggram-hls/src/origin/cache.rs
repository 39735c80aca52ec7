//! Tracks that are cut, on disk: each once, for all who listen.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::sync::{OnceCell, Semaphore};

use super::Origin;
use super::library::Track;
use crate::segment::{self, CutTrack, Family};
use crate::{ErrorKind, HlsError};

/// Tracks cut at once: one a processor.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A track, and the family that all are brought to if they are.
type Key = (String, Option<Family>);

/// A track that is cut, and the folder of its segments.
pub(super) struct Cut {
    pub track: CutTrack,
    pub folder: PathBuf,
}

#[derive(Default)]
struct Slot {
    cell: Arc<OnceCell<Arc<Cut>>>,
    used: u64,
}

pub(super) struct Cache {
    folder: PathBuf,
    /// Removes the folder at the end if it was made for this run.
    _temporary: tempfile::TempDir,
    most_bytes: u64,
    slots: Mutex<(u64, HashMap<Key, Slot>)>,
    gate: Semaphore,
}

impl Cache {
    pub fn new(folder: Option<&Path>, most_bytes: u64) -> Result<Self, HlsError> {
        let failed = |e: std::io::Error| {
            HlsError::new(ErrorKind::Unreadable, format!("no folder for segments: {e}"))
        };
        let temporary = match folder {
            Some(folder) => {
                std::fs::create_dir_all(folder).map_err(failed)?;
                tempfile::Builder::new().prefix("taggram-hls-").tempdir_in(folder)
            }
            None => tempfile::Builder::new().prefix("taggram-hls-").tempdir(),
        }
        .map_err(failed)?;
        Ok(Self {
            folder: temporary.path().to_owned(),
            _temporary: temporary,
            most_bytes,
            slots: Mutex::default(),
            gate: Semaphore::new(workers()),
        })
    }

    /// Where segments lie.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn slots(&self) -> std::sync::MutexGuard<'_, (u64, HashMap<Key, Slot>)> {
        // A panic elsewhere leaves the map whole: each change is one call.
        self.slots.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Lets go of the tracks that were not used longest, until the rest fits.
    fn make_room(&self) {
        loop {
            let gone = {
                let mut slots = self.slots();
                let cut = |slot: &Slot| slot.cell.get().cloned();
                let total: u64 = slots.1.values().filter_map(cut).map(|c| c.track.bytes()).sum();
                let ready = slots.1.iter().filter(|(_, slot)| slot.cell.initialized());
                if total <= self.most_bytes || ready.clone().count() < 2 {
                    return;
                }
                let oldest = ready.min_by_key(|(_, slot)| slot.used).map(|(key, _)| key.clone());
                oldest.and_then(|key| slots.1.remove(&key)).and_then(|slot| cut(&slot))
            };
            // Whoever reads a segment just now keeps the file open, and that lives on.
            if let Some(cut) = gone {
                let _ = std::fs::remove_dir_all(&cut.folder);
            }
        }
    }
}

impl Origin {
    /// The segments of a track. The first who asks has it cut; others wait for the same.
    pub(super) async fn cut(
        &self,
        track: &Track,
        uniform: Option<Family>,
    ) -> Result<Arc<Cut>, HlsError> {
        let key = (track.id.clone(), uniform);
        let cell = {
            let mut slots = self.cache.slots();
            slots.0 += 1;
            let now = slots.0;
            let slot = slots.1.entry(key).or_default();
            slot.used = now;
            slot.cell.clone()
        };
        if let Some(cut) = cell.get() {
            return Ok(cut.clone());
        }
        let cut = cell
            .get_or_try_init(|| async {
                let closed = |_| HlsError::new(ErrorKind::Bug, "the workers are gone");
                let _permit = self.cache.gate.acquire().await.map_err(closed)?;
                if !self.library.still_inside(track) {
                    return Err(HlsError::new(
                        ErrorKind::Refused,
                        format!("{} no longer lies in the library", track.name),
                    ));
                }
                let (path, name) = (track.path.clone(), track.name.clone());
                let (options, parent) = (self.options.cut.clone(), self.cache.folder.clone());
                let work = move || cut_into(&path, &parent, uniform, &options);
                let done = tokio::task::spawn_blocking(work).await;
                let crashed = |e| HlsError::new(ErrorKind::Bug, format!("cutting failed: {e}"));
                done.map_err(crashed)?.map(Arc::new).map_err(|e| e.at(name))
            })
            .await?
            .clone();
        self.cache.make_room();
        Ok(cut)
    }
}

fn cut_into(
    path: &Path,
    parent: &Path,
    uniform: Option<Family>,
    options: &segment::CutOptions,
) -> Result<Cut, HlsError> {
    let failed = |e: std::io::Error| {
        HlsError::new(ErrorKind::Unreadable, format!("no folder for segments: {e}"))
    };
    let folder = tempfile::Builder::new().prefix("track-").tempdir_in(parent).map_err(failed)?;
    let track = segment::cut(path, folder.path(), uniform, options)?;
    // From here on the cache owns the folder.
    Ok(Cut { track, folder: folder.keep() })
}

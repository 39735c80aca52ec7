//! The result: one Parquet file a job, written whole or not at all, and never twice.

use std::sync::Arc;

use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use serde::{Deserialize, Serialize};
use taggram_library::export::Table;
use taggram_library::parquet;

use crate::{ErrorKind, FleetError, Place, Run, Stores};

/// Bytes of the end of a part that are read first to look for its notes.
const TAIL: u64 = 64 << 10;

/// The note that holds the failures, as JSON.
const FAILURES: &str = "taggram.failures";

/// A track that has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Which track of the job it is, from 0.
    pub index: usize,
    /// Where it lies, as it was submitted.
    pub track: String,
    /// What sort of trouble: `not-audio`, `malformed`, `unreadable`, ….
    pub kind: String,
    /// A sentence.
    pub error: String,
}

/// What a part that is there says of its job.
pub struct Existing {
    /// Tracks of the job that are not in the part, because they have no answer.
    pub failures: Vec<Failure>,
}

/// Where the parts of a run go.
pub struct Out {
    store: Arc<dyn ObjectStore>,
    folder: Key,
    /// As it was given, for messages and to tell two places apart.
    name: String,
}

impl Out {
    /// `place` (a folder, or a prefix in a store) for the parts of `run`, which lie in a folder of that name. A folder
    /// of this machine is made if it is not there.
    ///
    /// # Errors
    /// When there is no such store, or the folder cannot be made.
    pub fn open(place: &str, run: &Run, stores: &Stores) -> Result<Self, FleetError> {
        let (store, folder, name) = match Place::parse(place)? {
            Place::File(path) => {
                let failed = |e| FleetError::store(place, "making the folder", e);
                std::fs::create_dir_all(&path).map_err(failed)?;
                let path = path.canonicalize().map_err(failed)?;
                // Durable when it says so: files and folders are forced to the disk.
                let store = LocalFileSystem::new_with_prefix(&path)
                    .map_err(|e| FleetError::store(place, "opening the folder", e))?
                    .with_fsync(true);
                let name = format!("file://{}", path.display());
                (Arc::new(store) as Arc<dyn ObjectStore>, Key::default(), name)
            }
            Place::Object(url) => {
                let (store, key) = stores.find(&url)?;
                (store, key, url.as_str().trim_end_matches('/').to_string())
            }
        };
        Ok(Self { store, folder: folder.join(run.name()), name })
    }

    /// As it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn key(&self, job: &str) -> Key {
        self.folder.clone().join(format!("part-{job}.parquet"))
    }

    /// The part of a job, if it is there.
    ///
    /// # Errors
    /// When the store does not answer, or what is there is no part.
    pub async fn existing(&self, job: &str) -> Result<Option<Existing>, FleetError> {
        let failed = |e: StoreError| {
            FleetError::store(&self.name, "looking for a part that may be there", e)
        };
        let key = self.key(job);
        let size = match self.store.head(&key).await {
            Ok(facts) => facts.size,
            Err(StoreError::NotFound { .. }) => return Ok(None),
            Err(e) => return Err(failed(e)),
        };
        let mut wanted = TAIL;
        loop {
            let from = size.saturating_sub(wanted);
            let bytes = self.store.get_range(&key, from..size).await.map_err(failed)?;
            let wrong = |what: &str| {
                let at = format!("{}/{key}", self.name);
                FleetError::new(
                    ErrorKind::Store,
                    format!("{at} is {what}: it is not a part that was written here; move it away"),
                )
            };
            match parquet::notes(&bytes) {
                Some(notes) => {
                    let text = notes.iter().find(|(key, _)| key == FAILURES);
                    let (_, text) = text.ok_or_else(|| wrong("without a note of failures"))?;
                    let failures = serde_json::from_str(text)
                        .map_err(|_| wrong("with a note of failures that is no JSON"))?;
                    return Ok(Some(Existing { failures }));
                }
                None if from > 0 => wanted = size,
                None => return Err(wrong("no Parquet file")),
            }
        }
    }

    /// Writes the part of a job unless there is one. Gives whether it was written; when it was not, what is there
    /// counts, and this answer is forgotten. In a store that cannot say "unless" it is written over: the same name, still
    /// one part.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn put(&self, job: &str, part: Vec<u8>) -> Result<bool, FleetError> {
        let key = self.key(job);
        let payload = object_store::PutPayload::from(part);
        let create = PutOptions { mode: PutMode::Create, ..Default::default() };
        let put = match self.store.put_opts(&key, payload.clone(), create).await {
            Err(StoreError::NotImplemented { .. } | StoreError::NotSupported { .. }) => {
                self.store.put_opts(&key, payload, PutOptions::default()).await
            }
            put => put,
        };
        match put {
            Ok(_) => Ok(true),
            Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => Ok(false),
            Err(e) => Err(FleetError::store(&self.name, "writing a part", e)),
        }
    }
}

/// The bytes of a part: the answers as columns, the failures as a note.
///
/// # Errors
/// When that cannot be written, which is a bug.
pub(crate) fn encode(table: Table, job: &str, failures: &[Failure]) -> Result<Vec<u8>, FleetError> {
    let bug = |e: &dyn std::fmt::Display| FleetError::new(ErrorKind::Bug, format!("a part: {e}"));
    let failures = serde_json::to_string(failures).map_err(|e| bug(&e))?;
    let mut bytes = Vec::new();
    let notes = [("taggram.job", job), (FAILURES, failures.as_str())];
    parquet::write_noted(&mut bytes, &table.columns(), &notes).map_err(|e| bug(&e))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(track: &str) -> Failure {
        Failure { index: 1, track: track.into(), kind: "malformed".into(), error: "broken".into() }
    }

    #[test]
    fn the_first_part_counts_and_says_what_failed() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("a b/out");
        let run: Run = "r".parse().unwrap();
        crate::run(async {
            let out = Out::open(place.to_str().unwrap(), &run, &Stores::default())?;
            assert!(out.existing("j").await?.is_none());
            // More failures than the first look at the end of the file holds.
            let failures: Vec<Failure> =
                (0..3000).map(|i| failure(&format!("/music/{i}.mp3"))).collect();
            let part = encode(Table::default(), "j", &failures)?;
            assert!(part.len() as u64 > 2 * TAIL);
            assert!(out.put("j", part.clone()).await?);
            assert!(!out.put("j", encode(Table::default(), "j", &[])?).await?);
            assert_eq!(out.existing("j").await?.unwrap().failures, failures);
            assert_eq!(std::fs::read(place.join("r/part-j.parquet")).unwrap(), part);

            std::fs::write(place.join("r/part-k.parquet"), b"something else").unwrap();
            let error = out.existing("k").await.err().unwrap().message;
            assert!(error.contains("no Parquet file"), "{error}");
            Ok(())
        })
        .unwrap();
    }
}

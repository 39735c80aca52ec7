//! A job: a run of tracks of the listing, which become one part of the result.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::{ErrorKind, FleetError};

/// Tracks to listen to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Which job of the run it is, from 0.
    pub number: u64,
    /// Where the tracks lie, as they were submitted.
    pub tracks: Vec<String>,
}

impl Job {
    /// Its name: number and a hash of what it holds. The part of the result that it becomes has this name, so that
    /// whoever does the job, however often, means the same part.
    pub fn id(&self) -> String {
        let mut hash = Xxh3::new();
        for track in &self.tracks {
            hash.update(track.as_bytes());
            hash.update(b"\n");
        }
        format!("{:08}-{:016x}", self.number, hash.digest())
    }

    /// As bytes of a message.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, FleetError> {
        serde_json::to_vec(self)
            .map_err(|e| FleetError::new(ErrorKind::Bug, format!("a job as JSON: {e}")))
    }

    /// From the bytes of a message.
    ///
    /// # Errors
    /// When it is no job.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, FleetError> {
        serde_json::from_slice(bytes).map_err(|e| {
            FleetError::new(ErrorKind::Malformed, format!("a message that is no job: {e}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_of_number_and_tracks() {
        let job = |number, tracks: &[&str]| Job {
            number,
            tracks: tracks.iter().map(|t| t.to_string()).collect(),
        };
        let one = job(7, &["a", "b"]);
        assert_eq!(one.id(), job(7, &["a", "b"]).id());
        assert!(one.id().starts_with("00000007-"), "{}", one.id());
        for other in [job(8, &["a", "b"]), job(7, &["ab"]), job(7, &["b", "a"]), job(7, &["a"])] {
            assert_ne!(one.id(), other.id());
        }
        assert_eq!(Job::from_bytes(&one.to_bytes().unwrap()).unwrap(), one);
        assert!(Job::from_bytes(b"{}").is_err());
    }
}

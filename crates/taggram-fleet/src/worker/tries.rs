//! Which track of a job was being heard when its worker died: notes at the broker, for jobs that keep coming back.

use std::collections::BTreeMap;

use async_nats::jetstream::kv;
use serde::{Deserialize, Serialize};

use crate::{ErrorKind, FleetError};

/// Tries of one track that nobody saw the end of, after which it is not tried again.
const DEADLY: u32 = 3;

/// How often each track was begun without an end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tries(BTreeMap<usize, u32>);

impl Tries {
    /// What is noted of a job.
    pub async fn read(notes: &kv::Store, job: &str) -> Result<Self, FleetError> {
        let there = notes.get(key(job)).await;
        match there.map_err(|e| FleetError::queue("reading the notes of a job", e))? {
            // A note that makes no sense is as good as none.
            Some(text) => Ok(serde_json::from_slice(&text).unwrap_or_default()),
            None => Ok(Self::default()),
        }
    }

    /// Notes it at the broker; nothing to note removes the note.
    pub async fn write(&self, notes: &kv::Store, job: &str) -> Result<(), FleetError> {
        let failed = |e: &dyn std::fmt::Display| FleetError::queue("noting the state of a job", e);
        if self.0.is_empty() {
            return notes.purge(key(job)).await.map_err(|e| failed(&e));
        }
        let text = serde_json::to_vec(self)
            .map_err(|e| FleetError::new(ErrorKind::Bug, format!("a note as JSON: {e}")))?;
        notes.put(key(job), text.into()).await.map(drop).map_err(|e| failed(&e))
    }

    /// With one try more of a track.
    pub fn begin(&self, index: usize) -> Self {
        let mut tries = self.clone();
        *tries.0.entry(index).or_default() += 1;
        tries
    }

    /// Without those of a track that came to an end.
    pub fn ended(&self, index: usize) -> Self {
        let mut tries = self.clone();
        tries.0.remove(&index);
        tries
    }

    /// Why a track is not tried any more.
    pub fn deadly(&self, index: usize) -> Option<String> {
        let times = self.0.get(&index).copied().unwrap_or_default();
        (times >= DEADLY).then(|| {
            format!("{times} workers died or were lost while they listened to this track alone")
        })
    }
}

fn key(job: &str) -> String {
    format!("tries.{job}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_deaths_on_one_track_are_enough() {
        let mut tries = Tries::default();
        for deaths in 0..3 {
            assert_eq!(tries.deadly(5), None, "{deaths}");
            tries = tries.begin(5);
        }
        assert!(tries.deadly(5).unwrap().starts_with("3 workers died"));
        assert_eq!(tries.deadly(4), None);
        assert_eq!(tries.begin(4).ended(4), tries);
        assert_eq!(tries.ended(5), Tries::default());
    }
}

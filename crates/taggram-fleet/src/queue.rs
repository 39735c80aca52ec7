//! The broker: what a run is called there, and how it is made, watched and read.

use std::str::FromStr;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::stream::{
    Config as StreamConfig, DiscardPolicy, RetentionPolicy, Stream,
};
use async_nats::jetstream::{self, Context, kv};
use async_nats::{ConnectOptions, ServerAddr};
use serde::{Deserialize, Serialize};

use crate::{ErrorKind, Failure, FleetError};

/// How long the broker remembers a message's id, so that one sent twice is kept once.
const REMEMBERED: Duration = Duration::from_secs(600);

/// Jobs that may be in the hands of all workers together.
const MOST_IN_HAND: i64 = 100_000;

/// Name of the consumer that all workers of a run share.
const WORKERS: &str = "workers";

/// The name of a run: what was submitted together and becomes one result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run(String);

impl FromStr for Run {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
            return Err(format!("{name:?} is no name of a run: 1 to 64 of a–z, A–Z, 0–9, - and _"));
        }
        Ok(Self(name.to_string()))
    }
}

impl Run {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }

    fn jobs(&self) -> String {
        format!("taggram-{}-jobs", self.0)
    }

    fn dead(&self) -> String {
        format!("taggram-{}-dead", self.0)
    }

    fn notes(&self) -> String {
        format!("taggram-{}", self.0)
    }

    /// Where jobs are published.
    pub(crate) fn job_subject(&self) -> String {
        format!("taggram.{}.job", self.0)
    }

    /// Where one track's dead letter is published: a subject of its own, of which the stream keeps one message.
    pub(crate) fn dead_subject(&self, job: &str, index: usize) -> String {
        format!("taggram.{}.dead.{job}.{index}", self.0)
    }
}

/// A run at the broker.
pub struct Queue {
    pub(crate) run: Run,
    pub(crate) context: Context,
    pub(crate) notes: kv::Store,
}

impl Queue {
    /// Connects to the broker at `address` (`nats://[user:password@]host[:port]` or `nats://token@…`, or `tls://`; several are separated by
    /// commas) and makes what the run needs there, each stream kept on `replicas` servers, unless it is there.
    ///
    /// # Errors
    /// When the broker cannot be reached, has no JetStream, or refuses.
    pub async fn open(address: &str, run: &Run, replicas: usize) -> Result<Self, FleetError> {
        let addresses =
            address.split(',').map(str::parse).collect::<Result<Vec<ServerAddr>, _>>().map_err(
                |e| FleetError::new(ErrorKind::Malformed, format!("{address:?} is no broker: {e}")),
            )?;
        let mut options =
            ConnectOptions::new().name("taggram").max_reconnects(None).reconnect_delay_callback(
                |tries| Duration::from_millis(100 << tries.min(6)).min(Duration::from_secs(5)),
            );
        // The first address that has them says who we are.
        if let Some((user, password)) =
            addresses.iter().find_map(|a| Some((a.username()?, a.password())))
        {
            options = match password {
                Some(password) => options.user_and_password(user.to_string(), password.to_string()),
                None => options.token(user.to_string()),
            };
        }
        let client = options
            .connect(addresses)
            .await
            .map_err(|e| FleetError::queue("connecting to the broker", e))?;
        let context = jetstream::new(client);
        let stream = |name, subjects, retention, config| StreamConfig {
            name,
            subjects: vec![subjects],
            retention,
            num_replicas: replicas,
            duplicate_window: REMEMBERED,
            ..config
        };
        let jobs = stream(
            run.jobs(),
            run.job_subject(),
            RetentionPolicy::WorkQueue,
            StreamConfig::default(),
        );
        let dead = stream(
            run.dead(),
            format!("taggram.{}.dead.>", run.name()),
            RetentionPolicy::Limits,
            // One message a track for ever, not only as long as ids are remembered.
            StreamConfig {
                max_messages_per_subject: 1,
                discard: DiscardPolicy::New,
                discard_new_per_subject: true,
                ..StreamConfig::default()
            },
        );
        // A bucket of keys and values, which is a stream of this form. (The client's own way asks the broker for its
        // account first, and does not understand the answer of brokers before 2.10.)
        let notes = stream(
            format!("KV_{}", run.notes()),
            format!("$KV.{}.>", run.notes()),
            RetentionPolicy::Limits,
            StreamConfig {
                max_messages_per_subject: 1,
                discard: DiscardPolicy::New,
                allow_rollup: true,
                deny_delete: true,
                allow_direct: true,
                ..StreamConfig::default()
            },
        );
        for config in [jobs, dead, notes] {
            let name = config.name.clone();
            context
                .get_or_create_stream(config)
                .await
                .map_err(|e| FleetError::queue(&format!("making the stream {name}"), e))?;
        }
        let notes = context
            .get_key_value(run.notes())
            .await
            .map_err(|e| FleetError::queue("opening the bucket of notes", e))?;
        Ok(Self { run: run.clone(), context, notes })
    }

    /// The consumer that all workers share. A job that its worker does not speak of for `patience` is given to another;
    /// who comes first decides how long that is.
    pub(crate) async fn workers(
        &self,
        patience: Duration,
    ) -> Result<jetstream::consumer::Consumer<pull::Config>, FleetError> {
        let config = pull::Config {
            durable_name: Some(WORKERS.to_string()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: patience,
            max_ack_pending: MOST_IN_HAND,
            ..Default::default()
        };
        self.jobs()
            .await?
            .get_or_create_consumer(WORKERS, config)
            .await
            .map_err(|e| FleetError::queue("making the workers' consumer", e))
    }

    /// The consumer made anew: every job that the broker has is given out again, and what is done is found done.
    pub(crate) async fn workers_anew(
        &self,
        patience: Duration,
    ) -> Result<jetstream::consumer::Consumer<pull::Config>, FleetError> {
        // Another worker may just have done so.
        let _ = self.jobs().await?.delete_consumer(WORKERS).await;
        self.workers(patience).await
    }

    /// Jobs that the broker has.
    pub(crate) async fn jobs_there(&self) -> Result<u64, FleetError> {
        let info = self.jobs().await?.get_info().await;
        let info = info.map_err(|e| FleetError::queue("counting jobs", e))?;
        Ok(info.state.messages)
    }

    async fn jobs(&self) -> Result<Stream, FleetError> {
        self.stream(&self.run.jobs()).await
    }

    async fn stream(&self, name: &str) -> Result<Stream, FleetError> {
        let failed = |e| FleetError::queue(&format!("looking at the stream {name}"), e);
        self.context.get_stream(name).await.map_err(failed)
    }

    /// Writes a note of the run unless there is one under this name. Gives what is there afterwards.
    pub(crate) async fn note_once(&self, key: &str, text: &str) -> Result<String, FleetError> {
        let failed = |e: &dyn std::fmt::Display| FleetError::queue("noting the run", e);
        match self.notes.create(key, text.to_string().into()).await {
            Ok(_) => return Ok(text.to_string()),
            Err(e) if e.kind() == kv::CreateErrorKind::AlreadyExists => {}
            Err(e) => return Err(failed(&e)),
        }
        let there = self.notes.get(key).await.map_err(|e| failed(&e))?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&there).into_owned())
    }

    /// Publishes one track's dead letter, once for ever.
    pub(crate) async fn bury(&self, letter: &DeadLetter) -> Result<(), FleetError> {
        let failed = |e: &dyn std::fmt::Display| FleetError::queue("publishing a dead letter", e);
        let subject = self.run.dead_subject(&letter.job, letter.failure.index);
        let text = serde_json::to_vec(letter).map_err(|e| failed(&e))?;
        let published = self.context.publish(subject, text.into()).await.map_err(|e| failed(&e))?;
        match published.await {
            Ok(_) => Ok(()),
            // It is there from an earlier time.
            Err(e) if is_there(&e) => Ok(()),
            Err(e) => Err(failed(&e)),
        }
    }
}

/// Whether the broker refused a message because its subject has one.
fn is_there(error: &jetstream::context::PublishError) -> bool {
    use std::error::Error;
    error
        .source()
        .and_then(|e| e.downcast_ref::<jetstream::Error>())
        .is_some_and(|e| e.error_code() == jetstream::ErrorCode::STREAM_STORE_FAILED)
        && error.source().is_some_and(|e| e.to_string().contains("per subject"))
}

/// A track without an answer, as it lies in the dead-letter stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The run.
    pub run: String,
    /// The job that it was in.
    pub job: String,
    /// Which track, and why there is no answer.
    #[serde(flatten)]
    pub failure: Failure,
}

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Jobs that no worker has taken up.
    pub waiting: u64,
    /// Jobs in the hands of workers (or of workers that have died and are waited for).
    pub in_hand: u64,
    /// Tracks without an answer.
    pub dead_letters: u64,
}

/// How a run stands.
///
/// # Errors
/// When the broker does not answer.
pub async fn status(queue: &Queue) -> Result<Status, FleetError> {
    let failed = |e: &dyn std::fmt::Display| FleetError::queue("asking how the run stands", e);
    let mut jobs = queue.jobs().await?;
    let there = jobs.info().await.map_err(|e| failed(&e))?.state.messages;
    let in_hand = match jobs.consumer_info(WORKERS).await {
        Ok(info) => (info.num_ack_pending as u64).min(there),
        // Before the first worker.
        Err(_) => 0,
    };
    let mut dead = queue.stream(&queue.run.dead()).await?;
    let dead_letters = dead.info().await.map_err(|e| failed(&e))?.state.messages;
    Ok(Status { waiting: there - in_hand, in_hand, dead_letters })
}

/// Hands every dead letter of the run to `take`, the oldest first.
///
/// # Errors
/// When the broker does not answer; what `take` gives.
pub async fn dead_letters(
    queue: &Queue,
    mut take: impl FnMut(DeadLetter) -> Result<(), FleetError>,
) -> Result<(), FleetError> {
    let failed = |e: &dyn std::fmt::Display| FleetError::queue("reading dead letters", e);
    let mut stream = queue.stream(&queue.run.dead()).await?;
    let state = stream.info().await.map_err(|e| failed(&e))?.state.clone();
    if state.messages == 0 {
        return Ok(());
    }
    for sequence in state.first_sequence..=state.last_sequence {
        let message = match stream.get_raw_message(sequence).await {
            Ok(message) => message,
            // Someone has removed it.
            Err(e) if e.kind() == jetstream::stream::RawMessageErrorKind::NoMessageFound => {
                continue;
            }
            Err(e) => return Err(failed(&e)),
        };
        let letter = serde_json::from_slice(&message.payload).map_err(|e| failed(&e))?;
        take(letter)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_runs() {
        assert!("tracks-2026_11".parse::<Run>().is_ok());
        for wrong in ["", "a.b", "a b", "a*", "ü", &"x".repeat(65)] {
            assert!(wrong.parse::<Run>().is_err(), "{wrong:?} was taken");
        }
    }

    #[test]
    fn a_dead_letter_is_one_flat_object() {
        let failure = Failure {
            index: 3,
            track: "/a.mp3".into(),
            kind: "not-audio".into(),
            error: "this is text".into(),
        };
        let letter = DeadLetter { run: "r".into(), job: "00000001-ab".into(), failure };
        let json = serde_json::to_value(&letter).unwrap();
        assert_eq!(json["track"], "/a.mp3");
        assert_eq!(serde_json::from_value::<DeadLetter>(json).unwrap(), letter);
    }
}

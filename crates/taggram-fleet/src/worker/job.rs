//! One job: found done, or done; then, and only then, taken off the queue.

use std::time::Duration;

use async_nats::jetstream::{AckKind, Message};
use futures_util::{StreamExt, stream};
use taggram_library::Track;
use taggram_library::export::Table;

use super::Shared;
use super::hear::NoAnswer;
use super::tries::Tries;
use crate::{DeadLetter, Existing, Failure, FleetError, Job, part};

/// From this delivery on a job is done one track after another, with notes of where it is: its worker may have
/// died of one of them.
const SUSPICIOUS: i64 = 3;

/// Time to take back the note of a track that is given up.
const GRACE: Duration = Duration::from_secs(2);

/// Longest pause before a store or the broker is asked again.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Why a job was not brought to its end.
enum Left {
    /// There is no time: another worker may have it.
    GivenUp,
    /// It is no job.
    Unreadable(FleetError),
    /// A mistake of this program.
    Broken(FleetError),
}

/// Does the job in a message and takes it off the queue.
pub(super) async fn take_on(shared: &Shared, message: Message) {
    let metrics = &shared.metrics;
    let delivered = message.info().map_or(1, |info| info.delivered);
    if delivered > 1 {
        metrics.redelivered.inc();
    }
    metrics.jobs_in_hand.inc();
    let done = {
        // Both at once: while the job is done, the broker hears that it is.
        let alive = async {
            loop {
                tokio::time::sleep(shared.sign_of_life).await;
                // One that is lost is followed by the next.
                let _ = message.ack_with(AckKind::Progress).await;
            }
        };
        tokio::select! {
            done = complete(shared, &message, delivered) => done,
            () = alive => Err(Left::GivenUp),
            () = async {
                given_up(shared).await;
                if delivered >= SUSPICIOUS {
                    tokio::time::sleep(GRACE).await;
                }
            } => Err(Left::GivenUp),
        }
    };
    metrics.jobs_in_hand.dec();
    // What is not heard by the broker here comes again, and is found done.
    match done {
        Ok(()) => {
            metrics.jobs.inc();
            let _ = message.double_ack().await;
        }
        Err(Left::GivenUp) => {
            metrics.given_back.inc();
            let _ = message.ack_with(AckKind::Nak(None)).await;
        }
        Err(Left::Broken(error)) => {
            (shared.tell)(&error.message);
            metrics.given_back.inc();
            let _ = message.ack_with(AckKind::Nak(Some(LONGEST_PAUSE))).await;
        }
        Err(Left::Unreadable(error)) => {
            metrics.failed.with_label_values(&["malformed"]).inc();
            let letter = DeadLetter {
                run: shared.queue.run.name().to_string(),
                job: format!("message-{}", message.info().map_or(0, |info| info.stream_sequence)),
                failure: Failure {
                    index: 0,
                    track: String::new(),
                    kind: "malformed".to_string(),
                    error: error.message,
                },
            };
            if shared.queue.bury(&letter).await.is_ok() {
                let _ = message.ack_with(AckKind::Term).await;
            }
        }
    }
}

async fn complete(shared: &Shared, message: &Message, delivered: i64) -> Result<(), Left> {
    let job = Job::from_bytes(&message.payload).map_err(Left::Unreadable)?;
    let id = job.id();
    let existing = match again(shared, || shared.out.existing(&id)).await {
        Some(existing) => {
            shared.metrics.found_done.inc();
            existing
        }
        None => {
            let (table, failures) = if delivered < SUSPICIOUS {
                all(shared, &job).await
            } else {
                one_by_one(shared, &id, &job).await
            };
            let part = part::encode(table, &id, &failures).map_err(Left::Broken)?;
            if again(shared, || shared.out.put(&id, part.clone())).await {
                shared.metrics.written.inc();
                shared.metrics.part_bytes.inc_by(part.len() as u64);
                Existing { failures }
            } else {
                // Another worker was first: what it wrote counts.
                shared.metrics.found_done.inc();
                again(shared, || async {
                    let there = shared.out.existing(&id).await?;
                    there.ok_or_else(|| FleetError::store(&id, "reading the part", "it is gone"))
                })
                .await
            }
        }
    };
    // The part has decided which tracks have no answer; only now are they buried.
    for failure in existing.failures {
        let run = shared.queue.run.name().to_string();
        let letter = DeadLetter { run, job: id.clone(), failure };
        again(shared, || shared.queue.bury(&letter)).await;
    }
    Ok(())
}

/// Answers in the order of the job's tracks, and the tracks without one.
fn sorted(heard: Vec<(usize, Result<Track, NoAnswer>)>, job: &Job) -> (Table, Vec<Failure>) {
    let mut heard = heard;
    heard.sort_by_key(|(index, _)| *index);
    let (mut table, mut failures) = (Table::default(), Vec::new());
    for (index, answer) in heard {
        let name = &job.tracks[index];
        match answer {
            Ok(track) => table.push(name, &track),
            Err(NoAnswer { kind, error }) => {
                let kind = kind.to_string();
                failures.push(Failure { index, track: name.clone(), kind, error });
            }
        }
    }
    (table, failures)
}

/// All tracks, as many at once as there are ears.
async fn all(shared: &Shared, job: &Job) -> (Table, Vec<Failure>) {
    let each = (0..job.tracks.len())
        .map(|index| async move { (index, shared.ears.hear(&job.tracks[index]).await) });
    let heard = stream::iter(each).buffer_unordered(shared.ears.tracks).collect().await;
    sorted(heard, job)
}

/// One track after another. Which one is next is noted before it is heard: one under whose note workers died again
/// and again is not heard any more.
async fn one_by_one(shared: &Shared, id: &str, job: &Job) -> (Table, Vec<Failure>) {
    let notes = &shared.queue.notes;
    let mut tries = again(shared, || Tries::read(notes, id)).await;
    let mut heard = Vec::with_capacity(job.tracks.len());
    for (index, track) in job.tracks.iter().enumerate() {
        let answer = if let Some(error) = tries.deadly(index) {
            shared.metrics.failed.with_label_values(&["deadly"]).inc();
            Err(NoAnswer { kind: "deadly", error })
        } else {
            let begun = tries.begin(index);
            again(shared, || begun.write(notes, id)).await;
            tries = begun;
            let answer = tokio::select! {
                answer = shared.ears.hear(track) => answer,
                // Giving a job back is no death.
                () = given_up(shared) => {
                    let _ = tries.ended(index).write(notes, id).await;
                    return std::future::pending().await;
                }
            };
            tries = tries.ended(index);
            answer
        };
        heard.push((index, answer));
    }
    again(shared, || tries.write(notes, id)).await;
    sorted(heard, job)
}

/// Waits until there is no time left.
async fn given_up(shared: &Shared) {
    // The sender goes away only when the worker has ended.
    let _ = shared.give_up.clone().wait_for(|told| *told).await;
}

/// Until it works: stores and brokers come back. Who gives up drops this.
async fn again<T, F: Future<Output = Result<T, FleetError>>>(
    shared: &Shared,
    attempt: impl Fn() -> F,
) -> T {
    let mut pause = Duration::from_millis(200);
    loop {
        match attempt().await {
            Ok(done) => return done,
            Err(e) => {
                shared.metrics.store_errors.inc();
                (shared.tell)(&format!("{e}; it is tried again in {} s", pause.as_secs_f32()));
                tokio::time::sleep(pause).await;
                pause = (2 * pause).min(LONGEST_PAUSE);
            }
        }
    }
}

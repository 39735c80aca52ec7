//! Filling the queue from a listing.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use async_nats::jetstream::context::PublishAckFuture;
use async_nats::jetstream::message::PublishMessage;
use serde::{Deserialize, Serialize};

use crate::{ErrorKind, FleetError, Job, Listing, Queue};

/// Most bytes of tracks in a job: brokers take messages of up to 1 MiB by default.
const MOST_BYTES: usize = 512 << 10;

/// Messages that the broker has not confirmed yet.
const UNDERWAY: usize = 256;

/// How long a broker that is away is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// The note that says what was submitted.
const LISTING: &str = "listing";

/// How to submit.
#[derive(Clone, Copy, Debug)]
pub struct Submission {
    /// Tracks in a job, and so in a part, 1 or more.
    pub batch: usize,
    /// Send every job again, though all of them were sent: for a broker that lost some. Jobs that were done are found
    /// done.
    pub again: bool,
}

/// What the run holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    digest: String,
    tracks: u64,
    batch: usize,
    complete: bool,
}

/// What was submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// Tracks in the listing.
    pub tracks: u64,
    /// Jobs that were sent; 0 when all had been sent before.
    pub jobs: u64,
}

/// Sends the listing as jobs. A run has one listing: the same again is what an interrupted submission needs (no
/// track comes in twice), another one is refused.
///
/// # Errors
/// When the run holds another listing, or the broker stays away.
pub async fn submit(
    queue: &Queue,
    listing: Listing,
    how: Submission,
) -> Result<Submitted, FleetError> {
    let batch = how.batch.max(1);
    let mine = Note { digest: listing.digest(), tracks: listing.tracks(), batch, complete: false };
    if mine.tracks == 0 {
        return Err(FleetError::new(ErrorKind::Malformed, "there is no track in the listing"));
    }
    let text = |note: &Note| {
        serde_json::to_string(note)
            .map_err(|e| FleetError::new(ErrorKind::Bug, format!("a note as JSON: {e}")))
    };
    let there = queue.note_once(LISTING, &text(&mine)?).await?;
    let there: Note = serde_json::from_str(&there)
        .map_err(|e| FleetError::queue("reading the note of the listing", e))?;
    if there != (Note { complete: there.complete, ..mine.clone() }) {
        let run = queue.run.name();
        return Err(FleetError::new(
            ErrorKind::Mismatch,
            format!(
                "the run {run:?} has another listing ({} tracks in jobs of {}, not {} in jobs of {}); name another run",
                there.tracks, there.batch, mine.tracks, mine.batch
            ),
        ));
    }
    let tracks = mine.tracks;
    if there.complete && !how.again {
        return Ok(Submitted { tracks, jobs: 0 });
    }
    let mut sender = Sender { queue, again: how.again, underway: VecDeque::new(), jobs: 0 };
    let mut job = Job { number: 0, tracks: Vec::new() };
    let mut bytes = 0;
    for track in listing.into_lines()? {
        let track = track?;
        if !job.tracks.is_empty() && (job.tracks.len() == batch || bytes + track.len() > MOST_BYTES)
        {
            let next = Job { number: job.number + 1, tracks: Vec::new() };
            sender.send(std::mem::replace(&mut job, next)).await?;
            bytes = 0;
        }
        bytes += track.len();
        job.tracks.push(track);
    }
    sender.send(job).await?;
    sender.confirm(0).await?;
    let done = text(&Note { complete: true, ..mine })?;
    queue
        .notes
        .put(LISTING, done.into())
        .await
        .map_err(|e| FleetError::queue("noting that all is submitted", e))?;
    Ok(Submitted { tracks, jobs: sender.jobs })
}

/// Sends jobs, many underway at a time.
struct Sender<'a> {
    queue: &'a Queue,
    again: bool,
    underway: VecDeque<(PublishAckFuture, Job)>,
    jobs: u64,
}

impl Sender<'_> {
    async fn send(&mut self, job: Job) -> Result<(), FleetError> {
        self.confirm(UNDERWAY - 1).await?;
        let begun = Instant::now();
        let confirmation = loop {
            match self.publish(&job).await {
                Ok(confirmation) => break confirmation,
                Err(e) if begun.elapsed() > PATIENCE => return Err(e),
                Err(_) => tokio::time::sleep(Duration::from_millis(500)).await,
            }
        };
        self.underway.push_back((confirmation, job));
        self.jobs += 1;
        Ok(())
    }

    async fn publish(&self, job: &Job) -> Result<PublishAckFuture, FleetError> {
        let mut message = PublishMessage::build().payload(job.to_bytes()?.into());
        if !self.again {
            // The broker drops what it was sent a moment ago; who sends again means it.
            message = message.message_id(job.id());
        }
        let subject = self.queue.run.job_subject();
        let sent = self.queue.context.send_publish(subject, message).await;
        sent.map_err(|e| FleetError::queue("publishing a job", e))
    }

    /// Waits until at most `left` jobs are not confirmed. One that is not confirmed is sent again: the broker drops
    /// it if it has it, and a worker finds it done if it was.
    async fn confirm(&mut self, left: usize) -> Result<(), FleetError> {
        while self.underway.len() > left {
            let Some((mut confirmation, job)) = self.underway.pop_front() else { return Ok(()) };
            let begun = Instant::now();
            while let Err(e) = confirmation.await {
                if begun.elapsed() > PATIENCE {
                    return Err(FleetError::queue("publishing a job", e));
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
                confirmation = self.publish(&job).await?;
            }
        }
        Ok(())
    }
}

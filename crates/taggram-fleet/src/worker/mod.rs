//! A worker: takes jobs, as many as it can do, and does them.

mod hear;
mod job;
mod metrics;
mod serve;
mod tries;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::jetstream::consumer::{Consumer, pull};
use async_nats::jetstream::{AckKind, Message};
use futures_util::StreamExt;
use taggram_library::Analyst;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use crate::{ErrorKind, FleetError, Out, Queue, Stores};
use hear::Ears;
use metrics::Metrics;

/// Jobs in the hands of one worker: the next one begins where the last tracks of one leave processors idle.
const IN_HAND: usize = 2;

/// How long the broker is asked for a job before it is asked again; a worker that is told to end waits no longer.
const ASK: Duration = Duration::from_secs(2);

/// Looks in a row, a moment apart, after which the broker is taken to have forgotten jobs.
const SURE: u32 = 2;

/// The note that says by which model the run is heard, and where its result goes.
const WAY: &str = "way";

/// How to work.
#[derive(Clone, Debug)]
pub struct Options {
    /// Tracks to listen to at once, 1 or more.
    pub jobs: usize,
    /// Memory for tracks that came over a network and are not heard yet, bytes.
    pub max_memory: u64,
    /// How long another worker waits before it takes a job that was not heard of.
    pub patience: Duration,
    /// After a request to end, longest time to finish the jobs in hand; then they are given back.
    pub drain: Duration,
    /// End when the queue is empty and no worker has a job any more.
    pub until_empty: bool,
    /// Where to serve `/metrics` and `/healthz`.
    pub metrics: Option<SocketAddr>,
}

/// What a worker did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Jobs whose parts this worker wrote.
    pub written: u64,
    /// Jobs that were found done.
    pub found_done: u64,
    /// Jobs that were given back.
    pub given_back: u64,
    /// Tracks that were heard.
    pub heard: u64,
    /// Tracks without an answer.
    pub failed: u64,
}

/// Where sentences for whoever watches go.
pub type Tell = Arc<dyn Fn(&str) + Send + Sync>;

/// What all jobs of a worker share.
struct Shared {
    queue: Queue,
    out: Out,
    ears: Ears,
    metrics: Metrics,
    /// How often the broker hears of a job in hand.
    sign_of_life: Duration,
    /// For whoever watches.
    tell: Tell,
    /// Set when there is no time left to finish what is in hand.
    give_up: watch::Receiver<bool>,
}

/// Works until `stop` is set (or the queue is empty, if asked), and gives what was done. `tell` gets sentences for whoever
/// watches.
///
/// # Errors
/// When the run is heard by another model or goes elsewhere, or the broker cannot be asked at the beginning. Later the
/// broker and the stores may come and go.
pub async fn work(
    queue: Queue,
    out: Out,
    analyst: Analyst,
    stores: Stores,
    options: &Options,
    stop: Arc<AtomicBool>,
    tell: Tell,
) -> Result<Summary, FleetError> {
    agree(&queue, &analyst, &out).await?;
    let mut consumer = queue.workers(options.patience).await?;
    let patience = consumer.cached_info().config.ack_wait;
    let metrics = Metrics::new()?;
    if let Some(address) = options.metrics {
        let address = serve::serve(address, metrics.clone()).await?;
        tell(&format!("metrics on http://{address}/metrics"));
    }
    let (give_up, told) = watch::channel(false);
    let shared = Arc::new(Shared {
        ears: Ears::new(analyst, stores, options.jobs, options.max_memory, metrics.clone()),
        queue,
        out,
        metrics: metrics.clone(),
        sign_of_life: (patience / 3).max(Duration::from_millis(100)),
        tell: tell.clone(),
        give_up: told,
    });
    tell(&format!("waiting for jobs of {}", shared.queue.run.name()));
    let mut hands = JoinSet::new();
    let room = Arc::new(Semaphore::new(IN_HAND));
    let mut away = Away::default();
    let mut idle = 0;
    loop {
        let Some(place) = free_place(&room, &stop).await else { break };
        match next(&consumer).await {
            Ok(Some(message)) => {
                away.back(&tell);
                if stop.load(Ordering::Relaxed) {
                    // Another worker has it at once.
                    let _ = message.ack_with(AckKind::Nak(None)).await;
                    break;
                }
                let shared = shared.clone();
                hands.spawn(async move {
                    job::take_on(&shared, message).await;
                    drop(place);
                });
            }
            Ok(None) => {
                away.back(&tell);
                drop(place);
                match rest(&shared.queue, &consumer).await {
                    Rest::Work => idle = 0,
                    Rest::Nothing if options.until_empty && hands_are_empty(&room) => break,
                    Rest::Nothing => idle = 0,
                    Rest::Forgotten => idle += 1,
                }
                if idle == SURE {
                    tell(
                        "the broker forgot jobs that it has; it is asked for them from the first on",
                    );
                    idle = 0;
                    match shared.queue.workers_anew(patience).await {
                        Ok(anew) => consumer = anew,
                        Err(e) => away.gone(&e, &tell).await,
                    }
                }
            }
            Err(e) => {
                drop(place);
                metrics.broker_errors.inc();
                away.gone(&e, &tell).await;
            }
        }
        while hands.try_join_next().is_some() {}
    }
    if !hands.is_empty() {
        tell(&format!("{} jobs in hand are brought to an end", hands.len()));
    }
    let all = async { while hands.join_next().await.is_some() {} };
    if tokio::time::timeout(options.drain, all).await.is_err() {
        // Nobody is left to receive it only when every job has ended.
        let _ = give_up.send(true);
        while hands.join_next().await.is_some() {}
    }
    // What was said to the broker last is on its way out.
    let _ = shared.queue.context.client().flush().await;
    Ok(metrics.summary())
}

/// All workers of a run hear the same way and write to the same place; the first one says which.
async fn agree(queue: &Queue, analyst: &Analyst, out: &Out) -> Result<(), FleetError> {
    let mine = format!("{} → {}", analyst.key(), out.name());
    let theirs = queue.note_once(WAY, &mine).await?;
    if theirs == mine {
        return Ok(());
    }
    Err(FleetError::new(
        ErrorKind::Mismatch,
        format!(
            "the run {:?} is worked on as {theirs}, and this worker would as {mine}: the same model, listening and place are needed, or another run",
            queue.run.name()
        ),
    ))
}

/// A place for one more job; `None` when the worker is to end.
async fn free_place(room: &Arc<Semaphore>, stop: &AtomicBool) -> Option<OwnedSemaphorePermit> {
    loop {
        if stop.load(Ordering::Relaxed) {
            return None;
        }
        let place = room.clone().acquire_owned();
        match tokio::time::timeout(Duration::from_millis(100), place).await {
            Ok(place) => return place.ok(),
            Err(_) => continue,
        }
    }
}

fn hands_are_empty(room: &Semaphore) -> bool {
    room.available_permits() == IN_HAND
}

/// The next job, if there is one within a moment.
async fn next(consumer: &Consumer<pull::Config>) -> Result<Option<Message>, FleetError> {
    let failed = |e: &dyn std::fmt::Display| FleetError::queue("asking for a job", e);
    let asked = async {
        let mut batch = consumer
            .fetch()
            .max_messages(1)
            .expires(ASK)
            .messages()
            .await
            .map_err(|e| failed(&e))?;
        batch.next().await.transpose().map_err(|e| failed(&e))
    };
    // A broker that is away answers nothing at all.
    match tokio::time::timeout(3 * ASK, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(failed(&"no answer")),
    }
}

/// What is left when no job comes.
enum Rest {
    /// Jobs in somebody's hands, or to come; or the broker does not say.
    Work,
    Nothing,
    /// The broker has jobs and means to give them to nobody: one that was killed may remember that it gave a job
    /// away, and not that it was to come again.
    Forgotten,
}

async fn rest(queue: &Queue, consumer: &Consumer<pull::Config>) -> Rest {
    let (Ok(info), Ok(there)) = (consumer.get_info().await, queue.jobs_there().await) else {
        return Rest::Work;
    };
    match (info.num_pending == 0 && info.num_ack_pending == 0, there) {
        (false, _) => Rest::Work,
        (true, 0) => Rest::Nothing,
        (true, _) => Rest::Forgotten,
    }
}

/// A broker that comes and goes: said once, asked again less and less often.
#[derive(Default)]
struct Away(u32);

impl Away {
    fn back(&mut self, tell: &Tell) {
        if std::mem::take(&mut self.0) > 0 {
            tell("the broker is back");
        }
    }

    async fn gone(&mut self, error: &FleetError, tell: &Tell) {
        if self.0 == 0 {
            tell(&format!("{error}; it is asked again"));
        }
        self.0 += 1;
        tokio::time::sleep(Duration::from_millis(200 << self.0.min(4))).await;
    }
}

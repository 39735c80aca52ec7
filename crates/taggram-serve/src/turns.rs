//! Who may compute: as many songs at once as there are processors, the others in a queue.
//!
//! A song that takes long gives its turn up from time to time, so a short one behind it does not
//! wait for all of it; a song that waits for its own bytes does not hold a turn at all. The unit
//! that is queued is therefore a run of windows, of all songs alike.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a turn lasts when others wait. A clip of 30 s takes some 16 ms of a processor, so it is done within
/// one turn even where other programs take most of the processor: to interrupt it would make all later.
const LENGTH: Duration = Duration::from_millis(150);

/// The processors and the queue for them, first come, first served.
#[derive(Clone)]
pub(crate) struct Turns {
    processors: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

/// Leaves the queue when the wait ends, in whatever way.
struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Turns {
    /// Turns for so many songs at once.
    pub fn new(processors: usize) -> Self {
        Self { processors: Arc::new(Semaphore::new(processors.max(1))), waiting: Arc::default() }
    }

    /// Waits for a turn. Dropping the future leaves the queue.
    pub async fn wait(&self) -> Turn {
        let _waiting = Waiting::new(&self.waiting);
        // The semaphore is never closed; without a permit the song would only run unordered.
        let permit = self.processors.clone().acquire_owned().await.ok();
        let now = Instant::now();
        Turn {
            turns: self.clone(),
            permit,
            runtime: Handle::current(),
            since: now,
            worked: Duration::ZERO,
        }
    }

    /// Songs that wait for a turn.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// The right to compute. Used from a thread that may block.
pub(crate) struct Turn {
    turns: Turns,
    permit: Option<OwnedSemaphorePermit>,
    runtime: Handle,
    since: Instant,
    worked: Duration,
}

impl Turn {
    /// Lets another song go first while this one waits for something else.
    pub fn pause(&mut self) {
        if self.permit.take().is_some() {
            self.worked += self.since.elapsed();
        }
    }

    /// Waits for a turn again.
    pub fn resume(&mut self) {
        if self.permit.is_none() {
            let _waiting = Waiting::new(&self.turns.waiting);
            let processors = self.turns.processors.clone();
            self.permit = self.runtime.block_on(processors.acquire_owned()).ok();
            self.since = Instant::now();
        }
    }

    /// Goes to the end of the queue if the turn was long and others wait.
    pub fn share(&mut self) {
        if self.since.elapsed() >= LENGTH && self.turns.waiting() > 0 {
            self.pause();
            self.resume();
        }
    }

    /// Time that turns have taken so far.
    pub fn worked(&self) -> Duration {
        self.worked + if self.permit.is_some() { self.since.elapsed() } else { Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A long song and short ones that come later, on one processor.
    #[tokio::test]
    async fn short_songs_pass_a_long_one() {
        let turns = Turns::new(1);
        let long = turns.wait().await;
        let start = Instant::now();
        let long = tokio::task::spawn_blocking(move || {
            let mut turn = long;
            while turn.worked() < Duration::from_millis(1200) {
                std::thread::sleep(Duration::from_millis(10));
                turn.share();
            }
            start.elapsed()
        });
        for _ in 0..3 {
            let turn = turns.wait().await;
            tokio::time::sleep(Duration::from_millis(5)).await;
            drop(turn);
        }
        let short = start.elapsed();
        let long = long.await.unwrap();
        assert!(short < long, "the short songs ended after {short:?}, the long one after {long:?}");
        assert_eq!(turns.waiting(), 0);
    }

    #[tokio::test]
    async fn a_paused_song_lets_others_go_and_leaving_the_queue_is_counted() {
        let turns = Turns::new(1);
        let mut first = turns.wait().await;
        let left = tokio::time::timeout(Duration::from_millis(20), turns.wait()).await;
        assert!(left.is_err() && turns.waiting() == 0);
        first.pause();
        let second = turns.wait().await;
        drop(second);
        tokio::task::spawn_blocking(move || first.resume()).await.unwrap();
    }
}

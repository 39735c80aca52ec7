//! Who is connected, and who goes when there is no room for the next.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

/// A connection on which something moved as lately is not sent away.
const BUSY: Duration = Duration::from_secs(1);

/// How often somebody who waits for room looks for one to send away.
const LOOK: Duration = Duration::from_millis(100);

/// All connections, and room for more.
pub(super) struct Crowd {
    begin: Instant,
    room: Arc<Semaphore>,
    /// By a number of their own.
    guests: Mutex<(u64, HashMap<u64, Arc<Pulse>>)>,
}

/// When something last moved on a connection.
pub(super) struct Pulse {
    begin: Instant,
    /// Milliseconds after `begin`.
    moved: AtomicU64,
    leave: Notify,
}

/// A place in the crowd, given back when it is dropped.
pub(super) struct Place {
    crowd: Arc<Crowd>,
    number: u64,
    pub pulse: Arc<Pulse>,
    _permit: OwnedSemaphorePermit,
}

impl Pulse {
    pub fn beat(&self) {
        self.moved.store(self.begin.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// How long nothing moved.
    pub fn idle(&self) -> Duration {
        let moved = Duration::from_millis(self.moved.load(Ordering::Relaxed));
        self.begin.elapsed().saturating_sub(moved)
    }

    /// Comes when this connection is to make room.
    pub async fn asked_to_leave(&self) {
        self.leave.notified().await;
    }
}

impl Crowd {
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            begin: Instant::now(),
            room: Arc::new(Semaphore::new(most)),
            guests: Mutex::default(),
        })
    }

    /// A place for a connection that was accepted. When all are taken the one on which nothing
    /// moved for longest is closed: a player that comes back to it opens another.
    pub async fn enter(self: &Arc<Self>) -> Place {
        let permit = loop {
            if let Ok(permit) = self.room.clone().try_acquire_owned() {
                break permit;
            }
            self.dismiss_idlest();
            if let Ok(Ok(permit)) = timeout(LOOK, self.room.clone().acquire_owned()).await {
                break permit;
            }
        };
        let pulse =
            Arc::new(Pulse { begin: self.begin, moved: AtomicU64::new(0), leave: Notify::new() });
        pulse.beat();
        let mut guests = self.guests();
        guests.0 += 1;
        let number = guests.0;
        guests.1.insert(number, pulse.clone());
        Place { crowd: self.clone(), number, pulse, _permit: permit }
    }

    fn dismiss_idlest(&self) {
        let mut guests = self.guests();
        let idlest = guests.1.iter().map(|(number, pulse)| (pulse.idle(), *number)).max();
        if let Some((idle, number)) = idlest
            && idle >= BUSY
            && let Some(pulse) = guests.1.remove(&number)
        {
            pulse.leave.notify_one();
        }
    }

    fn guests(&self) -> MutexGuard<'_, (u64, HashMap<u64, Arc<Pulse>>)> {
        // A panic elsewhere leaves the map whole: each change is one call.
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.guests().1.remove(&self.number);
    }
}

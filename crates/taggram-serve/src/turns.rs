//! Who may compute: as many songs at once as there are processors, the others in a queue.
//!
//! A song that takes long gives its turn up from time to time, so a short one behind it does not
//! wait for all of it; a song that waits for its own bytes does not hold a turn at all. The unit
//! that is queued is therefore a run of windows, of all songs alike.
//!
//! A thread that is done with a song takes the next one itself: where the processors are busy,
//! waking another thread for it would only make it wait for one of them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// How long a turn lasts when others wait. A clip of 30 s takes some 16 ms of a processor, so it is done within
/// one turn even where other programs take most of the processor: to interrupt it would make all later.
const LENGTH: Duration = Duration::from_millis(150);

/// The processors and the queue for them, first come, first served.
#[derive(Clone)]
pub(crate) struct Turns(Arc<Mutex<Queue>>);

struct Queue {
    free: usize,
    waiting: VecDeque<(u64, Waits)>,
    tickets: u64,
}

/// What is in the queue.
enum Waits {
    /// A song that was not begun, and where a thread for it is to be had.
    Song(Song, Handle),
    /// A song that has a thread already, or finds one.
    Thread(oneshot::Sender<Permit>),
}

type Song = Box<dyn FnOnce(&SharedTurn) + Send>;

/// A turn that the reader and the listener of one song share.
pub(crate) type SharedTurn = Arc<Mutex<Turn>>;

/// The turn, whatever happened to another holder.
pub(crate) fn hold(turn: &SharedTurn) -> MutexGuard<'_, Turn> {
    turn.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One processor. Dropping it gives it to the next in the queue.
struct Permit(Turns);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// Leaves the queue when it is dropped.
struct Place {
    turns: Turns,
    ticket: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queue = self.turns.queue();
        let left = queue.waiting.iter().position(|(ticket, _)| *ticket == self.ticket);
        let left = left.and_then(|at| queue.waiting.remove(at));
        // What a song holds is given back without keeping others from the queue.
        drop(queue);
        drop(left);
    }
}

impl Turns {
    /// Turns for so many songs at once.
    pub fn new(processors: usize) -> Self {
        let waiting = VecDeque::new();
        Self(Arc::new(Mutex::new(Queue { free: processors.max(1), waiting, tickets: 0 })))
    }

    /// Runs `song` on a thread that may block once it is its turn, and gives what it returns; `None`
    /// when it panicked. Dropping the future leaves the queue; a song that was begun goes on.
    pub async fn run<T: Send + 'static>(
        &self,
        song: impl FnOnce(&SharedTurn) -> T + Send + 'static,
    ) -> Option<T> {
        let (send, receive) = oneshot::channel();
        let song: Song = Box::new(move |turn: &SharedTurn| drop(send.send(song(turn))));
        let _place = match self.enter(Waits::Song(song, Handle::current())) {
            Ok((Waits::Song(song, runtime), permit)) => {
                runtime.spawn_blocking(move || work_off(song, permit));
                None
            }
            Ok(_) => None,
            Err(place) => Some(place),
        };
        receive.await.ok()
    }

    /// Waits for a turn. Dropping the future leaves the queue.
    pub async fn wait(&self) -> Turn {
        let (send, receive) = oneshot::channel();
        Turn::new(
            self,
            match self.enter(Waits::Thread(send)) {
                Ok((_, permit)) => Some(permit),
                // Nobody drops a sender that waits; without a permit the song would only run unordered.
                Err(_place) => receive.await.ok(),
            },
        )
    }

    /// Songs that wait for a turn.
    pub fn waiting(&self) -> usize {
        self.queue().waiting.len()
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a processor that is free, or else goes to the end of the queue.
    fn enter(&self, waits: Waits) -> Result<(Waits, Permit), Place> {
        let mut queue = self.queue();
        if queue.free > 0 {
            queue.free -= 1;
            return Ok((waits, Permit(self.clone())));
        }
        let ticket = queue.tickets;
        queue.tickets += 1;
        queue.waiting.push_back((ticket, waits));
        Err(Place { turns: self.clone(), ticket })
    }

    /// Gives a processor to the next in the queue.
    fn release(&self) {
        let mut queue = self.queue();
        let Some((_, next)) = queue.waiting.pop_front() else {
            queue.free += 1;
            return;
        };
        drop(queue);
        let permit = Permit(self.clone());
        match next {
            Waits::Song(song, runtime) => {
                runtime.spawn_blocking(move || work_off(song, permit));
            }
            // Who does not wait any more drops the permit, and so gives it on.
            Waits::Thread(waits) => drop(waits.send(permit)),
        }
    }

    /// The song that is next, if the next in the queue is one without a thread.
    fn next_song(&self) -> Option<Song> {
        let mut queue = self.queue();
        let next = queue.waiting.pop_front_if(|(_, next)| matches!(next, Waits::Song(..)));
        match next {
            Some((_, Waits::Song(song, _))) => Some(song),
            _ => None,
        }
    }
}

/// Works on `song`, and on those that are next after it.
fn work_off(mut song: Song, mut permit: Permit) {
    let turns = permit.0.clone();
    loop {
        let turn = Arc::new(Mutex::new(Turn::new(&turns, Some(permit))));
        song(&turn);
        // A song that ended while it had no turn leaves none.
        let Some(left) = hold(&turn).permit.take() else { return };
        // A permit that is not used for the next song is given on here, to whoever waits.
        let Some(next) = turns.next_song() else { return };
        (song, permit) = (next, left);
    }
}

/// The right to compute. Used from a thread that may block.
pub(crate) struct Turn {
    turns: Turns,
    permit: Option<Permit>,
    since: Instant,
    worked: Duration,
}

impl Turn {
    fn new(turns: &Turns, permit: Option<Permit>) -> Self {
        Self { turns: turns.clone(), permit, since: Instant::now(), worked: Duration::ZERO }
    }

    /// Lets another song go first while this one waits for something else.
    pub fn pause(&mut self) {
        if self.permit.take().is_some() {
            self.worked += self.since.elapsed();
        }
    }

    /// Waits for a turn again.
    pub fn resume(&mut self) {
        if self.permit.is_none() {
            let (send, receive) = oneshot::channel();
            self.permit = match self.turns.enter(Waits::Thread(send)) {
                Ok((_, permit)) => Some(permit),
                Err(_place) => receive.blocking_recv().ok(),
            };
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
        let start = Instant::now();
        let long = tokio::spawn({
            let turns = turns.clone();
            async move {
                let song = move |turn: &SharedTurn| {
                    while hold(turn).worked() < Duration::from_millis(1200) {
                        std::thread::sleep(Duration::from_millis(10));
                        hold(turn).share();
                    }
                    start.elapsed()
                };
                turns.run(song).await.unwrap()
            }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        for _ in 0..3 {
            turns.run(|_| std::thread::sleep(Duration::from_millis(5))).await.unwrap();
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
        let left = tokio::time::timeout(Duration::from_millis(20), turns.run(|_| ())).await;
        assert!(left.is_err() && turns.waiting() == 0);
        first.pause();
        let second = turns.wait().await;
        drop(second);
        tokio::task::spawn_blocking(move || first.resume()).await.unwrap();
    }

    /// Songs one after another, in the order in which they came, on the thread of the first; one
    /// that panics takes nothing with it but itself.
    #[tokio::test]
    async fn songs_take_turns_in_their_order() {
        let turns = Turns::new(1);
        let first = turns.wait().await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut songs = Vec::new();
        for number in 0..6 {
            let (turns, order) = (turns.clone(), order.clone());
            songs.push(tokio::spawn(async move {
                let song = move |_: &SharedTurn| {
                    order.lock().unwrap().push(number);
                    assert_ne!(number, 3, "a song that panics");
                };
                turns.run(song).await
            }));
            // Each is in the queue before the next comes.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(turns.waiting(), 6);
        songs[1].abort();
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!(turns.waiting(), 5);
        drop(first);
        for (number, song) in songs.into_iter().enumerate() {
            let ended = song.await;
            match number {
                1 => assert!(ended.is_err()),
                3 => assert_eq!(ended.unwrap(), None),
                _ => assert_eq!(ended.unwrap(), Some(())),
            }
        }
        assert_eq!(*order.lock().unwrap(), [0, 2, 3, 4, 5]);
        // The turn of the one that panicked is not lost.
        assert_eq!(turns.run(|_| 7).await, Some(7));
    }
}

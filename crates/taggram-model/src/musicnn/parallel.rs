//! Work handed to several threads.

use std::sync::Mutex;

/// Runs `work` on every item, on `threads` threads (this one, when it is 1). Each thread makes
/// itself one `T` to work with.
pub(super) fn for_each<I: Send, T>(
    threads: usize,
    items: Vec<I>,
    make: impl Fn() -> T + Sync,
    work: impl Fn(&mut T, I) + Sync,
) {
    if threads <= 1 || items.len() <= 1 {
        let mut space = make();
        return items.into_iter().for_each(|item| work(&mut space, item));
    }
    let count = threads.min(items.len());
    let queue = Mutex::new(items.into_iter());
    let drain = || {
        let mut space = make();
        // A panic elsewhere ends the scope anyway; the queue itself cannot be left broken.
        let next = || queue.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).next();
        while let Some(item) = next() {
            work(&mut space, item);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..count {
            scope.spawn(drain);
        }
        drain();
    });
}

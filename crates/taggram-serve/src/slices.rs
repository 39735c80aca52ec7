//! How the system shares the processors between threads that compute and those that move bytes.
//!
//! A thread that wakes up waits until the one at work has used its slice, looked at from tick to tick (4 ms at 250 Hz):
//! with songs at work on all processors that is what each step of an upload and of an answer takes. Linux (6.12 and
//! later) lets a thread choose the length of its slices, which changes how soon it is served and not how much it gets: a
//! thread that wakes goes before one that has longer slices. Elsewhere nothing is done.

/// This thread moves bytes: it is to be served soon, and for a moment.
pub(crate) fn moves_bytes() {
    system::slice(SHORT);
}

/// This thread computes: whoever wakes goes first.
pub(crate) fn computes() {
    system::slice(LONG);
}

/// The shortest and the longest slice that the system gives, in nanoseconds.
const SHORT: u64 = 100_000;
const LONG: u64 = 100_000_000;

#[cfg(target_os = "linux")]
mod system {
    /// Whatever goes wrong (an old system, a filter of system calls), the slice stays as it was.
    pub fn slice(nanoseconds: u64) {
        const SIZE: u32 = size_of::<libc::sched_attr>() as u32;
        // SAFETY: a structure of numbers, for which zeros are values.
        let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
        // SAFETY: the system writes at most SIZE bytes into the structure, which lives through the call; 0 is this thread.
        let got =
            unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, SIZE, 0) };
        if got != 0 || attributes.sched_policy != libc::SCHED_OTHER as u32 {
            return;
        }
        attributes.size = SIZE;
        attributes.sched_runtime = nanoseconds;
        // SAFETY: the system only reads the structure.
        unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    pub fn slice(_: u64) {}
}

//! Many machines, one result.
//!
//! ```text
//! listing ─submit→ jobs in JetStream ─worker→ tracks from any store ─listen→ one Parquet part a job
//!                                       └→ dead letters: tracks without an answer, and why
//! ```
//!
//! A job is a fixed run of tracks of the listing, and its part has the job's name. A part is written whole or not
//! at all, and never twice ([`Out`]); a job is taken off the queue after its part is durable. So a worker or the
//! broker may die at any moment: the job is done again or found done, and every track is in the result exactly
//! once. `docs/decisions/0013-fleet.md` has the reasons.
//!
//! * [`submit()`] fills the queue from a [`Listing`];
//! * [`work()`] is a worker: bounded, observable, drained on request;
//! * [`status()`] and [`dead_letters()`] tell how a run stands.

mod error;
mod job;
mod listing;
mod part;
mod place;
mod queue;
mod submit;
mod worker;

pub use error::{ErrorKind, FleetError};
pub use job::Job;
pub use listing::Listing;
pub use part::{Existing, Failure, Out};
pub use place::{Place, Stores};
pub use queue::{DeadLetter, Queue, Run, Status, dead_letters, status};
pub use submit::{Submission, Submitted, submit};
pub use worker::{Options, Summary, Tell, work};

/// Runs what waits for networks, on two threads: listening has threads of its own.
///
/// # Errors
/// When the system gives no threads; what `task` gives.
pub fn run<T>(task: impl Future<Output = Result<T, FleetError>>) -> Result<T, FleetError> {
    // Another part of the program may have chosen a provider before; any will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| FleetError::new(ErrorKind::Bug, format!("no threads could be had: {e}")))?
        .block_on(task)
}

//! taggram over HTTP: an API, and a page where one drops a song.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let models = vec![taggram::model("default")?];
//! let service = taggram_serve::Service::new(models, taggram_serve::Config::default())?;
//! taggram_serve::run("127.0.0.1:5000", service, |address| println!("http://{address}"))?;
//! # Ok(())
//! # }
//! ```
//!
//! A request goes through [`router`]: its body is read within bounds (`arriving`, `upload`), it gets
//! a place in the queue and a turn at a processor (`turns`), is listened to through
//! [`taggram::listen_while`] on a thread that may block (`hear`), and answered (`api`). No body
//! touches the disk.

mod api;
mod arriving;
mod budget;
mod check;
mod config;
mod guests;
mod hear;
mod metrics;
mod openapi;
mod options;
mod page;
mod patience;
mod pipe;
mod problem;
mod router;
mod server;
mod service;
mod turns;
mod upload;

pub use check::check;
pub use config::Config;
pub use openapi::openapi;
pub use options::{DecideBy, Format, Options, Theme};
pub use problem::{Code, Problem};
pub use router::router;
pub use server::serve;
pub use service::Service;

use std::net::SocketAddr;
use std::sync::Arc;

/// Why there is no service.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Models that cannot be served together.
    #[error("{0}")]
    Models(String),
    /// The address cannot be listened on.
    #[error("{address} cannot be listened on: {error}")]
    Address {
        /// The address as it was given.
        address: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// The system does not give threads or signals.
    #[error("the service could not be started: {0}")]
    Start(#[source] std::io::Error),
}

/// Serves on `address` (`HOST:PORT`; port 0 takes a free one) until the process is told to stop by
/// SIGTERM or SIGINT, and then answers what was begun. `listening` is told the address once
/// requests are accepted.
///
/// # Errors
/// When the address cannot be listened on or the system gives no threads.
pub fn run(
    address: &str,
    service: Arc<Service>,
    listening: impl FnOnce(SocketAddr),
) -> Result<(), ServeError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // Work has its own threads; these only move bytes.
        .worker_threads(service.config.cores.clamp(1, 4))
        .max_blocking_threads(service.config.queue + service.config.cores + 1)
        .thread_name("serve")
        .enable_all()
        .build()
        .map_err(ServeError::Start)?;
    let result = runtime.block_on(async {
        let stop = signal().map_err(ServeError::Start)?;
        let refused = |error| ServeError::Address { address: address.to_string(), error };
        let listener = tokio::net::TcpListener::bind(address).await.map_err(refused)?;
        listening(listener.local_addr().map_err(refused)?);
        serve(listener, service, stop).await.map_err(ServeError::Start)
    });
    // A song that nobody waits for any more is not waited for either.
    runtime.shutdown_timeout(std::time::Duration::from_millis(100));
    result
}

/// Ready when the process is told to stop.
#[cfg(unix)]
fn signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Ready when the process is told to stop.
#[cfg(not(unix))]
fn signal() -> std::io::Result<impl Future<Output = ()>> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}

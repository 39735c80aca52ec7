//! A whole music library: scanned once, remembered, tagged without risk.
//!
//! ```text
//! folder ─walk→ files ─fingerprint→ known? ─analyse→ Index ─→ tags · playlists · charts
//! ```
//!
//! * [`scan()`] classifies what is new or changed, with all processors, and remembers it in an
//!   [`Index`]: one SQLite file. A file that moved or was re-tagged is known by its audio.
//! * [`tags`] writes genres into files, never touching audio, with an undo journal.
//! * [`stats`], [`export`] and [`similar`] answer from the index alone.
//! * [`parquet`] writes tables that data tools read.

mod analysis;
mod error;
pub mod export;
mod fingerprint;
mod index;
pub mod parquet;
pub mod scan;
pub mod similar;
pub mod stats;
pub mod tags;
mod walk;

pub use analysis::{Analyst, Answer, Listening};
pub use error::{ErrorKind, LibraryError};
pub use fingerprint::Fingerprint;
pub use index::{Index, SCHEMA, Track};
pub use scan::scan;
pub use walk::{Found, display, find, walk};

//! Genres in the files themselves: read, planned, written without risk, taken back.
//!
//! Writing never touches a file in place. The file is copied, the copy is tagged and read again;
//! its audio must hash to the same, its other tags must be the same, and what turns it back into
//! the original must be on the disk, before it is renamed over the original.

mod delta;
mod form;
mod journal;
mod plan;
mod write;

use std::path::Path;

pub use journal::{Journal, Undone};
pub use plan::{Policy, Rules, Vocabulary};
pub use write::{Change, Verdict, plan, write};

/// What a file's own tags say, as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Genres, in their order.
    pub genres: Vec<String>,
    /// Year of recording or release.
    pub year: Option<i32>,
}

impl Facts {
    /// The genres in one line, or `None` when there is none.
    pub fn genre(&self) -> Option<String> {
        (!self.genres.is_empty()).then(|| self.genres.join("; "))
    }
}

/// What the tags of a file say; nothing when they cannot be read.
pub fn facts(path: &Path) -> Facts {
    form::Tagged::read(path, false).map(|tagged| tagged.facts()).unwrap_or_default()
}

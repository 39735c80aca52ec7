//! What can go wrong when drawing, as sentences.

use std::path::PathBuf;

/// Which sort of problem it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlotErrorKind {
    /// The data contradict themselves, e.g. nine counts for ten labels.
    Malformed,
    /// Something that is not drawn, e.g. a file name ending in `.gif`.
    Unsupported,
    /// A picture larger than is sensible.
    OverLimit,
    /// The file could not be written.
    Io,
    /// A fault of this crate.
    Bug,
}

/// A chart could not be drawn or written.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}{message}", path.as_ref().map(|p| format!("{}: ", p.display())).unwrap_or_default())]
pub struct PlotError {
    /// The sort of problem.
    pub kind: PlotErrorKind,
    /// The file concerned, when there is one.
    pub path: Option<PathBuf>,
    /// What was found and what was needed.
    pub message: String,
}

impl PlotError {
    pub(crate) fn new(kind: PlotErrorKind, message: impl Into<String>) -> Self {
        Self { kind, path: None, message: message.into() }
    }

    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self::new(PlotErrorKind::Malformed, message)
    }
}

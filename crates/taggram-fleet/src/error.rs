//! The one error of this crate: a small kind, and a sentence with evidence.

/// What sort of trouble it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// An address, a name or a listing makes no sense.
    Malformed,
    /// The broker cannot be reached or refuses.
    Queue,
    /// A store cannot be reached or refuses.
    Store,
    /// The run is not what was asked for: another listing, model or place for its result.
    Mismatch,
    /// A mistake of this program.
    Bug,
}

/// An error with its kind.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct FleetError {
    /// What sort of trouble it is.
    pub kind: ErrorKind,
    /// A sentence: where, what was found, what was needed.
    pub message: String,
}

impl FleetError {
    /// An error of `kind` with its sentence.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(crate) fn queue(doing: &str, error: impl std::fmt::Display) -> Self {
        Self::new(ErrorKind::Queue, format!("the queue: {doing} failed: {error}"))
    }

    pub(crate) fn store(place: &str, doing: &str, error: impl std::fmt::Display) -> Self {
        Self::new(ErrorKind::Store, format!("{place}: {doing} failed: {error}"))
    }
}

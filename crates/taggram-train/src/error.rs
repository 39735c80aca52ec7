//! What can go wrong in training and evaluation.

/// What kind of trouble it is: tells a caller whether the input, the request or this program is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The input contradicts itself or its format.
    Malformed,
    /// Well-formed, but nothing here can do it.
    Unsupported,
    /// Not enough of it: rows, frames, songs.
    TooShort,
    /// More than a stated limit allows.
    OverLimit,
    /// The machine refused: a file that cannot be read or written, no memory.
    Overloaded,
    /// A mistake of this program.
    Bug,
}

/// Where it went wrong, what kind of trouble it is, and a sentence with the evidence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct TrainError {
    /// A file, a row, a key of a recipe, a node of a network, a step.
    pub place: String,
    /// Kind of trouble.
    pub kind: ErrorKind,
    /// What was found and what was needed.
    pub message: String,
}

impl TrainError {
    /// An error of `kind` at `place`.
    pub fn new(place: impl Into<String>, kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { place: place.into(), kind, message: message.into() }
    }

    /// The input contradicts itself or its format.
    pub fn malformed(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(place, ErrorKind::Malformed, message)
    }

    /// A file could not be read or written.
    pub fn io(path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::new(path.display().to_string(), ErrorKind::Overloaded, error.to_string())
    }
}

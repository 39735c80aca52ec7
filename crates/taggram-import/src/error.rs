//! What can go wrong while importing.

/// Why an import was refused. Nothing has been installed when it appears.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct ImportError {
    /// Where: the file, and inside a wheel the member.
    pub place: String,
    /// What kind of trouble it is.
    pub kind: ImportErrorKind,
    /// One sentence: what was found and what was needed.
    pub message: String,
}

/// Kinds of trouble with an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportErrorKind {
    /// The file or folder cannot be read at all.
    Unreadable,
    /// Damaged, truncated, or not what it should be.
    Malformed,
    /// Sound, but of a kind that is not read here.
    Unsupported,
    /// Larger than anything the published files need.
    OverLimit,
}

impl ImportError {
    pub(crate) fn new(
        place: impl Into<String>,
        kind: ImportErrorKind,
        message: impl Into<String>,
    ) -> Self {
        Self { place: place.into(), kind, message: message.into() }
    }

    pub(crate) fn malformed(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(place, ImportErrorKind::Malformed, message)
    }
}

//! The one error of this crate: where, a small kind, and a sentence with evidence.

use std::fmt;

/// What sort of trouble it is, for programs that act on it (an exit code, an HTTP status).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The source could not be opened or read: missing, no permission, a device fault.
    Unreadable,
    /// Not audio at all: something else, or nothing that is known.
    NotAudio,
    /// The bytes are not what they claim to be.
    Malformed,
    /// Valid, but of a kind this program does not decode.
    Unsupported,
    /// There is no audio, or not enough of it.
    TooShort,
    /// Larger or longer than the caller allows.
    OverLimit,
    /// A defect of ours or of a decoder we use; the file is innocent until shown otherwise.
    Bug,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreadable => "unreadable",
            Self::NotAudio => "not audio",
            Self::Malformed => "malformed",
            Self::Unsupported => "unsupported",
            Self::TooShort => "too short",
            Self::OverLimit => "over a limit",
            Self::Bug => "bug",
        })
    }
}

/// An error of the audio path.
///
/// `Display` gives one sentence, preceded by the place (a path) where one is known.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}{message}", .place.as_deref().map(|p| format!("{p}: ")).unwrap_or_default())]
pub struct AudioError {
    /// What sort of trouble it is.
    pub kind: ErrorKind,
    /// The file, if the audio came from one.
    pub place: Option<String>,
    /// A sentence: what was found and what was needed. It does not repeat the place.
    pub message: String,
}

impl AudioError {
    /// An error without a place.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, place: None, message: message.into() }
    }

    /// The same error, said of `place` (unless a place was known before).
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.place.get_or_insert_with(|| place.to_string());
        self
    }

    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Malformed, message)
    }

    pub(crate) fn not_audio(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotAudio, message)
    }

    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    pub(crate) fn unreadable(doing: &str, error: &std::io::Error) -> Self {
        Self::new(ErrorKind::Unreadable, format!("{doing} failed: {error}"))
    }
}

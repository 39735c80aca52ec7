//! The one error of this crate: where, a small kind, and a sentence with evidence.

use std::fmt;

/// What sort of trouble it is, for programs that act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A file or an address could not be reached or read.
    Unreadable,
    /// The bytes are not what they claim to be.
    Malformed,
    /// Sound, but of a kind this program does not handle.
    Unsupported,
    /// Larger, longer or more often than allowed.
    OverLimit,
    /// An address that must not be asked.
    Refused,
    /// The server answers that it has it not, or will not give it.
    Status,
    /// Nothing came for too long.
    Stalled,
    /// A defect of ours.
    Bug,
}

/// An error of the HLS rooms. `Display` gives one sentence, preceded by the place where one is known.
#[derive(Debug, Clone, thiserror::Error)]
pub struct HlsError {
    /// What sort of trouble it is.
    pub kind: ErrorKind,
    /// The address or the file, and the line of a playlist.
    pub place: Option<String>,
    /// A sentence: what was found and what was needed.
    pub message: String,
}

impl HlsError {
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

    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }
}

impl fmt::Display for HlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl From<taggram_audio::AudioError> for HlsError {
    fn from(e: taggram_audio::AudioError) -> Self {
        use taggram_audio::ErrorKind as Audio;
        let kind = match e.kind {
            Audio::Unreadable => ErrorKind::Unreadable,
            Audio::Malformed | Audio::TooShort => ErrorKind::Malformed,
            Audio::OverLimit => ErrorKind::OverLimit,
            Audio::Unsupported => ErrorKind::Unsupported,
            _ => ErrorKind::Bug,
        };
        Self { kind, place: e.place, message: e.message }
    }
}

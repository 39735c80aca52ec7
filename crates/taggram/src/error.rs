//! The one error of the facade: what went wrong, in a sentence, and of which kind it is.

use std::path::Path;

/// Why a song got no answer.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What kind of trouble: what a program decides on.
    pub kind: ErrorKind,
    /// One sentence with the evidence: what a person reads.
    pub message: String,
}

/// Kinds of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The file or stream could not be read at all.
    Unreadable,
    /// Not audio at all: something else, or nothing that is known.
    NotAudio,
    /// The bytes are not the audio (or model) that they claim to be.
    Malformed,
    /// Sound, but in a form that is not read here.
    Unsupported,
    /// No samples, or fewer than an answer needs.
    TooShort,
    /// Longer or larger than the limits of this call.
    OverLimit,
    /// No model of that name, or its file is missing.
    NoModel,
    /// Whoever asked wants no answer any more.
    Cancelled,
    /// A mistake of this program.
    Bug,
}

impl Error {
    /// An error of `kind` with the sentence for people.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(crate) fn unreadable(path: &Path, error: &std::io::Error) -> Self {
        Self::new(ErrorKind::Unreadable, format!("{} cannot be read: {error}", path.display()))
    }
}

impl From<taggram_features::FeatureError> for Error {
    fn from(e: taggram_features::FeatureError) -> Self {
        use taggram_features::Kind;
        let kind = match e.kind {
            Kind::Malformed => ErrorKind::Malformed,
            _ => ErrorKind::Unsupported,
        };
        Self::new(kind, e.to_string())
    }
}

impl From<taggram_audio::AudioError> for Error {
    fn from(e: taggram_audio::AudioError) -> Self {
        use taggram_audio::ErrorKind as Audio;
        let kind = match e.kind {
            Audio::Unreadable => ErrorKind::Unreadable,
            Audio::NotAudio => ErrorKind::NotAudio,
            Audio::Malformed => ErrorKind::Malformed,
            Audio::TooShort => ErrorKind::TooShort,
            Audio::OverLimit => ErrorKind::OverLimit,
            Audio::Unsupported => ErrorKind::Unsupported,
            // New kinds of the audio crate are faults of ours until they are known here.
            _ => ErrorKind::Bug,
        };
        // Whoever asked knows the file; the sentence does not repeat its name.
        Self::new(kind, e.message)
    }
}

impl From<taggram_model::ArtifactError> for Error {
    fn from(e: taggram_model::ArtifactError) -> Self {
        use taggram_model::ArtifactErrorKind as Artifact;
        let kind = match e.kind {
            Artifact::Malformed => ErrorKind::Malformed,
            Artifact::Unsupported => ErrorKind::Unsupported,
            Artifact::OverLimit => ErrorKind::OverLimit,
        };
        Self::new(kind, e.message)
    }
}

impl From<taggram_model::NetworkError> for Error {
    fn from(e: taggram_model::NetworkError) -> Self {
        Self::new(ErrorKind::Malformed, e.to_string())
    }
}

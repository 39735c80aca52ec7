//! What can be wrong with a stored classifier or with a row.

/// Which sort of problem it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassifierErrorKind {
    /// Numbers that contradict each other or the format.
    Malformed,
    /// Well-formed, but nothing here can run it.
    Unsupported,
    /// More than a stated limit allows.
    OverLimit,
}

/// A classifier could not be read, written or run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct ClassifierError {
    /// The part concerned: a tensor, a tree, a row.
    pub place: String,
    /// The sort of problem.
    pub kind: ClassifierErrorKind,
    /// What was found and what was needed.
    pub message: String,
}

impl ClassifierError {
    /// Numbers that contradict each other or the format.
    pub fn malformed(place: impl Into<String>, message: impl Into<String>) -> Self {
        let (place, message) = (place.into(), message.into());
        Self { place, kind: ClassifierErrorKind::Malformed, message }
    }

    /// Well-formed, but nothing here can run it.
    pub fn unsupported(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind: ClassifierErrorKind::Unsupported, ..Self::malformed(place, message) }
    }
}

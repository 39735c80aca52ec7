//! The one error type of this crate.

use thiserror::Error;

/// What sort of failure it is: what a caller may want to act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The input contradicts itself or holds values that are not numbers.
    Malformed,
    /// The input is valid but asks for something that is not offered.
    Unsupported,
    /// There is too little audio for what was asked.
    TooShort,
    /// A number is beyond what is allowed.
    OverLimit,
}

/// Why features could not be computed: one sentence with what was found and what was needed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{place}: {message}")]
pub struct FeatureError {
    /// What sort of failure it is.
    pub kind: Kind,
    /// The number or stage at fault, such as `front-end n_fft`.
    pub place: &'static str,
    /// What was found and what was needed.
    pub message: String,
}

impl FeatureError {
    pub(crate) fn new(kind: Kind, place: &'static str, message: impl Into<String>) -> Self {
        Self { kind, place, message: message.into() }
    }
}

/// Refuses `value` outside `low..=high`.
pub(crate) fn within(
    place: &'static str,
    value: usize,
    low: usize,
    high: usize,
    unit: &str,
) -> Result<(), FeatureError> {
    let kind = if value > high { Kind::OverLimit } else { Kind::Unsupported };
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(FeatureError::new(
        kind,
        place,
        format!("{value} {unit} asked for, {low} to {high} are possible"),
    ))
}

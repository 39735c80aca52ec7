//! Errors of the facade as Python exceptions, and panics as errors.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::prelude::*;
use taggram::{Error, ErrorKind};

/// What went wrong: an error of the facade, or what Python itself wants raised (Ctrl-C).
pub enum Trouble {
    Taggram(Error),
    Python(PyErr),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Taggram(error)
    }
}

impl From<taggram_audio::AudioError> for Trouble {
    fn from(error: taggram_audio::AudioError) -> Self {
        Self::Taggram(error.into())
    }
}

impl From<taggram_features::FeatureError> for Trouble {
    fn from(error: taggram_features::FeatureError) -> Self {
        use taggram_features::Kind;
        // The facade does not tell these apart; people who ask for features do.
        let kind = match error.kind {
            Kind::TooShort => ErrorKind::TooShort,
            Kind::OverLimit => ErrorKind::OverLimit,
            _ => return Self::Taggram(error.into()),
        };
        Self::Taggram(Error::new(kind, error.to_string()))
    }
}

/// Runs `work` without the interpreter's lock, so that other threads of Python go on meanwhile.
/// A panic stays with this call: it becomes an error like any other, and not the `PanicException`
/// that would end a worker of Ray or Dask.
pub fn unlocked<T: Send>(
    py: Python<'_>,
    work: impl FnOnce() -> Result<T, Trouble> + Send,
) -> PyResult<T> {
    let done = py.detach(|| {
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Bug, "a bug: the analysis of this audio panicked").into())
        })
    });
    done.map_err(|trouble| match trouble {
        Trouble::Taggram(error) => raise(py, &error),
        Trouble::Python(error) => error,
    })
}

/// The exception of `taggram._errors` for an error.
pub fn raise(py: Python<'_>, error: &Error) -> PyErr {
    let kind = match error.kind {
        ErrorKind::Unreadable => "unreadable",
        ErrorKind::NotAudio => "not-audio",
        ErrorKind::Malformed => "malformed",
        ErrorKind::Unsupported => "unsupported",
        ErrorKind::TooShort => "too-short",
        ErrorKind::OverLimit => "over-limit",
        ErrorKind::NoModel => "no-model",
        ErrorKind::Cancelled => "cancelled",
        ErrorKind::Bug => "bug",
    };
    let made = py
        .import("taggram._errors")
        .and_then(|module| module.getattr("exception"))
        .and_then(|make| make.call1((kind, error.message.as_str())));
    match made {
        Ok(exception) => PyErr::from_value(exception),
        Err(why) => why,
    }
}

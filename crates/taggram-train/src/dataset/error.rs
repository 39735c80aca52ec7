//! Errors about files and tables: the crate's [`TrainError`] with the place spelled as
//! `FILE, row N, column `NAME``.

use std::path::Path;

pub use crate::error::{ErrorKind, TrainError};

/// What cannot be used of a dataset, array or table. The place is the file, with row (1 = the
/// first line, a header counts) and column where there are some.
pub type DatasetError = TrainError;

/// Result with a [`DatasetError`].
pub type Result<T> = std::result::Result<T, DatasetError>;

/// An error about a whole file or folder.
pub(crate) fn fault(path: &Path, kind: ErrorKind, message: impl Into<String>) -> TrainError {
    TrainError::new(path.display().to_string(), kind, message)
}

/// Content that breaks the rules of its format.
pub(crate) fn malformed(path: &Path, message: impl Into<String>) -> TrainError {
    fault(path, ErrorKind::Malformed, message)
}

/// A failure of the operating system while `doing` something.
pub(crate) fn io(path: &Path, doing: &str, error: &std::io::Error) -> TrainError {
    fault(path, ErrorKind::Overloaded, format!("cannot {doing}: {error}"))
}

impl TrainError {
    /// The same error, placed at a row (1 = the first line of the file).
    pub(crate) fn at_row(mut self, row: u64) -> Self {
        self.place += &format!(", row {row}");
        self
    }

    /// The same error, placed at a column.
    pub(crate) fn at_column(mut self, column: &str) -> Self {
        self.place += &format!(", column `{column}`");
        self
    }
}

//! The one error of this crate: where, a small kind, and a sentence with evidence.

use std::path::Path;

/// What sort of trouble it is, for programs that act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// A file could not be opened, read or written.
    Unreadable,
    /// The index or journal is damaged: rebuilding it is the way out, on request.
    Corrupt,
    /// The index was made by a newer version of the program.
    Newer,
    /// The file is no index of this program, or not the music that it claims to be.
    Foreign,
    /// A file is not as it was when it was scanned, tagged or listed.
    Changed,
    /// The disk is full.
    Full,
    /// The form of a file's tags is not written by this program.
    Unsupported,
    /// After writing, the copy was not what it should be; the original is intact.
    Unsafe,
    /// Another program holds the index.
    Busy,
    /// A mistake of this program.
    Bug,
}

/// An error with its kind.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct LibraryError {
    /// What sort of trouble it is.
    pub kind: ErrorKind,
    /// A sentence: where, what was found, what was needed.
    pub message: String,
}

impl LibraryError {
    /// An error of `kind` with its sentence.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// A fault of the file system at `path` while `doing` something.
    pub fn io(path: &Path, doing: &str, error: &std::io::Error) -> Self {
        let kind = match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::FileTooLarge => ErrorKind::Full,
            _ => ErrorKind::Unreadable,
        };
        Self::new(kind, format!("{}: {doing} failed: {error}", path.display()))
    }

    /// What SQLite says about the database at `path`.
    pub(crate) fn sqlite(path: &Path, error: &rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        let at = path.display();
        match error.sqlite_error_code() {
            Some(Code::DatabaseCorrupt | Code::NotADatabase) => Self::new(
                ErrorKind::Corrupt,
                format!(
                    "{at}: the index is damaged ({error}). It was left as it is; --rebuild sets it aside and begins a new one"
                ),
            ),
            Some(Code::DiskFull) => {
                Self::new(ErrorKind::Full, format!("{at}: the disk is full ({error})"))
            }
            Some(Code::DatabaseBusy | Code::DatabaseLocked) => Self::new(
                ErrorKind::Busy,
                format!("{at}: another program is writing to the index ({error})"),
            ),
            Some(
                Code::CannotOpen | Code::ReadOnly | Code::PermissionDenied | Code::SystemIoFailure,
            ) => Self::new(
                ErrorKind::Unreadable,
                format!(
                    "{at}: the index cannot be opened or written ({error}); --db FILE puts it elsewhere"
                ),
            ),
            _ => Self::new(ErrorKind::Bug, format!("{at}: the index refused a request: {error}")),
        }
    }
}

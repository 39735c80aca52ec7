//! The undo journal: for every file that was tagged, what makes the original again.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, params};
use xxhash_rust::xxh3::xxh3_128;

use super::{delta, facts, write};
use crate::index::{Index, Stamp, key, path_of};
use crate::{ErrorKind, LibraryError};

/// Marks a database as an undo journal: "tagu".
const APPLICATION: i32 = 0x7461_6775;

/// Version of its table.
const SCHEMA: i32 = 1;

/// An open undo journal: a database of its own, so that a damaged or rebuilt index loses no way back.
pub struct Journal {
    db: Connection,
    path: PathBuf,
}

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undone {
    /// The file is byte for byte what it was.
    Restored,
    /// It was so already: the tagging was interrupted before it took effect.
    AsBefore,
    /// It was changed since by someone else, or is gone, and was left alone; why.
    Refused(String),
}

/// A way back.
struct Entry {
    id: i64,
    path: PathBuf,
    before: [u8; 16],
    after: [u8; 16],
    mtime_ns: i64,
    delta: Vec<u8>,
}

impl Journal {
    /// Where the journal of an index lies: beside it, `INDEX.undo`.
    pub fn beside(index: &Path) -> PathBuf {
        let mut name = index.as_os_str().to_os_string();
        name.push(".undo");
        PathBuf::from(name)
    }

    /// Opens a journal, or makes an empty one.
    ///
    /// # Errors
    /// A damaged or foreign file, or one of a newer version; a place that cannot be written.
    pub fn open(path: &Path) -> Result<Self, LibraryError> {
        let failed = |e: rusqlite::Error| LibraryError::sqlite(path, &e);
        let db = Connection::open(path).map_err(failed)?;
        db.busy_timeout(Duration::from_secs(10)).map_err(failed)?;
        let number =
            |name| db.pragma_query_value(None, name, |r| r.get::<_, i32>(0)).map_err(failed);
        let (application, version) = (number("application_id")?, number("user_version")?);
        if application == 0 && version == 0 {
            db.execute_batch(&format!(
                "BEGIN;
                 CREATE TABLE undo (
                    id INTEGER PRIMARY KEY, run INTEGER NOT NULL, path BLOB NOT NULL,
                    before BLOB NOT NULL, after BLOB NOT NULL, mtime_ns INTEGER NOT NULL,
                    delta BLOB NOT NULL);
                 PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {SCHEMA};
                 COMMIT;"
            ))
            .map_err(failed)?;
        } else if application != APPLICATION || version > SCHEMA {
            return Err(LibraryError::new(
                if application == APPLICATION { ErrorKind::Newer } else { ErrorKind::Foreign },
                format!("{}: this is no undo journal of this version", path.display()),
            ));
        }
        // Every entry is on the disk before the file it belongs to is replaced.
        db.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
        Ok(Self { db, path: path.to_path_buf() })
    }

    fn failed(&self, error: &rusqlite::Error) -> LibraryError {
        LibraryError::sqlite(&self.path, error)
    }

    /// A number for a new run: its entries are undone together.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn begin(&self) -> Result<i64, LibraryError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64);
        let last: i64 = self
            .db
            .query_row("SELECT coalesce(max(run), 0) FROM undo", [], |r| r.get(0))
            .map_err(|e| self.failed(&e))?;
        Ok(now.max(last + 1))
    }

    /// Remembers the way back of one file. Gives the number of the entry.
    pub(super) fn put(
        &self,
        run: i64,
        path: &Path,
        before: &[u8],
        after: &[u8],
        mtime_ns: i64,
    ) -> Result<i64, LibraryError> {
        let delta = delta::make(after, before);
        // A way back that does not lead back is worse than none.
        if delta::apply(after, &delta)? != before {
            return Err(LibraryError::new(ErrorKind::Bug, "the way back does not lead back"));
        }
        self.db
            .execute(
                "INSERT INTO undo (run, path, before, after, mtime_ns, delta) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![run, key(path), digest(before), digest(after), mtime_ns, delta],
            )
            .map_err(|e| self.failed(&e))?;
        Ok(self.db.last_insert_rowid())
    }

    pub(super) fn drop_entry(&self, id: i64) -> Result<(), LibraryError> {
        let gone = self.db.execute("DELETE FROM undo WHERE id = ?1", [id]);
        gone.map(|_| ()).map_err(|e| self.failed(&e))
    }

    /// Bytes that the journal takes on the disk.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub fn bytes(&self) -> Result<u64, LibraryError> {
        let facts = fs::metadata(&self.path);
        facts.map(|f| f.len()).map_err(|e| LibraryError::io(&self.path, "looking at it", &e))
    }

    /// Takes the last run back, file by file, the last one first; those at or below `root` only, if one
    /// is given. What was restored leaves the journal.
    ///
    /// # Errors
    /// When the journal or the index cannot be read or written.
    pub fn undo(
        &self,
        root: Option<&Path>,
        index: Option<&Index>,
        mut tell: impl FnMut(&Path, &Undone),
    ) -> Result<(), LibraryError> {
        let ids: Vec<i64> = {
            let load = || -> rusqlite::Result<Vec<(i64, Vec<u8>)>> {
                let mut statement = self.db.prepare(
                    "SELECT id, path FROM undo WHERE run = (SELECT max(run) FROM undo) ORDER BY id DESC",
                )?;
                let rows = statement.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?;
                rows.collect()
            };
            let all = load().map_err(|e| self.failed(&e))?;
            let inside = |path: &[u8]| root.is_none_or(|root| path_of(path).starts_with(root));
            all.into_iter().filter(|(_, path)| inside(path)).map(|(id, _)| id).collect()
        };
        for id in ids {
            let entry = self
                .db
                .query_row(
                    "SELECT id, path, before, after, mtime_ns, delta FROM undo WHERE id = ?1",
                    [id],
                    |r| {
                        let path: Vec<u8> = r.get(1)?;
                        Ok(Entry {
                            id: r.get(0)?,
                            path: path_of(&path),
                            before: r.get(2)?,
                            after: r.get(3)?,
                            mtime_ns: r.get(4)?,
                            delta: r.get(5)?,
                        })
                    },
                )
                .map_err(|e| self.failed(&e))?;
            let undone = restore(&entry).unwrap_or_else(|e| Undone::Refused(e.message));
            if !matches!(undone, Undone::Refused(_)) {
                self.drop_entry(entry.id)?;
                if let (Some(index), Ok(now)) = (index, fs::metadata(&entry.path)) {
                    index.touch(&entry.path, Stamp::of(&now), &facts(&entry.path))?;
                }
            }
            tell(&entry.path, &undone);
        }
        Ok(())
    }
}

/// Makes one file what it was.
fn restore(entry: &Entry) -> Result<Undone, LibraryError> {
    let path = &entry.path;
    let now = fs::read(path).map_err(|e| LibraryError::io(path, "reading the file", &e))?;
    let found = digest(&now);
    if found == entry.before {
        return Ok(Undone::AsBefore);
    }
    if found != entry.after {
        return Ok(Undone::Refused(
            "it was changed after it was tagged; undoing would lose that change".into(),
        ));
    }
    let before = delta::apply(&now, &entry.delta)?;
    if digest(&before) != entry.before {
        return Err(LibraryError::new(
            ErrorKind::Corrupt,
            "the undo journal does not lead back to the original",
        ));
    }
    let mut copy = write::copy_beside(path)?;
    let io = |e: std::io::Error| LibraryError::io(path, "writing the original back", &e);
    let file = copy.as_file_mut();
    file.set_len(0).map_err(io)?;
    file.write_all(&before).map_err(io)?;
    let written = Duration::from_nanos(entry.mtime_ns.unsigned_abs());
    let mtime = if entry.mtime_ns < 0 { UNIX_EPOCH - written } else { UNIX_EPOCH + written };
    file.set_modified(mtime).map_err(io)?;
    write::replace(copy, path)?;
    Ok(Undone::Restored)
}

/// Tells one version of a file from another.
pub(super) fn digest(bytes: &[u8]) -> [u8; 16] {
    xxh3_128(bytes).to_be_bytes()
}

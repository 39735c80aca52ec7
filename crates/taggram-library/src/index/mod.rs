//! The index: what is known of every file, in one SQLite database.
//!
//! Three tables: *how* was listened (`analysis`), *what* was heard (`audio`, by fingerprint), and
//! *where* it lies (`file`, by path). A file that moves or is re-tagged only gets a new row in the
//! last one.

mod tracks;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use half::f16;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use crate::tags::Facts;
use crate::{Analyst, Answer, ErrorKind, Fingerprint, LibraryError};

pub use tracks::Track;

/// Version of the tables. A change of them counts it up.
pub const SCHEMA: i32 = 1;

/// Marks a database as ours (`PRAGMA application_id`): "tagm".
const APPLICATION: i32 = 0x7461_676d;

const TABLES: &str = "
CREATE TABLE analysis (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,       -- model, its file, how it listens, version of the recipe
    model TEXT NOT NULL,
    labels TEXT NOT NULL            -- JSON list, the order of the probabilities
);
CREATE TABLE audio (
    id INTEGER PRIMARY KEY,
    fingerprint BLOB NOT NULL,      -- 16 bytes
    analysis INTEGER NOT NULL REFERENCES analysis(id),
    genre INTEGER,                  -- number of a label; none: unknown
    confidence REAL NOT NULL,       -- 0..1
    probabilities BLOB NOT NULL,    -- half floats, little-endian, one a label
    embedding BLOB NOT NULL,        -- half floats, little-endian, of length 1
    length_s REAL,                  -- seconds
    windows INTEGER NOT NULL,
    warnings TEXT,                  -- one a line
    UNIQUE (fingerprint, analysis)
);
CREATE TABLE file (
    id INTEGER PRIMARY KEY,
    path BLOB NOT NULL UNIQUE,      -- as the system names it, which need not be UTF-8
    size INTEGER NOT NULL,          -- bytes
    mtime_ns INTEGER NOT NULL,      -- nanoseconds since 1970
    analysis INTEGER,               -- what the row below is the outcome of; none: try again
    audio INTEGER REFERENCES audio(id),
    error TEXT,                     -- why there is no audio
    tag_genre TEXT,                 -- what the file's own tags say
    year INTEGER,
    gone INTEGER NOT NULL DEFAULT 0 -- it was not there at the last scan
);
CREATE INDEX file_audio ON file(audio);
";

/// Size and time of a file: what tells whether it changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Bytes.
    pub size: u64,
    /// Modification, nanoseconds since 1970.
    pub mtime_ns: i64,
}

impl Stamp {
    /// From what the file system says.
    pub fn of(facts: &std::fs::Metadata) -> Self {
        let nanoseconds = |time: std::time::SystemTime| {
            time.duration_since(std::time::UNIX_EPOCH).map_or_else(
                |before| -(before.duration().as_nanos().min(i64::MAX as u128) as i64),
                |after| after.as_nanos().min(i64::MAX as u128) as i64,
            )
        };
        Self { size: facts.len(), mtime_ns: facts.modified().map_or(0, nanoseconds) }
    }
}

/// What the index knows of a path before a scan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub id: i64,
    pub stamp: Stamp,
    pub analysis: Option<i64>,
    pub failed: bool,
    pub gone: bool,
}

/// What a scan found out of a file.
pub(crate) enum Row<'a> {
    /// It holds this audio.
    Audio(i64),
    /// It holds none that can be analysed; `lasting` when asking again would not help.
    Failed { why: &'a str, lasting: bool },
}

/// An open index.
pub struct Index {
    db: Connection,
    path: PathBuf,
}

impl Index {
    /// The index that is used when none is named: `library.sqlite` in the user's [data folder](taggram::data_folder).
    pub fn default_path() -> Option<PathBuf> {
        Some(taggram::data_folder()?.join("library.sqlite"))
    }

    /// Opens an index, or makes an empty one where there is no file.
    ///
    /// # Errors
    /// A damaged index, one from a newer version, a database that is no index, a place that
    /// cannot be written. None of them is changed.
    pub fn open(path: &Path) -> Result<Self, LibraryError> {
        if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)
                .map_err(|e| LibraryError::io(folder, "making the folder of the index", &e))?;
        }
        Self::connect(path, OpenFlags::default())
    }

    /// Opens an index that must be there.
    ///
    /// # Errors
    /// As [`Index::open`]; when there is no such file.
    pub fn existing(path: &Path) -> Result<Self, LibraryError> {
        if !path.is_file() {
            return Err(LibraryError::new(
                ErrorKind::Unreadable,
                format!("there is no index {}; `taggram scan FOLDER` makes one", path.display()),
            ));
        }
        Self::connect(path, OpenFlags::default() - OpenFlags::SQLITE_OPEN_CREATE)
    }

    /// Sets a damaged index aside as `FILE.damaged` and begins an empty one. Gives where it lies now.
    ///
    /// # Errors
    /// When the file cannot be renamed, or the new one not made.
    pub fn rebuild(path: &Path) -> Result<(Self, Option<PathBuf>), LibraryError> {
        let mut aside = None;
        if path.exists() {
            let named = |ending: &str| {
                let mut name = path.as_os_str().to_os_string();
                name.push(ending);
                PathBuf::from(name)
            };
            let target = (1..)
                .map(|n| named(&if n == 1 { ".damaged".into() } else { format!(".damaged-{n}") }))
                .find(|p| !p.exists())
                .unwrap_or_else(|| named(".damaged"));
            std::fs::rename(path, &target)
                .map_err(|e| LibraryError::io(path, "setting the old index aside", &e))?;
            // The journals of the old database would be replayed into the new one.
            for ending in ["-wal", "-shm"] {
                let journal = named(ending);
                if journal.exists() {
                    std::fs::remove_file(&journal).map_err(|e| {
                        LibraryError::io(&journal, "removing the old index's journal", &e)
                    })?;
                }
            }
            aside = Some(target);
        }
        Ok((Self::open(path)?, aside))
    }

    fn connect(path: &Path, flags: OpenFlags) -> Result<Self, LibraryError> {
        let failed = |e: rusqlite::Error| LibraryError::sqlite(path, &e);
        let db = Connection::open_with_flags(path, flags).map_err(failed)?;
        db.busy_timeout(Duration::from_secs(10)).map_err(failed)?;
        let index = Self { db, path: path.to_path_buf() };
        index.check()?;
        // A write-ahead log: readers and the scan do not wait for each other, and a process that
        // is killed loses nothing that it wrote.
        index.db.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
        index.db.pragma_update(None, "synchronous", "NORMAL").map_err(failed)?;
        Ok(index)
    }

    /// Makes the tables of an empty database; refuses what is not ours, not sound, or too new.
    fn check(&self) -> Result<(), LibraryError> {
        let at = self.path.display();
        let number = |pragma: &str| {
            self.db
                .pragma_query_value(None, pragma, |row| row.get::<_, i32>(0))
                .map_err(|e| self.failed(&e))
        };
        let (application, version) = (number("application_id")?, number("user_version")?);
        let tables: i64 = self.ask("SELECT count(*) FROM sqlite_master")?;
        if tables == 0 && application == 0 {
            return self
                .db
                .execute_batch(&format!(
                    "BEGIN;{TABLES}PRAGMA application_id = {APPLICATION};PRAGMA user_version = {SCHEMA};COMMIT;"
                ))
                .map_err(|e| self.failed(&e));
        }
        if application != APPLICATION {
            return Err(LibraryError::new(
                ErrorKind::Foreign,
                format!("{at}: this is a database of another program, not an index of taggram"),
            ));
        }
        if version > SCHEMA {
            return Err(LibraryError::new(
                ErrorKind::Newer,
                format!(
                    "{at}: the index has version {version}, made by a newer taggram; this one knows versions up to {SCHEMA}"
                ),
            ));
        }
        let sound: String = self.ask("PRAGMA quick_check(1)")?;
        if sound != "ok" {
            return Err(LibraryError::new(
                ErrorKind::Corrupt,
                format!(
                    "{at}: the index is damaged ({sound}). It was left as it is; --rebuild sets it aside and begins a new one"
                ),
            ));
        }
        Ok(())
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn failed(&self, error: &rusqlite::Error) -> LibraryError {
        LibraryError::sqlite(&self.path, error)
    }

    fn ask<T: rusqlite::types::FromSql>(&self, sql: &str) -> Result<T, LibraryError> {
        self.db.query_row(sql, [], |row| row.get(0)).map_err(|e| self.failed(&e))
    }

    /// The number of this way of listening.
    pub(crate) fn analysis(&self, analyst: &Analyst) -> Result<i64, LibraryError> {
        let labels = serde_json::to_string(analyst.model().labels())
            .map_err(|e| LibraryError::new(ErrorKind::Bug, format!("labels as JSON: {e}")))?;
        let find = || -> rusqlite::Result<i64> {
            self.db.execute(
                "INSERT INTO analysis (key, model, labels) VALUES (?1, ?2, ?3) ON CONFLICT (key) DO NOTHING",
                params![analyst.key(), analyst.model().name(), labels],
            )?;
            self.db
                .query_row("SELECT id FROM analysis WHERE key = ?1", [analyst.key()], |r| r.get(0))
        };
        find().map_err(|e| self.failed(&e))
    }

    /// Every file at or below `root`.
    pub(crate) fn known(&self, root: &Path) -> Result<HashMap<Box<[u8]>, Known>, LibraryError> {
        let (from, to) = below(root);
        let load = || -> rusqlite::Result<HashMap<Box<[u8]>, Known>> {
            let mut statement = self.db.prepare(
                "SELECT path, id, size, mtime_ns, analysis, error IS NOT NULL, gone FROM file
                 WHERE path = ?1 OR (path >= ?2 AND path < ?3)",
            )?;
            let rows = statement.query_map(params![key(root), from, to], |row| {
                let path: Vec<u8> = row.get(0)?;
                let size: i64 = row.get(2)?;
                Ok((
                    path.into_boxed_slice(),
                    Known {
                        id: row.get(1)?,
                        stamp: Stamp { size: size as u64, mtime_ns: row.get(3)? },
                        analysis: row.get(4)?,
                        failed: row.get(5)?,
                        gone: row.get(6)?,
                    },
                ))
            })?;
            rows.collect()
        };
        load().map_err(|e| self.failed(&e))
    }

    /// The audio that was listened to this way, by fingerprint.
    pub(crate) fn heard(&self, analysis: i64) -> Result<HashMap<Fingerprint, i64>, LibraryError> {
        let load = || -> rusqlite::Result<HashMap<Fingerprint, i64>> {
            let mut statement =
                self.db.prepare("SELECT fingerprint, id FROM audio WHERE analysis = ?1")?;
            let rows = statement
                .query_map([analysis], |row| Ok((Fingerprint(row.get(0)?), row.get(1)?)))?;
            rows.collect()
        };
        load().map_err(|e| self.failed(&e))
    }

    /// Remembers an answer; gives its number. An answer that is there already stays.
    pub(crate) fn put_audio(
        &self,
        analysis: i64,
        fingerprint: Fingerprint,
        answer: &Answer,
    ) -> Result<i64, LibraryError> {
        let put = || -> rusqlite::Result<i64> {
            let warnings = (!answer.warnings.is_empty()).then(|| answer.warnings.join("\n"));
            self.db
                .prepare_cached(
                    "INSERT INTO audio (fingerprint, analysis, genre, confidence, probabilities, embedding, length_s, windows, warnings)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO NOTHING",
                )?
                .execute(params![
                    fingerprint.0,
                    analysis,
                    answer.genre.map(|genre| genre as i64),
                    answer.confidence,
                    halves(&answer.probabilities),
                    halves(&answer.embedding),
                    answer.length_s,
                    answer.windows as i64,
                    warnings,
                ])?;
            self.db
                .prepare_cached("SELECT id FROM audio WHERE fingerprint = ?1 AND analysis = ?2")?
                .query_row(params![fingerprint.0, analysis], |row| row.get(0))
        };
        put().map_err(|e| self.failed(&e))
    }

    /// Remembers what a scan found at a path.
    pub(crate) fn put_file(
        &self,
        path: &Path,
        stamp: Stamp,
        analysis: i64,
        row: &Row<'_>,
        facts: &Facts,
    ) -> Result<(), LibraryError> {
        let (audio, error, analysis) = match row {
            Row::Audio(id) => (Some(*id), None, Some(analysis)),
            Row::Failed { why, lasting } => (None, Some(*why), lasting.then_some(analysis)),
        };
        let put = || {
            self.db
                .prepare_cached(
                    "INSERT INTO file (path, size, mtime_ns, analysis, audio, error, tag_genre, year)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                     ON CONFLICT (path) DO UPDATE SET size = ?2, mtime_ns = ?3, analysis = ?4,
                        audio = ?5, error = ?6, tag_genre = ?7, year = ?8, gone = 0",
                )?
                .execute(params![
                    key(path),
                    stamp.size as i64,
                    stamp.mtime_ns,
                    analysis,
                    audio,
                    error,
                    facts.genre(),
                    facts.year,
                ])
        };
        put().map(|_| ()).map_err(|e| self.failed(&e))
    }

    /// After a file was tagged by us: it has another size and time and the same audio.
    pub(crate) fn touch(
        &self,
        path: &Path,
        stamp: Stamp,
        facts: &Facts,
    ) -> Result<(), LibraryError> {
        self.db
            .execute(
                "UPDATE file SET size = ?2, mtime_ns = ?3, tag_genre = ?4, year = ?5 WHERE path = ?1",
                params![key(path), stamp.size as i64, stamp.mtime_ns, facts.genre(), facts.year],
            )
            .map(|_| ())
            .map_err(|e| self.failed(&e))
    }

    /// Marks files as gone (or as there again).
    pub(crate) fn mark(&mut self, ids: &[i64], gone: bool) -> Result<(), LibraryError> {
        let mut mark = || -> rusqlite::Result<()> {
            let work = self.db.transaction()?;
            {
                let mut statement = work.prepare("UPDATE file SET gone = ?2 WHERE id = ?1")?;
                for id in ids {
                    statement.execute(params![id, gone])?;
                }
            }
            work.commit()
        };
        mark().map_err(|e| LibraryError::sqlite(&self.path, &e))
    }

    /// Forgets files that are gone, and audio that no file holds and nothing else needs. Gives how
    /// many files.
    ///
    /// # Errors
    /// When the index cannot be written.
    pub fn forget_gone(&mut self) -> Result<usize, LibraryError> {
        let mut forget = || -> rusqlite::Result<usize> {
            let work = self.db.transaction()?;
            let files = work.execute("DELETE FROM file WHERE gone = 1", [])?;
            work.execute(
                "DELETE FROM audio WHERE id NOT IN (SELECT audio FROM file WHERE audio IS NOT NULL)",
                [],
            )?;
            work.commit()?;
            self.db.execute_batch("VACUUM")?;
            Ok(files)
        };
        forget().map_err(|e| LibraryError::sqlite(&self.path, &e))
    }

    /// The fingerprint of the audio that the index has for a path.
    pub(crate) fn fingerprint_of(&self, path: &Path) -> Result<Option<Fingerprint>, LibraryError> {
        self.db
            .query_row(
                "SELECT fingerprint FROM audio JOIN file ON file.audio = audio.id WHERE path = ?1",
                [key(path)],
                |row| row.get(0).map(Fingerprint),
            )
            .optional()
            .map_err(|e| self.failed(&e))
    }
}

/// Half floats as bytes.
fn halves(values: &[f16]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// The bounds of the keys of everything below a folder.
fn below(root: &Path) -> (Vec<u8>, Vec<u8>) {
    let mut from = key(root);
    if from.last() != Some(&b'/') && from.last() != Some(&b'\\') {
        from.push(if cfg!(windows) { b'\\' } else { b'/' });
    }
    let mut to = from.clone();
    if let Some(last) = to.last_mut() {
        *last += 1;
    }
    (from, to)
}

/// A path as bytes.
pub(crate) fn key(path: &Path) -> Vec<u8> {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        path.as_os_str().as_bytes().to_vec()
    }
    #[cfg(not(unix))]
    {
        path.to_string_lossy().into_owned().into_bytes()
    }
}

/// Bytes as the path that they were.
pub(crate) fn path_of(key: &[u8]) -> PathBuf {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        PathBuf::from(std::ffi::OsStr::from_bytes(key))
    }
    #[cfg(not(unix))]
    {
        PathBuf::from(String::from_utf8_lossy(key).into_owned())
    }
}

#[cfg(test)]
mod tests;

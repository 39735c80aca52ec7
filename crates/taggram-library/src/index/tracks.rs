//! Reading the index: a row a file that was heard.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use half::f16;
use rusqlite::params;

use super::{Index, Stamp, below, key, path_of};
use crate::{Answer, ErrorKind, LibraryError};

/// A file that was heard, and what was heard.
#[derive(Clone, Debug)]
pub struct Track {
    /// Where it lies.
    pub path: PathBuf,
    /// The labels of the model that heard it, in the order of `probabilities`.
    pub labels: Arc<Vec<String>>,
    /// Name of that model.
    pub model: Arc<str>,
    /// Number of the genre among the labels; `None` for a track that the model does not know what to
    /// make of.
    pub genre: Option<usize>,
    /// Its probability, 0…1; 0 when there is none.
    pub confidence: f32,
    /// `[label]`, 0…1.
    pub probabilities: Vec<f32>,
    /// The track as a vector of length 1; empty unless it was asked for.
    pub embedding: Vec<f16>,
    /// Length in seconds, if known.
    pub length_s: Option<f64>,
    /// Windows that were classified.
    pub windows: usize,
    /// What a person should know of the answer.
    pub warnings: Vec<String>,
    /// The genre in the file's own tags when it was scanned; several are joined by "; ".
    pub tag_genre: Option<String>,
    /// The year in the file's own tags.
    pub year: Option<i32>,
    pub(crate) stamp: Stamp,
}

impl Track {
    /// An answer that comes from no index.
    pub fn heard(model: &taggram::Model, answer: Answer) -> Self {
        Self {
            path: PathBuf::new(),
            labels: Arc::new(model.labels().to_vec()),
            model: model.name().into(),
            genre: answer.genre,
            confidence: answer.confidence,
            probabilities: answer.probabilities.iter().map(|x| x.to_f32()).collect(),
            embedding: answer.embedding,
            length_s: answer.length_s,
            windows: answer.windows,
            warnings: answer.warnings,
            tag_genre: None,
            year: None,
            stamp: Stamp { size: 0, mtime_ns: 0 },
        }
    }

    /// Name of the genre, or [`taggram::UNKNOWN`].
    pub fn genre_name(&self) -> &str {
        self.genre.and_then(|genre| self.labels.get(genre)).map_or(taggram::UNKNOWN, String::as_str)
    }

    /// Labels with their probabilities, the most probable first.
    pub fn ranked(&self) -> Vec<(&str, f32)> {
        let mut all: Vec<(&str, f32)> = self
            .labels
            .iter()
            .map(String::as_str)
            .zip(self.probabilities.iter().copied())
            .collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1));
        all
    }
}

/// Name and labels of models by their row in the index.
type Models = HashMap<i64, (Arc<str>, Arc<Vec<String>>)>;

impl Index {
    /// Hands every track at or below `root` (everywhere without one) to `take`, in the order of
    /// the paths, one at a time. Files that are gone or failed are left out.
    ///
    /// # Errors
    /// When the index cannot be read; or what `take` gives.
    pub fn tracks<E: From<LibraryError>>(
        &self,
        root: Option<&Path>,
        embeddings: bool,
        mut take: impl FnMut(Track) -> Result<(), E>,
    ) -> Result<(), E> {
        let failed = |e: rusqlite::Error| E::from(self.failed(&e));
        let models = self.models()?;
        let (from, to) = root.map_or((Vec::new(), vec![0xff; 8]), below);
        let itself = root.map(key).unwrap_or_default();
        let mut statement = self
            .db
            .prepare(
                "SELECT path, size, mtime_ns, tag_genre, year, audio.analysis, genre, confidence,
                        probabilities, length_s, windows, warnings,
                        CASE WHEN ?4 THEN embedding ELSE x'' END
                 FROM file JOIN audio ON file.audio = audio.id
                 WHERE gone = 0 AND (path = ?1 OR (path >= ?2 AND path < ?3)) ORDER BY path",
            )
            .map_err(failed)?;
        let mut rows = statement.query(params![itself, from, to, embeddings]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let read = || -> rusqlite::Result<Track> {
                let analysis: i64 = row.get(5)?;
                let (model, labels) = models.get(&analysis).cloned().unwrap_or_default();
                let path: Vec<u8> = row.get(0)?;
                let size: i64 = row.get(1)?;
                let genre: Option<i64> = row.get(6)?;
                let windows: i64 = row.get(10)?;
                let warnings: Option<String> = row.get(11)?;
                let probabilities: Vec<f16> = halves(row.get_ref(8)?.as_blob()?);
                Ok(Track {
                    path: path_of(&path),
                    labels,
                    model,
                    genre: genre.map(|genre| genre as usize),
                    confidence: row.get(7)?,
                    probabilities: probabilities.iter().map(|x| x.to_f32()).collect(),
                    embedding: halves(row.get_ref(12)?.as_blob()?),
                    length_s: row.get(9)?,
                    windows: windows as usize,
                    warnings: warnings.iter().flat_map(|w| w.lines()).map(str::to_string).collect(),
                    tag_genre: row.get(3)?,
                    year: row.get(4)?,
                    stamp: Stamp { size: size as u64, mtime_ns: row.get(2)? },
                })
            };
            take(read().map_err(failed)?)?;
        }
        Ok(())
    }

    /// Files at or below `root` that have no answer, with why.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn failures(&self, root: Option<&Path>) -> Result<Vec<(PathBuf, String)>, LibraryError> {
        let (from, to) = root.map_or((Vec::new(), vec![0xff; 8]), below);
        let itself = root.map(key).unwrap_or_default();
        let load = || -> rusqlite::Result<Vec<(PathBuf, String)>> {
            let mut statement = self.db.prepare(
                "SELECT path, error FROM file WHERE gone = 0 AND error IS NOT NULL
                 AND (path = ?1 OR (path >= ?2 AND path < ?3)) ORDER BY path",
            )?;
            let rows = statement.query_map(params![itself, from, to], |row| {
                let path: Vec<u8> = row.get(0)?;
                Ok((path_of(&path), row.get(1)?))
            })?;
            rows.collect()
        };
        load().map_err(|e| self.failed(&e))
    }

    /// Name and labels of every model that was used.
    fn models(&self) -> Result<Models, LibraryError> {
        let load = || -> rusqlite::Result<Vec<(i64, String, String)>> {
            let mut statement = self.db.prepare("SELECT id, model, labels FROM analysis")?;
            let rows = statement.query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?;
            rows.collect()
        };
        let mut models = HashMap::new();
        for (id, model, labels) in load().map_err(|e| self.failed(&e))? {
            let labels: Vec<String> = serde_json::from_str(&labels).map_err(|e| {
                LibraryError::new(
                    ErrorKind::Corrupt,
                    format!("{}: the labels of {model} cannot be read: {e}", self.path.display()),
                )
            })?;
            models.insert(id, (model.into(), Arc::new(labels)));
        }
        Ok(models)
    }
}

/// Bytes as half floats.
fn halves(bytes: &[u8]) -> Vec<f16> {
    bytes.as_chunks::<2>().0.iter().map(|b| f16::from_le_bytes(*b)).collect()
}

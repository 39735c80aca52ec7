//! Stored taggrams: a `.npy` of rows, and a list that names the track of every row.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::error::{Result, io, malformed};
use crate::npy::NpyFile;

/// The rows of one track in one of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PatchRange {
    /// Which file of the store.
    pub file: usize,
    /// The first row.
    pub start: usize,
    /// Number of rows.
    pub count: usize,
}

/// The stored rows of one track, `[patch, value]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Patches {
    /// Number of patches.
    pub count: usize,
    /// Values a patch.
    pub width: usize,
    /// `count · width` values.
    pub data: Vec<f32>,
}

impl Patches {
    /// A single one.
    pub(crate) fn one(data: Vec<f32>) -> Self {
        Self { count: 1, width: data.len(), data }
    }

    /// The mean over patches, `[value]`.
    pub fn mean(&self) -> Vec<f32> {
        mean(&self.data, self.width)
    }
}

/// The mean of rows of `width` values.
pub(super) fn mean(rows: &[f32], width: usize) -> Vec<f32> {
    let mut sum = vec![0f64; width];
    let rows = rows.chunks_exact(width.max(1));
    let count = rows.len().max(1) as f64;
    for row in rows {
        for (s, &v) in sum.iter_mut().zip(row) {
            *s += f64::from(v);
        }
    }
    sum.into_iter().map(|s| (s / count) as f32).collect()
}

/// One or more files of rows of one width.
#[derive(Debug)]
pub(super) struct PatchStore {
    files: Vec<NpyFile>,
}

impl PatchStore {
    /// Opens the files; the second part of the answer names each track with its rows, in the
    /// order of the files.
    pub(super) fn open(pairs: &[(PathBuf, PathBuf)]) -> Result<(Self, Vec<(String, PatchRange)>)> {
        let mut files: Vec<NpyFile> = Vec::new();
        let mut tracks: Vec<(String, PatchRange)> = Vec::new();
        let mut seen = HashMap::new();
        for (array, list) in pairs {
            let npy = NpyFile::open(array)?;
            let &[rows, width] = npy.shape() else {
                return Err(malformed(
                    array,
                    format!("taggrams need two axes [row, value]; it has shape {:?}", npy.shape()),
                ));
            };
            if let Some(first) = files.first().filter(|f| f.shape()[1] != width) {
                return Err(malformed(
                    array,
                    format!(
                        "it has {width} values a row, but {} has {}",
                        first.path().display(),
                        first.shape()[1]
                    ),
                ));
            }
            let names = read_list(list)?;
            if names.len() != rows {
                return Err(malformed(
                    list,
                    format!("it names {} rows, but {} has {rows}", names.len(), array.display()),
                ));
            }
            let file = files.len();
            let mut start = 0;
            while start < rows {
                let count = names[start..].iter().take_while(|n| **n == names[start]).count();
                if let Some(line) = seen.insert(names[start].clone(), start + 1) {
                    return Err(malformed(
                        list,
                        format!(
                            "the rows of `{}` are not together: it was seen at row {line} too",
                            names[start]
                        ),
                    )
                    .at_row(start as u64 + 1));
                }
                tracks.push((names[start].clone(), PatchRange { file, start, count }));
                start += count;
            }
            files.push(npy);
        }
        Ok((Self { files }, tracks))
    }

    pub(super) fn read(&self, range: &PatchRange) -> Result<Patches> {
        let npy = &self.files[range.file];
        let width = npy.shape()[1];
        let data = npy.read_f32(range.start * width, range.count * width)?;
        if let Some(bad) = data.iter().position(|v| !v.is_finite()) {
            return Err(malformed(
                npy.path(),
                format!(
                    "value {} of array row {} is not a finite number",
                    bad % width,
                    range.start + bad / width
                ),
            ));
        }
        Ok(Patches { count: range.count, width, data })
    }
}

/// The non-empty lines of a list of names.
pub(super) fn read_list(path: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).map_err(|e| io(path, "read the list", &e))?;
    Ok(text.lines().map(str::trim).filter(|l| !l.is_empty()).map(String::from).collect())
}

//! Nearest neighbours over stored embeddings. Brute force: 100,000 tracks are some tens of
//! milliseconds, so no further index is needed below millions.

use std::path::{Path, PathBuf};

use half::f16;

use crate::{ErrorKind, Index, LibraryError, Track};

/// A track that is near.
#[derive(Clone, Debug)]
pub struct Neighbour {
    /// Cosine of the angle between the embeddings, −1…1; 1 is the same direction.
    pub similarity: f32,
    /// Where it lies.
    pub path: PathBuf,
    /// Its genre.
    pub genre: String,
    /// Length in seconds, if known.
    pub length_s: Option<f64>,
}

/// The `top` tracks of the index (at or below `root`, if given) nearest to an embedding made by `model`, the
/// nearest first, without the file `itself`. Tracks heard by another model are left out.
///
/// # Errors
/// When the index cannot be read; when it holds no track of that model.
pub fn nearest(
    index: &Index,
    root: Option<&Path>,
    model: &str,
    query: &[f16],
    itself: Option<&Path>,
    top: usize,
) -> Result<Vec<Neighbour>, LibraryError> {
    let query: Vec<f32> = query.iter().map(|x| x.to_f32()).collect();
    let mut best: Vec<Neighbour> = Vec::new();
    let mut row = vec![0f32; query.len()];
    let mut compared = 0usize;
    index.tracks::<LibraryError>(root, true, |track| {
        if track.embedding.len() != query.len()
            || &*track.model != model
            || itself == Some(track.path.as_path())
        {
            return Ok(());
        }
        compared += 1;
        row.iter_mut().zip(&track.embedding).for_each(|(x, half)| *x = half.to_f32());
        let similarity: f32 = row.iter().zip(&query).map(|(a, b)| a * b).sum();
        let full = best.len() == top;
        if full && best.last().is_some_and(|worst| similarity <= worst.similarity) {
            return Ok(());
        }
        let at = best.partition_point(|n| n.similarity >= similarity);
        let genre = track.genre_name().to_string();
        let length_s = track.length_s;
        best.insert(at, Neighbour { similarity, path: track.path, genre, length_s });
        best.truncate(top);
        Ok(())
    })?;
    if compared == 0 {
        return Err(LibraryError::new(
            ErrorKind::Foreign,
            format!(
                "{}: there is no other track that {model} has heard to compare with",
                index.path().display()
            ),
        ));
    }
    Ok(best)
}

/// The track of a path, with its embedding, if the index has it.
///
/// # Errors
/// When the index cannot be read.
pub fn known(index: &Index, path: &Path) -> Result<Option<Track>, LibraryError> {
    let mut found = None;
    index.tracks::<LibraryError>(Some(path), true, |track| {
        if track.path == path {
            found = Some(track);
        }
        Ok(())
    })?;
    Ok(found)
}

//! Datasets: songs with genres, wherever they come from, behind one door.
//!
//! [`Dataset::open`] takes a folder of genre folders, a table of paths and labels, a feature
//! cache, published taggrams or a table of features; everything after it (splits, teachers,
//! evaluation) only sees tracks with a genre, an artist and a place to fetch their data from.

mod audio;
pub mod cache;
pub mod check;
pub mod error;
pub mod extract;
pub mod fingerprint;
mod open;
pub mod patches;
mod scan;
pub mod split;
pub mod table;
pub mod teacher;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use taggram_features::{FeatureMap, FrontEnd};

use cache::Cache;
pub use check::{CheckOptions, CheckReport, Finding, FindingKind, check};
use error::fault;
pub use error::{DatasetError, ErrorKind, Result};
pub use extract::{ExtractOptions, Extracted, extract_cache};
pub use open::Companions;
pub use patches::Patches;
use patches::{PatchRange, PatchStore};
pub use split::{Group, Segment, SegmentSplit, Shares, Split};
use table::FeatureTable;
pub use teacher::{SoftTargets, Teacher, what_it_says};

/// A set of labelled tracks.
#[derive(Debug)]
pub struct Dataset {
    /// Names of the genres, sorted; [`Track::genre`] counts in this list.
    pub genres: Vec<String>,
    /// The tracks, in the order of their source (sorted by path for folders).
    pub tracks: Vec<Track>,
    /// What was opened: a folder or a file.
    pub origin: PathBuf,
    /// Where splits and annotations were found.
    pub companions: Companions,
    /// Pairs of track ids known to hold the same recording (`annotations/exact_duplicates.csv`).
    pub known_duplicates: Vec<(String, String)>,
    store: Store,
    index: HashMap<String, usize>,
}

/// One labelled clip, or one labelled segment of a clip.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    /// Unique name within the dataset: `blues.00000` in GTZAN, else the path below the dataset.
    pub id: String,
    /// The song it belongs to: the id, unless the row is a segment (`blues.00000.3` → `blues.00000`).
    pub song: String,
    /// Its genre, an index into [`Dataset::genres`].
    pub genre: usize,
    /// Who plays it, when known.
    pub artist: Option<String>,
    /// Where its data is.
    pub source: TrackSource,
    /// Line of the table or list that names it (1 = the first), when there is one.
    pub line: Option<u64>,
}

/// Where the data of a track is.
#[derive(Clone, Debug, PartialEq)]
pub enum TrackSource {
    /// An audio file.
    Audio(PathBuf),
    /// A row of the feature cache.
    CacheRow(usize),
    /// A range of rows of stored taggrams.
    Patches(PatchRange),
    /// A row of the feature table.
    TableRow(usize),
}

#[derive(Debug)]
enum Store {
    Audio,
    Cache(Cache),
    Patches(PatchStore),
    Table(FeatureTable),
}

impl Dataset {
    /// Opens a dataset. `path` may be
    /// - a folder of genre folders of audio files,
    /// - a CSV or TSV table with the columns `path`, `label` and perhaps `artist`,
    /// - a feature cache: a `.npy` file beside its track list, or the folder that holds them,
    /// - stored taggrams: `.npy` files beside their `_rows.txt`, or their folder,
    /// - a table of features, such as `features_30_sec.csv`,
    /// - a folder holding one of these (`mel`, `audio`, `genres`, `taggrams`, in this order).
    ///
    /// `splits/` and `annotations/` are looked for in the folder and up to two above it.
    ///
    /// # Errors
    /// A sentence naming the file and, for tables, row and column.
    pub fn open(path: &Path) -> Result<Self> {
        open::open(path, None)
    }

    /// As [`Self::open`], with splits and annotations from given folders.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(path: &Path, companions: Companions) -> Result<Self> {
        open::open(path, Some(companions))
    }

    /// Opens tracks to learn from without labels: a dataset as for [`Self::open`], whose genres
    /// are then ignored, or any folder of audio files.
    ///
    /// # Errors
    /// When it is neither.
    pub fn open_unlabelled(path: &Path) -> Result<Self> {
        Self::open(path).or_else(|error| match path.is_dir() {
            true => open::open_unlabelled(path),
            false => Err(error),
        })
    }

    /// Number of tracks.
    pub fn len(&self) -> usize {
        self.tracks.len()
    }

    /// Whether there are no tracks.
    pub fn is_empty(&self) -> bool {
        self.tracks.is_empty()
    }

    /// Position of a track in [`Self::tracks`].
    pub fn index_of(&self, id: &str) -> Option<usize> {
        self.index.get(id).copied()
    }

    /// Number of tracks of each genre, `[genre]`.
    pub fn genre_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.genres.len()];
        for track in &self.tracks {
            counts[track.genre] += 1;
        }
        counts
    }

    /// Renumbers genres to the order of `vocabulary`, which may have more of them: what a
    /// model that was trained elsewhere needs.
    ///
    /// # Errors
    /// A genre of a track that the vocabulary does not have.
    pub fn use_genres(&mut self, vocabulary: &[String]) -> Result<()> {
        let mut renumbered = Vec::with_capacity(self.tracks.len());
        for track in &self.tracks {
            let name = &self.genres[track.genre];
            let Some(genre) = vocabulary.iter().position(|g| g == name) else {
                let error = fault(
                    &self.origin,
                    ErrorKind::Unsupported,
                    format!(
                        "`{}` has the unknown genre `{name}`; known are {}",
                        track.id,
                        vocabulary.join(", ")
                    ),
                );
                return Err(match track.line {
                    Some(line) => error.at_row(line),
                    None => error,
                });
            };
            renumbered.push(genre);
        }
        for (track, genre) in self.tracks.iter_mut().zip(renumbered) {
            track.genre = genre;
        }
        self.genres = vocabulary.to_vec();
        Ok(())
    }

    /// Takes the tracks of some genres out, and the genres with them; they are returned.
    ///
    /// # Errors
    /// A genre that the dataset does not have.
    pub fn take_out(&mut self, genres: &[String]) -> Result<Vec<Track>> {
        if let Some(stranger) = genres.iter().find(|g| !self.genres.contains(g)) {
            return Err(fault(
                &self.origin,
                ErrorKind::Unsupported,
                format!("there is no genre `{stranger}`; known are {}", self.genres.join(", ")),
            ));
        }
        let names = self.genres.clone();
        let (out, kept): (Vec<Track>, Vec<Track>) = std::mem::take(&mut self.tracks)
            .into_iter()
            .partition(|track| genres.contains(&names[track.genre]));
        self.tracks = kept;
        self.index = self.tracks.iter().enumerate().map(|(i, t)| (t.id.clone(), i)).collect();
        let rest: Vec<String> = names.iter().filter(|g| !genres.contains(g)).cloned().collect();
        for track in &mut self.tracks {
            // Every genre that a kept track has is among the rest.
            track.genre = rest.iter().position(|g| *g == names[track.genre]).unwrap_or_default();
        }
        self.genres = rest;
        Ok(out)
    }

    /// The feature map of a track, `[channel, time, band]`, as the front-end makes it: read
    /// from the cache, or computed from its audio.
    ///
    /// # Errors
    /// A cache made by another front-end, audio that cannot be decoded, a track without either.
    pub fn feature_map(&self, track: &Track, front_end: &FrontEnd) -> Result<FeatureMap> {
        match (&track.source, &self.store) {
            (TrackSource::CacheRow(row), Store::Cache(cache)) => cache.map(*row, front_end),
            (TrackSource::Audio(path), _) => audio::feature_map(path, front_end, None),
            _ => Err(self.no_data(track, "audio and no cached feature map")),
        }
    }

    /// The stored taggram of a track, `[patch, value]`.
    ///
    /// # Errors
    /// A dataset without taggrams, or a failure to read.
    pub fn patches(&self, track: &Track) -> Result<Patches> {
        match (&track.source, &self.store) {
            (TrackSource::Patches(range), Store::Patches(store)) => store.read(range),
            _ => Err(self.no_data(track, "stored taggram")),
        }
    }

    /// The row of a track in the feature table, in the order of [`Self::feature_names`].
    ///
    /// # Errors
    /// A dataset without a feature table.
    pub fn features(&self, track: &Track) -> Result<&[f64]> {
        match (&track.source, &self.store) {
            (TrackSource::TableRow(row), Store::Table(table)) => Ok(table.row(*row)),
            _ => Err(self.no_data(track, "row in a feature table")),
        }
    }

    /// Names of the columns of the feature table; empty when this is not one.
    pub fn feature_names(&self) -> &[String] {
        match &self.store {
            Store::Table(table) => &table.columns,
            _ => &[],
        }
    }

    /// The feature cache behind this dataset, if it is one.
    pub fn cache(&self) -> Option<&Cache> {
        match &self.store {
            Store::Cache(cache) => Some(cache),
            _ => None,
        }
    }

    fn no_data(&self, track: &Track, what: &str) -> DatasetError {
        fault(&self.origin, ErrorKind::Unsupported, format!("`{}` has no {what}", track.id))
    }
}

#[cfg(test)]
mod check_tests;
#[cfg(test)]
pub(crate) mod tests;

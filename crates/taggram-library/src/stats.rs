//! What a library is made of: counts over genres, folders, decades and confidence.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::{Index, LibraryError};

/// Steps of confidence that are counted apart.
pub const STEPS: usize = 10;

/// Counts over a library.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// Tracks with an answer.
    pub tracks: usize,
    /// Files without one.
    pub failed: usize,
    /// Their lengths together, hours, as far as they are known.
    pub hours: f64,
    /// Tracks of each genre, the most frequent first.
    pub genres: Vec<(String, usize)>,
    /// For every folder directly below the root, most tracks first: tracks of each genre, in the
    /// order of `genres`.
    pub folders: Vec<(String, Vec<usize>)>,
    /// The same for every decade in the tags, the earliest first.
    pub decades: Vec<(i32, Vec<usize>)>,
    /// Tracks in each tenth of confidence, from 0…0.1 to 0.9…1.
    pub confidence: [usize; STEPS],
    /// Tracks whose own tags name a genre.
    pub tagged: usize,
    /// Of these, those whose tags name the genre that was heard (letters and digits compared).
    pub agreeing: usize,
}

impl Stats {
    /// Counts the tracks at or below `root`, everywhere without one.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn of(index: &Index, root: Option<&Path>) -> Result<Self, LibraryError> {
        let mut stats = Self::default();
        let mut genres: BTreeMap<String, usize> = BTreeMap::new();
        let mut folders: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
        let mut decades: BTreeMap<i32, BTreeMap<String, usize>> = BTreeMap::new();
        // Without a root the folder that all tracks share stands for it.
        let shared = match root {
            Some(root) => root.to_path_buf(),
            None => shared_folder(index)?,
        };
        index.tracks::<LibraryError>(root, false, |track| {
            let genre = track.genre_name().to_string();
            stats.tracks += 1;
            stats.hours += track.length_s.unwrap_or(0.0) / 3600.0;
            let step = (track.confidence * STEPS as f32) as usize;
            stats.confidence[step.min(STEPS - 1)] += 1;
            if let Some(tag) = &track.tag_genre {
                stats.tagged += 1;
                stats.agreeing += usize::from(tag.split(';').any(|t| plain(t) == plain(&genre)));
            }
            let folder = track
                .path
                .strip_prefix(&shared)
                .ok()
                .and_then(|rest| rest.parent()?.components().next())
                .map_or(".".into(), |first| first.as_os_str().to_string_lossy().into_owned());
            *folders.entry(folder).or_default().entry(genre.clone()).or_default() += 1;
            if let Some(year) = track.year {
                let decade = year.div_euclid(10) * 10;
                *decades.entry(decade).or_default().entry(genre.clone()).or_default() += 1;
            }
            *genres.entry(genre).or_default() += 1;
            Ok(())
        })?;
        stats.failed = index.failures(root)?.len();
        stats.genres = genres.into_iter().collect();
        stats.genres.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        let row = |counts: &BTreeMap<String, usize>| -> Vec<usize> {
            stats.genres.iter().map(|(g, _)| counts.get(g).copied().unwrap_or(0)).collect()
        };
        let mut by_folder: Vec<(String, Vec<usize>)> =
            folders.iter().map(|(name, counts)| (name.clone(), row(counts))).collect();
        by_folder.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.iter().sum::<usize>()));
        let by_decade = decades.iter().map(|(decade, counts)| (*decade, row(counts))).collect();
        (stats.folders, stats.decades) = (by_folder, by_decade);
        Ok(stats)
    }
}

/// The folder that holds every track of the index.
fn shared_folder(index: &Index) -> Result<PathBuf, LibraryError> {
    let mut shared: Option<PathBuf> = None;
    index.tracks::<LibraryError>(None, false, |track| {
        let folder = track.path.parent().unwrap_or(Path::new("")).to_path_buf();
        shared = Some(match shared.take() {
            None => folder,
            Some(so_far) => so_far
                .components()
                .zip(folder.components())
                .take_while(|(a, b)| a == b)
                .map(|(a, _)| a)
                .collect(),
        });
        Ok(())
    })?;
    Ok(shared.unwrap_or_default())
}

/// "Hip-Hop" and "hiphop" are the same word.
fn plain(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

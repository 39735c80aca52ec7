//! Teachers: vectors of published models that a student may learn to predict — for train songs only.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use taggram::{Decide, Listen, Listener, Model, Source};
use taggram_model::Answer;

use super::error::{ErrorKind, Result, TrainError, fault};
use super::patches::{Patches, mean};
use super::{Dataset, Split, Track, TrackSource};

/// What another model says of songs: a vector each, or one a patch of its taggram.
#[derive(Clone, Debug)]
pub struct Teacher {
    path: PathBuf,
    width: usize,
    said: BTreeMap<String, Patches>,
}

/// Targets for train songs and nobody else.
#[derive(Clone, Debug, PartialEq)]
pub struct SoftTargets {
    /// Values a target.
    pub width: usize,
    /// Whether the values are log-odds of the teacher's probabilities.
    pub log_odds: bool,
    /// Taken off each value before dividing; zeros when the values were left as they are.
    pub mean: Vec<f32>,
    /// Each value was divided by this; ones when the values were left as they are.
    pub deviation: Vec<f32>,
    targets: HashMap<String, Vec<f32>>,
    /// What was said patch by patch, as it was said, where it was.
    courses: HashMap<String, Patches>,
}

impl SoftTargets {
    /// Targets of `width` values by song, as they are.
    pub(crate) fn from_rows(
        width: usize,
        rows: impl IntoIterator<Item = (String, Vec<f32>)>,
    ) -> Self {
        let targets = rows.into_iter().collect();
        let (mean, deviation) = (vec![0.0; width], vec![1.0; width]);
        Self { width, log_odds: false, mean, deviation, targets, courses: HashMap::new() }
    }

    /// What another teacher of the same kind says of all songs of another dataset, on the scale of these targets.
    ///
    /// # Errors
    /// Values of another number, or no song that the teacher knows.
    pub fn of_others(&self, teacher: &Teacher, dataset: &Dataset) -> Result<Self> {
        if teacher.width != self.width {
            return Err(fault(
                &teacher.path,
                ErrorKind::Malformed,
                format!("it says {} values a song, the train songs' {}", teacher.width, self.width),
            ));
        }
        let all: BTreeSet<usize> = (0..dataset.len()).collect();
        let scale = (self.mean.clone(), self.deviation.clone());
        teacher.targets(dataset, all, self.log_odds, scale)
    }

    /// The target of a track, `[value]`; none for a song that the teacher does not know or
    /// that is not in the train side.
    pub fn get(&self, id: &str) -> Option<&[f32]> {
        self.targets.get(id).map(Vec::as_slice)
    }

    /// The targets of stretches of a track that are `share` of it long, evenly spread from its beginning to its
    /// end, `[stretch, value]`; the whole track's where no more was said of it.
    pub fn course(&self, id: &str, share: f64) -> Option<Vec<f32>> {
        let Some(said) = self.courses.get(id) else { return self.targets.get(id).cloned() };
        let long = ((said.count as f64 * share).round() as usize).clamp(1, said.count);
        let stretches = said.data.windows(long * self.width).step_by(self.width.max(1));
        Some(stretches.flat_map(|rows| self.scaled(&mean(rows, self.width))).collect())
    }

    /// A vector as it was said, on the scale of the targets.
    fn scaled(&self, vector: &[f32]) -> Vec<f32> {
        let scale = self.mean.iter().zip(&self.deviation);
        vector.iter().zip(scale).map(|(&v, (m, d))| (value(v, self.log_odds) - m) / d).collect()
    }

    /// Number of songs with a target.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether no song has a target.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }
}

impl Teacher {
    /// Opens vectors (`.npy` beside `_tracks.txt`) or taggrams (`.npy` beside `_rows.txt`, or a
    /// folder of them), of which a song's target is the mean over patches.
    ///
    /// # Errors
    /// A path that is neither.
    pub fn open(path: &Path) -> Result<Self> {
        let dataset = Dataset::open(path)?;
        let mut said = BTreeMap::new();
        for track in &dataset.tracks {
            let patches = if dataset.feature_names().is_empty() {
                dataset.patches(track)?
            } else {
                Patches::one(dataset.features(track)?.iter().map(|&v| v as f32).collect())
            };
            said.insert(track.id.clone(), patches);
        }
        let width = said.values().next().map_or(0, |p| p.width);
        if width == 0 {
            let found = if said.is_empty() { "it has no songs" } else { "its rows hold no values" };
            let message = format!("{found}, so there is nothing to learn from it");
            return Err(fault(path, ErrorKind::Malformed, message));
        }
        Ok(Self { path: path.to_path_buf(), width, said })
    }

    /// What `model` says of some tracks, computed now from their audio or their cached maps: one
    /// vector a song ([`what_it_says`]).
    ///
    /// # Errors
    /// A track that the model cannot hear.
    pub fn ask(model: &Model, dataset: &Dataset, tracks: &[usize]) -> Result<Self> {
        let said: Result<BTreeMap<String, Patches>> = tracks
            .par_iter()
            .map(|&t| {
                let track = &dataset.tracks[t];
                Ok((track.song.clone(), Patches::one(what_it_says(model, dataset, track)?)))
            })
            .collect();
        let path = PathBuf::from(model.name());
        Ok(Self { path, width: model.labels().len(), said: said? })
    }

    /// One vector a song.
    pub(crate) fn into_rows(self) -> impl Iterator<Item = (String, Vec<f32>)> {
        self.said.into_iter().map(|(song, patches)| (song, patches.mean()))
    }

    /// Values a vector.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Targets as they are (probabilities of tags), for the train songs of `split` only.
    ///
    /// # Errors
    /// When no train song is known to the teacher.
    pub fn probabilities(&self, dataset: &Dataset, split: &Split) -> Result<SoftTargets> {
        let as_they_are = (vec![0.0; self.width], vec![1.0; self.width]);
        self.targets(dataset, learnable(dataset, split), false, as_they_are)
    }

    /// Targets with mean 0 and deviation 1 over the train songs, for those songs only. A value
    /// that never changes is left at 0.
    ///
    /// # Errors
    /// When no train song is known to the teacher.
    pub fn standardised(&self, dataset: &Dataset, split: &Split) -> Result<SoftTargets> {
        self.scaled(dataset, split, false)
    }

    /// Log-odds of probabilities, with mean 0 and deviation 1 over the train songs, for those songs only.
    ///
    /// # Errors
    /// When no train song is known to the teacher.
    pub fn log_odds(&self, dataset: &Dataset, split: &Split) -> Result<SoftTargets> {
        self.scaled(dataset, split, true)
    }

    fn scaled(&self, dataset: &Dataset, split: &Split, log_odds: bool) -> Result<SoftTargets> {
        let songs = learnable(dataset, split);
        let known: Vec<Vec<f32>> = songs
            .iter()
            .filter_map(|&t| self.said.get(&dataset.tracks[t].song))
            .map(|said| said.mean().iter().map(|&v| value(v, log_odds)).collect())
            .collect();
        let n = known.len().max(1) as f64;
        let (mut mean, mut deviation) = (vec![0f32; self.width], vec![1f32; self.width]);
        for i in 0..self.width {
            let m = known.iter().map(|v| f64::from(v[i])).sum::<f64>() / n;
            let var = known.iter().map(|v| (f64::from(v[i]) - m).powi(2)).sum::<f64>() / n;
            mean[i] = m as f32;
            deviation[i] = if var > 1e-18 { var.sqrt() as f32 } else { 1.0 };
        }
        self.targets(dataset, songs, log_odds, (mean, deviation))
    }

    fn targets(
        &self,
        dataset: &Dataset,
        songs: BTreeSet<usize>,
        log_odds: bool,
        (mean, deviation): (Vec<f32>, Vec<f32>),
    ) -> Result<SoftTargets> {
        let (width, asked) = (self.width, songs.len());
        let (targets, courses) = Default::default();
        let mut soft = SoftTargets { width, log_odds, mean, deviation, targets, courses };
        for t in songs {
            let track = &dataset.tracks[t];
            let Some(said) = self.said.get(&track.song) else { continue };
            soft.targets.insert(track.id.clone(), soft.scaled(&said.mean()));
            if said.count > 1 {
                soft.courses.insert(track.id.clone(), said.clone());
            }
        }
        if soft.is_empty() {
            return Err(fault(
                &self.path,
                ErrorKind::TooShort,
                format!("the teacher knows none of the {asked} songs that may be learnt from"),
            ));
        }
        Ok(soft)
    }
}

fn value(v: f32, log_odds: bool) -> f32 {
    if log_odds { taggram_model::classifier::log_odds(v) } else { v }
}

/// The genre probabilities of a song, or the mean over its patches of the tags or of the values of
/// the layer that the model is read at.
///
/// # Errors
/// A track that the model cannot hear: undecodable audio, a map made by another front-end.
pub fn what_it_says(model: &Model, dataset: &Dataset, track: &Track) -> Result<Vec<f32>> {
    let fail = |e: taggram::Error| {
        TrainError::new(
            track.id.clone(),
            ErrorKind::Malformed,
            format!("{} cannot hear it: {e}", model.name()),
        )
    };
    let (taggram, verdict) = match &track.source {
        TrackSource::Audio(path) => {
            let heard = taggram::listen(model, Source::Path(path.clone()), &Listen::default());
            let heard = heard.map_err(fail)?;
            (heard.taggram, Some(heard.verdict))
        }
        _ => {
            let mut listener = Listener::new(model, false, 1).map_err(fail)?;
            listener.hear_map(&dataset.feature_map(track, model.front_end())?).map_err(fail)?;
            let ending = listener.finish(Decide::Mean).map_err(fail)?;
            (ending.taggram, ending.verdict)
        }
    };
    match verdict {
        Some(verdict) if model.description().answer == Answer::Genres => {
            Ok(verdict.scores.iter().map(|(_, p)| *p).collect())
        }
        _ => {
            let width = model.labels().len();
            let count = (taggram.probabilities.len() / width).max(1) as f32;
            let mut mean = vec![0.0; width];
            for row in taggram.probabilities.chunks_exact(width) {
                mean.iter_mut().zip(row).for_each(|(m, v)| *m += v / count);
            }
            Ok(mean)
        }
    }
}

/// Train songs that share no song with the other sides: the guard that keeps a teacher's
/// knowledge of a test song out, whatever the split says.
fn learnable(dataset: &Dataset, split: &Split) -> BTreeSet<usize> {
    let held_out: BTreeSet<&str> =
        split.valid.iter().chain(&split.test).map(|&t| dataset.tracks[t].song.as_str()).collect();
    split
        .train
        .iter()
        .copied()
        .filter(|&t| !held_out.contains(dataset.tracks[t].song.as_str()))
        .collect()
}

//! A classifier asked about rows that the dataset has stored — published taggrams, a table of
//! descriptors — without the network or the audio that they were made with.

use taggram_features::FeatureSet;
use taggram_model::classifier::Pipeline;
use taggram_model::statistics::{STATISTICS, song_row};
use taggram_model::{Artifact, Body, Calibration, Decide, Over, Taggram, decide};

use crate::dataset::error::{ErrorKind, Result, TrainError};
use crate::dataset::{Dataset, Track, TrackSource};
use crate::evaluate::SongClassifier;

/// The layer that stored taggrams are of.
pub(crate) const STORED_LAYER: &str = "tags";

/// A head on taggrams, or a classifier of descriptors, asked about stored rows.
pub struct StoredRows {
    name: String,
    pipeline: Pipeline,
    over: Over,
    calibration: Calibration,
    decide: Decide,
}

impl StoredRows {
    /// The classifier of `artifact`, if it has one that the stored rows of `dataset` suffice for;
    /// `None` when the model must listen. A song-level head that is to decide by majority
    /// listens too: what it says at each time is the facade's affair.
    ///
    /// # Errors
    /// Rows of another width or with other columns than the classifier takes.
    pub fn new(artifact: &Artifact, dataset: &Dataset, how: Decide) -> Result<Option<Self>> {
        let stored = |is: fn(&TrackSource) -> bool| {
            !dataset.is_empty() && dataset.tracks.iter().all(|t| is(&t.source))
        };
        let place = || dataset.origin.display().to_string();
        let (over, classifier) = match &artifact.description.body {
            Body::Head { layer, over, classifier, .. }
                if layer == STORED_LAYER
                    && stored(|s| matches!(s, TrackSource::Patches(_)))
                    && (*over == Over::Patch || how == Decide::Mean) =>
            {
                (*over, classifier)
            }
            Body::Descriptors { set, classifier, .. } => {
                if !stored(|s| matches!(s, TrackSource::TableRow(_))) {
                    return Err(TrainError::new(
                        place(),
                        ErrorKind::Unsupported,
                        format!(
                            "`{}` classifies descriptors and needs a table of them, such as features_30_sec.csv",
                            artifact.description.name
                        ),
                    ));
                }
                let columns = FeatureSet::from_name(set).map(FeatureSet::columns);
                if columns.as_deref() != Some(dataset.feature_names()) {
                    return Err(TrainError::malformed(
                        place(),
                        format!(
                            "its {} columns are not those of the descriptors {set} that the model takes",
                            dataset.feature_names().len()
                        ),
                    ));
                }
                (Over::Patch, classifier)
            }
            _ => return Ok(None),
        };
        let pipeline = artifact
            .pipeline(classifier)
            .map_err(|e| TrainError::malformed(artifact.description.name.clone(), e.to_string()))?;
        Ok(Some(Self {
            name: artifact.description.name.clone(),
            pipeline,
            over,
            calibration: artifact.description.calibration,
            decide: how,
        }))
    }
}

impl SongClassifier for StoredRows {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn genres(&self) -> &[String] {
        self.pipeline.classes()
    }

    fn predict(&self, dataset: &Dataset, track: &Track) -> Result<Vec<f64>> {
        let (rows, width) = stored_rows(dataset, track)?;
        let rows = match self.over {
            Over::Patch => rows,
            Over::Song => song_row(&rows, width),
        };
        let width = if self.over == Over::Song { STATISTICS * width } else { width };
        if width != self.pipeline.inputs() {
            return Err(TrainError::malformed(
                track.id.clone(),
                format!(
                    "its rows give {width} values; {} takes {}",
                    self.name,
                    self.pipeline.inputs()
                ),
            ));
        }
        let answers = self
            .pipeline
            .predict_rows(&rows)
            .map_err(|e| TrainError::malformed(track.id.clone(), e.to_string()))?;
        let taggram = Taggram {
            labels: self.pipeline.classes().to_vec(),
            starts_s: (0..rows.len() / width).map(|i| i as f64).collect(),
            probabilities: answers,
            ..Taggram::default()
        };
        let verdict = decide(&taggram, self.decide, self.calibration).ok_or_else(|| {
            TrainError::new(track.id.clone(), ErrorKind::TooShort, "it has no rows")
        })?;
        Ok(verdict.scores.iter().map(|(_, p)| f64::from(*p)).collect())
    }
}

/// The stored rows of a track, `[row, value]`, and their width.
pub(crate) fn stored_rows(dataset: &Dataset, track: &Track) -> Result<(Vec<f32>, usize)> {
    if let TrackSource::TableRow(_) = track.source {
        let row: Vec<f32> = dataset.features(track)?.iter().map(|&x| x as f32).collect();
        let width = row.len();
        return Ok((row, width));
    }
    let patches = dataset.patches(track)?;
    Ok((patches.data, patches.width))
}

//! A finished model under evaluation: it listens to a song from wherever the dataset has it.

use taggram::{Decide, Excerpt, Listen, Listener, Model, Source};

use crate::dataset::error::{ErrorKind, Result, TrainError};
use crate::dataset::{Dataset, Track, TrackSource};
use crate::evaluate::SongClassifier;

/// A model as it is used, asked about the songs of a dataset.
pub struct Listening<'m> {
    /// The model.
    pub model: &'m Model,
    /// Which part of a song is listened to, where there is audio.
    pub excerpt: Excerpt,
    /// How patches agree.
    pub decide: Decide,
}

impl SongClassifier for Listening<'_> {
    fn name(&self) -> String {
        self.model.name().to_string()
    }

    fn genres(&self) -> &[String] {
        self.model.labels()
    }

    fn predict(&self, dataset: &Dataset, track: &Track) -> Result<Vec<f64>> {
        let fail = |e: taggram::Error| {
            TrainError::new(track.id.clone(), ErrorKind::Malformed, e.to_string())
        };
        let verdict = match &track.source {
            TrackSource::Audio(path) => {
                let how =
                    Listen { excerpt: self.excerpt, decide: self.decide, ..Listen::default() };
                taggram::listen(self.model, Source::Path(path.clone()), &how).map_err(fail)?.verdict
            }
            source => {
                let mut listener = Listener::new(self.model, false, 1).map_err(fail)?;
                if let TrackSource::Patches(_) = source {
                    let patches = dataset.patches(track)?;
                    // When published patches start is not said; their order is what matters.
                    let starts = (0..patches.count).map(|i| i as f64).collect();
                    listener.hear_rows(starts, patches.data).map_err(fail)?;
                } else {
                    let map = dataset.feature_map(track, self.model.front_end())?;
                    listener.hear_map(&map).map_err(fail)?;
                }
                let ending = listener.finish(self.decide).map_err(fail)?;
                ending.verdict.ok_or_else(|| {
                    TrainError::new(track.id.clone(), ErrorKind::TooShort, "no patches to hear")
                })?
            }
        };
        Ok(verdict.scores.iter().map(|(_, p)| f64::from(*p)).collect())
    }
}

/// A model that was learnt for an evaluation: [`Listening`] that owns it.
pub struct Heard {
    model: Model,
}

impl Heard {
    /// Ready to listen.
    ///
    /// # Errors
    /// An artifact that is no model that can listen.
    pub fn new(artifact: taggram_model::Artifact) -> Result<Self> {
        let place = artifact.description.name.clone();
        let model = Model::from_artifact(artifact)
            .map_err(|e| TrainError::new(place, ErrorKind::Malformed, e.to_string()))?;
        Ok(Self { model })
    }

    fn listening(&self) -> Listening<'_> {
        Listening { model: &self.model, excerpt: Excerpt::Full, decide: Decide::Mean }
    }
}

impl SongClassifier for Heard {
    fn name(&self) -> String {
        self.model.name().to_string()
    }

    fn genres(&self) -> &[String] {
        self.model.labels()
    }

    fn predict(&self, dataset: &Dataset, track: &Track) -> Result<Vec<f64>> {
        self.listening().predict(dataset, track)
    }
}

//! A model that is ready to listen.

use taggram_features::{FrontEnd, Windows};
use taggram_model::{Artifact, Calibration, Description, Engine};

use crate::{Error, ErrorKind};

/// A network with everything needed to use it rightly. Cheap to share between threads by reference.
pub struct Model {
    description: Description,
    engine: Engine,
}

impl Model {
    /// A model from the bytes of a model file.
    ///
    /// # Errors
    /// When the bytes are no model that this version runs.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let artifact = Artifact::read(bytes)?;
        let network = &artifact.description.network;
        let engine = Engine::new(network, &artifact.weights)
            .map_err(|e| Error::new(ErrorKind::Malformed, e.to_string()))?;
        Ok(Self { description: artifact.description, engine })
    }

    /// Short name of the model.
    pub fn name(&self) -> &str {
        &self.description.name
    }

    /// Everything known of the model but its weights.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The vocabulary, in the order of the scores.
    pub fn labels(&self) -> &[String] {
        &self.description.labels
    }

    /// Rate that audio is resampled to, Hz.
    pub fn sample_rate(&self) -> u32 {
        self.description.front_end.sample_rate
    }

    /// How samples become frames.
    pub fn front_end(&self) -> &FrontEnd {
        &self.description.front_end
    }

    /// How frames become patches.
    pub fn windows(&self) -> &Windows {
        &self.description.windows
    }

    /// What makes song probabilities honest.
    pub fn calibration(&self) -> Calibration {
        self.description.calibration
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }
}

//! A model that is ready to listen.

use std::path::Path;

use taggram_audio::ResamplingKind;
use taggram_features::{FrontEnd, Resampling, Windows};
use taggram_model::classifier::Pipeline;
use taggram_model::{Answer, Artifact, Body, Calibration, Description, Familiarity, Over};

use crate::network::NetworkRunner;
use crate::{Error, ErrorKind, registry};

/// Weights with everything needed to use them rightly. Cheap to share between threads by reference.
pub struct Model {
    description: Description,
    network: NetworkRunner,
    head: Option<Head>,
    /// What the songs that it learnt from were like, when the model remembers.
    familiarity: Option<Familiarity>,
    /// Whether songs unlike all that was learnt, and silence, are answered with the nearest genre.
    nearest: bool,
}

/// The answer for what a model does not know.
pub const UNKNOWN: &str = "unknown";

/// A classifier on what a network says.
pub(crate) struct Head {
    pub over: Over,
    pub pipeline: Pipeline,
}

impl Model {
    /// A model from the bytes of a model file.
    ///
    /// # Errors
    /// When the bytes are no model that this version runs, or the model needs another one that is not installed.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        Self::from_artifact(Artifact::read(bytes)?)
    }

    /// A model from its artifact.
    ///
    /// # Errors
    /// As [`Model::from_bytes`].
    pub fn from_artifact(artifact: Artifact) -> Result<Self, Error> {
        let (network, head) = match &artifact.description.body {
            Body::Network { .. } => (NetworkRunner::new(&artifact, None)?, None),
            Body::Head { base, layer, over, classifier } => {
                let pipeline = artifact.pipeline(classifier)?;
                let base = registry::artifact(base).map_err(|e| needs(&artifact, base, &e))?;
                let network = NetworkRunner::new(&base, Some(layer))?;
                let width = network.width()
                    * match over {
                        Over::Patch => 1,
                        Over::Song => taggram_model::statistics::STATISTICS,
                    };
                if width != pipeline.inputs() {
                    return Err(Error::new(
                        ErrorKind::Malformed,
                        format!(
                            "the head takes {} values but layer {layer} of {} gives {width}",
                            pipeline.inputs(),
                            base.description.name
                        ),
                    ));
                }
                (network, Some(Head { over: *over, pipeline }))
            }
            Body::Descriptors { .. } => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    "a classifier of descriptors is used with `taggram evaluate` on a table",
                ));
            }
        };
        let familiarity = Familiarity::find(&artifact.weights)
            .map_err(|message| Error::new(ErrorKind::Malformed, message))?;
        Ok(Self { description: artifact.description, network, head, familiarity, nearest: false })
    }

    /// A network model whose rows are the values of one of its layers instead of its answer.
    ///
    /// # Errors
    /// As [`Model::from_artifact`]; when there is no such layer.
    pub fn layer_of(artifact: Artifact, layer: &str) -> Result<Self, Error> {
        let network = NetworkRunner::new(&artifact, Some(layer))?;
        let mut description = artifact.description;
        description.labels = (0..network.width()).map(|i| format!("{layer}.{i}")).collect();
        description.answer = Answer::Tags;
        Ok(Self { description, network, head: None, familiarity: None, nearest: true })
    }

    /// The same model, which names the nearest genre even of songs that it does not know.
    pub fn naming_the_nearest(mut self) -> Self {
        self.nearest = true;
        self
    }

    /// Whether a song with this embedding is unlike all that the model has learnt. False for a model that
    /// does not remember what that was, or that names the nearest genre anyway.
    pub fn is_stranger(&self, embedding: &[f32]) -> bool {
        !self.nearest && self.familiarity.as_ref().is_some_and(|f| !f.knows(embedding))
    }

    /// Whether silence is answered with [`UNKNOWN`].
    pub(crate) fn refuses_silence(&self) -> bool {
        !self.nearest && self.description.answer == Answer::Genres
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
        self.front_end().sample_rate
    }

    /// The filter that audio is resampled with.
    pub fn resampling(&self) -> ResamplingKind {
        match self.front_end().resampling {
            Resampling::SoxrHq => ResamplingKind::SoxrHq,
            Resampling::KaiserBest => ResamplingKind::KaiserBest,
        }
    }

    /// How samples become frames.
    pub fn front_end(&self) -> &FrontEnd {
        &self.network.front_end
    }

    /// How frames become patches.
    pub fn windows(&self) -> &Windows {
        &self.network.windows
    }

    /// The same model with patches that start every `frames` frames.
    ///
    /// # Errors
    /// When that is no distance.
    pub fn with_hop(mut self, frames: usize) -> Result<Self, Error> {
        self.network.windows.hop = frames;
        self.network.windows.check(self.network.front_end.bands())?;
        Ok(self)
    }

    /// Length of a patch, seconds.
    pub fn patch_s(&self) -> f64 {
        self.windows().frames as f64 / self.front_end().frame_rate()
    }

    /// Number of values of a song's embedding; 0 when the network has no layer for it.
    pub fn embedding(&self) -> usize {
        self.network.embedding()
    }

    /// What makes song probabilities honest.
    pub fn calibration(&self) -> Calibration {
        self.description.calibration
    }

    pub(crate) fn network(&self) -> &NetworkRunner {
        &self.network
    }

    pub(crate) fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }
}

/// What to do when the model that a head sits on is not there.
fn needs(artifact: &Artifact, base: &str, error: &Error) -> Error {
    let name = &artifact.description.name;
    if error.kind != ErrorKind::NoModel {
        return Error::new(error.kind, format!("{name} needs {base}: {error}"));
    }
    Error::new(
        ErrorKind::NoModel,
        format!(
            "{name} needs the weights of {base}, which are not installed. {}",
            registry::IMPORT
        ),
    )
}

/// Reads a model file.
pub(crate) fn read_artifact(path: &Path) -> Result<Artifact, Error> {
    let bytes = std::fs::read(path).map_err(|e| Error::unreadable(path, &e))?;
    Artifact::read(&bytes).map_err(|e| {
        let error = Error::from(e);
        Error::new(error.kind, format!("{}: {error}", path.display()))
    })
}

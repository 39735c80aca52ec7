//! The model file: weights with everything that is needed to use them rightly — recipe,
//! vocabulary, network, calibration, licence — in one `.safetensors` file.
//!
//! The description is JSON under the key `taggram` of the file's metadata; how tensors are
//! stored is in [`crate::storage`]. Reading checks everything before anything is run: a file from a stranger can be
//! wrong, but it cannot surprise.

use std::collections::{BTreeMap, HashMap};

use safetensors::{SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};
use taggram_features::{FrontEnd, Windows};

use crate::classifier::{Parts, Pipeline};
use crate::storage::{self, Storage};
use crate::{Network, Quantisation, Weights, verdict::Calibration};

/// Layout of the description of models that compute in floats and are stored as such.
pub const FORMAT: u32 = 1;

/// Newest layout that this version reads: with integer arithmetic, and weights stored as bytes or
/// without their zeros. Only models that have these are written so.
pub const COMPRESSED_FORMAT: u32 = 2;

/// Largest artifact that is read, bytes. VGG16 in `f32` is 67 MB.
pub const MAX_BYTES: usize = 1 << 30;

/// Why an artifact was refused.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ArtifactError {
    /// What kind of trouble it is.
    pub kind: ArtifactErrorKind,
    /// One sentence: what was found and what was needed.
    pub message: String,
}

/// Kinds of trouble with an artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArtifactErrorKind {
    /// Not a model file, or a damaged one.
    Malformed,
    /// A model file of a newer taggram or of a kind that this build does not run.
    Unsupported,
    /// Larger than [`MAX_BYTES`].
    OverLimit,
}

pub(crate) fn malformed(message: impl Into<String>) -> ArtifactError {
    ArtifactError { kind: ArtifactErrorKind::Malformed, message: message.into() }
}

/// Everything about a model but its weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Layout of this description, [`FORMAT`] or [`COMPRESSED_FORMAT`].
    pub format: u32,
    /// Short name, as given to `--model`.
    pub name: String,
    /// One sentence for people.
    pub about: String,
    /// Licence of the weights (SPDX name or the text).
    pub licence: String,
    /// The vocabulary: what the outputs mean, in order.
    pub labels: Vec<String>,
    /// Whether exactly one label holds (genres) or each on its own (tags).
    pub answer: Answer,
    /// How a song becomes an answer.
    pub body: Body,
    /// What makes song probabilities honest.
    #[serde(default)]
    pub calibration: Calibration,
    /// The training recipe as it was written, or where the weights come from.
    #[serde(default)]
    pub recipe: String,
    /// Figures measured when the model was made, by name.
    #[serde(default)]
    pub metrics: BTreeMap<String, f64>,
}

/// How a song becomes an answer: what stands between samples and labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Body {
    /// A network on patches of a feature map.
    Network {
        /// How samples become frames.
        front_end: FrontEnd,
        /// How frames become patches.
        windows: Windows,
        /// The network; its first output has a value a label.
        network: Network,
        /// What it needs to compute in integers; without it, it computes in floats.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        quantisation: Option<Quantisation>,
    },
    /// A classifier on what another model's network says of a song.
    Head {
        /// Name of the other model.
        base: String,
        /// The network's node whose values are read, e.g. `tags` or `max_pool`.
        layer: String,
        /// What a row of the classifier is.
        over: Over,
        /// The classifier without its tensors ([`crate::classifier::Parts`]).
        classifier: serde_json::Value,
    },
    /// A classifier on descriptors of the whole clip or of segments.
    Descriptors {
        /// Name of the set of descriptors, e.g. `gtzan57`.
        set: String,
        /// Rate that audio is resampled to, Hz.
        sample_rate: u32,
        /// Length of a segment in seconds; the whole clip when absent.
        segment_s: Option<f64>,
        /// The classifier without its tensors ([`crate::classifier::Parts`]).
        classifier: serde_json::Value,
    },
}

/// What a head's classifier is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// The values of each patch; the song is decided from the patches' answers.
    Patch,
    /// Statistics of the patches' values over the song ([`crate::statistics`]).
    Song,
}

/// How the outputs of a network are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Logits over exclusive genres: softmax.
    Genres,
    /// Independent probabilities of tags, already 0…1.
    Tags,
}

/// A description with its weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Artifact {
    /// Everything but the weights.
    pub description: Description,
    /// Parameters by name.
    pub weights: Weights,
}

impl Artifact {
    /// Reads and checks an artifact.
    ///
    /// # Errors
    /// When the bytes are no model file, or the description, the network and the weights do not fit together.
    pub fn read(bytes: &[u8]) -> Result<Self, ArtifactError> {
        if bytes.len() > MAX_BYTES {
            return Err(ArtifactError {
                kind: ArtifactErrorKind::OverLimit,
                message: format!(
                    "the model is {} bytes, more than the {MAX_BYTES} that are read",
                    bytes.len()
                ),
            });
        }
        let (_, header) = SafeTensors::read_metadata(bytes)
            .map_err(|e| malformed(format!("not a safetensors model file ({e})")))?;
        let text = header.metadata().as_ref().and_then(|m| m.get("taggram")).ok_or_else(|| {
            malformed("a safetensors file without the taggram description: not made by `taggram`")
        })?;
        let format = serde_json::from_str::<serde_json::Value>(text)
            .ok()
            .and_then(|v| v.get("format").and_then(serde_json::Value::as_u64));
        if let Some(found) = format.filter(|&f| f > u64::from(COMPRESSED_FORMAT)) {
            return Err(ArtifactError {
                kind: ArtifactErrorKind::Unsupported,
                message: format!(
                    "the model has format {found}; this taggram reads up to {COMPRESSED_FORMAT}: a newer taggram made it"
                ),
            });
        }
        let description: Description = serde_json::from_str(text)
            .map_err(|e| malformed(format!("the model's description is damaged: {e}")))?;
        let tensors = SafeTensors::deserialize(bytes)
            .map_err(|e| malformed(format!("the model's tensors are damaged: {e}")))?;
        let weights = storage::decode(&tensors)?;
        let artifact = Self { description, weights };
        artifact.check()?;
        Ok(artifact)
    }

    /// The bytes of the model file; the same artifact always gives the same bytes.
    ///
    /// # Errors
    /// When the artifact does not fit together, so that what is written can be read.
    pub fn write(&self, storage: Storage) -> Result<Vec<u8>, ArtifactError> {
        self.check()?;
        let mut description = self.description.clone();
        if storage.is_compressed() || self.quantisation().is_some() {
            description.format = COMPRESSED_FORMAT;
        }
        let text = serde_json::to_string(&description)
            .map_err(|e| malformed(format!("the description cannot be written: {e}")))?;
        let stored = storage::encode(&self.weights, storage)?;
        let mut views = Vec::with_capacity(stored.len());
        for part in &stored {
            let view = TensorView::new(part.dtype, part.shape.clone(), &part.data)
                .map_err(|e| malformed(format!("tensor {} cannot be written: {e}", part.name)))?;
            views.push((part.name.as_str(), view));
        }
        let metadata = HashMap::from([("taggram".to_string(), text)]);
        safetensors::serialize(views, Some(metadata))
            .map_err(|e| malformed(format!("the model cannot be written: {e}")))
    }

    /// Holds description, network and weights against each other.
    fn check(&self) -> Result<(), ArtifactError> {
        let d = &self.description;
        if d.labels.is_empty() || d.labels.len() > 10_000 {
            return Err(malformed(format!("{} labels; 1 to 10000 are possible", d.labels.len())));
        }
        if !(d.calibration.temperature.is_finite() && d.calibration.temperature > 0.0) {
            return Err(malformed(format!(
                "the temperature is {}; it must be above 0",
                d.calibration.temperature
            )));
        }
        match &d.body {
            Body::Network { front_end, windows, network, quantisation } => {
                self.check_network(front_end, windows, network)?;
                if let Some(quantisation) = quantisation {
                    quantisation.check(network).map_err(|e| malformed(e.to_string()))?;
                }
            }
            Body::Head { classifier, .. } | Body::Descriptors { classifier, .. } => {
                let pipeline = self.pipeline(classifier)?;
                if pipeline.classes() != d.labels {
                    return Err(malformed("the classifier's classes are not the model's labels"));
                }
            }
        }
        if let Some((name, tensor)) =
            self.weights.iter().find(|(_, t)| t.data.iter().any(|v| !v.is_finite()))
        {
            let at = tensor.data.iter().position(|v| !v.is_finite());
            return Err(malformed(format!(
                "weight {name} holds a value that is no number, at {at:?}"
            )));
        }
        Ok(())
    }
}

impl Artifact {
    /// The classifier of a head or of descriptors, whose description is `classifier`.
    ///
    /// # Errors
    /// When description and tensors do not fit together.
    pub fn pipeline(&self, classifier: &serde_json::Value) -> Result<Pipeline, ArtifactError> {
        let parts = Parts { description: classifier.clone(), tensors: self.weights.clone() };
        Pipeline::from_parts(parts).map_err(|e| malformed(e.to_string()))
    }

    /// What the network needs to compute in integers, if it does.
    pub fn quantisation(&self) -> Option<&Quantisation> {
        match &self.description.body {
            Body::Network { quantisation, .. } => quantisation.as_ref(),
            _ => None,
        }
    }

    fn check_network(
        &self,
        front_end: &FrontEnd,
        windows: &Windows,
        network: &Network,
    ) -> Result<(), ArtifactError> {
        front_end.check().map_err(|e| malformed(e.to_string()))?;
        windows.check(front_end.bands()).map_err(|e| malformed(e.to_string()))?;
        let shapes = network.shapes().map_err(|e| malformed(e.to_string()))?;
        network.check_weights(&self.weights).map_err(|e| malformed(e.to_string()))?;
        let patch = [front_end.channels(), windows.frames, front_end.bands()];
        if network.inputs.len() != 1 || network.inputs[0].shape != patch {
            return Err(malformed(format!(
                "the network takes {:?} but the recipe makes patches of {patch:?}",
                network.inputs.iter().map(|i| &i.shape).collect::<Vec<_>>()
            )));
        }
        let labels = self.description.labels.len();
        let output = network.outputs.first().and_then(|name| shapes.get(name));
        if output != Some(&vec![labels]) {
            return Err(malformed(format!(
                "the network answers {output:?} but there are {labels} labels"
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tensor;
    use crate::architectures::{Architecture, Compact, Heads};
    use taggram_features::{Map, Normalise, Resampling, Scale};

    fn artifact() -> Artifact {
        let sizes = Compact { stem: 4, blocks: vec![4], columns: 4, embedding: 4, dropout: 0.1 };
        let heads = Heads { classes: 2, auxiliary: Vec::new() };
        let network = Architecture::Compact(sizes).build([1, 8, 16], &heads);
        let weights = network
            .weight_specs()
            .unwrap()
            .into_iter()
            .map(|spec| {
                let len: usize = spec.shape.iter().product();
                let data = (0..len).map(|i| 0.25 + (i % 7) as f32 / 8.0).collect();
                (spec.name, Tensor::new(spec.shape, data))
            })
            .collect();
        let description = Description {
            format: FORMAT,
            name: "tiny".into(),
            about: "A test.".into(),
            licence: "CC0-1.0".into(),
            labels: vec!["blues".into(), "rock".into()],
            answer: Answer::Genres,
            body: Body::Network {
                front_end: FrontEnd {
                    sample_rate: 22_050,
                    resampling: Resampling::SoxrHq,
                    n_fft: 512,
                    hop: 256,
                    map: Map::Mel { bands: 16, scale: Scale::Decibel },
                },
                windows: Windows {
                    frames: 8,
                    hop: 4,
                    normalise: Normalise::PatchZScore { top_db: 80.0, quiet_bands: 0 },
                },
                network,
                quantisation: None,
            },
            calibration: Calibration { temperature: 0.8 },
            recipe: "seed = 1".into(),
            metrics: BTreeMap::from([("accuracy".into(), 0.5)]),
        };
        Artifact { description, weights }
    }

    #[test]
    fn what_is_written_is_read_and_always_the_same_bytes() {
        let artifact = artifact();
        let bytes = artifact.write(Storage::F32).unwrap();
        assert_eq!(bytes, artifact.write(Storage::F32).unwrap());
        assert_eq!(Artifact::read(&bytes).unwrap(), artifact);
    }

    #[test]
    fn half_precision_is_half_the_weights() {
        let artifact = artifact();
        let full = artifact.write(Storage::F32).unwrap().len();
        let half = artifact.write(Storage::F16).unwrap();
        let weights: usize = artifact.weights.values().map(Tensor::len).sum();
        // The header may differ by a few bytes of offsets and padding.
        assert!(full.abs_diff(half.len() + 2 * weights) < 64, "{full} and {}", half.len());
        assert_eq!(Artifact::read(&half).unwrap(), artifact, "these weights are exact in f16");
    }

    #[test]
    fn wrong_files_are_refused_with_a_sentence() {
        let good = artifact();
        let bytes = good.write(Storage::F32).unwrap();
        let mut missing = good.clone();
        missing.weights.remove("logits.bias");
        let mut wrong_labels = good.clone();
        wrong_labels.description.labels.push("jazz".into());
        let mut infinite = good.clone();
        infinite.weights.get_mut("stem.weight").unwrap().data[3] = f32::INFINITY;
        for (artifact, says) in
            [(&missing, "logits.bias"), (&wrong_labels, "3 labels"), (&infinite, "stem.weight")]
        {
            let error = artifact.write(Storage::F32).unwrap_err();
            assert!(error.message.contains(says), "{error} does not name {says}");
        }
        for cut in [0, 7, 8, 100, bytes.len() / 2, bytes.len() - 1] {
            let error = Artifact::read(&bytes[..cut]).unwrap_err();
            assert_eq!(error.kind, ArtifactErrorKind::Malformed);
        }
    }

    #[test]
    fn a_newer_format_is_named_as_such() {
        let mut artifact = artifact();
        artifact.description.format = COMPRESSED_FORMAT + 1;
        let bytes = artifact.write(Storage::F32).unwrap();
        assert_eq!(Artifact::read(&bytes).unwrap_err().kind, ArtifactErrorKind::Unsupported);
    }

    #[test]
    fn damaged_bytes_never_panic() {
        let bytes = artifact().write(Storage::F32).unwrap();
        let mut state = 1u32;
        for _ in 0..2000 {
            let mut damaged = bytes.clone();
            for _ in 0..4 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = state as usize % damaged.len().min(6000);
                damaged[at] = (state >> 24) as u8;
            }
            let _ = Artifact::read(&damaged);
        }
    }
}

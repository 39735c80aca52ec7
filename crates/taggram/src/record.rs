//! One song, one record: the answer as programs read it, wherever it is given.

use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::{Error, Heard, Model, Taggram};

/// The answer for one song, or why there is none. Serialises to the JSON object of
/// `taggram classify --format json`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Record {
    /// The file, as it was named.
    pub path: String,
    /// Most probable genre.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub genre: Option<String>,
    /// Its probability, 0…1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f32>,
    /// Genres with their probabilities, the most probable first.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "as_map")]
    pub scores: Vec<(String, f32)>,
    /// Seconds that were listened to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_s: Option<f64>,
    /// Number of patches that were classified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows: Option<usize>,
    /// Name of the model.
    pub model: String,
    /// Time from opening to answer, milliseconds.
    pub elapsed_ms: f64,
    /// What a person should know of this answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// How the answer unfolds, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taggram: Option<Taggram>,
    /// Why there is no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Record {
    /// The record of a song that was heard, with its `top` most probable genres.
    pub fn heard(path: &str, model: &Model, heard: &Heard, top: usize) -> Self {
        let mut scores = heard.verdict.scores.clone();
        scores.sort_by(|a, b| b.1.total_cmp(&a.1));
        scores.truncate(top);
        Self {
            path: path.to_string(),
            genre: Some(heard.verdict.genre.clone()),
            confidence: Some(heard.verdict.confidence),
            scores,
            duration_s: Some((heard.duration_s * 1e3).round() / 1e3),
            windows: Some(heard.taggram.len()),
            model: model.name().to_string(),
            elapsed_ms: (heard.elapsed_ms * 1e2).round() / 1e2,
            warnings: heard.warnings.clone(),
            taggram: None,
            error: None,
        }
    }

    /// The same record with how the answer of `heard` unfolds.
    #[must_use]
    pub fn with_taggram(mut self, heard: &Heard) -> Self {
        self.taggram = Some(heard.taggram.clone());
        self
    }

    /// The record of a song that could not be heard.
    pub fn failed(path: &str, model: &Model, error: &Error, elapsed_ms: f64) -> Self {
        Self {
            path: path.to_string(),
            model: model.name().to_string(),
            elapsed_ms: (elapsed_ms * 1e2).round() / 1e2,
            error: Some(error.to_string()),
            ..Self::default()
        }
    }
}

/// Pairs as a JSON object that keeps their order.
fn as_map<S: Serializer>(scores: &[(String, f32)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(scores.len()))?;
    for (genre, probability) in scores {
        map.serialize_entry(genre, probability)?;
    }
    map.end()
}

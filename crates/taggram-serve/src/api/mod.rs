//! One file an address, or a few that belong together.

pub(crate) mod about;
pub(crate) mod classify;
pub(crate) mod original;
pub(crate) mod stream;

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::hear::Levels;

/// One server-sent event.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described: events are written by hand")]
pub(crate) struct StreamEvent {
    /// `start`, `window`, `result` or `problem`.
    event: String,
    /// A JSON object, as text.
    data: String,
}

/// The answer for one song: the object of `taggram classify --format json`.
#[derive(Serialize, ToSchema)]
pub struct SongAnswer {
    /// The file as the client named it, without its folders; `upload` where it was not named.
    path: String,
    /// Most probable genre.
    genre: String,
    /// Its probability, 0…1.
    #[schema(minimum = 0, maximum = 1)]
    confidence: f32,
    /// Genres with their probabilities, the most probable first.
    scores: BTreeMap<String, f32>,
    /// Seconds that were listened to.
    #[schema(minimum = 0)]
    duration_s: f64,
    /// Number of windows that were classified.
    windows: usize,
    /// Name of the model.
    model: String,
    /// Time from opening to answer, milliseconds.
    #[schema(minimum = 0)]
    elapsed_ms: f64,
    /// What a person should know of this answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    warnings: Option<Vec<String>>,
    /// How the answer unfolds, with `taggram=true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    taggram: Option<TaggramAnswer>,
    /// The spectrogram, with `spectrogram=true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    spectrogram: Option<Levels>,
}

/// Probabilities over time.
#[derive(Serialize, ToSchema)]
pub struct TaggramAnswer {
    /// Names of the labels: the columns.
    labels: Vec<String>,
    /// Start of every window, seconds.
    starts_s: Vec<f64>,
    /// Length of a window, seconds.
    patch_s: f64,
    /// `[window, label]` probabilities, flat.
    probabilities: Vec<f32>,
}

/// A song in the field `audio` of a form.
#[derive(Serialize, ToSchema)]
pub struct Form {
    /// The file.
    #[schema(value_type = String, format = Binary, content_media_type = "application/octet-stream")]
    audio: Vec<u8>,
}

/// Bytes as they are.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
pub struct Binary(#[allow(dead_code)] Vec<u8>);

//! What the service says of itself: models, health, counters, its own description.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::Service;
use crate::problem::{Code, Problem};

/// A model that answers here.
#[derive(Serialize, ToSchema)]
pub struct ModelAnswer {
    /// Its name, for the option `model`.
    name: String,
    /// One sentence for people.
    about: String,
    /// Licence of the weights.
    licence: String,
    /// The vocabulary.
    labels: Vec<String>,
    /// Whether it answers where a request names no model.
    default: bool,
    /// Rate that audio is resampled to, Hz.
    sample_rate: u32,
    /// Length of a window, seconds.
    patch_s: f64,
    /// Distance between the starts of windows, seconds.
    hop_s: f64,
}

/// List the models
#[utoipa::path(
    get,
    path = "/v1/models",
    tag = "service",
    responses(
        (status = 200, description = "The models, the default one first", body = Vec<ModelAnswer>),
        (status = 401, description = "The key is missing or wrong", body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("key" = [])),
)]
pub(crate) async fn models(State(service): State<Arc<Service>>) -> Json<Vec<ModelAnswer>> {
    let answer = |(i, model): (usize, &Arc<taggram::Model>)| {
        let (description, windows) = (model.description(), model.windows());
        let rate = model.front_end().frame_rate();
        ModelAnswer {
            name: description.name.clone(),
            about: description.about.clone(),
            licence: description.licence.clone(),
            labels: description.labels.clone(),
            default: i == 0,
            sample_rate: model.sample_rate(),
            patch_s: windows.frames as f64 / rate,
            hop_s: windows.hop as f64 / rate,
        }
    };
    Json(service.models().iter().enumerate().map(answer).collect())
}

/// Whether the process lives
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "service",
    responses((status = 200, description = "It does", body = String, content_type = "text/plain")),
)]
pub(crate) async fn health() -> &'static str {
    "alive\n"
}

/// Whether songs should be sent here
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "service",
    responses(
        (status = 200, description = "They should", body = String, content_type = "text/plain"),
        (status = 503, description = "The service is about to stop", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn ready(State(service): State<Arc<Service>>) -> Result<&'static str, Problem> {
    if service.is_stopping() {
        return Err(Problem::new(Code::Stopping, "the service is about to stop"));
    }
    Ok("ready\n")
}

/// What the service counts, for Prometheus
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "service",
    responses((status = 200, description = "The text format of Prometheus", body = String, content_type = "text/plain")),
)]
pub(crate) async fn metrics(State(service): State<Arc<Service>>) -> Result<Response, Problem> {
    let metrics = &service.metrics;
    let gauge = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    metrics.queue_waiting.set(gauge(service.turns.waiting() as u64));
    metrics.queue_songs.set(gauge(service.queue.used()));
    metrics.memory.set(gauge(service.memory.used()));
    let text = metrics.text().map_err(|e| Problem::new(Code::Bug, e.to_string()))?;
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

//! `POST /`: the request and the answer of the service that this one replaces.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::Service;
use crate::hear::Answer;
use crate::options::Options;
use crate::problem::{Code, Problem};

/// The answer of the original service.
#[derive(Serialize, ToSchema)]
pub struct OriginalAnswer {
    /// `success`, or `failed`.
    #[schema(value_type = String, example = "success")]
    status: &'static str,
    /// The genre; when it failed, why.
    #[schema(example = "classical")]
    message: String,
    /// Seconds that the answer took.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 0.02, minimum = 0)]
    duration: Option<f64>,
}

/// Tell the genre of a song, in the words of the original service
///
/// A form with the file in the field `audio`. Unlike the original, a failure has the status that it deserves.
#[utoipa::path(
    post,
    path = "/",
    tag = "songs",
    request_body(description = "The song", content((super::Form = "multipart/form-data"))),
    responses(
        (status = 200, description = "The genre", body = OriginalAnswer),
        (status = 400, description = "Not such a form", body = OriginalAnswer),
        (status = 401, description = "The key is missing or wrong", body = OriginalAnswer),
        (status = 408, description = "The body came too slowly", body = OriginalAnswer),
        (status = 413, description = "Too many bytes, seconds, channels or Hz", body = OriginalAnswer),
        (status = 415, description = "Not audio", body = OriginalAnswer),
        (status = 422, description = "Audio that cannot be decoded, or without a sound in it", body = OriginalAnswer),
        (status = 429, description = "Too many songs at once of this client: try again after `Retry-After` seconds", body = OriginalAnswer),
        (status = 503, description = "Too many songs at once", body = OriginalAnswer),
    ),
    security((), ("key" = [])),
)]
pub(crate) async fn classify(State(service): State<Arc<Service>>, request: Request) -> Response {
    let start = Instant::now();
    match super::classify::answer(&service, Options::default(), request).await {
        Ok(Answer::Json(said)) => Json(OriginalAnswer {
            status: "success",
            message: said.record.genre.unwrap_or_default(),
            duration: Some((start.elapsed().as_secs_f64() * 1e4).round() / 1e4),
        })
        .into_response(),
        Ok(Answer::Picture(..)) => failed(&Problem::new(Code::Bug, "a picture was drawn instead")),
        Err(problem) => failed(&problem),
    }
}

/// A problem in the words of the original.
pub(crate) fn failed(problem: &Problem) -> Response {
    let answer =
        OriginalAnswer { status: "failed", message: problem.detail.clone(), duration: None };
    let mut response = Json(answer).into_response();
    problem.heads(&mut response);
    response
}

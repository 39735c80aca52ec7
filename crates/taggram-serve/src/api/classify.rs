//! `POST /v1/classify`: a song in, its genre out.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use taggram::Source;

use crate::Service;
use crate::hear::{Answer, Cancel, CancelOnDrop, Task, hear};
use crate::options::Options;
use crate::problem::{Code, Problem};
use crate::upload::Upload;

/// Tell the genre of a song
///
/// The song is the field `audio` of a form, or the body itself. wav, au, aiff, mp3, flac, ogg vorbis, opus, m4a
/// (aac, alac): its content tells, not its name.
///
/// With `stream=true` the answer is a stream of server-sent events that begins while the song still arrives:
/// `start` (model, labels, length of a window), a `window` each (its time, probabilities, and the verdict so far), and
/// `result` with the object that is otherwise the answer, or `problem`.
#[utoipa::path(
    post,
    path = "/v1/classify",
    tag = "songs",
    params(Options),
    request_body(
        description = "The song",
        content(
            (super::Form = "multipart/form-data"),
            (super::Binary = "application/octet-stream"),
            (super::Binary = "audio/*"),
        )
    ),
    responses(
        (status = 200, description = "The answer", content(
            (super::SongAnswer = "application/json"),
            (super::StreamEvent = "text/event-stream"),
            (String = "image/svg+xml"),
            (super::Binary = "image/png"),
        )),
        (status = 400, description = "Not a request of this API: a wrong option, a broken form, no such model", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "The key is missing or wrong", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body came too slowly", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "Too many bytes, seconds, channels or Hz", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Not audio", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Audio that cannot be decoded, or without a sound in it", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many songs at once of this client: try again after `Retry-After` seconds", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Too many songs at once: try again after `Retry-After` seconds", body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("key" = [])),
)]
pub(crate) async fn classify(
    State(service): State<Arc<Service>>,
    query: Result<Query<Options>, QueryRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let Query(options) = query.map_err(|e| Problem::new(Code::Malformed, e.body_text()))?;
    options.check()?;
    if options.stream.unwrap_or(false) {
        return super::stream::classify(service, options, request).await;
    }
    Ok(answer(&service, options, request).await?.into_response())
}

/// One song, from the request to its answer.
pub(crate) async fn answer(
    service: &Arc<Service>,
    options: Options,
    request: Request,
) -> Result<Answer, Problem> {
    let model = service.model(options.model.as_deref())?;
    // Early: nobody sends a whole song to be refused.
    if service.queue.is_empty() {
        return Err(service.busy());
    }
    let guest = service.admit(request.extensions())?;
    let start = Instant::now();
    let (name, bytes, memory) = Upload::open(service, request).await?.all().await?;
    service.metrics.receive.observe(start.elapsed().as_secs_f64());
    let place = service.queue.share(1).ok_or_else(|| service.busy())?;
    let start = Instant::now();
    let cancel = CancelOnDrop(Cancel::default());
    let task = Task { service: service.clone(), model, name, options, cancel: cancel.0.clone() };
    let answer = service.turns.run(move |turn| {
        task.service.metrics.wait.observe(start.elapsed().as_secs_f64());
        let answer = hear(&task, Source::Bytes(bytes), turn, |_| {});
        // What a request holds is given back when it is worked off, not when its client leaves.
        drop((place, memory, guest));
        answer
    });
    answer.await.unwrap_or_else(|| {
        service.metrics.panics.inc();
        Err(Problem::new(Code::Bug, "the song could not be worked on"))
    })
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        match self {
            Self::Json(said) => Json(said).into_response(),
            Self::Picture(kind, bytes) => {
                let headers = [(header::CONTENT_TYPE, HeaderValue::from_static(kind))];
                (headers, bytes).into_response()
            }
        }
    }
}

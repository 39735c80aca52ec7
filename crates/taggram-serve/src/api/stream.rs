//! `POST /v1/classify?stream=true`: a running verdict while the song still arrives.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_core::Stream;
use serde::Serialize;
use taggram::{Listener, Source};
use tokio::sync::mpsc;

use crate::Service;
use crate::hear::{Answer, Cancel, CancelOnDrop, Task, hear};
use crate::options::Options;
use crate::pipe::{Broken, Pipe};
use crate::problem::{Code, Problem};
use crate::upload::Upload;

/// Chunks of a body that wait for the decoder.
const CHUNKS: usize = 16;

/// Begins to answer with the first thing that is known: an early problem is an honest status.
pub(crate) async fn classify(
    service: Arc<Service>,
    options: Options,
    request: Request,
) -> Result<Response, Problem> {
    let model = service.model(options.model.as_deref())?;
    let guest = service.admit(request.extensions())?;
    let stream = service.streams.share(1).ok_or_else(|| service.busy())?;
    let place = service.queue.share(1).ok_or_else(|| service.busy())?;
    let mut upload = Upload::open(&service, request).await?;
    let name = upload.name.clone();

    let (send, chunks) = mpsc::channel(CHUNKS);
    let broken = Broken::default();
    let breaks = broken.clone();
    tokio::spawn(async move {
        loop {
            match upload.chunk().await {
                Ok(Some(chunk)) => {
                    if send.send(chunk).await.is_err() {
                        return;
                    }
                }
                Ok(None) => break,
                Err(problem) => {
                    breaks.set(problem);
                    break;
                }
            }
        }
        drop(send);
    });

    // Events are few and small: at most one a window of a song of bounded length.
    let (tell, mut events) = mpsc::unbounded_channel();
    let cancel = CancelOnDrop(Cancel::default());
    let turn = Arc::new(Mutex::new(service.turns.wait().await));
    let pipe = Pipe {
        chunks,
        current: Bytes::new(),
        turn: turn.clone(),
        broken: broken.clone(),
        cancel: cancel.0.clone(),
    };
    let task = Task { service: service.clone(), model, name, options, cancel: cancel.0.clone() };
    let working = tokio::task::spawn_blocking(move || {
        let mut teller = Teller { tell, begun: false, told: 0 };
        let result = hear(&task, Source::Stream(Box::new(pipe)), &turn, |l| teller.heard(&task, l));
        // A body that broke off is no shorter song.
        let result = broken.get().map_or(result, Err);
        match result {
            Ok(answer) => teller.ended(&task, answer),
            Err(problem) => teller.problem(&task, problem),
        }
        drop((place, stream, guest));
    });
    let counting = service.clone();
    tokio::spawn(async move {
        if working.await.is_err() {
            counting.metrics.panics.inc();
        }
    });
    match events.recv().await {
        None => Err(Problem::new(Code::Bug, "the song could not be worked on")),
        Some(Event::Problem(problem)) => Err(problem),
        Some(Event::Said(first)) => {
            let body = Events { first: Some(first), events, _cancel: cancel };
            let headers =
                [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
            Ok((headers, Body::from_stream(body)).into_response())
        }
    }
}

enum Event {
    Said(Bytes),
    Problem(Problem),
}

/// What is known before the first window.
#[derive(Serialize)]
struct Start<'a> {
    model: &'a str,
    labels: &'a [String],
    patch_s: f64,
}

/// One window, `[label]` probabilities; with the newest, the verdict on all so far.
#[derive(Serialize)]
struct Window<'a> {
    index: usize,
    start_s: f64,
    end_s: f64,
    probabilities: &'a [f32],
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<SoFar>,
}

#[derive(Serialize)]
struct SoFar {
    genre: String,
    confidence: f32,
}

/// Writes events. Whether anybody still reads them is found out by the answer's body.
struct Teller {
    tell: mpsc::UnboundedSender<Event>,
    begun: bool,
    told: usize,
}

impl Teller {
    fn say(&self, event: &str, data: &impl Serialize) {
        // None of these structures can fail to be written; an event less would do no harm.
        if let Ok(data) = serde_json::to_string(data) {
            let text = format!("event: {event}\ndata: {data}\n\n");
            let _ = self.tell.send(Event::Said(text.into()));
        }
    }

    fn begin(&mut self, task: &Task) {
        if !self.begun {
            self.begun = true;
            let model = &task.model;
            self.say(
                "start",
                &Start {
                    model: model.name(),
                    labels: model.labels(),
                    patch_s: model.windows().frames as f64 / model.front_end().frame_rate(),
                },
            );
        }
    }

    fn heard(&mut self, task: &Task, listener: &Listener<'_>) {
        self.begin(task);
        let taggram = listener.taggram();
        if taggram.len() == self.told {
            return;
        }
        let mut verdict = listener
            .verdict(task.options.decide())
            .ok()
            .flatten()
            .map(|v| SoFar { genre: v.genre, confidence: v.confidence });
        for index in self.told..taggram.len() {
            let start_s = taggram.starts_s[index];
            let newest = index + 1 == taggram.len();
            self.say(
                "window",
                &Window {
                    index,
                    start_s,
                    end_s: start_s + taggram.patch_s,
                    probabilities: taggram.patch(index),
                    verdict: verdict.take_if(|_| newest),
                },
            );
        }
        self.told = taggram.len();
    }

    fn ended(&mut self, task: &Task, answer: Answer) {
        self.begin(task);
        if let Answer::Json(said) = answer {
            self.say("result", &said);
        }
    }

    fn problem(&self, task: &Task, problem: Problem) {
        if self.begun {
            // The head of the answer said 200 long ago: it is counted here.
            task.service.metrics.problems.with_label_values(&[problem.code.name()]).inc();
            self.say("problem", &problem);
        } else {
            let _ = self.tell.send(Event::Problem(problem));
        }
    }
}

/// The body of the answer; when the client has gone, it is dropped and the work stops.
struct Events {
    first: Option<Bytes>,
    events: mpsc::UnboundedReceiver<Event>,
    _cancel: CancelOnDrop,
}

impl Stream for Events {
    type Item = Result<Bytes, Problem>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        self.events.poll_recv(context).map(|event| match event? {
            Event::Said(text) => Some(Ok(text)),
            Event::Problem(problem) => Some(Err(problem)),
        })
    }
}

//! The body of a request as it arrives, within the bounds of bytes and time.
//!
//! A task of its own reads it. Whoever answers before the end simply drops the body: the task then
//! reads on for a moment and throws away, so that a client that is still sending gets to read the
//! answer instead of a reset connection.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, BodyDataStream};
use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use futures_core::Stream;
use tokio::sync::mpsc;

use crate::Service;
use crate::problem::{Code, Problem};

/// Chunks between the task and whoever reads.
const CHUNKS: usize = 4;

/// How long an unwanted rest is read.
const DISCARD: Duration = Duration::from_secs(5);

/// Puts every request's body behind the bounds.
pub(crate) async fn bounded(
    State(service): State<Arc<Service>>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    let announced = parts
        .headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let has_body =
        announced.is_some_and(|n| n > 0) || parts.headers.contains_key(header::TRANSFER_ENCODING);
    if !has_body {
        return next.run(Request::from_parts(parts, body)).await;
    }
    let arriving = Arriving {
        state: Some(Still { service, body, announced }),
        chunks: None,
        // Such a client sends nothing before it is asked to: there is nothing to throw away.
        asks_first: parts.headers.contains_key(header::EXPECT),
    };
    next.run(Request::from_parts(parts, Body::from_stream(arriving))).await
}

struct Arriving {
    state: Option<Still>,
    chunks: Option<mpsc::Receiver<Result<Bytes, Problem>>>,
    asks_first: bool,
}

/// A body of which nothing was read yet.
struct Still {
    service: Arc<Service>,
    body: Body,
    announced: Option<u64>,
}

impl Still {
    fn start(self) -> mpsc::Receiver<Result<Bytes, Problem>> {
        let (send, receive) = mpsc::channel(CHUNKS);
        tokio::spawn(self.read(send));
        receive
    }

    async fn read(self, send: mpsc::Sender<Result<Bytes, Problem>>) {
        let mut body = self.body.into_data_stream();
        match read(&self.service, &mut body, self.announced, &send).await {
            Ok(()) => {}
            Err(problem) => {
                // Who is slow would only be waited for once more.
                let wait = problem.code != Code::TooSlow;
                // Nobody is there to be told when the answer was given before.
                let _ = send.send(Err(problem)).await;
                drop(send);
                if wait {
                    discard(&mut body).await;
                }
            }
        }
    }
}

/// Hands chunks on until the end, or until nobody wants them.
async fn read(
    service: &Service,
    body: &mut BodyDataStream,
    announced: Option<u64>,
    send: &mpsc::Sender<Result<Bytes, Problem>>,
) -> Result<(), Problem> {
    let config = &service.config;
    let too_large = |bytes: String| {
        let text =
            format!("the body has {bytes} bytes, and at most {} are accepted", config.max_bytes);
        Problem::new(Code::TooLarge, text)
    };
    if let Some(bytes) = announced.filter(|&bytes| bytes > config.max_bytes) {
        return Err(too_large(bytes.to_string()));
    }
    let (mut received, mut waited) = (0u64, Duration::ZERO);
    loop {
        let before = Instant::now();
        let patience = config.idle.min(config.receive.saturating_sub(waited));
        let Ok(chunk) = tokio::time::timeout(patience, next(body)).await else {
            return Err(Problem::new(
                Code::TooSlow,
                format!(
                    "{received} bytes came in {:.1} s, and then nothing for {:.1} s",
                    waited.as_secs_f64(),
                    before.elapsed().as_secs_f64()
                ),
            ));
        };
        waited += before.elapsed();
        let chunk = match chunk {
            None => return Ok(()),
            Some(Err(error)) => {
                let text = format!("the body broke off after {received} bytes: {error}");
                return Err(Problem::new(Code::Malformed, text));
            }
            Some(Ok(chunk)) => chunk,
        };
        received += chunk.len() as u64;
        service.metrics.bytes.inc_by(chunk.len() as u64);
        if received > config.max_bytes {
            return Err(too_large(format!("more than {}", config.max_bytes)));
        }
        if send.send(Ok(chunk)).await.is_err() {
            discard(body).await;
            return Ok(());
        }
    }
}

/// Reads on for a moment.
async fn discard(body: &mut BodyDataStream) {
    let rest = async { while let Some(Ok(_)) = next(body).await {} };
    let _ = tokio::time::timeout(DISCARD, rest).await;
}

async fn next(body: &mut BodyDataStream) -> Option<Result<Bytes, axum::Error>> {
    std::future::poll_fn(|context| Pin::new(&mut *body).poll_next(context)).await
}

impl Stream for Arriving {
    type Item = Result<Bytes, Problem>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(still) = self.state.take() {
            self.chunks = Some(still.start());
        }
        match &mut self.chunks {
            Some(chunks) => chunks.poll_recv(context),
            None => Poll::Ready(None),
        }
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        if let Some(still) = self.state.take().filter(|_| !self.asks_first) {
            drop(still.start());
        }
    }
}

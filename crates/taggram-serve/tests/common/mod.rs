//! A little music, a service without a network, and requests to it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use taggram_serve::{Config, Service, router};
use tower::ServiceExt;

/// A WAV file, 16 bit mono, of three chords with a beat.
pub fn song(seconds: f64) -> Vec<u8> {
    let rate = 22_050u32;
    let samples = (0..(seconds * f64::from(rate)) as usize).map(|i| {
        let t = i as f64 / f64::from(rate);
        let root = [220.0, 174.6, 196.0][(t as usize / 2) % 3];
        let tone: f64 = [1.0, 1.25, 1.5]
            .iter()
            .flat_map(|ratio| (1..5).map(move |h| (ratio, f64::from(h))))
            .map(|(ratio, h)| (std::f64::consts::TAU * root * ratio * h * t).sin() / h)
            .sum();
        let beat = (-(t * 2.0).fract() * 12.0).exp();
        (2000.0 * tone * (0.4 + beat)) as i16
    });
    wav(rate, &samples.flat_map(i16::to_le_bytes).collect::<Vec<u8>>())
}

/// A WAV file of 16-bit mono samples.
pub fn wav(rate: u32, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(b"RIFF");
    out.extend((36 + data.len() as u32).to_le_bytes());
    out.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    out.extend(rate.to_le_bytes());
    out.extend((rate * 2).to_le_bytes());
    out.extend(b"\x02\0\x10\0data");
    out.extend((data.len() as u32).to_le_bytes());
    out.extend(data);
    out
}

/// A service with the default model.
pub fn service(config: Config) -> Arc<Service> {
    Service::new(vec![taggram::model("default").unwrap()], config).unwrap()
}

/// Everything of an answer.
pub struct Answer {
    pub status: StatusCode,
    pub headers: axum::http::HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e} in {}", String::from_utf8_lossy(&self.body)))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

pub async fn send(router: &Router, request: Request<Body>) -> Response<Body> {
    tokio::time::timeout(Duration::from_secs(60), router.clone().oneshot(request))
        .await
        .expect("an answer within a minute")
        .unwrap()
}

pub async fn ask(router: &Router, request: Request<Body>) -> Answer {
    let (parts, body) = send(router, request).await.into_parts();
    let body = body.collect().await.unwrap().to_bytes().to_vec();
    Answer { status: parts.status, headers: parts.headers, body }
}

pub async fn get(router: &Router, path: &str) -> Answer {
    ask(router, Request::get(path).body(Body::empty()).unwrap()).await
}

/// A body with its length in the head, as clients send it.
pub fn raw(path: &str, kind: &str, body: Vec<u8>) -> Request<Body> {
    Request::post(path)
        .header("content-type", kind)
        .header("content-length", body.len())
        .body(body.into())
        .unwrap()
}

/// A form with one file.
pub fn form(path: &str, field: &str, name: &str, file: &[u8]) -> Request<Body> {
    let mut body = Vec::new();
    let head = format!(
        "--XX\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{name}\"\r\n\
         Content-Type: audio/wav\r\n\r\n"
    );
    body.extend(head.as_bytes());
    body.extend(file);
    body.extend(b"\r\n--XX--\r\n");
    raw(path, "multipart/form-data; boundary=XX", body)
}

/// A body that arrives as the test sends it.
pub fn slow_body() -> (tokio::sync::mpsc::Sender<Vec<u8>>, Body) {
    let (send, mut receive) = tokio::sync::mpsc::channel::<Vec<u8>>(1);
    let stream = Chunks(std::future::poll_fn(move |context| receive.poll_recv(context)));
    (send, Body::from_stream(stream))
}

struct Chunks<F>(F);

impl<F: Future<Output = Option<Vec<u8>>> + Unpin> futures_core::Stream for Chunks<F> {
    type Item = Result<Vec<u8>, std::io::Error>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::pin::Pin::new(&mut self.0).poll(context).map(|chunk| chunk.map(Ok))
    }
}

/// The router of [`service`].
pub fn ready(config: Config) -> Router {
    router(service(config))
}

//! Addresses and what is answered.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::routing::get;
use serde_json::json;

use super::cache::Cut;
use super::files::{self, FOR_EVER, status};
use super::{Origin, Track};
use crate::playlist::{Map, Master, Media, Segment, Variant};
use crate::{ErrorKind, HlsError};

/// First part of the address of a track.
const TRACK: &str = "t";

/// A track does not change under its address, but its playlist's form may with this program.
const HOUR: &str = "public, max-age=3600";

type Answer = Response<Body>;

/// All addresses.
pub(super) fn router(origin: Arc<Origin>) -> Router {
    Router::new()
        .route("/", get(|s, h| page(s, Path(String::new()), h)))
        .route("/index.json", get(index))
        .route("/stats.json", get(stats))
        .route("/live/{file}", get(live))
        .route(&format!("/{TRACK}/{{id}}/{{file}}"), get(track))
        .route("/{file}", get(page))
        .fallback(|| async { status(StatusCode::NOT_FOUND) })
        .layer(from_fn_with_state(origin.clone(), around))
        .with_state(origin)
}

/// Around every answer: counted, readable from pages of other origins, GET and HEAD alone.
async fn around(State(origin): State<Arc<Origin>>, request: Request<Body>, next: Next) -> Answer {
    origin.stats.request();
    let mut response = match *request.method() {
        Method::GET | Method::HEAD => next.run(request).await,
        Method::OPTIONS => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            let allow = [
                (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, OPTIONS"),
                (header::ACCESS_CONTROL_ALLOW_HEADERS, "range, if-none-match, icy-metadata"),
                (header::ACCESS_CONTROL_MAX_AGE, "86400"),
                (header::ALLOW, "GET, HEAD, OPTIONS"),
            ];
            for (name, value) in allow {
                response.headers_mut().insert(name, HeaderValue::from_static(value));
            }
            response
        }
        _ => status(StatusCode::METHOD_NOT_ALLOWED),
    };
    let headers = response.headers_mut();
    let constant = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, "content-length, content-range, etag"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    for (name, value) in constant {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// What an error is to one who asks: never a path of this machine.
fn refusal(error: &HlsError) -> Answer {
    status(match error.kind {
        ErrorKind::Unreadable | ErrorKind::Refused | ErrorKind::Status => StatusCode::NOT_FOUND,
        ErrorKind::Malformed | ErrorKind::Unsupported => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ErrorKind::OverLimit => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    })
}

async fn index(State(origin): State<Arc<Origin>>, headers: HeaderMap) -> Answer {
    let tracks: Vec<_> = origin
        .library
        .tracks()
        .iter()
        .map(|t| json!({ "name": t.name, "url": format!("/{TRACK}/{}/master.m3u8", t.id) }))
        .collect();
    let live = origin.live.as_ref().map(|_| "/live/master.m3u8");
    let text = json!({ "tracks": tracks, "live": live }).to_string();
    files::text(&headers, "json", &text, "no-cache")
}

async fn stats(State(origin): State<Arc<Origin>>, headers: HeaderMap) -> Answer {
    files::text(&headers, "json", &origin.stats.to_json().to_string(), "no-store")
}

async fn page(
    State(origin): State<Arc<Origin>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let Some((path, crc)) = origin.page.file(&name) else { return status(StatusCode::NOT_FOUND) };
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or("");
    let answer = files::file(&headers, path, ending, *crc, "no-cache").await;
    answer.unwrap_or_else(|_| status(StatusCode::NOT_FOUND))
}

async fn live(
    State(origin): State<Arc<Origin>>,
    Path(file): Path<String>,
    headers: HeaderMap,
) -> Answer {
    if let Some((path, crc)) = origin.live_file(&file).await {
        let ending = path.extension().and_then(|e| e.to_str()).unwrap_or("");
        let answer = files::file(&headers, &path, ending, crc, FOR_EVER).await;
        return answer.unwrap_or_else(|_| status(StatusCode::NOT_FOUND));
    }
    let (media, codecs, peak) = match origin.live_playlist().await {
        Ok(found) => found,
        Err(error) => return refusal(&error),
    };
    match file.as_str() {
        "master.m3u8" => {
            files::text(&headers, "m3u8", &master(&codecs, peak, None).to_string(), "no-cache")
        }
        "media.m3u8" => files::text(&headers, "m3u8", &media.to_string(), "no-cache"),
        _ => status(StatusCode::NOT_FOUND),
    }
}

async fn track(
    State(origin): State<Arc<Origin>>,
    Path((id, file)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    match origin.library.track(&id) {
        Some(track) => answer(&origin, track, &file, &headers).await,
        None => status(StatusCode::NOT_FOUND),
    }
}

async fn answer(origin: &Origin, track: &Track, file: &str, headers: &HeaderMap) -> Answer {
    let cut = match origin.cut(track, None).await {
        Ok(cut) => cut,
        Err(error) => return refusal(&error),
    };
    match file {
        "master.m3u8" => {
            let mean = cut.track.bytes() as f64 * 8.0 / cut.track.duration_s();
            let master = master(&cut.track.codecs, cut.track.peak_bps(), Some(mean.ceil() as u64));
            return files::text(headers, "m3u8", &master.to_string(), HOUR);
        }
        "media.m3u8" => {
            let media = media(&cut, origin.options.cut.segment_s.ceil() as u64);
            return files::text(headers, "m3u8", &media.to_string(), HOUR);
        }
        _ => {}
    }
    let (name, written, kind) = if file == "init.mp4" {
        (file.to_owned(), cut.track.init.as_ref(), "mp4")
    } else {
        // A number as this program writes them, so that each segment has one address.
        let number = file.strip_suffix(cut.track.extension).and_then(|f| f.strip_suffix('.'));
        let number = number.and_then(|n| n.parse::<usize>().ok().filter(|p| p.to_string() == n));
        let Some(number) = number else { return status(StatusCode::NOT_FOUND) };
        let name = format!("{number}.{}", cut.track.extension);
        (name, cut.track.segments.get(number), cut.track.extension)
    };
    let Some(written) = written else { return status(StatusCode::NOT_FOUND) };
    let path = cut.folder.join(name);
    let answer = files::file(headers, &path, kind, written.crc, FOR_EVER).await;
    answer.unwrap_or_else(|_| status(StatusCode::NOT_FOUND))
}

fn master(codecs: &str, peak_bps: u64, mean_bps: Option<u64>) -> Master {
    let variant = Variant {
        uri: "media.m3u8".into(),
        bandwidth: peak_bps.max(1),
        average_bandwidth: mean_bps,
        codecs: Some(codecs.to_owned()),
        ..Variant::default()
    };
    Master { version: 3, variants: vec![variant], renditions: Vec::new() }
}

fn media(cut: &Cut, target_s: u64) -> Media {
    let map = cut.track.init.as_ref().map(|_| Map { uri: "init.mp4".into(), range: None });
    let map = map.map(Arc::new);
    let segments = cut.track.segments.iter().enumerate().map(|(i, written)| Segment {
        uri: format!("{i}.{}", cut.track.extension),
        duration_s: written.duration_s,
        map: map.clone(),
        ..Segment::default()
    });
    Media {
        version: if map.is_some() { 7 } else { 3 },
        target_s,
        kind: Some("VOD".into()),
        ended: true,
        trim: cut.track.trim,
        segments: segments.collect(),
        ..Media::default()
    }
}

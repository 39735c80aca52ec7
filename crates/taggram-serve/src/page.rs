//! The page at `/`: files that are compiled in. It loads nothing from anywhere else.

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// What the page may do: its own files, and nothing from elsewhere. Sound and pictures that it makes
/// itself are blobs.
pub(crate) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' blob:; media-src blob:; connect-src 'self'; form-action 'none'; \
    base-uri 'none'; frame-ancestors 'none'";

/// A file of the page: address, type, content.
type File = (&'static str, &'static str, &'static str);

const FILES: [File; 5] = [
    ("/style.css", "text/css; charset=utf-8", include_str!("../../../web/style.css")),
    ("/chart.js", "text/javascript; charset=utf-8", include_str!("../../../web/chart.js")),
    ("/app.js", "text/javascript; charset=utf-8", include_str!("../../../web/app.js")),
    ("/record.js", "text/javascript; charset=utf-8", include_str!("../../../web/record.js")),
    ("/icon.svg", "image/svg+xml", include_str!("../../../web/icon.svg")),
];

const INDEX: File = ("/", "text/html; charset=utf-8", include_str!("../../../web/index.html"));

/// The page itself, for `GET /`.
pub(crate) async fn index(request: Request) -> Response {
    file(&INDEX, &request)
}

/// The files that the page loads.
pub(crate) fn files<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.iter().fold(Router::new(), |router, entry| {
        router.route(entry.0, get(async move |request: Request| file(entry, &request)))
    })
}

/// A file, or word that the browser has it already.
fn file((_, kind, content): &File, request: &Request) -> Response {
    let tag = format!("\"{:016x}\"", fnv(content.as_bytes()));
    let known = request.headers().get(header::IF_NONE_MATCH);
    let mut response = if known.is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], *content).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

/// FNV-1a, 64 bits: tells one version of a file from the next.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

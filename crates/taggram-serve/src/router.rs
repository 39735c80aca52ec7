//! Addresses, and what is true of all of them: bounds, counters, headers, the key.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::problem::{Code, Problem};
use crate::{Service, api, arriving, openapi, page};

/// Everything that the service answers.
pub fn router(service: Arc<Service>) -> Router {
    let guarded = Router::new()
        .route("/v1/classify", post(api::classify::classify))
        .route("/v1/models", get(api::about::models))
        .route_layer(middleware::from_fn_with_state(service.clone(), key));
    let mut router = Router::new()
        .route(
            "/",
            get(page::index).merge(
                post(api::original::classify)
                    .route_layer(middleware::from_fn_with_state(service.clone(), original_key)),
            ),
        )
        .route("/healthz", get(api::about::health))
        .route("/readyz", get(api::about::ready))
        .route("/metrics", get(api::about::metrics))
        .route("/openapi.json", get(openapi::document))
        .merge(page::files())
        .merge(guarded)
        .fallback(nothing)
        .method_not_allowed_fallback(wrong_method)
        // Bodies are bounded where they arrive.
        .layer(DefaultBodyLimit::disable());
    if let Some(cors) = cors(&service.config.cors) {
        router = router.layer(cors);
    }
    let crashed = service.clone();
    router
        .layer(CatchPanicLayer::custom(move |_: Box<dyn Any + Send>| {
            crashed.metrics.panics.inc();
            Problem::new(Code::Bug, "a mistake of this program; nothing of yours is lost")
                .into_response()
        }))
        .layer(middleware::from_fn_with_state(service.clone(), arriving::bounded))
        .layer(middleware::from_fn_with_state(service.clone(), account))
        .with_state(service)
}

async fn nothing() -> Problem {
    Problem::new(
        Code::NotFound,
        "there is nothing at this address; /openapi.json tells what there is",
    )
}

async fn wrong_method() -> Problem {
    Problem::new(Code::WrongMethod, "this address knows other methods; /openapi.json tells which")
}

/// Pages of other origins may use the service only where that was asked for.
fn cors(origins: &[String]) -> Option<CorsLayer> {
    let allow = if origins.is_empty() {
        return None;
    } else if origins.iter().any(|o| o == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().filter_map(|o| HeaderValue::from_str(o).ok()))
    };
    Some(
        CorsLayer::new()
            .allow_origin(allow)
            .allow_methods([Method::GET, Method::POST])
            .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE]),
    )
}

/// Lets through who shows the key, where there is one.
async fn key(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    match check_key(&service, &request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// [`key`] with a refusal in the words of the original service.
async fn original_key(
    State(service): State<Arc<Service>>,
    request: Request,
    next: Next,
) -> Response {
    match check_key(&service, &request) {
        Ok(()) => next.run(request).await,
        Err(problem) => api::original::failed(&problem),
    }
}

fn check_key(service: &Service, request: &Request) -> Result<(), Problem> {
    let Some(key) = &service.config.api_key else { return Ok(()) };
    let shown = request
        .headers()
        .get(header::AUTHORIZATION)
        .map(HeaderValue::as_bytes)
        .and_then(|value| value.split_at_checked(7))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "))
        .map(|(_, key)| key.trim_ascii());
    if shown.is_some_and(|shown| same(shown, key.as_bytes())) {
        return Ok(());
    }
    Err(Problem::new(Code::Unauthorized, "this service wants a key: Authorization: Bearer KEY"))
}

/// Equality that takes as long for a nearly right key as for any other of its length.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (x, y)| difference | (x ^ y)) == 0
}

/// Counts every answer and gives it the headers that all have.
async fn account(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "other".to_string(), |path| path.as_str().to_string());
    let method = match *request.method() {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    };
    let mut response = next.run(request).await;
    let metrics = &service.metrics;
    metrics.requests.with_label_values(&[&route, method, response.status().as_str()]).inc();
    metrics.request_seconds.with_label_values(&[&route]).observe(start.elapsed().as_secs_f64());
    if let Some(code) = response.extensions().get::<Code>() {
        metrics.problems.with_label_values(&[code.name()]).inc();
    }
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, page::POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("permissions-policy"),
            "microphone=(self), camera=(), geolocation=()",
        ),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if service.is_stopping() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

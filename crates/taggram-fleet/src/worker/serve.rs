//! A worker's metrics over HTTP.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;

use super::metrics::Metrics;
use crate::{ErrorKind, FleetError};

/// Serves `/metrics` and `/healthz` until the program ends; gives the address (port 0 takes a free one).
///
/// # Errors
/// When the address cannot be listened on.
pub(super) async fn serve(address: SocketAddr, metrics: Metrics) -> Result<SocketAddr, FleetError> {
    let failed = |e: std::io::Error| {
        FleetError::new(ErrorKind::Malformed, format!("metrics on {address}: {e}"))
    };
    let listener = tokio::net::TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let pages = Router::new()
        .route("/metrics", get(text))
        .route("/healthz", get(|| async { "ok\n" }))
        .with_state(metrics);
    tokio::spawn(async move { axum::serve(listener, pages).await });
    Ok(address)
}

async fn text(State(metrics): State<Metrics>) -> Result<String, StatusCode> {
    metrics.text().map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

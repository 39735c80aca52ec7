//! Connections: accepting, bounding and draining them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::guests::Peer;
use crate::patience::Patient;
use crate::{Service, router};

/// Most bytes of the head of a request.
const HEAD: usize = 32 << 10;

/// Most headers of a request.
const HEADERS: usize = 64;

/// After the signal to stop: how long connections without a request may stay, so that one that is
/// under way already is answered.
const LAST_CALL: Duration = Duration::from_millis(500);

/// After the signal to stop: how long connections that the system has let in already are taken.
const QUEUED: Duration = Duration::from_millis(50);

/// Answers on `listener` until `stop` is ready, then lets the requests that were begun come to
/// their end, for at most [`Config::drain`](crate::Config::drain).
///
/// # Errors
/// When the listener has no address.
pub async fn serve(
    listener: TcpListener,
    service: Arc<Service>,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let application = router(service.clone());
    let connections = Arc::new(Semaphore::new(service.config.connections));
    let graceful = GracefulShutdown::new();
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok(stream) => accept(stream, &application, &service, &connections, graceful.watcher()),
            // No file descriptors left, or a client that left at once: others are served on.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    service.stop();
    // Who was let in by the system before the signal came is served as well.
    let end = tokio::time::Instant::now() + QUEUED;
    while let Ok(Ok(stream)) = tokio::time::timeout_at(end, listener.accept()).await {
        accept(stream, &application, &service, &connections, graceful.watcher());
    }
    drop(listener);
    let all_gone = async {
        while graceful.count() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let _ = tokio::time::timeout(LAST_CALL, all_gone).await;
    let _ = tokio::time::timeout(service.config.drain, graceful.shutdown()).await;
    Ok(())
}

fn accept(
    (stream, peer): (TcpStream, SocketAddr),
    application: &Router,
    service: &Arc<Service>,
    connections: &Arc<Semaphore>,
    watcher: Watcher,
) {
    let Ok(permit) = connections.clone().try_acquire_owned() else {
        tokio::spawn(refuse(stream));
        return;
    };
    // Answers are small; waiting to fill packets would only delay them.
    let _ = stream.set_nodelay(true);
    let application = application.clone();
    tokio::spawn(converse(stream, Peer(peer.ip()), application, service.clone(), permit, watcher));
}

async fn converse(
    stream: TcpStream,
    peer: Peer,
    application: Router,
    service: Arc<Service>,
    permit: OwnedSemaphorePermit,
    watcher: Watcher,
) {
    service.metrics.connections.inc();
    let patience = service.config.patience;
    let stream = TokioIo::new(Patient::new(stream, patience));
    let application = TowerToHyperService::new(application);
    let answer = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        application.call(request)
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .max_buf_size(HEAD)
        .max_headers(HEADERS)
        .serve_connection(stream, answer);
    // Broken connections are the client's affair; what they cost is counted elsewhere.
    let _ = watcher.watch(connection).await;
    service.metrics.connections.dec();
    drop(permit);
}

/// One connection too many is told so, without reading what it wants.
async fn refuse(mut stream: TcpStream) {
    const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\
        Connection: close\r\nContent-Length: 0\r\n\r\n";
    let goodbye = async {
        stream.write_all(ANSWER).await?;
        stream.shutdown().await?;
        let mut rest = [0u8; 4096];
        while stream.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), goodbye).await;
}

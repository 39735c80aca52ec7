//! Connections: HTTP/1.1 and HTTP/2 on one port, many at once, none for ever.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, Sleep, sleep};

use super::crowd::{Crowd, Pulse};
use super::{Origin, live, routes};

/// What was served since the start.
#[derive(Debug, Default)]
pub struct Stats {
    connections: AtomicU64,
    open: AtomicU64,
    requests: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

impl Stats {
    pub(super) fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Connections accepted, open now, requests, bytes sent and received (with headers).
    pub fn to_json(&self) -> serde_json::Value {
        let get = |n: &AtomicU64| n.load(Ordering::Relaxed);
        serde_json::json!({
            "connections": get(&self.connections),
            "open": get(&self.open),
            "requests": get(&self.requests),
            "bytes_sent": get(&self.sent),
            "bytes_received": get(&self.received),
        })
    }
}

/// Serves until `end` comes. Each connection has its own task.
///
/// # Errors
/// None at present; accepting goes on whatever one connection does.
pub async fn serve(
    origin: Arc<Origin>,
    listener: TcpListener,
    end: impl Future<Output = ()>,
) -> io::Result<()> {
    let router = routes::router(origin.clone());
    let crowd = Crowd::new(origin.options.connections);
    let idle = Duration::from_secs_f64(origin.options.idle_s);
    let ticking = tokio::spawn({
        let origin = origin.clone();
        async move {
            let mut interval = tokio::time::interval(live::TICK);
            // An error here is told to those who ask for the playlist.
            while origin.live.is_some() {
                interval.tick().await;
                let _ = origin.advance().await;
                origin.prepare().await;
            }
        }
    });
    tokio::pin!(end);
    loop {
        let accepted = async {
            // Whoever is beyond the number waits here, the others in the system's queue.
            let socket = listener.accept().await;
            (socket, crowd.enter().await)
        };
        let (socket, place) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut end => break,
        };
        let socket = match socket {
            Ok((socket, _)) => socket,
            Err(_) => {
                // No file descriptors, most likely: others will be closed.
                sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // Segments are written whole; waiting to fill packets would only delay playlists.
        let _ = socket.set_nodelay(true);
        let io =
            TokioIo::new(Watched::new(socket, idle, place.pulse.clone(), origin.stats.clone()));
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let mut builder = Builder::new(TokioExecutor::new());
            builder.http1().timer(TokioTimer::new()).header_read_timeout(idle);
            builder.http2().timer(TokioTimer::new()).max_concurrent_streams(100);
            tokio::select! {
                // How a connection ends is the other side's affair.
                _ = builder.serve_connection(io, service) => {}
                () = place.pulse.asked_to_leave() => {}
            }
            drop(place);
        });
    }
    ticking.abort();
    Ok(())
}

/// A connection that counts its bytes and fails when nothing has moved for too long: one that is
/// idle, and one whose reader does not read, alike.
struct Watched {
    socket: TcpStream,
    idle: Duration,
    pulse: Arc<Pulse>,
    alarm: Pin<Box<Sleep>>,
    stats: Arc<Stats>,
}

impl Watched {
    fn new(socket: TcpStream, idle: Duration, pulse: Arc<Pulse>, stats: Arc<Stats>) -> Self {
        stats.connections.fetch_add(1, Ordering::Relaxed);
        stats.open.fetch_add(1, Ordering::Relaxed);
        Self { socket, idle, pulse, alarm: Box::pin(sleep(idle)), stats }
    }

    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.pulse.beat();
            return result;
        }
        while self.alarm.as_mut().poll(cx).is_ready() {
            let Some(left) = self.idle.checked_sub(self.pulse.idle()).filter(|l| !l.is_zero())
            else {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            };
            self.alarm.as_mut().reset(Instant::now() + left);
        }
        Poll::Pending
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.stats.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.socket).poll_read(cx, buffer);
        let count = (buffer.filled().len() - before) as u64;
        self.stats.received.fetch_add(count, Ordering::Relaxed);
        self.watch(cx, result)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = &result {
            self.stats.sent.fetch_add(*count as u64, Ordering::Relaxed);
        }
        self.watch(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write_vectored(cx, bytes);
        if let Poll::Ready(Ok(count)) = &result {
            self.stats.sent.fetch_add(*count as u64, Ordering::Relaxed);
        }
        self.watch(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

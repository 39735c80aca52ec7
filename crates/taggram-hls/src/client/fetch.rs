//! Requests: with bounds on bytes and time, again when that may help.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::{HeaderMap, HeaderValue, RANGE};
use reqwest::{Client, Response, StatusCode, redirect};
use tokio::time::{sleep, timeout};
use url::Url;

use super::ClientOptions;
use super::address::Guard;
use super::shoutcast;
use crate::playlist::ByteRange;
use crate::{ErrorKind, HlsError};

/// What was asked and what came.
#[derive(Debug, Default)]
pub struct Traffic {
    requests: AtomicU64,
    bytes: AtomicU64,
    again: AtomicU64,
}

impl Traffic {
    /// Requests sent, redirects and repetitions among them.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Bytes of content received.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Requests that were repetitions.
    pub fn repetitions(&self) -> u64 {
        self.again.load(Ordering::Relaxed)
    }
}

/// Sends requests within the bounds of its options.
pub struct Fetcher {
    client: Client,
    guard: Guard,
    pub(super) options: ClientOptions,
    traffic: Arc<Traffic>,
    /// When the last answer was read to its end.
    read: Mutex<Option<Instant>>,
}

/// A connection can be used again a moment after an answer was read to its end, when its own task
/// has noticed. Whoever asks before that has another one opened.
const BREATH: Duration = Duration::from_millis(3);

/// The beginning of something that is read as it comes.
pub(super) enum Answer {
    Http(Box<Response>),
    Shoutcast(Box<shoutcast::Shoutcast>),
}

impl Answer {
    /// A header that holds a text.
    pub fn header(&self, name: &str) -> Option<String> {
        let bytes = match self {
            Self::Http(response) => response.headers().get(name)?.as_bytes().to_vec(),
            Self::Shoutcast(answer) => answer.header(name)?.as_bytes().to_vec(),
        };
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        (!text.is_empty()).then(|| text.chars().filter(|c| !c.is_control()).collect())
    }
}

/// A failed attempt, and whether another may go better.
struct Failure {
    error: HlsError,
    again: bool,
}

impl From<HlsError> for Failure {
    fn from(error: HlsError) -> Self {
        Self { error, again: false }
    }
}

impl Fetcher {
    /// For a stream that a person asked for at `first`.
    ///
    /// # Errors
    /// When the system's certificates cannot be used, which is a defect of the installation.
    pub fn new(first: &Url, options: ClientOptions) -> Result<Self, HlsError> {
        // Another part of the program may have chosen a provider before; any will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let guard = Guard::new(first, options.allow_private);
        let mut builder = Client::builder()
            .user_agent(concat!("taggram/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .dns_resolver(Arc::new(guard.clone()))
            .no_proxy()
            .connect_timeout(options.patience)
            .tcp_nodelay(true)
            .pool_max_idle_per_host(if options.persistent { 4 } else { 0 });
        if options.http2 {
            builder = builder.http2_prior_knowledge();
        }
        let client = builder.build().map_err(|e| {
            HlsError::new(ErrorKind::Bug, format!("the HTTP client cannot be set up: {}", why(&e)))
        })?;
        Ok(Self { client, guard, options, traffic: Arc::default(), read: Mutex::default() })
    }

    /// What was asked and came so far.
    pub fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// Gets a whole resource, or a part of it, of at most `most` bytes. Tries again with growing
    /// pauses when a connection breaks, the server is overloaded, or bytes are missing.
    ///
    /// # Errors
    /// The last failure, with the address.
    pub async fn get(
        &self,
        url: &Url,
        range: Option<ByteRange>,
        most: usize,
    ) -> Result<(Vec<u8>, Url), HlsError> {
        let mut pause = self.options.pause;
        let mut attempt = 1;
        loop {
            let longest = self.options.longest;
            let failure = match timeout(longest, self.attempt(url, range, most)).await {
                Ok(Ok(found)) => return Ok(found),
                Ok(Err(failure)) => failure,
                Err(_) => Failure {
                    error: HlsError::new(
                        ErrorKind::Stalled,
                        format!("it did not come whole within {} s", longest.as_secs_f64()),
                    ),
                    again: true,
                },
            };
            if !failure.again || attempt >= self.options.attempts {
                let error = failure.error;
                let message = if attempt > 1 {
                    format!("{} (after {attempt} attempts)", error.message)
                } else {
                    error.message
                };
                return Err(HlsError { message, ..error }.at(url));
            }
            attempt += 1;
            self.traffic.again.fetch_add(1, Ordering::Relaxed);
            sleep(pause.mul_f64(0.75 + chance() / 2.0)).await;
            pause *= 2;
        }
    }

    async fn attempt(
        &self,
        url: &Url,
        range: Option<ByteRange>,
        most: usize,
    ) -> Result<(Vec<u8>, Url), Failure> {
        if range.is_some_and(|r| r.length > most as u64) {
            return Err(over(most).into());
        }
        let mut headers = HeaderMap::new();
        if let Some(ByteRange { length, offset }) = range {
            let text = format!("bytes={offset}-{}", (offset + length).saturating_sub(1));
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(RANGE, value);
            }
        }
        let (mut response, url) = self.ask(url, headers).await?;
        if response.content_length().is_some_and(|n| n > most as u64) && range.is_none() {
            return Err(over(most).into());
        }
        let whole = range.filter(|_| response.status() != StatusCode::PARTIAL_CONTENT);
        let room = whole.map_or(most, |r| usize::try_from(r.offset).unwrap_or(most) + most);
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk(&mut response).await? {
            if bytes.len() + chunk.len() > room {
                return Err(over(most).into());
            }
            bytes.extend_from_slice(&chunk);
        }
        if let Some(ByteRange { length, offset }) = range {
            let (offset, length) = (offset as usize, length as usize);
            if whole.is_some() {
                // The server knows no ranges and gave everything.
                bytes.drain(..offset.min(bytes.len()));
                bytes.truncate(length);
            }
            if bytes.len() != length {
                return Err(Failure {
                    error: HlsError::malformed(format!(
                        "{} of the {length} bytes asked for came",
                        bytes.len()
                    )),
                    again: true,
                });
            }
        }
        Ok((bytes, url))
    }

    /// Asks for the beginning of something that may have no end.
    ///
    /// # Errors
    /// As [`Fetcher::get`].
    pub(super) async fn open(&self, url: &Url) -> Result<(Answer, Url), HlsError> {
        let mut pause = self.options.pause;
        let mut attempt = 1;
        loop {
            let mut headers = HeaderMap::new();
            headers.insert("icy-metadata", HeaderValue::from_static("1"));
            match self.ask(url, headers).await {
                Ok((response, url)) => return Ok((Answer::Http(Box::new(response)), url)),
                // What an HTTP parser says of "ICY 200 OK".
                Err(f) if f.error.message.contains("invalid HTTP version") => {
                    self.traffic.requests.fetch_add(1, Ordering::Relaxed);
                    let answer = shoutcast::ask(&self.guard, url, self.options.patience).await;
                    let answer = answer.map_err(|e| e.at(url))?;
                    return Ok((Answer::Shoutcast(Box::new(answer)), url.clone()));
                }
                Err(Failure { again: true, .. }) if attempt < self.options.attempts => {
                    attempt += 1;
                    self.traffic.again.fetch_add(1, Ordering::Relaxed);
                    sleep(pause.mul_f64(0.75 + chance() / 2.0)).await;
                    pause *= 2;
                }
                Err(failure) => return Err(failure.error.at(url)),
            }
        }
    }

    /// The next bytes of an answer; `None` at its end.
    pub(super) async fn next(&self, answer: &mut Answer) -> Result<Option<Vec<u8>>, HlsError> {
        match answer {
            Answer::Http(response) => self.chunk(response).await.map_err(|f| f.error),
            Answer::Shoutcast(answer) => {
                let chunk = shoutcast::next(answer, self.options.patience).await?;
                let count = chunk.as_ref().map_or(0, Vec::len);
                self.traffic.bytes.fetch_add(count as u64, Ordering::Relaxed);
                Ok(chunk)
            }
        }
    }

    async fn chunk(&self, response: &mut Response) -> Result<Option<Vec<u8>>, Failure> {
        let patience = self.options.patience;
        match timeout(patience, response.chunk()).await {
            Ok(Ok(Some(chunk))) => {
                self.traffic.bytes.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                Ok(Some(chunk.into()))
            }
            Ok(Ok(None)) => {
                self.was_read();
                Ok(None)
            }
            Ok(Err(e)) => Err(Failure {
                error: HlsError::new(
                    ErrorKind::Unreadable,
                    format!("the answer broke off: {}", why(&e)),
                ),
                again: true,
            }),
            Err(_) => Err(Failure {
                error: HlsError::new(
                    ErrorKind::Stalled,
                    format!("nothing came for {} s", patience.as_secs_f64()),
                ),
                again: true,
            }),
        }
    }

    fn was_read(&self) {
        // A panic elsewhere leaves a time whole.
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Waits until the connection of the answer before can be used again.
    async fn breathe(&self) {
        let read = *self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(read) = read.filter(|_| self.options.persistent) {
            sleep(BREATH.saturating_sub(read.elapsed())).await;
        }
    }

    /// One request, and the redirects that it leads to.
    async fn ask(&self, first: &Url, headers: HeaderMap) -> Result<(Response, Url), Failure> {
        let mut url = first.clone();
        for _ in 0..=self.options.redirects {
            self.guard.check(&url)?;
            self.breathe().await;
            self.traffic.requests.fetch_add(1, Ordering::Relaxed);
            let sent = self.client.get(url.clone()).headers(headers.clone()).send();
            // A connection and the first byte of the answer: each may take the patience.
            let response = match timeout(2 * self.options.patience, sent).await {
                Ok(Ok(response)) => response,
                Ok(Err(e)) => return Err(broken(&e)),
                Err(_) => {
                    return Err(Failure {
                        error: HlsError::new(ErrorKind::Stalled, "the server does not answer"),
                        again: true,
                    });
                }
            };
            let status = response.status();
            if status.is_success() {
                return Ok((response, url));
            }
            let target = response.headers().get("location").and_then(|v| v.to_str().ok());
            match (status.as_u16(), target) {
                (301 | 302 | 303 | 307 | 308, Some(target)) => {
                    self.was_read();
                    let next = url.join(target).map_err(|e| {
                        HlsError::malformed(format!("it redirects to what is no address: {e}"))
                    })?;
                    url = next;
                }
                (code, _) => {
                    // A live server may list a segment a moment before it has it.
                    let again = matches!(code, 404 | 408 | 425 | 429 | 500..=599);
                    let error =
                        HlsError::new(ErrorKind::Status, format!("the server answers {status}"));
                    return Err(Failure { error, again });
                }
            }
        }
        let most = self.options.redirects;
        Err(HlsError::new(ErrorKind::OverLimit, format!("it redirects more than {most} times"))
            .into())
    }
}

fn over(most: usize) -> HlsError {
    HlsError::new(ErrorKind::OverLimit, format!("it is larger than the {most} bytes accepted"))
}

/// What a failed request means: a refusal of ours is final, everything else may pass.
fn broken(e: &reqwest::Error) -> Failure {
    let mut cause: Option<&dyn std::error::Error> = Some(e);
    while let Some(inner) = cause {
        if let Some(refusal) = inner.downcast_ref::<HlsError>() {
            return refusal.clone().into();
        }
        cause = inner.source();
    }
    let error = HlsError::new(ErrorKind::Unreadable, format!("the request failed: {}", why(e)));
    Failure { error, again: true }
}

/// The innermost reason of an error: "connection refused", not "error sending request".
fn why(e: &dyn std::error::Error) -> String {
    let mut inner = e;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// A number in 0…1 that differs from call to call, so that many clients do not come back at once.
fn chance() -> f64 {
    (RandomState::new().hash_one(0) >> 11) as f64 / (1u64 << 53) as f64
}

/// How long to wait, for those who wait elsewhere.
pub(super) async fn wait(duration: Duration) {
    sleep(duration).await;
}

//! One track: fetched, heard, or the reason why not. Bounded in tracks, processors and memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use taggram::Source;
use taggram_library::{Analyst, Track};
use tokio::sync::Semaphore;
use url::Url;

use super::metrics::Metrics;
use crate::place::Missing;
use crate::{Place, Stores};

/// Pauses before a track that could not be read is asked for again.
const PAUSES: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(30)];

/// Bytes that one permit of the memory stands for.
const GRAIN: u64 = 64 << 10;

/// Why a track has no answer.
#[derive(Clone, Debug)]
pub(super) struct NoAnswer {
    pub kind: &'static str,
    pub error: String,
}

/// What listens, for all jobs of a worker.
pub(super) struct Ears {
    analyst: Arc<Analyst>,
    stores: Stores,
    /// Tracks that are fetched, waiting or heard: twice the processors, so that none waits for a network.
    pub tracks: usize,
    in_hand: Semaphore,
    processors: Semaphore,
    memory: Arc<Semaphore>,
    grains: u32,
    metrics: Metrics,
}

impl Ears {
    pub fn new(
        analyst: Analyst,
        stores: Stores,
        processors: usize,
        max_memory: u64,
        metrics: Metrics,
    ) -> Self {
        let processors = processors.max(1);
        let grains = u32::try_from(max_memory.div_ceil(GRAIN)).unwrap_or(u32::MAX >> 4).max(1);
        Self {
            analyst: Arc::new(analyst),
            stores,
            tracks: 2 * processors,
            in_hand: Semaphore::new(2 * processors),
            processors: Semaphore::new(processors),
            memory: Arc::new(Semaphore::new(grains as usize)),
            grains,
            metrics,
        }
    }

    /// Hears a track. Whatever may help is done before it has no answer: a store is asked again.
    pub async fn hear(&self, name: &str) -> Result<Track, NoAnswer> {
        let _place = self.in_hand.acquire().await;
        let mut pauses = PAUSES.iter();
        loop {
            self.metrics.in_hand.inc();
            let heard = self.once(name).await;
            self.metrics.in_hand.dec();
            match heard {
                Ok(track) => {
                    self.metrics.heard.inc();
                    return Ok(track);
                }
                Err((no, lasting)) => match pauses.next() {
                    Some(pause) if !lasting => tokio::time::sleep(*pause).await,
                    _ => {
                        self.metrics.failed.with_label_values(&[no.kind]).inc();
                        return Err(no);
                    }
                },
            }
        }
    }

    /// Once; beside a failure, whether it is for good.
    async fn once(&self, name: &str) -> Result<Track, (NoAnswer, bool)> {
        let no = |kind, error: String| NoAnswer { kind, error };
        let place = Place::parse(name).map_err(|e| (no("malformed", e.message), true))?;
        match place {
            Place::File(path) => {
                // A pipe or a device would be waited for without end.
                match std::fs::metadata(&path) {
                    Ok(facts) if facts.is_file() => {}
                    Ok(_) => {
                        let error = "this is no file: a folder, a pipe or a device".to_string();
                        return Err((no("unreadable", error), true));
                    }
                    Err(e) => {
                        use std::io::ErrorKind as Io;
                        let kinds = [Io::NotFound, Io::PermissionDenied, Io::NotADirectory];
                        let error = format!("the file cannot be read: {e}");
                        return Err((no("unreadable", error), kinds.contains(&e.kind())));
                    }
                }
                self.listen(Source::Path(path)).await
            }
            Place::Object(url) => {
                let begun = Instant::now();
                let (bytes, _memory) = self.fetch(&url).await?;
                self.metrics.fetch.observe(begun.elapsed().as_secs_f64());
                self.metrics.bytes.inc_by(bytes.len() as u64);
                self.listen(Source::Bytes(Arc::from(&bytes[..]))).await
            }
        }
    }

    /// All of an object, within the limit of its size and of the memory of all.
    async fn fetch(
        &self,
        url: &Url,
    ) -> Result<(Bytes, Option<tokio::sync::OwnedSemaphorePermit>), (NoAnswer, bool)> {
        let no = |Missing { lasting, why }| (NoAnswer { kind: "unreadable", error: why }, lasting);
        let object = self.stores.get(url).await.map_err(no)?;
        let most = self.analyst.limits().max_bytes;
        if object.size > most {
            let error =
                format!("the object has {} bytes and at most {most} are accepted", object.size);
            return Err((NoAnswer { kind: "over-limit", error }, true));
        }
        // One that needs more than all of the memory gets all of it.
        let grains = u32::try_from(object.size.div_ceil(GRAIN)).unwrap_or(u32::MAX);
        let memory = self.memory.clone().acquire_many_owned(grains.clamp(1, self.grains)).await;
        let bytes = object.bytes().await.map_err(no)?;
        Ok((bytes, memory.ok()))
    }

    async fn listen(&self, source: Source) -> Result<Track, (NoAnswer, bool)> {
        let _processor = self.processors.acquire().await;
        let analyst = self.analyst.clone();
        let begun = Instant::now();
        let answer = tokio::task::spawn_blocking(move || analyst.analyse(source)).await;
        self.metrics.listen.observe(begun.elapsed().as_secs_f64());
        match answer {
            Ok(Ok(answer)) => Ok(Track::heard(self.analyst.model(), answer)),
            Ok(Err(e)) => {
                let lasting = e.kind != taggram::ErrorKind::Unreadable;
                Err((NoAnswer { kind: kind(e.kind), error: e.message }, lasting))
            }
            Err(e) => Err((NoAnswer { kind: "bug", error: e.to_string() }, true)),
        }
    }
}

/// A word for each kind of error.
fn kind(kind: taggram::ErrorKind) -> &'static str {
    use taggram::ErrorKind as K;
    match kind {
        K::Unreadable => "unreadable",
        K::NotAudio => "not-audio",
        K::Malformed => "malformed",
        K::Unsupported => "unsupported",
        K::TooShort => "too-short",
        K::OverLimit => "over-limit",
        K::NoModel | K::Cancelled | K::Bug => "bug",
    }
}

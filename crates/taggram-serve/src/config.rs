//! What the service may use, and how much of it one request may ask for.

use std::time::Duration;

/// Bounds and permissions of the service. Every bound is enforced while reading, never taken from a header alone.
#[derive(Clone, Debug)]
pub struct Config {
    /// Songs that are listened to at once: one a processor.
    pub cores: usize,
    /// Songs that may be listened to or wait for it; one more is refused at once.
    pub queue: usize,
    /// Songs of one address that may be under way at once, from their first byte to the answer; no
    /// bound when absent. Behind a proxy all clients have its address.
    pub per_client: Option<usize>,
    /// Songs that may be listened to while they still arrive (`stream=true`).
    pub streams: usize,
    /// Connections that are open at once.
    pub connections: usize,
    /// Most bytes of one request's body.
    pub max_bytes: u64,
    /// Most decoded audio of one request, in seconds.
    pub max_seconds: f64,
    /// Most bytes of all bodies that are held in memory at once.
    pub max_memory: u64,
    /// Longest pause within a body.
    pub idle: Duration,
    /// Longest time that is spent waiting for the bytes of one body.
    pub receive: Duration,
    /// Longest time that one song may be worked on.
    pub work: Duration,
    /// Longest time for the head of a request, and for a reader to take what was written to it.
    pub patience: Duration,
    /// After the signal to stop, how long requests may take to be answered.
    pub drain: Duration,
    /// The key that clients must show, if any.
    pub api_key: Option<String>,
    /// Origins whose pages may use the service from a browser (`*`: all); none unless asked.
    pub cors: Vec<String>,
}

impl Default for Config {
    /// 128 songs in the queue, 64 MiB and 30 minutes a song, no key, no other origin.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            cores,
            queue: 128,
            per_client: None,
            streams: 32,
            connections: 1024,
            max_bytes: 64 << 20,
            max_seconds: 1800.0,
            max_memory: 192 << 20,
            idle: Duration::from_secs(10),
            receive: Duration::from_secs(120),
            work: Duration::from_secs(60),
            patience: Duration::from_secs(10),
            drain: Duration::from_secs(30),
            api_key: None,
            cors: Vec::new(),
        }
    }
}

impl Config {
    /// What the decoder may do for one request.
    pub(crate) fn limits(&self) -> taggram::Limits {
        let mut limits = taggram::Limits::upload();
        limits.max_bytes = self.max_bytes;
        limits.max_spool_bytes = self.max_bytes;
        limits.max_seconds = self.max_seconds;
        limits
    }
}

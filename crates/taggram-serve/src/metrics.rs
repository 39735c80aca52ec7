//! What the service counts, in the text format of Prometheus.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    TextEncoder,
};

/// Seconds: from a millisecond to a minute.
const SECONDS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.02, 0.035, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 20.0, 60.0];

/// Counters, gauges and histograms of one service.
pub(crate) struct Metrics {
    registry: Registry,
    /// Answers, by route, method and status.
    pub requests: IntCounterVec,
    /// Time from the head of a request to the head of its answer, by route.
    pub request_seconds: HistogramVec,
    /// Requests without the answer they asked for, by cause.
    pub problems: IntCounterVec,
    /// Songs that wait for a processor, by the last look.
    pub queue_waiting: IntGauge,
    /// Songs in the queue or listened to.
    pub queue_songs: IntGauge,
    /// Bytes of bodies held in memory.
    pub memory: IntGauge,
    /// Open connections.
    pub connections: IntGauge,
    /// Time of the stages of a song.
    pub receive: Histogram,
    pub wait: Histogram,
    pub decode: Histogram,
    pub listen: Histogram,
    /// Songs that were given up because nobody wanted the answer any more.
    pub cancelled: IntCounter,
    pub audio_seconds: prometheus::Counter,
    pub windows: IntCounter,
    pub bytes: IntCounter,
    pub panics: IntCounter,
}

impl Metrics {
    /// All at nought.
    ///
    /// # Errors
    /// When two of them have one name, which the tests rule out.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let keep = |c: &dyn Fn() -> Box<dyn prometheus::core::Collector>| registry.register(c());
        let stages = HistogramVec::new(
            HistogramOpts::new("taggram_stage_seconds", "Time of the stages of a song")
                .buckets(SECONDS.to_vec()),
            &["stage"],
        )?;
        let metrics = Self {
            requests: IntCounterVec::new(
                Opts::new("taggram_requests_total", "Answers by route, method and status"),
                &["route", "method", "status"],
            )?,
            request_seconds: HistogramVec::new(
                HistogramOpts::new(
                    "taggram_request_seconds",
                    "Time from the head of a request to the head of its answer",
                )
                .buckets(SECONDS.to_vec()),
                &["route"],
            )?,
            problems: IntCounterVec::new(
                Opts::new("taggram_rejections_total", "Requests without an answer, by cause"),
                &["cause"],
            )?,
            queue_waiting: IntGauge::new(
                "taggram_queue_waiting",
                "Songs that wait for a processor",
            )?,
            queue_songs: IntGauge::new("taggram_queue_songs", "Songs waiting or listened to")?,
            memory: IntGauge::new("taggram_body_bytes_held", "Bytes of bodies held in memory")?,
            connections: IntGauge::new("taggram_connections", "Open connections")?,
            receive: stages.with_label_values(&["receive"]),
            wait: stages.with_label_values(&["wait"]),
            decode: stages.with_label_values(&["decode"]),
            listen: stages.with_label_values(&["listen"]),
            cancelled: IntCounter::new("taggram_cancelled_total", "Songs given up half-way")?,
            audio_seconds: prometheus::Counter::new(
                "taggram_audio_seconds_total",
                "Seconds of audio listened to",
            )?,
            windows: IntCounter::new("taggram_windows_total", "Windows classified")?,
            bytes: IntCounter::new("taggram_body_bytes_total", "Bytes of bodies received")?,
            panics: IntCounter::new("taggram_panics_total", "Mistakes of this program")?,
            registry: registry.clone(),
        };
        keep(&|| Box::new(stages.clone()))?;
        keep(&|| Box::new(metrics.requests.clone()))?;
        keep(&|| Box::new(metrics.request_seconds.clone()))?;
        keep(&|| Box::new(metrics.problems.clone()))?;
        keep(&|| Box::new(metrics.queue_waiting.clone()))?;
        keep(&|| Box::new(metrics.queue_songs.clone()))?;
        keep(&|| Box::new(metrics.memory.clone()))?;
        keep(&|| Box::new(metrics.connections.clone()))?;
        keep(&|| Box::new(metrics.cancelled.clone()))?;
        keep(&|| Box::new(metrics.audio_seconds.clone()))?;
        keep(&|| Box::new(metrics.windows.clone()))?;
        keep(&|| Box::new(metrics.bytes.clone()))?;
        keep(&|| Box::new(metrics.panics.clone()))?;
        Ok(metrics)
    }

    /// Everything as text.
    ///
    /// # Errors
    /// When the encoder refuses what it was given, which is a bug.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

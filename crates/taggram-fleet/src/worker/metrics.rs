//! What a worker counts, in the text format of Prometheus.

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};

use super::Summary;
use crate::{ErrorKind, FleetError};

/// Seconds: from a millisecond to some minutes.
const SECONDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.02, 0.035, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 30.0, 180.0];

/// Counters, gauges and histograms of one worker.
#[derive(Clone)]
pub(super) struct Metrics {
    registry: Registry,
    /// Tracks that were heard.
    pub heard: IntCounter,
    /// Tracks without an answer, by kind.
    pub failed: IntCounterVec,
    /// Tracks that are fetched or heard.
    pub in_hand: IntGauge,
    /// Jobs that are done and off the queue.
    pub jobs: IntCounter,
    pub jobs_in_hand: IntGauge,
    /// Parts that this worker wrote.
    pub written: IntCounter,
    pub part_bytes: IntCounter,
    pub found_done: IntCounter,
    pub redelivered: IntCounter,
    pub given_back: IntCounter,
    pub broker_errors: IntCounter,
    pub store_errors: IntCounter,
    /// Bytes of tracks that came from stores.
    pub bytes: IntCounter,
    pub fetch: Histogram,
    pub listen: Histogram,
}

impl Metrics {
    /// All at nought.
    ///
    /// # Errors
    /// When two of them have one name, which the tests rule out.
    pub fn new() -> Result<Self, FleetError> {
        Self::registered().map_err(|e| FleetError::new(ErrorKind::Bug, format!("metrics: {e}")))
    }

    fn registered() -> Result<Self, prometheus::Error> {
        let registry = Registry::new_custom(Some("taggram_worker".to_string()), None)?;
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let seconds = |name: &str, help: &str| {
            let seconds =
                Histogram::with_opts(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()))?;
            registry.register(Box::new(seconds.clone()))?;
            Ok::<_, prometheus::Error>(seconds)
        };
        let failed = IntCounterVec::new(
            Opts::new("tracks_failed_total", "Tracks without an answer, by kind"),
            &["kind"],
        )?;
        registry.register(Box::new(failed.clone()))?;
        Ok(Self {
            heard: counter("tracks_heard_total", "Tracks that were listened to")?,
            failed,
            in_hand: gauge("tracks_in_hand", "Tracks that are fetched or listened to")?,
            jobs: counter("jobs_total", "Jobs that are done and off the queue")?,
            jobs_in_hand: gauge("jobs_in_hand", "Jobs that are being done")?,
            written: counter("parts_written_total", "Parts that were written")?,
            part_bytes: counter("part_bytes_total", "Bytes of the parts that were written")?,
            found_done: counter("jobs_found_done_total", "Jobs whose part was there already")?,
            redelivered: counter(
                "jobs_redelivered_total",
                "Jobs that came not for the first time",
            )?,
            given_back: counter("jobs_given_back_total", "Jobs that were left to other workers")?,
            broker_errors: counter("broker_errors_total", "Times the broker gave no answer")?,
            store_errors: counter(
                "retries_total",
                "Times a store or the broker was asked again in the middle of a job",
            )?,
            bytes: counter("fetched_bytes_total", "Bytes of tracks that came from stores")?,
            fetch: seconds("fetch_seconds", "Time to fetch a track from a store")?,
            listen: seconds("listen_seconds", "Time to listen to a track")?,
            registry: registry.clone(),
        })
    }

    /// Everything as text.
    ///
    /// # Errors
    /// When the encoder refuses what it was given, which is a bug.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// What was done so far.
    pub fn summary(&self) -> Summary {
        let failed = self.registry.gather();
        let failed = failed
            .iter()
            .filter(|family| family.name().ends_with("tracks_failed_total"))
            .flat_map(|family| family.get_metric())
            .map(|metric| metric.get_counter().get_value() as u64);
        Summary {
            written: self.written.get(),
            found_done: self.found_done.get(),
            given_back: self.given_back.get(),
            heard: self.heard.get(),
            failed: failed.sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_has_a_name_of_its_own() {
        let metrics = Metrics::new().unwrap();
        metrics.heard.inc();
        metrics.failed.with_label_values(&["malformed"]).inc_by(2);
        metrics.failed.with_label_values(&["deadly"]).inc();
        assert!(metrics.text().unwrap().contains("taggram_worker_tracks_heard_total 1"));
        let summary = metrics.summary();
        assert_eq!((summary.heard, summary.failed), (1, 3));
    }
}

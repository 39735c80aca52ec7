//! How much a source may cost.

/// Bounds on a source, enforced while reading, never taken from a header.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Limits {
    /// Most encoded bytes read: the size of a file, of a buffer, or what a stream may deliver.
    pub max_bytes: u64,
    /// Most decoded audio in seconds (a tiny compressed file can expand to hours).
    pub max_seconds: f64,
    /// Most channels.
    pub max_channels: usize,
    /// Highest sample rate in Hz.
    pub max_sample_rate: u32,
    /// Most bytes held in memory for a source that cannot seek but must (an MP4 from a pipe).
    pub max_spool_bytes: u64,
}

impl Default for Limits {
    /// For one's own files: 64 GiB, 24 hours, 64 channels, 1 MHz, 1 GiB of spool.
    fn default() -> Self {
        Self {
            max_bytes: 64 << 30,
            max_seconds: 24.0 * 3600.0,
            max_channels: 64,
            max_sample_rate: 1_000_000,
            max_spool_bytes: 1 << 30,
        }
    }
}

impl Limits {
    /// For files that strangers send: 64 MiB, 30 minutes, 8 channels, 192 kHz.
    pub fn upload() -> Self {
        Self {
            max_bytes: 64 << 20,
            max_seconds: 1800.0,
            max_channels: 8,
            max_sample_rate: 192_000,
            max_spool_bytes: 64 << 20,
        }
    }
}

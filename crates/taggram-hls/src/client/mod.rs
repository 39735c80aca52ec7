//! Fetching streams: HLS, files and Internet radio, over one connection where the server allows it.

mod address;
mod fetch;
mod icy;
mod live;
mod session;
mod shoutcast;

use std::time::Duration;

use url::Url;

use crate::HlsError;
use crate::playlist::PlaylistLimits;

pub use fetch::{Fetcher, Traffic};
pub use icy::{Chunk, Plain};
pub use session::{Opened, Session, open};

/// How to fetch, and what a server may cost.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientOptions {
    /// Reach addresses on this machine and in private networks even when a server that is in
    /// neither names them. The host and port that were asked for first are always reached.
    pub allow_private: bool,
    /// Keep connections open between requests.
    pub persistent: bool,
    /// Speak HTTP/2 from the first byte, without asking: for servers known to.
    pub http2: bool,
    /// Bounds on playlists.
    pub playlist: PlaylistLimits,
    /// Most bytes of a segment.
    pub segment_bytes: usize,
    /// Time to a connection, and to the next bytes on one.
    pub patience: Duration,
    /// Most time for a playlist, a key or a segment.
    pub longest: Duration,
    /// Attempts at a request, the first one counted.
    pub attempts: u32,
    /// Pause before the second attempt; it doubles with each, with some chance in it.
    pub pause: Duration,
    /// Redirects followed from one address.
    pub redirects: u32,
    /// Segments that fail one after the other before the stream is given up.
    pub failures: u32,
    /// Target durations for which a live playlist may stand still.
    pub standstill: u32,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            allow_private: false,
            persistent: true,
            http2: false,
            playlist: PlaylistLimits::default(),
            segment_bytes: 16 << 20,
            patience: Duration::from_secs(10),
            longest: Duration::from_secs(60),
            attempts: 4,
            pause: Duration::from_millis(250),
            redirects: 5,
            failures: 3,
            standstill: 6,
        }
    }
}

/// Reads an address that a person typed.
///
/// # Errors
/// It is none, or not one of http or https.
pub fn address(text: &str) -> Result<Url, HlsError> {
    address::typed(text)
}

//! Playlists (RFC 8216): what the server says there is to hear.

mod attributes;
mod parse;
mod write;

use std::sync::Arc;

pub use parse::{PlaylistLimits, parse};

/// A playlist of one of the two kinds.
#[derive(Debug, Clone, PartialEq)]
pub enum Playlist {
    /// Names renditions of the same music, each a media playlist.
    Master(Master),
    /// Names the segments of one rendition.
    Media(Media),
}

/// A master playlist.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Master {
    /// Protocol version, 1 when it is not given.
    pub version: u32,
    /// The ways to have the whole presentation.
    pub variants: Vec<Variant>,
    /// Parts that variants refer to by group.
    pub renditions: Vec<Rendition>,
}

/// One way to have the presentation (`EXT-X-STREAM-INF`).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Variant {
    /// Address of its media playlist, as written.
    pub uri: String,
    /// Peak bit rate, bit/s.
    pub bandwidth: u64,
    /// Mean bit rate, bit/s.
    pub average_bandwidth: Option<u64>,
    /// Codecs as RFC 6381 names them, comma-separated.
    pub codecs: Option<String>,
    /// It has a picture of this size.
    pub resolution: Option<String>,
    /// Group of the audio renditions that belong to it.
    pub audio: Option<String>,
}

/// A part of a presentation (`EXT-X-MEDIA`).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rendition {
    /// `AUDIO`, `VIDEO`, `SUBTITLES` or `CLOSED-CAPTIONS`.
    pub kind: String,
    /// Group that variants refer to.
    pub group: String,
    /// Name for people.
    pub name: String,
    /// Played unless one asks for another.
    pub default: bool,
    /// Address of its media playlist; without one it is in the variant's own segments.
    pub uri: Option<String>,
}

/// A media playlist.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Media {
    /// Protocol version, 1 when it is not given.
    pub version: u32,
    /// No segment lasts longer, s (rounded).
    pub target_s: u64,
    /// Number of the first segment.
    pub sequence: u64,
    /// Number of the discontinuities before the first segment.
    pub discontinuity_sequence: u64,
    /// `VOD` or `EVENT` when it is said.
    pub kind: Option<String>,
    /// No segment will be added.
    pub ended: bool,
    /// What of the decoded audio is music, for decoders that can cut to the sample; see [`Trim`].
    pub trim: Option<Trim>,
    /// The segments in order.
    pub segments: Vec<Segment>,
}

/// Encoder delay and length of a whole presentation. RFC 8216 has no tag for it and makes clients
/// ignore unknown ones, so it travels as `EXT-X-TAGGRAM-TRIM`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trim {
    /// What the others count: frames a second, Hz.
    pub rate: u32,
    /// Decoded frames before the music.
    pub skip: u64,
    /// Frames of music; `None` is all that follow.
    pub keep: Option<u64>,
}

/// A piece of the music.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Segment {
    /// Its address, as written.
    pub uri: String,
    /// How long it lasts, s.
    pub duration_s: f64,
    /// Only these bytes of the resource are meant.
    pub range: Option<ByteRange>,
    /// Something changes here: encoding, timestamps, the programme.
    pub discontinuity: bool,
    /// There is nothing to fetch here (`EXT-X-GAP`).
    pub gap: bool,
    /// How it is encrypted.
    pub key: Option<Arc<Key>>,
    /// What a decoder needs before it.
    pub map: Option<Arc<Map>>,
}

/// A part of a resource, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ByteRange {
    /// Number of bytes.
    pub length: u64,
    /// Bytes before them.
    pub offset: u64,
}

/// Encryption of segments (`EXT-X-KEY`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// `AES-128`, or another that this program does not decrypt.
    pub method: String,
    /// Address of the key.
    pub uri: String,
    /// Initialisation vector; `None` is the segment's number.
    pub iv: Option<[u8; 16]>,
    /// How the key is given; `identity` is the plain 16 bytes.
    pub format: String,
}

/// Initialisation of segments (`EXT-X-MAP`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Map {
    /// Its address, as written.
    pub uri: String,
    /// Only these bytes of the resource are meant.
    pub range: Option<ByteRange>,
}

impl Media {
    /// Length of what is listed, s.
    pub fn duration_s(&self) -> f64 {
        self.segments.iter().map(|s| s.duration_s).sum()
    }
}

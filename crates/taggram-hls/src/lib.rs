//! HTTP Live Streaming (RFC 8216): a folder of music served, and any stream heard.
//!
//! ```text
//! origin:  file ─packets→ segments ─→ playlists, over HTTP
//! client:  HTTP ─→ playlists, segments ─packets→ samples
//! ```
//!
//! * [`playlist`] reads and writes playlists; [`ts`], [`mp4`] and [`frames`] are the containers.
//! * [`SegmentDecoder`] turns segments into samples, with one decoder across all of them.
//! * `origin` serves a folder; `client` fetches streams (each a feature, both on by default).
//!
//! This crate knows text, bytes and samples. What is heard in them is not its business.

#[cfg(feature = "client")]
pub mod client;
mod crypt;
mod error;
pub mod frames;
mod hear;
pub mod mp4;
#[cfg(feature = "origin")]
pub mod origin;
pub mod playlist;
#[cfg(feature = "origin")]
pub mod segment;
pub mod ts;

pub use crypt::{decrypt, iv_of};
pub use error::{ErrorKind, HlsError};
pub use hear::{Piece, SegmentDecoder};

//! A folder of music, served as HLS.
//!
//! ```text
//! /index.json                     what there is
//! /t/TRACK/master.m3u8            a track: its master playlist
//! /t/TRACK/media.m3u8             … its media playlist, and beside it init.mp4, 0.ts, 1.ts …
//! /live/master.m3u8               all tracks one after the other, for ever
//! /live/media.m3u8                … and beside it its segments, while they are on the air
//! /stats.json                     connections, requests, bytes
//! ```
//!
//! The name of a track is a number made from its path, size and date, so what an address names
//! never changes, and no address is ever made into a path.

mod cache;
mod crowd;
mod files;
mod library;
mod live;
mod routes;
mod server;

use std::path::PathBuf;
use std::sync::Arc;

use crate::HlsError;
use crate::segment::CutOptions;

pub use library::{Library, Track};
pub use server::{Stats, serve};

/// How to serve.
#[derive(Debug, Clone)]
pub struct OriginOptions {
    /// How tracks are cut.
    pub cut: CutOptions,
    /// Folder for the segments; a temporary one that goes with the program when it is `None`.
    pub cache: Option<PathBuf>,
    /// Bytes of segments kept; the tracks that were not asked for longest go first.
    pub cache_bytes: u64,
    /// Serve all tracks as a radio too.
    pub live: bool,
    /// Folder with a page to serve at `/`, file by file.
    pub page: Option<PathBuf>,
    /// Most connections at once; the idlest makes room for the next.
    pub connections: usize,
    /// A connection on which nothing moves for as long is closed, s.
    pub idle_s: f64,
}

/// The state of the service.
pub struct Origin {
    library: Library,
    cache: cache::Cache,
    live: Option<live::Live>,
    page: files::Page,
    stats: Arc<Stats>,
    options: OriginOptions,
}

impl Origin {
    /// Makes ready to serve the files of a library.
    ///
    /// # Errors
    /// The folder for segments or the page cannot be used; there is nothing to play live.
    pub fn new(library: Library, options: OriginOptions) -> Result<Arc<Self>, HlsError> {
        let cache = cache::Cache::new(options.cache.as_deref(), options.cache_bytes)?;
        let live = if options.live {
            live::Live::new(&library, &options.cut, cache.folder())?
        } else {
            None
        };
        let page = files::Page::read(options.page.as_deref())?;
        Ok(Arc::new(Self { library, cache, live, page, stats: Arc::default(), options }))
    }

    /// What has been served.
    pub fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    /// What can be played.
    pub fn library(&self) -> &Library {
        &self.library
    }
}

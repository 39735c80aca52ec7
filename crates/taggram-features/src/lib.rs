//! From samples to feature maps: STFT, mel, MFCC, chroma, descriptors. No I/O; builds for WebAssembly.
//!
//! ```
//! use taggram_features::{FrontEnd, Map, Normalise, Resampling, Scale, Windows};
//! let front_end = FrontEnd {
//!     sample_rate: 22_050,
//!     resampling: Resampling::SoxrHq,
//!     n_fft: 2048,
//!     hop: 512,
//!     map: Map::Mel { bands: 128, scale: Scale::Decibel },
//! };
//! let windows = Windows { frames: 128, hop: 64, normalise: Normalise::PatchZScore { top_db: 80.0, quiet_bands: 0 } };
//! let samples: Vec<f32> = (0..100_000).map(|i| (i as f32 * 0.05).sin()).collect();
//! let map = front_end.map(&samples)?;
//! assert_eq!((map.frames, map.bands), (196, 128));
//! let patches = windows.cut(&map)?;
//! assert_eq!(patches.starts, [0, 64]);
//! # Ok::<(), taggram_features::FeatureError>(())
//! ```
pub mod chroma;
pub mod descriptors;
pub mod error;
mod front_end;
pub mod map;
pub mod mel;
mod numeric;
mod picture;
mod power;
pub mod recipe;
pub mod sets;
pub mod stft;
pub mod summary;
pub mod windows;

pub use error::{FeatureError, Kind};
pub use front_end::MapStream;
pub use map::{FeatureFrames, FeatureMap};
pub use recipe::{FrontEnd, Map, Normalise, Resampling, Scale, Windows};
pub use sets::{FeatureSet, Series};
pub use summary::{Statistic, summarise};
pub use windows::{PatchStream, Patches, normalise_patch};

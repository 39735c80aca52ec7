//! From samples to feature maps: STFT, mel, MFCC, chroma, descriptors. No I/O; builds for WebAssembly.
pub mod map;
pub mod recipe;

pub use map::FeatureMap;
pub use recipe::{FrontEnd, Map, Normalise, Resampling, Scale, Windows};

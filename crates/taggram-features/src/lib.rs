//! From samples to feature maps: STFT, mel, MFCC, chroma, descriptors. No I/O; builds for WebAssembly.
pub mod recipe;

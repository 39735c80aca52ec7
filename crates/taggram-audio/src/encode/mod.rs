//! Writing audio: WAV and FLAC.

mod flac;
mod wav;

pub use flac::FlacWriter;
pub use wav::{WavFormat, WavWriter};

/// A sample in −1…1 as an integer of `bits` bits, rounded and clipped: the exact inverse of
/// what the readers do with integer samples of up to 24 bits.
fn to_integer(sample: f32, bits: u32) -> i32 {
    let scale = f64::from(1u32 << (bits - 1));
    (f64::from(sample) * scale).round().clamp(-scale, scale - 1.0) as i32
}

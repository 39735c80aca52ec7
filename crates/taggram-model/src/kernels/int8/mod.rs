//! Integer arithmetic: convolutions and dense layers over bytes.
//!
//! A quantised value is a byte `q` that stands for `scale · (q − zero)` ([`Params`]); images lie
//! as `[height, width, channel]`, so that the window of an output position is a few runs of
//! neighbouring bytes and a matrix product reads it where it lies: nothing is unfolded. Weights
//! are signed bytes with one scale a filter ([`quantise_rows`]). Products are summed exactly in
//! 32 bits; what follows (bias, ReLU, the next scale) is one multiplication, one addition and
//! a rounding while the sums are still in registers.
//!
//! All instruction sets give the same bits: the sums are exact, and the rest is done with
//! the same two roundings everywhere (no fused multiply-add).

pub mod conv;
pub(crate) mod dot;
pub mod image;
mod tile;

pub use conv::{IntConv, IntShape, IntSpace};

/// The instruction set that integer kernels run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntIsa {
    /// Plain Rust, on any machine; the compiler vectorises it for what every machine of the
    /// target has (SSE2 on x86-64, NEON on AArch64).
    Portable,
    /// x86-64 with AVX2: bytes widened to 16 bits, so that no sum saturates.
    Avx2,
    /// x86-64 with AVX-VNNI: four products and their sum an instruction, 8 lanes.
    AvxVnni,
    /// x86-64 with AVX-512 and VNNI: the same with 16 lanes.
    Avx512Vnni,
}

impl IntIsa {
    /// Every set that this machine has, best first.
    pub fn available() -> Vec<Self> {
        let mut sets = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni")
            {
                sets.push(Self::Avx512Vnni);
            }
            if is_x86_feature_detected!("avxvnni") && is_x86_feature_detected!("avx2") {
                sets.push(Self::AvxVnni);
            }
            if is_x86_feature_detected!("avx2") {
                sets.push(Self::Avx2);
            }
        }
        sets.push(Self::Portable);
        sets
    }

    /// The best set that this machine has.
    pub fn detect() -> Self {
        Self::available()[0]
    }

    /// Sums a vector holds.
    pub(crate) const fn lanes(self) -> usize {
        match self {
            Self::Avx512Vnni => 16,
            Self::AvxVnni | Self::Avx2 => 8,
            Self::Portable => 4,
        }
    }

    /// Most vectors of a panel of weights.
    pub(crate) const fn vectors(self) -> usize {
        match self {
            Self::Avx512Vnni => 4,
            Self::AvxVnni => 3,
            Self::Avx2 => 2,
            Self::Portable => 2,
        }
    }
}

/// Most products that one sum may hold: 255 · 127 · this stays below 2³¹.
pub const MAX_DEPTH: usize = 65_536;

/// How bytes stand for numbers: `scale · (byte − zero)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Params {
    /// Distance between neighbouring numbers.
    pub scale: f32,
    /// The byte that stands for 0.
    pub zero: u8,
}

impl Params {
    /// Bytes for the numbers `low … high`, widened so that 0 is one of them; `None` when that is
    /// no range.
    pub fn new([low, high]: [f32; 2]) -> Option<Self> {
        let (low, high) = (low.min(0.0), high.max(0.0));
        let scale = (high - low) / 255.0;
        if !(scale.is_normal() && (1.0 / scale).is_finite()) {
            return None;
        }
        Some(Self { scale, zero: (-low / scale).round_ties_even() as u8 })
    }

    /// The byte nearest to `x`.
    #[inline(always)]
    pub fn byte(self, x: f32) -> u8 {
        let q = x * (1.0 / self.scale) + f32::from(self.zero);
        nearest(q.clamp(0.0, 255.0)) as u8
    }

    /// What `byte` stands for.
    #[inline(always)]
    pub fn number(self, byte: u8) -> f32 {
        self.scale * (f32::from(byte) - f32::from(self.zero))
    }
}

/// The integer nearest to `x`, of two the even one, for |x| ≤ 2²²; 0 in the lowest byte for what is no number. Such
/// an addition leaves it in the lowest bits. A conversion of the language, which saturates, would not be vectorised.
#[inline(always)]
pub(crate) fn nearest(x: f32) -> i32 {
    const SHIFT: f32 = 12_582_912.0;
    ((x + SHIFT).to_bits() as i32).wrapping_sub(SHIFT.to_bits() as i32)
}

/// Rows of weights as signed bytes −127 … 127 with one scale each, so that the largest weight of
/// a row keeps its value: `weight ≈ scale · byte`. Quantising what these stand for again gives
/// the same bytes.
///
/// # Panics
/// When `weight` is not whole rows: a bug of the caller.
pub fn quantise_rows(weight: &[f32], rows: usize) -> (Vec<i8>, Vec<f32>) {
    assert!(rows > 0 && weight.len().is_multiple_of(rows), "whole rows");
    let length = weight.len() / rows;
    let mut bytes = Vec::with_capacity(weight.len());
    let mut scales = Vec::with_capacity(rows);
    for row in weight.chunks_exact(length.max(1)) {
        let largest = row.iter().fold(0.0f32, |m, w| m.max(w.abs()));
        // A row of zeros (or of numbers too small to divide by) is zeros with any scale.
        let scale = if largest / 127.0 >= f32::MIN_POSITIVE { largest / 127.0 } else { 1.0 };
        bytes.extend(row.iter().map(|w| (w / scale).round_ties_even().clamp(-127.0, 127.0) as i8));
        scales.push(scale);
    }
    (bytes, scales)
}

#[cfg(test)]
mod tests;

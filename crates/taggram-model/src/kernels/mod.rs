//! The arithmetic under the engine: packed matrix products, convolutions, recurrent steps
//! and element-wise functions, single-threaded and without allocation where it counts.
//!
//! Weights are packed once into the order in which the inner loop reads them; the loop is
//! written once over a small vector interface and compiled for AVX-512, AVX2 with FMA, and
//! portably. The set is chosen when a matrix is packed ([`Isa::detect`]).
//!
//! Two products cover every layer, both with an [`Epilogue`] (bias, activation, scale and
//! shift) applied while results are still in registers:
//! - [`PackedLeft`]: `C = W · B`, one row per filter: convolutions.
//! - [`PackedRight`]: `C = A · Wᵀ`, one column per unit: dense and recurrent layers. The
//!   distance between rows of `A` is free and may be less than a row, so a convolution over
//!   time in `[time, feature]` order is one call without any unfolding: row `t` starts at
//!   `t · feature` and is `kernel · feature` long.
//!
//! ```
//! use taggram_model::kernels::{Epilogue, Isa, PackedRight};
//! // A convolution of 3 steps over 5 frames of 2 features, 4 filters, with ReLU.
//! let (frames, weight) = ([1.0f32; 5 * 2], [0.5f32; 4 * 6]);
//! let packed = PackedRight::new(&weight, 4, 6, Isa::detect());
//! let epilogue = Epilogue::new(4, Some(&[-1.0; 4]), None, None);
//! let mut out = [0.0; 3 * 4];
//! packed.multiply(&frames, 2, 3, &mut out, 4, &epilogue);
//! assert_eq!(out, [2.0; 12]);
//! ```

pub mod conv;
pub mod elementwise;
pub mod gemm;
pub mod int8;
pub mod recurrent;
mod simd;
mod tile;

pub use conv::{Conv, ConvShape, Workspace};
pub use gemm::{Epilogue, PackedLeft, PackedRight};

/// The instruction set a kernel runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// Plain Rust, on any machine.
    Portable,
    /// 8 lanes, x86-64 with AVX2 and FMA.
    Avx2,
    /// 16 lanes, x86-64 with AVX-512 F, BW, DQ and VL.
    Avx512,
}

impl Isa {
    /// The best set that this machine has.
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
            {
                return Self::Avx512;
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return Self::Avx2;
            }
        }
        Self::Portable
    }

    /// Every set that this machine has, best first: for tests of one against another.
    pub fn available() -> Vec<Self> {
        match Self::detect() {
            Self::Avx512 => vec![Self::Avx512, Self::Avx2, Self::Portable],
            Self::Avx2 => vec![Self::Avx2, Self::Portable],
            Self::Portable => vec![Self::Portable],
        }
    }

    /// Whether this machine has the set.
    fn is_available(self) -> bool {
        Self::available().contains(&self)
    }

    /// Values per vector.
    pub(crate) const fn lanes(self) -> usize {
        match self {
            Self::Portable => 4,
            Self::Avx2 => 8,
            Self::Avx512 => 16,
        }
    }

    /// Rows of a register tile.
    pub(crate) const fn tile_rows(self) -> usize {
        match self {
            Self::Portable | Self::Avx2 => 4,
            Self::Avx512 => 8,
        }
    }

    /// Columns of a register tile: three vectors.
    pub(crate) const fn tile_columns(self) -> usize {
        3 * self.lanes()
    }
}

/// Defines a function compiled for every [`Isa`], called through detection. The body is
/// plain Rust that the compiler vectorises.
macro_rules! multiversion {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name($($arg: $ty),*) {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn plain($($arg: $ty),*) $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
                #[allow(clippy::too_many_arguments)]
                fn avx512($($arg: $ty),*) { plain($($arg),*) }
                #[target_feature(enable = "avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn avx2($($arg: $ty),*) { plain($($arg),*) }
                match $crate::kernels::Isa::detect() {
                    // SAFETY: the features were detected on this machine just now.
                    $crate::kernels::Isa::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    $crate::kernels::Isa::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::kernels::Isa::Portable => {}
                }
            }
            plain($($arg),*)
        }
    };
}
pub(crate) use multiversion;

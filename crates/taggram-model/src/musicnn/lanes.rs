//! The vector interface that the kernels of this module are written over.

/// A vector of `f32`. Every method is inlined into a caller that has the instruction set
/// enabled.
///
/// # Safety
/// For all methods: the machine must have the instruction set; pointers must be valid for
/// `LANES` values.
pub(super) trait Lanes: Copy {
    /// Values per vector.
    const LANES: usize;
    /// Filters that the temporal kernel takes at once: as many as the registers hold.
    const FILTERS: usize;
    unsafe fn splat(x: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// self · b + c
    unsafe fn fma(self, b: Self, c: Self) -> Self;
    /// c − self · b
    unsafe fn fnma(self, b: Self, c: Self) -> Self;
    unsafe fn add(self, b: Self) -> Self;
    unsafe fn sub(self, b: Self) -> Self;
    unsafe fn mul(self, b: Self) -> Self;
    unsafe fn max(self, b: Self) -> Self;
    /// The largest of the lanes.
    unsafe fn reduce_max(self) -> f32;
}

/// Plain Rust: four lanes, which every vector unit has.
pub(super) type Portable = [f32; 4];

impl Lanes for Portable {
    const LANES: usize = 4;
    const FILTERS: usize = 4;
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        [x; 4]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller vouches for 4 readable values; no alignment is assumed.
        unsafe { from.cast::<Self>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller vouches for 4 writable values; no alignment is assumed.
        unsafe { to.cast::<Self>().write_unaligned(self) }
    }
    #[inline(always)]
    unsafe fn fma(self, b: Self, c: Self) -> Self {
        std::array::from_fn(|i| self[i] * b[i] + c[i])
    }
    #[inline(always)]
    unsafe fn fnma(self, b: Self, c: Self) -> Self {
        std::array::from_fn(|i| c[i] - self[i] * b[i])
    }
    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        std::array::from_fn(|i| self[i] + b[i])
    }
    #[inline(always)]
    unsafe fn sub(self, b: Self) -> Self {
        std::array::from_fn(|i| self[i] - b[i])
    }
    #[inline(always)]
    unsafe fn mul(self, b: Self) -> Self {
        std::array::from_fn(|i| self[i] * b[i])
    }
    #[inline(always)]
    unsafe fn max(self, b: Self) -> Self {
        std::array::from_fn(|i| if self[i] > b[i] { self[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn reduce_max(self) -> f32 {
        self[0].max(self[1]).max(self[2].max(self[3]))
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Lanes;
    use std::arch::x86_64::*;

    /// Implements [`Lanes`] by the intrinsics of one width.
    macro_rules! lanes {
        ($v:ty, $lanes:literal, $filters:literal, $splat:ident, $load:ident, $store:ident,
         $fma:ident, $fnma:ident, $add:ident, $sub:ident, $mul:ident, $max:ident, $reduce:expr) => {
            // SAFETY (all blocks): the trait's contract gives the instruction set and valid
            // pointers; the unaligned forms of load and store are used.
            impl Lanes for $v {
                const LANES: usize = $lanes;
                const FILTERS: usize = $filters;
                #[inline(always)]
                unsafe fn splat(x: f32) -> Self {
                    unsafe { $splat(x) }
                }
                #[inline(always)]
                unsafe fn load(from: *const f32) -> Self {
                    unsafe { $load(from) }
                }
                #[inline(always)]
                unsafe fn store(self, to: *mut f32) {
                    unsafe { $store(to, self) }
                }
                #[inline(always)]
                unsafe fn fma(self, b: Self, c: Self) -> Self {
                    unsafe { $fma(self, b, c) }
                }
                #[inline(always)]
                unsafe fn fnma(self, b: Self, c: Self) -> Self {
                    unsafe { $fnma(self, b, c) }
                }
                #[inline(always)]
                unsafe fn add(self, b: Self) -> Self {
                    unsafe { $add(self, b) }
                }
                #[inline(always)]
                unsafe fn sub(self, b: Self) -> Self {
                    unsafe { $sub(self, b) }
                }
                #[inline(always)]
                unsafe fn mul(self, b: Self) -> Self {
                    unsafe { $mul(self, b) }
                }
                #[inline(always)]
                unsafe fn max(self, b: Self) -> Self {
                    unsafe { $max(self, b) }
                }
                #[inline(always)]
                unsafe fn reduce_max(self) -> f32 {
                    unsafe { $reduce(self) }
                }
            }
        };
    }

    lanes!(
        __m512,
        16,
        8,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_fmadd_ps,
        _mm512_fnmadd_ps,
        _mm512_add_ps,
        _mm512_sub_ps,
        _mm512_mul_ps,
        _mm512_max_ps,
        _mm512_reduce_max_ps
    );
    lanes!(
        __m256,
        8,
        4,
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_fmadd_ps,
        _mm256_fnmadd_ps,
        _mm256_add_ps,
        _mm256_sub_ps,
        _mm256_mul_ps,
        _mm256_max_ps,
        reduce_max_256
    );

    /// # Safety
    /// The machine must have AVX.
    #[inline(always)]
    unsafe fn reduce_max_256(v: __m256) -> f32 {
        // SAFETY: AVX is vouched for by the caller.
        unsafe {
            let four = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
        }
    }
}

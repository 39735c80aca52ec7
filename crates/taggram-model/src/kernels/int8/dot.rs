//! The vector interface that the integer tile is written over.

/// Sums of products of unsigned and signed bytes. Every method is inlined into a caller that
/// has the instruction set enabled.
///
/// # Safety
/// For all methods: the machine must have the instruction set; pointers must be valid for what
/// the method says.
pub(crate) trait Dot {
    /// Sums a vector holds.
    const LANES: usize;
    /// `LANES` sums.
    type Sum: Copy;
    /// Four signed bytes for each lane.
    type Weights: Copy;
    /// Four unsigned bytes for each lane.
    type Inputs: Copy;
    /// `LANES` floats.
    type Floats: Copy;
    unsafe fn zero() -> Self::Sum;
    /// `LANES` times the same.
    unsafe fn sums(x: i32) -> Self::Sum;
    /// Reads `4 · LANES` bytes.
    unsafe fn weights(from: *const i8) -> Self::Weights;
    /// Reads 4 bytes, the same for every lane.
    unsafe fn inputs(from: *const u8) -> Self::Inputs;
    /// Reads `4 · LANES` bytes.
    unsafe fn inputs_each(from: *const u8) -> Self::Inputs;
    /// The same four signed bytes for every lane, the lowest first.
    unsafe fn weights_all(four: i32) -> Self::Weights;
    /// a − b
    unsafe fn sub(a: Self::Sum, b: Self::Sum) -> Self::Sum;
    /// The larger of each lane.
    unsafe fn max(a: Self::Sum, b: Self::Sum) -> Self::Sum;
    /// The largest of the lanes.
    unsafe fn largest(v: Self::Sum) -> i32;
    /// The same of each of some vectors.
    #[inline(always)]
    unsafe fn largest_each<const N: usize>(v: &[Self::Sum; N], to: &mut [i32; N]) {
        for (to, v) in to.iter_mut().zip(v) {
            // SAFETY: the caller vouches for the instruction set.
            *to = unsafe { Self::largest(*v) };
        }
    }
    /// Asks for the cache line of an address that may be read soon; nothing where there is no such instruction.
    #[inline(always)]
    unsafe fn prefetch(_from: *const u8) {}
    /// Adds the four products of each lane.
    unsafe fn dot(sum: Self::Sum, x: Self::Inputs, w: Self::Weights) -> Self::Sum;
    /// `factor · sum + shift`, rounded twice; reads `LANES` of each.
    unsafe fn floats(sum: Self::Sum, factor: *const f32, shift: *const f32) -> Self::Floats;
    /// `factor · sum`; reads `LANES` factors.
    unsafe fn scaled(sum: Self::Sum, factor: *const f32) -> Self::Floats;
    /// max(v, low).
    unsafe fn at_least(v: Self::Floats, low: f32) -> Self::Floats;
    /// Writes `LANES` floats.
    unsafe fn store_floats(v: Self::Floats, to: *mut f32);
    /// Rounds to even, limits to `low … 255` and writes `LANES` bytes.
    unsafe fn store_bytes(v: Self::Floats, low: f32, to: *mut u8);
}

pub(crate) struct Portable;

impl Dot for Portable {
    const LANES: usize = 4;
    type Sum = [i32; 4];
    type Weights = [i8; 16];
    type Inputs = [u8; 16];
    type Floats = [f32; 4];
    #[inline(always)]
    unsafe fn zero() -> [i32; 4] {
        [0; 4]
    }
    #[inline(always)]
    unsafe fn sums(x: i32) -> [i32; 4] {
        [x; 4]
    }
    #[inline(always)]
    unsafe fn weights(from: *const i8) -> [i8; 16] {
        // SAFETY: the caller vouches for 16 readable bytes.
        unsafe { from.cast::<[i8; 16]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn inputs(from: *const u8) -> [u8; 16] {
        // SAFETY: the caller vouches for 4 readable bytes.
        let four = unsafe { from.cast::<[u8; 4]>().read_unaligned() };
        std::array::from_fn(|i| four[i % 4])
    }
    #[inline(always)]
    unsafe fn inputs_each(from: *const u8) -> [u8; 16] {
        // SAFETY: the caller vouches for 16 readable bytes.
        unsafe { from.cast::<[u8; 16]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn weights_all(four: i32) -> [i8; 16] {
        let four = four.to_le_bytes();
        std::array::from_fn(|i| four[i % 4] as i8)
    }
    #[inline(always)]
    unsafe fn sub(a: [i32; 4], b: [i32; 4]) -> [i32; 4] {
        std::array::from_fn(|i| a[i] - b[i])
    }
    #[inline(always)]
    unsafe fn max(a: [i32; 4], b: [i32; 4]) -> [i32; 4] {
        std::array::from_fn(|i| a[i].max(b[i]))
    }
    #[inline(always)]
    unsafe fn largest(v: [i32; 4]) -> i32 {
        v[0].max(v[1]).max(v[2].max(v[3]))
    }
    #[inline(always)]
    unsafe fn dot(mut sum: [i32; 4], x: [u8; 16], w: [i8; 16]) -> [i32; 4] {
        for (lane, sum) in sum.iter_mut().enumerate() {
            for i in 4 * lane..4 * lane + 4 {
                *sum += i32::from(x[i]) * i32::from(w[i]);
            }
        }
        sum
    }
    #[inline(always)]
    unsafe fn floats(sum: [i32; 4], factor: *const f32, shift: *const f32) -> [f32; 4] {
        // SAFETY: the caller vouches for 4 readable values each.
        let (factor, shift) = unsafe {
            (factor.cast::<[f32; 4]>().read_unaligned(), shift.cast::<[f32; 4]>().read_unaligned())
        };
        std::array::from_fn(|i| sum[i] as f32 * factor[i] + shift[i])
    }
    #[inline(always)]
    unsafe fn scaled(sum: [i32; 4], factor: *const f32) -> [f32; 4] {
        // SAFETY: the caller vouches for 4 readable values.
        let factor = unsafe { factor.cast::<[f32; 4]>().read_unaligned() };
        std::array::from_fn(|i| sum[i] as f32 * factor[i])
    }
    #[inline(always)]
    unsafe fn at_least(v: [f32; 4], low: f32) -> [f32; 4] {
        v.map(|v| if v > low { v } else { low })
    }
    #[inline(always)]
    unsafe fn store_floats(v: [f32; 4], to: *mut f32) {
        // SAFETY: the caller vouches for 4 writable values.
        unsafe { to.cast::<[f32; 4]>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn store_bytes(v: [f32; 4], low: f32, to: *mut u8) {
        let bytes = v.map(|v| {
            let v = if v > low { v } else { low };
            (if v < 255.0 { v } else { 255.0 }).round_ties_even() as u8
        });
        // SAFETY: the caller vouches for 4 writable bytes.
        unsafe { to.cast::<[u8; 4]>().write_unaligned(bytes) }
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512Vnni, AvxVnni};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Dot;
    use std::arch::x86_64::*;

    pub(crate) struct Avx2;
    pub(crate) struct AvxVnni;
    pub(crate) struct Avx512Vnni;

    /// What the two 8-lane sets have in common.
    macro_rules! eight_lanes {
        () => {
            const LANES: usize = 8;
            type Sum = __m256i;
            type Floats = __m256;
            #[inline(always)]
            unsafe fn zero() -> __m256i {
                unsafe { _mm256_setzero_si256() }
            }
            #[inline(always)]
            unsafe fn sums(x: i32) -> __m256i {
                unsafe { _mm256_set1_epi32(x) }
            }
            #[inline(always)]
            unsafe fn sub(a: __m256i, b: __m256i) -> __m256i {
                unsafe { _mm256_sub_epi32(a, b) }
            }
            #[inline(always)]
            unsafe fn max(a: __m256i, b: __m256i) -> __m256i {
                unsafe { _mm256_max_epi32(a, b) }
            }
            #[inline(always)]
            unsafe fn largest(v: __m256i) -> i32 {
                unsafe {
                    let v =
                        _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v));
                    let v = _mm_max_epi32(v, _mm_unpackhi_epi64(v, v));
                    _mm_cvtsi128_si32(_mm_max_epi32(v, _mm_shuffle_epi32::<1>(v)))
                }
            }
            #[inline(always)]
            unsafe fn floats(sum: __m256i, factor: *const f32, shift: *const f32) -> __m256 {
                unsafe {
                    let scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_loadu_ps(factor));
                    _mm256_add_ps(scaled, _mm256_loadu_ps(shift))
                }
            }
            #[inline(always)]
            unsafe fn scaled(sum: __m256i, factor: *const f32) -> __m256 {
                unsafe { _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_loadu_ps(factor)) }
            }
            #[inline(always)]
            unsafe fn at_least(v: __m256, low: f32) -> __m256 {
                unsafe { _mm256_max_ps(v, _mm256_set1_ps(low)) }
            }
            #[inline(always)]
            unsafe fn store_floats(v: __m256, to: *mut f32) {
                unsafe { _mm256_storeu_ps(to, v) }
            }
            #[inline(always)]
            unsafe fn store_bytes(v: __m256, low: f32, to: *mut u8) {
                unsafe {
                    let v = _mm256_max_ps(v, _mm256_set1_ps(low));
                    let v = _mm256_cvtps_epi32(_mm256_min_ps(v, _mm256_set1_ps(255.0)));
                    // Words of both halves side by side, then bytes.
                    let words = _mm_packus_epi32(
                        _mm256_castsi256_si128(v),
                        _mm256_extracti128_si256::<1>(v),
                    );
                    _mm_storel_epi64(to.cast(), _mm_packus_epi16(words, words));
                }
            }
        };
    }

    /// Signed bytes at even and at odd places, as 16 bits each.
    ///
    /// # Safety
    /// The machine must have AVX2.
    #[inline(always)]
    unsafe fn signed(w: __m256i) -> [__m256i; 2] {
        // SAFETY: vouched for by the caller.
        unsafe { [_mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(w)), _mm256_srai_epi16::<8>(w)] }
    }

    /// Unsigned bytes at even and at odd places, as 16 bits each.
    ///
    /// # Safety
    /// The machine must have AVX2.
    #[inline(always)]
    unsafe fn unsigned(x: __m256i) -> [__m256i; 2] {
        // SAFETY: vouched for by the caller.
        unsafe { [_mm256_and_si256(x, _mm256_set1_epi16(0xff)), _mm256_srli_epi16::<8>(x)] }
    }

    // SAFETY (all blocks): the trait's contract gives the instruction set and valid pointers;
    // the unaligned forms of load and store are used.
    impl Dot for Avx2 {
        eight_lanes!();
        /// The bytes at even and at odd places, as 16 bits each.
        type Weights = [__m256i; 2];
        type Inputs = [__m256i; 2];
        #[inline(always)]
        unsafe fn weights(from: *const i8) -> [__m256i; 2] {
            unsafe { signed(_mm256_loadu_si256(from.cast())) }
        }
        #[inline(always)]
        unsafe fn inputs(from: *const u8) -> [__m256i; 2] {
            unsafe { unsigned(_mm256_set1_epi32(from.cast::<i32>().read_unaligned())) }
        }
        #[inline(always)]
        unsafe fn inputs_each(from: *const u8) -> [__m256i; 2] {
            unsafe { unsigned(_mm256_loadu_si256(from.cast())) }
        }
        #[inline(always)]
        unsafe fn weights_all(four: i32) -> [__m256i; 2] {
            unsafe { signed(_mm256_set1_epi32(four)) }
        }
        #[inline(always)]
        unsafe fn dot(sum: __m256i, x: [__m256i; 2], w: [__m256i; 2]) -> __m256i {
            unsafe {
                let products =
                    _mm256_add_epi32(_mm256_madd_epi16(x[0], w[0]), _mm256_madd_epi16(x[1], w[1]));
                _mm256_add_epi32(sum, products)
            }
        }
    }

    // SAFETY (all blocks): as for `Avx2`.
    impl Dot for AvxVnni {
        eight_lanes!();
        type Weights = __m256i;
        type Inputs = __m256i;
        #[inline(always)]
        unsafe fn weights(from: *const i8) -> __m256i {
            unsafe { _mm256_loadu_si256(from.cast()) }
        }
        #[inline(always)]
        unsafe fn inputs(from: *const u8) -> __m256i {
            unsafe { _mm256_set1_epi32(from.cast::<i32>().read_unaligned()) }
        }
        #[inline(always)]
        unsafe fn inputs_each(from: *const u8) -> __m256i {
            unsafe { _mm256_loadu_si256(from.cast()) }
        }
        #[inline(always)]
        unsafe fn weights_all(four: i32) -> __m256i {
            unsafe { _mm256_set1_epi32(four) }
        }
        #[inline(always)]
        unsafe fn dot(sum: __m256i, x: __m256i, w: __m256i) -> __m256i {
            unsafe { _mm256_dpbusd_avx_epi32(sum, x, w) }
        }
    }

    // SAFETY (all blocks): as for `Avx2`.
    impl Dot for Avx512Vnni {
        const LANES: usize = 16;
        type Sum = __m512i;
        type Weights = __m512i;
        type Inputs = __m512i;
        type Floats = __m512;
        #[inline(always)]
        unsafe fn zero() -> __m512i {
            unsafe { _mm512_setzero_si512() }
        }
        #[inline(always)]
        unsafe fn sums(x: i32) -> __m512i {
            unsafe { _mm512_set1_epi32(x) }
        }
        #[inline(always)]
        unsafe fn weights(from: *const i8) -> __m512i {
            unsafe { _mm512_loadu_si512(from.cast()) }
        }
        #[inline(always)]
        unsafe fn inputs(from: *const u8) -> __m512i {
            unsafe { _mm512_set1_epi32(from.cast::<i32>().read_unaligned()) }
        }
        #[inline(always)]
        unsafe fn inputs_each(from: *const u8) -> __m512i {
            unsafe { _mm512_loadu_si512(from.cast()) }
        }
        #[inline(always)]
        unsafe fn weights_all(four: i32) -> __m512i {
            unsafe { _mm512_set1_epi32(four) }
        }
        #[inline(always)]
        unsafe fn sub(a: __m512i, b: __m512i) -> __m512i {
            unsafe { _mm512_sub_epi32(a, b) }
        }
        #[inline(always)]
        unsafe fn max(a: __m512i, b: __m512i) -> __m512i {
            unsafe { _mm512_max_epi32(a, b) }
        }
        #[inline(always)]
        unsafe fn largest(v: __m512i) -> i32 {
            unsafe { _mm512_reduce_max_epi32(v) }
        }
        /// Four vectors at a time, turned: then a maximum serves all four.
        #[inline(always)]
        unsafe fn largest_each<const N: usize>(v: &[__m512i; N], to: &mut [i32; N]) {
            const { assert!(N.is_multiple_of(4)) };
            let (fours, _) = v.as_chunks::<4>();
            let (to, _) = to.as_chunks_mut::<4>();
            for ([a, b, c, d], to) in fours.iter().zip(to) {
                // SAFETY: AVX-512 is vouched for by the caller; `to` has room for four values.
                unsafe {
                    let ab = _mm512_max_epi32(
                        _mm512_unpacklo_epi32(*a, *b),
                        _mm512_unpackhi_epi32(*a, *b),
                    );
                    let cd = _mm512_max_epi32(
                        _mm512_unpacklo_epi32(*c, *d),
                        _mm512_unpackhi_epi32(*c, *d),
                    );
                    let all = _mm512_max_epi32(
                        _mm512_unpacklo_epi64(ab, cd),
                        _mm512_unpackhi_epi64(ab, cd),
                    );
                    let half = _mm256_max_epi32(
                        _mm512_castsi512_si256(all),
                        _mm512_extracti64x4_epi64::<1>(all),
                    );
                    let last = _mm_max_epi32(
                        _mm256_castsi256_si128(half),
                        _mm256_extracti128_si256::<1>(half),
                    );
                    _mm_storeu_si128(to.as_mut_ptr().cast(), last);
                }
            }
        }
        #[inline(always)]
        unsafe fn prefetch(from: *const u8) {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
        }
        #[inline(always)]
        unsafe fn dot(sum: __m512i, x: __m512i, w: __m512i) -> __m512i {
            unsafe { _mm512_dpbusd_epi32(sum, x, w) }
        }
        #[inline(always)]
        unsafe fn floats(sum: __m512i, factor: *const f32, shift: *const f32) -> __m512 {
            unsafe {
                let scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_loadu_ps(factor));
                _mm512_add_ps(scaled, _mm512_loadu_ps(shift))
            }
        }
        #[inline(always)]
        unsafe fn scaled(sum: __m512i, factor: *const f32) -> __m512 {
            unsafe { _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_loadu_ps(factor)) }
        }
        #[inline(always)]
        unsafe fn at_least(v: __m512, low: f32) -> __m512 {
            unsafe { _mm512_max_ps(v, _mm512_set1_ps(low)) }
        }
        #[inline(always)]
        unsafe fn store_floats(v: __m512, to: *mut f32) {
            unsafe { _mm512_storeu_ps(to, v) }
        }
        #[inline(always)]
        unsafe fn store_bytes(v: __m512, low: f32, to: *mut u8) {
            unsafe {
                let v = _mm512_max_ps(v, _mm512_set1_ps(low));
                let v = _mm512_cvtps_epi32(_mm512_min_ps(v, _mm512_set1_ps(255.0)));
                _mm_storeu_si128(to.cast(), _mm512_cvtusepi32_epi8(v));
            }
        }
    }
}

//! The register tile: the only place where products are computed.

use super::Isa;
use super::simd::{self, Simd};

/// Most values of a tile, over all instruction sets.
const TILE_MAX: usize = Isa::Avx512.tile_rows() * Isa::Avx512.tile_columns();

/// Steps that the two sides are fetched ahead of use. Filters come from beyond the
/// second-level cache, columns from within it; measured, −20 % on ResNet18.
const A_AHEAD: usize = 64;
const B_AHEAD: usize = 8;

/// One register tile: pointers into packed and plain data, as the two products set them.
pub(super) struct Tile {
    pub k: usize,
    pub a: *const f32,
    pub a_row: usize,
    pub a_step: usize,
    pub b: *const f32,
    pub b_step: usize,
    pub bias: *const f32,
    /// Null when there is no scale and shift.
    pub scale: *const f32,
    pub shift: *const f32,
    pub relu: bool,
    /// Whether bias, scale and shift run along rows rather than columns.
    pub per_row: bool,
}

impl Tile {
    /// Computes `height × width` results and stores the first `valid` columns in `c`.
    ///
    /// # Safety
    /// `a` and `b` must be readable for `k` steps, the epilogue for `height` or `width`
    /// values; the machine must have `isa`; `width` must be one to three vectors.
    #[inline]
    pub unsafe fn write(
        &self,
        isa: Isa,
        height: usize,
        width: usize,
        c: &mut [f32],
        c_row: usize,
        valid: usize,
    ) {
        debug_assert!(c.len() >= (height - 1) * c_row + valid);
        if valid == width {
            // SAFETY: every row of `c` holds `width` values, as the callers' length check
            // of the whole matrix gives.
            unsafe { self.run(isa, height, width / isa.lanes(), c.as_mut_ptr(), c_row) };
        } else {
            let mut whole = [0.0f32; TILE_MAX];
            // SAFETY: `whole` holds any tile.
            unsafe { self.run(isa, height, width / isa.lanes(), whole.as_mut_ptr(), width) };
            for (row, from) in whole.chunks_exact(width).take(height).enumerate() {
                c[row * c_row..row * c_row + valid].copy_from_slice(&from[..valid]);
            }
        }
    }

    /// # Safety
    /// As [`Tile::write`]; `c` must be writable for `height` rows of `vectors` vectors.
    unsafe fn run(&self, isa: Isa, height: usize, vectors: usize, c: *mut f32, c_row: usize) {
        // SAFETY: passed on; each arm runs only with its instruction set.
        unsafe {
            match isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => match vectors {
                    1 => self.rows_avx512::<1>(height, c, c_row),
                    2 => self.rows_avx512::<2>(height, c, c_row),
                    _ => self.rows_avx512::<3>(height, c, c_row),
                },
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => match vectors {
                    1 => self.rows_avx2::<1>(height, c, c_row),
                    2 => self.rows_avx2::<2>(height, c, c_row),
                    _ => self.rows_avx2::<3>(height, c, c_row),
                },
                _ => match vectors {
                    1 => self.rows_portable::<1>(height, c, c_row),
                    2 => self.rows_portable::<2>(height, c, c_row),
                    _ => self.rows_portable::<3>(height, c, c_row),
                },
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    unsafe fn rows_avx512<const N: usize>(&self, height: usize, c: *mut f32, c_row: usize) {
        type S = simd::Avx512;
        // SAFETY: passed on.
        unsafe {
            match height {
                1 => self.compute::<S, 1, N, 4>(c, c_row),
                2 => self.compute::<S, 2, N, 2>(c, c_row),
                3 => self.compute::<S, 3, N, 1>(c, c_row),
                4 => self.compute::<S, 4, N, 1>(c, c_row),
                5 => self.compute::<S, 5, N, 1>(c, c_row),
                6 => self.compute::<S, 6, N, 1>(c, c_row),
                7 => self.compute::<S, 7, N, 1>(c, c_row),
                _ => self.compute::<S, 8, N, 1>(c, c_row),
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn rows_avx2<const N: usize>(&self, height: usize, c: *mut f32, c_row: usize) {
        // SAFETY: passed on.
        unsafe { self.four_rows::<simd::Avx2, N>(height, c, c_row) }
    }

    unsafe fn rows_portable<const N: usize>(&self, height: usize, c: *mut f32, c_row: usize) {
        // SAFETY: passed on.
        unsafe { self.four_rows::<simd::Portable, N>(height, c, c_row) }
    }

    #[inline(always)]
    unsafe fn four_rows<S: Simd, const N: usize>(&self, height: usize, c: *mut f32, c_row: usize) {
        // SAFETY: passed on.
        unsafe {
            match height {
                1 => self.compute::<S, 1, N, 4>(c, c_row),
                2 => self.compute::<S, 2, N, 2>(c, c_row),
                3 => self.compute::<S, 3, N, 1>(c, c_row),
                _ => self.compute::<S, 4, N, 1>(c, c_row),
            }
        }
    }

    /// `R` rows of `N` vectors, with `U` independent sums each: a single row has too few
    /// accumulators of its own to hide the latency of a multiply-add.
    ///
    /// # Safety
    /// As [`Tile::run`].
    #[inline(always)]
    #[expect(clippy::needless_range_loop, reason = "iterators keep the sums out of registers")]
    unsafe fn compute<S: Simd, const R: usize, const N: usize, const U: usize>(
        &self,
        c: *mut f32,
        c_row: usize,
    ) {
        // The loops are plain and few to the line, and nothing here is a closure: that way
        // each is unrolled, the sums stay in registers and the intrinsics are inlined.
        // Arithmetic wraps, so that builds with overflow checks keep the same loops.
        // SAFETY: the loops stay within `k` steps of `a` and `b`, `R` rows and `N · LANES`
        // columns, which the contract makes valid.
        unsafe {
            let mut sums = [[[S::splat(0.0); N]; R]; U];
            let mut rows = [self.a; R];
            for r in 1..R {
                rows[r] = rows[r - 1].wrapping_add(self.a_row);
            }
            let (mut at, mut b, mut left) = (0usize, self.b, self.k);
            while left >= U {
                for u in 0..U {
                    let mut columns = [S::splat(0.0); N];
                    for n in 0..N {
                        columns[n] = S::load(b.wrapping_add(n * S::LANES));
                    }
                    S::prefetch(
                        rows[0].wrapping_add(at.wrapping_add(A_AHEAD.wrapping_mul(self.a_step))),
                    );
                    for n in 0..N {
                        S::prefetch(b.wrapping_add(n * S::LANES + B_AHEAD * N * S::LANES));
                    }
                    for r in 0..R {
                        let value = S::splat(*rows[r].wrapping_add(at));
                        for n in 0..N {
                            sums[u][r][n] = S::fma(value, columns[n], sums[u][r][n]);
                        }
                    }
                    at = at.wrapping_add(self.a_step);
                    b = b.wrapping_add(self.b_step);
                }
                left = left.wrapping_sub(U);
            }
            while U > 1 && left > 0 {
                for r in 0..R {
                    let value = S::splat(*rows[r].wrapping_add(at));
                    for n in 0..N {
                        let column = S::load(b.wrapping_add(n * S::LANES));
                        sums[0][r][n] = S::fma(value, column, sums[0][r][n]);
                    }
                }
                at = at.wrapping_add(self.a_step);
                b = b.wrapping_add(self.b_step);
                left = left.wrapping_sub(1);
            }
            let mut total = sums[0];
            for u in 1..U {
                for r in 0..R {
                    for n in 0..N {
                        total[r][n] = S::add(total[r][n], sums[u][r][n]);
                    }
                }
            }
            // Along one axis the step between channels is a row, along the other a lane.
            if self.per_row {
                for r in 0..R {
                    let bias = S::splat(*self.bias.wrapping_add(r));
                    for n in 0..N {
                        total[r][n] = S::add(total[r][n], bias);
                    }
                }
            } else {
                for n in 0..N {
                    let bias = S::load(self.bias.wrapping_add(n * S::LANES));
                    for r in 0..R {
                        total[r][n] = S::add(total[r][n], bias);
                    }
                }
            }
            if self.relu {
                for r in 0..R {
                    for n in 0..N {
                        total[r][n] = S::relu(total[r][n]);
                    }
                }
            }
            if !self.scale.is_null() && self.per_row {
                for r in 0..R {
                    let (scale, shift) = (
                        S::splat(*self.scale.wrapping_add(r)),
                        S::splat(*self.shift.wrapping_add(r)),
                    );
                    for n in 0..N {
                        total[r][n] = S::fma(total[r][n], scale, shift);
                    }
                }
            } else if !self.scale.is_null() {
                for n in 0..N {
                    let at = n * S::LANES;
                    let (scale, shift) = (
                        S::load(self.scale.wrapping_add(at)),
                        S::load(self.shift.wrapping_add(at)),
                    );
                    for r in 0..R {
                        total[r][n] = S::fma(total[r][n], scale, shift);
                    }
                }
            }
            let mut c = c;
            for r in 0..R {
                for n in 0..N {
                    S::store(c.wrapping_add(n * S::LANES), total[r][n]);
                }
                c = c.wrapping_add(c_row);
            }
        }
    }
}

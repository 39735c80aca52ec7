//! The register tile: sums for some output positions and some filters.

use super::IntIsa;
use super::dot::{self, Dot};

/// Most rows of a tile, over all instruction sets and widths.
pub(super) const ROWS_MAX: usize = 14;
/// Most columns of a tile.
pub(super) const COLUMNS_MAX: usize = 64;

/// What a tile reads.
pub(super) struct Tile {
    /// Runs of bytes of a window, and steps of four bytes in each.
    pub runs: usize,
    pub steps: usize,
    /// Distance between runs in the image.
    pub pitch: usize,
    /// `[run, step, column, 4]`.
    pub weights: *const i8,
    /// Factor and shift of each column.
    pub factor: *const f32,
    pub shift: *const f32,
    /// Smallest result.
    pub low: f32,
}

/// Where the results go: rows of a matrix of `columns` columns each.
pub(super) enum Target {
    Bytes(*mut u8),
    Floats(*mut f32),
}

/// Rows of a tile that is `vectors` wide: as many as leave registers for the rest.
pub(super) const fn rows(isa: IntIsa, vectors: usize) -> usize {
    match (isa, vectors) {
        (IntIsa::Avx512Vnni, 4) => 6,
        (IntIsa::Avx512Vnni, 3) => 8,
        (IntIsa::Avx512Vnni, 2) => 12,
        (IntIsa::Avx512Vnni, _) => 14,
        (IntIsa::AvxVnni | IntIsa::Avx2, 1) => 8,
        _ => 4,
    }
}

impl Tile {
    /// Computes `starts.len()` rows (one or [`rows`] of them; the window of each begins at its
    /// pointer) and `vectors` vectors of columns, and stores the first `valid_rows` rows and
    /// `valid` columns.
    ///
    /// # Safety
    /// The machine must have `isa`. Every start must be readable for `runs` runs of `4 · steps`
    /// bytes, `weights` for all of them and all columns, `factor` and `shift` for all columns;
    /// `to` writable for `valid_rows` rows of `valid` columns, `row` apart.
    #[allow(clippy::too_many_arguments)]
    pub unsafe fn run(
        &self,
        isa: IntIsa,
        vectors: usize,
        starts: &[*const u8; ROWS_MAX],
        single: bool,
        to: &Target,
        row: usize,
        valid_rows: usize,
        valid: usize,
    ) {
        let place = Place { to, row, valid_rows, valid };
        // SAFETY: passed on; each arm runs only with its instruction set.
        unsafe {
            match isa {
                #[cfg(target_arch = "x86_64")]
                IntIsa::Avx512Vnni => self.avx512(vectors, starts, single, &place),
                #[cfg(target_arch = "x86_64")]
                IntIsa::AvxVnni => self.avx_vnni(vectors, starts, single, &place),
                #[cfg(target_arch = "x86_64")]
                IntIsa::Avx2 => self.avx2(vectors, starts, single, &place),
                _ => match (vectors, single) {
                    (2, false) => self.compute::<dot::Portable, 4, 2>(starts, &place),
                    (_, false) => self.compute::<dot::Portable, 4, 1>(starts, &place),
                    (2, true) => self.compute::<dot::Portable, 1, 2>(starts, &place),
                    (_, true) => self.compute::<dot::Portable, 1, 1>(starts, &place),
                },
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    unsafe fn avx512(
        &self,
        vectors: usize,
        starts: &[*const u8; ROWS_MAX],
        single: bool,
        to: &Place,
    ) {
        type S = dot::Avx512Vnni;
        // SAFETY: passed on.
        unsafe {
            match (vectors, single) {
                (4, false) => self.compute::<S, 6, 4>(starts, to),
                (3, false) => self.compute::<S, 8, 3>(starts, to),
                (2, false) => self.compute::<S, 12, 2>(starts, to),
                (_, false) => self.compute::<S, 14, 1>(starts, to),
                (4, true) => self.compute::<S, 1, 4>(starts, to),
                (3, true) => self.compute::<S, 1, 3>(starts, to),
                (2, true) => self.compute::<S, 1, 2>(starts, to),
                (_, true) => self.compute::<S, 1, 1>(starts, to),
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,avxvnni")]
    unsafe fn avx_vnni(
        &self,
        vectors: usize,
        starts: &[*const u8; ROWS_MAX],
        single: bool,
        to: &Place,
    ) {
        type S = dot::AvxVnni;
        // SAFETY: passed on.
        unsafe {
            match (vectors, single) {
                (3, false) => self.compute::<S, 4, 3>(starts, to),
                (2, false) => self.compute::<S, 4, 2>(starts, to),
                (_, false) => self.compute::<S, 8, 1>(starts, to),
                (3, true) => self.compute::<S, 1, 3>(starts, to),
                (2, true) => self.compute::<S, 1, 2>(starts, to),
                (_, true) => self.compute::<S, 1, 1>(starts, to),
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    unsafe fn avx2(
        &self,
        vectors: usize,
        starts: &[*const u8; ROWS_MAX],
        single: bool,
        to: &Place,
    ) {
        type S = dot::Avx2;
        // SAFETY: passed on.
        unsafe {
            match (vectors, single) {
                (2, false) => self.compute::<S, 4, 2>(starts, to),
                (_, false) => self.compute::<S, 8, 1>(starts, to),
                (2, true) => self.compute::<S, 1, 2>(starts, to),
                (_, true) => self.compute::<S, 1, 1>(starts, to),
            }
        }
    }

    /// `R` rows of `N` vectors.
    ///
    /// # Safety
    /// As [`Tile::run`], with the instruction set of `S`.
    #[inline(always)]
    #[expect(clippy::needless_range_loop, reason = "iterators keep the sums out of registers")]
    unsafe fn compute<S: Dot, const R: usize, const N: usize>(
        &self,
        starts: &[*const u8; ROWS_MAX],
        place: &Place,
    ) {
        // Pointers wrap and loops are plain, so that builds with checks unroll them too.
        // SAFETY: all reads and writes lie within what the caller vouches for.
        unsafe {
            let mut sums = [[S::zero(); N]; R];
            let mut rows = [starts[0]; R];
            rows.copy_from_slice(&starts[..R]);
            let mut w = self.weights;
            let (mut run, mut base) = (0usize, 0usize);
            while run < self.runs {
                let (mut step, mut at) = (0usize, base);
                while step < self.steps {
                    let mut columns = [S::weights(w); N];
                    for n in 1..N {
                        columns[n] = S::weights(w.wrapping_add(n * 4 * S::LANES));
                    }
                    for r in 0..R {
                        let x = S::inputs(rows[r].wrapping_add(at));
                        for n in 0..N {
                            sums[r][n] = S::dot(sums[r][n], x, columns[n]);
                        }
                    }
                    w = w.wrapping_add(N * 4 * S::LANES);
                    at = at.wrapping_add(4);
                    step = step.wrapping_add(1);
                }
                base = base.wrapping_add(self.pitch);
                run = run.wrapping_add(1);
            }
            // Copied once here, so that the loop above keeps its sums in registers although the
            // one below, which is not unrolled, reads them from memory.
            let mut kept = [[S::zero(); N]; R];
            for r in 0..R {
                for n in 0..N {
                    kept[r][n] = sums[r][n];
                }
            }
            self.finish::<S, R, N>(&kept, place);
        }
    }

    /// Factor, shift, limits and rounding of the sums, and their way to where they belong.
    ///
    /// # Safety
    /// As [`Tile::compute`].
    #[inline(always)]
    unsafe fn finish<S: Dot, const R: usize, const N: usize>(
        &self,
        sums: &[[S::Sum; N]; R],
        place: &Place,
    ) {
        let whole = place.valid == N * S::LANES;
        // SAFETY: rows of partly valid columns are written to memory of the widest tile first.
        unsafe {
            for (r, sums) in sums.iter().enumerate().take(place.valid_rows) {
                match place.to {
                    Target::Bytes(to) => {
                        let row = to.wrapping_add(r * place.row);
                        let mut part = std::mem::MaybeUninit::<[u8; COLUMNS_MAX]>::uninit();
                        let to = if whole { row } else { part.as_mut_ptr().cast() };
                        for (n, &sum) in sums.iter().enumerate() {
                            let at = n * S::LANES;
                            let v = self.floats::<S>(sum, at);
                            S::store_bytes(v, self.low, to.wrapping_add(at));
                        }
                        if !whole {
                            std::ptr::copy_nonoverlapping(to, row, place.valid);
                        }
                    }
                    Target::Floats(to) => {
                        let row = to.wrapping_add(r * place.row);
                        let mut part = std::mem::MaybeUninit::<[f32; COLUMNS_MAX]>::uninit();
                        let to = if whole { row } else { part.as_mut_ptr().cast() };
                        for (n, &sum) in sums.iter().enumerate() {
                            let at = n * S::LANES;
                            let v = self.floats::<S>(sum, at);
                            S::store_floats(S::at_least(v, self.low), to.wrapping_add(at));
                        }
                        if !whole {
                            std::ptr::copy_nonoverlapping(to, row, place.valid);
                        }
                    }
                }
            }
        }
    }

    /// # Safety
    /// `at` lies within the columns.
    #[inline(always)]
    unsafe fn floats<S: Dot>(&self, sum: S::Sum, at: usize) -> S::Floats {
        // SAFETY: factor and shift are as long as the caller of `run` vouches for.
        unsafe { S::floats(sum, self.factor.wrapping_add(at), self.shift.wrapping_add(at)) }
    }
}

struct Place<'a> {
    to: &'a Target,
    row: usize,
    valid_rows: usize,
    valid: usize,
}

//! Matrix products: a checked door to the `gemm` crate, and a parallel version whose result
//! does not depend on the number of threads.

use rayon::prelude::*;

/// A matrix inside a slice: element (i, j) is at `i · rows + j · columns`.
#[derive(Clone, Copy)]
pub(crate) struct Mat<'a> {
    data: &'a [f32],
    row_step: usize,
    column_step: usize,
}

impl<'a> Mat<'a> {
    /// Row-major with `step` values from row to row.
    pub fn rows(data: &'a [f32], step: usize) -> Self {
        Self { data, row_step: step, column_step: 1 }
    }

    /// The transpose of a row-major matrix with `step` values from row to row.
    pub fn transposed(data: &'a [f32], step: usize) -> Self {
        Self { data, row_step: 1, column_step: step }
    }

    /// The matrix without its first `count` rows.
    fn skip_rows(self, count: usize) -> Self {
        Self { data: &self.data[count * self.row_step..], ..self }
    }

    /// The matrix without its first `count` columns.
    fn skip_columns(self, count: usize) -> Self {
        Self { data: &self.data[count * self.column_step..], ..self }
    }

    fn holds(&self, rows: usize, columns: usize) -> bool {
        rows == 0
            || columns == 0
            || (rows - 1) * self.row_step + (columns - 1) * self.column_step < self.data.len()
    }
}

/// What happens to the values already in the destination of a product.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Into {
    /// They are overwritten.
    Replace,
    /// The product is added to them.
    Add,
}

/// `dst [m, n]` (row-major, `step` from row to row) becomes or grows by `a [m, k] · b [k, n]`. One thread.
#[allow(clippy::too_many_arguments)] // the sizes of a matrix product are what they are
pub(crate) fn gemm(
    m: usize,
    n: usize,
    k: usize,
    dst: &mut [f32],
    step: usize,
    a: Mat,
    b: Mat,
    into: Into,
) {
    if m == 0 || n == 0 {
        return;
    }
    assert!(
        (m - 1) * step + n <= dst.len() && n <= step.max(n),
        "product {m} × {n} leaves its destination"
    );
    assert!(m == 1 || step >= n, "rows of the destination overlap");
    assert!(a.holds(m, k) && b.holds(k, n), "product {m} × {k} × {n} leaves its factors");
    // SAFETY: the assertions above keep every address i·row_step + j·column_step that the product
    // reads or writes inside its slice; `dst` is borrowed mutably, so it overlaps neither factor.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            dst.as_mut_ptr(),
            1,
            step as isize,
            into == Into::Add,
            a.data.as_ptr(),
            a.column_step as isize,
            a.row_step as isize,
            b.data.as_ptr(),
            b.column_step as isize,
            b.row_step as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// As `gemm` with a dense destination, on all threads. The work is cut by the sizes alone,
/// so the result is the same on any number of threads.
pub(crate) fn par_gemm(m: usize, n: usize, k: usize, dst: &mut [f32], a: Mat, b: Mat, into: Into) {
    const TASKS: usize = 8;
    if m * n * k < 1 << 18 {
        return gemm(m, n, k, dst, n, a, b, into);
    }
    if m >= 64 {
        let rows = m.div_ceil(TASKS).next_multiple_of(16);
        dst[..m * n].par_chunks_mut(rows * n).enumerate().for_each(|(i, dst)| {
            gemm(dst.len() / n, n, k, dst, n, a.skip_rows(i * rows), b, into);
        });
        return;
    }
    // Few rows: cut the columns, each task with a block of its own that is copied into place.
    let width = n.div_ceil(TASKS).next_multiple_of(16);
    let blocks: Vec<Vec<f32>> = (0..n.div_ceil(width))
        .into_par_iter()
        .map(|i| {
            let columns = width.min(n - i * width);
            let mut block = vec![0.0; m * columns];
            gemm(m, columns, k, &mut block, columns, a, b.skip_columns(i * width), Into::Replace);
            block
        })
        .collect();
    for (i, block) in blocks.iter().enumerate() {
        let columns = block.len() / m;
        for (row, from) in block.chunks_exact(columns).enumerate() {
            let to = &mut dst[row * n + i * width..][..columns];
            match into {
                Into::Replace => to.copy_from_slice(from),
                Into::Add => to.iter_mut().zip(from).for_each(|(t, f)| *t += f),
            }
        }
    }
}

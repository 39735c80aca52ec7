//! Pooling over rectangles, and reduction of whole axes. Maxima remember where they came from.

use rayon::prelude::*;

use taggram_model::PoolKind;

/// Sizes of a pool over one plane.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    pub kind: PoolKind,
    pub height: usize,
    pub width: usize,
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    /// Padding before the first row and column.
    pub before: [usize; 2],
    /// Output height and width.
    pub size: [usize; 2],
}

impl Pool {
    /// The part of the input under output `(row, column)`: rows and columns.
    fn under(&self, row: usize, column: usize) -> [std::ops::Range<usize>; 2] {
        let span = |at: usize, axis: usize, length: usize| {
            let start = at * self.stride[axis];
            let low = start.saturating_sub(self.before[axis]).min(length);
            low..(start + self.kernel[axis]).saturating_sub(self.before[axis]).min(length)
        };
        [span(row, 0, self.height), span(column, 1, self.width)]
    }

    /// `y [planes, h', w']` from `x [planes, h, w]`; for maxima `from` tells where in the plane each came from.
    pub fn forward(&self, x: &[f32], y: &mut [f32], from: &mut [u32]) {
        let (plane, out) = (self.height * self.width, self.size[0] * self.size[1]);
        match self.kind {
            PoolKind::Max => y
                .par_chunks_mut(out)
                .zip(from.par_chunks_mut(out))
                .zip(x.par_chunks(plane))
                .for_each(|((y, from), x)| {
                    if self.kernel == [2, 2] && self.stride == [2, 2] && self.before == [0, 0] {
                        self.max_2x2(x, y, from);
                    } else {
                        self.max(x, y, from);
                    }
                }),
            PoolKind::Mean => y.par_chunks_mut(out).zip(x.par_chunks(plane)).for_each(|(y, x)| {
                for (at, y) in y.iter_mut().enumerate() {
                    let [rows, columns] = self.under(at / self.size[1], at % self.size[1]);
                    let count = (rows.len() * columns.len()).max(1) as f32;
                    let total: f32 = rows
                        .map(|r| x[r * self.width..][columns.clone()].iter().sum::<f32>())
                        .sum();
                    *y = total / count;
                }
            }),
        }
    }

    fn max(&self, x: &[f32], y: &mut [f32], from: &mut [u32]) {
        for (at, (y, from)) in y.iter_mut().zip(from).enumerate() {
            let [rows, columns] = self.under(at / self.size[1], at % self.size[1]);
            let mut best = (f32::NEG_INFINITY, (rows.start * self.width + columns.start) as u32);
            for row in rows {
                for column in columns.clone() {
                    let value = x[row * self.width + column];
                    // A NaN must win, so that a diverged network is noticed.
                    if value > best.0 || value.is_nan() {
                        best = (value, (row * self.width + column) as u32);
                    }
                }
            }
            (*y, *from) = best;
        }
    }

    /// The common case without inner loops, and without branches: which of four is the largest is chance.
    fn max_2x2(&self, x: &[f32], y: &mut [f32], from: &mut [u32]) {
        let width = self.size[1];
        for (row, (y, from)) in
            y.chunks_exact_mut(width).zip(from.chunks_exact_mut(width)).enumerate()
        {
            let start = 2 * row * self.width;
            let top = x[start..][..2 * width].as_chunks::<2>().0;
            let bottom = x[start + self.width..][..2 * width].as_chunks::<2>().0;
            let below = self.width as u32;
            for (column, (((y, from), &[a, b]), &[c, d])) in
                y.iter_mut().zip(from).zip(top).zip(bottom).enumerate()
            {
                let (upper, lower) = (a.max(b), c.max(d));
                let (right, lower_right) = (u32::from(b > a), u32::from(d > c));
                let low = u32::from(lower > upper);
                // A NaN must win, so that a diverged network is noticed.
                let nan = a.is_nan() | b.is_nan() | c.is_nan() | d.is_nan();
                *y = if nan { f32::NAN } else { upper.max(lower) };
                let offset = low * (below + lower_right) + (1 - low) * right;
                *from = start as u32 + 2 * column as u32 + offset;
            }
        }
    }

    /// `dx` (overwritten) from `dy`.
    pub fn backward(&self, dy: &[f32], from: &[u32], dx: &mut [f32]) {
        let (plane, out) = (self.height * self.width, self.size[0] * self.size[1]);
        match self.kind {
            PoolKind::Max => {
                dx.par_chunks_mut(plane).zip(dy.par_chunks(out)).zip(from.par_chunks(out)).for_each(
                    |((dx, dy), from)| {
                        dx.fill(0.0);
                        dy.iter().zip(from).for_each(|(d, &f)| dx[f as usize] += d);
                    },
                )
            }
            PoolKind::Mean => {
                dx.par_chunks_mut(plane).zip(dy.par_chunks(out)).for_each(|(dx, dy)| {
                    dx.fill(0.0);
                    for (at, d) in dy.iter().enumerate() {
                        let [rows, columns] = self.under(at / self.size[1], at % self.size[1]);
                        let share = d / (rows.len() * columns.len()).max(1) as f32;
                        for row in rows {
                            dx[row * self.width..][columns.clone()]
                                .iter_mut()
                                .for_each(|x| *x += share);
                        }
                    }
                })
            }
        }
    }
}

/// Maximum or mean over whole axes of a sample.
#[derive(Clone, Debug)]
pub(crate) struct Reduce {
    pub kind: PoolKind,
    /// For every value of a sample the output it goes into.
    pub target: Vec<u32>,
    /// Values a sample in the output.
    pub out: usize,
}

impl Reduce {
    pub fn new(kind: PoolKind, shape: &[usize], axes: &[usize]) -> Self {
        let kept: usize =
            (0..shape.len()).filter(|a| !axes.contains(a)).map(|a| shape[a]).product();
        // Distance in the output between neighbours along each axis; 0 along those that disappear.
        let mut steps = vec![0; shape.len()];
        let mut step = 1;
        for axis in (0..shape.len()).rev().filter(|a| !axes.contains(a)) {
            steps[axis] = step;
            step *= shape[axis];
        }
        let target = super::reshape::addresses(shape, &steps);
        Self { kind, target, out: kept }
    }

    pub fn forward(&self, x: &[f32], y: &mut [f32], from: &mut [u32]) {
        let length = self.target.len();
        let each = (length / self.out) as f32;
        match self.kind {
            PoolKind::Max => y
                .par_chunks_mut(self.out)
                .zip(from.par_chunks_mut(self.out))
                .zip(x.par_chunks(length))
                .for_each(|((y, from), x)| {
                    y.fill(f32::NEG_INFINITY);
                    from.fill(0);
                    for (i, (&value, &t)) in x.iter().zip(&self.target).enumerate() {
                        if value > y[t as usize] || value.is_nan() {
                            y[t as usize] = value;
                            from[t as usize] = i as u32;
                        }
                    }
                }),
            PoolKind::Mean => {
                y.par_chunks_mut(self.out).zip(x.par_chunks(length)).for_each(|(y, x)| {
                    // Sums of up to 10⁵ values: kept in f64 so that their order hardly matters.
                    let mut sums = vec![0.0f64; self.out];
                    x.iter()
                        .zip(&self.target)
                        .for_each(|(&v, &t)| sums[t as usize] += f64::from(v));
                    y.iter_mut().zip(sums).for_each(|(y, s)| *y = s as f32 / each);
                })
            }
        }
    }

    pub fn backward(&self, dy: &[f32], from: &[u32], dx: &mut [f32]) {
        let length = self.target.len();
        let share = self.out as f32 / length as f32;
        match self.kind {
            PoolKind::Max => dx
                .par_chunks_mut(length)
                .zip(dy.par_chunks(self.out))
                .zip(from.par_chunks(self.out))
                .for_each(|((dx, dy), from)| {
                    dx.fill(0.0);
                    dy.iter().zip(from).for_each(|(d, &f)| dx[f as usize] += d);
                }),
            PoolKind::Mean => {
                dx.par_chunks_mut(length).zip(dy.par_chunks(self.out)).for_each(|(dx, dy)| {
                    dx.iter_mut().zip(&self.target).for_each(|(x, &t)| *x = dy[t as usize] * share);
                })
            }
        }
    }
}

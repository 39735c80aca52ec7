//! Convolution as matrix products: the input is unrolled (im2col) in strips that stay in the
//! second-level cache, then multiplied by the filters.
//!
//! Work is cut over the samples of the batch by sizes alone, and the weight gradients of the
//! parts are added in order: the result does not depend on the number of threads.

use std::cell::RefCell;

use rayon::prelude::*;

use super::gemm::{Into, Mat, gemm, par_gemm};

/// Values in a strip of the unrolled input: 1 MB.
const STRIP: usize = 1 << 18;
/// Positions below which several samples share one product: narrow products waste the multiplier.
const NARROW: usize = 256;

/// Weights from which on the layers of few positions are cut by filters, not by samples: every
/// thread would read all weights, and add up a gradient of its own for each.
const HEAVY: usize = 1 << 18;
/// Values of a whole batch's unrolled input up to which that is done: 32 MB.
const WHOLE: usize = 1 << 23;

/// Sizes of a convolution of one sample.
#[derive(Clone, Debug)]
pub(crate) struct Conv {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    pub out: usize,
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    /// Zeros before the first row and before the first column.
    pub before: [usize; 2],
    /// Height and width of the output.
    pub size: [usize; 2],
    pub groups: usize,
}

thread_local! {
    static SCRATCH: RefCell<[Vec<f32>; 3]> = const { RefCell::new([Vec::new(), Vec::new(), Vec::new()]) };
}

/// Hands `work` scratch buffers of these lengths, kept by the thread between calls. Their contents are arbitrary.
fn with_scratch<R>(lengths: [usize; 3], work: impl FnOnce([&mut [f32]; 3]) -> R) -> R {
    SCRATCH.with_borrow_mut(|buffers| {
        for (buffer, &length) in buffers.iter_mut().zip(&lengths) {
            if buffer.len() < length {
                buffer.resize(length, 0.0);
            }
        }
        let [a, b, c] = buffers;
        work([&mut a[..lengths[0]], &mut b[..lengths[1]], &mut c[..lengths[2]]])
    })
}

/// As [`with_scratch`], but the buffers are taken away from the thread meanwhile: `work` may
/// hand tasks to other threads and, waiting for them, do others that need scratch themselves.
fn with_owned<R>(lengths: [usize; 3], work: impl FnOnce([&mut [f32]; 3]) -> R) -> R {
    let mut buffers = SCRATCH.take();
    for (buffer, &length) in buffers.iter_mut().zip(&lengths) {
        if buffer.len() < length {
            buffer.resize(length, 0.0);
        }
    }
    let [a, b, c] = &mut buffers;
    let result = work([&mut a[..lengths[0]], &mut b[..lengths[1]], &mut c[..lengths[2]]]);
    SCRATCH.set(buffers);
    result
}

impl Conv {
    fn positions(&self) -> usize {
        self.size[0] * self.size[1]
    }

    /// Length of an unrolled patch: input channels of a group × kernel.
    fn depth(&self) -> usize {
        self.channels / self.groups * self.kernel[0] * self.kernel[1]
    }

    fn in_len(&self) -> usize {
        self.channels * self.height * self.width
    }

    fn out_len(&self) -> usize {
        self.out * self.positions()
    }

    fn is_depthwise(&self) -> bool {
        self.groups == self.channels && self.out == self.channels && self.groups > 1
    }

    /// A 1×1 kernel that visits every position: the input is its own unrolling.
    fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1]
            && self.stride == [1, 1]
            && self.before == [0, 0]
            && self.size == [self.height, self.width]
    }

    /// Output rows a strip.
    fn strip_rows(&self) -> usize {
        (STRIP / (self.depth() * self.size[1]).max(1)).clamp(1, self.size[0])
    }

    /// Samples that share one product when the output is narrow.
    fn samples_together(&self, batch: usize) -> usize {
        // At least two tasks stay for two threads.
        (NARROW / self.positions().max(1)).clamp(1, batch.div_ceil(2).max(1))
    }

    /// Whether the whole batch is unrolled at once and the work cut by filters.
    fn is_heavy(&self, batch: usize) -> bool {
        self.groups == 1
            && self.out * self.depth() >= HEAVY
            && self.depth() * batch * self.positions() <= WHOLE
    }

    /// Unrolls every sample of a batch into `cols [depth, batch · positions]`.
    fn unroll_batch(&self, x: &[f32], cols: &mut [f32]) {
        let (positions, window) = (self.positions(), self.kernel[0] * self.kernel[1]);
        let n = x.len() / self.in_len() * positions;
        let plane = self.height * self.width;
        let one = Self { channels: 1, ..self.clone() };
        cols.par_chunks_mut(window * n).enumerate().for_each(|(channel, cols)| {
            for (s, x) in x.chunks_exact(self.in_len()).enumerate() {
                let x = &x[channel * plane..][..plane];
                one.im2col(x, 0..self.size[0], cols, n, s * positions);
            }
        });
    }

    /// `[batch, out, position]` as `[out, batch · positions]`.
    fn gather_batch(&self, y: &[f32], wide: &mut [f32]) {
        let positions = self.positions();
        let n = y.len() / self.out;
        wide.par_chunks_mut(n).enumerate().for_each(|(o, wide)| {
            for (to, y) in wide.chunks_exact_mut(positions).zip(y.chunks_exact(self.out_len())) {
                to.copy_from_slice(&y[o * positions..][..positions]);
            }
        });
    }

    fn forward_heavy(&self, x: &[f32], weight: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
        let (depth, positions) = (self.depth(), self.positions());
        let n = y.len() / self.out;
        with_owned([depth * n, self.out * n, 0], |[cols, wide, _]| {
            self.unroll_batch(x, cols);
            let (w, cols) = (Mat::rows(weight, depth), Mat::rows(cols, n));
            par_gemm(self.out, n, depth, wide, w, cols, Into::Replace);
            let wide = &*wide;
            y.par_chunks_mut(self.out_len()).enumerate().for_each(|(s, y)| {
                for (o, y) in y.chunks_exact_mut(positions).enumerate() {
                    let b = bias.map_or(0.0, |bias| bias[o]);
                    let from = &wide[o * n + s * positions..][..positions];
                    y.iter_mut().zip(from).for_each(|(y, v)| *y = v + b);
                }
            });
        });
    }

    fn backward_heavy(
        &self,
        x: &[f32],
        weight: &[f32],
        dy: &[f32],
        dx: Option<&mut [f32]>,
        dw: Option<&mut [f32]>,
    ) {
        let (depth, positions) = (self.depth(), self.positions());
        let n = dy.len() / self.out;
        with_owned([depth * n, self.out * n, 0], |[cols, wide, _]| {
            self.gather_batch(dy, wide);
            if let Some(dw) = dw {
                self.unroll_batch(x, cols);
                let (dy, cols) = (Mat::rows(wide, n), Mat::transposed(cols, n));
                par_gemm(self.out, depth, n, dw, dy, cols, Into::Add);
            }
            if let Some(dx) = dx {
                let w = Mat::transposed(weight, depth);
                par_gemm(depth, n, self.out, cols, w, Mat::rows(wide, n), Into::Replace);
                let cols = &*cols;
                dx.par_chunks_mut(self.in_len()).enumerate().for_each(|(s, dx)| {
                    dx.fill(0.0);
                    self.col2im(cols, n, s * positions, 0..self.size[0], dx);
                });
            }
        });
    }

    /// Output columns (of a row) that kernel column `kw` reads inside the input: `[low, high)`.
    fn inside(&self, kw: usize) -> (usize, usize) {
        let step = self.stride[1];
        let low = self.before[1].saturating_sub(kw).div_ceil(step);
        let high = (self.width + self.before[1]).saturating_sub(kw).div_ceil(step);
        let high = high.min(self.size[1]);
        (low.min(high), high)
    }

    /// The input row that output row `row` reads with kernel row `kh`, if it is not padding.
    fn input_row(&self, row: usize, kh: usize) -> Option<usize> {
        (row * self.stride[0] + kh).checked_sub(self.before[0]).filter(|&r| r < self.height)
    }

    /// Unrolls output rows `rows` of one group's channels `x` into `cols [depth, step]`, from column `at` on.
    fn im2col(
        &self,
        x: &[f32],
        rows: std::ops::Range<usize>,
        cols: &mut [f32],
        step: usize,
        at: usize,
    ) {
        let [kernel_h, kernel_w] = self.kernel;
        let width = self.size[1];
        let plane = self.height * self.width;
        for (index, line) in cols.chunks_mut(step).take(self.depth()).enumerate() {
            let (channel, kh, kw) =
                (index / (kernel_h * kernel_w), index / kernel_w % kernel_h, index % kernel_w);
            let (low, high) = self.inside(kw);
            for (to, row) in line[at..].chunks_exact_mut(width).zip(rows.clone()) {
                let Some(input_row) = self.input_row(row, kh) else {
                    to.fill(0.0);
                    continue;
                };
                let from = &x[channel * plane + input_row * self.width..][..self.width];
                to[..low].fill(0.0);
                to[high..].fill(0.0);
                if low == high {
                    continue;
                }
                let start = low * self.stride[1] + kw - self.before[1];
                let to = &mut to[low..high];
                match self.stride[1] {
                    1 => to.copy_from_slice(&from[start..start + to.len()]),
                    // Pairs, because the compiler makes vectors of them.
                    2 => {
                        let (last, whole) = to.split_last_mut().expect("not empty: seen above");
                        let pairs = from[start..].as_chunks::<2>().0;
                        whole.iter_mut().zip(pairs).for_each(|(t, [f, _])| *t = *f);
                        *last = from[start + 2 * whole.len()];
                    }
                    step => to
                        .iter_mut()
                        .zip(from[start..].iter().step_by(step))
                        .for_each(|(t, f)| *t = *f),
                }
            }
        }
    }

    /// The transpose of [`Conv::im2col`]: adds the unrolled gradient back to where it was read from.
    fn col2im(
        &self,
        cols: &[f32],
        step: usize,
        at: usize,
        rows: std::ops::Range<usize>,
        x: &mut [f32],
    ) {
        let [kernel_h, kernel_w] = self.kernel;
        let width = self.size[1];
        let plane = self.height * self.width;
        for (index, line) in cols.chunks(step).take(self.depth()).enumerate() {
            let (channel, kh, kw) =
                (index / (kernel_h * kernel_w), index / kernel_w % kernel_h, index % kernel_w);
            let (low, high) = self.inside(kw);
            if low == high {
                continue;
            }
            let start = low * self.stride[1] + kw - self.before[1];
            for (from, row) in line[at..].chunks_exact(width).zip(rows.clone()) {
                let Some(input_row) = self.input_row(row, kh) else { continue };
                let to = &mut x[channel * plane + input_row * self.width..][..self.width];
                let from = &from[low..high];
                match self.stride[1] {
                    1 => add(&mut to[start..start + from.len()], from),
                    2 => {
                        let (last, whole) = from.split_last().expect("not empty: seen above");
                        to[start + 2 * whole.len()] += last;
                        let pairs = to[start..].as_chunks_mut::<2>().0;
                        pairs.iter_mut().zip(whole).for_each(|([t, _], f)| *t += f);
                    }
                    step => {
                        to[start..].iter_mut().step_by(step).zip(from).for_each(|(t, f)| *t += f);
                    }
                }
            }
        }
    }

    /// `y [batch, out, h', w']` from `x [batch, in, h, w]`.
    pub fn forward(&self, x: &[f32], weight: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
        if self.is_depthwise() {
            return super::depthwise::forward(self, x, weight, bias, y);
        }
        let (positions, depth, batch) = (self.positions(), self.depth(), x.len() / self.in_len());
        if self.is_heavy(batch) {
            return self.forward_heavy(x, weight, bias, y);
        }
        let out = self.out / self.groups;
        let group_in = self.in_len() / self.groups;
        let together = self.samples_together(batch);
        if positions >= NARROW || together == 1 {
            let rows = self.strip_rows();
            y.par_chunks_mut(self.out_len()).zip(x.par_chunks(self.in_len())).for_each(|(y, x)| {
                with_scratch(
                    [if self.is_pointwise() { 0 } else { depth * rows * self.size[1] }, 0, 0],
                    |[cols, _, _]| {
                        for g in 0..self.groups {
                            let x = &x[g * group_in..][..group_in];
                            let w = Mat::rows(&weight[g * out * depth..], depth);
                            for start in (0..self.size[0]).step_by(rows) {
                                let strip = start..(start + rows).min(self.size[0]);
                                let (from, n) = (start * self.size[1], strip.len() * self.size[1]);
                                let y = &mut y[g * out * positions + from..];
                                if let Some(bias) = bias {
                                    (0..out).for_each(|o| {
                                        y[o * positions..][..n].fill(bias[g * out + o])
                                    });
                                }
                                let into = if bias.is_some() { Into::Add } else { Into::Replace };
                                if self.is_pointwise() {
                                    gemm(
                                        out,
                                        n,
                                        depth,
                                        y,
                                        positions,
                                        w,
                                        Mat::rows(&x[from..], positions),
                                        into,
                                    );
                                } else {
                                    self.im2col(x, strip, cols, n, 0);
                                    gemm(out, n, depth, y, positions, w, Mat::rows(cols, n), into);
                                }
                            }
                        }
                    },
                );
            });
            return;
        }
        y.par_chunks_mut(together * self.out_len())
            .zip(x.par_chunks(together * self.in_len()))
            .for_each(|(y, x)| {
                let n = y.len() / self.out_len() * positions;
                with_scratch([depth * n, out * n, 0], |[cols, wide, _]| {
                    for g in 0..self.groups {
                        for (s, x) in x.chunks_exact(self.in_len()).enumerate() {
                            self.im2col(
                                &x[g * group_in..][..group_in],
                                0..self.size[0],
                                cols,
                                n,
                                s * positions,
                            );
                        }
                        let w = Mat::rows(&weight[g * out * depth..], depth);
                        gemm(out, n, depth, wide, n, w, Mat::rows(cols, n), Into::Replace);
                        for (s, y) in y.chunks_exact_mut(self.out_len()).enumerate() {
                            for (o, y) in y[g * out * positions..]
                                .chunks_exact_mut(positions)
                                .take(out)
                                .enumerate()
                            {
                                let b = bias.map_or(0.0, |bias| bias[g * out + o]);
                                let from = &wide[o * n + s * positions..][..positions];
                                y.iter_mut().zip(from).for_each(|(y, v)| *y = v + b);
                            }
                        }
                    }
                });
            });
    }

    /// Gradients: `dy` with respect to the output gives `dw` and `db` (added to) and, when asked, `dx` (overwritten).
    pub fn backward(
        &self,
        x: &[f32],
        weight: &[f32],
        dy: &[f32],
        dx: Option<&mut [f32]>,
        dw: Option<&mut [f32]>,
        db: Option<&mut [f32]>,
    ) {
        if let Some(db) = db {
            self.bias_gradient(dy, db);
        }
        if self.is_depthwise() {
            return super::depthwise::backward(self, x, weight, dy, dx, dw);
        }
        let batch = x.len() / self.in_len();
        if self.is_heavy(batch) {
            return self.backward_heavy(x, weight, dy, dx, dw);
        }
        // Many parts balance the threads; few keep the adding-up of large weights cheap.
        let parts = ((1 << 21) / weight.len().max(1)).clamp(4, 16).min(batch);
        let per_part = batch.div_ceil(parts);
        let parts = batch.div_ceil(per_part);
        let mut sums = if dw.is_some() { vec![0.0; parts * weight.len()] } else { Vec::new() };
        let mut empty_dx = Vec::new();
        let dx_given = dx.is_some();
        let dx = dx.unwrap_or(&mut empty_dx);
        let mut dx_parts: Vec<&mut [f32]> = dx.chunks_mut(per_part * self.in_len()).collect();
        let mut sum_parts: Vec<&mut [f32]> = sums.chunks_mut(weight.len()).collect();
        dx_parts.resize_with(parts, Default::default);
        sum_parts.resize_with(parts, Default::default);
        let dw_given = dw.is_some();
        x.par_chunks(per_part * self.in_len())
            .zip(dy.par_chunks(per_part * self.out_len()))
            .zip(dx_parts.into_par_iter().zip(sum_parts))
            .for_each(|((x, dy), (dx, sum))| {
                self.backward_part(x, weight, dy, dx_given.then_some(dx), dw_given.then_some(sum));
            });
        if let Some(dw) = dw {
            dw.par_chunks_mut(1 << 14).enumerate().for_each(|(i, dw)| {
                for part in sums.chunks_exact(weight.len()) {
                    add(dw, &part[i << 14..][..dw.len()]);
                }
            });
        }
    }

    fn bias_gradient(&self, dy: &[f32], db: &mut [f32]) {
        let positions = self.positions();
        db.par_iter_mut().enumerate().for_each(|(o, db)| {
            let planes = dy
                .chunks_exact(self.out_len())
                .map(|dy| f64::from(sum(&dy[o * positions..][..positions])));
            *db += planes.sum::<f64>() as f32;
        });
    }

    fn backward_part(
        &self,
        x: &[f32],
        weight: &[f32],
        dy: &[f32],
        mut dx: Option<&mut [f32]>,
        mut dw: Option<&mut [f32]>,
    ) {
        let (positions, depth, batch) = (self.positions(), self.depth(), x.len() / self.in_len());
        let out = self.out / self.groups;
        let group_in = self.in_len() / self.groups;
        if let Some(dx) = dx.as_deref_mut() {
            dx.fill(0.0);
        }
        let together = if positions >= NARROW { 1 } else { (NARROW / positions).clamp(1, batch) };
        let rows = if together > 1 { self.size[0] } else { self.strip_rows() };
        let most = together * rows * self.size[1];
        let gathered = if together > 1 { out * most } else { 0 };
        with_scratch([depth * most, depth * most, gathered], |[cols, back, wide]| {
            for first in (0..batch).step_by(together) {
                let samples = first..(first + together).min(batch);
                for g in 0..self.groups {
                    let w = Mat::transposed(&weight[g * out * depth..][..out * depth], depth);
                    for start in (0..self.size[0]).step_by(rows) {
                        let strip = start..(start + rows).min(self.size[0]);
                        let each = strip.len() * self.size[1];
                        let n = samples.len() * each;
                        let at = |s: usize| {
                            s * self.out_len() + g * out * positions + start * self.size[1]
                        };
                        let dy = if together > 1 {
                            for (i, s) in samples.clone().enumerate() {
                                for o in 0..out {
                                    wide[o * n + i * each..][..each]
                                        .copy_from_slice(&dy[at(s) + o * positions..][..each]);
                                }
                            }
                            (&wide[..], n)
                        } else {
                            (&dy[at(first)..], positions)
                        };
                        let input = |s: usize| s * self.in_len() + g * group_in;
                        if let Some(dw) = dw.as_deref_mut() {
                            for (i, s) in samples.clone().enumerate() {
                                self.im2col(
                                    &x[input(s)..][..group_in],
                                    strip.clone(),
                                    cols,
                                    n,
                                    i * each,
                                );
                            }
                            let dw = &mut dw[g * out * depth..][..out * depth];
                            gemm(
                                out,
                                depth,
                                n,
                                dw,
                                depth,
                                Mat::rows(dy.0, dy.1),
                                Mat::transposed(cols, n),
                                Into::Add,
                            );
                        }
                        if let Some(dx) = dx.as_deref_mut() {
                            gemm(depth, n, out, back, n, w, Mat::rows(dy.0, dy.1), Into::Replace);
                            for (i, s) in samples.clone().enumerate() {
                                self.col2im(
                                    back,
                                    n,
                                    i * each,
                                    strip.clone(),
                                    &mut dx[input(s)..][..group_in],
                                );
                            }
                        }
                    }
                }
            }
        });
    }
}

/// `to += from`.
pub(crate) fn add(to: &mut [f32], from: &[f32]) {
    to.iter_mut().zip(from).for_each(|(t, f)| *t += f);
}

/// `to += from` on all threads.
pub(crate) fn par_add(to: &mut [f32], from: &[f32]) {
    to.par_chunks_mut(1 << 14).zip(from.par_chunks(1 << 14)).for_each(|(t, f)| add(t, f));
}

/// Sum in sixteen interleaved lanes: fast, and more exact than one after the other.
pub(crate) fn sum(values: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 16];
    let chunks = values.chunks_exact(16);
    let rest: f32 = chunks.remainder().iter().sum();
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(l, v)| *l += v);
    }
    lanes.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn cut_by_filters_or_by_samples_is_the_same() {
        let conv = |channels, out, kernel, stride: usize, before: usize, side: usize| Conv {
            channels,
            height: side,
            width: side + 1,
            out,
            kernel: [kernel; 2],
            stride: [stride; 2],
            before: [before; 2],
            size: [side, side + 1].map(|n| (n + 2 * before - kernel) / stride + 1),
            groups: 1,
        };
        for conv in [conv(3, 5, 3, 1, 1, 6), conv(4, 70, 3, 2, 1, 7), conv(6, 4, 1, 2, 0, 5)] {
            let mut rng = Rng::at(&[9]);
            let mut noise = |n: usize| (0..n).map(|_| rng.normal()).collect::<Vec<f32>>();
            let batch = 5;
            let (x, dy) = (noise(batch * conv.in_len()), noise(batch * conv.out_len()));
            let (w, bias) = (noise(conv.out * conv.depth()), noise(conv.out));
            assert!(!conv.is_heavy(batch));
            let run = |heavy: bool| {
                let (mut y, mut dx, mut dw) =
                    (vec![0.0; dy.len()], vec![7.0; x.len()], vec![1.0; w.len()]);
                if heavy {
                    conv.forward_heavy(&x, &w, Some(&bias), &mut y);
                    conv.backward_heavy(&x, &w, &dy, Some(&mut dx), Some(&mut dw));
                } else {
                    conv.forward(&x, &w, Some(&bias), &mut y);
                    conv.backward(&x, &w, &dy, Some(&mut dx), Some(&mut dw), None);
                }
                [y, dx, dw].concat()
            };
            for (i, (a, b)) in run(true).into_iter().zip(run(false)).enumerate() {
                assert!((a - b).abs() < 1e-4 * (1.0 + a.abs()), "{i}: {a} {b}");
            }
        }
    }
}

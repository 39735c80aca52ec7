//! What a step of the plan computes. Matrix layers are in [`crate::kernels`]; the rest is
//! here, over flat slices of `batch` examples.

use super::integer::Integer;
use crate::kernels::elementwise::{self, activate, softmax};
use crate::kernels::recurrent::Recurrent;
use crate::kernels::{Conv, Epilogue, PackedRight, Workspace, multiversion};
use crate::network::{Activation, PoolKind};

/// An operation with its sizes and packed weights.
#[derive(Debug)]
pub(super) enum Step {
    Conv(Conv),
    /// Over the last axis, any number of rows.
    Dense(PackedRight, Epilogue),
    /// With the number of time steps.
    Recurrent(Recurrent, usize),
    Activation(Activation),
    Softmax {
        len: usize,
    },
    /// Each channel is `inner` values long.
    ScaleShift {
        scale: Vec<f32>,
        shift: Vec<f32>,
        inner: usize,
    },
    Pool {
        kind: PoolKind,
        size: [usize; 2],
        out: [usize; 2],
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: [[usize; 2]; 2],
    },
    /// Neighbouring axes as one, the last ones first.
    Reduce {
        kind: PoolKind,
        passes: Vec<ReducePass>,
    },
    Add {
        relu: bool,
    },
    /// Length of each further operand; a shorter one holds a factor per channel.
    Mul {
        lens: Vec<usize>,
        len: usize,
    },
    /// Pieces of these lengths in turn, one from each operand.
    Join {
        lens: Vec<usize>,
    },
    /// Output axes as (length, distance in the input), and the length of an example.
    Permute {
        axes: Vec<(usize, usize)>,
        len: usize,
    },
    /// `len` values from `start` on of every `row`.
    Slice {
        row: usize,
        start: usize,
        len: usize,
    },
    Repeat {
        len: usize,
        count: usize,
    },
    /// On bytes; run by [`super::integer::run`].
    Integer(Integer),
}

/// `[outer, n, inner]` → `[outer, inner]`; `outer` counts the batch in.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReducePass {
    n: usize,
    inner: usize,
}

impl Step {
    pub fn reduce(kind: PoolKind, shape: &[usize], axes: &[usize]) -> Self {
        let mut passes: Vec<ReducePass> = Vec::new();
        let mut inner = 1;
        let mut joined = false; // Whether the axis after this one disappears too.
        for (axis, &n) in shape.iter().enumerate().rev() {
            let gone = axes.contains(&axis);
            match passes.last_mut() {
                Some(pass) if gone && joined => pass.n *= n,
                _ if gone => passes.push(ReducePass { n, inner }),
                _ => inner *= n,
            }
            joined = gone;
        }
        Self::Reduce { kind, passes }
    }

    pub fn permute(shape: &[usize], order: &[usize]) -> Self {
        let distance = |axis: usize| shape[axis + 1..].iter().product::<usize>();
        let axes = order.iter().map(|&axis| (shape[axis], distance(axis))).collect();
        Self::Permute { axes, len: shape.iter().product() }
    }

    /// Whether the result may take the place of the first operand.
    pub fn may_overwrite(&self) -> bool {
        matches!(
            self,
            Self::Activation(_)
                | Self::Softmax { .. }
                | Self::ScaleShift { .. }
                | Self::Add { .. }
                | Self::Mul { .. }
        )
    }
}

/// Computes one step for `batch` examples. In place, `to` holds the first operand and
/// `from` the others.
pub(super) fn run(
    step: &Step,
    in_place: bool,
    from: &[&[f32]],
    batch: usize,
    to: &mut [f32],
    space: &mut Workspace,
) {
    let others = if step.may_overwrite() && !in_place {
        to.copy_from_slice(from[0]);
        &from[1..]
    } else {
        from
    };
    match step {
        Step::Conv(conv) => conv.run(from[0], batch, to, space),
        Step::Dense(weight, epilogue) => {
            let (depth, units) = (weight.depth(), weight.columns());
            weight.multiply(from[0], depth, from[0].len() / depth, to, units, epilogue);
        }
        Step::Recurrent(layer, time) => layer.run(from[0], batch, *time, to, space),
        Step::Activation(function) => activate(*function, to),
        Step::Softmax { len } => softmax(to, *len),
        Step::ScaleShift { scale, shift, inner: 1 } => {
            for row in to.chunks_exact_mut(scale.len()) {
                elementwise::scale_shift_each(row, scale, shift);
            }
        }
        Step::ScaleShift { scale, shift, inner } => {
            for (i, row) in to.chunks_exact_mut(*inner).enumerate() {
                let channel = i % scale.len();
                elementwise::scale_shift(row, scale[channel], shift[channel]);
            }
        }
        Step::Pool { kind, size, out, kernel, stride, padding } => {
            let window = Window {
                size: *size,
                out: *out,
                kernel: *kernel,
                stride: *stride,
                padding: *padding,
            };
            pool(to, from[0], *kind, &window, space.rows.reserve(window.line()));
        }
        Step::Reduce { kind, passes } => reduce(*kind, passes, from[0], to),
        Step::Add { relu } => {
            for (i, other) in others.iter().enumerate() {
                if *relu && i + 1 == others.len() {
                    elementwise::add_relu(to, other);
                } else {
                    elementwise::add(to, other);
                }
            }
        }
        Step::Mul { lens, len } => {
            for (other, &other_len) in others.iter().zip(lens) {
                if other_len == *len {
                    elementwise::multiply(to, other);
                } else {
                    for (row, &factor) in to.chunks_exact_mut(len / other_len).zip(*other) {
                        elementwise::scale_shift(row, factor, 0.0);
                    }
                }
            }
        }
        Step::Join { lens } => {
            let whole: usize = lens.iter().sum();
            let mut at = 0;
            for (part, &len) in from.iter().zip(lens) {
                for (to, piece) in to.chunks_exact_mut(whole).zip(part.chunks_exact(len)) {
                    to[at..at + len].copy_from_slice(piece);
                }
                at += len;
            }
        }
        Step::Permute { axes, len } => {
            for (to, from) in to.chunks_exact_mut(*len).zip(from[0].chunks_exact(*len)) {
                permute(axes, from, &mut to.iter_mut());
            }
        }
        Step::Slice { row, start, len } => {
            for (to, from) in to.chunks_exact_mut(*len).zip(from[0].chunks_exact(*row)) {
                to.copy_from_slice(&from[*start..start + len]);
            }
        }
        Step::Integer(_) => unreachable!("steps on bytes have their own runner"),
        Step::Repeat { len, count } => {
            for (to, from) in to.chunks_exact_mut(len * count).zip(from[0].chunks_exact(*len)) {
                for to in to.chunks_exact_mut(*len) {
                    to.copy_from_slice(from);
                }
            }
        }
    }
}

fn permute(axes: &[(usize, usize)], from: &[f32], to: &mut std::slice::IterMut<f32>) {
    match axes {
        [] => {}
        [(n, distance)] => {
            for (to, from) in to.take(*n).zip(from.iter().step_by(*distance)) {
                *to = *from;
            }
        }
        [(n, distance), rest @ ..] => {
            (0..*n).for_each(|i| permute(rest, &from[i * distance..], to))
        }
    }
}

fn reduce(kind: PoolKind, passes: &[ReducePass], from: &[f32], to: &mut [f32]) {
    let mut held: Vec<f32>;
    let mut from = from;
    for (i, pass) in passes.iter().enumerate() {
        let len = from.len() / pass.n;
        if i + 1 == passes.len() {
            reduce_pass(to, from, kind, *pass);
            return;
        }
        let mut next = vec![0.0; len];
        reduce_pass(&mut next, from, kind, *pass);
        held = next;
        from = &held;
    }
}

fn reduce_pass(to: &mut [f32], from: &[f32], kind: PoolKind, pass: ReducePass) {
    let factor = 1.0 / pass.n as f32;
    if pass.inner == 1 {
        reduce_rows(to, from, pass.n, kind);
        return;
    }
    for (to, from) in to.chunks_exact_mut(pass.inner).zip(from.chunks_exact(pass.n * pass.inner)) {
        let (first, rest) = from.split_at(pass.inner);
        to.copy_from_slice(first);
        for row in rest.chunks_exact(pass.inner) {
            match kind {
                PoolKind::Max => elementwise::maximum(to, row),
                PoolKind::Mean => elementwise::add(to, row),
            }
        }
        if kind == PoolKind::Mean {
            elementwise::scale_shift(to, factor, 0.0);
        }
    }
}

multiversion! {
    /// Each run of `n` values to one. Sixteen at a time, which also keeps sums accurate.
    fn reduce_rows(to: &mut [f32], from: &[f32], n: usize, kind: PoolKind) {
        for (to, row) in to.iter_mut().zip(from.chunks_exact(n)) {
            let (wide, rest) = row.as_chunks::<16>();
            *to = match kind {
                PoolKind::Max => {
                    let mut lanes = [f32::NEG_INFINITY; 16];
                    for chunk in wide {
                        for (l, &v) in lanes.iter_mut().zip(chunk) {
                            *l = if v > *l { v } else { *l };
                        }
                    }
                    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |m, &v| if v > m { v } else { m })
                }
                PoolKind::Mean => {
                    let mut lanes = [0.0f32; 16];
                    for chunk in wide {
                        for (l, v) in lanes.iter_mut().zip(chunk) {
                            *l += v;
                        }
                    }
                    lanes.iter().chain(rest).sum::<f32>() / n as f32
                }
            };
        }
    }
}

struct Window {
    size: [usize; 2],
    out: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [[usize; 2]; 2],
}

impl Window {
    /// Length of a padded row.
    fn line(&self) -> usize {
        self.size[1] + self.padding[1][0] + self.padding[1][1]
    }

    /// First and last + 1 row or column of a window that is not padding.
    fn inside(&self, axis: usize, at: usize) -> (usize, usize) {
        let (start, before) = (at * self.stride[axis], self.padding[axis][0]);
        let end = (start + self.kernel[axis]).saturating_sub(before).min(self.size[axis]);
        (start.saturating_sub(before).min(end), end)
    }
}

multiversion! {
    /// Rows are combined into `line` first, then columns within it.
    fn pool(to: &mut [f32], from: &[f32], kind: PoolKind, w: &Window, line: &mut [f32]) {
        let [[_, _], [left, _]] = w.padding;
        let width = w.size[1];
        let nothing = match kind {
            PoolKind::Max => f32::NEG_INFINITY,
            PoolKind::Mean => 0.0,
        };
        line.fill(nothing);
        let planes = to.chunks_exact_mut(w.out[0] * w.out[1]).zip(from.chunks_exact(w.size[0] * width));
        for (to, from) in planes {
            for (y, to) in to.chunks_exact_mut(w.out[1]).enumerate() {
                let (top, bottom) = w.inside(0, y);
                let inside = &mut line[left..left + width];
                inside.fill(nothing);
                for row in from[top * width..bottom * width].chunks_exact(width) {
                    match kind {
                        PoolKind::Max => {
                            for (l, &v) in inside.iter_mut().zip(row) {
                                *l = if v > *l { v } else { *l };
                            }
                        }
                        PoolKind::Mean => {
                            for (l, &v) in inside.iter_mut().zip(row) {
                                *l += v;
                            }
                        }
                    }
                }
                if kind == PoolKind::Max && w.kernel[1] == 2 && w.stride[1] == 2 {
                    for (to, pair) in to.iter_mut().zip(line.as_chunks::<2>().0) {
                        *to = if pair[1] > pair[0] { pair[1] } else { pair[0] };
                    }
                    continue;
                }
                for (x, to) in to.iter_mut().enumerate() {
                    let start = x * w.stride[1];
                    let columns = line[start..start + w.kernel[1]].iter();
                    *to = match kind {
                        PoolKind::Max => columns.fold(nothing, |m, &v| if v > m { v } else { m }),
                        PoolKind::Mean => {
                            let (first, last) = w.inside(1, x);
                            let count = (bottom - top) * (last - first);
                            columns.sum::<f32>() / count.max(1) as f32
                        }
                    };
                }
            }
        }
    }
}

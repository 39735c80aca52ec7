//! From the front-end to the pooled features of a patch: three layers of 7 frames over all
//! features, then maximum and mean over time.
//!
//! The first of them is by far the largest, and most of what it reads are timbral features,
//! which patches share but for 3 frames at each end. So that part of the sum is computed once for
//! the song, and anew only where it reads across an end.

use super::{
    affine::{Affine, values},
    columns::Columns,
    product::{Parts, Product},
    section::Section,
};
use crate::{
    NetworkError, Weights,
    architectures::musicnn::SHORT,
    kernels::{
        Isa,
        int8::{IntIsa, Params},
    },
};

/// Frames on each side of the current one under a filter.
const REACH: usize = SHORT / 2;
/// Frames at each end of a patch whose first middle layer depends on timbral features that
/// differ from the song's.
const ENDS: usize = 2 * REACH;

/// The middle layers.
#[derive(Debug)]
pub(super) struct Middle {
    filters: usize,
    /// Where the layers before leave their features: timbral and temporal ones.
    front: [Columns; 2],
    timbral: Product,
    temporal: Product,
    bias: Vec<f32>,
    norm: Affine,
    deeper: [Product; 2],
}

/// What patches share.
pub(super) struct Shared<'a> {
    pub section: &'a Section,
    /// `[time, timbral column]`, as within the song.
    pub timbral: &'a [f32],
    /// The first middle layer's sum over timbral features, `[time − 3, filter]`.
    pub sums: &'a [f32],
    /// `[patch, 2, 4, timbral column]`: the first and the last four frames, as within the patch.
    pub ends: &'a [f32],
    /// `[time, slot, temporal column]`.
    pub temporal: &'a [f32],
}

/// Room for one patch's layers.
#[derive(Default)]
pub(super) struct Scratch {
    temporal: Vec<f32>,
    sums: Vec<f32>,
    timbral: Vec<f32>,
    layers: [Vec<f32>; 2],
    fresh: Vec<f32>,
    bytes: Vec<u8>,
}

impl Middle {
    /// In floats, or with the ranges of its four inputs (timbral and temporal features, and what
    /// the first two layers make) in integers.
    pub fn new(
        weights: &Weights,
        filters: usize,
        front: [Columns; 2],
        isa: Isa,
        integers: Option<([Params; 4], IntIsa)>,
    ) -> Result<Self, NetworkError> {
        let range = |i: usize| integers.map(|(params, isa)| (params[i], isa));
        let kernel = values(weights, "mid1", "weight")?;
        // The kernel's columns, split and moved to where the layers before leave theirs.
        let width: usize = front.iter().map(Columns::filters).sum();
        let part = |columns: &Columns, from: usize| {
            let mut part = vec![0.0; filters * SHORT * columns.total()];
            for row in 0..filters * SHORT {
                for (i, column) in columns.of_filters().enumerate() {
                    part[row * columns.total() + column] = kernel[row * width + from + i];
                }
            }
            part
        };
        let timbral = part(&front[0], 0);
        let temporal = part(&front[1], front[0].filters());
        let of_sum =
            |kernel, i| Product::new(Parts { kernel, filters, layer: None, isa, range: range(i) });
        let deeper = |name: &str, i: usize| {
            let norm = Affine::batch_norm(weights, &format!("{name}_bn"))?;
            let layer = Some((values(weights, name, "bias")?, norm));
            let kernel = values(weights, name, "weight")?;
            Product::new(Parts { kernel, filters, layer, isa, range: range(i) })
        };
        Ok(Self {
            filters,
            front,
            timbral: of_sum(&timbral, 0)?,
            temporal: of_sum(&temporal, 1)?,
            bias: values(weights, "mid1", "bias")?.to_vec(),
            norm: Affine::batch_norm(weights, "mid1_bn")?,
            deeper: [deeper("mid2", 2)?, deeper("mid3", 3)?],
        })
    }

    /// Values of the pooled features: 753 as published.
    pub fn features(&self) -> usize {
        self.front.iter().map(Columns::filters).sum::<usize>() + 3 * self.filters
    }

    /// The sums over timbral features for `rows` frames, the first of which is 3 after the
    /// first of `frames`.
    pub fn sums(&self, frames: &[f32], rows: usize, sums: &mut [f32], bytes: &mut Vec<u8>) {
        self.timbral.multiply(frames, self.front[0].total(), rows, sums, bytes);
    }

    /// Maximum and mean over time of all features of a patch, each `[feature]`.
    pub fn patch(
        &self,
        shared: &Shared<'_>,
        patch: usize,
        space: &mut Scratch,
        [max, mean]: [&mut [f32]; 2],
    ) {
        let n = self.filters;
        let (section, len) = (shared.section, shared.section.patch);
        let start = section.starts[patch];
        let of_timbral = self.front[0].total();
        let ends = &shared.ends[patch * 8 * of_timbral..][..8 * of_timbral];
        // A patch of fewer than four frames has only a beginning.
        let timbral_at = |t: usize| {
            let c = of_timbral;
            if t < 4 {
                &ends[t * c..][..c]
            } else if t + 4 >= len {
                &ends[(t + 8 - len) * c..][..c]
            } else {
                &shared.timbral[(start + t) * c..][..c]
            }
        };

        // Temporal features of this patch, with the zeros before and after.
        let padded = |columns: usize| (len + 2 * REACH) * columns;
        let columns = self.front[1].total();
        space.temporal.clear();
        space.temporal.resize(padded(columns), 0.0);
        let inner = space.temporal[REACH * columns..].chunks_exact_mut(columns).take(len);
        for (t, row) in (start..).zip(inner) {
            let slot = patch - section.patches_at(t).start;
            row.copy_from_slice(
                &shared.temporal[(t * section.slots + slot) * columns..][..columns],
            );
        }

        // First layer.
        space.sums.resize(len * n, 0.0);
        self.temporal.multiply(&space.temporal, columns, len, &mut space.sums, &mut space.bytes);
        let mut end = |from: usize, to: usize| {
            if from >= to {
                return;
            }
            let c = of_timbral;
            space.timbral.clear();
            space.timbral.resize((to - from + 2 * REACH) * c, 0.0);
            for (t, row) in (from..).zip(space.timbral.chunks_exact_mut(c)) {
                if (REACH..len + REACH).contains(&t) {
                    row.copy_from_slice(timbral_at(t - REACH));
                }
            }
            space.fresh.resize((to - from) * n, 0.0);
            self.sums(&space.timbral, to - from, &mut space.fresh, &mut space.bytes);
            add(&mut space.sums[from * n..to * n], &space.fresh);
        };
        let head = ENDS.min(len);
        let tail = len.saturating_sub(ENDS).max(head);
        end(0, head);
        end(tail, len);
        if head < tail {
            let sums = &shared.sums[(start + head - REACH) * n..][..(tail - head) * n];
            add(&mut space.sums[head * n..tail * n], sums);
        }
        for layer in &mut space.layers {
            layer.clear();
            layer.resize(padded(n), 0.0);
        }
        let [current, next] = &mut space.layers;
        let rows = current[REACH * n..].chunks_exact_mut(n);
        for (row, sums) in rows.zip(space.sums.chunks_exact(n)) {
            for (i, (x, sum)) in row.iter_mut().zip(sums).enumerate() {
                let x_ = sum + self.bias[i];
                *x = (if x_ < 0.0 { 0.0 } else { x_ }) * self.norm.scale[i] + self.norm.shift[i];
            }
        }

        // Pooling, and the layers between.
        let (max_front, max_mid) = max.split_at_mut(self.features() - 3 * n);
        let (mean_front, mean_mid) = mean.split_at_mut(self.features() - 3 * n);
        max_front.fill(f32::NEG_INFINITY);
        mean_front.fill(0.0);
        let inner = space.temporal[REACH * columns..].chunks_exact(columns).take(len);
        for (t, temporal) in inner.enumerate() {
            let mut at = 0;
            for (columns, row) in self.front.iter().zip([timbral_at(t), temporal]) {
                for &(first, count) in columns.layers() {
                    let part = &row[first..first + count];
                    pool(&mut max_front[at..][..count], &mut mean_front[at..][..count], part);
                    at += count;
                }
            }
        }
        max_mid.fill(f32::NEG_INFINITY);
        mean_mid.fill(0.0);
        for layer in 0..3 {
            let (max, mean) = (&mut max_mid[layer * n..][..n], &mut mean_mid[layer * n..][..n]);
            for row in current[REACH * n..].chunks_exact(n).take(len) {
                pool(max, mean, row);
            }
            if let Some(kernel) = self.deeper.get(layer) {
                let inner = REACH * n..(REACH + len) * n;
                kernel.multiply(current, n, len, &mut next[inner.clone()], &mut space.bytes);
                add(&mut next[inner.clone()], &current[inner]);
                std::mem::swap(current, next);
            }
        }
        let share = 1.0 / len as f32;
        mean.iter_mut().for_each(|x| *x *= share);
    }
}

fn add(to: &mut [f32], from: &[f32]) {
    for (a, b) in to.iter_mut().zip(from) {
        *a += b;
    }
}

fn pool(max: &mut [f32], sum: &mut [f32], values: &[f32]) {
    for ((max, sum), x) in max.iter_mut().zip(sum).zip(values) {
        *max = if *x > *max { *x } else { *max };
        *sum += x;
    }
}

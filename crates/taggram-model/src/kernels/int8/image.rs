//! What stands between integer layers: images of bytes, `[height, width, channel]`, made from
//! and turned into floats `[channel, height, width]`, pooled and added.

use super::{Params, nearest};
use crate::kernels::multiversion;
use crate::network::PoolKind;

/// `[batch, channel, position]` floats → `[batch, position, channel]` bytes.
pub fn quantise(from: &[f32], channels: usize, positions: usize, params: Params, to: &mut [u8]) {
    let image = channels * positions;
    for (from, to) in from.chunks_exact(image).zip(to.chunks_exact_mut(image)) {
        if channels == 1 || positions == 1 {
            quantise_run(from, params, to);
        } else {
            quantise_channels(from, channels, positions, params, to);
        }
    }
}

multiversion! {
    /// A run of each channel at a time becomes bytes, which are then dealt out.
    fn quantise_channels(from: &[f32], channels: usize, positions: usize, params: Params, to: &mut [u8]) {
        let mut run = [0u8; 64];
        for (channel, from) in from.chunks_exact(positions).enumerate() {
            for (i, from) in from.chunks(64).enumerate() {
                for (to, x) in run.iter_mut().zip(from) {
                    *to = params.byte(*x);
                }
                let to = &mut to[i * 64 * channels + channel..];
                for (to, byte) in to.iter_mut().step_by(channels).zip(&run[..from.len()]) {
                    *to = *byte;
                }
            }
        }
    }
}

multiversion! {
    fn quantise_run(from: &[f32], params: Params, to: &mut [u8]) {
        for (to, x) in to.iter_mut().zip(from) {
            *to = params.byte(*x);
        }
    }
}

/// `[batch, position, channel]` bytes → `[batch, channel, position]` floats.
pub fn dequantise(from: &[u8], channels: usize, positions: usize, params: Params, to: &mut [f32]) {
    let image = channels * positions;
    for (from, to) in from.chunks_exact(image).zip(to.chunks_exact_mut(image)) {
        for (channel, to) in to.chunks_exact_mut(positions).enumerate() {
            for (to, byte) in to.iter_mut().zip(from[channel..].iter().step_by(channels)) {
                *to = params.number(*byte);
            }
        }
    }
}

/// `[batch, position, channel]` floats → `[batch, channel, position]`.
pub(crate) fn transpose(from: &[f32], channels: usize, positions: usize, to: &mut [f32]) {
    let image = channels * positions;
    for (from, to) in from.chunks_exact(image).zip(to.chunks_exact_mut(image)) {
        for (channel, to) in to.chunks_exact_mut(positions).enumerate() {
            for (to, x) in to.iter_mut().zip(from[channel..].iter().step_by(channels)) {
                *to = *x;
            }
        }
    }
}

/// A sum of two images with other scales: `byte = a · x + b · y + shift`, at least `low`.
#[derive(Clone, Copy, Debug)]
pub struct IntAdd {
    a: f32,
    b: f32,
    shift: f32,
    low: f32,
}

impl IntAdd {
    /// `max(x + y, 0)` with `relu`, from bytes of `x` and `y` to bytes of `out`.
    pub fn new([x, y, out]: [Params; 3], relu: bool) -> Self {
        let (a, b) = (x.scale / out.scale, y.scale / out.scale);
        let zeros = a * f32::from(x.zero) + b * f32::from(y.zero);
        Self {
            a,
            b,
            shift: f32::from(out.zero) - zeros,
            low: if relu { f32::from(out.zero) } else { 0.0 },
        }
    }

    /// Adds, byte by byte.
    pub fn run(&self, x: &[u8], y: &[u8], to: &mut [u8]) {
        add(self, x, y, to);
    }
}

multiversion! {
    fn add(how: &IntAdd, x: &[u8], y: &[u8], to: &mut [u8]) {
        for ((to, x), y) in to.iter_mut().zip(x).zip(y) {
            let v = f32::from(*x) * how.a + f32::from(*y) * how.b + how.shift;
            let v = if v > how.low { v } else { how.low };
            *to = nearest(if v < 255.0 { v } else { 255.0 }) as u8;
        }
    }
}

multiversion! {
    /// Bytes below `low` become it: ReLU, when `low` stands for 0.
    pub fn at_least(low: u8, values: &mut [u8]) {
        for v in values {
            *v = if *v < low { low } else { *v };
        }
    }
}

/// Sizes of a pooling over rectangles.
#[derive(Clone, Copy, Debug)]
pub struct IntPool {
    /// Maximum, or mean rounded to a byte.
    pub kind: PoolKind,
    /// Channels.
    pub channels: usize,
    /// Input height and width.
    pub size: [usize; 2],
    /// Output height and width.
    pub out: [usize; 2],
    /// Height and width of a rectangle.
    pub kernel: [usize; 2],
    /// Distance between rectangles.
    pub stride: [usize; 2],
    /// Rows and columns that are absent, before and after.
    pub padding: [[usize; 2]; 2],
}

impl IntPool {
    /// `[batch, h, w, channel]` → `[batch, h', w', channel]`, with the same scale. A rectangle
    /// wholly in the padding gives the smallest byte.
    pub fn run(&self, from: &[u8], to: &mut [u8]) {
        let c = self.channels;
        let [w, out_w] = [self.size[1], self.out[1]];
        let images = to.chunks_exact_mut(self.out[0] * out_w * c);
        let mut sums = vec![0u32; c];
        for (to, from) in images.zip(from.chunks_exact(self.size[0] * w * c)) {
            if self.kind == PoolKind::Max {
                pool_maximum(self, from, to);
                continue;
            }
            for (p, to) in to.chunks_exact_mut(c).enumerate() {
                let [y, x] = [self.inside(0, p / out_w), self.inside(1, p % out_w)];

                sums.fill(0);
                let count = (y.len() * x.len()).max(1) as u32;
                for row in y.clone() {
                    for from in from[(row * w + x.start) * c..(row * w + x.end) * c].chunks_exact(c)
                    {
                        sums.iter_mut().zip(from).for_each(|(s, v)| *s += u32::from(*v));
                    }
                }
                for (to, sum) in to.iter_mut().zip(&sums) {
                    *to = ((sum + count / 2) / count) as u8;
                }
            }
        }
    }

    /// Rows or columns of the window at `at` that are not padding.
    fn inside(&self, axis: usize, at: usize) -> std::ops::Range<usize> {
        let (start, before) = (at * self.stride[axis], self.padding[axis][0]);
        let end = (start + self.kernel[axis]).saturating_sub(before).min(self.size[axis]);
        start.saturating_sub(before).min(end)..end
    }
}

multiversion! {
    fn pool_maximum(pool: &IntPool, from: &[u8], to: &mut [u8]) {
        let (c, w) = (pool.channels, pool.size[1]);
        for (p, to) in to.chunks_exact_mut(c).enumerate() {
            let [y, x] = [pool.inside(0, p / pool.out[1]), pool.inside(1, p % pool.out[1])];
            to.fill(0);
            for row in y {
                let row = &from[(row * w + x.start) * c..(row * w + x.end) * c];
                for from in row.chunks_exact(c) {
                    for (to, from) in to.iter_mut().zip(from) {
                        *to = if *from > *to { *from } else { *to };
                    }
                }
            }
        }
    }
}

multiversion! {
    fn maximum(to: &mut [u8], from: &[u8]) {
        for (to, from) in to.iter_mut().zip(from) {
            *to = if *from > *to { *from } else { *to };
        }
    }
}

/// Maximum or mean over all positions: `[batch, position, channel]` bytes → `[batch, channel]` floats.
pub fn reduce(kind: PoolKind, from: &[u8], channels: usize, params: Params, to: &mut [f32]) {
    let batch = to.len() / channels;
    let positions = from.len() / (channels * batch.max(1));
    let mut sums = vec![0u32; channels];
    let mut largest = vec![0u8; channels];
    for (to, from) in
        to.chunks_exact_mut(channels).zip(from.chunks_exact(positions.max(1) * channels))
    {
        match kind {
            PoolKind::Max => {
                largest.fill(0);
                from.chunks_exact(channels).for_each(|row| maximum(&mut largest, row));
                to.iter_mut().zip(&largest).for_each(|(to, byte)| *to = params.number(*byte));
            }
            PoolKind::Mean => {
                sums.fill(0);
                for row in from.chunks_exact(channels) {
                    add_bytes(&mut sums, row);
                }
                for (to, sum) in to.iter_mut().zip(&sums) {
                    let mean = f64::from(*sum) / positions as f64;
                    *to = (f64::from(params.scale) * (mean - f64::from(params.zero))) as f32;
                }
            }
        }
    }
}

multiversion! {
    fn add_bytes(sums: &mut [u32], row: &[u8]) {
        for (sum, byte) in sums.iter_mut().zip(row) {
            *sum += u32::from(*byte);
        }
    }
}

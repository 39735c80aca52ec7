//! The temporal filters in integers: the same partial sums as in `temporal`, four taps an
//! instruction.
//!
//! The log-mel map is bytes, before the network's first batch norm, which is one multiplication
//! and addition: both pass through the sums, the addition as a constant times the sum of the taps
//! that a patch has under the filter. For every frame the bytes of it and the next three lie
//! side by side, band by band, so that four taps meet four frames wherever a sum begins.

use super::{
    affine::{Affine, AfterMax, values},
    columns::Columns,
    section::Section,
    temporal::BLOCK,
};
use crate::{
    NetworkError, Weights,
    architectures::musicnn::{BANDS, TEMPORAL_LENGTHS},
    kernels::int8::{
        IntIsa, Params,
        dot::{self, Dot},
        quantise_rows,
    },
};

/// Vectors of bands that the kernel takes at once: all bands in two or more rounds.
const VECTORS: usize = 3;

/// The filters of all lengths, as bytes.
#[derive(Debug)]
pub(super) struct IntTemporal {
    isa: IntIsa,
    blocks: Vec<Block>,
    input: Params,
    /// The first batch norm.
    scale: f32,
    shift: f32,
}

/// Some filters of one length.
#[derive(Debug)]
struct Block {
    filters: usize,
    column: usize,
    columns: usize,
    before: usize,
    length: usize,
    /// `[filter, length + 4]`, the last four 0.
    taps: Vec<i8>,
    /// Sums of the first taps, `[length + 1, filter]`.
    sums: Vec<i32>,
    /// `[filter]`.
    scales: Vec<f32>,
    /// `[filter]` each: [`AfterMax`] with its fields apart, so that all filters go through it at once.
    sign: Vec<f32>,
    bias: Vec<f32>,
    scale: Vec<f32>,
    shift: Vec<f32>,
}

impl IntTemporal {
    pub fn new(
        weights: &Weights,
        columns: &Columns,
        norm: &Affine,
        input: Params,
        isa: IntIsa,
    ) -> Result<Self, NetworkError> {
        let most = if isa == IntIsa::Avx512Vnni { 8 } else { 4 };
        let (scale, shift) = (norm.scale[0], norm.shift[0]);
        let direction = if scale < 0.0 { -1.0 } else { 1.0 };
        let mut blocks = Vec::new();
        for (&(at, count), length) in columns.layers().iter().zip(TEMPORAL_LENGTHS) {
            let padded = count.next_multiple_of(BLOCK);
            let name = format!("temporal_{length}");
            let kernel = values(weights, &name, "weight")?;
            let (bytes, scales) = quantise_rows(kernel, count);
            let norm = Affine::batch_norm(weights, &format!("{name}_bn"))?;
            let mut after = AfterMax::new(values(weights, &name, "bias")?, &norm);
            after.resize(padded, AfterMax::default());
            let mut first = 0;
            while first < padded {
                let filters = if first + most <= padded { most } else { BLOCK };
                let of = |part: fn(&AfterMax) -> f32| {
                    after[first..first + filters].iter().map(part).collect::<Vec<f32>>()
                };
                let mut block = Block {
                    filters,
                    column: at + first,
                    columns: columns.total(),
                    before: (length - 1) / 2,
                    length,
                    taps: vec![0; filters * (length + 4)],
                    sums: vec![0; filters * (length + 1)],
                    scales: vec![0.0; filters],
                    sign: of(|after| after.sign),
                    bias: of(|after| after.bias),
                    scale: of(|after| after.scale),
                    shift: of(|after| after.shift),
                };
                for f in first..(first + filters).min(count) {
                    let at = f - first;
                    // The largest of the negated sums, where a later scale is negative.
                    let sign = if after[f].sign * direction < 0.0 { -1 } else { 1 };
                    block.scales[at] = scales[f];
                    let mut sum = 0;
                    for tap in 0..length {
                        let w = bytes[f * length + tap] * sign;
                        block.taps[at * (length + 4) + tap] = w;
                        sum += i32::from(w);
                        block.sums[(tap + 1) * filters + at] = sum;
                    }
                }
                blocks.push(block);
                first += filters;
            }
        }
        Ok(Self { isa, blocks, input, scale, shift })
    }

    /// Bytes of log-mel `frames [time, band]`, `[time, band, 4]`: of a frame and the next three.
    pub fn prepare(&self, frames: &[f32]) -> Vec<u8> {
        let mut bytes = vec![0; frames.len()];
        crate::kernels::int8::image::quantise(frames, 1, frames.len(), self.input, &mut bytes);
        let mut fours = vec![0u8; frames.len() * 4];
        for (t, out) in fours.chunks_exact_mut(4 * BANDS).enumerate() {
            for i in 0..4 {
                let Some(row) = bytes.get((t + i) * BANDS..(t + i + 1) * BANDS) else { break };
                for (band, byte) in row.iter().enumerate() {
                    out[4 * band + i] = *byte;
                }
            }
        }
        fours
    }

    /// As the layer in floats, from what [`IntTemporal::prepare`] gives for the section.
    pub fn run(&self, section: &Section, fours: &[u8], first: usize, out: &mut [f32]) {
        for block in &self.blocks {
            match self.isa {
                // SAFETY: an `IntIsa` other than the portable one is only made after detection.
                #[cfg(target_arch = "x86_64")]
                IntIsa::Avx512Vnni => unsafe { self.avx512(block, section, fours, first, out) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                IntIsa::AvxVnni => unsafe { self.avx_vnni(block, section, fours, first, out) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                IntIsa::Avx2 => unsafe { self.avx2(block, section, fours, first, out) },
                // SAFETY: plain Rust needs no instruction set.
                _ => unsafe {
                    self.block::<dot::Portable, 4>(block, section, fours, first, out);
                },
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn avx512(&self, b: &Block, section: &Section, fours: &[u8], first: usize, out: &mut [f32]) {
        // SAFETY: the instruction set is enabled here.
        unsafe {
            match b.filters {
                8 => self.block::<dot::Avx512Vnni, 8>(b, section, fours, first, out),
                _ => self.block::<dot::Avx512Vnni, 4>(b, section, fours, first, out),
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,avxvnni")]
    fn avx_vnni(&self, b: &Block, section: &Section, fours: &[u8], first: usize, out: &mut [f32]) {
        // SAFETY: the instruction set is enabled here.
        unsafe { self.block::<dot::AvxVnni, 4>(b, section, fours, first, out) }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn avx2(&self, b: &Block, section: &Section, fours: &[u8], first: usize, out: &mut [f32]) {
        // SAFETY: the instruction set is enabled here.
        unsafe { self.block::<dot::Avx2, 4>(b, section, fours, first, out) }
    }

    /// # Safety
    /// The machine must have the instruction set of `S`.
    #[inline(always)]
    unsafe fn block<S: Dot, const F: usize>(
        &self,
        block: &Block,
        section: &Section,
        fours: &[u8],
        first: usize,
        out: &mut [f32],
    ) {
        let (stride, length) = (block.length + 4, block.length);
        assert_eq!((block.filters, block.taps.len()), (F, F * stride));
        assert!(fours.len() >= section.frames * BANDS * 4);
        let magnitude = self.scale.abs() * self.input.scale;
        let constant = (self.shift - self.scale * self.input.scale * f32::from(self.input.zero))
            * self.scale.signum();
        let mut cuts: Vec<usize> = Vec::new();
        let mut ranges: Vec<[usize; 2]> = Vec::new();
        let mut distinct: Vec<[usize; 2]> = Vec::new();
        let mut notes: Vec<[[S::Sum; VECTORS]; F]> = Vec::new();
        let mut largest: Vec<[S::Sum; F]> = Vec::new();
        for (t, rows) in (first..).zip(out.chunks_exact_mut(section.slots * block.columns)) {
            // The taps that fall into each patch: often the same for several.
            cuts.clear();
            ranges.clear();
            distinct.clear();
            for patch in section.patches_at(t) {
                let start = section.starts[patch];
                let from = (start + block.before).saturating_sub(t);
                let to = (start + section.patch + block.before - t).min(length);
                ranges.push([from, to]);
                if !distinct.contains(&[from, to]) {
                    distinct.push([from, to]);
                    cuts.extend([from, to]);
                }
            }
            if ranges.is_empty() {
                continue;
            }
            cuts.sort_unstable();
            cuts.dedup();
            let at = |cut: usize| cuts.partition_point(|c| *c < cut);
            // SAFETY: the instruction set is the caller's to vouch for. Taps from the first to the
            // last cut lie under frames of some patch, so within the section; a row of fours holds
            // 4 · BANDS bytes, BANDS being a multiple of VECTORS · LANES.
            unsafe {
                notes.clear();
                notes.resize(cuts.len(), [[S::zero(); VECTORS]; F]);
                largest.clear();
                largest.resize(distinct.len(), [S::sums(i32::MIN); F]);
                for band in (0..BANDS).step_by(VECTORS * S::LANES) {
                    for (i, cut) in cuts.windows(2).enumerate() {
                        let x =
                            fours.as_ptr().add(((t + cut[0] - block.before) * BANDS + band) * 4);
                        let w = block.taps.as_ptr().add(cut[0]);
                        let [from, to, ..] = &mut notes[i..] else { break };
                        add_taps::<S, F>(from, to, x, w, stride, cut[1] - cut[0]);
                    }
                    for (largest, range) in largest.iter_mut().zip(&distinct) {
                        let (from, to) = (&notes[at(range[0])], &notes[at(range[1])]);
                        for f in 0..F {
                            let mut best = largest[f];
                            for v in 0..VECTORS {
                                best = S::max(best, S::sub(to[f][v], from[f][v]));
                            }
                            largest[f] = best;
                        }
                    }
                }
                for (largest, range) in largest.iter().zip(&distinct) {
                    let [from, to] = *range;
                    let (values, mut best) = (&mut [0.0; F], [0; F]);
                    S::largest_each(largest, &mut best);
                    let sums = [to, from].map(|cut| &block.sums[cut * F..][..F]);
                    let [sign, bias] = [&block.sign, &block.bias].map(|v| &v[..F]);
                    let [scales, scale, shift] =
                        [&block.scales, &block.scale, &block.shift].map(|v| &v[..F]);
                    for f in 0..F {
                        let taps = (sums[0][f] - sums[1][f]) as f32;
                        let y = scales[f] * (magnitude * best[f] as f32 + constant * taps);
                        let x = sign[f] * y + bias[f];
                        values[f] = (if x < 0.0 { 0.0 } else { x }) * scale[f] + shift[f];
                    }
                    let rows = rows.chunks_exact_mut(block.columns).zip(&ranges);
                    for (row, _) in rows.filter(|(_, of)| *of == range) {
                        row[block.column..block.column + F].copy_from_slice(values);
                    }
                }
            }
        }
    }
}

/// Adds `taps` products to the sums `from` and writes them to `to`, four taps at a time; the weights beyond the last
/// are masked.
///
/// # Safety
/// The machine must have the instruction set of `S`; `x` points at `taps` rows of fours, `w` at
/// the first tap of `F` filters `stride` apart, with four readable bytes after the last tap.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "iterators keep the sums out of registers")]
unsafe fn add_taps<S: Dot, const F: usize>(
    from: &[[S::Sum; VECTORS]; F],
    to: &mut [[S::Sum; VECTORS]; F],
    mut x: *const u8,
    mut w: *const i8,
    stride: usize,
    taps: usize,
) {
    // SAFETY: within the rows and taps that the caller vouches for.
    unsafe {
        let mut sums = [[S::zero(); VECTORS]; F];
        for f in 0..F {
            for i in 0..VECTORS {
                sums[f][i] = from[f][i];
            }
        }
        let mut left = taps / 4;
        while left > 0 {
            let mut columns = [S::inputs_each(x); VECTORS];
            for i in 1..VECTORS {
                columns[i] = S::inputs_each(x.wrapping_add(i * 4 * S::LANES));
            }
            for f in 0..F {
                // Unmasked, so that it is read and spread in one instruction.
                let four =
                    S::weights_all(w.wrapping_add(f * stride).cast::<i32>().read_unaligned());
                for i in 0..VECTORS {
                    sums[f][i] = S::dot(sums[f][i], columns[i], four);
                }
            }
            x = x.wrapping_add(4 * 4 * BANDS);
            w = w.wrapping_add(4);
            left = left.wrapping_sub(1);
        }
        if !taps.is_multiple_of(4) {
            let mask = (1i32 << (8 * (taps % 4))) - 1;
            let mut columns = [S::inputs_each(x); VECTORS];
            for i in 1..VECTORS {
                columns[i] = S::inputs_each(x.wrapping_add(i * 4 * S::LANES));
            }
            for f in 0..F {
                let four = w.wrapping_add(f * stride).cast::<i32>().read_unaligned();
                let four = S::weights_all(four & mask);
                for i in 0..VECTORS {
                    sums[f][i] = S::dot(sums[f][i], columns[i], four);
                }
            }
        }
        for f in 0..F {
            for i in 0..VECTORS {
                to[f][i] = sums[f][i];
            }
        }
    }
}

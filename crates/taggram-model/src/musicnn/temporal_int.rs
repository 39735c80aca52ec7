//! The temporal filters in integers: the same partial sums as in `temporal`, four taps an
//! instruction.
//!
//! The log-mel map is bytes, before the network's first batch norm, which is one multiplication
//! and addition: both pass through the sums, the addition as a constant times the sum of the taps
//! that a patch has under the filter. For every frame the bytes of it and the next three lie
//! side by side, band by band, so that four taps meet four frames wherever a sum begins.

use super::{
    affine::{Affine, AfterMax, values},
    section::Section,
    temporal::{COLUMNS, PADDED},
};
use crate::{
    NetworkError, Weights,
    architectures::musicnn::{BANDS, TEMPORAL_FILTERS, TEMPORAL_LENGTHS},
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
    before: usize,
    length: usize,
    /// `[filter, length + 4]`, the last four 0.
    taps: Vec<i8>,
    /// Sums of the first taps, `[filter, length + 1]`.
    sums: Vec<i32>,
    /// `[filter]`.
    scales: Vec<f32>,
    after: Vec<AfterMax>,
}

impl IntTemporal {
    pub fn new(
        weights: &Weights,
        norm: &Affine,
        input: Params,
        isa: IntIsa,
    ) -> Result<Self, NetworkError> {
        let most = if isa == IntIsa::Avx512Vnni { 8 } else { 4 };
        let (scale, shift) = (norm.scale[0], norm.shift[0]);
        let direction = if scale < 0.0 { -1.0 } else { 1.0 };
        let mut blocks = Vec::new();
        for (i, length) in TEMPORAL_LENGTHS.into_iter().enumerate() {
            let name = format!("temporal_{length}");
            let kernel = values(weights, &name, "weight")?;
            let (bytes, scales) = quantise_rows(kernel, TEMPORAL_FILTERS);
            let norm = Affine::batch_norm(weights, &format!("{name}_bn"))?;
            let mut after = AfterMax::new(values(weights, &name, "bias")?, &norm);
            after.resize(PADDED, AfterMax::default());
            let mut first = 0;
            while first < PADDED {
                let filters = if first + most <= PADDED { most } else { 4 };
                let mut block = Block {
                    filters,
                    column: i * PADDED + first,
                    before: (length - 1) / 2,
                    length,
                    taps: vec![0; filters * (length + 4)],
                    sums: vec![0; filters * (length + 1)],
                    scales: vec![0.0; filters],
                    after: after[first..first + filters].to_vec(),
                };
                for f in first..(first + filters).min(TEMPORAL_FILTERS) {
                    let at = f - first;
                    // The largest of the negated sums, where a later scale is negative.
                    let sign = if after[f].sign * direction < 0.0 { -1 } else { 1 };
                    block.scales[at] = scales[f];
                    let mut sum = 0;
                    for tap in 0..length {
                        let w = bytes[f * length + tap] * sign;
                        block.taps[at * (length + 4) + tap] = w;
                        sum += i32::from(w);
                        block.sums[at * (length + 1) + tap + 1] = sum;
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
        let mut notes: Vec<[[S::Sum; VECTORS]; F]> = Vec::new();
        let mut largest: Vec<[S::Sum; F]> = Vec::new();
        for (t, rows) in (first..).zip(out.chunks_exact_mut(section.slots * COLUMNS)) {
            // The taps that fall into each patch.
            cuts.clear();
            ranges.clear();
            for patch in section.patches_at(t) {
                let start = section.starts[patch];
                let from = (start + block.before).saturating_sub(t);
                let to = (start + section.patch + block.before - t).min(length);
                ranges.push([from, to]);
                cuts.extend([from, to]);
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
                largest.clear();
                for band in (0..BANDS).step_by(VECTORS * S::LANES) {
                    let mut sum = [[S::zero(); VECTORS]; F];
                    notes.clear();
                    notes.push(sum);
                    for cut in cuts.windows(2) {
                        let x =
                            fours.as_ptr().add(((t + cut[0] - block.before) * BANDS + band) * 4);
                        let w = block.taps.as_ptr().add(cut[0]);
                        sum = add_taps::<S, F>(&sum, x, w, stride, cut[1] - cut[0]);
                        notes.push(sum);
                    }
                    for (i, range) in ranges.iter().enumerate() {
                        let (from, to) = (&notes[at(range[0])], &notes[at(range[1])]);
                        let mut best = [S::zero(); F];
                        for f in 0..F {
                            best[f] = S::sub(to[f][0], from[f][0]);
                            for v in 1..VECTORS {
                                best[f] = S::max(best[f], S::sub(to[f][v], from[f][v]));
                            }
                        }
                        match largest.get_mut(i) {
                            None => largest.push(best),
                            Some(largest) => {
                                for f in 0..F {
                                    largest[f] = S::max(largest[f], best[f]);
                                }
                            }
                        }
                    }
                }
                let results = rows.chunks_exact_mut(COLUMNS).zip(&largest).zip(&ranges);
                for ((row, largest), [from, to]) in results {
                    let out = &mut row[block.column..block.column + F];
                    for f in 0..F {
                        let sums = &block.sums[f * (length + 1)..][..length + 1];
                        let taps = (sums[*to] - sums[*from]) as f32;
                        let y = magnitude * S::largest(largest[f]) as f32 + constant * taps;
                        out[f] = block.after[f].apply(block.scales[f] * y);
                    }
                }
            }
        }
    }
}

/// Adds `taps` products to `from`, four at a time; the weights beyond the last are masked.
///
/// # Safety
/// The machine must have the instruction set of `S`; `x` points at `taps` rows of fours, `w` at
/// the first tap of `F` filters `stride` apart, with four readable bytes after the last tap.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "iterators keep the sums out of registers")]
unsafe fn add_taps<S: Dot, const F: usize>(
    from: &[[S::Sum; VECTORS]; F],
    mut x: *const u8,
    mut w: *const i8,
    stride: usize,
    taps: usize,
) -> [[S::Sum; VECTORS]; F] {
    // SAFETY: within the rows and taps that the caller vouches for.
    unsafe {
        let mut sums = [[S::zero(); VECTORS]; F];
        for f in 0..F {
            for i in 0..VECTORS {
                sums[f][i] = from[f][i];
            }
        }
        let mut left = taps;
        while left > 0 {
            let mask = if left >= 4 { -1 } else { (1i32 << (8 * left)) - 1 };
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
            x = x.wrapping_add(4 * 4 * BANDS);
            w = w.wrapping_add(4);
            left = left.saturating_sub(4);
        }
        sums
    }
}

//! The temporal filters: some (51 as published) each of 128, 64 and 32 frames on every band, and the
//! largest result over the bands kept.
//!
//! With zeros beyond the patch, nearly every frame of a patch of 187 is touched by an edge, so
//! results cannot simply be shared by patches that overlap. But the *partial sums* can: for
//! one frame of the song the products are added up tap by tap, and the sum is noted wherever a
//! patch begins or ends under the filter. A patch's result is the difference of two notes. So
//! each product is computed once for the song, however many patches overlap.

use super::{
    affine::{Affine, AfterMax, values},
    columns::Columns,
    lanes::{Lanes, Portable},
    section::Section,
};
use crate::{
    NetworkError, Weights,
    architectures::musicnn::{BANDS, TEMPORAL_LENGTHS},
    kernels::Isa,
};

/// Filters of one length are filled up to whole blocks of so many.
pub(super) const BLOCK: usize = 4;
/// Vectors of bands that the kernel takes at once.
const VECTORS: usize = 3;

/// The filters of all lengths.
#[derive(Debug)]
pub(super) struct Temporal {
    isa: Isa,
    blocks: Vec<Block>,
}

/// Some filters of one length.
#[derive(Debug)]
struct Block {
    /// 8 or 4.
    filters: usize,
    /// Its first column, of how many.
    column: usize,
    columns: usize,
    /// Frames under the filter, before the current one and in all.
    before: usize,
    length: usize,
    /// `[tap, filter]`.
    taps: Vec<f32>,
    /// `[filter]`.
    after: Vec<AfterMax>,
}

impl Temporal {
    pub fn new(weights: &Weights, columns: &Columns, isa: Isa) -> Result<Self, NetworkError> {
        let most = match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => <std::arch::x86_64::__m512 as Lanes>::FILTERS,
            _ => Portable::FILTERS,
        };
        let mut blocks = Vec::new();
        for (&(at, count), length) in columns.layers().iter().zip(TEMPORAL_LENGTHS) {
            let padded = count.next_multiple_of(BLOCK);
            let name = format!("temporal_{length}");
            let kernel = values(weights, &name, "weight")?;
            let norm = Affine::batch_norm(weights, &format!("{name}_bn"))?;
            let mut after = AfterMax::new(values(weights, &name, "bias")?, &norm);
            after.resize(padded, AfterMax::default());
            let mut first = 0;
            while first < padded {
                let filters = if first + most <= padded { most } else { BLOCK };
                let mut taps = vec![0.0; length * filters];
                for f in first..(first + filters).min(count) {
                    for tap in 0..length {
                        taps[tap * filters + f - first] = kernel[f * length + tap] * after[f].sign;
                    }
                }
                blocks.push(Block {
                    filters,
                    column: at + first,
                    columns: columns.total(),
                    before: (length - 1) / 2,
                    length,
                    taps,
                    after: after[first..first + filters].to_vec(),
                });
                first += filters;
            }
        }
        Ok(Self { isa, blocks })
    }

    /// The layer for the frames of the section from `first` on: `[frame, slot, column]`, with a
    /// slot for each patch that the frame is in. `frames` is the section's `[time, band]`.
    pub fn run(&self, section: &Section, frames: &[f32], first: usize, out: &mut [f32]) {
        for block in &self.blocks {
            match self.isa {
                // SAFETY: an `Isa` other than the portable one is only made after detection.
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => unsafe { avx512(block, section, frames, first, out) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                Isa::Avx2 => unsafe { avx2(block, section, frames, first, out) },
                // SAFETY: plain Rust needs no instruction set.
                _ => unsafe { run_block::<Portable, 4>(block, section, frames, first, out) },
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn avx512(block: &Block, section: &Section, frames: &[f32], first: usize, out: &mut [f32]) {
    use std::arch::x86_64::__m512;
    // SAFETY: the instruction set is enabled here.
    unsafe {
        match block.filters {
            8 => run_block::<__m512, 8>(block, section, frames, first, out),
            _ => run_block::<__m512, 4>(block, section, frames, first, out),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(block: &Block, section: &Section, frames: &[f32], first: usize, out: &mut [f32]) {
    // SAFETY: the instruction set is enabled here.
    unsafe { run_block::<std::arch::x86_64::__m256, 4>(block, section, frames, first, out) }
}

/// # Safety
/// The machine must have the instruction set of `V`.
#[inline(always)]
unsafe fn run_block<V: Lanes, const F: usize>(
    block: &Block,
    section: &Section,
    frames: &[f32],
    first: usize,
    out: &mut [f32],
) {
    assert_eq!((block.filters, block.taps.len()), (F, F * block.length));
    assert!(frames.len() >= section.frames * BANDS);
    let mut cuts: Vec<usize> = Vec::new();
    let mut ranges: Vec<[usize; 2]> = Vec::new();
    let mut notes: Vec<[[V; VECTORS]; F]> = Vec::new();
    let mut largest: Vec<[V; F]> = Vec::new();
    for (t, rows) in (first..).zip(out.chunks_exact_mut(section.slots * block.columns)) {
        let patches = section.patches_at(t);
        // The taps that fall into each patch, as `cuts[a]..cuts[b]` over shared cuts.
        cuts.clear();
        ranges.clear();
        for patch in patches.clone() {
            let start = section.starts[patch];
            let from = (start + block.before).saturating_sub(t);
            let to = (start + section.patch + block.before - t).min(block.length);
            ranges.push([from, to]);
            cuts.extend([from, to]);
        }
        if ranges.is_empty() {
            continue;
        }
        cuts.sort_unstable();
        cuts.dedup();
        for range in &mut ranges {
            for end in range {
                *end = cuts.partition_point(|cut| cut < end);
            }
        }
        // SAFETY: the instruction set is the caller's to vouch for. Taps from the first to the
        // last cut lie under frames of some patch, so within the section; a row of bands holds
        // BANDS values, which is a multiple of VECTORS · LANES.
        unsafe {
            let zero = V::splat(0.0);
            largest.clear();
            largest.resize(ranges.len(), [V::splat(f32::NEG_INFINITY); F]);
            for band in (0..BANDS).step_by(VECTORS * V::LANES) {
                let mut sum = [[zero; VECTORS]; F];
                notes.clear();
                notes.push(sum);
                for cut in cuts.windows(2) {
                    let x = frames.as_ptr().add((t + cut[0] - block.before) * BANDS + band);
                    let w = block.taps.as_ptr().add(cut[0] * F);
                    sum = add_taps(&sum, x, w, cut[1] - cut[0]);
                    notes.push(sum);
                }
                for (largest, [from, to]) in largest.iter_mut().zip(&ranges) {
                    let (from, to) = (&notes[*from], &notes[*to]);
                    for f in 0..F {
                        for i in 0..VECTORS {
                            largest[f] = largest[f].max(to[f][i].sub(from[f][i]));
                        }
                    }
                }
            }
            for (row, largest) in rows.chunks_exact_mut(block.columns).zip(&largest) {
                let out = &mut row[block.column..block.column + F];
                for ((out, after), largest) in out.iter_mut().zip(&block.after).zip(largest) {
                    *out = after.apply(largest.reduce_max());
                }
            }
        }
    }
}

/// Adds `taps` products of a frame's bands and the filters' taps to `from`.
///
/// # Safety
/// As [`run_block`]; `x` points at `taps` rows of [`BANDS`], `w` at `[taps, F]` values.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "iterators keep the sums out of registers")]
unsafe fn add_taps<V: Lanes, const F: usize>(
    from: &[[V; VECTORS]; F],
    mut x: *const f32,
    mut w: *const f32,
    taps: usize,
) -> [[V; VECTORS]; F] {
    // Plain loops, no closures, and pointers that wrap, so that builds with checks keep them:
    // that way all is unrolled and the sums stay in registers.
    // SAFETY: within the rows and taps that the caller vouches for.
    unsafe {
        let mut sums = [[V::splat(0.0); VECTORS]; F];
        for f in 0..F {
            for i in 0..VECTORS {
                sums[f][i] = from[f][i];
            }
        }
        let mut left = taps;
        while left > 0 {
            let mut columns = [V::splat(0.0); VECTORS];
            for i in 0..VECTORS {
                columns[i] = V::load(x.wrapping_add(i * V::LANES));
            }
            for f in 0..F {
                let w = V::splat(*w.wrapping_add(f));
                for i in 0..VECTORS {
                    sums[f][i] = w.fma(columns[i], sums[f][i]);
                }
            }
            x = x.wrapping_add(BANDS);
            w = w.wrapping_add(F);
            left = left.wrapping_sub(1);
        }
        sums
    }
}

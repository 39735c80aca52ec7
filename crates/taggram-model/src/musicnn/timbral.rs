//! The timbral filters: some (204 as published) of 7 frames × 38 bands and some of 7 × 67, each slid
//! over the 96 bands, and the largest result kept.
//!
//! Done directly that is 6.1 million multiply-adds a frame. Along the bands it is a correlation
//! of one frame with one row of a filter, so it is done on spectra: a cyclic transform over 96
//! bands is enough, for positions at which the filter lies within the bands do not wrap. The
//! spectra of frames and filters are multiplied and summed over the 7 frames (1,330 multiply-adds
//! for a filter), and one inverse transform gives all positions.
//!
//! The inverse: with Y the spectrum of the (real) correlation y and p = q + 32 r,
//!
//! y\[p\] = Σⱼ Y\[3j\] e^(2πi jq/32) + 2 Re( e^(2πi p/96) Σⱼ Y\[3j+1\] e^(2πi jq/32) ),
//!
//! as the bins 3j+2 are conjugates of the bins 3j+1. The first sum is real, so one complex
//! transform of length 32 serves two frames; the second is complex. Only those p are formed
//! that are asked for, two multiply-adds each. Vectors run across filters, so no transform ever
//! shuffles lanes.

use std::f64::consts::TAU;

use super::{
    affine::{Affine, AfterMax, values},
    columns::Columns,
    lanes::{Lanes, Portable},
};
use crate::{
    NetworkError, Weights,
    architectures::musicnn::{BANDS, SHORT, TIMBRAL_WIDTHS},
    kernels::{Epilogue, Isa, PackedRight, gemm::Aligned},
};

/// Frames that a call of the kernel computes.
pub(super) const TILE: usize = 4;
/// Frames that it reads.
pub(super) const ROWS: usize = TILE + SHORT - 1;
/// Complex bins of a spectrum; the real bins 0 and 48 come before them.
const BINS: usize = 47;
/// Filters of one width are filled up to whole vectors of any instruction set.
pub(super) const BLOCK: usize = 16;

/// The order of a spectrum's 96 numbers: bins 0 and 48, then real and imaginary parts of the bins
/// 3, 6, … 45, and of 1, 4, … 94.
fn bins() -> impl Iterator<Item = usize> {
    (1..16).map(|j| 3 * j).chain((0..32).map(|j| 3 * j + 1))
}

/// The filters of both widths, as spectra.
#[derive(Debug)]
pub(super) struct Timbral {
    isa: Isa,
    columns: Columns,
    /// `[vector of filters, number of the spectrum, 7, lane]`.
    spectra: Aligned,
    /// `[column]`.
    after: Vec<AfterMax>,
    turns: Turns,
    transform: PackedRight,
    identity: Epilogue,
}

/// The roots of unity that the inverse transform needs. Cosines and sines lie apart, so that each is read and spread over
/// a vector in one instruction.
#[derive(Debug)]
pub(super) struct Turns {
    /// e^(2πi bq/32), `[b, part, q]`.
    twist: [[[f32; 8]; 2]; 4],
    /// e^(2πi p/96), `[p, part]`.
    last: [[f32; 2]; 64],
}

impl Turns {
    pub fn new() -> Self {
        let root = |k: usize, n: usize| {
            let angle = TAU * k as f64 / n as f64;
            [angle.cos() as f32, angle.sin() as f32]
        };
        Self {
            twist: std::array::from_fn(|b| {
                std::array::from_fn(|part| std::array::from_fn(|q| root(b * q, 32)[part]))
            }),
            last: std::array::from_fn(|p| root(p, BANDS)),
        }
    }
}

impl Timbral {
    pub fn new(weights: &Weights, columns: &Columns, isa: Isa) -> Result<Self, NetworkError> {
        let lanes = isa.lanes();
        let mut spectra = Aligned::default();
        let packed = spectra.reserve(columns.total() * BANDS * SHORT);
        packed.fill(0.0);
        let roots = roots();
        let mut after = vec![AfterMax::default(); columns.total()];
        for (&(first, count), width) in columns.layers().iter().zip(TIMBRAL_WIDTHS) {
            let name = format!("timbral_{width}");
            let norm = Affine::batch_norm(weights, &format!("{name}_bn"))?;
            let kernel = values(weights, &name, "weight")?;
            let filters = AfterMax::new(values(weights, &name, "bias")?, &norm);
            after[first..first + count].copy_from_slice(&filters);
            for (f, filter) in filters.iter().enumerate() {
                for d in 0..SHORT {
                    let row = &kernel[(f * SHORT + d) * width..][..width];
                    let spectrum = filter_spectrum(row, filter.sign, &roots);
                    let (vector, lane) = ((first + f) / lanes, (first + f) % lanes);
                    for (i, x) in spectrum.into_iter().enumerate() {
                        packed[((vector * BANDS + i) * SHORT + d) * lanes + lane] = x;
                    }
                }
            }
        }
        // A frame's transform is a product with a 96 × 96 matrix: small beside the rest.
        let mut matrix = vec![0.0; BANDS * BANDS];
        for band in 0..BANDS {
            let mut impulse = [0.0; BANDS];
            impulse[band] = 1.0;
            for (i, x) in spectrum(&impulse, &roots).into_iter().enumerate() {
                matrix[i * BANDS + band] = x as f32;
            }
        }
        Ok(Self {
            isa,
            columns: columns.clone(),
            spectra,
            after,
            turns: Turns::new(),
            transform: PackedRight::new(&matrix, BANDS, BANDS, isa),
            identity: Epilogue::new(BANDS, None, None, None),
        })
    }

    /// Spectra of frames: `[time, band]` → `[time, 96 numbers]`.
    pub fn transform(&self, frames: &[f32], spectra: &mut [f32]) {
        let count = frames.len() / BANDS;
        self.transform.multiply(frames, BANDS, count, spectra, BANDS, &self.identity);
    }

    /// The layer at [`TILE`] frames, `[4, column]`, from the spectra of the frames before, in,
    /// and after them (zeros where the patch has none).
    pub fn run(&self, tiles: &mut [Tile<'_, [f32; BANDS]>]) {
        // All tiles for one vector of filters, then the next: its weights stay in the cache.
        let lanes = self.isa.lanes();
        for vector in 0..self.columns.total() / lanes {
            let Some(layer) = self.columns.layer_of(vector * lanes, lanes) else { continue };
            let len = BANDS * SHORT * lanes;
            let job = Job {
                weights: &self.spectra.slice()[vector * len..][..len],
                after: &self.after[vector * lanes..][..lanes],
                turns: &self.turns,
                column: vector * lanes,
                positions: BANDS + 1 - TIMBRAL_WIDTHS[layer],
            };
            match self.isa {
                // SAFETY: an `Isa` other than the portable one is only made after detection.
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => unsafe { avx512(&job, tiles) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                Isa::Avx2 => unsafe { avx2(&job, tiles) },
                // SAFETY: plain Rust needs no instruction set.
                _ => unsafe { run_tiles::<Portable>(&job, tiles) },
            }
        }
    }
}

/// Four frames to compute.
pub(super) struct Tile<'a, R> {
    /// Spectra of the frames from 3 before the first to 3 after the last.
    pub rows: [&'a R; ROWS],
    /// `[4, column]`.
    pub out: &'a mut [f32],
}

struct Job<'a> {
    weights: &'a [f32],
    after: &'a [AfterMax],
    turns: &'a Turns,
    column: usize,
    positions: usize,
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn avx512(job: &Job<'_>, tiles: &mut [Tile<'_, [f32; BANDS]>]) {
    // SAFETY: the instruction set is enabled here.
    unsafe { run_tiles::<std::arch::x86_64::__m512>(job, tiles) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(job: &Job<'_>, tiles: &mut [Tile<'_, [f32; BANDS]>]) {
    // SAFETY: the instruction set is enabled here.
    unsafe { run_tiles::<std::arch::x86_64::__m256>(job, tiles) }
}

/// # Safety
/// The machine must have the instruction set of `V`.
#[inline(always)]
unsafe fn run_tiles<V: Lanes>(job: &Job<'_>, tiles: &mut [Tile<'_, [f32; BANDS]>]) {
    assert_eq!(job.weights.len(), BANDS * SHORT * V::LANES);
    // SAFETY: the instruction set is the caller's to vouch for; the lengths behind the pointers
    // were checked above or are those of arrays.
    unsafe {
        let mut spectrum = [[V::splat(0.0); BANDS]; TILE];
        let mut room = Room::<V>::new();
        for tile in tiles {
            multiply(job.weights.as_ptr(), &tile.rows, &mut spectrum);
            let (positions, column) = (job.positions, job.column);
            inverse(&spectrum, &mut room, job.turns, positions, job.after, column, tile.out);
        }
    }
}

/// Room for the inverse transforms of a tile.
pub(super) struct Room<V> {
    first: [[V; 2]; 32],
    real: [[V; 2]; 32],
    work: [[V; 2]; 32],
}

impl<V: Lanes> Room<V> {
    /// # Safety
    /// The machine must have the instruction set of `V`.
    #[inline(always)]
    pub unsafe fn new() -> Self {
        // SAFETY: vouched for by the caller.
        let zero = unsafe { V::splat(0.0) };
        Self { first: [[zero; 2]; 32], real: [[zero; 2]; 32], work: [[zero; 2]; 32] }
    }
}

/// From the spectra of a tile's four frames to the largest of the first `positions` results of
/// each filter, and what comes after it: into the columns from `column` on of `out [4, column]`.
///
/// # Safety
/// As [`run_tiles`].
#[inline(always)]
pub(super) unsafe fn inverse<V: Lanes>(
    spectrum: &[[V; BANDS]; TILE],
    room: &mut Room<V>,
    turns: &Turns,
    positions: usize,
    after: &[AfterMax],
    column: usize,
    out: &mut [f32],
) {
    let Room { first, real, work } = room;
    let columns = out.len() / TILE;
    // SAFETY: no memory but arrays; the instruction set is the caller's to vouch for.
    unsafe {
        for pair in 0..TILE / 2 {
            let (a, b) = (&spectrum[2 * pair], &spectrum[2 * pair + 1]);
            // Frame a as the real, frame b as the imaginary part.
            first[0] = [a[0], b[0]];
            first[16] = [a[1], b[1]];
            for j in 1..16 {
                let ([ar, ai], [br, bi]) = ([a[2 * j], a[2 * j + 1]], [b[2 * j], b[2 * j + 1]]);
                first[j] = [ar.sub(bi), ai.add(br)];
                first[32 - j] = [ar.add(bi), br.sub(ai)];
            }
            eights(first, work, &turns.twist);
            for q in 0..8 {
                let four =
                    inverse4([work[4 * q], work[4 * q + 1], work[4 * q + 2], work[4 * q + 3]]);
                for r in 0..4 {
                    real[q + 8 * r] = four[r];
                }
            }
            for half in 0..2 {
                let frame = &spectrum[2 * pair + half];
                // Real and imaginary parts of the 32 bins, as they lie.
                let (bins, _) = frame[32..].as_chunks::<2>();
                let Some(bins) = bins.first_chunk() else { return };
                eights(bins, work, &turns.twist);
                let mut largest = V::splat(f32::NEG_INFINITY);
                for q in 0..8 {
                    let four =
                        inverse4([work[4 * q], work[4 * q + 1], work[4 * q + 2], work[4 * q + 3]]);
                    for r in 0..4 {
                        for p in [q + 8 * r, q + 8 * r + 32] {
                            if p < positions {
                                let [c, s] = turns.last[p];
                                let y = V::splat(c).fma(four[r][0], real[q + 8 * r][half]);
                                largest = largest.max(V::splat(s).fnma(four[r][1], y));
                            }
                        }
                    }
                }
                let mut lanes = [0.0; 16];
                largest.store(lanes.as_mut_ptr());
                let at = (2 * pair + half) * columns + column;
                let results = &mut out[at..at + V::LANES];
                for ((out, after), largest) in results.iter_mut().zip(after).zip(lanes) {
                    *out = after.apply(largest);
                }
            }
        }
    }
}

/// Products of the spectra, summed over the 7 frames under the filter.
///
/// # Safety
/// As [`run_tiles`]; `weights` holds `[96, 7]` vectors.
#[inline(always)]
unsafe fn multiply<V: Lanes>(
    weights: *const f32,
    rows: &[&[f32; BANDS]; ROWS],
    spectrum: &mut [[V; BANDS]; TILE],
) {
    // SAFETY: all offsets lie within `[96, 7]` vectors.
    unsafe {
        for number in 0..2 {
            let mut sum = [V::splat(0.0); TILE];
            for d in 0..SHORT {
                let w = V::load(weights.add((number * SHORT + d) * V::LANES));
                for t in 0..TILE {
                    sum[t] = V::splat(rows[t + d][number]).fma(w, sum[t]);
                }
            }
            for t in 0..TILE {
                spectrum[t][number] = sum[t];
            }
        }
        for bin in 0..BINS {
            let at = 2 + 2 * bin;
            let w = weights.wrapping_add(at * SHORT * V::LANES);
            let mut re = [V::splat(0.0); TILE];
            let mut im = [V::splat(0.0); TILE];
            for d in 0..SHORT {
                let wr = V::load(w.wrapping_add(d * V::LANES));
                let wi = V::load(w.wrapping_add((SHORT + d) * V::LANES));
                for t in 0..TILE {
                    let xr = V::splat(rows[t + d][at]);
                    re[t] = xr.fma(wr, re[t]);
                    im[t] = xr.fma(wi, im[t]);
                }
                for t in 0..TILE {
                    let xi = V::splat(rows[t + d][at + 1]);
                    re[t] = xi.fnma(wi, re[t]);
                    im[t] = xi.fma(wr, im[t]);
                }
            }
            for t in 0..TILE {
                spectrum[t][at] = re[t];
                spectrum[t][at + 1] = im[t];
            }
        }
    }
}

/// The first half of Σⱼ z\[j\] e^(2πi jq/32): four transforms of length 8, turned. What is then
/// at 4q … 4q+3 gives, through [`inverse4`], the results at q, q + 8, q + 16, q + 24.
///
/// Here and below there are no closures: intrinsics would not be inlined into them.
///
/// # Safety
/// As [`run_tiles`].
#[inline(always)]
unsafe fn eights<V: Lanes>(from: &[[V; 2]; 32], to: &mut [[V; 2]; 32], twist: &[[[f32; 8]; 2]; 4]) {
    // SAFETY: no memory but arrays; the instruction set is the caller's to vouch for.
    unsafe {
        for b in 0..4 {
            let even = inverse4([from[b], from[8 + b], from[16 + b], from[24 + b]]);
            let odd = inverse4([from[4 + b], from[12 + b], from[20 + b], from[28 + b]]);
            // The odd half, turned by multiples of 45°.
            let root = V::splat(std::f32::consts::FRAC_1_SQRT_2);
            let [re1, im1] = odd[1];
            let [re3, im3] = odd[3];
            let one = [root.mul(re1.sub(im1)), root.mul(re1.add(im1))];
            let three = [root.mul(re3.add(im3)), root.mul(re3.sub(im3))];
            let [re2, im2] = odd[2];
            let eight = [
                add(even[0], odd[0]),
                add(even[1], one),
                [even[2][0].sub(im2), even[2][1].add(re2)],
                [even[3][0].sub(three[0]), even[3][1].add(three[1])],
                sub(even[0], odd[0]),
                sub(even[1], one),
                [even[2][0].add(im2), even[2][1].sub(re2)],
                [even[3][0].add(three[0]), even[3][1].sub(three[1])],
            ];
            // Written out: as a loop, the values would pass through memory.
            let [c, s] = &twist[b];
            to[b] = eight[0];
            to[4 + b] = turn(eight[1], c[1], s[1]);
            to[8 + b] = turn(eight[2], c[2], s[2]);
            to[12 + b] = turn(eight[3], c[3], s[3]);
            to[16 + b] = turn(eight[4], c[4], s[4]);
            to[20 + b] = turn(eight[5], c[5], s[5]);
            to[24 + b] = turn(eight[6], c[6], s[6]);
            to[28 + b] = turn(eight[7], c[7], s[7]);
        }
    }
}

/// The inverse transform of length 4.
///
/// # Safety
/// As [`run_tiles`].
#[inline(always)]
unsafe fn inverse4<V: Lanes>([a, b, c, d]: [[V; 2]; 4]) -> [[V; 2]; 4] {
    // SAFETY: as in `eights`.
    unsafe {
        let (ac, ac_) = (add(a, c), sub(a, c));
        let (bd, bd_) = (add(b, d), sub(b, d));
        [
            add(ac, bd),
            [ac_[0].sub(bd_[1]), ac_[1].add(bd_[0])],
            sub(ac, bd),
            [ac_[0].add(bd_[1]), ac_[1].sub(bd_[0])],
        ]
    }
}

#[inline(always)]
unsafe fn add<V: Lanes>(a: [V; 2], b: [V; 2]) -> [V; 2] {
    // SAFETY: as in `eights`.
    unsafe { [a[0].add(b[0]), a[1].add(b[1])] }
}

#[inline(always)]
unsafe fn sub<V: Lanes>(a: [V; 2], b: [V; 2]) -> [V; 2] {
    // SAFETY: as in `eights`.
    unsafe { [a[0].sub(b[0]), a[1].sub(b[1])] }
}

#[inline(always)]
unsafe fn turn<V: Lanes>(z: [V; 2], c: f32, s: f32) -> [V; 2] {
    // SAFETY: as in `eights`.
    unsafe {
        let (c, s) = (V::splat(c), V::splat(s));
        [s.fnma(z[1], c.mul(z[0])), s.fma(z[0], c.mul(z[1]))]
    }
}

/// e^(−2πi k/96).
pub(super) fn roots() -> [[f64; 2]; BANDS] {
    std::array::from_fn(|k| {
        let angle = -TAU * k as f64 / BANDS as f64;
        [angle.cos(), angle.sin()]
    })
}

/// The spectrum of `values` in the order of [`bins`]; `roots` are e^(−2πi k/96).
fn spectrum(values: &[f32; BANDS], roots: &[[f64; 2]; BANDS]) -> [f64; BANDS] {
    let mut spectrum = [0.0; BANDS];
    for (n, &x) in values.iter().enumerate().filter(|(_, x)| **x != 0.0) {
        let x = f64::from(x);
        spectrum[0] += x;
        spectrum[1] += if n % 2 == 0 { x } else { -x };
        for (i, bin) in bins().enumerate() {
            let [c, s] = roots[bin * n % BANDS];
            spectrum[2 + 2 * i] += x * c;
            spectrum[3 + 2 * i] += x * s;
        }
    }
    spectrum
}

/// The conjugated spectrum of a row of a filter, with all factors of the inverse.
pub(super) fn filter_spectrum(row: &[f32], sign: f32, roots: &[[f64; 2]; BANDS]) -> [f32; BANDS] {
    let mut padded = [0.0; BANDS];
    padded[..row.len()].copy_from_slice(row);
    let mut spectrum = spectrum(&padded, roots);
    for (i, x) in spectrum.iter_mut().enumerate() {
        // Numbers from 32 on stand for themselves and their conjugates.
        let factor = if i < 32 { 1.0 } else { 2.0 } / BANDS as f64;
        let conjugate = if i >= 2 && i % 2 == 1 { -1.0 } else { 1.0 };
        *x *= factor * conjugate * f64::from(sign);
    }
    spectrum.map(|x| x as f32)
}

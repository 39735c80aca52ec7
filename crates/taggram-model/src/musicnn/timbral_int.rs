//! The timbral filters in integers: spectra of frames and filters as bytes, the products of a bin
//! summed over the 7 frames four at a time; the inverse transform stays in floats (`timbral`).
//!
//! A number of a frame's spectrum is `limit · byte / 127`, with a limit of its own for each of the 96 (the lowest are a
//! hundred times the highest). The weights are the unsigned side of a product, 128 more than they stand for; what
//! that adds, 128 times the sum of the frames' bytes, is the same for all filters, so sums begin with its negative. The real bins 0 and 48 together
//! are treated as one complex bin whose parts do not mix. Frames come in pairs, real and
//! imaginary parts of two neighbours side by side: four bytes that meet four weights.

use super::{
    affine::{Affine, AfterMax, values},
    columns::Columns,
    lanes::Lanes,
    timbral::{ROWS, Room, TILE, Tile, Turns, filter_spectrum, inverse, roots},
};
use crate::{
    NetworkError, Weights,
    architectures::musicnn::{BANDS, SHORT, TIMBRAL_WIDTHS},
    kernels::int8::{
        IntIsa,
        dot::{self, Dot},
        nearest,
    },
};

/// Complex bins, the two real ones counted as one.
const BINS: usize = BANDS / 2;
/// Pairs of frames under a filter, the last of one frame only.
const PAIRS: usize = SHORT.div_ceil(2);
/// The byte of a weight of 0.
const ZERO: u8 = 128;

/// Real and imaginary parts of two neighbouring frames, bin by bin, and 128 times their sum.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    fours: [[i8; 4]; BINS],
    excess: [i32; BINS],
}

impl Pair {
    fn new(a: &[i8; BANDS], b: &[i8; BANDS]) -> Self {
        let fours: [[i8; 4]; BINS] =
            std::array::from_fn(|bin| [a[2 * bin], a[2 * bin + 1], b[2 * bin], b[2 * bin + 1]]);
        let sum = |four: [i8; 4]| four.into_iter().map(i32::from).sum::<i32>();
        Self { fours, excess: fours.map(|four| i32::from(ZERO) * sum(four)) }
    }
}

/// Spectra as pairs of frames: with both, with the first one only, with the second one only.
pub(super) struct Pairs {
    both: Vec<Pair>,
    first: Vec<Pair>,
    second: Vec<Pair>,
}

/// Two frames outside of the patch.
static NOTHING: Pair = Pair { fours: [[0; 4]; BINS], excess: [0; BINS] };

impl Pairs {
    /// The pairs that begin with the frames from 3 before `t` on, with zeros outside of
    /// `start..end`.
    pub fn rows(&self, t: usize, start: usize, end: usize) -> [&Pair; ROWS] {
        let inside = |t: Option<usize>| t.filter(|t| (start..end).contains(t));
        std::array::from_fn(|i| {
            let (a, b) = (inside((t + i).checked_sub(3)), inside((t + i + 1).checked_sub(3)));
            match (a, b) {
                (Some(a), Some(_)) => &self.both[a],
                (Some(a), None) => &self.first[a],
                (None, Some(b)) => &self.second[b],
                (None, None) => &NOTHING,
            }
        })
    }
}

/// The filters of both widths, as spectra of bytes.
#[derive(Debug)]
pub(super) struct IntTimbral {
    isa: IntIsa,
    columns: Columns,
    /// 127 / limit of each number of a spectrum.
    steps: Vec<f32>,
    /// `[vector of filters, bin, pair, part, lane, 4]`.
    weights: Vec<u8>,
    /// `[vector, bin, part, lane]`.
    factor: Vec<f32>,
    /// `[column]`.
    after: Vec<AfterMax>,
    turns: Turns,
}

impl IntTimbral {
    pub fn new(
        weights: &Weights,
        columns: &Columns,
        limits: &[f32],
        isa: IntIsa,
    ) -> Result<Self, NetworkError> {
        if limits.len() != BANDS {
            return Err(NetworkError::malformed(
                "quantisation",
                format!("the spectrum has {} limits; musicnn needs {BANDS}", limits.len()),
            ));
        }
        let lanes = isa.lanes();
        let roots = roots();
        let mut packed = vec![ZERO; columns.total() * BINS * 2 * PAIRS * 4];
        let mut factor = vec![0.0; columns.total() * BANDS];
        let mut after = vec![AfterMax::default(); columns.total()];
        for (&(first, count), width) in columns.layers().iter().zip(TIMBRAL_WIDTHS) {
            let name = format!("timbral_{width}");
            let norm = Affine::batch_norm(weights, &format!("{name}_bn"))?;
            let kernel = values(weights, &name, "weight")?;
            let filters = AfterMax::new(values(weights, &name, "bias")?, &norm);
            after[first..first + count].copy_from_slice(&filters);
            for (f, filter) in filters.iter().enumerate() {
                let (vector, lane) = ((first + f) / lanes, (first + f) % lanes);
                let spectra: [[f32; BANDS]; SHORT] = std::array::from_fn(|d| {
                    let row = &kernel[(f * SHORT + d) * width..][..width];
                    filter_spectrum(row, filter.sign, &roots)
                });
                for bin in 0..BINS {
                    let limit = [limits[2 * bin] / 127.0, limits[2 * bin + 1] / 127.0];
                    for part in 0..2 {
                        let four = |pair: usize| -> [f32; 4] {
                            std::array::from_fn(|i| {
                                let d = 2 * pair + i / 2;
                                if d >= SHORT {
                                    return 0.0;
                                }
                                let (re, im) = (spectra[d][2 * bin], spectra[d][2 * bin + 1]);
                                let w = match (bin, part, i % 2) {
                                    (0, 0, 0) | (1.., 0, 0) | (1.., 1, 1) => re,
                                    (0, 1, 1) | (1.., 1, 0) => im,
                                    (1.., 0, 1) => -im,
                                    _ => 0.0,
                                };
                                w * limit[i % 2]
                            })
                        };
                        let fours: [[f32; 4]; PAIRS] = std::array::from_fn(four);
                        let largest = fours.iter().flatten().fold(0.0f32, |m, w| m.max(w.abs()));
                        let scale = (largest / 127.0).max(f32::MIN_POSITIVE);
                        for (pair, four) in fours.iter().enumerate() {
                            for (i, w) in four.iter().enumerate() {
                                let byte = (w / scale).round_ties_even().clamp(-127.0, 127.0) as i8;
                                let at = ((vector * BINS + bin) * PAIRS + pair) * 2 + part;
                                packed[(at * lanes + lane) * 4 + i] =
                                    ZERO.wrapping_add_signed(byte);
                            }
                        }
                        let at = ((vector * BINS + bin) * 2 + part) * lanes + lane;
                        factor[at] = scale;
                    }
                }
            }
        }
        Ok(Self {
            isa,
            columns: columns.clone(),
            steps: limits.iter().map(|limit| 127.0 / limit).collect(),
            weights: packed,
            factor,
            after,
            turns: Turns::new(),
        })
    }

    /// Spectra `[time, 96 numbers]` as pairs of frames.
    pub fn pairs(&self, spectra: &[f32]) -> Pairs {
        let bytes: Vec<[i8; BANDS]> = spectra
            .chunks_exact(BANDS)
            .map(|frame| {
                let byte =
                    |i: usize| nearest((frame[i] * self.steps[i]).clamp(-127.0, 127.0)) as i8;
                std::array::from_fn(byte)
            })
            .collect();
        const OUTSIDE: [i8; BANDS] = [0; BANDS];
        let next = |t: usize| bytes.get(t + 1).unwrap_or(&OUTSIDE);
        Pairs {
            both: bytes.iter().enumerate().map(|(t, a)| Pair::new(a, next(t))).collect(),
            first: bytes.iter().map(|a| Pair::new(a, &OUTSIDE)).collect(),
            second: bytes.iter().map(|b| Pair::new(&OUTSIDE, b)).collect(),
        }
    }

    /// As the layer in floats.
    pub fn run(&self, tiles: &mut [Tile<'_, Pair>]) {
        for vector in 0..self.columns.total() / self.isa.lanes() {
            match self.isa {
                // SAFETY: an `IntIsa` other than the portable one is only made after detection.
                #[cfg(target_arch = "x86_64")]
                IntIsa::Avx512Vnni => unsafe { self.avx512(vector, tiles) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                IntIsa::AvxVnni => unsafe { self.avx_vnni(vector, tiles) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                IntIsa::Avx2 => unsafe { self.avx2(vector, tiles) },
                // SAFETY: plain Rust needs no instruction set.
                _ => unsafe { self.tiles::<[f32; 4], dot::Portable>(vector, tiles) },
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn avx512(&self, vector: usize, tiles: &mut [Tile<'_, Pair>]) {
        // SAFETY: the instruction set is enabled here.
        unsafe { self.tiles::<std::arch::x86_64::__m512, dot::Avx512Vnni>(vector, tiles) }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,avxvnni")]
    fn avx_vnni(&self, vector: usize, tiles: &mut [Tile<'_, Pair>]) {
        // SAFETY: the instruction set is enabled here.
        unsafe { self.tiles::<std::arch::x86_64::__m256, dot::AvxVnni>(vector, tiles) }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn avx2(&self, vector: usize, tiles: &mut [Tile<'_, Pair>]) {
        // SAFETY: the instruction set is enabled here.
        unsafe { self.tiles::<std::arch::x86_64::__m256, dot::Avx2>(vector, tiles) }
    }

    /// # Safety
    /// The machine must have the instruction sets of `V` and `S`.
    #[inline(always)]
    unsafe fn tiles<V: Lanes, S: Dot<Floats = V>>(
        &self,
        vector: usize,
        tiles: &mut [Tile<'_, Pair>],
    ) {
        let lanes = self.isa.lanes();
        let Some(layer) = self.columns.layer_of(vector * lanes, lanes) else { return };
        assert_eq!((S::LANES, V::LANES), (lanes, lanes));
        let weights =
            &self.weights[vector * BINS * PAIRS * 2 * lanes * 4..][..BINS * PAIRS * 2 * lanes * 4];
        let factor = &self.factor[vector * BANDS * lanes..][..BANDS * lanes];
        let column = vector * lanes;
        let after = &self.after[column..column + lanes];
        let positions = BANDS + 1 - TIMBRAL_WIDTHS[layer];
        // SAFETY: the instruction sets are the caller's to vouch for; lengths were checked above.
        unsafe {
            let mut spectrum = [[V::splat(0.0); BANDS]; TILE];
            let mut room = Room::<V>::new();
            for tile in tiles {
                multiply::<V, S>(weights.as_ptr(), factor.as_ptr(), &tile.rows, &mut spectrum);
                inverse(&spectrum, &mut room, &self.turns, positions, after, column, tile.out);
            }
        }
    }
}

/// Products of the spectra, summed over the 7 frames under the filter.
///
/// # Safety
/// As [`IntTimbral::tiles`]; the pointers are to weights `[bin, pair, part, lane, 4]` and to factors
/// `[bin, part, lane]`.
#[inline(always)]
unsafe fn multiply<V: Lanes, S: Dot<Floats = V>>(
    weights: *const u8,
    factor: *const f32,
    rows: &[&Pair; ROWS],
    spectrum: &mut [[V; BANDS]; TILE],
) {
    // SAFETY: all offsets lie within what the caller vouches for.
    unsafe {
        let mut excess = [[0i32; BINS]; TILE];
        for (t, excess) in excess.iter_mut().enumerate() {
            let [a, b, c, d] = [rows[t], rows[t + 2], rows[t + 4], rows[t + 6]].map(|r| &r.excess);
            for bin in 0..BINS {
                excess[bin] = -(a[bin] + b[bin] + c[bin] + d[bin]);
            }
        }
        for bin in 0..BINS {
            let w = weights.wrapping_add(bin * PAIRS * 2 * 4 * S::LANES);
            // With what else is worked on, the weights do not fit the nearest cache.
            for line in 0..PAIRS * 2 * 4 * S::LANES / 64 {
                S::prefetch(w.wrapping_add(2 * PAIRS * 2 * 4 * S::LANES + 64 * line));
            }
            let mut re = [S::zero(); TILE];
            let mut im = [S::zero(); TILE];
            for t in 0..TILE {
                re[t] = S::sums(excess[t][bin]);
                im[t] = re[t];
            }
            for pair in 0..PAIRS {
                let wr = S::inputs_each(w.wrapping_add(2 * pair * 4 * S::LANES));
                let wi = S::inputs_each(w.wrapping_add((2 * pair + 1) * 4 * S::LANES));
                for t in 0..TILE {
                    let four = i32::from_le_bytes(rows[t + 2 * pair].fours[bin].map(|x| x as u8));
                    let x = S::weights_all(four);
                    re[t] = S::dot(re[t], wr, x);
                    im[t] = S::dot(im[t], wi, x);
                }
            }
            let at = 2 * bin * S::LANES;
            for t in 0..TILE {
                spectrum[t][2 * bin] = S::scaled(re[t], factor.wrapping_add(at));
                spectrum[t][2 * bin + 1] = S::scaled(im[t], factor.wrapping_add(at + S::LANES));
            }
        }
    }
}

//! The timbral filters in integers: spectra of frames and filters as bytes, the products of a bin
//! summed over the 7 frames four at a time; the inverse transform stays in floats (`timbral`).
//!
//! A number of a frame's spectrum is `limit · (byte − 128) / 127`, with a limit of its own for
//! each of the 96 (the lowest are a hundred times the highest). The real bins 0 and 48 together
//! are treated as one complex bin whose parts do not mix. Frames come in pairs, real and
//! imaginary parts of two neighbours side by side: four bytes that meet four weights.

use super::{
    affine::{Affine, AfterMax, values},
    lanes::Lanes,
    timbral::{COLUMNS, PADDED, ROWS, Room, TILE, Tile, Turns, filter_spectrum, inverse, roots},
};
use crate::{
    NetworkError, Weights,
    architectures::musicnn::{BANDS, SHORT, TIMBRAL_FILTERS, TIMBRAL_WIDTHS},
    kernels::int8::{
        IntIsa,
        dot::{self, Dot},
    },
};

/// Complex bins, the two real ones counted as one.
const BINS: usize = BANDS / 2;
/// Pairs of frames under a filter, the last of one frame only.
const PAIRS: usize = SHORT.div_ceil(2);
/// The byte that stands for 0.
const ZERO: u8 = 128;

/// Real and imaginary parts of two neighbouring frames, bin by bin.
pub(super) type Pair = [[u8; 4]; BINS];

/// Spectra as pairs of frames: with both, with the first one only, with the second one only.
pub(super) struct Pairs {
    both: Vec<Pair>,
    first: Vec<Pair>,
    second: Vec<Pair>,
}

/// Two frames outside of the patch.
const NOTHING: Pair = [[ZERO; 4]; BINS];

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
    /// 127 / limit of each number of a spectrum.
    steps: Vec<f32>,
    /// `[vector of filters, bin, pair, part, lane, 4]`.
    weights: Vec<i8>,
    /// `[vector, bin, part, lane]`.
    factor: Vec<f32>,
    shift: Vec<f32>,
    /// `[column]`.
    after: Vec<AfterMax>,
    turns: Turns,
}

impl IntTimbral {
    pub fn new(weights: &Weights, limits: &[f32], isa: IntIsa) -> Result<Self, NetworkError> {
        if limits.len() != BANDS {
            return Err(NetworkError::malformed(
                "quantisation",
                format!("the spectrum has {} limits; musicnn needs {BANDS}", limits.len()),
            ));
        }
        let lanes = isa.lanes();
        let roots = roots();
        let mut packed = vec![0i8; COLUMNS * BINS * 2 * PAIRS * 4];
        let (mut factor, mut shift) = (vec![0.0; COLUMNS * BANDS], vec![0.0; COLUMNS * BANDS]);
        let mut after = vec![AfterMax::default(); COLUMNS];
        for (first, width) in [0, PADDED].into_iter().zip(TIMBRAL_WIDTHS) {
            let name = format!("timbral_{width}");
            let norm = Affine::batch_norm(weights, &format!("{name}_bn"))?;
            let kernel = values(weights, &name, "weight")?;
            let filters = AfterMax::new(values(weights, &name, "bias")?, &norm);
            after[first..first + TIMBRAL_FILTERS].copy_from_slice(&filters);
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
                        let mut sum = 0i32;
                        for (pair, four) in fours.iter().enumerate() {
                            for (i, w) in four.iter().enumerate() {
                                let byte = (w / scale).round_ties_even().clamp(-127.0, 127.0) as i8;
                                sum += i32::from(byte);
                                let at = ((vector * BINS + bin) * PAIRS + pair) * 2 + part;
                                packed[(at * lanes + lane) * 4 + i] = byte;
                            }
                        }
                        let at = ((vector * BINS + bin) * 2 + part) * lanes + lane;
                        factor[at] = scale;
                        shift[at] = -scale * (i32::from(ZERO) * sum) as f32;
                    }
                }
            }
        }
        Ok(Self {
            isa,
            steps: limits.iter().map(|limit| 127.0 / limit).collect(),
            weights: packed,
            factor,
            shift,
            after,
            turns: Turns::new(),
        })
    }

    /// Spectra `[time, 96 numbers]` as pairs of frames.
    pub fn pairs(&self, spectra: &[f32]) -> Pairs {
        let bytes: Vec<[u8; BANDS]> = spectra
            .chunks_exact(BANDS)
            .map(|frame| {
                std::array::from_fn(|i| {
                    let q = (frame[i] * self.steps[i]).round_ties_even().clamp(-127.0, 127.0);
                    (q as i32 + i32::from(ZERO)) as u8
                })
            })
            .collect();
        const OUTSIDE: [u8; BANDS] = [ZERO; BANDS];
        let pair = |a: &[u8; BANDS], b: &[u8; BANDS]| -> Pair {
            std::array::from_fn(|bin| [a[2 * bin], a[2 * bin + 1], b[2 * bin], b[2 * bin + 1]])
        };
        let next = |t: usize| bytes.get(t + 1).unwrap_or(&OUTSIDE);
        Pairs {
            both: bytes.iter().enumerate().map(|(t, a)| pair(a, next(t))).collect(),
            first: bytes.iter().map(|a| pair(a, &OUTSIDE)).collect(),
            second: bytes.iter().map(|b| pair(&OUTSIDE, b)).collect(),
        }
    }

    /// As the layer in floats.
    pub fn run(&self, tiles: &mut [Tile<'_, Pair>]) {
        for vector in 0..COLUMNS / self.isa.lanes() {
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
        assert_eq!((S::LANES, V::LANES), (lanes, lanes));
        let weights =
            &self.weights[vector * BINS * PAIRS * 2 * lanes * 4..][..BINS * PAIRS * 2 * lanes * 4];
        let factor = &self.factor[vector * BANDS * lanes..][..BANDS * lanes];
        let shift = &self.shift[vector * BANDS * lanes..][..BANDS * lanes];
        let column = vector * lanes;
        let after = &self.after[column..column + lanes];
        let positions = BANDS + 1 - TIMBRAL_WIDTHS[usize::from(column >= PADDED)];
        // SAFETY: the instruction sets are the caller's to vouch for; lengths were checked above.
        unsafe {
            let mut spectrum = [[V::splat(0.0); BANDS]; TILE];
            let mut room = Room::<V>::new();
            for tile in tiles {
                multiply::<V, S>(
                    [weights.as_ptr().cast(), factor.as_ptr().cast(), shift.as_ptr().cast()],
                    &tile.rows,
                    &mut spectrum,
                );
                inverse(&spectrum, &mut room, &self.turns, positions, after, column, tile.out);
            }
        }
    }
}

/// Products of the spectra, summed over the 7 frames under the filter.
///
/// # Safety
/// As [`IntTimbral::tiles`]; the pointers are to weights `[bin, pair, part, lane, 4]` and to factors
/// and shifts `[bin, part, lane]`.
#[inline(always)]
unsafe fn multiply<V: Lanes, S: Dot<Floats = V>>(
    [weights, factor, shift]: [*const u8; 3],
    rows: &[&Pair; ROWS],
    spectrum: &mut [[V; BANDS]; TILE],
) {
    let (factor, shift) = (factor.cast::<f32>(), shift.cast::<f32>());
    // SAFETY: all offsets lie within what the caller vouches for.
    unsafe {
        for bin in 0..BINS {
            let w = weights.cast::<i8>().wrapping_add(bin * PAIRS * 2 * 4 * S::LANES);
            let mut re = [S::zero(); TILE];
            let mut im = [S::zero(); TILE];
            for pair in 0..PAIRS {
                let wr = S::weights(w.wrapping_add(2 * pair * 4 * S::LANES));
                let wi = S::weights(w.wrapping_add((2 * pair + 1) * 4 * S::LANES));
                for t in 0..TILE {
                    let x = S::inputs(rows[t + 2 * pair][bin].as_ptr());
                    re[t] = S::dot(re[t], x, wr);
                    im[t] = S::dot(im[t], x, wi);
                }
            }
            let at = 2 * bin * S::LANES;
            for t in 0..TILE {
                spectrum[t][2 * bin] =
                    S::floats(re[t], factor.wrapping_add(at), shift.wrapping_add(at));
                let at = at + S::LANES;
                spectrum[t][2 * bin + 1] =
                    S::floats(im[t], factor.wrapping_add(at), shift.wrapping_add(at));
            }
        }
    }
}

//! The inner loop: weighted sums of runs of input samples.
//!
//! One output is one dot product. Outputs `L` apart share their row of weights, so four of them
//! are computed together: each load of a weight then serves four sums, and there are enough
//! independent chains of additions to keep the multiply-add units busy. A sum is always taken in
//! the same order whether alone or in a group, so cutting the input differently changes no bit.
//! With AVX-512 another arrangement is faster: `lanes.rs`.

use super::design::{Filter, LANES};

/// Fills `out` with outputs `first`, `first + 1`, …; output `n` reads `filter.width` samples of
/// `input` from index `base + ⌊n · down / up⌋`.
pub(super) fn convolve(filter: &Filter, input: &[f32], base: i64, first: u64, out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") && !filter.blended {
            // SAFETY: the feature that the function is compiled for was just detected.
            return unsafe { super::lanes::convolve(filter, input, base, first, out) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the features that the function is compiled for were just detected.
            return unsafe { x86::convolve_avx2(filter, input, base, first, out) };
        }
    }
    convolve_with(filter, input, base, first, out, dots::<4>, dots::<1>);
}

/// The loop itself, inlined into each caller and so compiled for its instructions.
#[inline(always)]
fn convolve_with(
    filter: &Filter,
    input: &[f32],
    base: i64,
    first: u64,
    out: &mut [f32],
    four: impl Fn(&[f32], [&[f32]; 4]) -> [f32; 4],
    one: impl Fn(&[f32], [&[f32]; 1]) -> [f32; 1],
) {
    let (up, down) = (filter.up as usize, filter.down as usize);
    let at = |n: u64| {
        let time = u128::from(n) * down as u128;
        ((base + (time / up as u128) as i64) as usize, (time % up as u128) as usize)
    };
    let run = |start: usize| &input[start..start + filter.width];
    if filter.blended {
        for (i, sample) in out.iter_mut().enumerate() {
            let (start, remainder) = at(first + i as u64);
            let place = remainder as f64 / up as f64 * filter.phases as f64;
            let (phase, weight) = (place as usize, place.fract() as f32);
            let [low] = one(filter.row(phase), [run(start)]);
            let [high] = one(filter.row(phase + 1), [run(start)]);
            *sample = low + weight * (high - low);
        }
        return;
    }
    let (mut start, mut phase) = at(first);
    let (whole, rest) = (down / up, down % up);
    let advance = |start: &mut usize, phase: &mut usize| {
        *start += whole;
        *phase += rest;
        if *phase >= up {
            *phase -= up;
            *start += 1;
        }
    };
    let mut groups = out.chunks_exact_mut(4 * up);
    for group in &mut groups {
        for i in 0..up {
            let row = filter.row(phase);
            let sums = four(row, [0, 1, 2, 3].map(|j| run(start + j * down)));
            for (j, sum) in sums.into_iter().enumerate() {
                group[j * up + i] = sum;
            }
            advance(&mut start, &mut phase);
        }
        // The loop walked over `up` outputs; three times as many are done already.
        start += 3 * down;
    }
    for sample in groups.into_remainder() {
        [*sample] = one(filter.row(phase), [run(start)]);
        advance(&mut start, &mut phase);
    }
}

/// Dot products of one row with `N` runs of the same length, a multiple of [`LANES`], each as
/// that many partial sums added up at the end.
fn dots<const N: usize>(row: &[f32], runs: [&[f32]; N]) -> [f32; N] {
    runs.map(|run| {
        let mut sums = [0.0f32; LANES];
        for (weights, samples) in row.as_chunks::<LANES>().0.iter().zip(run.as_chunks::<LANES>().0)
        {
            for lane in 0..LANES {
                sums[lane] += weights[lane] * samples[lane];
            }
        }
        fold(sums)
    })
}

/// The sum of partial sums, in halves: the order is part of the result.
fn fold(sums: [f32; LANES]) -> f32 {
    // Constant indices, or the sums would live in memory instead of registers.
    let eight: [f32; 8] = std::array::from_fn(|i| sums[i] + sums[i + 8]);
    let four: [f32; 4] = std::array::from_fn(|i| eight[i] + eight[i + 4]);
    (four[0] + four[2]) + (four[1] + four[3])
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_setzero_ps, _mm256_storeu_ps,
    };

    use super::{Filter, LANES, convolve_with, fold};

    #[target_feature(enable = "avx2,fma")]
    pub fn convolve_avx2(filter: &Filter, input: &[f32], base: i64, first: u64, out: &mut [f32]) {
        let four = |row: &[f32], runs: [&[f32]; 4]| dots_avx2(row, runs);
        let one = |row: &[f32], runs: [&[f32]; 1]| dots_avx2(row, runs);
        convolve_with(filter, input, base, first, out, four, one);
    }

    /// As [`super::dots`], two registers of 8 lanes for each run.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn dots_avx2<const N: usize>(row: &[f32], runs: [&[f32]; N]) -> [f32; N] {
        assert!(runs.iter().all(|run| run.len() == row.len()) && row.len().is_multiple_of(LANES));
        let mut sums = [[_mm256_setzero_ps(); 2]; N];
        for i in (0..row.len()).step_by(LANES) {
            // SAFETY: i + 16 ≤ row.len(), which is the length of every slice here (asserted).
            unsafe {
                let low = _mm256_loadu_ps(row.as_ptr().add(i));
                let high = _mm256_loadu_ps(row.as_ptr().add(i + 8));
                for j in 0..N {
                    let run = runs[j].as_ptr().add(i);
                    sums[j][0] = _mm256_fmadd_ps(low, _mm256_loadu_ps(run), sums[j][0]);
                    sums[j][1] = _mm256_fmadd_ps(high, _mm256_loadu_ps(run.add(8)), sums[j][1]);
                }
            }
        }
        sums.map(|[low, high]| {
            let mut lanes = [0.0; LANES];
            // SAFETY: the array has room for twice 8 lanes.
            unsafe {
                _mm256_storeu_ps(lanes.as_mut_ptr(), low);
                _mm256_storeu_ps(lanes.as_mut_ptr().add(8), high);
            }
            fold(lanes)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fast_dot_products_equal_the_plain_one() {
        let wave = |i: usize, f: f32| (i as f32 * f).sin();
        for length in [16, 32, 400] {
            let row: Vec<f32> = (0..length).map(|i| wave(i, 0.37)).collect();
            let data: Vec<f32> = (0..length + 9).map(|i| wave(i, 1.1)).collect();
            let runs = [0, 1, 5, 9].map(|at| &data[at..at + length]);
            let want =
                runs.map(|run| row.iter().zip(run).map(|(a, b)| f64::from(a * b)).sum::<f64>());
            let check = |have: [f32; 4], name: &str| {
                for (w, h) in want.iter().zip(have) {
                    assert!((w - f64::from(h)).abs() < 2e-5, "{name} of {length}: {w} and {h}");
                }
            };
            check(dots(&row, runs), "plain");
            // Alone or in a group, the same to the bit.
            assert_eq!(dots(&row, runs)[2], dots(&row, [runs[2]])[0]);
            #[cfg(target_arch = "x86_64")]
            {
                if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                    // SAFETY: the features were just detected.
                    let (four, one) =
                        unsafe { (x86::dots_avx2(&row, runs), x86::dots_avx2(&row, [runs[2]])) };
                    check(four, "AVX2");
                    assert_eq!(four[2], one[0]);
                }
            }
        }
    }
}

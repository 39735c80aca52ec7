//! The inner loop: weighted sums of runs of input samples.
//!
//! One output is one dot product. Outputs `L` apart share their row of weights, so four of them
//! are computed together: each load of a weight then serves four sums, and there are enough
//! independent chains of additions to keep the multiply-add units busy. A sum is always taken in
//! the same order whether alone or in a group, so cutting the input differently changes no bit.

use super::design::{Filter, LANES};

/// Fills `out` with outputs `first`, `first + 1`, …; output `n` reads `filter.width` samples of
/// `input` from index `base + ⌊n · down / up⌋`.
pub(super) fn convolve(filter: &Filter, input: &[f32], base: i64, first: u64, out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("fma") {
            // SAFETY: the features that the function is compiled for were just detected.
            unsafe { convolve_avx512(filter, input, base, first, out) };
            return;
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the features that the function is compiled for were just detected.
            unsafe { convolve_avx2(filter, input, base, first, out) };
            return;
        }
    }
    convolve_with::<false>(filter, input, base, first, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,fma")]
fn convolve_avx512(filter: &Filter, input: &[f32], base: i64, first: u64, out: &mut [f32]) {
    convolve_with::<true>(filter, input, base, first, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn convolve_avx2(filter: &Filter, input: &[f32], base: i64, first: u64, out: &mut [f32]) {
    convolve_with::<true>(filter, input, base, first, out);
}

/// The loop itself, inlined into each of the above and compiled for its instructions.
#[inline(always)]
fn convolve_with<const FMA: bool>(
    filter: &Filter,
    input: &[f32],
    base: i64,
    first: u64,
    out: &mut [f32],
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
            let [low] = dots::<1, FMA>(filter.row(phase), [run(start)]);
            let [high] = dots::<1, FMA>(filter.row(phase + 1), [run(start)]);
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
            let runs =
                [run(start), run(start + down), run(start + 2 * down), run(start + 3 * down)];
            let sums = dots::<4, FMA>(row, runs);
            for (j, sum) in sums.into_iter().enumerate() {
                group[j * up + i] = sum;
            }
            advance(&mut start, &mut phase);
        }
        // The loop walked `up` outputs; three more of their like are done already.
        start += 3 * down;
    }
    for sample in groups.into_remainder() {
        [*sample] = dots::<1, FMA>(filter.row(phase), [run(start)]);
        advance(&mut start, &mut phase);
    }
}

/// Dot products of one row with `N` runs, each as [`LANES`] partial sums added up at the end.
#[inline(always)]
fn dots<const N: usize, const FMA: bool>(row: &[f32], runs: [&[f32]; N]) -> [f32; N] {
    let mut sums = [[0.0f32; LANES]; N];
    let (row, _) = row.as_chunks::<LANES>();
    let runs = runs.map(|run| &run.as_chunks::<LANES>().0[..row.len()]);
    for (i, weights) in row.iter().enumerate() {
        for (sum, run) in sums.iter_mut().zip(&runs) {
            let samples = &run[i];
            for lane in 0..LANES {
                // A fused multiply-add without the instruction would be a slow library call.
                sum[lane] = if FMA {
                    weights[lane].mul_add(samples[lane], sum[lane])
                } else {
                    sum[lane] + weights[lane] * samples[lane]
                };
            }
        }
    }
    sums.map(|sum| {
        let mut folded = sum;
        for half in [8, 4, 2, 1] {
            for lane in 0..half {
                folded[lane] += folded[lane + half];
            }
        }
        folded[0]
    })
}

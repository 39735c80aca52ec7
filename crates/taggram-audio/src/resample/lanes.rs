//! Sixteen outputs at once, each in a lane of its own: for AVX-512.
//!
//! Outputs a whole number of periods apart share their weights, and their inputs lie equally far apart. So the
//! outputs wanted are cut into sixteen runs; the inputs of the runs are laid side by side (a row holds one sample
//! of each), and one weight multiplies a row: every load is aligned, and no sum has to be folded. Each output
//! adds its products in the order of the weights, wherever in whichever run it is, so that cutting the input
//! differently changes no bit.

use std::arch::x86_64::{
    _mm512_add_ps, _mm512_fmadd_ps, _mm512_i32gather_ps, _mm512_load_ps, _mm512_loadu_si512,
    _mm512_set1_ps, _mm512_setzero_ps, _mm512_store_ps,
};

use super::design::{Filter, LANES};

/// One sample of every run.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Row([f32; LANES]);

/// Outputs of one run that are computed together: as many chains of additions keep the multiply-add units busy.
const TOGETHER: usize = 8;

/// Products that are added up before their sum joins the total, which keeps rounding small.
const PARTIAL: usize = 64;

/// As [`super::kernel::convolve`], for a filter that is not blended.
#[target_feature(enable = "avx512f")]
pub(super) fn convolve(filter: &Filter, input: &[f32], base: i64, first: u64, out: &mut [f32]) {
    let (up, down) = (filter.up as usize, filter.down as usize);
    // Outputs in a run, a whole number of periods; only the last runs may be cut or empty.
    let steps = out.len().div_ceil(LANES * up) * up;
    let apart = steps / up * down;
    let place = |step: usize| {
        let time = u128::from(first + step as u64) * down as u128;
        ((base + (time / up as u128) as i64) as usize, (time % up as u128) as usize)
    };
    let wanted = steps.min(out.len());
    let (begin, _) = place(0);
    let (last, _) = place(wanted.saturating_sub(1));
    let rows = beside(input, begin, apart, last - begin + filter.width);
    for step in (0..wanted).step_by(TOGETHER) {
        // Beyond the end the last one is done again.
        let each: [_; TOGETHER] = std::array::from_fn(|t| place((step + t).min(wanted - 1)));
        let weights = each.map(|(_, phase)| filter.row(phase));
        let samples = each.map(|(start, _)| &rows[start - begin..][..filter.width]);
        // A filter of one phase has the same weights for all: they are loaded once.
        let sums = if up == 1 {
            together::<true>(weights, samples)
        } else {
            together::<false>(weights, samples)
        };
        for (t, sums) in sums.iter().enumerate().take(wanted - step) {
            for (lane, sum) in sums.0.iter().enumerate() {
                if let Some(out) = out.get_mut(lane * steps + step + t) {
                    *out = *sum;
                }
            }
        }
    }
}

/// `count` rows: the samples from `begin` on in the first lane, from `begin + apart` on in the next, and so on;
/// zeros beyond the input, which only lanes see that are not wanted.
#[target_feature(enable = "avx512f")]
fn beside(input: &[f32], begin: usize, apart: usize, count: usize) -> Vec<Row> {
    let mut rows = vec![Row([0.0; LANES]); count];
    let reach = (LANES - 1) * apart;
    // Rows of which every lane lies within the input.
    let whole = if i32::try_from(reach).is_ok() {
        input.len().saturating_sub(begin + reach).min(count)
    } else {
        0
    };
    let offsets: [i32; LANES] = std::array::from_fn(|lane| (lane * apart) as i32);
    // SAFETY: the array is as large as the register.
    let offsets = unsafe { _mm512_loadu_si512(offsets.as_ptr().cast()) };
    let (gathered, rest) = rows.split_at_mut(whole);
    for (i, row) in gathered.iter_mut().enumerate() {
        // SAFETY: i < whole, so begin + i + reach, the furthest sample read, is within the input; a row is aligned.
        unsafe {
            let samples = _mm512_i32gather_ps::<4>(offsets, input.as_ptr().add(begin + i));
            _mm512_store_ps(row.0.as_mut_ptr(), samples);
        }
    }
    for (i, row) in rest.iter_mut().enumerate() {
        for (lane, sample) in row.0.iter_mut().enumerate() {
            *sample = input.get(begin + whole + i + lane * apart).copied().unwrap_or(0.0);
        }
    }
    rows
}

/// Sums of weights times rows, [`TOGETHER`] of them, for every lane; `SAME`: all with the first weights.
#[inline]
#[target_feature(enable = "avx512f")]
fn together<const SAME: bool>(
    weights: [&[f32]; TOGETHER],
    rows: [&[Row]; TOGETHER],
) -> [Row; TOGETHER] {
    let width = weights[0].len();
    assert!(weights.iter().all(|w| w.len() == width) && rows.iter().all(|r| r.len() == width));
    let mut totals = [_mm512_setzero_ps(); TOGETHER];
    for from in (0..width).step_by(PARTIAL) {
        let mut sums = [_mm512_setzero_ps(); TOGETHER];
        for k in from..(from + PARTIAL).min(width) {
            for t in 0..TOGETHER {
                // SAFETY: k < width, the length of all of them (asserted); a row is aligned.
                unsafe {
                    let weights = weights[if SAME { 0 } else { t }];
                    let weight = _mm512_set1_ps(*weights.get_unchecked(k));
                    let row = _mm512_load_ps(rows[t].get_unchecked(k).0.as_ptr());
                    sums[t] = _mm512_fmadd_ps(weight, row, sums[t]);
                }
            }
        }
        for t in 0..TOGETHER {
            totals[t] = _mm512_add_ps(totals[t], sums[t]);
        }
    }
    totals.map(|total| {
        let mut row = Row([0.0; LANES]);
        // SAFETY: a row is aligned and holds all lanes.
        unsafe { _mm512_store_ps(row.0.as_mut_ptr(), total) };
        row
    })
}

#[cfg(test)]
mod tests {
    use super::super::{ResamplingKind, design};
    use super::*;

    #[test]
    fn every_output_is_its_sum_wherever_it_is_cut() {
        if !is_x86_feature_detected!("avx512f") {
            println!("SKIPPED: this processor has no AVX-512");
            return;
        }
        let input: Vec<f32> = (0..5000)
            .map(|i| 0.3 * (i as f32 * 0.37).sin() + 0.2 * (i as f32 * 1.7).cos())
            .collect();
        for (from, to) in [(44_100, 22_050), (48_000, 22_050), (44_100, 16_000), (16_000, 48_000)] {
            let filter = design::cached(from, to, ResamplingKind::SoxrHq);
            let room = (input.len() - filter.width) as u64 * filter.up / filter.down;
            let mut whole = vec![0.0; room as usize];
            // SAFETY: the feature was just detected.
            unsafe { convolve(&filter, &input, 0, 0, &mut whole) };
            for (n, have) in whole.iter().enumerate() {
                let time = n as u64 * filter.down;
                let row = filter.row((time % filter.up) as usize);
                let run = &input[(time / filter.up) as usize..];
                let want: f64 = row.iter().zip(run).map(|(w, x)| f64::from(w * x)).sum();
                let apart = (want - f64::from(*have)).abs();
                assert!(apart < 2e-6, "{from} → {to}, {n}: {want} and {have}");
            }
            let mut pieces = vec![0.0; whole.len()];
            let mut at = 0;
            for length in [1, 7, 50, 160, 1000, 3].into_iter().cycle() {
                if at == pieces.len() {
                    break;
                }
                let end = (at + length).min(pieces.len());
                // SAFETY: the feature was just detected.
                unsafe { convolve(&filter, &input, 0, at as u64, &mut pieces[at..end]) };
                at = end;
            }
            assert!(pieces == whole, "{from} → {to}: pieces differ from the whole");
        }
    }
}

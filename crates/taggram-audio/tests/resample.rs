//! The resampler against soxr and resampy, and against itself.

mod common;

use common::{Noise, agreement, golden_f32, sweep, worst};
use taggram_audio::{Resampler, ResamplingKind};

fn resample(x: &[f32], from: u32, to: u32, kind: ResamplingKind, piece: usize) -> Vec<f32> {
    let mut resampler = Resampler::new(from, to, kind);
    let mut out = Vec::new();
    for part in x.chunks(piece) {
        resampler.push(part, &mut out);
    }
    resampler.finish(&mut out);
    out
}

#[test]
fn agrees_with_soxr_and_resampy() {
    // Rates and the least agreement with soxr in dB, over a tone that sweeps through the cut-off,
    // where filters differ most. For ratios that are not whole, soxr chains filters that one
    // filter only comes close to.
    let cases = [
        (44_100, 22_050, 120.0),
        (48_000, 16_000, 120.0),
        (48_000, 12_000, 105.0),
        (22_050, 44_100, 110.0),
        (48_000, 22_050, 66.0),
        (44_100, 16_000, 66.0),
        (16_000, 22_050, 66.0),
        (44_056, 22_050, 66.0),
    ];
    let mut failures = Vec::new();
    for (from, to, least) in cases {
        let x = sweep(from, 0.09);
        // The last sample of librosa's result can be a zero that pads it.
        let end = (x.len() as u64 * u64::from(to)).div_ceil(u64::from(from)) as usize - 1;
        let ours = resample(&x, from, to, ResamplingKind::SoxrHq, usize::MAX);
        let db =
            agreement(&golden_f32(&format!("resample/soxr_{from}_{to}.raw"))[..end], &ours[..end]);
        let ours = resample(&x, from, to, ResamplingKind::KaiserBest, usize::MAX);
        let off =
            worst(&golden_f32(&format!("resample/best_{from}_{to}.raw"))[..end], &ours[..end]);
        println!("{from} → {to}: soxr {db:.1} dB, resampy off by {off:.1e}");
        if db < least || off > 1e-5 {
            failures
                .push(format!("{from} → {to}: {db:.1} dB (least {least}), {off:.1e} (most 1e-5)"));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn pieces_make_the_whole_to_the_bit() {
    let x = sweep(44_100, 0.4);
    for (from, to) in
        [(44_100, 22_050), (48_000, 22_050), (8000, 22_050), (44_056, 22_050), (44_100, 44_100)]
    {
        for kind in [ResamplingKind::SoxrHq, ResamplingKind::KaiserBest] {
            let whole = resample(&x, from, to, kind, usize::MAX);
            assert_eq!(whole.len() as u64, (x.len() as u64 * u64::from(to)).div_ceil(from.into()));
            for piece in [1, 997, 4096] {
                assert!(
                    resample(&x, from, to, kind, piece) == whole,
                    "{from} → {to} in pieces of {piece}"
                );
            }
        }
    }
}

#[test]
fn a_tone_keeps_its_height_and_place() {
    // A cosine well inside the band comes out as the same cosine, in step.
    let cosine =
        |rate: f64, i: usize| (std::f64::consts::TAU * 1000.0 * i as f64 / rate).cos() as f32;
    for (from, to) in
        [(44_100, 22_050), (22_050, 48_000), (96_000, 22_050), (192_000, 16_000), (44_056, 22_050)]
    {
        let x: Vec<f32> = (0..from as usize / 2).map(|i| cosine(f64::from(from), i)).collect();
        for kind in [ResamplingKind::SoxrHq, ResamplingKind::KaiserBest] {
            let y = resample(&x, from, to, kind, 5000);
            let middle = y.len() / 4..y.len() * 3 / 4;
            let want: Vec<f32> = middle.clone().map(|i| cosine(f64::from(to), i)).collect();
            // resampy's table is stepped through coarsely; its gain is off by up to 1.6 %.
            let most = if kind == ResamplingKind::SoxrHq { 2e-5 } else { 2e-2 };
            assert!(worst(&want, &y[middle]) < most, "{from} → {to}, {kind:?}");
        }
    }
}

#[test]
fn short_and_empty_signals() {
    let mut noise = Noise(7);
    for n in [0usize, 1, 2, 3, 500] {
        let x: Vec<f32> = (0..n).map(|_| noise.below(2000) as f32 / 1000.0 - 1.0).collect();
        for (from, to) in [(44_100, 22_050), (8000, 44_100), (44_056, 22_050)] {
            let y = resample(&x, from, to, ResamplingKind::SoxrHq, 100);
            assert_eq!(y.len() as u64, (n as u64 * u64::from(to)).div_ceil(from.into()));
            assert!(y.iter().all(|v| v.is_finite()));
        }
    }
}

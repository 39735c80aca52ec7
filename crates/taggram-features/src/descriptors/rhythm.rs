//! Descriptors of rhythm: onsets, tempo, beats.

use realfft::RealFftPlanner;
use realfft::num_complex::Complex32;

use super::pitch::median;
use super::{HOP, N_FFT};
use crate::map::FeatureMap;
use crate::stft::hann;

/// Window in which the onsets are compared with themselves, seconds.
const WINDOW_SECONDS: f64 = 8.0;
/// Tempo believed in most, beats a minute; half of it and twice it are one deviation away.
const LIKELY_BPM: f64 = 120.0;
/// No tempo is faster, beats a minute.
const MAX_BPM: f64 = 320.0;
/// How strongly beats are held to the tempo.
const TIGHTNESS: f32 = 100.0;

/// Onset strength: how much louder the median mel band becomes from one frame to the next, dB;
/// `[frame]`, ≥ 0, of a mel map in dB. Shifted by half a transform, as librosa does, so that a peak lies at
/// its onset. (librosa `onset_strength(aggregate=np.median)`, the one inside `beat_track`.)
pub fn onset_strength(mel_decibel: &FeatureMap) -> Vec<f32> {
    const SHIFT: usize = 1 + N_FFT / (2 * HOP);
    let rise = |t: usize| {
        let pairs = mel_decibel.frame(0, t).iter().zip(mel_decibel.frame(0, t - 1));
        median(pairs.map(|(now, before)| (now - before).max(0.0)).collect()).unwrap_or(0.0)
    };
    (0..mel_decibel.frames).map(|t| if t < SHIFT { 0.0 } else { rise(t + 1 - SHIFT) }).collect()
}

/// Tempo and beats of a clip.
#[derive(Clone, Debug, PartialEq)]
pub struct Beats {
    /// Tempo, beats a minute; 0 when nothing ever sets in.
    pub tempo: f64,
    /// Frames on which a beat falls, ascending.
    pub frames: Vec<usize>,
}

/// Tempo and beats from [`onset_strength`] at `sample_rate` Hz; librosa's `beat_track` with its
/// defaults (Ellis 2007).
pub fn beat_track(onsets: &[f32], sample_rate: u32) -> Beats {
    if onsets.iter().all(|&o| o == 0.0) {
        return Beats { tempo: 0.0, frames: Vec::new() };
    }
    let tempo = tempo(onsets, sample_rate);
    let period =
        (f64::from(sample_rate) / HOP as f64 * 60.0 / tempo).round_ties_even().max(1.0) as usize;
    let score = local_score(onsets, period);
    let (links, total) = follow(&score, period);
    let mut frames = Vec::new();
    let mut next = last_beat(&total);
    while let Some(frame) = next {
        frames.push(frame);
        next = links[frame];
    }
    frames.reverse();
    trim(&score, &mut frames);
    Beats { tempo, frames }
}

/// Tempo, beats a minute: the period at which the onsets repeat most in windows of 8 s, tempi
/// near 120 preferred (librosa `feature.tempo`). The tempi it can give are a grid: 60 · rate / (512 · lag).
pub fn tempo(onsets: &[f32], sample_rate: u32) -> f64 {
    let frame_rate = f64::from(sample_rate) / HOP as f64;
    let length = (WINDOW_SECONDS * frame_rate) as usize;
    let repetition = mean_autocorrelation(onsets, length.max(2));
    let score = |lag: usize| {
        let octaves = (60.0 * frame_rate / lag as f64 / LIKELY_BPM).log2();
        (1e6 * repetition[lag]).ln_1p() - 0.5 * octaves * octaves
    };
    let lags = (1..repetition.len()).filter(|&lag| 60.0 * frame_rate / (lag as f64) < MAX_BPM);
    // The first of equals, as numpy's argmax.
    let best = lags.rev().max_by(|&a, &b| score(a).total_cmp(&score(b)));
    best.map_or(LIKELY_BPM, |lag| 60.0 * frame_rate / lag as f64)
}

/// Autocorrelation of the onsets around each frame in a Hann window of `length` frames, relative to
/// its largest value, averaged over the frames; `[lag]`.
fn mean_autocorrelation(onsets: &[f32], length: usize) -> Vec<f64> {
    let n = onsets.len();
    // Beyond the ends the onsets fade linearly to zero.
    let half = length / 2;
    let ramp = |i: usize, edge: f32| (i as f64 / half as f64 * f64::from(edge)) as f32;
    let mut padded: Vec<f32> = (0..half).map(|i| ramp(i, onsets[0])).collect();
    padded.extend_from_slice(onsets);
    padded.extend((0..half).rev().map(|i| ramp(i, onsets[n - 1])));
    // Long enough that the transform does not wrap around.
    let size = (length..).map(|half| 2 * half).find(|&n| is_smooth(n)).unwrap_or(2 * length);
    let mut planner = RealFftPlanner::<f32>::new();
    let (forward, back) = (planner.plan_fft_forward(size), planner.plan_fft_inverse(size));
    let mut values = forward.make_input_vec();
    let mut spectrum = forward.make_output_vec();
    let mut scratch =
        vec![Complex32::default(); forward.get_scratch_len().max(back.get_scratch_len())];
    let window: Vec<f32> = hann(length).into_iter().map(|w| w as f32).collect();
    let mut mean = vec![0.0f64; length];
    for frame in padded.windows(length).take(n) {
        values.fill(0.0);
        values.iter_mut().zip(frame.iter().zip(&window)).for_each(|(v, (x, w))| *v = x * w);
        forward
            .process_with_scratch(&mut values, &mut spectrum, &mut scratch)
            .expect("the plan's own sizes");
        spectrum.iter_mut().for_each(|x| *x = Complex32::new(x.norm_sqr(), 0.0));
        back.process_with_scratch(&mut spectrum, &mut values, &mut scratch)
            .expect("the plan's own sizes");
        let largest = values[..length].iter().fold(0.0f32, |a, &b| a.max(b.abs()));
        let scale = if largest < f32::MIN_POSITIVE { 0.0 } else { 1.0 / f64::from(largest) };
        mean.iter_mut().zip(&values).for_each(|(m, v)| *m += f64::from(*v) * scale);
    }
    mean.iter_mut().for_each(|m| *m = (*m / n as f64).max(0.0));
    mean
}

/// Whether a transform of this size is fast: no prime factor above 5.
fn is_smooth(mut n: usize) -> bool {
    for factor in [2, 3, 5] {
        while n.is_multiple_of(factor) {
            n /= factor;
        }
    }
    n == 1
}

/// Onsets over their deviation, smoothed by a Gaussian of 1/32 of the period.
fn local_score(onsets: &[f32], period: usize) -> Vec<f32> {
    let n = onsets.len();
    let mean = onsets.iter().map(|&o| f64::from(o)).sum::<f64>() / n as f64;
    let variance =
        onsets.iter().map(|&o| (f64::from(o) - mean).powi(2)).sum::<f64>() / (n.max(2) - 1) as f64;
    let scale = 1.0 / (variance.sqrt() + f64::from(f32::MIN_POSITIVE));
    let weight = |d: isize| (-0.5 * (d as f64 * 32.0 / period as f64).powi(2)).exp();
    let reach = period as isize;
    let value = |t: usize| {
        let near =
            (-reach..=reach).filter_map(|d| Some((d, onsets.get(t.checked_add_signed(d)?)?)));
        (near.map(|(d, &o)| weight(d) * f64::from(o)).sum::<f64>() * scale) as f32
    };
    (0..n).map(value).collect()
}

/// The best chain of beats ending on each frame: the beat before it, and the chain's score.
fn follow(score: &[f32], period: usize) -> (Vec<Option<usize>>, Vec<f32>) {
    let half = (period as f64 / 2.0).round_ties_even() as usize;
    let off = |gap: usize| {
        let octaves = ((gap as f64).ln() - (period as f64).ln()) as f32;
        TIGHTNESS * octaves * octaves
    };
    let penalties: Vec<f32> =
        (0..=2 * period).map(|gap| if gap == 0 { f32::INFINITY } else { off(gap) }).collect();
    let threshold = 0.01 * score.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
    let mut links: Vec<Option<usize>> = Vec::with_capacity(score.len());
    let mut total: Vec<f32> = Vec::with_capacity(score.len());
    let mut begun = false;
    for (t, &here) in score.iter().enumerate() {
        let mut best: Option<(usize, f32)> = None;
        for gap in half.max(1)..=(2 * period).min(t) {
            let chain = total[t - gap] - penalties[gap];
            if best.is_none_or(|(_, b)| chain > b) {
                best = Some((t - gap, chain));
            }
        }
        total.push(here + best.map_or(0.0, |(_, chain)| chain));
        // Until something is heard no beat is chained.
        begun |= here >= threshold;
        links.push(if begun { best.map(|(frame, _)| frame) } else { None });
    }
    (links, total)
}

/// The last frame whose chain is a local maximum of at least half the median of such maxima.
fn last_beat(total: &[f32]) -> Option<usize> {
    let n = total.len();
    let peak =
        |t: usize| (t == 0 || total[t] > total[t - 1]) && (t + 1 == n || total[t] >= total[t + 1]);
    let peaks: Vec<usize> = (1..n).filter(|&t| peak(t)).collect();
    let threshold =
        median(peaks.iter().map(|&t| total[t]).collect()).map_or(f32::NEG_INFINITY, |m| 0.5 * m);
    peaks.into_iter().rev().find(|&t| total[t] >= threshold).or(n.checked_sub(1))
}

/// Drops leading and trailing beats that are weak: score at most half the RMS of the smoothed beats.
fn trim(score: &[f32], beats: &mut Vec<usize>) {
    // A Hann window of five points.
    const SMOOTH: [f64; 5] = [0.0, 0.5, 1.0, 0.5, 0.0];
    let at = |i: isize| {
        usize::try_from(i).ok().and_then(|i| beats.get(i)).map_or(0.0, |&b| f64::from(score[b]))
    };
    let smoothed = |i: usize| {
        SMOOTH.iter().enumerate().map(|(k, w)| w * at(i as isize + 2 - k as isize)).sum::<f64>()
    };
    let square = (0..beats.len()).map(|i| smoothed(i).powi(2)).sum::<f64>()
        / (beats.len() + 2).min(score.len()) as f64;
    let threshold = 0.5 * square.sqrt();
    // librosa looks at frames, not beats: it stops at the first frame, beat or not, above the threshold.
    let above = |t: &usize| f64::from(score[*t]) > threshold;
    let first = (0..score.len()).find(above).unwrap_or(0);
    let last = (0..score.len()).rev().find(above).unwrap_or(0);
    beats.retain(|t| (first..=last).contains(t));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metronome_has_its_tempo() {
        for (period, bpm) in [(43, 60.09), (22, 117.45), (16, 161.5)] {
            let onsets: Vec<f32> =
                (0..1_000).map(|t| if t % period == 7 { 5.0 } else { 0.01 }).collect();
            let beats = beat_track(&onsets, 22_050);
            let ratio = beats.tempo / bpm;
            assert!(
                [0.5, 1.0, 2.0].iter().any(|r| (ratio - r).abs() < 0.01),
                "{} for {bpm}",
                beats.tempo
            );
            let on = beats.frames.iter().filter(|&&t| t % period == 7).count();
            assert!(on * 2 >= beats.frames.len() && on > 10, "{:?}", beats.frames);
        }
    }

    #[test]
    fn silence_has_no_beat() {
        assert_eq!(beat_track(&[0.0; 50], 22_050), Beats { tempo: 0.0, frames: vec![] });
        for n in [1, 2, 3, 10] {
            let beats = beat_track(&vec![1.0; n], 22_050);
            assert!(beats.tempo > 0.0 && beats.frames.iter().all(|&t| t < n));
        }
    }
}

//! How far a figure can be trusted, and whether two models differ.

use serde::{Deserialize, Serialize};

use crate::rng::Rng;

/// Normal quantile of a two-sided 95 % interval.
const Z95: f64 = 1.959_963_984_540_054;

/// A 95 % interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Wilson's 95 % score interval of a share, `right` of `songs` (Wilson 1927). 0…1 for no songs.
pub fn wilson(right: usize, songs: usize) -> Interval {
    if songs == 0 {
        return Interval { low: 0.0, high: 1.0 };
    }
    let n = songs as f64;
    let p = right as f64 / n;
    let z2 = Z95 * Z95;
    let centre = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z95 / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    Interval { low: (centre - half).max(0.0), high: (centre + half).min(1.0) }
}

/// 95 % percentile bootstrap over songs (Efron 1979) of several figures at once: `figures` is
/// given the songs of a resample, drawn with replacement. The same seed gives the same interval.
pub fn bootstrap<const N: usize>(
    songs: usize,
    resamples: usize,
    seed: u64,
    figures: impl Fn(&[usize]) -> [f64; N],
) -> [Interval; N] {
    if songs == 0 || resamples == 0 {
        return [Interval::default(); N];
    }
    let mut rng = Rng::at(&[seed, 0xb007]);
    let mut values = vec![Vec::with_capacity(resamples); N];
    let mut drawn = vec![0; songs];
    for _ in 0..resamples {
        drawn.iter_mut().for_each(|s| *s = rng.below(songs));
        for (list, value) in values.iter_mut().zip(figures(&drawn)) {
            list.push(value);
        }
    }
    std::array::from_fn(|i| middle(&mut values[i]))
}

/// The range of the middle 95 % of at least one value.
pub(super) fn middle(values: &mut [f64]) -> Interval {
    values.sort_by(f64::total_cmp);
    let at = |q: f64| values[((values.len() - 1) as f64 * q).round() as usize];
    Interval { low: at(0.025), high: at(0.975) }
}

/// McNemar's exact test of two models on the same songs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct McNemar {
    /// Songs that both were asked about.
    pub songs: usize,
    /// Songs that only the first got right.
    pub only_first: usize,
    /// Songs that only the second got right.
    pub only_second: usize,
    /// Two-sided probability of a difference at least this large if the models were equally good.
    pub p_value: f64,
}

/// Compares two models song by song: `first[i]` and `second[i]` say whether each was right
/// about song i. Only the songs on which they differ count; if the models were equally good, each
/// such song would fall to either side with probability ½ (McNemar 1947, exact binomial form).
///
/// # Panics
/// When the lists differ in length: a bug of the caller.
pub fn mcnemar(first: &[bool], second: &[bool]) -> McNemar {
    assert_eq!(first.len(), second.len(), "the models were asked about different songs");
    let count = |a: bool| first.iter().zip(second).filter(|&(&x, &y)| x == a && y != a).count();
    let (only_first, only_second) = (count(true), count(false));
    let n = only_first + only_second;
    let few = only_first.min(only_second);
    // Σ C(n, i) / 2^n for i ≤ few, each term from the one before, in logarithms so that no n overflows.
    let mut term = -(n as f64) * std::f64::consts::LN_2;
    let mut tail = term.exp();
    for i in 1..=few {
        term += ((n - i + 1) as f64 / i as f64).ln();
        tail += term.exp();
    }
    McNemar { songs: first.len(), only_first, only_second, p_value: (2.0 * tail).min(1.0) }
}

//! Filter tables: the two windowed sincs and their phases.

use std::collections::VecDeque;
use std::f64::consts::PI;
use std::sync::{Arc, LazyLock, Mutex};

use super::ResamplingKind;

/// Rows are padded with zeros to a multiple of this, the kernel's stride.
pub(super) const LANES: usize = 16;

/// Above this many phases the table holds evenly spaced ones, and neighbours are blended:
/// the error of linear blending at 1/2048 of a sample is below −130 dB.
const MAX_PHASES: usize = 1024;
const BLENDED_PHASES: usize = 2048;

/// A polyphase filter for one ratio.
pub(super) struct Filter {
    /// Output rate in lowest terms.
    pub up: u64,
    /// Input rate in lowest terms.
    pub down: u64,
    /// Weights on or before the output's time; the others come after it.
    pub left: usize,
    /// Weights in a row, a multiple of [`LANES`].
    pub width: usize,
    /// `[phase, weight]`; row `p` is for fraction `p / phases`.
    pub rows: Vec<f32>,
    /// Rows in the table (one more is stored when `blended`, for fraction 1).
    pub phases: usize,
    /// Whether positions fall between rows.
    pub blended: bool,
}

impl Filter {
    pub fn row(&self, phase: usize) -> &[f32] {
        &self.rows[phase * self.width..][..self.width]
    }

    fn build(from: u32, to: u32, kind: ResamplingKind) -> Self {
        let divisor = gcd(from, to);
        let (up, down) = (to / divisor, from / divisor);
        let kernel = Kernel::new(up, down, kind);
        let half = kernel.half_width();
        let width = (2 * half).next_multiple_of(LANES);
        let blended = up as usize > MAX_PHASES;
        let phases = if blended { BLENDED_PHASES } else { up as usize };
        let stored = phases + usize::from(blended);
        let mut rows = vec![0.0; stored * width];
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for (phase, row) in rows.chunks_exact_mut(width).enumerate() {
            kernel.weights(phase as f64 / phases as f64, &mut before, &mut after);
            // before[i] weighs the sample i steps before the output's whole position,
            // after[k] the one k + 1 steps behind it.
            for (i, w) in before.iter().enumerate().take(half) {
                row[half - 1 - i] = *w as f32;
            }
            for (k, w) in after.iter().enumerate().take(half) {
                row[half + k] = *w as f32;
            }
        }
        Self { up: up.into(), down: down.into(), left: half, width, rows, phases, blended }
    }
}

/// The most recent filters: a folder usually holds files of one or two rates, and a table can
/// cost milliseconds and megabytes.
static CACHE: LazyLock<Mutex<Recent>> = LazyLock::new(Mutex::default);
type Key = (u32, u32, ResamplingKind);
type Recent = VecDeque<(Key, Arc<Filter>)>;
const CACHED: usize = 6;

/// The filter for a ratio, from the cache if it is there.
pub(super) fn cached(from: u32, to: u32, kind: ResamplingKind) -> Arc<Filter> {
    let divisor = gcd(from, to);
    let key = (from / divisor, to / divisor, kind);
    let lock = || CACHE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some((_, filter)) = lock().iter().find(|(k, _)| *k == key) {
        return filter.clone();
    }
    // Built outside the lock, so that other ratios do not wait; two threads may build the same.
    let filter = Arc::new(Filter::build(from, to, kind));
    let mut cache = lock();
    cache.push_front((key, filter.clone()));
    cache.truncate(CACHED);
    filter
}

/// A continuous-time filter, sampled into rows of weights.
enum Kernel {
    /// Kaiser-windowed sinc: cut-off in cycles per input sample, half width in input samples.
    Sinc { cutoff: f64, half: f64, beta: f64 },
    /// resampy's table of one wing, stepped through at `scale`.
    Table { table: Vec<f64>, scale: f64 },
}

/// resampy's `kaiser_best` as it was before version 0.4: zero crossings, table entries per crossing, roll-off, β.
const ZEROS: usize = 64;
const PER_ZERO: usize = 512;
const ROLL_OFF: f64 = 0.947_593_716_739_959_6;
const BEST_BETA: f64 = 14.769_656_459_379_492;

impl Kernel {
    fn new(up: u32, down: u32, kind: ResamplingKind) -> Self {
        // Downsampling widens the filter to the output's Nyquist frequency.
        let scale = (f64::from(up) / f64::from(down)).min(1.0);
        match kind {
            ResamplingKind::SoxrHq => {
                let (cutoff, beta, half) = soxr(up, down);
                Self::Sinc { cutoff: cutoff * scale / 2.0, half: half / scale, beta }
            }
            ResamplingKind::KaiserBest => {
                let entries = ZEROS * PER_ZERO;
                let table = (0..=entries)
                    .map(|i| {
                        let x = i as f64 / PER_ZERO as f64;
                        let window = bessel_i0(
                            BEST_BETA * (1.0 - (x / ZEROS as f64).powi(2)).max(0.0).sqrt(),
                        ) / bessel_i0(BEST_BETA);
                        scale * ROLL_OFF * sinc(ROLL_OFF * x) * window
                    })
                    .collect();
                Self::Table { table, scale }
            }
        }
    }

    /// Most weights on either side of the output's whole position.
    fn half_width(&self) -> usize {
        match self {
            Self::Sinc { half, .. } => half.ceil() as usize + 1,
            Self::Table { table, scale } => table.len() / table_step(*scale) + 1,
        }
    }

    /// Weights for an output `fraction` (0…1) of an input sample after its whole position.
    fn weights(&self, fraction: f64, before: &mut Vec<f64>, after: &mut Vec<f64>) {
        before.clear();
        after.clear();
        match self {
            Self::Sinc { cutoff, half, beta } => {
                let norm = 2.0 * cutoff / bessel_i0(*beta);
                let at = |x: f64| {
                    let r = x / half;
                    norm * sinc(2.0 * cutoff * x) * bessel_i0(beta * (1.0 - r * r).max(0.0).sqrt())
                };
                let wing = |from: f64, out: &mut Vec<f64>| {
                    out.extend((0..).map(|i| from + f64::from(i)).take_while(|x| x < half).map(at));
                };
                wing(fraction, before);
                wing(1.0 - fraction, after);
            }
            Self::Table { table, scale } => {
                let wing = |from: f64, out: &mut Vec<f64>| {
                    let position = from * PER_ZERO as f64;
                    let (offset, eta) = (position.floor() as usize, position.fract());
                    // As resampy: whole steps through the table (its ratio is rounded down),
                    // blending neighbours, over the entries that fit.
                    let step = table_step(*scale);
                    let count = table.len().saturating_sub(offset) / step;
                    out.extend((0..count).map(|i| {
                        let at = offset + i * step;
                        let here = table[at];
                        here + eta * (table.get(at + 1).unwrap_or(&here) - here)
                    }));
                };
                wing(fraction * scale, before);
                wing(scale - fraction * scale, after);
            }
        }
    }
}

/// Cut-off (of the lower Nyquist frequency), β and half width (in samples of the lower rate),
/// fitted to the impulse responses of soxr 1.1.0 at quality HQ. For these whole ratios its filter
/// is one windowed sinc and the fit is good to 130 dB and more; for others it is a chain of
/// stages that varies from sample to sample, and one filter comes within 70 dB of it.
fn soxr(up: u32, down: u32) -> (f64, f64, f64) {
    let (beta, taps) = match (up, down) {
        (1, 2) | (2, 1) => (13.0399, 389),
        (1, 3) | (3, 1) => (13.0401, 581),
        (4, 1) => (13.0400, 777),
        (1, 4) => (13.7113, 818),
        (1, 6) | (6, 1) => (13.7112, 1218),
        (1, 8) => (14.1042, 1684),
        (1, 12) => (14.1044, 2516),
        _ => return (0.956_843, 15.8, 109.5),
    };
    (0.956_872, beta, f64::from(taps) / 2.0 / f64::from(up.max(down)))
}

fn table_step(scale: f64) -> usize {
    ((scale * PER_ZERO as f64) as usize).max(1)
}

/// sin(πx) / πx.
fn sinc(x: f64) -> f64 {
    if x.abs() < 1e-9 { 1.0 } else { (PI * x).sin() / (PI * x) }
}

/// The modified Bessel function of the first kind and order 0, by its power series
/// Σ ((x/2)^k / k!)², which for the β used here converges within 40 terms.
fn bessel_i0(x: f64) -> f64 {
    let quarter = x * x / 4.0;
    let (mut term, mut sum, mut k) = (1.0, 1.0, 1.0);
    while term > sum * 1e-17 {
        term *= quarter / (k * k);
        sum += term;
        k += 1.0;
    }
    sum
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

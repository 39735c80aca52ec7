//! Changing the sample rate with a polyphase windowed-sinc filter.
//!
//! Output sample `n` lies at input time `n · M / L` (`L / M` is the ratio in lowest terms); its
//! value is a weighted sum of the input samples around that time. There are only `L` different
//! sets of weights, one per fractional position (a *phase*), and they are computed once.

mod design;
mod kernel;
#[cfg(target_arch = "x86_64")]
mod lanes;

use std::sync::Arc;

use design::Filter;

/// Which resampling filter to imitate. They differ by tens of dB near the cut-off, which
/// shows in MFCCs, so the choice belongs to the recipe of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ResamplingKind {
    /// As `soxr` at quality HQ, librosa's default since 0.10.
    #[default]
    SoxrHq,
    /// As `kaiser_best` of `resampy` before 0.4, librosa's default before 0.10.
    KaiserBest,
}

/// A streaming resampler for one channel.
///
/// However the input is cut into pieces, the output is the same to the bit. `n` input samples
/// give `⌈n · to / from⌉` output samples, aligned with the input (no delay).
///
/// ```
/// use taggram_audio::{Resampler, ResamplingKind};
/// let mut resampler = Resampler::new(44_100, 22_050, ResamplingKind::SoxrHq);
/// let mut out = Vec::new();
/// resampler.push(&[0.0; 1001], &mut out);
/// resampler.finish(&mut out);
/// assert_eq!(out.len(), 501);
/// ```
pub struct Resampler {
    filter: Option<Arc<Filter>>,
    /// Input samples still needed; `history[0]` is input sample `first`.
    history: Vec<f32>,
    first: i64,
    /// Input samples seen.
    seen: u64,
    /// Next output sample.
    next: u64,
}

impl Resampler {
    /// A resampler from `from` Hz to `to` Hz. Equal rates pass samples through untouched.
    ///
    /// # Panics
    /// If a rate is 0 (a reader never yields one).
    pub fn new(from: u32, to: u32, kind: ResamplingKind) -> Self {
        assert!(from > 0 && to > 0, "sample rates are positive");
        let filter = (from != to).then(|| design::cached(from, to, kind));
        let mut resampler = Self { filter, history: Vec::new(), first: 0, seen: 0, next: 0 };
        resampler.reset();
        resampler
    }

    /// Forgets all input, ready for another signal.
    pub fn reset(&mut self) {
        self.history.clear();
        self.seen = 0;
        self.next = 0;
        self.first = 0;
        if let Some(filter) = &self.filter {
            // The signal is silent before it begins.
            self.first = -(filter.left as i64);
            self.history.resize(filter.left, 0.0);
        }
    }

    /// Adds `input` and appends to `out` every output sample that it completes.
    pub fn push(&mut self, input: &[f32], out: &mut Vec<f32>) {
        self.seen += input.len() as u64;
        if self.filter.is_none() {
            out.extend_from_slice(input);
            return;
        }
        self.history.extend_from_slice(input);
        self.drain(u64::MAX, out);
    }

    /// Appends the remaining output samples and makes ready for another signal.
    pub fn finish(&mut self, out: &mut Vec<f32>) {
        if let Some(filter) = &self.filter {
            let total =
                (u128::from(self.seen) * filter.up as u128).div_ceil(filter.down as u128) as u64;
            // The signal is silent after it ends.
            self.history.resize(self.history.len() + filter.width, 0.0);
            self.drain(total, out);
        }
        self.reset();
    }

    /// Computes the outputs below `limit` whose inputs are all there, then drops spent input.
    fn drain(&mut self, limit: u64, out: &mut Vec<f32>) {
        let Some(filter) = &self.filter else { return };
        let filter = filter.as_ref();
        // Output n reads `width` inputs from floor(n·M/L) − left + 1; `base` makes that an index.
        let base = 1 - filter.left as i64 - self.first;
        let ready = self.history.len() as i64 - filter.width as i64;
        // The largest whole position whose inputs are all present decides how many outputs are.
        let last = ready - base;
        if last < 0 {
            return;
        }
        let whole = ((last as u128 + 1) * filter.up as u128).div_ceil(filter.down as u128) as u64;
        let end = whole.min(limit);
        if end <= self.next {
            return;
        }
        let count = (end - self.next) as usize;
        let start = out.len();
        out.resize(start + count, 0.0);
        kernel::convolve(filter, &self.history, base, self.next, &mut out[start..]);
        self.next = end;
        let position = (u128::from(end) * filter.down as u128 / filter.up as u128) as i64;
        let spent = (base + position).clamp(0, self.history.len() as i64) as usize;
        // Moving the rest down costs as much as it holds: do it when it is worth it.
        if spent > self.history.len() / 2 {
            self.history.drain(..spent);
            self.first += spent as i64;
        }
    }
}

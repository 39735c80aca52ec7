//! An audio fingerprint: finds copies of a recording although they were re-encoded, made
//! louder or cut elsewhere.
//!
//! After Haitsma and Kalker 2002: a moment of music becomes 32 bits, each saying whether
//! the difference in level between two neighbouring bands has grown or shrunk. Such signs survive
//! gain, equalisation and lossy coding. Copies agree in most bits once they are aligned,
//! strangers in about half. Here the levels are those of a mel map in dB, averaged over
//! 0.37 s so that a shift by a part of a frame does little.
//!
//! Comparing each pair at each shift would be n² · shifts. Instead every word is looked up in
//! an index of all words, also with its least certain bits flipped, and only pairs that meet
//! several times at one shift are compared bit by bit.

use std::collections::HashMap;

use taggram_features::FeatureMap;

/// Bits of a word; one more groups of bands are needed.
const BITS: usize = 32;
/// Levels are averaged over this long, seconds.
const WINDOW_S: f64 = 0.37;
/// And compared with those this much earlier, seconds.
const LAG_S: f64 = 0.22;
/// A moment further below the clip's maximum than this is silence and has no word, dB.
const SILENCE_DB: f32 = -70.0;
/// Share of bits in which copies may differ at most (the threshold of Haitsma and Kalker). On the
/// 999 GTZAN mel maps the pairs found stay below 0.26, and none follow up to 0.47.
const MAX_ERROR: f64 = 0.35;
/// Copies must have this much sounding music in common, seconds.
const MIN_OVERLAP_S: f64 = 6.0;
/// Bits of a word that are also tried flipped: the least certain ones.
const FLIPPED: usize = 3;
/// A word shared by more moments than this says nothing (hum, clicks) and is not looked up.
const MAX_BUCKET: usize = 60;
/// Meetings at one shift before a pair is compared.
const MIN_VOTES: u32 = 3;

/// The fingerprint of one recording.
#[derive(Clone, Debug)]
pub struct Fingerprint {
    words: Vec<u32>,
    /// For each word, its least certain bits; none where it is silent.
    weak: Vec<Option<[u8; FLIPPED]>>,
    /// Words a second.
    rate: f64,
}

/// Two recordings that are copies of each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Copy {
    /// The earlier one in the list.
    pub a: usize,
    /// The later one.
    pub b: usize,
    /// How much later the same music comes in `b` than in `a`, seconds.
    pub shift_s: f64,
    /// Share of bits that differ, 0 (equal) to about 0.5 (strangers).
    pub error: f64,
    /// Sounding music in common, seconds.
    pub overlap_s: f64,
}

impl Fingerprint {
    /// The fingerprint of a mel map in dB (any reference), `frame_rate` frames a second.
    /// Only the first channel is looked at. Empty for less than about a second or fewer than 33 bands.
    pub fn new(map: &FeatureMap, frame_rate: f64) -> Self {
        let window = ((WINDOW_S * frame_rate).round() as usize).max(1);
        let lag = ((LAG_S * frame_rate).round() as usize).max(1);
        let none = Self { words: Vec::new(), weak: Vec::new(), rate: frame_rate };
        if map.bands <= BITS || map.frames < window + lag + 1 {
            return none;
        }
        let loudest = map.data.iter().fold(f32::MIN, |m, &v| m.max(v));
        let levels = grouped(map, loudest);
        let groups = BITS + 1;
        // Running means over the window, [moment, group].
        let moments = map.frames - window + 1;
        let mut smooth = vec![0f32; moments * groups];
        let mut sum = vec![0f64; groups];
        for t in 0..map.frames {
            for g in 0..groups {
                sum[g] += f64::from(levels[t * groups + g]);
                if t >= window {
                    sum[g] -= f64::from(levels[(t - window) * groups + g]);
                }
                if t + 1 >= window {
                    smooth[(t + 1 - window) * groups + g] = (sum[g] / window as f64) as f32;
                }
            }
        }
        let mut out = none;
        for t in lag..moments {
            let now = &smooth[t * groups..][..groups];
            let then = &smooth[(t - lag) * groups..][..groups];
            let change: Vec<f32> =
                (0..BITS).map(|g| (now[g] - now[g + 1]) - (then[g] - then[g + 1])).collect();
            let word = (0..BITS).fold(0u32, |w, g| w | u32::from(change[g] > 0.0) << g);
            let heard = now.iter().fold(f32::MIN, |m, &v| m.max(v)) > SILENCE_DB
                && change.iter().filter(|c| c.abs() > 1e-4).count() > BITS / 2;
            out.words.push(word);
            out.weak.push(heard.then(|| least_certain(&change)));
        }
        out
    }

    fn heard(&self, position: usize) -> bool {
        self.weak[position].is_some()
    }
}

/// Mean level of 33 groups of bands, `[time, group]`, dB relative to the maximum, at least −80.
fn grouped(map: &FeatureMap, loudest: f32) -> Vec<f32> {
    let groups = BITS + 1;
    let edge = |g: usize| g * map.bands / groups;
    let mut levels = Vec::with_capacity(map.frames * groups);
    for t in 0..map.frames {
        let frame = map.frame(0, t);
        for g in 0..groups {
            let bands = &frame[edge(g)..edge(g + 1)];
            let sum: f32 = bands.iter().map(|v| (v - loudest).max(-80.0)).sum();
            levels.push(sum / bands.len() as f32);
        }
    }
    levels
}

fn least_certain(change: &[f32]) -> [u8; FLIPPED] {
    let mut order: Vec<u8> = (0..BITS as u8).collect();
    order.sort_by(|&a, &b| change[a as usize].abs().total_cmp(&change[b as usize].abs()));
    std::array::from_fn(|i| order[i])
}

/// All pairs of copies among recordings of one frame rate, best match of each pair, in order.
pub fn find_copies(prints: &[Fingerprint]) -> Vec<Copy> {
    let mut index: HashMap<u32, Vec<(u32, u32)>> = HashMap::new();
    for (r, print) in prints.iter().enumerate() {
        let mut before = None;
        for (p, &word) in print.words.iter().enumerate() {
            // A word that lasts is one meeting, not many.
            if print.heard(p) && before != Some(word) {
                index.entry(word).or_default().push((r as u32, p as u32));
            }
            before = Some(word);
        }
    }
    let mut copies = Vec::new();
    for (b, print) in prints.iter().enumerate() {
        let mut votes: HashMap<(u32, i64), u32> = HashMap::new();
        for (p, &word) in print.words.iter().enumerate() {
            let Some(weak) = print.weak[p] else { continue };
            for flips in 0..1u32 << FLIPPED {
                let key = (0..FLIPPED).fold(word, |w, i| w ^ ((flips >> i & 1) << weak[i]));
                let Some(places) = index.get(&key).filter(|l| l.len() <= MAX_BUCKET) else {
                    continue;
                };
                for &(r, q) in places.iter().filter(|(r, _)| (*r as usize) < b) {
                    *votes.entry((r, p as i64 - i64::from(q))).or_default() += 1;
                }
            }
        }
        let mut best: HashMap<u32, Copy> = HashMap::new();
        for (&(r, shift), &count) in &votes {
            // Copies that are not aligned to a frame spread their meetings over two shifts.
            let around = count
                + votes.get(&(r, shift - 1)).copied().unwrap_or(0)
                + votes.get(&(r, shift + 1)).copied().unwrap_or(0);
            if around < MIN_VOTES {
                continue;
            }
            let a = r as usize;
            if let Some((error, overlap_s)) = compare(&prints[a], print, shift)
                && error <= MAX_ERROR
                && best.get(&r).is_none_or(|c| {
                    (error, shift) < (c.error, (c.shift_s * print.rate).round() as i64)
                })
            {
                let shift_s = shift as f64 / print.rate;
                best.insert(r, Copy { a, b, shift_s, error, overlap_s });
            }
        }
        copies.extend(best.into_values());
    }
    copies.sort_by_key(|c| (c.a, c.b));
    copies
}

/// Share of differing bits where `b` is `shift` words later than `a`, and what they have in
/// common in seconds; none when that is too little.
fn compare(a: &Fingerprint, b: &Fingerprint, shift: i64) -> Option<(f64, f64)> {
    let start = shift.max(0);
    let end = (a.words.len() as i64 + shift).min(b.words.len() as i64);
    let (mut differ, mut common) = (0u64, 0u64);
    for p in start..end {
        let (q, p) = ((p - shift) as usize, p as usize);
        if a.heard(q) && b.heard(p) {
            differ += u64::from((a.words[q] ^ b.words[p]).count_ones());
            common += 1;
        }
    }
    let overlap_s = common as f64 / a.rate;
    (overlap_s >= MIN_OVERLAP_S).then(|| (differ as f64 / (common * BITS as u64) as f64, overlap_s))
}

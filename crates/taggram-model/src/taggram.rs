//! The taggram: how the probabilities of the labels unfold over a song.

use serde::{Deserialize, Serialize};

/// Probabilities over time, `[patch, label]`, each 0…1, with the time of every patch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Taggram {
    /// Names of the labels: the columns.
    pub labels: Vec<String>,
    /// Start of every patch in seconds from the start of what was heard.
    pub starts_s: Vec<f64>,
    /// Length of a patch in seconds.
    pub patch_s: f64,
    /// `[patch, label]` probabilities.
    pub probabilities: Vec<f32>,
}

impl Taggram {
    /// Number of patches.
    pub fn len(&self) -> usize {
        self.starts_s.len()
    }

    /// Whether nothing was heard.
    pub fn is_empty(&self) -> bool {
        self.starts_s.is_empty()
    }

    /// The probabilities of one patch, `[label]`.
    pub fn patch(&self, index: usize) -> &[f32] {
        let n = self.labels.len();
        &self.probabilities[index * n..(index + 1) * n]
    }

    /// The mean over patches, `[label]`; zeros when there are none.
    pub fn mean(&self) -> Vec<f32> {
        let n = self.labels.len();
        let mut sum = vec![0f64; n];
        for row in self.probabilities.chunks_exact(n.max(1)) {
            for (s, &p) in sum.iter_mut().zip(row) {
                *s += f64::from(p);
            }
        }
        let count = self.len().max(1) as f64;
        sum.into_iter().map(|s| (s / count) as f32).collect()
    }

    /// The share of patches in which each label is the most probable, `[label]`.
    pub fn majority(&self) -> Vec<f32> {
        let n = self.labels.len();
        let mut votes = vec![0f32; n];
        for row in self.probabilities.chunks_exact(n.max(1)) {
            votes[argmax(row)] += 1.0;
        }
        let count = self.len().max(1) as f32;
        votes.iter_mut().for_each(|v| *v /= count);
        votes
    }
}

/// Index of the largest value; the first of equals, 0 for none.
pub fn argmax(values: &[f32]) -> usize {
    let mut best = 0;
    for (i, &v) in values.iter().enumerate() {
        if v > values[best] {
            best = i;
        }
    }
    best
}

//! Counting right and wrong answers.

use serde::{Deserialize, Serialize};

use super::ranking::{average_precision, roc_auc};

/// Index of the largest value; the first of equals, 0 for none.
pub fn argmax(values: &[f64]) -> usize {
    let mut best = 0;
    for (i, &v) in values.iter().enumerate() {
        if v > values[best] {
            best = i;
        }
    }
    best
}

/// Share of songs whose genre is among the `k` most probable. Among equals, the genre that is
/// listed first counts as more probable, as it does for [`argmax`].
pub fn top_k_accuracy(labels: &[usize], probabilities: &[Vec<f64>], k: usize) -> f64 {
    let hit = |(&label, row): (&usize, &Vec<f64>)| {
        let above = row
            .iter()
            .enumerate()
            .filter(|&(i, &p)| p > row[label] || (p == row[label] && i < label))
            .count();
        above < k
    };
    let hits = labels.iter().zip(probabilities).filter(|&pair| hit(pair)).count();
    hits as f64 / labels.len().max(1) as f64
}

/// How often each genre was taken for each: `[true genre][predicted genre]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Confusion {
    /// `[true genre][predicted genre]`, songs.
    pub counts: Vec<Vec<u64>>,
}

/// Precision, recall and F1 of one group, 0…1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Averages {
    /// Share of the songs given a genre that have it.
    pub precision: f64,
    /// Share of the songs of a genre that were given it.
    pub recall: f64,
    /// Harmonic mean of the two.
    pub f1: f64,
}

/// How well one genre is told from the rest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GenreScore {
    /// Name of the genre.
    pub genre: String,
    /// Share of the songs given this genre that have it; 0 when none was given it.
    pub precision: f64,
    /// Share of the songs of this genre that were given it; 0 when there are none.
    pub recall: f64,
    /// Harmonic mean of the two.
    pub f1: f64,
    /// Number of songs of the genre.
    pub support: u64,
    /// Average precision of this genre against the rest; none without songs of the genre.
    pub average_precision: Option<f64>,
    /// Area under the ROC curve of this genre against the rest; none without songs of both.
    pub roc_auc: Option<f64>,
}

impl Confusion {
    /// Counts the most probable genre of each song.
    pub fn new<R: AsRef<[f64]>>(genres: usize, labels: &[usize], probabilities: &[R]) -> Self {
        let mut counts = vec![vec![0; genres]; genres];
        for (&label, row) in labels.iter().zip(probabilities) {
            counts[label][argmax(row.as_ref())] += 1;
        }
        Self { counts }
    }

    /// Number of songs given their own genre.
    pub fn correct(&self) -> usize {
        (0..self.counts.len()).map(|g| self.counts[g][g] as usize).sum()
    }

    /// Number of songs of a genre.
    pub fn support(&self, genre: usize) -> u64 {
        self.counts[genre].iter().sum()
    }

    /// Precision, recall and F1 of one genre against the rest.
    pub fn scores(&self, genre: usize) -> Averages {
        let right = self.counts[genre][genre] as f64;
        let given: u64 = self.counts.iter().map(|row| row[genre]).sum();
        let share = |whole: u64| if whole == 0 { 0.0 } else { right / whole as f64 };
        let (precision, recall) = (share(given), share(self.support(genre)));
        let sum = precision + recall;
        Averages {
            precision,
            recall,
            f1: if sum > 0.0 { 2.0 * precision * recall / sum } else { 0.0 },
        }
    }

    /// The plain mean over the genres that have songs, and the mean weighted by their number.
    pub fn averages(&self) -> (Averages, Averages) {
        let (mut plain, mut weighted) = (Averages::default(), Averages::default());
        let present = (0..self.counts.len()).filter(|&g| self.support(g) > 0).count().max(1) as f64;
        let songs: u64 = (0..self.counts.len()).map(|g| self.support(g)).sum();
        for genre in 0..self.counts.len() {
            let support = self.support(genre) as f64;
            if support == 0.0 {
                continue;
            }
            let s = self.scores(genre);
            for (sum, weight) in
                [(&mut plain, 1.0 / present), (&mut weighted, support / songs as f64)]
            {
                sum.precision += weight * s.precision;
                sum.recall += weight * s.recall;
                sum.f1 += weight * s.f1;
            }
        }
        (plain, weighted)
    }

    pub(super) fn genre_scores(
        &self,
        genres: &[String],
        labels: &[usize],
        rows: &[&[f64]],
    ) -> Vec<GenreScore> {
        (0..genres.len())
            .map(|g| {
                let s = self.scores(g);
                let truth: Vec<bool> = labels.iter().map(|&l| l == g).collect();
                let scores: Vec<f64> = rows.iter().map(|r| r[g]).collect();
                GenreScore {
                    genre: genres[g].clone(),
                    precision: s.precision,
                    recall: s.recall,
                    f1: s.f1,
                    support: self.support(g),
                    average_precision: average_precision(&truth, &scores),
                    roc_auc: roc_auc(&truth, &scores),
                }
            })
            .collect()
    }
}

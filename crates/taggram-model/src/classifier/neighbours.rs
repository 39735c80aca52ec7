//! Nearest neighbours.

use serde::{Deserialize, Serialize};

use super::shares;

/// How much a neighbour's vote counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Vote {
    /// All alike.
    #[default]
    Uniform,
    /// One over the distance; neighbours at distance 0 decide alone.
    Distance,
}

/// The vote of the `k` nearest training rows by Euclidean distance. Among rows equally far
/// away, those that come first in the training table count.
#[derive(Clone, Debug, PartialEq)]
pub struct Knn {
    /// Columns.
    pub inputs: usize,
    /// Number of classes.
    pub classes: usize,
    /// How many neighbours vote; at most as many as there are rows.
    pub k: usize,
    /// How much each vote counts.
    pub vote: Vote,
    /// `[row, column]` of the training rows.
    pub rows: Vec<f32>,
    /// Class of each training row.
    pub labels: Vec<u32>,
}

impl Knn {
    /// Share of the votes for each class.
    pub fn predict_proba(&self, row: &[f32]) -> Vec<f32> {
        let mut distances: Vec<(f64, usize)> = self
            .rows
            .chunks_exact(self.inputs)
            .enumerate()
            .map(|(i, known)| {
                let square =
                    known.iter().zip(row).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
                (square.sum::<f64>().sqrt(), i)
            })
            .collect();
        let order = |a: &(f64, usize), b: &(f64, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
        let k = self.k.clamp(1, distances.len());
        distances.select_nth_unstable_by(k - 1, order);
        let nearest = &mut distances[..k];
        nearest.sort_unstable_by(order);
        let touching = nearest[0].0 == 0.0;
        let mut votes = vec![0.0; self.classes];
        for &(distance, i) in nearest.iter() {
            votes[self.labels[i] as usize] += match self.vote {
                Vote::Uniform => 1.0,
                Vote::Distance if touching => f64::from(u8::from(distance == 0.0)),
                Vote::Distance => 1.0 / distance,
            };
        }
        shares(&votes)
    }
}

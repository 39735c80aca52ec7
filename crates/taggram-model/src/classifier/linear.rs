//! Classifiers with a few numbers a class: logistic regression, linear support vector
//! machine, Gaussian naive Bayes.

use super::{shares, softmax};

/// Multinomial logistic regression: softmax of `weight · row + bias`.
#[derive(Clone, Debug, PartialEq)]
pub struct Logistic {
    /// Columns.
    pub inputs: usize,
    /// `[class, column]`.
    pub weight: Vec<f32>,
    /// `[class]`.
    pub bias: Vec<f32>,
}

impl Logistic {
    /// Probability of each class.
    pub fn predict_proba(&self, row: &[f32]) -> Vec<f32> {
        softmax(&scores(&self.weight, &self.bias, row))
    }
}

/// Turns a distance from a border into a probability: 1 / (1 + e^(slope·distance + offset)).
/// J. Platt, "Probabilistic outputs for support vector machines", 1999.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Platt {
    /// Slope, negative where larger distances mean "yes".
    pub slope: f32,
    /// Offset.
    pub offset: f32,
}

impl Platt {
    /// Probability 0…1 of "yes".
    pub fn probability(&self, distance: f64) -> f64 {
        let x = f64::from(self.slope) * distance + f64::from(self.offset);
        1.0 / (1.0 + x.exp())
    }
}

/// Linear support vector machine, one plane a class against the rest.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearSvm {
    /// Columns.
    pub inputs: usize,
    /// `[class, column]`.
    pub weight: Vec<f32>,
    /// `[class]`.
    pub bias: Vec<f32>,
    /// How each class's distance becomes a probability.
    pub platt: Vec<Platt>,
}

impl LinearSvm {
    /// Signed distance from each class's plane, in units of its margin.
    pub fn decision(&self, row: &[f32]) -> Vec<f64> {
        scores(&self.weight, &self.bias, row)
    }

    /// Probability of each class: Platt's, scaled to sum 1.
    pub fn predict_proba(&self, row: &[f32]) -> Vec<f32> {
        platt_shares(&self.decision(row), &self.platt)
    }
}

pub(super) fn platt_shares(decision: &[f64], platt: &[Platt]) -> Vec<f32> {
    let values: Vec<f64> = decision.iter().zip(platt).map(|(d, p)| p.probability(*d)).collect();
    shares(&values)
}

fn scores(weight: &[f32], bias: &[f32], row: &[f32]) -> Vec<f64> {
    weight
        .chunks_exact(row.len())
        .zip(bias)
        .map(|(w, b)| {
            f64::from(*b)
                + w.iter().zip(row).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum::<f64>()
        })
        .collect()
}

/// Gaussian naive Bayes: each column of each class follows its own bell curve,
/// independent of the others.
#[derive(Clone, Debug, PartialEq)]
pub struct GaussianNb {
    /// Columns.
    pub inputs: usize,
    /// `[class]` logarithm of how frequent the class is.
    pub log_prior: Vec<f32>,
    /// `[class, column]`.
    pub mean: Vec<f32>,
    /// `[class, column]`, above 0.
    pub variance: Vec<f32>,
}

impl GaussianNb {
    /// Probability of each class.
    pub fn predict_proba(&self, row: &[f32]) -> Vec<f32> {
        let columns = self.mean.chunks_exact(row.len()).zip(self.variance.chunks_exact(row.len()));
        let log_likelihoods: Vec<f64> = columns
            .zip(&self.log_prior)
            .map(|((mean, variance), prior)| {
                let terms = row.iter().zip(mean).zip(variance).map(|((x, m), v)| {
                    let (d, v) = (f64::from(*x) - f64::from(*m), f64::from(*v));
                    (std::f64::consts::TAU * v).ln() + d * d / v
                });
                f64::from(*prior) - 0.5 * terms.sum::<f64>()
            })
            .collect();
        softmax(&log_likelihoods)
    }
}

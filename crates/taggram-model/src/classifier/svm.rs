//! Support vector machine with a radial kernel.

use super::linear::{Platt, platt_shares};

/// One border a class against the rest, each a weighted sum of e^(−gamma·|row − vector|²)
/// over support vectors. The classes share one table of vectors, so each kernel value is
/// computed once.
#[derive(Clone, Debug, PartialEq)]
pub struct RbfSvm {
    /// Columns.
    pub inputs: usize,
    /// Width of the kernel, above 0.
    pub gamma: f32,
    /// `[vector, column]`.
    pub vectors: Vec<f32>,
    /// `[class, vector]`, 0 where a vector does not support that class's border.
    pub coefficients: Vec<f32>,
    /// `[class]`.
    pub bias: Vec<f32>,
    /// How each class's decision value becomes a probability.
    pub platt: Vec<Platt>,
}

impl RbfSvm {
    /// Decision value of each class, in units of its margin.
    pub fn decision(&self, row: &[f32]) -> Vec<f64> {
        let kernel: Vec<f32> = self
            .vectors
            .chunks_exact(self.inputs)
            .map(|v| (-self.gamma * squared_distance(v, row)).exp())
            .collect();
        let dot = |c: &[f32]| {
            c.iter().zip(&kernel).map(|(c, k)| f64::from(*c) * f64::from(*k)).sum::<f64>()
        };
        self.coefficients
            .chunks_exact(kernel.len())
            .zip(&self.bias)
            .map(|(c, b)| f64::from(*b) + dot(c))
            .collect()
    }

    /// Probability of each class: Platt's, scaled to sum 1.
    pub fn predict_proba(&self, row: &[f32]) -> Vec<f32> {
        platt_shares(&self.decision(row), &self.platt)
    }
}

/// Eight partial sums let the compiler use vector instructions.
fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = a8.remainder().iter().zip(b8.remainder()).map(|(x, y)| (x - y) * (x - y)).sum();
    for (x, y) in a8.zip(b8) {
        for i in 0..8 {
            let d = x[i] - y[i];
            sums[i] += d * d;
        }
    }
    sums.iter().sum::<f32>() + rest
}

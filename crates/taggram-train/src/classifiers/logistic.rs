//! Multinomial logistic regression with an L2 penalty on the weights, not on the biases:
//! the objective of scikit-learn's `LogisticRegression`, divided by the number of rows.

use rayon::prelude::*;
use taggram_model::classifier::Logistic;

use super::{Rows, lbfgs};

/// Rows a piece of work; fixed, so that sums do not depend on the number of threads.
const PIECE: usize = 1024;

pub(super) fn fit(rows: &Rows, classes: usize, c: f64) -> Logistic {
    let (n, d) = (rows.len(), rows.columns);
    let width = d + 1;
    let penalty = 1.0 / (c * n as f64);
    let objective = |w: &[f64], gradient: &mut [f64]| {
        let pieces: Vec<(f64, Vec<f64>)> = (0..n.div_ceil(PIECE))
            .into_par_iter()
            .map(|p| loss(rows, p * PIECE..n.min((p + 1) * PIECE), w, classes))
            .collect();
        gradient.fill(0.0);
        let mut value = 0.0;
        for (loss, part) in pieces {
            value += loss / n as f64;
            gradient.iter_mut().zip(part).for_each(|(g, p)| *g += p / n as f64);
        }
        for (w, g) in w.chunks_exact(width).zip(gradient.chunks_exact_mut(width)) {
            for (w, g) in w[..d].iter().zip(g) {
                value += 0.5 * penalty * w * w;
                *g += penalty * w;
            }
        }
        value
    };
    let w = lbfgs::minimise(objective, vec![0.0; classes * width], 1e-6, 2000);
    let part = |f: &dyn Fn(&[f64]) -> Vec<f32>| w.chunks_exact(width).flat_map(f).collect();
    Logistic {
        inputs: d,
        weight: part(&|w| w[..d].iter().map(|v| *v as f32).collect()),
        bias: part(&|w| vec![w[d] as f32]),
    }
}

/// Cross-entropy of some rows and its gradient, weights and bias of each class in a row.
fn loss(rows: &Rows, range: std::ops::Range<usize>, w: &[f64], classes: usize) -> (f64, Vec<f64>) {
    let d = rows.columns;
    let mut gradient = vec![0.0; w.len()];
    let mut value = 0.0;
    let mut scores = vec![0.0; classes];
    let mut row = vec![0.0; d];
    for i in range {
        row.iter_mut().zip(rows.row(i)).for_each(|(r, x)| *r = f64::from(*x));
        for (score, w) in scores.iter_mut().zip(w.chunks_exact(d + 1)) {
            *score = w[d] + w[..d].iter().zip(&row).map(|(w, x)| w * x).sum::<f64>();
        }
        let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = scores.iter().map(|s| (s - top).exp()).sum();
        value += top + sum.ln() - scores[rows.labels[i]];
        for (k, g) in gradient.chunks_exact_mut(d + 1).enumerate() {
            let hit = f64::from(u8::from(k == rows.labels[i]));
            let error = (scores[k] - top).exp() / sum - hit;
            g[..d].iter_mut().zip(&row).for_each(|(g, x)| *g += error * x);
            g[d] += error;
        }
    }
    (value, gradient)
}

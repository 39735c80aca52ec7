//! Support vector machines, one class against the rest, and the curve that turns their
//! distances into probabilities.

use libsvm_rs::{KernelType, SvmNode, SvmParameter, SvmProblem, SvmType, check_parameter};
use rayon::prelude::*;
use taggram_model::classifier::{LinearSvm, Platt, RbfSvm};

use super::{Gamma, Rows, folds::folds};
use crate::error::{ErrorKind, TrainError};
use crate::rng::Rng;

/// Parts for cross-fitting the probabilities: each row's distance comes from a machine
/// that has not seen its group.
const FOLDS: usize = 3;

pub(super) fn linear(rows: &Rows, classes: usize, c: f64, seed: u64) -> LinearSvm {
    let folds = folds(rows, classes, FOLDS, seed);
    let everything: Vec<usize> = (0..rows.len()).collect();
    let parts: Vec<(Vec<f64>, Platt)> = (0..classes)
        .into_par_iter()
        .map(|class| {
            let mut distances = vec![0.0; rows.len()];
            for fold in 0..FOLDS {
                let inside: Vec<usize> = (0..rows.len()).filter(|&i| folds[i] != fold).collect();
                let w = plane(rows, &inside, class, c, seed);
                for i in (0..rows.len()).filter(|&i| folds[i] == fold) {
                    distances[i] = distance(&w, rows.row(i));
                }
            }
            let platt = platt(&distances, rows.labels.iter().map(|&l| l == class));
            (plane(rows, &everything, class, c, seed), platt)
        })
        .collect();
    let d = rows.columns;
    LinearSvm {
        inputs: d,
        weight: parts.iter().flat_map(|(w, _)| w[..d].iter().map(|v| *v as f32)).collect(),
        bias: parts.iter().map(|(w, _)| w[d] as f32).collect(),
        platt: parts.iter().map(|(_, p)| *p).collect(),
    }
}

fn distance(w: &[f64], row: &[f32]) -> f64 {
    w[row.len()] + w.iter().zip(row).map(|(w, x)| w * f64::from(*x)).sum::<f64>()
}

/// Weights and bias of the plane between a class and the rest: dual coordinate descent for
/// the squared hinge loss (C.-J. Hsieh et al., ICML 2008, algorithm 1; what LIBLINEAR
/// does). The bias is the weight of a column of ones, and penalised as such.
fn plane(rows: &Rows, kept: &[usize], class: usize, c: f64, seed: u64) -> Vec<f64> {
    let d = rows.columns;
    let diagonal = 1.0 / (2.0 * c);
    let sign = |i: usize| if rows.labels[i] == class { 1.0 } else { -1.0 };
    let squares: Vec<f64> = kept
        .iter()
        .map(|&i| 1.0 + diagonal + rows.row(i).iter().map(|x| f64::from(*x).powi(2)).sum::<f64>())
        .collect();
    let mut w = vec![0.0; d + 1];
    let mut alpha = vec![0.0; kept.len()];
    let mut order: Vec<usize> = (0..kept.len()).collect();
    for epoch in 0..1000 {
        Rng::at(&[seed, 0x5f3, class as u64, epoch]).shuffle(&mut order);
        let (mut most, mut least) = (f64::NEG_INFINITY, f64::INFINITY);
        for &k in &order {
            let (i, y) = (kept[k], sign(kept[k]));
            let gradient = y * distance(&w, rows.row(i)) - 1.0 + diagonal * alpha[k];
            let projected = if alpha[k] == 0.0 { gradient.min(0.0) } else { gradient };
            most = most.max(projected);
            least = least.min(projected);
            if projected.abs() > 1e-12 {
                let old = alpha[k];
                alpha[k] = (old - gradient / squares[k]).max(0.0);
                let change = (alpha[k] - old) * y;
                w.iter_mut().zip(rows.row(i)).for_each(|(w, x)| *w += change * f64::from(*x));
                w[d] += change;
            }
        }
        if most - least < 1e-4 {
            break;
        }
    }
    w
}

pub(super) fn rbf(
    rows: &Rows,
    classes: usize,
    c: f64,
    gamma: Gamma,
    seed: u64,
) -> Result<RbfSvm, TrainError> {
    let gamma = match gamma {
        Gamma::Fixed(gamma) => gamma,
        Gamma::Scale => {
            let n = rows.data.len() as f64;
            let mean = rows.data.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
            let variance =
                rows.data.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / n;
            if variance > 0.0 { 1.0 / (rows.columns as f64 * variance) } else { 1.0 }
        }
    };
    let folds = folds(rows, classes, FOLDS, seed);
    let everything: Vec<usize> = (0..rows.len()).collect();
    let nodes: Vec<Vec<SvmNode>> = (0..rows.len()).map(|i| sparse(rows.row(i))).collect();
    let machine = |kept: &[usize], class| border(rows, &nodes, kept, class, c, gamma);
    let parts: Vec<(Border, Platt)> = (0..classes)
        .into_par_iter()
        .map(|class| {
            let mut distances = vec![0.0; rows.len()];
            for fold in 0..FOLDS {
                let inside: Vec<usize> = (0..rows.len()).filter(|&i| folds[i] != fold).collect();
                let border = machine(&inside, class)?;
                for i in (0..rows.len()).filter(|&i| folds[i] == fold) {
                    distances[i] = border.decision(rows, i, gamma);
                }
            }
            let platt = platt(&distances, rows.labels.iter().map(|&l| l == class));
            Ok((machine(&everything, class)?, platt))
        })
        .collect::<Result<_, TrainError>>()?;

    let mut used: Vec<usize> =
        parts.iter().flat_map(|(b, _)| b.support.iter().map(|s| s.0)).collect();
    used.sort_unstable();
    used.dedup();
    let mut coefficients = vec![0.0f32; classes * used.len()];
    for (class, (border, _)) in parts.iter().enumerate() {
        for (i, coefficient) in &border.support {
            let place = used.partition_point(|u| u < i);
            coefficients[class * used.len() + place] = *coefficient as f32;
        }
    }
    Ok(RbfSvm {
        inputs: rows.columns,
        gamma: gamma as f32,
        vectors: used.iter().flat_map(|&i| rows.row(i)).copied().collect(),
        coefficients,
        bias: parts.iter().map(|(b, _)| b.bias as f32).collect(),
        platt: parts.iter().map(|(_, p)| *p).collect(),
    })
}

/// A row as LIBSVM wants it: columns from 1, zeros left out.
fn sparse(row: &[f32]) -> Vec<SvmNode> {
    let node = |(k, x): (usize, &f32)| SvmNode { index: k as i32 + 1, value: f64::from(*x) };
    row.iter().enumerate().filter(|(_, x)| **x != 0.0).map(node).collect()
}

/// One class against the rest: rows with their coefficients, and the bias.
struct Border {
    support: Vec<(usize, f64)>,
    bias: f64,
}

impl Border {
    fn decision(&self, rows: &Rows, i: usize, gamma: f64) -> f64 {
        let row = rows.row(i);
        let kernel = |other: &[f32]| {
            let square: f32 = row.iter().zip(other).map(|(a, b)| (a - b) * (a - b)).sum();
            (-gamma * f64::from(square)).exp()
        };
        self.bias + self.support.iter().map(|(j, c)| c * kernel(rows.row(*j))).sum::<f64>()
    }
}

fn border(
    rows: &Rows,
    nodes: &[Vec<SvmNode>],
    kept: &[usize],
    class: usize,
    c: f64,
    gamma: f64,
) -> Result<Border, TrainError> {
    let problem = SvmProblem {
        labels: kept.iter().map(|&i| if rows.labels[i] == class { 1.0 } else { -1.0 }).collect(),
        instances: kept.iter().map(|&i| nodes[i].clone()).collect(),
    };
    let parameter = SvmParameter {
        svm_type: SvmType::CSvc,
        kernel_type: KernelType::Rbf,
        gamma,
        c,
        cache_size: 200.0,
        ..SvmParameter::default()
    };
    libsvm_rs::set_quiet(true);
    let unusable = |m: String| TrainError::new("SVM", ErrorKind::Malformed, m);
    check_parameter(&problem, &parameter).map_err(|e| unusable(format!("{e}.")))?;
    let model = libsvm_rs::train::svm_train(&problem, &parameter);
    if model.label.len() != 2 {
        return Err(unusable(format!(
            "Class {class} has rows on one side of an inner split only."
        )));
    }
    // LIBSVM's decision is positive for the label it met first.
    let sign = if model.label[0] == 1 { 1.0 } else { -1.0 };
    let support = model.sv_indices.iter().zip(&model.sv_coef[0]);
    Ok(Border {
        support: support.map(|(&i, &coefficient)| (kept[i - 1], sign * coefficient)).collect(),
        bias: -sign * model.rho[0],
    })
}

/// Platt's curve by Newton's method with backtracking (H.-T. Lin, C.-J. Lin, R. Weng,
/// "A note on Platt's probabilistic outputs", 2007), targets drawn in from 0 and 1 as there.
fn platt(distances: &[f64], answers: impl Iterator<Item = bool>) -> Platt {
    let answers: Vec<bool> = answers.collect();
    let yes = answers.iter().filter(|&&a| a).count() as f64;
    let no = answers.len() as f64 - yes;
    let target = |a: &bool| if *a { (yes + 1.0) / (yes + 2.0) } else { 1.0 / (no + 2.0) };
    let targets: Vec<f64> = answers.iter().map(target).collect();
    let loss = |a: f64, b: f64| -> f64 {
        let each = |(d, t): (&f64, &f64)| {
            let x = a * d + b;
            // −t ln p − (1−t) ln(1−p) with p = 1 / (1 + e^x), without overflow.
            if x >= 0.0 { t * x + (-x).exp().ln_1p() } else { (t - 1.0) * x + x.exp().ln_1p() }
        };
        distances.iter().zip(&targets).map(each).sum()
    };
    let (mut a, mut b) = (0.0, ((no + 1.0) / (yes + 1.0)).ln());
    let mut value = loss(a, b);
    for _ in 0..100 {
        let (mut haa, mut hbb, mut hab, mut ga, mut gb) = (1e-12, 1e-12, 0.0, 0.0, 0.0);
        for (d, t) in distances.iter().zip(&targets) {
            let p = 1.0 / (1.0 + (a * d + b).exp());
            let (slope, curve) = (t - p, p * (1.0 - p));
            haa += d * d * curve;
            hbb += curve;
            hab += d * curve;
            ga += d * slope;
            gb += slope;
        }
        if ga.abs() < 1e-5 && gb.abs() < 1e-5 {
            break;
        }
        let determinant = haa * hbb - hab * hab;
        let (da, db) = (-(hbb * ga - hab * gb) / determinant, -(haa * gb - hab * ga) / determinant);
        let slope = ga * da + gb * db;
        let mut step = 1.0;
        while step >= 1e-10 {
            let next = loss(a + step * da, b + step * db);
            if next < value + 1e-4 * step * slope {
                (a, b, value) = (a + step * da, b + step * db, next);
                break;
            }
            step /= 2.0;
        }
        if step < 1e-10 {
            break;
        }
    }
    Platt { slope: a as f32, offset: b as f32 }
}

#[cfg(test)]
mod tests {
    #[test]
    fn platt_finds_the_curve_that_made_the_answers() {
        // Answers as frequent as 1 / (1 + e^(−1.5 d + 0.5)) says, at 41 distances.
        let (mut distances, mut answers) = (Vec::new(), Vec::new());
        for k in -20..=20 {
            let d = f64::from(k) / 5.0;
            let p = 1.0 / (1.0 + (-1.5 * d + 0.5f64).exp());
            for i in 0..1000 {
                distances.push(d);
                answers.push(f64::from(i) + 0.5 < 1000.0 * p);
            }
        }
        let curve = super::platt(&distances, answers.into_iter());
        assert!((curve.slope + 1.5).abs() < 0.02 && (curve.offset - 0.5).abs() < 0.02, "{curve:?}");
    }
}

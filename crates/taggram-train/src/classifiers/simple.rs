//! What is learned by counting and averaging: scaling, components, nearest neighbours,
//! naive Bayes.

use taggram_model::classifier::{GaussianNb, Knn, Logistic, Pca, Scaler, Vote};

use super::{Rows, eigen};
use crate::error::TrainError;

/// Mean and variance (divisor n) of each column over the rows that `keep` names.
fn moments(rows: &Rows, keep: impl Fn(usize) -> bool) -> (Vec<f64>, Vec<f64>, usize) {
    let kept: Vec<usize> = (0..rows.len()).filter(|&i| keep(i)).collect();
    let n = kept.len().max(1) as f64;
    let mut mean = vec![0.0; rows.columns];
    for &i in &kept {
        mean.iter_mut().zip(rows.row(i)).for_each(|(m, x)| *m += f64::from(*x) / n);
    }
    let mut variance = vec![0.0; rows.columns];
    for &i in &kept {
        for ((v, x), m) in variance.iter_mut().zip(rows.row(i)).zip(&mean) {
            *v += (f64::from(*x) - m).powi(2) / n;
        }
    }
    (mean, variance, kept.len())
}

pub(super) fn scaler(rows: &Rows) -> Scaler {
    let (mean, variance, _) = moments(rows, |_| true);
    // A column that does not vary would be divided by (nearly) nothing.
    let deviation = variance.iter().zip(&mean).map(|(v, m)| {
        let deviation = v.sqrt() as f32;
        let constant = v.sqrt() <= 10.0 * f64::from(f32::EPSILON) * m.abs();
        if constant || !deviation.is_normal() { 1.0 } else { deviation }
    });
    Scaler { deviation: deviation.collect(), mean: mean.iter().map(|m| *m as f32).collect() }
}

/// Covariance `[column, column]` of the rows about the centre of each: the sum of products over `divisor`.
fn covariance<'c>(rows: &Rows, centre: impl Fn(usize) -> &'c [f64], divisor: f64) -> Vec<f64> {
    let d = rows.columns;
    let mut sums = vec![0.0f64; d * d];
    let mut centred = vec![0.0f64; d];
    for i in 0..rows.len() {
        for ((c, x), m) in centred.iter_mut().zip(rows.row(i)).zip(centre(i)) {
            *c = f64::from(*x) - m;
        }
        for (a, &x) in centred.iter().enumerate() {
            for (sum, &y) in sums[a * d..].iter_mut().zip(&centred[..=a]) {
                *sum += x * y;
            }
        }
    }
    for a in 0..d {
        for b in 0..=a {
            let value = sums[a * d + b] / divisor;
            sums[a * d + b] = value;
            sums[b * d + a] = value;
        }
    }
    sums
}

/// One bell curve a class, all of one shape.
pub(crate) struct Shape {
    /// Mean of each class, `[class][column]`.
    pub means: Vec<Vec<f64>>,
    /// Rows of each class.
    counts: Vec<usize>,
    /// Variances along [`Self::directions`], in falling order.
    pub values: Vec<f64>,
    /// `[direction, column]`.
    pub directions: Vec<f64>,
}

/// The shape of the rows about the means of their classes. `shrinkage` is the share of it that is
/// replaced by a sphere of the same mean variance, as scikit-learn's.
pub(crate) fn discriminant_shape(rows: &Rows, classes: usize, shrinkage: f64) -> Shape {
    let d = rows.columns;
    let of_class = (0..classes).map(|k| moments(rows, |i| rows.labels[i] == k));
    let (means, counts): (Vec<_>, Vec<_>) = of_class.map(|(mean, _, n)| (mean, n)).unzip();
    let mut shape = covariance(rows, |i| &means[rows.labels[i]], rows.len() as f64);
    let sphere = (0..d).map(|i| shape[i * d + i]).sum::<f64>() / d as f64;
    shape.iter_mut().for_each(|v| *v *= 1.0 - shrinkage);
    (0..d).for_each(|i| shape[i * d + i] += shrinkage * sphere);
    let (values, directions) = eigen::symmetric(shape, d);
    Shape { means, counts, values, directions }
}

/// Linear discriminant analysis. Its answer is linear in the row, so it is stored as a logistic regression.
pub(super) fn discriminant(rows: &Rows, classes: usize, shrinkage: f64) -> Logistic {
    let d = rows.columns;
    let shape = discriminant_shape(rows, classes, shrinkage);
    let (mut weight, mut bias) = (Vec::with_capacity(classes * d), Vec::new());
    for (mean, n) in shape.means.iter().zip(&shape.counts) {
        // The inverse shape times the mean, direction by direction; one without any spread tells nothing.
        let mut w = vec![0.0f64; d];
        for (value, v) in shape.values.iter().zip(shape.directions.chunks_exact(d)) {
            if *value > shape.values[0] * 1e-12 {
                let along = v.iter().zip(mean).map(|(v, m)| v * m).sum::<f64>() / value;
                w.iter_mut().zip(v).for_each(|(w, v)| *w += along * v);
            }
        }
        let half = 0.5 * w.iter().zip(mean).map(|(w, m)| w * m).sum::<f64>();
        bias.push(((*n as f64 / rows.len() as f64).ln() - half) as f32);
        weight.extend(w.iter().map(|w| *w as f32));
    }
    Logistic { inputs: d, weight, bias }
}

pub(super) fn pca(rows: &Rows, components: usize, whiten: bool) -> Result<Pca, TrainError> {
    let (mean, _, n) = moments(rows, |_| true);
    let d = rows.columns;
    let covariance = covariance(rows, |_| &mean, (n - 1) as f64);
    let (values, vectors) = eigen::symmetric(covariance, d);
    let mut out = Vec::with_capacity(components * d);
    for (k, value) in values.iter().take(components).enumerate() {
        if *value <= values[0] * 1e-12 {
            return Err(TrainError::malformed(
                "recipe, pca",
                format!(
                    "The rows vary in {k} directions only; {components} components were asked for."
                ),
            ));
        }
        let vector = &vectors[k * d..(k + 1) * d];
        // The sign is arbitrary: the largest entry is made positive, as scikit-learn does.
        let largest = vector.iter().fold(0.0f64, |a, b| if b.abs() > a.abs() { *b } else { a });
        let scale = largest.signum() / if whiten { value.sqrt() } else { 1.0 };
        out.extend(vector.iter().map(|v| (v * scale) as f32));
    }
    Ok(Pca { mean: mean.iter().map(|m| *m as f32).collect(), components: out })
}

pub(super) fn knn(rows: &Rows, classes: usize, k: usize, vote: Vote) -> Knn {
    let labels = rows.labels.iter().map(|&l| l as u32).collect();
    Knn { inputs: rows.columns, classes, k, vote, rows: rows.data.clone(), labels }
}

pub(super) fn gaussian_nb(rows: &Rows, classes: usize, smoothing: f64) -> GaussianNb {
    let (_, overall, _) = moments(rows, |_| true);
    let largest = overall.iter().copied().fold(0.0, f64::max);
    // Above zero even where nothing varies: a variance divides.
    let extra = (smoothing * largest).max(f64::from(f32::MIN_POSITIVE));
    let (mut log_prior, mut means, mut variances) = (Vec::new(), Vec::new(), Vec::new());
    for class in 0..classes {
        let (mean, variance, n) = moments(rows, |i| rows.labels[i] == class);
        log_prior.push((n as f64 / rows.len() as f64).ln() as f32);
        means.extend(mean.iter().map(|m| *m as f32));
        variances.extend(variance.iter().map(|v| (v + extra) as f32));
    }
    GaussianNb { inputs: rows.columns, log_prior, mean: means, variance: variances }
}

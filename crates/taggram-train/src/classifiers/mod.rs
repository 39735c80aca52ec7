//! Training of classical classifiers on rows of features. What is trained is a
//! [`Pipeline`] of `taggram-model`, which predicts without this crate.
//!
//! Everything is decided by recipe, rows and seed: the number of threads changes nothing.

mod bins;
mod boost;
mod eigen;
mod folds;
mod forest;
mod lbfgs;
mod logistic;
pub(crate) mod perceptron;
mod recipe;
mod simple;
mod svm;

#[cfg(test)]
mod tests;

pub use recipe::{
    BoostOptions, ClassifierKind, ClassifierRecipe, ForestOptions, Gamma, MlpOptions, Scaling,
};

pub(crate) use simple::discriminant_shape;

use taggram_model::classifier::{Classifier, ClassifierError, Pipeline, Step, log_odds};

use crate::error::{ErrorKind, TrainError};

/// A table to learn from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// `[row, column]`, finite.
    pub data: Vec<f32>,
    /// Number of columns.
    pub columns: usize,
    /// Class of each row.
    pub labels: Vec<usize>,
    /// What each row is a part of, e.g. its song or artist. Rows of one group never stand on
    /// both sides of an inner split. Empty: every row for itself.
    pub groups: Vec<usize>,
}

impl Rows {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// One row.
    fn row(&self, i: usize) -> &[f32] {
        &self.data[i * self.columns..(i + 1) * self.columns]
    }

    /// The same labels and groups over other columns.
    fn with_data(&self, data: Vec<f32>, columns: usize) -> Self {
        Self { data, columns, labels: self.labels.clone(), groups: self.groups.clone() }
    }

    fn check(&self, classes: usize) -> Result<(), TrainError> {
        let (n, d) = (self.len(), self.columns);
        let groups = self.groups.len();
        if d == 0 || self.data.len() != n * d || (groups != 0 && groups != n) {
            return Err(TrainError::malformed(
                "rows",
                format!(
                    "{} values in {d} columns with {n} labels and {groups} groups make no table.",
                    self.data.len()
                ),
            ));
        }
        if let Some(i) = self.data.iter().position(|v| !v.is_finite()) {
            return Err(TrainError::malformed(
                format!("row {}, column {}", i / d, i % d),
                format!("The value is {}; a finite number is needed.", self.data[i]),
            ));
        }
        if let Some(i) = self.labels.iter().position(|&l| l >= classes) {
            return Err(TrainError::malformed(
                format!("row {i}"),
                format!("Its class is number {}, and there are {classes} classes.", self.labels[i]),
            ));
        }
        Ok(())
    }
}

/// Trains the pipeline a recipe describes: scaling, principal components, classifier.
///
/// # Errors
/// Rows that make no table or hold a value that is not finite; a class with fewer than two
/// rows; a number in the recipe outside its range.
pub fn train(
    recipe: &ClassifierRecipe,
    rows: &Rows,
    classes: &[String],
    seed: u64,
) -> Result<Pipeline, TrainError> {
    rows.check(classes.len())?;
    recipe.check(rows)?;
    for (k, name) in classes.iter().enumerate() {
        let count = rows.labels.iter().filter(|&&l| l == k).count();
        if count < 2 {
            return Err(TrainError::new(
                format!("class “{name}”"),
                ErrorKind::TooShort,
                format!("It has {count} rows; at least two are needed to learn it."),
            ));
        }
    }
    let inputs = rows.columns;
    let mut steps = Vec::new();
    let mut rows = rows.clone();
    if recipe.scaling == Scaling::LogOdds {
        if let Some(i) = rows.data.iter().position(|v| !(0.0..=1.0).contains(v)) {
            let d = rows.columns;
            return Err(TrainError::malformed(
                format!("row {}, column {}", i / d, i % d),
                format!("The value is {}; log-odds need probabilities, 0…1.", rows.data[i]),
            ));
        }
        rows.data.iter_mut().for_each(|v| *v = log_odds(*v));
        steps.push(Step::LogOdds);
    }
    if recipe.scaling != Scaling::None {
        let scaler = simple::scaler(&rows);
        let data = rows.data.chunks_exact(rows.columns).flat_map(|r| scaler.apply(r)).collect();
        rows = rows.with_data(data, rows.columns);
        steps.push(Step::Scaler(scaler));
    }
    if let Some(components) = recipe.pca {
        let pca = simple::pca(&rows, components, recipe.whiten)?;
        let data = rows.data.chunks_exact(rows.columns).flat_map(|r| pca.apply(r)).collect();
        rows = rows.with_data(data, components);
        steps.push(Step::Pca(pca));
    }
    let n = classes.len();
    let classifier = match &recipe.classifier {
        ClassifierKind::Knn { k, vote } => Classifier::Knn(simple::knn(&rows, n, *k, *vote)),
        ClassifierKind::GaussianNb { smoothing } => {
            Classifier::GaussianNb(simple::gaussian_nb(&rows, n, *smoothing))
        }
        ClassifierKind::Logistic { c } => Classifier::Logistic(logistic::fit(&rows, n, *c)),
        ClassifierKind::Discriminant { shrinkage } => {
            Classifier::Logistic(simple::discriminant(&rows, n, *shrinkage))
        }
        ClassifierKind::SvmLinear { c } => Classifier::SvmLinear(svm::linear(&rows, n, *c, seed)),
        ClassifierKind::SvmRbf { c, gamma } => {
            Classifier::SvmRbf(svm::rbf(&rows, n, *c, *gamma, seed)?)
        }
        ClassifierKind::RandomForest(options) => {
            Classifier::RandomForest(forest::fit(&rows, n, options, seed))
        }
        ClassifierKind::GradientBoosting(options) => {
            Classifier::GradientBoosting(boost::fit(&rows, n, options, seed))
        }
        ClassifierKind::Mlp(options) => Classifier::Mlp(perceptron::fit(&rows, n, options, seed)?),
    };
    Pipeline::new(inputs, classes.to_vec(), steps, classifier).map_err(bug)
}

/// The plane between rows of label 0 and of label 1, as `[column]` and a constant: above 0 is label 1. A
/// logistic regression on standardised columns; `penalty` weighs against its mean log loss.
pub(crate) fn plane(rows: &Rows, penalty: f64) -> Vec<f32> {
    let scaler = simple::scaler(rows);
    let data = rows.data.chunks_exact(rows.columns).flat_map(|r| scaler.apply(r)).collect();
    let rows = rows.with_data(data, rows.columns);
    // Each label has weights of its own there, one the negative of the other: together half the penalty.
    let found = logistic::fit(&rows, 2, 0.5 / (penalty * rows.len() as f64));
    let scaled: Vec<f32> = (0..rows.columns)
        .map(|i| (found.weight[rows.columns + i] - found.weight[i]) / scaler.deviation[i])
        .collect();
    let shift: f32 = scaled.iter().zip(&scaler.mean).map(|(w, m)| w * m).sum();
    let constant = found.bias[1] - found.bias[0] - shift;
    scaled.into_iter().chain([constant]).collect()
}

/// What the trainer made and the model crate refuses is a mistake here.
fn bug(e: ClassifierError) -> TrainError {
    TrainError::new(e.place, ErrorKind::Bug, e.message)
}

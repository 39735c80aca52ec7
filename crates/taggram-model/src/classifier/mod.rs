//! Classical classifiers on rows of numbers: what a taggram's patches, a song's
//! descriptors or an embedding become a genre with. Only prediction lives here; training
//! is `taggram-train`'s.
//!
//! A [`Pipeline`] is a list of steps (scaling, principal components) and one classifier.
//! It is stored as [`Parts`]: a JSON description and named tensors, checked on the way in,
//! so that a damaged file is an error and never a panic.

mod error;
mod linear;
mod neighbours;
mod parts;
mod perceptron;
mod steps;
mod svm;
mod trees;
mod xgboost;

#[cfg(test)]
mod tests;

pub use error::{ClassifierError, ClassifierErrorKind};
pub use linear::{GaussianNb, LinearSvm, Logistic, Platt};
pub use neighbours::{Knn, Vote};
pub use parts::Parts;
pub use perceptron::Perceptron;
pub use steps::{Pca, Scaler, log_odds};
pub use svm::RbfSvm;
pub use trees::{BoostedTrees, Forest, Link, Node, Tree};

/// What happens to a row before it is classified.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Each value, a probability, to its [`log_odds`].
    LogOdds,
    /// Each column to mean 0 and deviation 1.
    Scaler(Scaler),
    /// Principal components.
    Pca(Pca),
}

/// How a row becomes a probability for each class.
#[derive(Clone, Debug)]
pub enum Classifier {
    /// The vote of the nearest training rows.
    Knn(Knn),
    /// A bell curve a class and column.
    GaussianNb(GaussianNb),
    /// Multinomial logistic regression.
    Logistic(Logistic),
    /// One plane a class against the rest.
    SvmLinear(LinearSvm),
    /// One curved border a class against the rest.
    SvmRbf(RbfSvm),
    /// The mean of many deep trees.
    RandomForest(Forest),
    /// The sum of many shallow trees.
    GradientBoosting(BoostedTrees),
    /// A small dense network.
    Mlp(Perceptron),
}

impl Classifier {
    /// Probability of each class, summing to 1, for a row of the right length.
    fn predict_proba(&self, row: &[f32]) -> Result<Vec<f32>, ClassifierError> {
        Ok(match self {
            Self::Knn(c) => c.predict_proba(row),
            Self::GaussianNb(c) => c.predict_proba(row),
            Self::Logistic(c) => c.predict_proba(row),
            Self::SvmLinear(c) => c.predict_proba(row),
            Self::SvmRbf(c) => c.predict_proba(row),
            Self::RandomForest(c) => c.predict_proba(row),
            Self::GradientBoosting(c) => c.predict_proba(row),
            Self::Mlp(c) => return c.predict_proba(row),
        })
    }

    /// Whether a missing value (NaN) has a meaning.
    fn takes_missing(&self) -> bool {
        matches!(self, Self::RandomForest(_) | Self::GradientBoosting(_))
    }
}

/// Steps and a classifier, with the number of columns they expect and the names of the
/// classes they tell apart.
#[derive(Clone, Debug)]
pub struct Pipeline {
    inputs: usize,
    classes: Vec<String>,
    steps: Vec<Step>,
    classifier: Classifier,
}

impl Pipeline {
    /// A pipeline over rows of `inputs` numbers.
    ///
    /// # Errors
    /// When the sizes of steps, classifier and class list do not fit together.
    pub fn new(
        inputs: usize,
        classes: Vec<String>,
        steps: Vec<Step>,
        classifier: Classifier,
    ) -> Result<Self, ClassifierError> {
        let pipeline = Self { inputs, classes, steps, classifier };
        pipeline.check()?;
        Ok(pipeline)
    }

    /// Numbers a row.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Names of the classes, in the order of the probabilities.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// What happens to a row first.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The classifier after the steps.
    pub fn classifier(&self) -> &Classifier {
        &self.classifier
    }

    /// Probability of each class, summing to 1.
    ///
    /// # Errors
    /// A row of another length, or with a value that is not finite (trees without PCA take
    /// NaN as “missing”).
    pub fn predict_proba(&self, row: &[f32]) -> Result<Vec<f32>, ClassifierError> {
        if row.len() != self.inputs {
            return Err(ClassifierError::malformed(
                "row",
                format!("It has {} values; the classifier needs {}.", row.len(), self.inputs),
            ));
        }
        let missing = self.classifier.takes_missing()
            && self.steps.iter().all(|s| matches!(s, Step::Scaler(_)));
        if let Some(i) = row.iter().position(|v| !(v.is_finite() || v.is_nan() && missing)) {
            return Err(ClassifierError::malformed(
                "row",
                format!("Value {i} is {}; a finite number is needed.", row[i]),
            ));
        }
        let mut row = row.to_vec();
        for step in &self.steps {
            row = match step {
                Step::LogOdds => row.into_iter().map(log_odds).collect(),
                Step::Scaler(s) => s.apply(&row),
                Step::Pca(p) => p.apply(&row),
            };
        }
        self.classifier.predict_proba(&row)
    }

    /// Probabilities `[row, class]` for rows one after the other.
    ///
    /// # Errors
    /// As [`Pipeline::predict_proba`]; the message names the row.
    pub fn predict_rows(&self, rows: &[f32]) -> Result<Vec<f32>, ClassifierError> {
        if !rows.len().is_multiple_of(self.inputs) {
            return Err(ClassifierError::malformed(
                "rows",
                format!("{} values are no whole number of rows of {}.", rows.len(), self.inputs),
            ));
        }
        let mut out = Vec::with_capacity(rows.len() / self.inputs * self.classes.len());
        for (i, row) in rows.chunks_exact(self.inputs).enumerate() {
            let answer = self
                .predict_proba(row)
                .map_err(|e| ClassifierError { place: format!("row {i}"), ..e })?;
            out.extend(answer);
        }
        Ok(out)
    }

    /// Whether all sizes fit together.
    fn check(&self) -> Result<(), ClassifierError> {
        if self.inputs == 0 || self.classes.len() < 2 {
            return Err(ClassifierError::malformed(
                "classifier",
                format!(
                    "It has {} inputs and {} classes; at least one and two are needed.",
                    self.inputs,
                    self.classes.len()
                ),
            ));
        }
        let mut width = self.inputs;
        for (i, step) in self.steps.iter().enumerate() {
            let (wanted, next) = match step {
                Step::LogOdds => (width, width),
                Step::Scaler(s) => (s.mean.len(), s.mean.len()),
                Step::Pca(p) => (p.mean.len(), p.outputs()),
            };
            expect(&format!("step {i}"), "columns", wanted, width)?;
            width = next;
        }
        let (name, inputs, classes) = match &self.classifier {
            Classifier::Knn(c) => ("nearest neighbours", c.inputs, c.classes),
            Classifier::GaussianNb(c) => ("naive Bayes", c.inputs, c.log_prior.len()),
            Classifier::Logistic(c) => ("logistic regression", c.inputs, c.bias.len()),
            Classifier::SvmLinear(c) => ("linear SVM", c.inputs, c.bias.len()),
            Classifier::SvmRbf(c) => ("RBF SVM", c.inputs, c.bias.len()),
            Classifier::RandomForest(c) => ("random forest", c.inputs, c.classes),
            Classifier::GradientBoosting(c) => ("boosted trees", c.inputs, c.classes),
            Classifier::Mlp(c) => ("dense network", c.inputs(), c.classes()),
        };
        expect(name, "columns", inputs, width)?;
        expect(name, "classes", classes, self.classes.len())
    }
}

fn expect(place: &str, what: &str, found: usize, wanted: usize) -> Result<(), ClassifierError> {
    if found == wanted {
        return Ok(());
    }
    Err(ClassifierError::malformed(
        place,
        format!("It is made for {found} {what}, and {wanted} reach it."),
    ))
}

/// e^x / Σ e^x, computed so that nothing overflows.
pub(crate) fn softmax(scores: &[f64]) -> Vec<f32> {
    let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exps: Vec<f64> = scores.iter().map(|s| (s - top).exp()).collect();
    let sum: f64 = exps.iter().sum();
    exps.iter().map(|e| (e / sum) as f32).collect()
}

/// Values scaled to sum 1; all alike when they sum to nothing.
pub(crate) fn shares(values: &[f64]) -> Vec<f32> {
    let sum: f64 = values.iter().sum();
    if sum > 0.0 {
        values.iter().map(|v| (v / sum) as f32).collect()
    } else {
        vec![1.0 / values.len() as f32; values.len()]
    }
}

//! What is to be trained, as written in a recipe file:
//!
//! ```toml
//! scaling = "standard"
//! pca = 128
//! [classifier]
//! kind = "svm_rbf"
//! c = 1.0
//! ```

use serde::{Deserialize, Serialize};
use taggram_model::classifier::Vote;

use super::Rows;
use crate::error::TrainError;

/// Scaling, principal components and a classifier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassifierRecipe {
    /// What happens to each column first.
    #[serde(default)]
    pub scaling: Scaling,
    /// Number of principal components kept; absent: the columns stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pca: Option<usize>,
    /// Whether the components are brought to deviation 1.
    #[serde(default = "yes")]
    pub whiten: bool,
    /// The classifier and its numbers.
    pub classifier: ClassifierKind,
}

/// What happens to each column first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scaling {
    /// Nothing.
    None,
    /// Mean 0 and deviation 1.
    #[default]
    Standard,
    /// The columns are probabilities: their log-odds, then mean 0 and deviation 1.
    LogOdds,
}

/// A classifier and its numbers; the defaults are those of scikit-learn and XGBoost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ClassifierKind {
    /// Nearest neighbours.
    Knn {
        /// How many vote, at least 1.
        #[serde(default = "five")]
        k: usize,
        /// How much each vote counts.
        #[serde(default)]
        vote: Vote,
    },
    /// Gaussian naive Bayes.
    GaussianNb {
        /// Share of the largest variance that is added to every variance.
        #[serde(default = "tiny")]
        smoothing: f64,
    },
    /// Multinomial logistic regression with L2 penalty.
    Logistic {
        /// Weight of the data against the penalty, above 0.
        #[serde(default = "one")]
        c: f64,
    },
    /// Linear discriminant analysis: a bell curve a class, all of one shape.
    Discriminant {
        /// Share of the shape replaced by a sphere, 0…1: steadier where columns are many or alike.
        #[serde(default)]
        shrinkage: f64,
    },
    /// Linear support vector machine, one class against the rest, squared hinge loss.
    SvmLinear {
        /// Weight of the data against the margin, above 0.
        #[serde(default = "one")]
        c: f64,
    },
    /// Support vector machine with radial kernel, one class against the rest.
    SvmRbf {
        /// Weight of the data against the margin, above 0.
        #[serde(default = "one")]
        c: f64,
        /// Width of the kernel.
        #[serde(default)]
        gamma: Gamma,
    },
    /// Random forest.
    RandomForest(ForestOptions),
    /// Gradient-boosted trees.
    GradientBoosting(BoostOptions),
    /// Dense layers with ReLU and dropout.
    Mlp(MlpOptions),
}

/// Width of a radial kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gamma {
    /// 1 / (columns · variance of all values).
    #[default]
    Scale,
    /// This number, above 0.
    Fixed(f64),
}

/// Numbers of a random forest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ForestOptions {
    /// Number of trees, at least 1.
    pub trees: usize,
    /// Most questions on the way to a leaf; absent: until the leaves are pure.
    pub depth: Option<usize>,
    /// Fewest rows in a leaf, at least 1.
    pub leaf_rows: usize,
    /// Columns tried for each question; absent: the square root of their number.
    pub columns: Option<usize>,
}

impl Default for ForestOptions {
    fn default() -> Self {
        Self { trees: 100, depth: None, leaf_rows: 1, columns: None }
    }
}

/// Numbers of gradient boosting, named as XGBoost names them where it does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BoostOptions {
    /// Number of rounds, each with a tree a class; at least 1.
    pub rounds: usize,
    /// Most questions on the way to a leaf, 1…16.
    pub depth: usize,
    /// Share of each tree's answer that is added, 0…1.
    pub learning_rate: f64,
    /// L2 penalty on the answers, at least 0.
    pub lambda: f64,
    /// Least sum of second derivatives in a leaf, at least 0.
    pub min_child_weight: f64,
    /// Share of the rows each round sees, above 0 and up to 1.
    pub subsample: f64,
    /// Share of the columns each tree sees, above 0 and up to 1.
    pub colsample: f64,
}

impl Default for BoostOptions {
    fn default() -> Self {
        Self {
            rounds: 100,
            depth: 6,
            learning_rate: 0.3,
            lambda: 1.0,
            min_child_weight: 1.0,
            subsample: 1.0,
            colsample: 1.0,
        }
    }
}

/// Numbers of a dense network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MlpOptions {
    /// Units of each hidden layer.
    pub hidden: Vec<usize>,
    /// Probability with which a unit is dropped in training, 0 to below 1.
    pub dropout: f32,
    /// How often every row is seen.
    pub epochs: usize,
    /// Rows an update.
    pub batch: usize,
    /// Step of the optimiser (AdamW), above 0; falls to 0 along half a cosine.
    pub learning_rate: f32,
    /// Weight decay of the optimiser, at least 0.
    pub weight_decay: f32,
}

impl Default for MlpOptions {
    fn default() -> Self {
        Self {
            hidden: vec![512, 256, 128],
            dropout: 0.3,
            epochs: 60,
            batch: 64,
            learning_rate: 1e-3,
            weight_decay: 1e-4,
        }
    }
}

impl ClassifierRecipe {
    /// Whether every number lies in its range and fits the table.
    pub(super) fn check(&self, rows: &Rows) -> Result<(), TrainError> {
        let limit = rows.columns.min(rows.len().saturating_sub(1));
        if let Some(n) = self.pca {
            ensure(n >= 1 && n <= limit, "pca", n, &format!("1…{limit} for this table"))?;
        }
        let above = |key: &str, v: f64| ensure(v > 0.0 && v.is_finite(), key, v, "above 0");
        let not_below = |key: &str, v: f64| ensure(v >= 0.0 && v.is_finite(), key, v, "0 or more");
        let share = |key: &str, v: f64| ensure(v > 0.0 && v <= 1.0, key, v, "above 0 and up to 1");
        let count = |key: &str, v: usize| ensure(v >= 1, key, v, "1 or more");
        match &self.classifier {
            ClassifierKind::Knn { k, .. } => count("k", *k),
            ClassifierKind::GaussianNb { smoothing } => not_below("smoothing", *smoothing),
            ClassifierKind::Logistic { c } | ClassifierKind::SvmLinear { c } => above("c", *c),
            ClassifierKind::Discriminant { shrinkage } if !(0.0..=1.0).contains(shrinkage) => {
                Err(TrainError::malformed(
                    "[classifier] shrinkage",
                    format!("is {shrinkage}; it is a share, 0…1"),
                ))
            }
            ClassifierKind::Discriminant { .. } => Ok(()),
            ClassifierKind::SvmRbf { c, gamma } => {
                above("c", *c)?;
                if let Gamma::Fixed(g) = gamma { above("gamma", *g) } else { Ok(()) }
            }
            ClassifierKind::RandomForest(o) => {
                count("trees", o.trees)?;
                count("leaf_rows", o.leaf_rows)?;
                count("depth", o.depth.unwrap_or(1))?;
                count("columns", o.columns.unwrap_or(1))
            }
            ClassifierKind::GradientBoosting(o) => {
                count("rounds", o.rounds)?;
                ensure((1..=16).contains(&o.depth), "depth", o.depth, "1…16")?;
                share("learning_rate", o.learning_rate)?;
                not_below("lambda", o.lambda)?;
                not_below("min_child_weight", o.min_child_weight)?;
                share("subsample", o.subsample)?;
                share("colsample", o.colsample)
            }
            ClassifierKind::Mlp(o) => {
                for &units in &o.hidden {
                    count("hidden", units)?;
                }
                ensure((0.0..1.0).contains(&o.dropout), "dropout", o.dropout, "0 to below 1")?;
                count("epochs", o.epochs)?;
                count("batch", o.batch)?;
                above("learning_rate", f64::from(o.learning_rate))?;
                not_below("weight_decay", f64::from(o.weight_decay))
            }
        }
    }
}

fn ensure(
    good: bool,
    key: &str,
    found: impl std::fmt::Display,
    wanted: &str,
) -> Result<(), TrainError> {
    if good {
        return Ok(());
    }
    Err(TrainError::malformed(
        format!("recipe, {key}"),
        format!("It is {found}; it must be {wanted}."),
    ))
}

fn yes() -> bool {
    true
}
fn five() -> usize {
    5
}
fn tiny() -> f64 {
    1e-9
}
fn one() -> f64 {
    1.0
}

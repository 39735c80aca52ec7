//! Decision trees, alone in none, together in forests: their mean (random forest) or their
//! sum (gradient boosting).

use serde::{Deserialize, Serialize};

use super::{ClassifierError, shares, softmax};

/// A question or, where both children are 0, an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Node {
    /// The column asked about.
    pub column: u32,
    /// Rows below it go left.
    pub threshold: f32,
    /// Whether rows without a value (NaN) go left.
    pub missing_left: bool,
    /// Place of the left child; 0 in a leaf.
    pub left: u32,
    /// Place of the right child; 0 in a leaf.
    pub right: u32,
    /// In a leaf: which of the tree's answers.
    pub answer: u32,
}

impl Node {
    /// A leaf with this answer.
    pub fn leaf(answer: u32) -> Self {
        Self { column: 0, threshold: 0.0, missing_left: false, left: 0, right: 0, answer }
    }

    /// Whether it has no children.
    pub fn is_leaf(&self) -> bool {
        self.left == 0 && self.right == 0
    }
}

/// One tree; children always come after their parent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tree {
    /// The questions, the root first.
    pub nodes: Vec<Node>,
    /// `[answer, value]`: one value each (boosting) or one a class (forest).
    pub values: Vec<f32>,
}

impl Tree {
    /// The answer a row reaches.
    pub fn answer(&self, row: &[f32]) -> usize {
        let mut node = &self.nodes[0];
        while !node.is_leaf() {
            let x = row[node.column as usize];
            let left = if x.is_nan() { node.missing_left } else { x < node.threshold };
            node = &self.nodes[if left { node.left } else { node.right } as usize];
        }
        node.answer as usize
    }

    /// Whether following it always ends, inside its columns and answers.
    pub(super) fn check(
        &self,
        place: &str,
        columns: usize,
        width: usize,
    ) -> Result<(), ClassifierError> {
        let answers = self.values.len() / width.max(1);
        if self.nodes.is_empty() || answers * width != self.values.len() {
            return Err(ClassifierError::malformed(
                place,
                format!("It has {} nodes and {} values.", self.nodes.len(), self.values.len()),
            ));
        }
        for (i, node) in self.nodes.iter().enumerate() {
            let inside = |child: u32| (child as usize) > i && (child as usize) < self.nodes.len();
            let good = if node.is_leaf() {
                (node.answer as usize) < answers
            } else {
                inside(node.left) && inside(node.right) && (node.column as usize) < columns
            };
            if !good || node.threshold.is_nan() {
                return Err(ClassifierError::malformed(
                    place,
                    format!(
                        "Node {i} ({node:?}) leads outside its {} nodes, {columns} columns or {answers} answers.",
                        self.nodes.len()
                    ),
                ));
            }
        }
        Ok(())
    }
}

/// Random forest: the mean of the class shares in the leaves a row reaches.
#[derive(Clone, Debug, PartialEq)]
pub struct Forest {
    /// Columns.
    pub inputs: usize,
    /// Number of classes.
    pub classes: usize,
    /// The trees; each answer holds a share for every class.
    pub trees: Vec<Tree>,
}

impl Forest {
    /// Probability of each class.
    pub fn predict_proba(&self, row: &[f32]) -> Vec<f32> {
        let mut sums = vec![0.0f64; self.classes];
        for tree in &self.trees {
            let at = tree.answer(row) * self.classes;
            for (sum, v) in sums.iter_mut().zip(&tree.values[at..at + self.classes]) {
                *sum += f64::from(*v);
            }
        }
        shares(&sums)
    }

    pub(super) fn check(&self) -> Result<(), ClassifierError> {
        if self.trees.is_empty() {
            return Err(ClassifierError::malformed("random forest", "It has no trees."));
        }
        for (i, tree) in self.trees.iter().enumerate() {
            tree.check(&format!("tree {i}"), self.inputs, self.classes)?;
        }
        Ok(())
    }
}

/// How sums of trees become probabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Link {
    /// One sum a class, softmax (`multi:softprob`).
    #[default]
    Softmax,
    /// One sum for the second of two classes, logistic function (`binary:logistic`).
    Logistic,
}

/// Gradient-boosted trees in XGBoost's sense: every tree adds to the score of one class.
#[derive(Clone, Debug, PartialEq)]
pub struct BoostedTrees {
    /// Columns.
    pub inputs: usize,
    /// Number of classes.
    pub classes: usize,
    /// How scores become probabilities.
    pub link: Link,
    /// Score before the first tree, one for each score.
    pub base: Vec<f32>,
    /// Trees in the order they were grown; each answer is one number.
    pub trees: Vec<Tree>,
    /// Which score each tree adds to.
    pub targets: Vec<u32>,
}

impl BoostedTrees {
    /// Number of scores: the classes, or one for [`Link::Logistic`].
    pub fn scores(&self) -> usize {
        match self.link {
            Link::Softmax => self.classes,
            Link::Logistic => 1,
        }
    }

    /// Sum of the trees for each score, in single precision as XGBoost sums.
    pub fn margins(&self, row: &[f32]) -> Vec<f32> {
        let mut sums = self.base.clone();
        for (tree, &target) in self.trees.iter().zip(&self.targets) {
            sums[target as usize] += tree.values[tree.answer(row)];
        }
        sums
    }

    /// Probability of each class.
    pub fn predict_proba(&self, row: &[f32]) -> Vec<f32> {
        let margins: Vec<f64> = self.margins(row).into_iter().map(f64::from).collect();
        match self.link {
            Link::Softmax => softmax(&margins),
            Link::Logistic => softmax(&[0.0, margins[0]]),
        }
    }

    pub(super) fn check(&self) -> Result<(), ClassifierError> {
        let scores = self.scores();
        let two = self.link == Link::Softmax || self.classes == 2;
        let targets = self.targets.iter().all(|&t| (t as usize) < scores);
        if !two || !targets || self.targets.len() != self.trees.len() || self.base.len() != scores {
            return Err(ClassifierError::malformed(
                "boosted trees",
                format!(
                    "{} trees with {} targets and {} base scores do not make {} classes.",
                    self.trees.len(),
                    self.targets.len(),
                    self.base.len(),
                    self.classes
                ),
            ));
        }
        for (i, tree) in self.trees.iter().enumerate() {
            tree.check(&format!("tree {i}"), self.inputs, 1)?;
        }
        Ok(())
    }
}

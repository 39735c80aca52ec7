//! A pipeline as a JSON description and named tensors, and back.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::*;
use crate::network::Network;
use crate::tensor::{Tensor, Weights};

/// A stored pipeline: small things as JSON, tables as tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct Parts {
    /// Kinds, sizes and names.
    pub description: Value,
    /// `step0.mean`, `classifier.weight`, ….
    pub tensors: Weights,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    inputs: usize,
    classes: Vec<String>,
    steps: Vec<StepKind>,
    classifier: Kind,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StepKind {
    LogOdds,
    Scaler,
    Pca,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Kind {
    Knn { k: usize, vote: Vote },
    GaussianNb,
    Logistic,
    SvmLinear,
    SvmRbf { gamma: f32 },
    RandomForest { trees: usize },
    GradientBoosting { trees: usize, link: Link },
    Mlp { network: Network },
}

/// The largest whole number up to which `f32` holds every one.
const MAX_EXACT: usize = 1 << 24;

impl Pipeline {
    /// The pipeline as a description and tensors.
    ///
    /// # Errors
    /// A forest with more than 16,777,216 nodes in one tree or answers in all, whose places
    /// a tensor cannot hold.
    pub fn to_parts(&self) -> Result<Parts, ClassifierError> {
        let mut t = Weights::new();
        let mut steps = Vec::new();
        for (i, step) in self.steps.iter().enumerate() {
            let mut put = |part: &str, shape: Vec<usize>, data: &[f32]| {
                t.insert(format!("step{i}.{part}"), Tensor::new(shape, data.to_vec()));
            };
            match step {
                Step::LogOdds => steps.push(StepKind::LogOdds),
                Step::Scaler(s) => {
                    put("mean", vec![s.mean.len()], &s.mean);
                    put("deviation", vec![s.deviation.len()], &s.deviation);
                    steps.push(StepKind::Scaler);
                }
                Step::Pca(p) => {
                    put("mean", vec![p.mean.len()], &p.mean);
                    put("components", vec![p.outputs(), p.mean.len()], &p.components);
                    steps.push(StepKind::Pca);
                }
            }
        }
        let mut put = |part: &str, shape: &[usize], data: &[f32]| {
            t.insert(format!("classifier.{part}"), Tensor::new(shape, data.to_vec()));
        };
        let n = self.classes.len();
        let classifier = match &self.classifier {
            Classifier::Knn(c) => {
                let labels: Vec<f32> = c.labels.iter().map(|&l| l as f32).collect();
                put("rows", &[labels.len(), c.inputs], &c.rows);
                put("labels", &[labels.len()], &labels);
                Kind::Knn { k: c.k, vote: c.vote }
            }
            Classifier::GaussianNb(c) => {
                put("log_prior", &[n], &c.log_prior);
                put("mean", &[n, c.inputs], &c.mean);
                put("variance", &[n, c.inputs], &c.variance);
                Kind::GaussianNb
            }
            Classifier::Logistic(c) => {
                put("weight", &[n, c.inputs], &c.weight);
                put("bias", &[n], &c.bias);
                Kind::Logistic
            }
            Classifier::SvmLinear(c) => {
                put("weight", &[n, c.inputs], &c.weight);
                put("bias", &[n], &c.bias);
                put("platt", &[n, 2], &platt_values(&c.platt));
                Kind::SvmLinear
            }
            Classifier::SvmRbf(c) => {
                let vectors = c.vectors.len() / c.inputs;
                put("vectors", &[vectors, c.inputs], &c.vectors);
                put("coefficients", &[n, vectors], &c.coefficients);
                put("bias", &[n], &c.bias);
                put("platt", &[n, 2], &platt_values(&c.platt));
                Kind::SvmRbf { gamma: c.gamma }
            }
            Classifier::RandomForest(c) => {
                put_trees(&mut put, &c.trees, n)?;
                Kind::RandomForest { trees: c.trees.len() }
            }
            Classifier::GradientBoosting(c) => {
                put_trees(&mut put, &c.trees, 1)?;
                let targets: Vec<f32> = c.targets.iter().map(|&t| t as f32).collect();
                put("targets", &[targets.len()], &targets);
                put("base", &[c.base.len()], &c.base);
                Kind::GradientBoosting { trees: c.trees.len(), link: c.link }
            }
            Classifier::Mlp(c) => {
                for (name, tensor) in c.weights() {
                    t.insert(format!("classifier.{name}"), tensor.clone());
                }
                Kind::Mlp { network: c.network().clone() }
            }
        };
        let description =
            Description { inputs: self.inputs, classes: self.classes.clone(), steps, classifier };
        let description = serde_json::to_value(description)
            .map_err(|e| ClassifierError::malformed("classifier", format!("{e}.")))?;
        Ok(Parts { description, tensors: t })
    }

    /// The pipeline that was stored.
    ///
    /// # Errors
    /// A description or tensors that are incomplete, contradict each other, or hold
    /// numbers that are not finite; the message names the tensor.
    pub fn from_parts(parts: Parts) -> Result<Self, ClassifierError> {
        let description: Description = serde_json::from_value(parts.description)
            .map_err(|e| ClassifierError::malformed("classifier description", format!("{e}.")))?;
        let n = description.classes.len();
        let mut tensors = Tensors { all: parts.tensors };
        let mut width = description.inputs;
        let mut steps = Vec::new();
        for (i, kind) in description.steps.iter().enumerate() {
            let part = |name: &str| format!("step{i}.{name}");
            let mut mean = || Ok(tensors.take(&part("mean"), &[Some(width)])?.data);
            steps.push(match kind {
                StepKind::LogOdds => Step::LogOdds,
                StepKind::Scaler => {
                    let mean = mean()?;
                    let deviation = tensors.take(&part("deviation"), &[Some(width)])?.data;
                    positive(&part("deviation"), &deviation)?;
                    Step::Scaler(Scaler { mean, deviation })
                }
                StepKind::Pca => {
                    let mean = mean()?;
                    let t = tensors.take(&part("components"), &[None, Some(width)])?;
                    width = t.shape[0];
                    Step::Pca(Pca { mean, components: t.data })
                }
            });
        }
        let mut take = |name: &str, shape: &[Option<usize>]| {
            tensors.take(&format!("classifier.{name}"), shape)
        };
        let (d, k) = (Some(width), Some(n));
        let classifier = match description.classifier {
            Kind::Knn { k: neighbours, vote } => {
                let rows = take("rows", &[None, d])?;
                let count = rows.shape[0];
                let labels = whole("classifier.labels", &take("labels", &[Some(count)])?.data, n)?;
                if count == 0 || neighbours == 0 {
                    let message =
                        format!("{count} rows and {neighbours} neighbours decide nothing.");
                    return Err(ClassifierError::malformed("nearest neighbours", message));
                }
                Classifier::Knn(Knn {
                    inputs: width,
                    classes: n,
                    k: neighbours,
                    vote,
                    rows: rows.data,
                    labels,
                })
            }
            Kind::GaussianNb => {
                let variance = take("variance", &[k, d])?.data;
                positive("classifier.variance", &variance)?;
                let (log_prior, mean) =
                    (take("log_prior", &[k])?.data, take("mean", &[k, d])?.data);
                Classifier::GaussianNb(GaussianNb { inputs: width, log_prior, mean, variance })
            }
            Kind::Logistic => Classifier::Logistic(Logistic {
                inputs: width,
                weight: take("weight", &[k, d])?.data,
                bias: take("bias", &[k])?.data,
            }),
            Kind::SvmLinear => Classifier::SvmLinear(LinearSvm {
                inputs: width,
                weight: take("weight", &[k, d])?.data,
                bias: take("bias", &[k])?.data,
                platt: platt_of(&take("platt", &[k, Some(2)])?.data),
            }),
            Kind::SvmRbf { gamma } => {
                positive("gamma", &[gamma])?;
                let vectors = take("vectors", &[None, d])?;
                let count = vectors.shape[0];
                positive("number of support vectors", &[count as f32])?;
                Classifier::SvmRbf(RbfSvm {
                    inputs: width,
                    gamma,
                    vectors: vectors.data,
                    coefficients: take("coefficients", &[k, Some(count)])?.data,
                    bias: take("bias", &[k])?.data,
                    platt: platt_of(&take("platt", &[k, Some(2)])?.data),
                })
            }
            Kind::RandomForest { trees } => {
                let trees = take_trees(&mut take, trees, n)?;
                let forest = Forest { inputs: width, classes: n, trees };
                forest.check()?;
                Classifier::RandomForest(forest)
            }
            Kind::GradientBoosting { trees: count, link } => {
                let trees = take_trees(&mut take, count, 1)?;
                let targets = take("targets", &[Some(count)])?.data;
                let targets = whole("classifier.targets", &targets, n)?;
                let base = take("base", &[None])?.data;
                let boosted =
                    BoostedTrees { inputs: width, classes: n, link, base, trees, targets };
                boosted.check()?;
                Classifier::GradientBoosting(boosted)
            }
            Kind::Mlp { network } => {
                let weights = std::mem::take(&mut tensors.all)
                    .into_iter()
                    .filter_map(|(name, t)| Some((name.strip_prefix("classifier.")?.to_owned(), t)))
                    .collect();
                Classifier::Mlp(Perceptron::new(network, weights)?)
            }
        };
        Self::new(description.inputs, description.classes, steps, classifier)
    }
}

/// Tensors on their way in.
struct Tensors {
    all: Weights,
}

impl Tensors {
    /// The tensor of this name; `None` in `shape` stands for any length.
    fn take(&mut self, name: &str, shape: &[Option<usize>]) -> Result<Tensor, ClassifierError> {
        let tensor = self
            .all
            .remove(name)
            .ok_or_else(|| ClassifierError::malformed(name, "The tensor is missing."))?;
        let fits = tensor.shape.len() == shape.len()
            && tensor.shape.iter().zip(shape).all(|(s, w)| w.is_none_or(|w| w == *s));
        if !fits || tensor.shape.iter().product::<usize>() != tensor.data.len() {
            return Err(ClassifierError::malformed(
                name,
                format!("The shape is {:?}; {shape:?} is needed (None: any).", tensor.shape),
            ));
        }
        if let Some(i) = tensor.data.iter().position(|v| !v.is_finite()) {
            return Err(ClassifierError::malformed(
                name,
                format!("Value {i} is {}.", tensor.data[i]),
            ));
        }
        Ok(tensor)
    }
}

fn positive(name: &str, values: &[f32]) -> Result<(), ClassifierError> {
    match values.iter().position(|v| !(v.is_finite() && *v > 0.0)) {
        None => Ok(()),
        Some(i) => Err(ClassifierError::malformed(
            name,
            format!("Value {i} is {}; it must be finite and above 0.", values[i]),
        )),
    }
}

/// Values as whole numbers below `limit`.
fn whole(name: &str, values: &[f32], limit: usize) -> Result<Vec<u32>, ClassifierError> {
    let limit = limit.min(MAX_EXACT) as f32;
    values
        .iter()
        .map(|&v| {
            let good = v >= 0.0 && v < limit && v.fract() == 0.0;
            let message = || format!("{v} is no whole number below {limit}.");
            if good { Ok(v as u32) } else { Err(ClassifierError::malformed(name, message())) }
        })
        .collect()
}

fn platt_values(platt: &[Platt]) -> Vec<f32> {
    platt.iter().flat_map(|p| [p.slope, p.offset]).collect()
}

fn platt_of(values: &[f32]) -> Vec<Platt> {
    values.chunks_exact(2).map(|v| Platt { slope: v[0], offset: v[1] }).collect()
}

/// Columns of `trees.nodes`: column, threshold, missing left, left, right, answer.
const NODE: usize = 6;

fn put_trees(
    put: &mut impl FnMut(&str, &[usize], &[f32]),
    trees: &[Tree],
    width: usize,
) -> Result<(), ClassifierError> {
    let mut sizes = Vec::new();
    let (mut nodes, mut values) = (Vec::new(), Vec::new());
    for tree in trees {
        let answers = tree.values.len() / width;
        if tree.nodes.len() >= MAX_EXACT || answers >= MAX_EXACT {
            let message = format!("A tree of {} nodes is too large to store.", tree.nodes.len());
            let kind = ClassifierErrorKind::OverLimit;
            return Err(ClassifierError { kind, ..ClassifierError::malformed("trees", message) });
        }
        sizes.extend([tree.nodes.len() as f32, answers as f32]);
        for n in &tree.nodes {
            let side = f32::from(u8::from(n.missing_left));
            let places = [n.left as f32, n.right as f32, n.answer as f32];
            nodes.extend([n.column as f32, n.threshold, side]);
            nodes.extend(places);
        }
        values.extend_from_slice(&tree.values);
    }
    put("trees.sizes", &[trees.len(), 2], &sizes);
    put("trees.nodes", &[nodes.len() / NODE, NODE], &nodes);
    put("trees.values", &[values.len() / width, width], &values);
    Ok(())
}

fn take_trees(
    take: &mut impl FnMut(&str, &[Option<usize>]) -> Result<Tensor, ClassifierError>,
    count: usize,
    width: usize,
) -> Result<Vec<Tree>, ClassifierError> {
    let sizes = whole(
        "classifier.trees.sizes",
        &take("trees.sizes", &[Some(count), Some(2)])?.data,
        MAX_EXACT,
    )?;
    let nodes = take("trees.nodes", &[None, Some(NODE)])?;
    let values = take("trees.values", &[None, Some(width)])?;
    let total = |i: usize| sizes.iter().skip(i).step_by(2).map(|&s| s as usize).sum::<usize>();
    if total(0) != nodes.shape[0] || total(1) != values.shape[0] {
        return Err(ClassifierError::malformed(
            "classifier.trees.sizes",
            format!(
                "The trees are to have {} nodes and {} answers; {} and {} are there.",
                total(0),
                total(1),
                nodes.shape[0],
                values.shape[0]
            ),
        ));
    }
    let mut nodes = nodes.data.chunks_exact(NODE);
    let mut answers = values.data.chunks_exact(width);
    let number = |v: f32| whole("classifier.trees.nodes", &[v], MAX_EXACT).map(|v| v[0]);
    let mut trees = Vec::with_capacity(count);
    for size in sizes.chunks_exact(2) {
        let mut tree = Tree::default();
        for v in nodes.by_ref().take(size[0] as usize) {
            tree.nodes.push(Node {
                column: number(v[0])?,
                threshold: v[1],
                missing_left: v[2] != 0.0,
                left: number(v[3])?,
                right: number(v[4])?,
                answer: number(v[5])?,
            });
        }
        tree.values = answers.by_ref().take(size[1] as usize).flatten().copied().collect();
        trees.push(tree);
    }
    Ok(trees)
}

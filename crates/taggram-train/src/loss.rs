//! Losses of a batch and their gradients: the genres, and whatever teachers a network imitates.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::grad::{OutputGradients, Trainable, sigmoid, softmax};

/// The `[loss]` table of a recipe.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossRecipe {
    /// Share of the target taken from the right genre and spread over all, 0 … 1.
    #[serde(default)]
    pub label_smoothing: f32,
    /// How much each genre's songs count.
    #[serde(default)]
    pub class_weights: ClassWeights,
    /// What else the network learns from, by the name of the soft targets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub teachers: BTreeMap<String, TeacherLoss>,
}

/// How much each genre's songs count in the loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassWeights {
    /// Every song alike.
    #[default]
    None,
    /// In inverse proportion to the number of songs of its genre; the mean over the songs is 1.
    Balanced,
}

/// How a network is pulled towards a teacher's answers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum TeacherLoss {
    /// A head of its own with sigmoids, binary cross-entropy against probabilities (mean over them).
    Bce {
        /// Factor of this part of the loss.
        weight: f32,
    },
    /// A head of its own, mean squared error.
    Mse {
        /// Factor of this part of the loss.
        weight: f32,
    },
    /// A head of its own, mean squared error against the log-odds of probabilities, each brought to mean 0 and
    /// deviation 1 over the train songs: what a teacher thinks improbable is learnt as well as what it
    /// thinks probable.
    LogOdds {
        /// Factor of this part of the loss.
        weight: f32,
    },
    /// A head of its own, 1 − cosine of the angle.
    Cosine {
        /// Factor of this part of the loss.
        weight: f32,
    },
    /// The genre logits themselves, Kullback–Leibler divergence from the teacher's genre
    /// probabilities, both softened by `temperature` (Hinton et al. 2015; scaled by its square).
    Kl {
        /// Factor of this part of the loss.
        weight: f32,
        /// Above 1 the smaller probabilities count more.
        temperature: f32,
    },
}

impl TeacherLoss {
    /// Whether it needs an output of its own in the network.
    pub fn needs_head(self) -> bool {
        !matches!(self, Self::Kl { .. })
    }

    fn weight(self) -> f32 {
        let (Self::Bce { weight }
        | Self::Mse { weight }
        | Self::LogOdds { weight }
        | Self::Cosine { weight }
        | Self::Kl { weight, .. }) = self;
        weight
    }
}

impl LossRecipe {
    /// Refuses shares and factors outside their ranges.
    ///
    /// # Errors
    /// Names the key.
    pub fn check(&self) -> Result<(), TrainError> {
        if !(0.0..1.0).contains(&self.label_smoothing) {
            let message = format!("is {}; it must be at least 0 and below 1", self.label_smoothing);
            return Err(TrainError::malformed("[loss] label_smoothing", message));
        }
        for (name, teacher) in &self.teachers {
            let sound = match *teacher {
                TeacherLoss::Kl { weight, temperature } => {
                    weight >= 0.0
                        && weight.is_finite()
                        && temperature > 0.0
                        && temperature.is_finite()
                }
                other => other.weight() >= 0.0 && other.weight().is_finite(),
            };
            if !sound {
                let message =
                    format!("is {teacher:?}; weights must be 0 or more, a temperature above 0");
                return Err(TrainError::malformed(format!("[loss.teachers.{name}]"), message));
            }
        }
        Ok(())
    }
}

/// What a batch should answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Targets {
    /// Genre probabilities `[batch, class]`; each row sums to 1.
    pub classes: Vec<f32>,
    /// How much each sample counts, `[batch]`.
    pub weights: Vec<f32>,
    /// Soft targets `[batch, n]` by name, with a flag for each sample that has one.
    pub teachers: BTreeMap<String, (Vec<f32>, Vec<bool>)>,
}

/// The loss of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchLoss {
    /// All parts together, mean over the batch.
    pub total: f64,
    /// The genre part alone.
    pub classes: f64,
    /// Samples whose most probable genre is their most probable target.
    pub correct: usize,
    /// Gradients for [`Trainable::backward`].
    pub gradients: OutputGradients,
}

/// Name of the output that answers the genres.
pub const LOGITS: &str = "logits";

/// Loss and gradients of the batch that `network` has just computed.
///
/// # Errors
/// A network without the output `logits` or without the head of a teacher, or heads and targets of different sizes.
pub fn batch_loss(
    recipe: &LossRecipe,
    network: &Trainable,
    targets: &Targets,
) -> Result<BatchLoss, TrainError> {
    let logits = network.output(LOGITS)?;
    let batch = targets.weights.len();
    if logits.len() != targets.classes.len() || batch == 0 {
        let message = format!(
            "the network answers {} values, the targets hold {}",
            logits.len(),
            targets.classes.len()
        );
        return Err(TrainError::malformed("output `logits`", message));
    }
    let classes = logits.len() / batch;
    let mut probabilities = logits.to_vec();
    let mut loss = 0.0f64;
    let mut correct = 0;
    let rows = probabilities
        .chunks_exact_mut(classes)
        .zip(targets.classes.chunks_exact(classes))
        .zip(logits.chunks_exact(classes));
    for (((p, t), x), &w) in rows.zip(&targets.weights) {
        loss += f64::from(w) * cross_entropy(x, t);
        correct += usize::from(largest(x) == largest(t));
        softmax(p);
        p.iter_mut().zip(t).for_each(|(p, t)| *p = w * (*p - t) / batch as f32);
    }
    let loss = loss / batch as f64;
    let mut total = loss;
    let mut gradients = OutputGradients::from([(LOGITS.into(), probabilities)]);
    for (name, teacher) in &recipe.teachers {
        let Some((target, present)) = targets.teachers.get(name) else { continue };
        let output = if teacher.needs_head() { name.as_str() } else { LOGITS };
        let y = network.output(output)?;
        if y.len() != target.len() {
            let message = format!(
                "the network answers {} values a sample, the targets `{name}` hold {}",
                y.len() / batch,
                target.len() / batch
            );
            return Err(TrainError::malformed(format!("output `{output}`"), message));
        }
        let size = y.len() / batch;
        let gradient = gradients.entry(output.into()).or_insert_with(|| vec![0.0; y.len()]);
        let scale = teacher.weight() / batch as f32;
        let rows = y
            .chunks_exact(size)
            .zip(target.chunks_exact(size))
            .zip(gradient.chunks_exact_mut(size));
        for (((y, t), g), _) in rows.zip(present).filter(|(_, present)| **present) {
            total += f64::from(scale) * teacher.row(y, t, scale, g);
        }
    }
    Ok(BatchLoss { total, classes: loss, correct, gradients })
}

impl TeacherLoss {
    /// Loss of one sample without its weight; adds `scale` × the gradient to `g`.
    fn row(self, y: &[f32], t: &[f32], scale: f32, g: &mut [f32]) -> f64 {
        let n = y.len() as f32;
        let each = g.iter_mut().zip(y.iter().zip(t));
        match self {
            Self::Bce { .. } => {
                let mut loss = 0.0;
                for (g, (&y, &t)) in each {
                    *g += scale * (sigmoid(y) - t) / n;
                    // log(1 + e^y) − t·y, without overflow
                    loss += f64::from(y.max(0.0) + (-y.abs()).exp().ln_1p() - t * y);
                }
                loss / f64::from(n)
            }
            Self::Mse { .. } | Self::LogOdds { .. } => {
                let mut loss = 0.0;
                for (g, (y, t)) in each {
                    *g += scale * 2.0 * (y - t) / n;
                    loss += f64::from(y - t).powi(2);
                }
                loss / f64::from(n)
            }
            Self::Cosine { .. } => {
                let norm = |v: &[f32]| v.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-12);
                let (ny, nt) = (norm(y), norm(t));
                let cosine = y.iter().zip(t).map(|(y, t)| y * t).sum::<f32>() / (ny * nt);
                for (g, (y, t)) in each {
                    *g -= scale * (t / nt - cosine * y / ny) / ny;
                }
                f64::from(1.0 - cosine)
            }
            Self::Kl { temperature, .. } => {
                let soften = |values: &mut Vec<f32>| {
                    values.iter_mut().for_each(|v| *v /= temperature);
                    softmax(values);
                };
                let mut p = y.to_vec();
                soften(&mut p);
                // The teacher gives probabilities: their logarithms are its logits up to a constant.
                let mut q: Vec<f32> = t.iter().map(|t| t.max(1e-8).ln()).collect();
                soften(&mut q);
                let mut loss = 0.0;
                for ((g, p), q) in g.iter_mut().zip(&p).zip(&q) {
                    *g += scale * temperature * (p - q);
                    loss += f64::from(*q) * (f64::from(*q).ln() - f64::from(p.max(1e-30)).ln());
                }
                loss * f64::from(temperature).powi(2)
            }
        }
    }
}

/// −Σ t · log softmax(x).
pub(crate) fn cross_entropy(logits: &[f32], target: &[f32]) -> f64 {
    let most = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let log_sum = logits.iter().map(|&x| (f64::from(x) - most).exp()).sum::<f64>().ln() + most;
    // f32::max skips NaN; the sum does not, so a NaN logit gives a NaN loss.
    logits.iter().zip(target).map(|(&x, &t)| f64::from(t) * (log_sum - f64::from(x))).sum()
}

/// Index of the largest value, the first of equals.
pub(crate) fn largest(values: &[f32]) -> usize {
    values.iter().enumerate().fold(0, |best, (i, v)| if *v > values[best] { i } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grad::Mode;
    use taggram_model::{Network, NetworkBuilder, Weights};

    fn losses() -> LossRecipe {
        let mut recipe = LossRecipe::default();
        recipe.teachers.insert("tags".into(), TeacherLoss::Bce { weight: 0.7 });
        recipe.teachers.insert("vector".into(), TeacherLoss::Mse { weight: 0.3 });
        recipe.teachers.insert("angle".into(), TeacherLoss::Cosine { weight: 2.0 });
        recipe.teachers.insert("genres".into(), TeacherLoss::Kl { weight: 0.5, temperature: 3.0 });
        recipe
    }

    /// A network that answers its inputs: the gradient at the outputs can be had by moving inputs.
    fn echo() -> Network {
        let sizes = [("logits", 4), ("tags", 3), ("vector", 2), ("angle", 3)];
        let mut builder = NetworkBuilder::new("in_logits", [4]).reshape([4]);
        let mut network = builder.clone().build();
        network.inputs.clear();
        network.nodes.clear();
        for (name, size) in sizes {
            builder = NetworkBuilder::new(&format!("in_{name}"), [size])
                .node(name, taggram_model::Op::Flatten);
            let part = builder.build();
            network.inputs.extend(part.inputs);
            network.nodes.extend(part.nodes);
        }
        network.outputs = sizes.iter().map(|s| s.0.into()).collect();
        network
    }

    #[test]
    fn gradients_are_the_differences_of_the_loss() {
        let recipe = losses();
        let mut network = Trainable::with_weights(echo(), &Weights::new()).unwrap();
        let mut rng = crate::rng::Rng::at(&[2]);
        let mut inputs: Vec<Vec<f32>> =
            [4, 3, 2, 3].iter().map(|n| (0..2 * n).map(|_| rng.normal()).collect()).collect();
        let teacher = |n: usize, present: [bool; 2]| {
            ((0..2 * n).map(|i| 0.2 + 0.1 * (i % 4) as f32).collect(), present.to_vec())
        };
        let targets = Targets {
            classes: vec![0.9, 0.1, 0.0, 0.0, 0.25, 0.25, 0.5, 0.0],
            weights: vec![1.0, 0.6],
            teachers: BTreeMap::from([
                ("tags".into(), teacher(3, [true, true])),
                ("vector".into(), teacher(2, [true, false])),
                ("angle".into(), teacher(3, [false, true])),
                ("genres".into(), teacher(4, [true, true])),
            ]),
        };
        let mut loss_of = |inputs: &[Vec<f32>]| {
            let views: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
            network.forward(&views, Mode::Evaluate).unwrap();
            batch_loss(&recipe, &network, &targets).unwrap()
        };
        let gradients = loss_of(&inputs).gradients;
        for (input, name) in ["logits", "tags", "vector", "angle"].iter().enumerate() {
            for i in 0..inputs[input].len() {
                let old = inputs[input][i];
                inputs[input][i] = old + 1e-2;
                let high = loss_of(&inputs).total;
                inputs[input][i] = old - 1e-2;
                let low = loss_of(&inputs).total;
                inputs[input][i] = old;
                let (found, expected) = (f64::from(gradients[*name][i]), (high - low) / 0.02);
                assert!(
                    (found - expected).abs() < 3e-4,
                    "{name}[{i}]: {found}, differences {expected}"
                );
            }
        }
    }

    #[test]
    fn absent_teachers_and_perfect_answers_cost_nothing() {
        let recipe = losses();
        let mut network = Trainable::with_weights(echo(), &Weights::new()).unwrap();
        network
            .forward(&[&[50.0, 0.0, 0.0, 0.0], &[0.0; 3], &[0.0; 2], &[1.0; 3]], Mode::Evaluate)
            .unwrap();
        let targets = Targets {
            classes: vec![1.0, 0.0, 0.0, 0.0],
            weights: vec![1.0],
            teachers: BTreeMap::new(),
        };
        let loss = batch_loss(&recipe, &network, &targets).unwrap();
        assert!(loss.total < 1e-12 && loss.correct == 1, "{loss:?}");
        assert_eq!(loss.gradients.len(), 1);
    }
}

//! Optimisers: from gradients to new weights.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::grad::Parameter;

/// The `[optimiser]` table of a recipe. Weight decay never touches biases and normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Optimiser {
    /// Stochastic gradient descent: v ← momentum · v + g, w ← w − rate · v.
    Sgd {
        /// Step size before the schedule.
        learning_rate: f32,
        /// Share of the last step that goes on, 0 … 1.
        #[serde(default)]
        momentum: f32,
        /// Added to the gradient: decay · w.
        #[serde(default)]
        weight_decay: f32,
        /// Largest norm of the whole gradient; a longer one is shortened. 0 for no limit.
        #[serde(default)]
        clip_norm: f32,
    },
    /// Adam (Kingma and Ba 2015).
    Adam {
        /// Step size before the schedule.
        learning_rate: f32,
        /// Memory of the mean gradient.
        #[serde(default = "beta1")]
        beta1: f32,
        /// Memory of the mean squared gradient.
        #[serde(default = "beta2")]
        beta2: f32,
        /// Added to the root of the mean square.
        #[serde(default = "eps")]
        eps: f32,
        /// Largest norm of the whole gradient; a longer one is shortened. 0 for no limit.
        #[serde(default)]
        clip_norm: f32,
    },
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019): w also shrinks by rate · decay · w.
    Adamw {
        /// Step size before the schedule.
        learning_rate: f32,
        /// Memory of the mean gradient.
        #[serde(default = "beta1")]
        beta1: f32,
        /// Memory of the mean squared gradient.
        #[serde(default = "beta2")]
        beta2: f32,
        /// Added to the root of the mean square.
        #[serde(default = "eps")]
        eps: f32,
        /// Pull towards 0, per unit of learning rate.
        weight_decay: f32,
        /// Largest norm of the whole gradient; a longer one is shortened. 0 for no limit.
        #[serde(default)]
        clip_norm: f32,
    },
}

fn beta1() -> f32 {
    0.9
}
fn beta2() -> f32 {
    0.999
}
fn eps() -> f32 {
    1e-8
}

/// What an optimiser remembers: one or two arrays a parameter, as long as it; empty for those not trained.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OptimiserState {
    /// Velocity, or mean gradient.
    pub first: Vec<Vec<f32>>,
    /// Mean squared gradient; empty for SGD.
    pub second: Vec<Vec<f32>>,
    /// Updates made.
    pub updates: u64,
}

impl Optimiser {
    /// Refuses rates and factors outside their ranges.
    ///
    /// # Errors
    /// Names the key.
    pub fn check(&self) -> Result<(), TrainError> {
        let (rate, factors, others): (f32, [f32; 2], [f32; 3]) = match *self {
            Self::Sgd { learning_rate, momentum, weight_decay, clip_norm } => {
                (learning_rate, [momentum, 0.0], [weight_decay, clip_norm, 0.0])
            }
            Self::Adam { learning_rate, beta1, beta2, eps, clip_norm } => {
                (learning_rate, [beta1, beta2], [eps, clip_norm, 0.0])
            }
            Self::Adamw { learning_rate, beta1, beta2, eps, weight_decay, clip_norm } => {
                (learning_rate, [beta1, beta2], [eps, weight_decay, clip_norm])
            }
        };
        let sound = rate > 0.0
            && rate.is_finite()
            && factors.iter().all(|f| (0.0..1.0).contains(f))
            && others.iter().all(|v| *v >= 0.0 && v.is_finite());
        if sound {
            return Ok(());
        }
        let message = format!(
            "is {self:?}; the learning rate must be above 0, momentum and betas in 0 … 1 (1 excluded), the rest 0 or more"
        );
        Err(TrainError::malformed("[optimiser]", message))
    }

    /// The step size before the schedule.
    pub fn learning_rate(&self) -> f32 {
        match *self {
            Self::Sgd { learning_rate, .. }
            | Self::Adam { learning_rate, .. }
            | Self::Adamw { learning_rate, .. } => learning_rate,
        }
    }

    /// The same optimiser with a step size `factor` times as large.
    pub fn scaled(mut self, factor: f32) -> Self {
        match &mut self {
            Self::Sgd { learning_rate, .. }
            | Self::Adam { learning_rate, .. }
            | Self::Adamw { learning_rate, .. } => *learning_rate *= factor,
        }
        self
    }

    fn clip_norm(&self) -> f32 {
        match *self {
            Self::Sgd { clip_norm, .. }
            | Self::Adam { clip_norm, .. }
            | Self::Adamw { clip_norm, .. } => clip_norm,
        }
    }

    /// The state before the first update.
    pub fn start(&self, parameters: &[Parameter]) -> OptimiserState {
        let zeros = || parameters.iter().map(|p| vec![0.0; p.gradient.len()]).collect();
        let second = if matches!(self, Self::Sgd { .. }) { Vec::new() } else { zeros() };
        OptimiserState { first: zeros(), second, updates: 0 }
    }

    /// One update with step size `rate`. Gives the norm of the gradient before it was limited;
    /// when that is not finite nothing is changed.
    pub fn update(
        &self,
        state: &mut OptimiserState,
        parameters: &mut [Parameter],
        rate: f32,
    ) -> f32 {
        let norm = gradient_norm(parameters);
        if !norm.is_finite() {
            return norm;
        }
        let limit = self.clip_norm();
        let shorten = if limit > 0.0 && norm > limit { limit / norm } else { 1.0 };
        state.updates += 1;
        let t = state.updates as i32;
        let adam = |beta1: f32, beta2: f32| (1.0 - beta1.powi(t), 1.0 - beta2.powi(t));
        state.second.resize_with(parameters.len(), Vec::new);
        for ((p, first), second) in parameters
            .iter_mut()
            .zip(&mut state.first)
            .zip(&mut state.second)
            .filter(|((p, _), _)| p.trainable)
        {
            let decays = p.decays;
            match *self {
                Self::Sgd { momentum, weight_decay, .. } => {
                    let decay = if decays { weight_decay } else { 0.0 };
                    chunks(&mut p.value, &p.gradient, first).for_each(|((w, g), v)| {
                        for ((w, g), v) in w.iter_mut().zip(g).zip(v) {
                            *v = momentum * *v + g * shorten + decay * *w;
                            *w -= rate * *v;
                        }
                    });
                }
                Self::Adam { beta1, beta2, eps, .. } | Self::Adamw { beta1, beta2, eps, .. } => {
                    let decay = match *self {
                        Self::Adamw { weight_decay, .. } if decays => rate * weight_decay,
                        _ => 0.0,
                    };
                    let (unbias1, unbias2) = adam(beta1, beta2);
                    let step = rate / unbias1;
                    chunks(&mut p.value, &p.gradient, first)
                        .zip(second.par_chunks_mut(CHUNK))
                        .for_each(|(((w, g), m), v)| {
                            for (((w, g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
                                let g = g * shorten;
                                *m = beta1 * *m + (1.0 - beta1) * g;
                                *v = beta2 * *v + (1.0 - beta2) * g * g;
                                *w -= decay * *w + step * *m / ((*v / unbias2).sqrt() + eps);
                            }
                        });
                }
            }
        }
        if matches!(self, Self::Sgd { .. }) {
            state.second.clear();
        }
        norm
    }
}

const CHUNK: usize = 1 << 16;

type Chunk<'a> = ((&'a mut [f32], &'a [f32]), &'a mut [f32]);

fn chunks<'a>(
    value: &'a mut [f32],
    gradient: &'a [f32],
    state: &'a mut [f32],
) -> impl IndexedParallelIterator<Item = Chunk<'a>> {
    value.par_chunks_mut(CHUNK).zip(gradient.par_chunks(CHUNK)).zip(state.par_chunks_mut(CHUNK))
}

/// Euclidean norm of all gradients together.
fn gradient_norm(parameters: &[Parameter]) -> f32 {
    let squares = parameters.iter().map(|p| {
        let sums: Vec<f64> = p
            .gradient
            .par_chunks(CHUNK)
            .map(|g| g.iter().map(|v| f64::from(*v) * f64::from(*v)).sum())
            .collect();
        sums.iter().sum::<f64>()
    });
    squares.sum::<f64>().sqrt() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameter(value: Vec<f32>, decays: bool) -> Parameter {
        Parameter {
            name: "w".into(),
            shape: vec![value.len()],
            gradient: vec![0.0; value.len()],
            value,
            trainable: true,
            decays,
        }
    }

    /// Follows a few updates on f(w) = w² / 2 · scale by hand.
    fn follow(optimiser: Optimiser, updates: usize, decays: bool) -> Vec<f32> {
        let mut p = [parameter(vec![1.0, -2.0], decays)];
        let mut state = optimiser.start(&p);
        for _ in 0..updates {
            p[0].gradient = p[0].value.clone();
            optimiser.update(&mut state, &mut p, optimiser.learning_rate());
        }
        p[0].value.clone()
    }

    #[test]
    fn sgd_with_momentum_by_hand() {
        let sgd =
            Optimiser::Sgd { learning_rate: 0.1, momentum: 0.5, weight_decay: 0.0, clip_norm: 0.0 };
        // v1 = 1, w1 = 0.9; v2 = 0.5 + 0.9 = 1.4, w2 = 0.76
        let w = follow(sgd, 2, true);
        assert!((w[0] - 0.76).abs() < 1e-6 && (w[1] + 1.52).abs() < 1e-6, "{w:?}");
    }

    #[test]
    fn adam_by_hand_and_decay_only_where_it_applies() {
        let adam = Optimiser::Adam {
            learning_rate: 0.1,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            clip_norm: 0.0,
        };
        // The first step of Adam is the rate, whatever the gradient.
        let w = follow(adam, 1, true);
        assert!((w[0] - 0.9).abs() < 1e-5 && (w[1] + 1.9).abs() < 1e-5, "{w:?}");
        let adamw = Optimiser::Adamw {
            learning_rate: 0.1,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.5,
            clip_norm: 0.0,
        };
        assert!((follow(adamw, 1, true)[0] - 0.85).abs() < 1e-5);
        assert_eq!(follow(adamw, 1, false), w);
    }

    #[test]
    fn long_gradients_are_shortened_and_infinite_ones_refused() {
        let sgd =
            Optimiser::Sgd { learning_rate: 1.0, momentum: 0.0, weight_decay: 0.0, clip_norm: 1.0 };
        let mut p = [parameter(vec![0.0, 0.0], true)];
        let mut state = sgd.start(&p);
        p[0].gradient = vec![3.0, 4.0];
        assert_eq!(sgd.update(&mut state, &mut p, 1.0), 5.0);
        assert!((p[0].value[0] + 0.6).abs() < 1e-6 && (p[0].value[1] + 0.8).abs() < 1e-6);
        let before = p[0].value.clone();
        p[0].gradient[0] = f32::NAN;
        assert!(!sgd.update(&mut state, &mut p, 1.0).is_finite());
        assert_eq!(p[0].value, before);
    }
}

//! Learning-rate schedules: a factor for every update.

use serde::{Deserialize, Serialize};

use crate::error::TrainError;

/// The `[schedule]` table of a recipe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// 1 throughout.
    #[default]
    Constant,
    /// Rises linearly to 1, then falls along half a cosine to `end`.
    Cosine {
        /// Epochs of the rise.
        #[serde(default)]
        warmup_epochs: f32,
        /// Factor at the end, 0 … 1.
        #[serde(default)]
        end: f32,
    },
    /// Multiplied by `factor` every `epochs` epochs.
    Step {
        /// Epochs between the steps.
        epochs: usize,
        /// Factor of a step.
        factor: f32,
    },
    /// 1 / (1 + decay · t) at update t (Keras' SGD, used by System 0).
    InverseDecay {
        /// Decay per update.
        decay: f32,
    },
    /// Multiplied by `factor` whenever the validation loss has not improved for `patience` epochs.
    Plateau {
        /// Epochs without improvement.
        patience: usize,
        /// Factor of a reduction.
        factor: f32,
    },
}

impl Schedule {
    /// Refuses factors and lengths outside their ranges.
    ///
    /// # Errors
    /// Names the table.
    pub fn check(&self) -> Result<(), TrainError> {
        let sound = match *self {
            Self::Constant => true,
            Self::Cosine { warmup_epochs, end } => {
                warmup_epochs >= 0.0 && warmup_epochs.is_finite() && (0.0..=1.0).contains(&end)
            }
            Self::Step { epochs, factor } => epochs > 0 && factor > 0.0 && factor <= 1.0,
            Self::InverseDecay { decay } => decay >= 0.0 && decay.is_finite(),
            Self::Plateau { patience, factor } => patience > 0 && factor > 0.0 && factor <= 1.0,
        };
        if sound {
            return Ok(());
        }
        let message = format!("is {self:?}; factors must be in 0 … 1, lengths above 0");
        Err(TrainError::malformed("[schedule]", message))
    }

    /// Factor at `update` (0 = the first) of a run of `epochs` × `per_epoch` updates; `losses` are
    /// the validation losses of the finished epochs.
    pub fn factor(&self, update: u64, per_epoch: u64, epochs: usize, losses: &[f64]) -> f32 {
        let epoch = update as f64 / per_epoch.max(1) as f64;
        let factor = match *self {
            Self::Constant => 1.0,
            Self::Cosine { warmup_epochs, end } => {
                let warmup = f64::from(warmup_epochs);
                if epoch < warmup {
                    // The first update already moves.
                    (update + 1) as f64 / (warmup * per_epoch as f64)
                } else {
                    let progress = ((epoch - warmup) / (epochs as f64 - warmup).max(1e-9)).min(1.0);
                    let end = f64::from(end);
                    end + (1.0 - end) * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
                }
            }
            Self::Step { epochs, factor } => {
                f64::from(factor).powi((epoch as usize / epochs) as i32)
            }
            Self::InverseDecay { decay } => 1.0 / (1.0 + f64::from(decay) * update as f64),
            Self::Plateau { patience, factor } => {
                f64::from(factor).powi(reductions(losses, patience))
            }
        };
        factor.min(1.0) as f32
    }
}

/// How often `losses` failed to improve for `patience` epochs in a row.
fn reductions(losses: &[f64], patience: usize) -> i32 {
    let (mut best, mut waited, mut count) = (f64::INFINITY, 0, 0);
    for &loss in losses {
        if loss < best {
            (best, waited) = (loss, 0);
        } else {
            waited += 1;
            if waited == patience {
                (waited, count) = (0, count + 1);
            }
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::Schedule;

    #[test]
    fn factors_at_known_places() {
        let close = |a: f32, b: f32| assert!((a - b).abs() < 1e-5, "{a} {b}");
        let cosine = Schedule::Cosine { warmup_epochs: 2.0, end: 0.1 };
        close(cosine.factor(0, 10, 12, &[]), 0.05);
        close(cosine.factor(19, 10, 12, &[]), 1.0);
        close(cosine.factor(70, 10, 12, &[]), 0.55);
        close(cosine.factor(120, 10, 12, &[]), 0.1);
        close(Schedule::InverseDecay { decay: 0.01 }.factor(100, 1, 1, &[]), 0.5);
        close(Schedule::Step { epochs: 3, factor: 0.1 }.factor(59, 10, 9, &[]), 0.1);
        close(Schedule::Step { epochs: 3, factor: 0.1 }.factor(60, 10, 9, &[]), 0.01);
        let plateau = Schedule::Plateau { patience: 2, factor: 0.5 };
        close(plateau.factor(0, 1, 9, &[1.0, 0.9, 0.95]), 1.0);
        close(plateau.factor(0, 1, 9, &[1.0, 0.9, 0.95, 0.9]), 0.5);
        close(plateau.factor(0, 1, 9, &[1.0, 0.9, 0.95, 0.9, 0.8, 0.9, 0.9]), 0.25);
    }
}

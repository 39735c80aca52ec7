//! Batch norm as one multiplication and one addition, and its passage through a maximum.

use crate::{NetworkError, Weights, architectures::musicnn::EPS};

/// `scale · x + shift` for each channel.
#[derive(Clone, Debug)]
pub(super) struct Affine {
    pub scale: Vec<f32>,
    pub shift: Vec<f32>,
}

impl Affine {
    /// The batch norm of this name.
    pub fn batch_norm(weights: &Weights, name: &str) -> Result<Self, NetworkError> {
        let gamma = values(weights, name, "weight")?;
        let beta = values(weights, name, "bias")?;
        let mean = values(weights, name, "running_mean")?;
        let var = values(weights, name, "running_var")?;
        let scale: Vec<f32> = gamma.iter().zip(var).map(|(g, v)| g / (v + EPS).sqrt()).collect();
        let shift = (0..scale.len()).map(|i| beta[i] - mean[i] * scale[i]).collect();
        Ok(Self { scale, shift })
    }
}

/// A weight by name; the runner has checked that all are there.
pub(super) fn values<'a>(
    weights: &'a Weights,
    node: &str,
    part: &str,
) -> Result<&'a [f32], NetworkError> {
    weights
        .get(&format!("{node}.{part}"))
        .map(|t| t.data.as_slice())
        .ok_or_else(|| NetworkError::malformed(format!("weight `{node}.{part}`"), "is absent"))
}

/// What follows a convolution and the maximum of its results over the bands: bias, ReLU and
/// batch norm of the maximum are the maximum of bias, ReLU and batch norm — unless the batch
/// norm's scale is negative; then they are those of the *minimum*, which is found as
/// the maximum of the negated filter. `sign` says which.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AfterMax {
    pub sign: f32,
    pub bias: f32,
    pub scale: f32,
    pub shift: f32,
}

impl AfterMax {
    /// One for each of `bias`.
    pub fn new(bias: &[f32], norm: &Affine) -> Vec<Self> {
        let sign = |scale: f32| if scale < 0.0 { -1.0 } else { 1.0 };
        (0..bias.len())
            .map(|i| Self {
                sign: sign(norm.scale[i]),
                bias: bias[i],
                scale: norm.scale[i],
                shift: norm.shift[i],
            })
            .collect()
    }

    /// The layer's value, from the largest result of the filter times [`Self::sign`].
    #[inline(always)]
    pub fn apply(&self, largest: f32) -> f32 {
        let x = self.sign * largest + self.bias;
        (if x < 0.0 { 0.0 } else { x }) * self.scale + self.shift
    }
}

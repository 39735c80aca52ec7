//! Element-wise functions, dropout and products.

use rayon::prelude::*;

use taggram_model::Activation;

use crate::rng::Rng;

/// Values handled by one task.
const CHUNK: usize = 1 << 14;

/// Applies `function` in place; `row` is the length of the last axis.
pub(crate) fn activate(function: Activation, values: &mut [f32], row: usize) {
    let chunk = if function == Activation::Softmax { row } else { CHUNK };
    values.par_chunks_mut(chunk).for_each(|values| match function {
        // Written so that a NaN stays one: f32::max would hide it.
        Activation::Relu => values.iter_mut().for_each(|v| *v = if *v < 0.0 { 0.0 } else { *v }),
        Activation::Elu => {
            values.iter_mut().for_each(|v| *v = if *v < 0.0 { v.exp_m1() } else { *v })
        }
        Activation::Silu => values.iter_mut().for_each(|v| *v *= sigmoid(*v)),
        Activation::Sigmoid => values.iter_mut().for_each(|v| *v = sigmoid(*v)),
        Activation::Tanh => values.iter_mut().for_each(|v| *v = v.tanh()),
        Activation::Softmax => softmax(values),
    });
}

/// Multiplies `dy` by the derivative, in place. `kept` is the result of the function, or its input for SiLU.
pub(crate) fn activate_backward(function: Activation, kept: &[f32], dy: &mut [f32], row: usize) {
    let chunk = if function == Activation::Softmax { row } else { CHUNK };
    dy.par_chunks_mut(chunk).zip(kept.par_chunks(chunk)).for_each(|(dy, kept)| {
        let each = dy.iter_mut().zip(kept);
        match function {
            Activation::Relu => each.for_each(|(d, &y)| *d = if y > 0.0 { *d } else { 0.0 }),
            Activation::Elu => each.for_each(|(d, &y)| *d *= if y < 0.0 { y + 1.0 } else { 1.0 }),
            Activation::Silu => each.for_each(|(d, &x)| {
                let s = sigmoid(x);
                *d *= s * (1.0 + x * (1.0 - s));
            }),
            Activation::Sigmoid => each.for_each(|(d, &y)| *d *= y * (1.0 - y)),
            Activation::Tanh => each.for_each(|(d, &y)| *d *= 1.0 - y * y),
            Activation::Softmax => {
                let dot: f32 = dy.iter().zip(kept).map(|(d, y)| d * y).sum();
                dy.iter_mut().zip(kept).for_each(|(d, &y)| *d = y * (*d - dot));
            }
        }
    });
}

/// 1 / (1 + e^−x).
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// e^x / Σ e^x, in place.
pub(crate) fn softmax(values: &mut [f32]) {
    let most = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    values.iter_mut().for_each(|v| *v = (*v - most).exp());
    let total: f32 = values.iter().sum();
    values.iter_mut().for_each(|v| *v /= total);
}

/// Zeroes values with probability `p` and scales the others, in place. The same `address` gives
/// the same mask, so the backward pass needs nothing kept.
pub(crate) fn dropout(p: f32, address: [u64; 3], values: &mut [f32]) {
    let keep = 1.0 - p;
    values.par_chunks_mut(CHUNK).enumerate().for_each(|(i, values)| {
        let mut rng = Rng::at(&[address[0], address[1], address[2], i as u64]);
        values.iter_mut().for_each(|v| *v = if rng.unit() < keep { *v / keep } else { 0.0 });
    });
}

/// `values *= factors`, a factor for every run of `inner` values.
pub(crate) fn scale_runs(values: &mut [f32], factors: &[f32], inner: usize) {
    values
        .chunks_exact_mut(inner)
        .zip(factors)
        .for_each(|(v, f)| v.iter_mut().for_each(|v| *v *= f));
}

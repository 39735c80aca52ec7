//! Element-wise functions over slices, written so that the compiler vectorises them.

use super::multiversion;
use crate::network::Activation;

/// e^x within 2 units in the last place: x = n·ln 2 + r, a polynomial for e^r, and 2ⁿ by
/// setting the exponent. Below −87.3 it gives the smallest normal number, above 88.3 stays
/// finite; NaN stays NaN.
///
/// The polynomial is Taylor's to degree 7: |r| ≤ ln 2 / 2 leaves an error of 5·10⁻⁹.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2²³: adding it rounds to whole numbers.
    const LN2_HIGH: f32 = 355.0 / 512.0; // Few bits, so that n · LN2_HIGH is exact.
    const LN2_LOW: f32 = -2.121_944_4e-4; // ln 2 − LN2_HIGH
    let x = if x < -87.3 { -87.3 } else { x };
    let x = if x > 88.3 { 88.3 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    let p = 1.0 / 5040.0;
    let p = p * r + 1.0 / 720.0;
    let p = p * r + 1.0 / 120.0;
    let p = p * r + 1.0 / 24.0;
    let p = p * r + 1.0 / 6.0;
    let p = p * r + 0.5;
    let p = p * r + 1.0;
    let p = p * r + 1.0;
    // The low bits of `shifted` are n; an f32 of exponent n is 2ⁿ.
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    p * power
}

/// 1 / (1 + e^−x)
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// tanh x, within 2·10⁻⁷.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (1.0 + exp(2.0 * x))
}

/// Applies `function` to every value.
///
/// # Panics
/// For softmax, which is no function of one value: a bug of the caller.
pub fn activate(function: Activation, values: &mut [f32]) {
    match function {
        Activation::Relu => relu(values),
        Activation::Elu => elu(values),
        Activation::Silu => silu(values),
        Activation::Sigmoid => sigmoids(values),
        Activation::Tanh => tanhs(values),
        Activation::Softmax => unreachable!("softmax is not element-wise"),
    }
}

multiversion! {
    fn relu(values: &mut [f32]) {
        for v in values {
            *v = if *v < 0.0 { 0.0 } else { *v };
        }
    }
}

multiversion! {
    fn elu(values: &mut [f32]) {
        for v in values {
            let below = exp(*v) - 1.0;
            *v = if *v > 0.0 { *v } else { below };
        }
    }
}

multiversion! {
    fn silu(values: &mut [f32]) {
        for v in values {
            *v *= sigmoid(*v);
        }
    }
}

multiversion! {
    fn sigmoids(values: &mut [f32]) {
        for v in values {
            *v = sigmoid(*v);
        }
    }
}

multiversion! {
    fn tanhs(values: &mut [f32]) {
        for v in values {
            *v = tanh(*v);
        }
    }
}

/// e^x / Σ e^x over each run of `len` values.
pub fn softmax(values: &mut [f32], len: usize) {
    for row in values.chunks_exact_mut(len.max(1)) {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        // In f64, so that thousands of classes still sum to 1.
        let mut sum = 0.0f64;
        for v in row.iter_mut() {
            *v = (*v - largest).exp();
            sum += f64::from(*v);
        }
        let factor = (1.0 / sum) as f32;
        for v in row.iter_mut() {
            *v *= factor;
        }
    }
}

multiversion! {
    /// `scale · x + shift` for every value.
    pub fn scale_shift(values: &mut [f32], scale: f32, shift: f32) {
        for v in values {
            *v = *v * scale + shift;
        }
    }
}

multiversion! {
    /// `scale · x + shift`, each value with its own scale and shift.
    pub fn scale_shift_each(values: &mut [f32], scale: &[f32], shift: &[f32]) {
        for ((v, scale), shift) in values.iter_mut().zip(scale).zip(shift) {
            *v = *v * scale + shift;
        }
    }
}

multiversion! {
    /// Adds `other` to `values`, value by value.
    pub fn add(values: &mut [f32], other: &[f32]) {
        for (v, o) in values.iter_mut().zip(other) {
            *v += o;
        }
    }
}

multiversion! {
    /// Adds `other` to `values`, then max(x, 0).
    pub fn add_relu(values: &mut [f32], other: &[f32]) {
        for (v, o) in values.iter_mut().zip(other) {
            let sum = *v + o;
            *v = if sum < 0.0 { 0.0 } else { sum };
        }
    }
}

multiversion! {
    /// Multiplies `values` by `other`, value by value.
    pub fn multiply(values: &mut [f32], other: &[f32]) {
        for (v, o) in values.iter_mut().zip(other) {
            *v *= o;
        }
    }
}

multiversion! {
    /// The larger of each pair of values.
    pub fn maximum(values: &mut [f32], other: &[f32]) {
        for (v, o) in values.iter_mut().zip(other) {
            *v = if *o > *v { *o } else { *v };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_agree_with_the_standard_library() {
        let xs: Vec<f32> = (-4000..4000).map(|i| i as f32 * 0.025).collect();
        type Exact = fn(f64) -> f64;
        let exact: [(Activation, Exact); 5] = [
            (Activation::Relu, |x| x.max(0.0)),
            (Activation::Elu, |x| if x > 0.0 { x } else { x.exp_m1() }),
            (Activation::Silu, |x| x / (1.0 + (-x).exp())),
            (Activation::Sigmoid, |x| 1.0 / (1.0 + (-x).exp())),
            (Activation::Tanh, f64::tanh),
        ];
        for (function, exact) in exact {
            let mut ys = xs.clone();
            activate(function, &mut ys);
            for (x, y) in xs.iter().zip(&ys) {
                let expected = exact(f64::from(*x));
                let error = (f64::from(*y) - expected).abs() / expected.abs().max(1.0);
                assert!(error < 3e-7, "{function:?}({x}) = {y}, not {expected}");
            }
        }
    }

    #[test]
    fn exp_is_exact_to_a_few_units_and_stays_finite() {
        for i in -8700..8820 {
            let x = i as f32 * 0.01;
            let expected = f64::from(x).exp();
            let error = (f64::from(exp(x)) / expected - 1.0).abs();
            assert!(error < 3e-7, "exp({x}): {error}");
        }
        assert!(exp(1e30).is_finite() && exp(-1e30) >= 0.0 && exp(-1e30) < 2e-38);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn softmax_sums_to_one_for_any_size_of_logits() {
        let mut values = [1000.0, 1001.0, 999.0, -5.0, 0.0, 5.0];
        softmax(&mut values, 3);
        for row in values.chunks(3) {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6, "{row:?}");
        }
        assert!(values[1] > values[0] && values[0] > values[2]);
    }
}

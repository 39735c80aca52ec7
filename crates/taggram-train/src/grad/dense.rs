//! Fully connected layers over the last axis.

use super::conv::add;
use super::gemm::{Into, Mat, par_gemm};

/// `y [rows, out]` from `x [rows, inputs]` and `weight [out, inputs]`.
pub(crate) fn forward(
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    inputs: usize,
    out: usize,
    y: &mut [f32],
) {
    let rows = x.len() / inputs;
    par_gemm(
        rows,
        out,
        inputs,
        y,
        Mat::rows(x, inputs),
        Mat::transposed(weight, inputs),
        Into::Replace,
    );
    if let Some(bias) = bias {
        y.chunks_exact_mut(out).for_each(|y| add(y, bias));
    }
}

/// Adds the weight and bias gradients; overwrites `dx` when asked.
#[allow(clippy::too_many_arguments)]
pub(crate) fn backward(
    x: &[f32],
    weight: &[f32],
    dy: &[f32],
    inputs: usize,
    out: usize,
    dx: Option<&mut [f32]>,
    dw: Option<&mut [f32]>,
    db: Option<&mut [f32]>,
) {
    let rows = x.len() / inputs;
    if let Some(dw) = dw {
        par_gemm(out, inputs, rows, dw, Mat::transposed(dy, out), Mat::rows(x, inputs), Into::Add);
    }
    if let Some(db) = db {
        dy.chunks_exact(out).for_each(|dy| add(db, dy));
    }
    if let Some(dx) = dx {
        par_gemm(
            rows,
            inputs,
            out,
            dx,
            Mat::rows(dy, out),
            Mat::rows(weight, inputs),
            Into::Replace,
        );
    }
}

//! Depthwise convolution: every channel has one filter of its own, so there is no matrix to
//! multiply; each kernel element adds a shifted copy of the plane.

use rayon::prelude::*;

use super::conv::{Conv, add};

/// Calls `each(kernel index, output offset, columns, input offset)` for every run of
/// output positions of one plane that a kernel element reads inside the input.
fn runs(conv: &Conv, mut each: impl FnMut(usize, usize, usize, usize)) {
    let [kernel_h, kernel_w] = conv.kernel;
    for kh in 0..kernel_h {
        for kw in 0..kernel_w {
            let low = conv.before[1].saturating_sub(kw).div_ceil(conv.stride[1]);
            let high = (conv.width + conv.before[1])
                .saturating_sub(kw)
                .div_ceil(conv.stride[1])
                .min(conv.size[1]);
            if low >= high {
                continue;
            }
            for row in 0..conv.size[0] {
                let Some(input_row) = (row * conv.stride[0] + kh).checked_sub(conv.before[0])
                else {
                    continue;
                };
                if input_row < conv.height {
                    let column = low * conv.stride[1] + kw - conv.before[1];
                    each(
                        kh * kernel_w + kw,
                        row * conv.size[1] + low,
                        high - low,
                        input_row * conv.width + column,
                    );
                }
            }
        }
    }
}

pub(crate) fn forward(conv: &Conv, x: &[f32], weight: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
    let (plane, out) = (conv.height * conv.width, conv.size[0] * conv.size[1]);
    let area = conv.kernel[0] * conv.kernel[1];
    let step = conv.stride[1];
    y.par_chunks_mut(out).zip(x.par_chunks(plane)).enumerate().for_each(|(i, (y, x))| {
        let channel = i % conv.channels;
        let w = &weight[channel * area..][..area];
        y.fill(bias.map_or(0.0, |b| b[channel]));
        runs(conv, |k, at, n, from| {
            let w = w[k];
            if step == 1 {
                y[at..at + n].iter_mut().zip(&x[from..from + n]).for_each(|(y, x)| *y += w * x);
            } else {
                y[at..at + n]
                    .iter_mut()
                    .zip(x[from..].iter().step_by(step))
                    .for_each(|(y, x)| *y += w * x);
            }
        });
    });
}

pub(crate) fn backward(
    conv: &Conv,
    x: &[f32],
    weight: &[f32],
    dy: &[f32],
    dx: Option<&mut [f32]>,
    dw: Option<&mut [f32]>,
) {
    let (plane, out) = (conv.height * conv.width, conv.size[0] * conv.size[1]);
    let area = conv.kernel[0] * conv.kernel[1];
    let step = conv.stride[1];
    if let Some(dx) = dx {
        dx.par_chunks_mut(plane).zip(dy.par_chunks(out)).enumerate().for_each(|(i, (dx, dy))| {
            let w = &weight[i % conv.channels * area..][..area];
            dx.fill(0.0);
            runs(conv, |k, at, n, to| {
                let w = w[k];
                dx[to..]
                    .iter_mut()
                    .step_by(step)
                    .zip(&dy[at..at + n])
                    .for_each(|(x, y)| *x += w * y);
            });
        });
    }
    if let Some(dw) = dw {
        dw.par_chunks_mut(area).enumerate().for_each(|(channel, dw)| {
            let mut sums = vec![0.0f32; area];
            for (x, dy) in
                x.chunks_exact(plane * conv.channels).zip(dy.chunks_exact(out * conv.channels))
            {
                let (x, dy) = (&x[channel * plane..][..plane], &dy[channel * out..][..out]);
                runs(conv, |k, at, n, from| {
                    let mut lanes = [0.0f32; 8];
                    if step == 1 {
                        let (a, b) = (&x[from..from + n], &dy[at..at + n]);
                        for (a, b) in a.chunks(8).zip(b.chunks(8)) {
                            lanes
                                .iter_mut()
                                .zip(a.iter().zip(b))
                                .for_each(|(l, (a, b))| *l += a * b);
                        }
                    } else {
                        lanes[0] = x[from..]
                            .iter()
                            .step_by(step)
                            .zip(&dy[at..at + n])
                            .map(|(a, b)| a * b)
                            .sum();
                    }
                    sums[k] += lanes.iter().sum::<f32>();
                });
            }
            add(dw, &sums);
        });
    }
}

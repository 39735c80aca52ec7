//! Batch normalisation (Ioffe and Szegedy 2015), optionally with the ReLU that follows it:
//! one pass less over the largest arrays of a network.

use rayon::prelude::*;

use super::conv::sum;

/// Where the normalised axis lies: a batch is `[outer, channels, inner]`.
#[derive(Clone, Debug)]
pub(crate) struct Norm {
    pub channels: usize,
    pub inner: usize,
    pub eps: f32,
    /// Apply max(·, 0) to the result.
    pub relu: bool,
}

/// Statistics of the batch, kept for the backward pass.
#[derive(Clone, Debug, Default)]
pub(crate) struct Statistics {
    pub mean: Vec<f32>,
    /// 1 / √(variance + eps)
    pub inverse: Vec<f32>,
    /// Whether they are constants (running statistics) to the backward pass.
    pub constant: bool,
}

/// How much of the old running statistics remains after a batch, as PyTorch's momentum 0.1.
const KEEP: f32 = 0.9;

impl Norm {
    /// Regroups `[outer, channels, inner]` by channel: for each channel its runs of `inner` values.
    fn planes<'a>(&self, x: &'a [f32]) -> Vec<Vec<&'a [f32]>> {
        let mut planes: Vec<Vec<&[f32]>> =
            vec![Vec::with_capacity(x.len() / self.inner / self.channels); self.channels];
        x.chunks_exact(self.inner)
            .enumerate()
            .for_each(|(i, run)| planes[i % self.channels].push(run));
        planes
    }

    fn planes_mut<'a>(&self, x: &'a mut [f32]) -> Vec<Vec<&'a mut [f32]>> {
        let mut planes: Vec<Vec<&mut [f32]>> = (0..self.channels).map(|_| Vec::new()).collect();
        x.chunks_exact_mut(self.inner)
            .enumerate()
            .for_each(|(i, run)| planes[i % self.channels].push(run));
        planes
    }

    /// Normalises with the statistics of the batch and moves the running ones towards them.
    pub fn train(
        &self,
        x: &[f32],
        weight: &[f32],
        bias: &[f32],
        running: [&mut [f32]; 2],
        y: &mut [f32],
    ) -> Statistics {
        let count = (x.len() / self.channels) as f64;
        let moments: Vec<(f32, f64)> = if self.inner == 1 {
            self.moments_of_columns(x)
        } else {
            let planes = self.planes(x);
            planes
                .into_par_iter()
                .zip(self.planes_mut(y))
                .enumerate()
                .map(|(c, (x, y))| {
                    let mean =
                        (x.iter().map(|run| f64::from(sum(run))).sum::<f64>() / count) as f32;
                    let var =
                        x.iter().map(|run| f64::from(sum_squares(run, mean))).sum::<f64>() / count;
                    let (scale, shift) = self.line(mean, var as f32, weight[c], bias[c]);
                    for (x, y) in x.into_iter().zip(y) {
                        self.apply(x, y, scale, shift);
                    }
                    (mean, var)
                })
                .collect()
        };
        let mean: Vec<f32> = moments.iter().map(|m| m.0).collect();
        let inverse: Vec<f32> =
            moments.iter().map(|m| 1.0 / (m.1 as f32 + self.eps).sqrt()).collect();
        if self.inner == 1 {
            self.apply_columns(x, y, &mean, &inverse, weight, bias);
        }
        let [running_mean, running_var] = running;
        let unbiased = count / (count - 1.0).max(1.0);
        for (c, &(mean, var)) in moments.iter().enumerate() {
            running_mean[c] = KEEP * running_mean[c] + (1.0 - KEEP) * mean;
            running_var[c] = KEEP * running_var[c] + (1.0 - KEEP) * (var * unbiased) as f32;
        }
        Statistics { mean, inverse, constant: false }
    }

    /// Normalises with the running statistics.
    pub fn evaluate(
        &self,
        x: &[f32],
        weight: &[f32],
        bias: &[f32],
        running: [&[f32]; 2],
        y: &mut [f32],
    ) -> Statistics {
        let inverse: Vec<f32> = running[1].iter().map(|v| 1.0 / (v + self.eps).sqrt()).collect();
        if self.inner == 1 {
            self.apply_columns(x, y, running[0], &inverse, weight, bias);
        } else {
            y.par_chunks_mut(self.inner).zip(x.par_chunks(self.inner)).enumerate().for_each(
                |(i, (y, x))| {
                    let c = i % self.channels;
                    let scale = weight[c] * inverse[c];
                    self.apply(x, y, scale, bias[c] - running[0][c] * scale);
                },
            );
        }
        Statistics { mean: running[0].to_vec(), inverse, constant: true }
    }

    /// Turns `dy` into the gradient of the input, in place, and adds those of weight and bias.
    pub fn backward(
        &self,
        x: &[f32],
        weight: &[f32],
        bias: &[f32],
        kept: &Statistics,
        dy: &mut [f32],
        parameters: Option<[&mut [f32]; 2]>,
    ) {
        let count = (x.len() / self.channels) as f32;
        let input = |c: usize| {
            let scale = weight[c] * kept.inverse[c];
            (scale, bias[c] - kept.mean[c] * scale)
        };
        // Gradients of bias (Σ dy) and weight (Σ dy · x̂) by channel.
        let sums: Vec<(f32, f32)> = if self.inner == 1 {
            let sums = self.column_sums(x, dy, kept, &input);
            for (x, dy) in x.chunks_exact(self.channels).zip(dy.chunks_exact_mut(self.channels)) {
                for c in 0..self.channels {
                    let (scale, shift) = input(c);
                    let g = if self.relu && x[c] * scale + shift <= 0.0 { 0.0 } else { dy[c] };
                    dy[c] = self.input_gradient(x[c], g, kept, c, scale, sums[c], count);
                }
            }
            sums
        } else {
            self.planes(x)
                .into_par_iter()
                .zip(self.planes_mut(dy))
                .enumerate()
                .map(|(c, (x, mut dy))| {
                    let (scale, shift) = input(c);
                    let (mut plain, mut by_x) = (0.0f64, 0.0f64);
                    for (x, dy) in x.iter().zip(dy.iter_mut()) {
                        if self.relu {
                            dy.iter_mut().zip(*x).for_each(|(d, x)| {
                                *d = if x * scale + shift > 0.0 { *d } else { 0.0 }
                            });
                        }
                        plain += f64::from(sum(dy));
                        by_x += f64::from(sum_products(x, dy, kept.mean[c]));
                    }
                    let sums = (plain as f32, by_x as f32 * kept.inverse[c]);
                    for (x, dy) in x.iter().zip(dy) {
                        if kept.constant {
                            dy.iter_mut().for_each(|d| *d *= scale);
                        } else {
                            // scale · (dy − Σdy/n − x̂ · Σ(dy·x̂)/n), as dy·a + x·b + c
                            let b = -scale * kept.inverse[c] * sums.1 / count;
                            let constant = -scale * sums.0 / count - b * kept.mean[c];
                            dy.iter_mut()
                                .zip(*x)
                                .for_each(|(d, x)| *d = *d * scale + x * b + constant);
                        }
                    }
                    sums
                })
                .collect()
        };
        if let Some([d_weight, d_bias]) = parameters {
            for (c, sum) in sums.iter().enumerate() {
                d_bias[c] += sum.0;
                d_weight[c] += sum.1;
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn input_gradient(
        &self,
        x: f32,
        g: f32,
        kept: &Statistics,
        c: usize,
        scale: f32,
        sums: (f32, f32),
        count: f32,
    ) -> f32 {
        if kept.constant {
            return g * scale;
        }
        let normalised = (x - kept.mean[c]) * kept.inverse[c];
        scale * (g - sums.0 / count - normalised * sums.1 / count)
    }

    fn column_sums(
        &self,
        x: &[f32],
        dy: &[f32],
        kept: &Statistics,
        line: &impl Fn(usize) -> (f32, f32),
    ) -> Vec<(f32, f32)> {
        let mut sums = vec![(0.0f64, 0.0f64); self.channels];
        for (x, dy) in x.chunks_exact(self.channels).zip(dy.chunks_exact(self.channels)) {
            for (c, sum) in sums.iter_mut().enumerate() {
                let (scale, shift) = line(c);
                if !self.relu || x[c] * scale + shift > 0.0 {
                    sum.0 += f64::from(dy[c]);
                    sum.1 += f64::from(dy[c] * (x[c] - kept.mean[c]) * kept.inverse[c]);
                }
            }
        }
        sums.into_iter().map(|(a, b)| (a as f32, b as f32)).collect()
    }

    fn moments_of_columns(&self, x: &[f32]) -> Vec<(f32, f64)> {
        let count = (x.len() / self.channels) as f64;
        let mut mean = vec![0.0f64; self.channels];
        for row in x.chunks_exact(self.channels) {
            mean.iter_mut().zip(row).for_each(|(m, &v)| *m += f64::from(v));
        }
        mean.iter_mut().for_each(|m| *m /= count);
        let mut var = vec![0.0f64; self.channels];
        for row in x.chunks_exact(self.channels) {
            var.iter_mut()
                .zip(row)
                .zip(&mean)
                .for_each(|((s, &v), m)| *s += (f64::from(v) - m).powi(2));
        }
        mean.into_iter().zip(var).map(|(m, v)| (m as f32, v / count)).collect()
    }

    fn apply_columns(
        &self,
        x: &[f32],
        y: &mut [f32],
        mean: &[f32],
        inverse: &[f32],
        weight: &[f32],
        bias: &[f32],
    ) {
        for (x, y) in x.chunks_exact(self.channels).zip(y.chunks_exact_mut(self.channels)) {
            for c in 0..self.channels {
                let value = (x[c] - mean[c]) * inverse[c] * weight[c] + bias[c];
                y[c] = if self.relu { relu(value) } else { value };
            }
        }
    }

    /// x ↦ scale · x + shift that normalises, weighs and shifts.
    fn line(&self, mean: f32, var: f32, weight: f32, bias: f32) -> (f32, f32) {
        let scale = weight / (var + self.eps).sqrt();
        (scale, bias - mean * scale)
    }

    fn apply(&self, x: &[f32], y: &mut [f32], scale: f32, shift: f32) {
        if self.relu {
            y.iter_mut().zip(x).for_each(|(y, x)| *y = relu(x * scale + shift));
        } else {
            y.iter_mut().zip(x).for_each(|(y, x)| *y = x * scale + shift);
        }
    }
}

/// max(x, 0), but a NaN stays one, so that a diverged network is noticed.
fn relu(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

fn sum_squares(values: &[f32], mean: f32) -> f32 {
    let mut lanes = [0.0f32; 16];
    for chunk in values.chunks(16) {
        lanes.iter_mut().zip(chunk).for_each(|(l, v)| *l += (v - mean) * (v - mean));
    }
    lanes.iter().sum()
}

fn sum_products(x: &[f32], dy: &[f32], mean: f32) -> f32 {
    let mut lanes = [0.0f32; 16];
    for (x, dy) in x.chunks(16).zip(dy.chunks(16)) {
        lanes.iter_mut().zip(x.iter().zip(dy)).for_each(|(l, (x, d))| *l += (x - mean) * d);
    }
    lanes.iter().sum()
}

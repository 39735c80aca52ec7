//! GRU and LSTM. The input's share of the gates is one product for all steps; only the state's
//! share is computed step by step, for a few sequences a task.

use rayon::prelude::*;

use super::dense;
use super::gemm::{Into, Mat, gemm, par_gemm};
use super::pointwise::sigmoid;

/// Which recurrent unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    Gru,
    Lstm,
}

/// Sizes of a recurrent layer.
#[derive(Clone, Debug)]
pub(crate) struct Recurrent {
    pub cell: Cell,
    pub time: usize,
    pub features: usize,
    pub hidden: usize,
    pub sequence: bool,
}

/// What the backward pass needs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    /// Gates after their functions, `[batch, time, gates · hidden]`.
    gates: Vec<f32>,
    /// GRU: the state's share of the new gate before the reset; LSTM: cell state. `[batch, time, hidden]`.
    inner: Vec<f32>,
    /// States, `[batch, time, hidden]`.
    states: Vec<f32>,
}

/// Weights in PyTorch's order: input-hidden, hidden-hidden, and their biases.
pub(crate) type Parameters<'a> = [&'a [f32]; 4];

/// Sequences handled by one task.
const TOGETHER: usize = 4;

impl Recurrent {
    fn gates(&self) -> usize {
        match self.cell {
            Cell::Gru => 3 * self.hidden,
            Cell::Lstm => 4 * self.hidden,
        }
    }

    pub fn forward(&self, x: &[f32], [w_ih, w_hh, b_ih, b_hh]: Parameters, y: &mut [f32]) -> Kept {
        let (time, hidden, gates) = (self.time, self.hidden, self.gates());
        let batch = x.len() / (time * self.features);
        let mut kept = Kept {
            gates: vec![0.0; batch * time * gates],
            inner: vec![0.0; batch * time * hidden],
            states: vec![0.0; batch * time * hidden],
        };
        dense::forward(x, w_ih, Some(b_ih), self.features, gates, &mut kept.gates);
        kept.gates
            .par_chunks_mut(TOGETHER * time * gates)
            .zip(kept.inner.par_chunks_mut(TOGETHER * time * hidden))
            .zip(kept.states.par_chunks_mut(TOGETHER * time * hidden))
            .for_each(|((all_gates, inner), states)| {
                let count = all_gates.len() / (time * gates);
                let mut share = vec![0.0; count * gates];
                for t in 0..time {
                    share.chunks_exact_mut(gates).for_each(|s| s.copy_from_slice(b_hh));
                    if t > 0 {
                        let before = Mat::rows(&states[(t - 1) * hidden..], time * hidden);
                        gemm(
                            count,
                            gates,
                            hidden,
                            &mut share,
                            gates,
                            before,
                            Mat::transposed(w_hh, hidden),
                            Into::Add,
                        );
                    }
                    for s in 0..count {
                        let at = (s * time + t) * hidden;
                        let gate = &mut all_gates[(s * time + t) * gates..][..gates];
                        let share = &share[s * gates..][..gates];
                        for i in 0..hidden {
                            let before = if t > 0 { states[at - hidden + i] } else { 0.0 };
                            match self.cell {
                                Cell::Gru => {
                                    let r = sigmoid(gate[i] + share[i]);
                                    let z = sigmoid(gate[hidden + i] + share[hidden + i]);
                                    let n =
                                        (gate[2 * hidden + i] + r * share[2 * hidden + i]).tanh();
                                    (gate[i], gate[hidden + i], gate[2 * hidden + i]) = (r, z, n);
                                    inner[at + i] = share[2 * hidden + i];
                                    states[at + i] = (1.0 - z) * n + z * before;
                                }
                                Cell::Lstm => {
                                    let [input, forget, cell, output] = [0, 1, 2, 3]
                                        .map(|g| gate[g * hidden + i] + share[g * hidden + i]);
                                    let [input, forget, output] =
                                        [input, forget, output].map(sigmoid);
                                    let cell = cell.tanh();
                                    let old = if t > 0 { inner[at - hidden + i] } else { 0.0 };
                                    [0, 1, 2, 3]
                                        .into_iter()
                                        .zip([input, forget, cell, output])
                                        .for_each(|(g, v)| gate[g * hidden + i] = v);
                                    inner[at + i] = forget * old + input * cell;
                                    states[at + i] = output * inner[at + i].tanh();
                                }
                            }
                        }
                    }
                }
            });
        if self.sequence {
            y.copy_from_slice(&kept.states);
        } else {
            let last = kept.states.chunks_exact(time * hidden).map(|s| &s[(time - 1) * hidden..]);
            y.chunks_exact_mut(hidden).zip(last).for_each(|(y, s)| y.copy_from_slice(s));
        }
        kept
    }

    /// Adds the parameters' gradients when asked; overwrites `dx` when asked.
    pub fn backward(
        &self,
        x: &[f32],
        [w_ih, w_hh, ..]: Parameters,
        kept: &Kept,
        dy: &[f32],
        dx: Option<&mut [f32]>,
        parameters: Option<[&mut [f32]; 4]>,
    ) {
        let (time, hidden, gates) = (self.time, self.hidden, self.gates());
        let batch = x.len() / (time * self.features);
        // Gradients before the gates' functions: of the input's and of the state's share. They differ only in the GRU's new gate.
        let mut d_input = vec![0.0; batch * time * gates];
        let mut d_state = vec![0.0; batch * time * gates];
        let out = if self.sequence { time * hidden } else { hidden };
        d_input
            .par_chunks_mut(TOGETHER * time * gates)
            .zip(d_state.par_chunks_mut(TOGETHER * time * gates))
            .enumerate()
            .for_each(|(task, (d_input, d_state))| {
                let count = d_input.len() / (time * gates);
                let mut carry = vec![0.0; count * hidden];
                let mut cell_carry = vec![0.0; count * hidden];
                for t in (0..time).rev() {
                    for s in 0..count {
                        let sample = task * TOGETHER + s;
                        let at = (sample * time + t) * hidden;
                        let gate = &kept.gates[(sample * time + t) * gates..][..gates];
                        let local = (s * time + t) * gates;
                        let (d_in, d_st) =
                            (&mut d_input[local..][..gates], &mut d_state[local..][..gates]);
                        for i in 0..hidden {
                            let given = if self.sequence {
                                dy[sample * out + t * hidden + i]
                            } else if t + 1 == time {
                                dy[sample * out + i]
                            } else {
                                0.0
                            };
                            let d = given + carry[s * hidden + i];
                            match self.cell {
                                Cell::Gru => {
                                    let (r, z, n) =
                                        (gate[i], gate[hidden + i], gate[2 * hidden + i]);
                                    let before =
                                        if t > 0 { kept.states[at - hidden + i] } else { 0.0 };
                                    let dn = d * (1.0 - z) * (1.0 - n * n);
                                    let dz = d * (before - n) * z * (1.0 - z);
                                    let dr = dn * kept.inner[at + i] * r * (1.0 - r);
                                    (d_in[i], d_in[hidden + i], d_in[2 * hidden + i]) =
                                        (dr, dz, dn);
                                    (d_st[i], d_st[hidden + i], d_st[2 * hidden + i]) =
                                        (dr, dz, dn * r);
                                    carry[s * hidden + i] = d * z;
                                }
                                Cell::Lstm => {
                                    let [input, forget, cell, output] =
                                        [0, 1, 2, 3].map(|g| gate[g * hidden + i]);
                                    let squashed = kept.inner[at + i].tanh();
                                    let old = if t > 0 { kept.inner[at - hidden + i] } else { 0.0 };
                                    let dc = cell_carry[s * hidden + i]
                                        + d * output * (1.0 - squashed * squashed);
                                    let grads = [
                                        dc * cell * input * (1.0 - input),
                                        dc * old * forget * (1.0 - forget),
                                        dc * input * (1.0 - cell * cell),
                                        d * squashed * output * (1.0 - output),
                                    ];
                                    for (g, value) in grads.into_iter().enumerate() {
                                        d_in[g * hidden + i] = value;
                                        d_st[g * hidden + i] = value;
                                    }
                                    cell_carry[s * hidden + i] = dc * forget;
                                    carry[s * hidden + i] = 0.0;
                                }
                            }
                        }
                    }
                    if t > 0 {
                        let d = Mat::rows(&d_state[t * gates..], time * gates);
                        gemm(
                            count,
                            hidden,
                            gates,
                            &mut carry,
                            hidden,
                            d,
                            Mat::rows(w_hh, hidden),
                            Into::Add,
                        );
                    }
                }
            });
        if let Some([dw_ih, dw_hh, db_ih, db_hh]) = parameters {
            dense::backward(
                x,
                w_ih,
                &d_input,
                self.features,
                gates,
                None,
                Some(dw_ih),
                Some(db_ih),
            );
            // The state before each step: the states moved on by one.
            let mut before = vec![0.0; batch * time * hidden];
            before
                .chunks_exact_mut(time * hidden)
                .zip(kept.states.chunks_exact(time * hidden))
                .for_each(|(to, from)| {
                    to[hidden..].copy_from_slice(&from[..(time - 1) * hidden]);
                });
            dense::backward(&before, w_hh, &d_state, hidden, gates, None, Some(dw_hh), Some(db_hh));
        }
        if let Some(dx) = dx {
            let rows = batch * time;
            par_gemm(
                rows,
                self.features,
                gates,
                dx,
                Mat::rows(&d_input, gates),
                Mat::rows(w_ih, self.features),
                Into::Replace,
            );
        }
    }
}

//! Gated recurrent units and long short-term memories over `[time, feature]`.
//!
//! All steps are projected from the input at once; only the product with the state runs
//! step by step. Equations and weight layouts are PyTorch's (`nn.GRU`, `nn.LSTM`).

use super::elementwise::{sigmoid, tanh};
use super::{Epilogue, Isa, PackedRight, Workspace, multiversion};

/// Which equations a [`Recurrent`] layer follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// r, z, n = σ, σ, tanh(n_x + r · n_h); h' = (1 − z) · n + z · h
    Gru,
    /// i, f, g, o = σ, σ, tanh, σ; c' = f · c + i · g; h' = o · tanh c'
    Lstm,
}

impl Cell {
    /// Gates per unit: rows of the weights per state value.
    pub const fn gates(self) -> usize {
        match self {
            Self::Gru => 3,
            Self::Lstm => 4,
        }
    }
}

/// A recurrent layer with its weights packed.
#[derive(Debug)]
pub struct Recurrent {
    cell: Cell,
    hidden: usize,
    sequence: bool,
    input: (PackedRight, Epilogue),
    state: (PackedRight, Epilogue),
}

/// Weights of a [`Recurrent`] layer, `gates · hidden` rows each.
#[derive(Clone, Copy, Debug)]
pub struct RecurrentWeights<'a> {
    /// `[gates · hidden, features]`
    pub weight_ih: &'a [f32],
    /// `[gates · hidden, hidden]`
    pub weight_hh: &'a [f32],
    /// `[gates · hidden]`
    pub bias_ih: &'a [f32],
    /// `[gates · hidden]`
    pub bias_hh: &'a [f32],
}

impl Recurrent {
    /// Packs the weights. With `sequence` every step's state is the answer, else the last.
    ///
    /// # Panics
    /// When a length does not fit: a bug of the caller.
    pub fn new(
        cell: Cell,
        features: usize,
        hidden: usize,
        sequence: bool,
        weights: RecurrentWeights,
        isa: Isa,
    ) -> Self {
        let rows = cell.gates() * hidden;
        let part = |weight, depth, bias| {
            (
                PackedRight::new(weight, rows, depth, isa),
                Epilogue::new(rows, Some(bias), None, None),
            )
        };
        Self {
            cell,
            hidden,
            sequence,
            input: part(weights.weight_ih, features, weights.bias_ih),
            state: part(weights.weight_hh, hidden, weights.bias_hh),
        }
    }

    /// `x [batch, time, features]` → `[batch, time, hidden]` or `[batch, hidden]`. States
    /// start at 0.
    ///
    /// # Panics
    /// When a length does not fit: a bug of the caller.
    pub fn run(
        &self,
        x: &[f32],
        batch: usize,
        time: usize,
        out: &mut [f32],
        space: &mut Workspace,
    ) {
        let (hidden, rows) = (self.hidden, self.cell.gates() * self.hidden);
        let features = self.input.0.depth();
        assert_eq!(x.len(), batch * time * features, "x is [batch, time, features]");
        let steps = if self.sequence { time } else { 1 };
        assert_eq!(out.len(), batch * steps * hidden, "out is [batch, time, hidden]");
        let projected = space.rows.reserve(batch * time * rows);
        self.input.0.multiply(x, features, batch * time, projected, rows, &self.input.1);
        let scratch = space.state.reserve(batch * (rows + 2 * hidden));
        let (gates, states) = scratch.split_at_mut(batch * rows);
        let (h, c) = states.split_at_mut(batch * hidden);
        h.fill(0.0);
        c.fill(0.0);
        for t in 0..time {
            self.state.0.multiply(h, hidden, batch, gates, rows, &self.state.1);
            for example in 0..batch {
                let of = |len: usize| example * len..(example + 1) * len;
                let x = &projected[(example * time + t) * rows..][..rows];
                match self.cell {
                    Cell::Gru => gru_step(x, &gates[of(rows)], &mut h[of(hidden)]),
                    Cell::Lstm => {
                        lstm_step(x, &gates[of(rows)], &mut h[of(hidden)], &mut c[of(hidden)])
                    }
                }
                if self.sequence {
                    out[(example * time + t) * hidden..][..hidden].copy_from_slice(&h[of(hidden)]);
                }
            }
        }
        if !self.sequence {
            out.copy_from_slice(h);
        }
    }
}

multiversion! {
    fn gru_step(x: &[f32], s: &[f32], h: &mut [f32]) {
        let n = h.len();
        let (xr, xz, xn) = (&x[..n], &x[n..2 * n], &x[2 * n..3 * n]);
        let (sr, sz, sn) = (&s[..n], &s[n..2 * n], &s[2 * n..3 * n]);
        for i in 0..n {
            let r = sigmoid(xr[i] + sr[i]);
            let z = sigmoid(xz[i] + sz[i]);
            let new = tanh(xn[i] + r * sn[i]);
            h[i] = (1.0 - z) * new + z * h[i];
        }
    }
}

multiversion! {
    fn lstm_step(x: &[f32], s: &[f32], h: &mut [f32], c: &mut [f32]) {
        let n = h.len();
        let c = &mut c[..n];
        let (xi, xf, xg, xo) = (&x[..n], &x[n..2 * n], &x[2 * n..3 * n], &x[3 * n..4 * n]);
        let (si, sf, sg, so) = (&s[..n], &s[n..2 * n], &s[2 * n..3 * n], &s[3 * n..4 * n]);
        for i in 0..n {
            let input = sigmoid(xi[i] + si[i]);
            let forget = sigmoid(xf[i] + sf[i]);
            let output = sigmoid(xo[i] + so[i]);
            c[i] = forget * c[i] + input * tanh(xg[i] + sg[i]);
            h[i] = output * tanh(c[i]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::gemm::tests::noise;
    use super::*;

    /// One example, one step and one unit at a time, in f64.
    fn plain(cell: Cell, x: &[f32], time: usize, hidden: usize, w: RecurrentWeights) -> Vec<f64> {
        let features = x.len() / time;
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let (mut h, mut c, mut out) = (vec![0.0f64; hidden], vec![0.0f64; hidden], vec![]);
        for t in 0..time {
            let side = |row: usize, weight: &[f32], bias: &[f32], v: &[f64]| -> f64 {
                let terms = weight[row * v.len()..][..v.len()].iter().zip(v);
                f64::from(bias[row]) + terms.map(|(w, v)| f64::from(*w) * v).sum::<f64>()
            };
            let input: Vec<f64> = x[t * features..][..features].iter().map(|&v| v.into()).collect();
            let from_x = |row| side(row, w.weight_ih, w.bias_ih, &input);
            let before = h.clone();
            let from_h = |row| side(row, w.weight_hh, w.bias_hh, &before);
            for u in 0..hidden {
                let gate = |g: usize| from_x(g * hidden + u) + from_h(g * hidden + u);
                match cell {
                    Cell::Gru => {
                        let (r, z) = (sigmoid(gate(0)), sigmoid(gate(1)));
                        let n = (from_x(2 * hidden + u) + r * from_h(2 * hidden + u)).tanh();
                        h[u] = (1.0 - z) * n + z * before[u];
                    }
                    Cell::Lstm => {
                        c[u] = sigmoid(gate(1)) * c[u] + sigmoid(gate(0)) * gate(2).tanh();
                        h[u] = sigmoid(gate(3)) * c[u].tanh();
                    }
                }
            }
            out.extend_from_slice(&h);
        }
        out
    }

    #[test]
    fn cells_agree_with_their_equations() {
        for isa in Isa::available() {
            for cell in [Cell::Gru, Cell::Lstm] {
                for (batch, time, features, hidden) in [(1, 6, 3, 5), (3, 4, 13, 17), (9, 2, 1, 33)]
                {
                    let rows = cell.gates() * hidden;
                    let (w, u) = (noise(rows * features, 1), noise(rows * hidden, 2));
                    let (b, d) = (noise(rows, 3), noise(rows, 4));
                    let weights =
                        RecurrentWeights { weight_ih: &w, weight_hh: &u, bias_ih: &b, bias_hh: &d };
                    let x = noise(batch * time * features, 5);
                    for sequence in [true, false] {
                        let layer = Recurrent::new(cell, features, hidden, sequence, weights, isa);
                        let mut out = vec![0.0; batch * hidden * if sequence { time } else { 1 }];
                        layer.run(&x, batch, time, &mut out, &mut Workspace::default());
                        let per_example = out.len() / batch;
                        for (got, x) in out.chunks(per_example).zip(x.chunks(time * features)) {
                            let all = plain(cell, x, time, hidden, weights);
                            for (g, e) in got.iter().zip(&all[all.len() - per_example..]) {
                                assert!(
                                    (f64::from(*g) - e).abs() < 1e-5,
                                    "{isa:?} {cell:?} {g} {e}"
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}

//! The network of the default model: a short picture network that ends in columns.
//!
//! A strided 5 × 5 stem and a few 3 × 3 blocks see local shapes; then one filter bank spans the
//! whole frequency axis, because *where* on it a shape lies tells genres apart (a bass line
//! is not a cymbal), and only then is time pooled away.

use serde::{Deserialize, Serialize};

use crate::network::{Activation, Network, Op, PoolKind};
use crate::{NetworkBuilder, architectures::Heads};

/// Sizes of a compact network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compact {
    /// Filters of the stem.
    pub stem: usize,
    /// Filters of each 3 × 3 block; each halves time and frequency.
    pub blocks: Vec<usize>,
    /// Filters that span the whole frequency axis.
    pub columns: usize,
    /// Size of the song vector: what similarity is measured on.
    pub embedding: usize,
    /// Probability of a dropped value before and after the embedding, while training.
    pub dropout: f32,
}

impl Compact {
    /// The network for patches `[channel, time, band]` with `heads`.
    pub fn build(&self, input: [usize; 3], heads: &Heads) -> Network {
        let plain = |out, kernel, stride, padding| Op::Conv2d {
            out,
            kernel,
            stride,
            padding,
            bias: false,
            groups: 1,
        };
        let mut bands = input[2].div_ceil(2);
        let mut b = NetworkBuilder::new("input", input)
            .node("stem", plain(self.stem, [5, 5], [2, 2], [[2, 2]; 2]))
            .batch_norm("stem_bn")
            .relu();
        for (i, &filters) in self.blocks.iter().enumerate() {
            b = b
                .node(&format!("block{}", i + 1), plain(filters, [3, 3], [1, 1], [[1, 1]; 2]))
                .batch_norm(&format!("block{}_bn", i + 1))
                .relu()
                .max_pool([2, 2]);
            bands /= 2;
        }
        b = b
            .node("columns", plain(self.columns, [1, bands.max(1)], [1, 1], [[0, 0]; 2]))
            .batch_norm("columns_bn")
            .node("columns_relu", Op::Activation(Activation::Relu))
            .node("mean", Op::Reduce { kind: PoolKind::Mean, axes: vec![1, 2] })
            .at("columns_relu")
            .node("max", Op::Reduce { kind: PoolKind::Max, axes: vec![1, 2] })
            .concat("pooled", 0, &["mean", "max"])
            .dropout(self.dropout)
            .node("embed", Op::Dense { out: self.embedding, bias: false })
            .batch_norm("embed_bn")
            .node("embedding", Op::Activation(Activation::Relu))
            .dropout(self.dropout);
        heads.append(b)
    }
}

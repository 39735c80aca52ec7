//! Writing a network as one chain of calls.
//!
//! Each call appends a node that reads the one before it and becomes the new last node.
//! Layers with weights are named by the caller (the name is part of the weights' names);
//! the others number themselves: `relu1`, `pool2`, `drop1`, …

use std::collections::HashMap;

use crate::network::{Activation, Input, Network, Node, Op, PoolKind};

/// Builds a [`Network`] node by node. Nothing is checked here:
/// [`Network::shapes`] does that for networks from anywhere.
///
/// ```
/// use taggram_model::builder::NetworkBuilder;
/// let network = NetworkBuilder::new("input", [1, 128, 128])
///     .conv("conv1", 32, [3, 3])
///     .batch_norm("bn1")
///     .relu()
///     .max_pool([2, 2])
///     .flatten()
///     .dense("logits", 10)
///     .build();
/// assert_eq!(network.shapes().unwrap()["logits"], [10]);
/// ```
#[derive(Clone, Debug)]
pub struct NetworkBuilder {
    network: Network,
    last: String,
    counts: HashMap<&'static str, usize>,
}

impl NetworkBuilder {
    /// A network with one input of `shape` (without the batch axis).
    pub fn new(input: &str, shape: impl Into<Vec<usize>>) -> Self {
        let network = Network {
            inputs: vec![Input { name: input.into(), shape: shape.into() }],
            nodes: Vec::new(),
            outputs: Vec::new(),
        };
        Self { network, last: input.into(), counts: HashMap::new() }
    }

    /// Adds another input and makes it the last node.
    pub fn input(mut self, name: &str, shape: impl Into<Vec<usize>>) -> Self {
        self.network.inputs.push(Input { name: name.into(), shape: shape.into() });
        self.last = name.into();
        self
    }

    /// Name of the node that the next call reads.
    pub fn last(&self) -> &str {
        &self.last
    }

    /// Continues from another node or input.
    pub fn at(mut self, name: &str) -> Self {
        self.last = name.into();
        self
    }

    /// Appends `op` on the last node.
    pub fn node(self, name: &str, op: Op) -> Self {
        let from = vec![self.last.clone()];
        self.node_from(name, op, from)
    }

    /// Appends `op` on the named nodes.
    pub fn node_from(mut self, name: &str, op: Op, from: Vec<String>) -> Self {
        self.network.nodes.push(Node { name: name.into(), op, from });
        self.last = name.into();
        self
    }

    fn numbered(mut self, kind: &'static str, op: Op) -> Self {
        let count = self.counts.entry(kind).or_insert(0);
        *count += 1;
        let name = format!("{kind}{count}");
        self.node(&name, op)
    }

    /// Convolution with a bias, stride 1, padded so that the size stays
    /// (for an even kernel the extra zero comes after, as TensorFlow's "same").
    pub fn conv(self, name: &str, out: usize, kernel: [usize; 2]) -> Self {
        self.node(name, conv(out, kernel, [1, 1], same(kernel), true, 1))
    }

    /// Convolution without a bias (a batch norm follows) with a stride and the same
    /// `padding` on all four sides.
    pub fn conv_strided(
        self,
        name: &str,
        out: usize,
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: usize,
    ) -> Self {
        self.node(name, conv(out, kernel, stride, [[padding; 2]; 2], false, 1))
    }

    /// Convolution with a bias, stride 1, and no padding.
    pub fn conv_valid(self, name: &str, out: usize, kernel: [usize; 2]) -> Self {
        self.node(name, conv(out, kernel, [1, 1], [[0; 2]; 2], true, 1))
    }

    /// Batch normalisation of the channels (axis 0), `eps` 1e-5.
    pub fn batch_norm(self, name: &str) -> Self {
        self.batch_norm_along(name, 0, 1e-5)
    }

    /// Batch normalisation along `axis` with `eps` added to the variance.
    pub fn batch_norm_along(self, name: &str, axis: usize, eps: f32) -> Self {
        self.node(name, Op::BatchNorm { axis, eps })
    }

    /// An element-wise function, numbered by its kind.
    pub fn activation(self, function: Activation) -> Self {
        let kind = match function {
            Activation::Relu => "relu",
            Activation::Elu => "elu",
            Activation::Silu => "silu",
            Activation::Sigmoid => "sigmoid",
            Activation::Tanh => "tanh",
            Activation::Softmax => "softmax",
        };
        self.numbered(kind, Op::Activation(function))
    }

    /// max(x, 0).
    pub fn relu(self) -> Self {
        self.activation(Activation::Relu)
    }

    /// x for x > 0, else e^x − 1.
    pub fn elu(self) -> Self {
        self.activation(Activation::Elu)
    }

    /// Maximum over rectangles side by side (stride = kernel).
    pub fn max_pool(self, kernel: [usize; 2]) -> Self {
        self.pool(PoolKind::Max, kernel, kernel, 0)
    }

    /// Mean over rectangles side by side (stride = kernel).
    pub fn mean_pool(self, kernel: [usize; 2]) -> Self {
        self.pool(PoolKind::Mean, kernel, kernel, 0)
    }

    /// A pool with a stride and the same `padding` on all four sides.
    pub fn pool(
        self,
        kind: PoolKind,
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: usize,
    ) -> Self {
        self.numbered("pool", Op::Pool { kind, kernel, stride, padding: [[padding; 2]; 2] })
    }

    /// Maximum or mean over whole axes, which disappear.
    pub fn reduce(self, kind: PoolKind, axes: &[usize]) -> Self {
        self.numbered("reduce", Op::Reduce { kind, axes: axes.to_vec() })
    }

    /// Fully connected over the last axis, with a bias.
    pub fn dense(self, name: &str, out: usize) -> Self {
        self.node(name, Op::Dense { out, bias: true })
    }

    /// Dropout with probability `p`.
    pub fn dropout(self, p: f32) -> Self {
        self.numbered("drop", Op::Dropout { p })
    }

    /// Gated recurrent unit; `sequence` keeps every step's state.
    pub fn gru(self, name: &str, hidden: usize, sequence: bool) -> Self {
        self.node(name, Op::Gru { hidden, sequence })
    }

    /// Long short-term memory; `sequence` keeps every step's state.
    pub fn lstm(self, name: &str, hidden: usize, sequence: bool) -> Self {
        self.node(name, Op::Lstm { hidden, sequence })
    }

    /// The last node plus the named one.
    #[expect(clippy::should_implement_trait, reason = "adds a node: nothing to do with `+`")]
    pub fn add(mut self, other: &str) -> Self {
        let count = self.counts.entry("add").or_insert(0);
        *count += 1;
        let (name, from) = (format!("add{count}"), vec![self.last.clone(), other.into()]);
        self.node_from(&name, Op::Add, from)
    }

    /// The named nodes one after the other along `axis`.
    pub fn concat(self, name: &str, axis: usize, from: &[&str]) -> Self {
        self.node_from(name, Op::Concat { axis }, from.iter().map(|&n| n.into()).collect())
    }

    /// Axes in another order.
    pub fn permute(self, order: &[usize]) -> Self {
        self.numbered("permute", Op::Permute { order: order.to_vec() })
    }

    /// Any shape to one axis.
    pub fn flatten(self) -> Self {
        self.numbered("flatten", Op::Flatten)
    }

    /// Another shape of the same size.
    pub fn reshape(self, shape: impl Into<Vec<usize>>) -> Self {
        self.numbered("reshape", Op::Reshape { shape: shape.into() })
    }

    /// `length` places from `start` on along `axis`.
    pub fn slice(self, name: &str, axis: usize, start: usize, length: usize) -> Self {
        self.node(name, Op::Slice { axis, start, length })
    }

    /// One channel repeated.
    pub fn repeat_channels(self, count: usize) -> Self {
        self.numbered("repeat", Op::RepeatChannels { count })
    }

    /// The network, answering with the last node.
    pub fn build(self) -> Network {
        let last = self.last.clone();
        self.build_with(&[&last])
    }

    /// The network, answering with the named nodes.
    pub fn build_with(mut self, outputs: &[&str]) -> Network {
        self.network.outputs = outputs.iter().map(|&n| n.into()).collect();
        self.network
    }
}

/// Zeros before and after that keep the size at stride 1: `[[top, bottom], [left, right]]`;
/// of an even kernel's odd number of zeros, the extra one comes after.
pub fn same(kernel: [usize; 2]) -> [[usize; 2]; 2] {
    kernel.map(|k| [(k.max(1) - 1) / 2, k / 2])
}

fn conv(
    out: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [[usize; 2]; 2],
    bias: bool,
    groups: usize,
) -> Op {
    Op::Conv2d { out, kernel, stride, padding, bias, groups }
}

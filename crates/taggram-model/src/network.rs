//! A network is data: a list of named nodes, each an operation on the outputs of
//! earlier nodes. The trainer builds its backward pass from it, the engine plans its
//! kernels from it and the ONNX writer exports it, so no network is written twice.
//!
//! All shapes leave out the batch axis. A feature map enters as
//! `[channel, time, band]`: time plays the role of an image's height.

use serde::{Deserialize, Serialize};

/// A directed acyclic graph of operations, in an order in which it can be computed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// What is fed in. Most networks have one input named `input`.
    pub inputs: Vec<Input>,
    /// The operations; each refers only to inputs and earlier nodes.
    pub nodes: Vec<Node>,
    /// Names of the nodes whose values are the answer, e.g. `logits`.
    pub outputs: Vec<String>,
}

/// A named input and its shape without the batch axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Name that nodes refer to.
    pub name: String,
    /// Shape, e.g. `[channel, time, band]`.
    pub shape: Vec<usize>,
}

/// One operation with a name; its parameters are the weights `<name>.<part>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Unique among inputs and nodes.
    pub name: String,
    /// What it does.
    pub op: Op,
    /// The inputs or nodes it reads, in order.
    pub from: Vec<String>,
}

/// What a node computes. Parameter layouts are those of PyTorch, named with each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Op {
    /// `[in, h, w]` → `[out, h', w']`, cross-correlation.
    /// Weights: `weight [out, in / groups, kernel_h, kernel_w]`, `bias [out]`.
    Conv2d {
        /// Number of filters.
        out: usize,
        /// Kernel height (time) and width (band).
        kernel: [usize; 2],
        /// Distance between kernel positions.
        #[serde(default = "ones")]
        stride: [usize; 2],
        /// Zeros added before and after, `[[top, bottom], [left, right]]`.
        #[serde(default)]
        padding: [[usize; 2]; 2],
        /// Whether a bias is added.
        #[serde(default = "yes")]
        bias: bool,
        /// Input channels are split in this many independent groups.
        #[serde(default = "one")]
        groups: usize,
    },
    /// Normalises along `axis` (0 = channel, 2 = band in `[channel, time, band]`) with the
    /// statistics of the batch while training and the running ones after.
    /// Weights: `weight`, `bias`, `running_mean`, `running_var`, each `[shape[axis]]`.
    BatchNorm {
        /// The axis that keeps its own statistics.
        #[serde(default)]
        axis: usize,
        /// Added to the variance.
        eps: f32,
    },
    /// An element-wise function (softmax: over the last axis).
    Activation(Activation),
    /// Maximum or mean over a sliding rectangle of `[c, h, w]`; the mean counts padding as
    /// absent. A last partial rectangle is dropped.
    Pool {
        /// Maximum or mean.
        kind: PoolKind,
        /// Height and width of the rectangle.
        kernel: [usize; 2],
        /// Distance between rectangles.
        stride: [usize; 2],
        /// Rows and columns (of minus infinity, or absent) added on each side.
        #[serde(default)]
        padding: [[usize; 2]; 2],
    },
    /// Maximum or mean over whole axes, which disappear.
    Reduce {
        /// Maximum or mean.
        kind: PoolKind,
        /// The axes that disappear.
        axes: Vec<usize>,
    },
    /// Fully connected over the last axis. Weights: `weight [out, in]`, `bias [out]`.
    Dense {
        /// Number of units.
        out: usize,
        /// Whether a bias is added.
        #[serde(default = "yes")]
        bias: bool,
    },
    /// Zeroes values with probability `p` while training (scaling the rest by `1/(1-p)`), nothing after.
    Dropout {
        /// Probability of a zero.
        p: f32,
    },
    /// Gated recurrent unit over `[time, feature]`. Weights as PyTorch's `nn.GRU`:
    /// `weight_ih [3·hidden, in]`, `weight_hh [3·hidden, hidden]`, `bias_ih`, `bias_hh`, gates in the order r, z, n.
    Gru {
        /// Size of the state.
        hidden: usize,
        /// `[time, hidden]` when true, else the last state `[hidden]`.
        sequence: bool,
    },
    /// Long short-term memory over `[time, feature]`. Weights as PyTorch's `nn.LSTM`:
    /// `weight_ih [4·hidden, in]`, `weight_hh [4·hidden, hidden]`, `bias_ih`, `bias_hh`, gates in the order i, f, g, o.
    Lstm {
        /// Size of the state.
        hidden: usize,
        /// `[time, hidden]` when true, else the last state `[hidden]`.
        sequence: bool,
    },
    /// Sum of inputs of one shape.
    Add,
    /// Product of inputs; a `[c]` or `[c, 1, 1]` second input scales the channels of the first.
    Mul,
    /// Inputs one after the other along `axis`.
    Concat {
        /// The axis that grows.
        axis: usize,
    },
    /// Inputs of one shape side by side in a new last axis: `[n]`, `[n]` → `[n, 2]`.
    /// Flattened, this interleaves them.
    Stack,
    /// Axes in another order.
    Permute {
        /// Which input axis each output axis is.
        order: Vec<usize>,
    },
    /// Any shape to one axis.
    Flatten,
    /// Another shape of the same size.
    Reshape {
        /// The new shape.
        shape: Vec<usize>,
    },
    /// `length` places from `start` on along `axis`; the others are not read.
    Slice {
        /// The axis that shrinks.
        axis: usize,
        /// The first place that is kept.
        start: usize,
        /// How many are kept.
        length: usize,
    },
    /// One channel repeated: `[1, h, w]` → `[count, h, w]`.
    RepeatChannels {
        /// How many copies.
        count: usize,
    },
}

/// An element-wise function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// max(x, 0)
    Relu,
    /// x for x > 0, else e^x − 1
    Elu,
    /// x · σ(x)
    Silu,
    /// 1 / (1 + e^−x)
    Sigmoid,
    /// tanh x
    Tanh,
    /// e^x / Σ e^x over the last axis
    Softmax,
}

/// How a group of values becomes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PoolKind {
    /// The largest.
    Max,
    /// The mean.
    Mean,
}

fn one() -> usize {
    1
}
fn ones() -> [usize; 2] {
    [1, 1]
}
fn yes() -> bool {
    true
}

impl Network {
    /// The value that enters the last dense layer before the answer: what the network knows of its
    /// input before it gives it a name. `None` when no dense layer leads to the answer.
    pub fn penultimate(&self) -> Option<&str> {
        let node = |name: &str| self.nodes.iter().find(|node| node.name == name);
        let mut at = self.outputs.first()?.as_str();
        let mut passed = false;
        // Each step goes to an earlier node; the bound ends loops in a network not yet checked.
        for _ in 0..self.nodes.len() {
            let Some(here) = node(at) else { return passed.then_some(at) };
            // Dropout does nothing outside training: what it drops from has the telling name.
            if passed && !matches!(here.op, Op::Dropout { .. }) {
                return Some(at);
            }
            passed |= matches!(here.op, Op::Dense { .. });
            at = here.from.first()?;
        }
        None
    }
}

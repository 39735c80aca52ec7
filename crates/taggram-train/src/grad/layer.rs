//! A node of a network made ready for training: sizes worked out, places of its values and weights known.

use std::collections::HashMap;

use taggram_model::{Activation, Network, Op};

use super::conv::Conv;
use super::norm::{Norm, Statistics};
use super::pool::{Pool, Reduce};
use super::recurrent::{Cell, Kept as KeptStates, Recurrent};
use super::reshape;

/// What computes a layer.
#[derive(Clone, Debug)]
pub(super) enum Kernel {
    Conv(Conv),
    Norm(Norm),
    /// With the length of the last axis.
    Activation(Activation, usize),
    Pool(Pool),
    Reduce(Reduce),
    Dense {
        inputs: usize,
        out: usize,
    },
    Dropout(f32),
    Recurrent(Recurrent),
    Add,
    /// For each input the number of values that one of its values scales.
    Mul(Vec<usize>),
    /// For each input the length of its runs.
    Interleave(Vec<usize>),
    /// For each output value its input value.
    Permute(Vec<u32>),
    /// `run` values from `at` on of every `row`.
    Slice {
        row: usize,
        at: usize,
        run: usize,
    },
    /// The same values under another shape.
    Alias,
    Repeat {
        sample: usize,
        count: usize,
    },
}

/// What the forward pass leaves for the backward pass, besides the values.
#[derive(Clone, Debug, Default)]
pub(super) enum Kept {
    #[default]
    Nothing,
    Statistics(Statistics),
    /// Where maxima came from.
    From(Vec<u32>),
    States(KeptStates),
}

/// A node ready for training.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub kernel: Kernel,
    /// Values it reads: inputs of the network first, then nodes.
    pub from: Vec<usize>,
    /// Its weights' places in the list of parameters.
    pub parameters: Vec<usize>,
    /// Works in the buffer of its only input.
    pub in_place: bool,
    /// The layer before already does its work (a ReLU in a batch norm).
    pub done_before: bool,
    /// Its weights, running statistics included, do not change.
    pub frozen: bool,
    pub kept: Kept,
}

/// Turns the nodes of a checked network into layers; `places` finds a weight by name.
pub(super) fn compile(
    network: &Network,
    shapes: &[&[usize]],
    places: &HashMap<&str, usize>,
) -> Vec<Layer> {
    let mut values: HashMap<&str, usize> = HashMap::new();
    let names = network
        .inputs
        .iter()
        .map(|i| i.name.as_str())
        .chain(network.nodes.iter().map(|n| n.name.as_str()));
    names.enumerate().for_each(|(i, name)| {
        values.insert(name, i);
    });
    let mut layers: Vec<Layer> = network
        .nodes
        .iter()
        .enumerate()
        .map(|(i, node)| {
            let from: Vec<usize> = node.from.iter().map(|name| values[name.as_str()]).collect();
            let inputs: Vec<&[usize]> = from.iter().map(|&f| shapes[f]).collect();
            let parts: &[&str] = match &node.op {
                Op::Conv2d { bias: true, .. } | Op::Dense { bias: true, .. } => &["weight", "bias"],
                Op::Conv2d { .. } | Op::Dense { .. } => &["weight"],
                Op::BatchNorm { .. } => &["weight", "bias", "running_mean", "running_var"],
                Op::Gru { .. } | Op::Lstm { .. } => {
                    &["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
                }
                _ => &[],
            };
            Layer {
                kernel: kernel(&node.op, &inputs, shapes[network.inputs.len() + i]),
                parameters: parts
                    .iter()
                    .map(|part| places[format!("{}.{part}", node.name).as_str()])
                    .collect(),
                from,
                in_place: false,
                done_before: false,
                frozen: false,
                kept: Kept::Nothing,
            }
        })
        .collect();
    share_buffers(network, &values, &mut layers);
    layers
}

/// Lets a layer work in its input's buffer where nobody else needs what was there.
fn share_buffers(network: &Network, values: &HashMap<&str, usize>, layers: &mut [Layer]) {
    let inputs = network.inputs.len();
    let mut readers = vec![0usize; inputs + layers.len()];
    layers.iter().flat_map(|l| &l.from).for_each(|&f| readers[f] += 1);
    // An output is read from outside.
    network.outputs.iter().for_each(|name| readers[values[name.as_str()]] += 1);
    // Whether the backward pass of whoever made a value looks at the value again.
    let mut looked_at = vec![false; inputs + layers.len()];
    for i in 0..layers.len() {
        let from = layers[i].from[0];
        let alone = readers[from] == 1;
        let replaces = match &layers[i].kernel {
            Kernel::Alias => alone,
            // These need their own result afterwards, not their input.
            Kernel::Activation(Activation::Silu, _) => false,
            Kernel::Activation(..) | Kernel::Dropout(_) => alone && !looked_at[from],
            _ => false,
        };
        layers[i].in_place = replaces;
        looked_at[inputs + i] = match &layers[i].kernel {
            Kernel::Activation(Activation::Silu, _) => false,
            Kernel::Activation(..) => true,
            Kernel::Alias if replaces => looked_at[from],
            _ => false,
        };
        if replaces
            && from >= inputs
            && matches!(layers[i].kernel, Kernel::Activation(Activation::Relu, _))
            && let Kernel::Norm(norm) = &mut layers[from - inputs].kernel
        {
            norm.relu = true;
            layers[i].done_before = true;
        }
    }
}

fn kernel(op: &Op, inputs: &[&[usize]], out: &[usize]) -> Kernel {
    let shape = inputs[0];
    let last = shape.last().copied().unwrap_or(1);
    let len = |shape: &[usize]| shape.iter().product::<usize>();
    match op {
        Op::Conv2d { out: filters, kernel, stride, padding, groups, .. } => Kernel::Conv(Conv {
            channels: shape[0],
            height: shape[1],
            width: shape[2],
            out: *filters,
            kernel: *kernel,
            stride: *stride,
            before: [padding[0][0], padding[1][0]],
            size: [out[1], out[2]],
            groups: *groups,
        }),
        Op::BatchNorm { axis, eps } => {
            // Axes before the normalised one join the batch.
            Kernel::Norm(Norm {
                channels: shape[*axis],
                inner: len(&shape[axis + 1..]),
                eps: *eps,
                relu: false,
            })
        }
        Op::Activation(function) => Kernel::Activation(*function, last),
        Op::Pool { kind, kernel, stride, padding } => Kernel::Pool(Pool {
            kind: *kind,
            height: shape[1],
            width: shape[2],
            kernel: *kernel,
            stride: *stride,
            before: [padding[0][0], padding[1][0]],
            size: [out[1], out[2]],
        }),
        Op::Reduce { kind, axes } => Kernel::Reduce(Reduce::new(*kind, shape, axes)),
        Op::Dense { out, .. } => Kernel::Dense { inputs: last, out: *out },
        Op::Dropout { p } => Kernel::Dropout(*p),
        Op::Gru { hidden, sequence } | Op::Lstm { hidden, sequence } => {
            Kernel::Recurrent(Recurrent {
                cell: if matches!(op, Op::Gru { .. }) { Cell::Gru } else { Cell::Lstm },
                time: shape[0],
                features: shape[1],
                hidden: *hidden,
                sequence: *sequence,
            })
        }
        Op::Add => Kernel::Add,
        Op::Mul => Kernel::Mul(inputs.iter().map(|s| len(shape) / len(s)).collect()),
        Op::Concat { axis } => {
            Kernel::Interleave(inputs.iter().map(|s| len(&s[*axis..])).collect())
        }
        Op::Stack => Kernel::Interleave(vec![1; inputs.len()]),
        Op::Permute { order } => Kernel::Permute(reshape::permutation(shape, order)),
        Op::Slice { axis, start, length } => {
            let inner = len(&shape[axis + 1..]);
            Kernel::Slice { row: shape[*axis] * inner, at: start * inner, run: length * inner }
        }
        Op::Flatten | Op::Reshape { .. } => Kernel::Alias,
        Op::RepeatChannels { count } => Kernel::Repeat { sample: len(shape), count: *count },
    }
}

//! From a network to the steps that compute it.
//!
//! - A batch norm directly after a convolution or dense layer disappears into its weights;
//!   an activation after that, and a batch norm after the activation, into its epilogue.
//! - Dropout, flatten and reshape are other names for the value they read.
//! - Element-wise steps overwrite their operand when nothing else reads it.
//! - Buffers are reused as soon as the last reader of a value is done.

use std::collections::HashMap;

use super::ops::Step as Operation;
use crate::kernels::int8::{IntIsa, Params};
use crate::kernels::recurrent::{Cell, Recurrent, RecurrentWeights};
use crate::kernels::{Conv, ConvShape, Epilogue, Isa, PackedRight};
use crate::network::{Activation, Network, Node, Op};
use crate::quantisation::Quantisation;
use crate::shapes::NetworkError;
use crate::tensor::{Tensor, Weights};
use crate::transform;

/// Everything that [`super::Engine::run`] needs, decided once.
#[derive(Debug)]
pub(super) struct Plan {
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
    pub steps: Vec<Step>,
    /// Values per example that each buffer holds.
    pub buffers: Vec<usize>,
    /// The same for buffers of bytes.
    pub bytes: Vec<usize>,
}

/// Instruction sets of the two kinds of kernels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sets {
    pub float: Isa,
    pub int: IntIsa,
}

/// An input or output of the network.
#[derive(Debug)]
pub(super) struct Port {
    pub name: String,
    pub shape: Vec<usize>,
    pub len: usize,
    pub source: Source,
}

/// Where a value lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    Input(usize),
    Buffer(usize),
    /// A buffer of bytes: what integer steps read and make.
    Bytes(usize),
}

#[derive(Debug)]
pub(super) struct Step {
    pub op: Operation,
    /// Operands and their length per example.
    pub from: Vec<(Source, usize)>,
    /// Buffer of the result, of floats or of bytes.
    pub to: Source,
    /// Length of the result per example.
    pub len: usize,
    /// The result overwrites the first operand.
    pub in_place: bool,
}

/// A step before buffers are assigned: operands are values, counted from the inputs on.
pub(super) struct Draft {
    pub op: Operation,
    pub from: Vec<(usize, usize)>,
    pub value: usize,
    pub len: usize,
    /// Whether the result is bytes.
    pub bytes: bool,
}

impl Plan {
    /// With `quantisation`, in integers where its ranges allow.
    pub fn new(
        network: &Network,
        weights: &Weights,
        quantisation: Option<&Quantisation>,
        sets: Sets,
    ) -> Result<Self, NetworkError> {
        let names: Vec<&str> = network.outputs.iter().map(String::as_str).collect();
        network.shapes()?;
        let network = network.with_outputs(&names)?;
        network.check_weights(weights)?;
        let shapes = network.shapes()?;
        let mut planner = Planner {
            network: &network,
            weights,
            isa: sets.float,
            int_isa: sets.int,
            quantisation,
            shapes: &shapes,
            readers: readers(&network),
            values: HashMap::new(),
            bytes: HashMap::new(),
            drafts: Vec::new(),
            count: 0,
        };
        planner.draft();
        let outputs: Vec<usize> = network.outputs.iter().map(|name| planner.float(name)).collect();
        let drafts = planner.drafts;
        let Placed { steps, buffers, bytes, sources } =
            place(drafts, network.inputs.len(), &outputs);
        let port = |name: &str, value: usize| Port {
            name: name.into(),
            shape: shapes[name].clone(),
            len: size(&shapes[name]),
            source: sources[&value],
        };
        let inputs =
            network.inputs.iter().enumerate().map(|(i, input)| port(&input.name, i)).collect();
        let outputs =
            network.outputs.iter().zip(&outputs).map(|(name, &v)| port(name, v)).collect();
        Ok(Self { inputs, outputs, steps, buffers, bytes })
    }
}

/// Who reads each value; an output of the network has one reader more.
fn readers(network: &Network) -> HashMap<&str, Vec<usize>> {
    const OUTSIDE: usize = usize::MAX;
    let mut readers: HashMap<&str, Vec<usize>> = HashMap::new();
    for (i, node) in network.nodes.iter().enumerate() {
        for name in &node.from {
            readers.entry(name).or_default().push(i);
        }
    }
    for name in &network.outputs {
        readers.entry(name).or_default().push(OUTSIDE);
    }
    readers
}

pub(super) struct Planner<'a> {
    network: &'a Network,
    weights: &'a Weights,
    isa: Isa,
    pub int_isa: IntIsa,
    pub quantisation: Option<&'a Quantisation>,
    pub shapes: &'a std::collections::BTreeMap<String, Vec<usize>>,
    readers: HashMap<&'a str, Vec<usize>>,
    /// Which value each name stands for.
    pub values: HashMap<&'a str, usize>,
    /// Which value holds the bytes of each name.
    pub bytes: HashMap<&'a str, (usize, Params)>,
    pub drafts: Vec<Draft>,
    pub count: usize,
}

/// What follows a convolution or dense layer and is computed with it.
#[derive(Default)]
pub(super) struct Tail<'a> {
    fold: Option<(Vec<f32>, Vec<f32>)>,
    pub activation: Option<Activation>,
    affine: Option<(Vec<f32>, Vec<f32>)>,
    /// Nodes that are absorbed.
    pub names: Vec<&'a str>,
}

impl<'a> Planner<'a> {
    fn draft(&mut self) {
        for input in &self.network.inputs {
            self.values.insert(&input.name, self.count);
            self.count += 1;
        }
        for node in &self.network.nodes {
            let name = node.name.as_str();
            if self.values.contains_key(name) || self.bytes.contains_key(name) {
                continue;
            }
            if !self.draft_integer(node) {
                self.draft_node(node);
            }
        }
    }

    fn draft_node(&mut self, node: &'a Node) {
        let shapes = self.shapes;
        let from: Vec<&[usize]> = node.from.iter().map(|n| shapes[n].as_slice()).collect();
        let to = shapes[&node.name].as_slice();
        let mut tail = Tail::default();
        let op = match &node.op {
            Op::Dropout { .. } | Op::Flatten | Op::Reshape { .. } => {
                let value = self.float(&node.from[0]);
                self.values.insert(&node.name, value);
                return;
            }
            Op::Conv2d { out, kernel, stride, padding, bias, groups } => {
                tail = self.tail(node, 0, false);
                let shape = ConvShape {
                    channels: from[0][0],
                    size: [from[0][1], from[0][2]],
                    out: *out,
                    kernel: *kernel,
                    stride: *stride,
                    padding: *padding,
                    groups: *groups,
                };
                let (weight, bias) = self.folded(node, *bias, &tail);
                let affine = tail.affine();
                Operation::Conv(Conv::new(
                    shape,
                    &weight,
                    Some(&bias),
                    tail.activation,
                    affine,
                    self.isa,
                ))
            }
            Op::Dense { out, bias } => {
                tail = self.tail(node, to.len() - 1, false);
                let (weight, bias) = self.folded(node, *bias, &tail);
                let depth = from[0][from[0].len() - 1];
                Operation::Dense(
                    PackedRight::new(&weight, *out, depth, self.isa),
                    Epilogue::new(*out, Some(&bias), tail.activation, tail.affine()),
                )
            }
            Op::Gru { hidden, sequence } => {
                self.recurrent(node, Cell::Gru, from[0], *hidden, *sequence)
            }
            Op::Lstm { hidden, sequence } => {
                self.recurrent(node, Cell::Lstm, from[0], *hidden, *sequence)
            }
            Op::BatchNorm { axis, eps } => {
                let (scale, shift) = self.scale_shift(&node.name, *eps);
                Operation::ScaleShift { scale, shift, inner: size(&from[0][axis + 1..]) }
            }
            Op::Activation(Activation::Softmax) => Operation::Softmax { len: to[to.len() - 1] },
            Op::Activation(function) => Operation::Activation(*function),
            Op::Pool { kind, kernel, stride, padding } => Operation::Pool {
                kind: *kind,
                size: [from[0][1], from[0][2]],
                out: [to[1], to[2]],
                kernel: *kernel,
                stride: *stride,
                padding: *padding,
            },
            Op::Reduce { kind, axes } => Operation::reduce(*kind, from[0], axes),
            Op::Add => {
                let relu = self
                    .only_reader(&node.name)
                    .filter(|n| n.op == Op::Activation(Activation::Relu));
                tail.names.extend(relu.map(|n| n.name.as_str()));
                Operation::Add { relu: relu.is_some() }
            }
            Op::Mul => {
                Operation::Mul { lens: from[1..].iter().map(|s| size(s)).collect(), len: size(to) }
            }
            Op::Concat { axis } => {
                Operation::Join { lens: from.iter().map(|s| size(&s[*axis..])).collect() }
            }
            Op::Stack => Operation::Join { lens: vec![1; from.len()] },
            Op::Permute { order } => Operation::permute(from[0], order),
            Op::Slice { axis, start, length } => {
                let inner = size(&from[0][axis + 1..]);
                Operation::Slice {
                    row: from[0][*axis] * inner,
                    start: start * inner,
                    len: length * inner,
                }
            }
            Op::RepeatChannels { count } => Operation::Repeat { len: size(from[0]), count: *count },
        };
        let from = node.from.iter().map(|n| (self.float(n), size(&shapes[n]))).collect();
        let value = self.count;
        self.count += 1;
        self.drafts.push(Draft { op, from, value, len: size(to), bytes: false });
        self.values.insert(&node.name, value);
        for name in tail.names {
            self.values.insert(name, value);
        }
    }

    pub fn only_reader(&self, name: &str) -> Option<&'a Node> {
        match self.readers.get(name).map(Vec::as_slice) {
            Some(&[reader]) => self.network.nodes.get(reader),
            _ => None,
        }
    }

    /// Nodes after `node` that scale along `axis` or apply a function, in the order that an
    /// epilogue can follow: norm, function, norm. Dropouts between them are skipped. With
    /// `integer`, only what an integer layer can do: norm, ReLU.
    pub fn tail(&self, node: &'a Node, axis: usize, integer: bool) -> Tail<'a> {
        let mut tail = Tail::default();
        let mut skipped: Vec<&str> = Vec::new();
        let mut last = node;
        while let Some(next) = self.only_reader(&last.name) {
            match &next.op {
                Op::Dropout { .. } => {
                    skipped.push(&next.name);
                    last = next;
                    continue;
                }
                Op::BatchNorm { axis: along, eps }
                    if *along == axis
                        && tail.affine.is_none()
                        && !(integer && (tail.fold.is_some() || tail.activation.is_some())) =>
                {
                    let norm = self.scale_shift(&next.name, *eps);
                    match (&tail.fold, tail.activation) {
                        (None, None) => tail.fold = Some(norm),
                        _ => tail.affine = Some(norm),
                    }
                }
                Op::Activation(function)
                    if *function != Activation::Softmax
                        && tail.activation.is_none()
                        && tail.affine.is_none()
                        && (!integer || *function == Activation::Relu) =>
                {
                    tail.activation = Some(*function);
                }
                _ => break,
            }
            tail.names.append(&mut skipped);
            tail.names.push(&next.name);
            last = next;
        }
        tail.names.append(&mut skipped);
        tail
    }

    fn weight(&self, node: &str, part: &str) -> &'a Tensor {
        &self.weights[&format!("{node}.{part}")]
    }

    /// A batch norm with running statistics as `scale · x + shift`.
    fn scale_shift(&self, node: &str, eps: f32) -> (Vec<f32>, Vec<f32>) {
        let part = |part| self.weight(node, part).data.as_slice();
        let parts = [part("weight"), part("bias"), part("running_mean"), part("running_var")];
        let (scale, shift) = transform::scale_shift(parts, eps);
        let narrow = |values: Vec<f64>| values.into_iter().map(|v| v as f32).collect();
        (narrow(scale), narrow(shift))
    }

    /// Weight and bias of a layer with the norm after it folded in.
    pub fn folded(&self, node: &Node, bias: bool, tail: &Tail) -> (Vec<f32>, Vec<f32>) {
        let weight = self.weight(&node.name, "weight");
        let out = weight.shape[0];
        let bias = if bias { self.weight(&node.name, "bias").data.clone() } else { vec![0.0; out] };
        let Some((scale, shift)) = &tail.fold else { return (weight.data.clone(), bias) };
        let rows = weight.data.chunks_exact(weight.data.len() / out);
        let weight = rows.zip(scale).flat_map(|(row, s)| row.iter().map(move |w| w * s)).collect();
        let bias = bias.iter().zip(scale).zip(shift).map(|((b, scale), shift)| b * scale + shift);
        (weight, bias.collect())
    }

    fn recurrent(
        &self,
        node: &Node,
        cell: Cell,
        from: &[usize],
        hidden: usize,
        sequence: bool,
    ) -> Operation {
        let part = |part| self.weight(&node.name, part).data.as_slice();
        let weights = RecurrentWeights {
            weight_ih: part("weight_ih"),
            weight_hh: part("weight_hh"),
            bias_ih: part("bias_ih"),
            bias_hh: part("bias_hh"),
        };
        let layer = Recurrent::new(cell, from[1], hidden, sequence, weights, self.isa);
        Operation::Recurrent(layer, from[0])
    }
}

impl Tail<'_> {
    fn affine(&self) -> Option<(&[f32], &[f32])> {
        self.affine.as_ref().map(|(scale, shift)| (scale.as_slice(), shift.as_slice()))
    }
}

/// Steps, buffer sizes, and where each value lies.
struct Placed {
    steps: Vec<Step>,
    buffers: Vec<usize>,
    bytes: Vec<usize>,
    sources: HashMap<usize, Source>,
}

/// Gives every value a buffer; values whose last reader is done give theirs back.
fn place(drafts: Vec<Draft>, inputs: usize, outputs: &[usize]) -> Placed {
    let mut last_read: HashMap<usize, usize> = HashMap::new();
    for (at, draft) in drafts.iter().enumerate() {
        for &(value, _) in &draft.from {
            last_read.insert(value, at);
        }
    }
    last_read.extend(outputs.iter().map(|&value| (value, usize::MAX)));
    let mut sources: HashMap<usize, Source> = (0..inputs).map(|i| (i, Source::Input(i))).collect();
    let (mut floats, mut bytes) = (Buffers::default(), Buffers::default());
    let mut steps = Vec::new();
    for (at, draft) in drafts.into_iter().enumerate() {
        let mut done: Vec<(usize, usize)> = draft.from.clone();
        done.sort_unstable();
        done.dedup();
        done.retain(|(value, _)| last_read[value] == at);
        let first = draft.from[0].0;
        let reads_first_once = draft.from.iter().filter(|(value, _)| *value == first).count() == 1;
        let reusable = match sources[&first] {
            source @ Source::Buffer(_) if draft.op.may_overwrite() && reads_first_once => {
                done.iter().any(|(value, _)| *value == first).then_some(source)
            }
            _ => None,
        };
        let in_place = reusable.is_some();
        let to = reusable.unwrap_or_else(|| match draft.bytes {
            true => Source::Bytes(bytes.take(draft.len)),
            false => Source::Buffer(floats.take(draft.len)),
        });
        for source in done.iter().map(|(value, _)| sources[value]).filter(|s| *s != to) {
            match source {
                Source::Buffer(buffer) => floats.free.push(buffer),
                Source::Bytes(buffer) => bytes.free.push(buffer),
                Source::Input(_) => {}
            }
        }
        let from = draft.from.iter().map(|&(value, len)| (sources[&value], len)).collect();
        sources.insert(draft.value, to);
        // A value that nobody reads (a conversion that turned out superfluous) is free at once.
        if !last_read.contains_key(&draft.value) && !in_place {
            match to {
                Source::Buffer(buffer) => floats.free.push(buffer),
                Source::Bytes(buffer) => bytes.free.push(buffer),
                Source::Input(_) => {}
            }
        }
        steps.push(Step { op: draft.op, from, to, len: draft.len, in_place });
    }
    Placed { steps, buffers: floats.sizes, bytes: bytes.sizes, sources }
}

/// Buffers of one kind and those that are free.
#[derive(Default)]
struct Buffers {
    sizes: Vec<usize>,
    free: Vec<usize>,
}

impl Buffers {
    /// The smallest free buffer that suffices, else the largest, grown, else a new one.
    fn take(&mut self, len: usize) -> usize {
        let Self { sizes, free } = self;
        let fitting =
            (0..free.len()).filter(|&i| sizes[free[i]] >= len).min_by_key(|&i| sizes[free[i]]);
        let largest = || (0..free.len()).max_by_key(|&i| sizes[free[i]]);
        match fitting.or_else(largest) {
            Some(i) => {
                let buffer = free.swap_remove(i);
                sizes[buffer] = sizes[buffer].max(len);
                buffer
            }
            None => {
                sizes.push(len);
                sizes.len() - 1
            }
        }
    }
}

pub(super) fn size(shape: &[usize]) -> usize {
    shape.iter().product()
}

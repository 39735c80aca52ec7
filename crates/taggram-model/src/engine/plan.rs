//! From a network to the steps that compute it.
//!
//! - A batch norm directly after a convolution or dense layer disappears into its weights;
//!   an activation after that, and a batch norm after the activation, into its epilogue.
//! - Dropout, flatten and reshape are other names for the value they read.
//! - Element-wise steps overwrite their operand when nothing else reads it.
//! - Buffers are reused as soon as the last reader of a value is done.

use std::collections::HashMap;

use super::ops::Step as Operation;
use crate::kernels::recurrent::{Cell, Recurrent, RecurrentWeights};
use crate::kernels::{Conv, ConvShape, Epilogue, Isa, PackedRight};
use crate::network::{Activation, Network, Node, Op};
use crate::shapes::NetworkError;
use crate::tensor::{Tensor, Weights};

/// Everything that [`super::Engine::run`] needs, decided once.
#[derive(Debug)]
pub(super) struct Plan {
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
    pub steps: Vec<Step>,
    /// Values per example that each buffer holds.
    pub buffers: Vec<usize>,
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
}

#[derive(Debug)]
pub(super) struct Step {
    pub op: Operation,
    /// Operands and their length per example.
    pub from: Vec<(Source, usize)>,
    /// Buffer of the result.
    pub to: usize,
    /// Length of the result per example.
    pub len: usize,
    /// The result overwrites the first operand.
    pub in_place: bool,
}

/// A step before buffers are assigned: operands are values, counted from the inputs on.
struct Draft {
    op: Operation,
    from: Vec<(usize, usize)>,
    value: usize,
    len: usize,
}

impl Plan {
    pub fn new(network: &Network, weights: &Weights, isa: Isa) -> Result<Self, NetworkError> {
        let names: Vec<&str> = network.outputs.iter().map(String::as_str).collect();
        network.shapes()?;
        let network = network.with_outputs(&names)?;
        network.check_weights(weights)?;
        let shapes = network.shapes()?;
        let mut planner = Planner {
            network: &network,
            weights,
            isa,
            shapes: &shapes,
            readers: readers(&network),
            values: HashMap::new(),
            drafts: Vec::new(),
            count: 0,
        };
        planner.draft();
        let (values, drafts) = (planner.values, planner.drafts);
        let outputs: Vec<usize> =
            network.outputs.iter().map(|name| values[name.as_str()]).collect();
        let (steps, buffers, sources) = place(drafts, network.inputs.len(), &outputs);
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
        Ok(Self { inputs, outputs, steps, buffers })
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

struct Planner<'a> {
    network: &'a Network,
    weights: &'a Weights,
    isa: Isa,
    shapes: &'a std::collections::BTreeMap<String, Vec<usize>>,
    readers: HashMap<&'a str, Vec<usize>>,
    /// Which value each name stands for.
    values: HashMap<&'a str, usize>,
    drafts: Vec<Draft>,
    count: usize,
}

/// What follows a convolution or dense layer and is computed with it.
#[derive(Default)]
struct Tail<'a> {
    fold: Option<(Vec<f32>, Vec<f32>)>,
    activation: Option<Activation>,
    affine: Option<(Vec<f32>, Vec<f32>)>,
    /// Nodes that are absorbed.
    names: Vec<&'a str>,
}

impl<'a> Planner<'a> {
    fn draft(&mut self) {
        for input in &self.network.inputs {
            self.values.insert(&input.name, self.count);
            self.count += 1;
        }
        for node in &self.network.nodes {
            if !self.values.contains_key(node.name.as_str()) {
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
                let value = self.values[node.from[0].as_str()];
                self.values.insert(&node.name, value);
                return;
            }
            Op::Conv2d { out, kernel, stride, padding, bias, groups } => {
                tail = self.tail(node, 0);
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
                tail = self.tail(node, to.len() - 1);
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
        let from = node.from.iter().map(|n| (self.values[n.as_str()], size(&shapes[n]))).collect();
        let value = self.count;
        self.count += 1;
        self.drafts.push(Draft { op, from, value, len: size(to) });
        self.values.insert(&node.name, value);
        for name in tail.names {
            self.values.insert(name, value);
        }
    }

    fn only_reader(&self, name: &str) -> Option<&'a Node> {
        match self.readers.get(name).map(Vec::as_slice) {
            Some(&[reader]) => self.network.nodes.get(reader),
            _ => None,
        }
    }

    /// Nodes after `node` that scale along `axis` or apply a function, in the order that an
    /// epilogue can follow: norm, function, norm. Dropouts between them are skipped.
    fn tail(&self, node: &'a Node, axis: usize) -> Tail<'a> {
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
                Op::BatchNorm { axis: along, eps } if *along == axis && tail.affine.is_none() => {
                    let norm = self.scale_shift(&next.name, *eps);
                    match (&tail.fold, tail.activation) {
                        (None, None) => tail.fold = Some(norm),
                        _ => tail.affine = Some(norm),
                    }
                }
                Op::Activation(function)
                    if *function != Activation::Softmax
                        && tail.activation.is_none()
                        && tail.affine.is_none() =>
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
        let part = |part| self.weight(node, part).data.iter().map(|&v| f64::from(v));
        let statistics = part("running_mean").zip(part("running_var"));
        part("weight")
            .zip(part("bias"))
            .zip(statistics)
            .map(|((weight, bias), (mean, var))| {
                let scale = weight / (var + f64::from(eps)).sqrt();
                (scale as f32, (bias - mean * scale) as f32)
            })
            .unzip()
    }

    /// Weight and bias of a layer with the norm after it folded in.
    fn folded(&self, node: &Node, bias: bool, tail: &Tail) -> (Vec<f32>, Vec<f32>) {
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
type Placed = (Vec<Step>, Vec<usize>, HashMap<usize, Source>);

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
    let (mut buffers, mut free, mut steps): (Vec<usize>, Vec<usize>, Vec<Step>) =
        Default::default();
    for (at, draft) in drafts.into_iter().enumerate() {
        let mut done: Vec<(usize, usize)> = draft.from.clone();
        done.sort_unstable();
        done.dedup();
        done.retain(|(value, _)| last_read[value] == at);
        let first = draft.from[0].0;
        let reads_first_once = draft.from.iter().filter(|(value, _)| *value == first).count() == 1;
        let reusable = match sources[&first] {
            Source::Buffer(b) if draft.op.may_overwrite() && reads_first_once => {
                done.iter().any(|(value, _)| *value == first).then_some(b)
            }
            _ => None,
        };
        let in_place = reusable.is_some();
        let to = reusable.unwrap_or_else(|| take(&mut free, &mut buffers, draft.len));
        for (value, _) in done {
            if let Source::Buffer(buffer) = sources[&value]
                && buffer != to
            {
                free.push(buffer);
            }
        }
        let from = draft.from.iter().map(|&(value, len)| (sources[&value], len)).collect();
        sources.insert(draft.value, Source::Buffer(to));
        steps.push(Step { op: draft.op, from, to, len: draft.len, in_place });
    }
    (steps, buffers, sources)
}

/// The smallest free buffer that suffices, else the largest, grown, else a new one.
fn take(free: &mut Vec<usize>, buffers: &mut Vec<usize>, len: usize) -> usize {
    let fitting =
        (0..free.len()).filter(|&i| buffers[free[i]] >= len).min_by_key(|&i| buffers[free[i]]);
    let largest = || (0..free.len()).max_by_key(|&i| buffers[free[i]]);
    match fitting.or_else(largest) {
        Some(i) => {
            let buffer = free.swap_remove(i);
            buffers[buffer] = buffers[buffer].max(len);
            buffer
        }
        None => {
            buffers.push(len);
            buffers.len() - 1
        }
    }
}

fn size(shape: &[usize]) -> usize {
    shape.iter().product()
}

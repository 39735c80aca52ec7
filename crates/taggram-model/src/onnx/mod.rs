//! Writes a network and its weights as an ONNX file (operator set 17), so that any
//! framework can run it: <https://onnx.ai/onnx/operators/>.
//!
//! Every input and output gets a leading batch axis named `batch`. Weights keep their
//! names where ONNX keeps their layout.

mod protobuf;

use std::collections::{BTreeMap, HashSet};

use crate::network::{Activation, Network, Node, Op, PoolKind};
use crate::shapes::{NetworkError, scales_channels};
use crate::tensor::Weights;
use protobuf::Message;

/// ONNX's operator set; version 17 is read by every runtime since 2022.
const OPERATOR_SET: u64 = 17;
/// The version of the file layout that goes with it.
const IR_VERSION: u64 = 8;
/// A protobuf message cannot be longer than this.
const MAX_BYTES: usize = i32::MAX as usize;

/// The bytes of an `.onnx` file.
///
/// # Errors
/// As [`Network::shapes`] and [`Network::check_weights`]; or when the file would exceed the
/// 2 GiB of a protobuf message.
pub fn to_onnx(network: &Network, weights: &Weights) -> Result<Vec<u8>, NetworkError> {
    to_onnx_with(network, weights, &[])
}

/// As [`to_onnx`], with notes for people and programs (key and text; ONNX calls them metadata
/// properties): what the labels are, say, or how an input is made.
///
/// # Errors
/// As [`to_onnx`].
pub fn to_onnx_with(
    network: &Network,
    weights: &Weights,
    notes: &[(&str, &str)],
) -> Result<Vec<u8>, NetworkError> {
    network.check_weights(weights)?;
    let shapes = network.shapes()?;
    let bytes: usize = network
        .weight_specs()?
        .iter()
        .map(|s| 4 * s.shape.iter().product::<usize>())
        .fold(0, usize::saturating_add);
    if bytes > MAX_BYTES - (1 << 24) {
        return Err(NetworkError::over_limit(
            "network",
            format!("{bytes} bytes of weights do not fit an ONNX file of at most 2 GiB"),
        ));
    }
    let names = shapes.keys().cloned().collect();
    let mut graph = Graph { message: Message::default(), names, weights, shapes: &shapes };
    for node in &network.nodes {
        graph.node(node);
    }
    for input in &network.inputs {
        graph.message.message(11, value_info(&input.name, &input.shape));
    }
    let mut written: HashSet<&str> = HashSet::new();
    for name in &network.outputs {
        if !written.insert(name) {
            continue;
        }
        let mut output = name.clone();
        if network.inputs.iter().any(|i| i.name == *name) {
            // A graph output must be the result of a node.
            output = graph.fresh(name, "output");
            graph.emit("Identity", &[name], &output, Vec::new());
        }
        graph.message.message(12, value_info(&output, &shapes[name]));
    }
    graph.message.string(2, "taggram");
    let mut operators = Message::default();
    operators.string(1, "");
    operators.int(2, OPERATOR_SET);
    let mut model = Message::default();
    model.int(1, IR_VERSION);
    model.string(2, "taggram");
    model.string(3, env!("CARGO_PKG_VERSION"));
    model.message(7, graph.message);
    model.message(8, operators);
    for (key, text) in notes {
        let mut note = Message::default();
        note.string(1, key);
        note.string(2, text);
        model.message(14, note);
    }
    Ok(model.into_bytes())
}

/// An attribute of a node.
enum Attribute {
    Int(u64),
    Float(f32),
    Ints(Vec<u64>),
}

type Attributes = Vec<(&'static str, Attribute)>;

fn int(name: &'static str, value: usize) -> (&'static str, Attribute) {
    (name, Attribute::Int(value as u64))
}

fn ints(name: &'static str, values: impl IntoIterator<Item = usize>) -> (&'static str, Attribute) {
    (name, Attribute::Ints(values.into_iter().map(|v| v as u64).collect()))
}

/// Type (f32) and shape of a value, batch axis first.
fn value_info(name: &str, shape: &[usize]) -> Message {
    let mut dims = Message::default();
    let mut batch = Message::default();
    batch.string(2, "batch");
    dims.message(1, batch);
    for &n in shape {
        let mut dim = Message::default();
        dim.int(1, n as u64);
        dims.message(1, dim);
    }
    let mut tensor = Message::default();
    tensor.int(1, FLOAT);
    tensor.message(2, dims);
    let mut kind = Message::default();
    kind.message(1, tensor);
    let mut info = Message::default();
    info.string(1, name);
    info.message(2, kind);
    info
}

const FLOAT: u64 = 1;
const INT64: u64 = 7;

struct Graph<'a> {
    message: Message,
    names: HashSet<String>,
    weights: &'a Weights,
    shapes: &'a BTreeMap<String, Vec<usize>>,
}

impl Graph<'_> {
    /// A name like `<node>.<part>` that nothing else has.
    fn fresh(&mut self, node: &str, part: &str) -> String {
        let mut name = format!("{node}.{part}");
        while !self.names.insert(name.clone()) {
            name.push('_');
        }
        name
    }

    fn emit(&mut self, operator: &str, from: &[&str], to: &str, attributes: Attributes) {
        self.emit_many(operator, from, &[to], attributes);
    }

    fn emit_many(&mut self, operator: &str, from: &[&str], to: &[&str], attributes: Attributes) {
        let mut node = Message::default();
        from.iter().for_each(|name| node.string(1, name));
        to.iter().for_each(|name| node.string(2, name));
        node.string(4, operator);
        for (name, value) in attributes {
            let mut attribute = Message::default();
            attribute.string(1, name);
            match value {
                Attribute::Float(v) => {
                    attribute.float(2, v);
                    attribute.int(20, 1);
                }
                Attribute::Int(v) => {
                    attribute.int(3, v);
                    attribute.int(20, 2);
                }
                Attribute::Ints(values) => {
                    values.into_iter().for_each(|v| attribute.int(8, v));
                    attribute.int(20, 7);
                }
            }
            node.message(5, attribute);
        }
        self.message.message(1, node);
    }

    /// Emits into a new intermediate value.
    fn step(
        &mut self,
        node: &str,
        operator: &str,
        from: &[&str],
        attributes: Attributes,
    ) -> String {
        let to = self.fresh(node, &operator.to_lowercase());
        self.emit(operator, from, &to, attributes);
        to
    }

    fn constant(&mut self, name: &str, kind: u64, shape: &[usize], bytes: &[u8]) {
        let mut tensor = Message::default();
        shape.iter().for_each(|&n| tensor.int(1, n as u64));
        tensor.int(2, kind);
        tensor.string(8, name);
        tensor.bytes(9, bytes);
        self.message.message(5, tensor);
    }

    /// A constant of the given values; its name.
    fn floats(&mut self, node: &str, part: &str, shape: &[usize], values: &[f32]) -> String {
        let name = self.fresh(node, part);
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constant(&name, FLOAT, shape, &bytes);
        name
    }

    fn integers(&mut self, node: &str, part: &str, values: &[i64]) -> String {
        let name = self.fresh(node, part);
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constant(&name, INT64, &[values.len()], &bytes);
        name
    }

    fn values(&self, node: &str, part: &str) -> &[f32] {
        &self.weights[&format!("{node}.{part}")].data
    }

    /// A weight as it is; its name.
    fn weight(&mut self, node: &str, part: &str) -> String {
        let tensor = &self.weights[&format!("{node}.{part}")];
        self.floats(node, part, &tensor.shape, &tensor.data)
    }

    /// Adds axes of length 1 at the given places of `[batch, …]`.
    fn unsqueeze(&mut self, node: &str, from: &str, axes: &[i64]) -> String {
        let axes = self.integers(node, "axes", axes);
        self.step(node, "Unsqueeze", &[from, &axes], Vec::new())
    }

    fn node(&mut self, node: &Node) {
        let name = node.name.as_str();
        let shapes = self.shapes;
        let shape = shapes[&node.from[0]].as_slice();
        let from: Vec<&str> = node.from.iter().map(String::as_str).collect();
        match &node.op {
            Op::Conv2d { kernel, stride, padding, bias, groups, .. } => {
                let mut operands = vec![from[0].to_string(), self.weight(name, "weight")];
                if *bias {
                    operands.push(self.weight(name, "bias"));
                }
                let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
                let mut attributes = window(kernel, stride, padding);
                attributes.push(int("group", *groups));
                self.emit("Conv", &operands, name, attributes);
            }
            Op::BatchNorm { axis: 0, eps } => {
                let parts = ["weight", "bias", "running_mean", "running_var"];
                let parts = parts.map(|part| self.weight(name, part));
                let operands = [from[0], &parts[0], &parts[1], &parts[2], &parts[3]];
                self.emit(
                    "BatchNormalization",
                    &operands,
                    name,
                    vec![("epsilon", Attribute::Float(*eps))],
                );
            }
            Op::BatchNorm { axis, eps } => {
                // ONNX normalises channels alone; other axes are scaled and shifted.
                let mut wide = vec![1; shape.len() + 1 - axis - 1];
                wide[0] = shape[*axis];
                let part = |part| self.values(name, part).iter();
                let pairs: Vec<(f32, f32)> = part("weight")
                    .zip(part("bias"))
                    .zip(part("running_mean").zip(part("running_var")))
                    .map(|((weight, bias), (mean, var))| {
                        let scale = weight / (var + eps).sqrt();
                        (scale, bias - mean * scale)
                    })
                    .collect();
                let (scale, shift): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
                let scale = self.floats(name, "scale", &wide, &scale);
                let shift = self.floats(name, "shift", &wide, &shift);
                let scaled = self.step(name, "Mul", &[from[0], &scale], Vec::new());
                self.emit("Add", &[&scaled, &shift], name, Vec::new());
            }
            Op::Activation(function) => match function {
                Activation::Relu => self.emit("Relu", &from, name, Vec::new()),
                Activation::Elu => self.emit("Elu", &from, name, Vec::new()),
                Activation::Sigmoid => self.emit("Sigmoid", &from, name, Vec::new()),
                Activation::Tanh => self.emit("Tanh", &from, name, Vec::new()),
                Activation::Silu => {
                    let gate = self.step(name, "Sigmoid", &from, Vec::new());
                    self.emit("Mul", &[from[0], &gate], name, Vec::new());
                }
                Activation::Softmax => {
                    self.emit("Softmax", &from, name, vec![int("axis", shape.len())])
                }
            },
            Op::Pool { kind, kernel, stride, padding } => {
                // A mean leaves padding out by default, as ours does.
                let operator = match kind {
                    PoolKind::Max => "MaxPool",
                    PoolKind::Mean => "AveragePool",
                };
                self.emit(operator, &from, name, window(kernel, stride, padding));
            }
            Op::Reduce { kind, axes } => {
                let operator = match kind {
                    PoolKind::Max => "ReduceMax",
                    PoolKind::Mean => "ReduceMean",
                };
                let axes = ints("axes", axes.iter().map(|a| a + 1));
                self.emit(operator, &from, name, vec![axes, int("keepdims", 0)]);
            }
            Op::Dense { out, bias } => self.dense(name, from[0], shape, *out, *bias),
            Op::Dropout { .. } => self.emit("Identity", &from, name, Vec::new()),
            // ONNX orders gates z, r, n and i, o, f, g.
            Op::Gru { hidden, sequence } => {
                self.recurrent("GRU", &[1, 0, 2], name, from[0], *hidden, *sequence);
            }
            Op::Lstm { hidden, sequence } => {
                self.recurrent("LSTM", &[0, 3, 1, 2], name, from[0], *hidden, *sequence);
            }
            Op::Add => self.emit("Sum", &from, name, Vec::new()),
            Op::Mul => {
                let mut product = from[0].to_string();
                for (i, other) in node.from.iter().enumerate().skip(1) {
                    let factor = &shapes[other];
                    let missing = shape.len() - factor.len();
                    let wide = if factor != shape && scales_channels(factor, shape) && missing > 0 {
                        let axes: Vec<i64> = (0..missing as i64).map(|a| a + 2).collect();
                        self.unsqueeze(name, other, &axes)
                    } else {
                        other.clone()
                    };
                    if i + 1 == from.len() {
                        self.emit("Mul", &[&product, &wide], name, Vec::new());
                    } else {
                        product = self.step(name, "Mul", &[&product, &wide], Vec::new());
                    }
                }
            }
            Op::Concat { axis } => self.emit("Concat", &from, name, vec![int("axis", axis + 1)]),
            Op::Stack => {
                let last = shape.len() + 1;
                let wide: Vec<String> =
                    from.iter().map(|from| self.unsqueeze(name, from, &[last as i64])).collect();
                let wide: Vec<&str> = wide.iter().map(String::as_str).collect();
                self.emit("Concat", &wide, name, vec![int("axis", last)]);
            }
            Op::Permute { order } => {
                let order = std::iter::once(0).chain(order.iter().map(|a| a + 1));
                self.emit("Transpose", &from, name, vec![ints("perm", order)]);
            }
            Op::Flatten => self.emit("Flatten", &from, name, vec![int("axis", 1)]),
            Op::Reshape { shape } => {
                // 0 keeps the batch axis as it is.
                let shape: Vec<i64> =
                    std::iter::once(0).chain(shape.iter().map(|&n| n as i64)).collect();
                let shape = self.integers(name, "shape", &shape);
                self.emit("Reshape", &[from[0], &shape], name, Vec::new());
            }
            Op::Slice { axis, start, length } => {
                let operands = [
                    from[0].to_string(),
                    self.integers(name, "starts", &[*start as i64]),
                    self.integers(name, "ends", &[(start + length) as i64]),
                    self.integers(name, "axes", &[*axis as i64 + 1]),
                ];
                let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
                self.emit("Slice", &operands, name, Vec::new());
            }
            Op::RepeatChannels { count } => {
                let shape = self.integers(name, "shape", &[1, *count as i64, 1, 1]);
                self.emit("Expand", &[from[0], &shape], name, Vec::new());
            }
        }
    }

    fn dense(&mut self, name: &str, from: &str, shape: &[usize], out: usize, bias: bool) {
        if shape.len() == 1 {
            let weight = self.weight(name, "weight");
            let bias = bias.then(|| self.weight(name, "bias"));
            let operands: Vec<&str> = [from, &weight].into_iter().chain(bias.as_deref()).collect();
            self.emit("Gemm", &operands, name, vec![int("transB", 1)]);
            return;
        }
        let depth = shape[shape.len() - 1];
        let weight = self.values(name, "weight");
        let transposed: Vec<f32> =
            (0..out * depth).map(|i| weight[i % out * depth + i / out]).collect();
        let weight = self.floats(name, "weight", &[depth, out], &transposed);
        if bias {
            let bias = self.weight(name, "bias");
            let product = self.step(name, "MatMul", &[from, &weight], Vec::new());
            self.emit("Add", &[&product, &bias], name, Vec::new());
        } else {
            self.emit("MatMul", &[from, &weight], name, Vec::new());
        }
    }

    /// `order`: which of our gates each of ONNX's is.
    fn recurrent(
        &mut self,
        operator: &str,
        order: &[usize],
        name: &str,
        from: &str,
        hidden: usize,
        sequence: bool,
    ) {
        let gates = order.len();
        let features = self.shapes[from][1];
        let reorder = |values: &[f32], depth: usize| -> Vec<f32> {
            order
                .iter()
                .flat_map(|&g| values[g * hidden * depth..(g + 1) * hidden * depth].to_vec())
                .collect()
        };
        let input = reorder(self.values(name, "weight_ih"), features);
        let state = reorder(self.values(name, "weight_hh"), hidden);
        let mut bias = reorder(self.values(name, "bias_ih"), 1);
        bias.extend(reorder(self.values(name, "bias_hh"), 1));
        let input = self.floats(name, "weight_ih", &[1, gates * hidden, features], &input);
        let state = self.floats(name, "weight_hh", &[1, gates * hidden, hidden], &state);
        let bias = self.floats(name, "bias", &[1, 2 * gates * hidden], &bias);
        let time_first = self.step(name, "Transpose", &[from], vec![ints("perm", [1, 0, 2])]);
        let mut attributes = vec![int("hidden_size", hidden)];
        if operator == "GRU" {
            // The reset gate acts after the product with the state, as in PyTorch.
            attributes.push(int("linear_before_reset", 1));
        }
        let operands = [time_first.as_str(), &input, &state, &bias];
        let result = self.fresh(name, "states");
        if sequence {
            self.emit(operator, &operands, &result, attributes);
            let axes = self.integers(name, "axes", &[1]);
            let squeezed = self.step(name, "Squeeze", &[&result, &axes], Vec::new());
            self.emit("Transpose", &[&squeezed], name, vec![ints("perm", [1, 0, 2])]);
        } else {
            // An empty name leaves out the first result, the states of all steps.
            self.emit_many(operator, &operands, &["", &result], attributes);
            let axes = self.integers(name, "axes", &[0]);
            self.emit("Squeeze", &[&result, &axes], name, Vec::new());
        }
    }
}

fn window(kernel: &[usize; 2], stride: &[usize; 2], padding: &[[usize; 2]; 2]) -> Attributes {
    let [[top, bottom], [left, right]] = *padding;
    vec![
        ints("kernel_shape", *kernel),
        ints("strides", *stride),
        ints("pads", [top, left, bottom, right]),
    ]
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

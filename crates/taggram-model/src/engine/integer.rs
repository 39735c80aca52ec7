//! Steps of the plan that compute on bytes, and which nodes become such steps.
//!
//! A value whose range is known lives as bytes `[height, width, channel]`; a layer that reads
//! bytes and makes a value of unknown range makes floats. Conversions are drafted where a step
//! needs the other form, once for each value.

use super::ops::Step as Operation;
use super::plan::{Draft, Planner, Tail, size};
use crate::kernels::Workspace;
use crate::kernels::int8::image::{self, IntAdd, IntPool};
use crate::kernels::int8::{IntConv, IntShape, Params};
use crate::network::{Activation, Node, Op, PoolKind};

/// A step that reads or makes bytes.
#[derive(Debug)]
pub(super) enum Integer {
    /// Floats to bytes.
    Quantise { channels: usize, positions: usize, params: Params },
    /// Bytes to floats.
    Dequantise { channels: usize, positions: usize, params: Params },
    /// Bytes to bytes.
    Layer(IntConv),
    /// Bytes to floats in the order of channels.
    LastLayer { layer: IntConv, positions: usize },
    /// Two images of bytes to one.
    Add(IntAdd),
    /// Bytes below it become this one.
    AtLeast(u8),
    /// Bytes to bytes of the same scale.
    Pool(IntPool),
    /// Over all positions; bytes to floats.
    Reduce { kind: PoolKind, channels: usize, params: Params },
}

/// An operand.
#[derive(Clone, Copy)]
pub(super) enum Operand<'a> {
    Floats(&'a [f32]),
    /// With [`crate::kernels::int8::conv::SLACK`] bytes after it.
    Bytes(&'a [u8], usize),
}

/// Where the result goes.
pub(super) enum Result<'a> {
    Floats(&'a mut [f32]),
    Bytes(&'a mut [u8]),
}

/// Computes one step for `batch` examples.
pub(super) fn run(
    step: &Integer,
    from: &[Operand],
    batch: usize,
    to: Result,
    space: &mut Workspace,
) {
    let bytes = |i: usize| match from[i] {
        Operand::Bytes(all, len) => &all[..len],
        Operand::Floats(_) => unreachable!("the plan gives this step bytes"),
    };
    match (step, from[0], to) {
        (
            Integer::Quantise { channels, positions, params },
            Operand::Floats(from),
            Result::Bytes(to),
        ) => image::quantise(from, *channels, *positions, *params, to),
        (
            Integer::Dequantise { channels, positions, params },
            Operand::Bytes(from, len),
            Result::Floats(to),
        ) => image::dequantise(&from[..len], *channels, *positions, *params, to),
        (Integer::Layer(layer), Operand::Bytes(from, _), Result::Bytes(to)) => {
            layer.run(from, batch, to, &mut space.int);
        }
        (Integer::LastLayer { layer, positions }, Operand::Bytes(from, _), Result::Floats(to)) => {
            if *positions == 1 {
                layer.run_floats(from, batch, to, &mut space.int);
                return;
            }
            let mut rows = std::mem::take(&mut space.int.floats);
            rows.resize(to.len(), 0.0);
            layer.run_floats(from, batch, &mut rows, &mut space.int);
            image::transpose(&rows, layer.shape().out, *positions, to);
            space.int.floats = rows;
        }
        (Integer::Add(add), _, Result::Bytes(to)) => add.run(bytes(0), bytes(1), to),
        (Integer::AtLeast(low), _, Result::Bytes(to)) => {
            to.copy_from_slice(bytes(0));
            image::at_least(*low, to);
        }
        (Integer::Pool(pool), _, Result::Bytes(to)) => pool.run(bytes(0), to),
        (Integer::Reduce { kind, channels, params }, _, Result::Floats(to)) => {
            image::reduce(*kind, bytes(0), *channels, *params, to);
        }
        _ => unreachable!("the plan gives each step the operands that it takes"),
    }
}

/// Channels and positions of an image or of rows of values.
fn extent(shape: &[usize]) -> [usize; 2] {
    match shape {
        [c, rest @ ..] if shape.len() == 3 => [*c, size(rest)],
        _ => [size(shape), 1],
    }
}

impl<'a> Planner<'a> {
    /// The value of `name` as floats, converted if it lies in bytes only.
    pub(super) fn float(&mut self, name: &'a str) -> usize {
        if let Some(&value) = self.values.get(name) {
            return value;
        }
        let (bytes, params) = self.bytes[name];
        let shape = &self.shapes[name];
        let [channels, positions] = extent(shape);
        let op = Integer::Dequantise { channels, positions, params };
        let value = self.add_draft(op, vec![(bytes, size(shape))], size(shape), false);
        self.values.insert(name, value);
        value
    }

    /// The value of `name` as bytes, converted if it lies in floats only; `None` without a range.
    fn quantised(&mut self, name: &'a str) -> Option<(usize, Params)> {
        if let Some(&found) = self.bytes.get(name) {
            return Some(found);
        }
        let params = self.quantisation?.params(name)?;
        let shape = &self.shapes[name];
        let [channels, positions] = extent(shape);
        let from = self.values[name];
        let op = Integer::Quantise { channels, positions, params };
        let value = self.add_draft(op, vec![(from, size(shape))], size(shape), true);
        self.bytes.insert(name, (value, params));
        Some((value, params))
    }

    /// Whether `name` is in bytes or can be.
    fn has_bytes(&self, name: &str) -> bool {
        self.bytes.contains_key(name) || self.quantisation.is_some_and(|q| q.params(name).is_some())
    }

    fn add_draft(
        &mut self,
        op: Integer,
        from: Vec<(usize, usize)>,
        len: usize,
        bytes: bool,
    ) -> usize {
        let value = self.count;
        self.count += 1;
        self.drafts.push(Draft { op: Operation::Integer(op), from, value, len, bytes });
        value
    }

    /// Drafts `node` in integers; `false` when it has to be done in floats.
    pub(super) fn draft_integer(&mut self, node: &'a Node) -> bool {
        if self.quantisation.is_none() || !node.from.iter().all(|name| self.has_bytes(name)) {
            return false;
        }
        let from: Vec<&[usize]> = node.from.iter().map(|n| self.shapes[n].as_slice()).collect();
        let to = self.shapes[&node.name].as_slice();
        match &node.op {
            Op::Dropout { .. } | Op::Flatten | Op::Reshape { .. } => {
                // Another name for the same bytes, unless channels would have to be reordered.
                let kept = from[0] == to || [from[0], to].iter().all(|s| in_order(s));
                let Some(&found) = self.bytes.get(node.from[0].as_str()).filter(|_| kept) else {
                    return false;
                };
                self.bytes.insert(&node.name, found);
                true
            }
            Op::Conv2d { out, kernel, stride, padding, bias, groups: 1 } => {
                let shape = IntShape {
                    channels: from[0][0],
                    size: [from[0][1], from[0][2]],
                    out: *out,
                    kernel: *kernel,
                    stride: *stride,
                    padding: *padding,
                };
                self.layer(node, shape, *bias)
            }
            Op::Dense { out, bias } if from[0].len() == 1 => {
                let shape = IntShape {
                    channels: from[0][0],
                    size: [1, 1],
                    out: *out,
                    kernel: [1, 1],
                    stride: [1, 1],
                    padding: [[0; 2]; 2],
                };
                self.layer(node, shape, *bias)
            }
            Op::Add if from.len() == 2 => self.add(node),
            Op::Activation(Activation::Relu) if self.bytes.contains_key(node.from[0].as_str()) => {
                let Some((value, params)) = self.quantised(&node.from[0]) else { return false };
                let op = Integer::AtLeast(params.zero);
                let value = self.add_draft(op, vec![(value, size(to))], size(to), true);
                self.bytes.insert(&node.name, (value, params));
                true
            }
            Op::Pool { kind, kernel, stride, padding } => {
                let Some((value, params)) = self.quantised(&node.from[0]) else { return false };
                let pool = IntPool {
                    kind: *kind,
                    channels: from[0][0],
                    size: [from[0][1], from[0][2]],
                    out: [to[1], to[2]],
                    kernel: *kernel,
                    stride: *stride,
                    padding: *padding,
                };
                let op = Integer::Pool(pool);
                let value = self.add_draft(op, vec![(value, size(from[0]))], size(to), true);
                self.bytes.insert(&node.name, (value, params));
                true
            }
            Op::Reduce { kind, axes } if from[0].len() == 3 && axes[..] == [1, 2] => {
                let Some((value, params)) = self.quantised(&node.from[0]) else { return false };
                let op = Integer::Reduce { kind: *kind, channels: from[0][0], params };
                let value = self.add_draft(op, vec![(value, size(from[0]))], size(to), false);
                self.values.insert(&node.name, value);
                true
            }
            _ => false,
        }
    }

    fn layer(&mut self, node: &'a Node, shape: IntShape, bias: bool) -> bool {
        let axis = self.shapes[&node.name].len().saturating_sub(1);
        let axis = if matches!(node.op, Op::Dense { .. }) { axis } else { 0 };
        let tail = self.tail(node, axis, true);
        let (weight, bias) = self.folded(node, bias, &tail);
        let last = tail.names.last().copied().unwrap_or(&node.name);
        let output = self.quantisation.and_then(|q| q.params(last));
        // Looked at before anything is drafted, so that floats can still be chosen.
        let name = node.from[0].as_str();
        let known = self.bytes.get(name).map(|(_, params)| *params);
        let input = known.or_else(|| self.quantisation.and_then(|q| q.params(name)));
        let relu = tail.activation == Some(Activation::Relu);
        let Some(layer) = IntConv::new(shape, &weight, &bias, relu, [input, output], self.int_isa)
        else {
            return false;
        };
        let Some((from, _)) = self.quantised(name) else { return false };
        let (inputs, positions) =
            (shape.channels * shape.size[0] * shape.size[1], layer.shape().out_size());
        let len = shape.out * positions[0] * positions[1];
        let op = match output {
            Some(_) => Integer::Layer(layer),
            None => Integer::LastLayer { layer, positions: positions[0] * positions[1] },
        };
        let value = self.add_draft(op, vec![(from, inputs)], len, output.is_some());
        self.register(node, tail, value, output);
        true
    }

    fn add(&mut self, node: &'a Node) -> bool {
        let mut tail = Tail::default();
        let relu =
            self.only_reader(&node.name).filter(|n| n.op == Op::Activation(Activation::Relu));
        tail.names.extend(relu.map(|n| n.name.as_str()));
        let last = tail.names.last().copied().unwrap_or(&node.name);
        let Some(output) = self.quantisation.and_then(|q| q.params(last)) else { return false };
        let (Some(x), Some(y)) = (self.quantised(&node.from[0]), self.quantised(&node.from[1]))
        else {
            return false;
        };
        let len = size(&self.shapes[&node.name]);
        let op = Integer::Add(IntAdd::new([x.1, y.1, output], relu.is_some()));
        let value = self.add_draft(op, vec![(x.0, len), (y.0, len)], len, true);
        self.register(node, tail, value, Some(output));
        true
    }

    /// Makes `value` what the node and those absorbed with it stand for.
    fn register(&mut self, node: &'a Node, tail: Tail<'a>, value: usize, bytes: Option<Params>) {
        for name in std::iter::once(node.name.as_str()).chain(tail.names) {
            match bytes {
                Some(params) => {
                    self.bytes.insert(name, (value, params));
                }
                None => {
                    self.values.insert(name, value);
                }
            }
        }
    }
}

/// Whether bytes and floats of this shape lie in the same order.
fn in_order(shape: &[usize]) -> bool {
    let [channels, positions] = extent(shape);
    channels == 1 || positions == 1
}

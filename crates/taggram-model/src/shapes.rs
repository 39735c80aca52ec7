//! What a network means before it runs: the shape of every value, the weights it needs,
//! and what it costs. Networks come from files, so everything is checked here, once, with
//! errors that name the node; engine, trainer and ONNX writer build on the result.

use std::collections::{BTreeMap, HashSet};

use thiserror::Error;

use crate::network::{Network, Node, Op};
use crate::tensor::Weights;

/// Most values that one node may hold per example (1 GiB of `f32`).
pub const MAX_ELEMENTS: usize = 1 << 28;
/// Most weight values of a whole network (4 GiB of `f32`).
pub const MAX_WEIGHTS: usize = 1 << 30;
/// Most multiply-adds or comparisons per example; VGG16 on a 128 × 129 map needs 5 · 10⁹.
pub const MAX_WORK: u64 = 1 << 40;
/// Most nodes and inputs.
pub const MAX_NODES: usize = 10_000;
/// Most axes of a value.
pub const MAX_RANK: usize = 6;

/// A network, or weights for it, that cannot be used. Reads as a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{place}: {message}")]
pub struct NetworkError {
    /// The node, input or weight concerned, e.g. ``node `conv3` ``.
    pub place: String,
    /// What sort of problem it is.
    pub kind: NetworkErrorKind,
    /// What was found and what was needed.
    pub message: String,
}

/// Sorts of [`NetworkError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkErrorKind {
    /// The description, the weights or the input contradict themselves or each other.
    Malformed,
    /// A size beyond the limits of this module.
    OverLimit,
}

impl NetworkError {
    /// A contradiction found at `place`.
    pub(crate) fn malformed(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { place: place.into(), kind: NetworkErrorKind::Malformed, message: message.into() }
    }

    /// A size too large, found at `place`.
    pub(crate) fn over_limit(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { place: place.into(), kind: NetworkErrorKind::OverLimit, message: message.into() }
    }
}

/// One weight tensor that a network needs.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightSpec {
    /// `<node>.<part>`, the key in [`Weights`].
    pub name: String,
    /// Its shape, in the layout given with the operation ([`Op`]).
    pub shape: Vec<usize>,
    /// Whether training changes it by gradient; running statistics are not trainable.
    pub trainable: bool,
    /// How it starts.
    pub init: Init,
}

/// How a weight starts before training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// All 0.
    Zeros,
    /// All 1.
    Ones,
    /// Random, with a spread set by the number of values read and written per unit: the
    /// trainer chooses He (√(2 / `fan_in`)) or Glorot (√(6 / (`fan_in` + `fan_out`)), uniform).
    Fan {
        /// Inputs of each unit.
        fan_in: usize,
        /// Outputs that each input reaches.
        fan_out: usize,
    },
    /// Uniform in ±`bound`.
    Uniform {
        /// Largest absolute value.
        bound: f32,
    },
}

impl Network {
    /// Shape of every input and node, without the batch axis, after checking the whole
    /// description.
    ///
    /// # Errors
    /// The first node that reads something unknown, does not fit the shapes it reads, or
    /// exceeds the limits of this module; an output that does not exist; a name used twice.
    pub fn shapes(&self) -> Result<BTreeMap<String, Vec<usize>>, NetworkError> {
        Ok(self.inspect()?.shapes)
    }

    /// Every weight the network needs, in the order of the nodes.
    ///
    /// # Errors
    /// As [`Network::shapes`].
    pub fn weight_specs(&self) -> Result<Vec<WeightSpec>, NetworkError> {
        Ok(self.inspect()?.weights)
    }

    /// Number of trainable values; running statistics of batch norms are not counted.
    ///
    /// # Errors
    /// As [`Network::shapes`].
    pub fn parameters(&self) -> Result<usize, NetworkError> {
        let specs = self.weight_specs()?;
        Ok(specs.iter().filter(|s| s.trainable).map(|s| s.shape.iter().product::<usize>()).sum())
    }

    /// Multiply-adds per example of convolutions, dense and recurrent layers.
    ///
    /// # Errors
    /// As [`Network::shapes`].
    pub fn macs(&self) -> Result<u64, NetworkError> {
        Ok(self.inspect()?.macs)
    }

    /// The same network answering with other nodes, without the nodes that these do not
    /// need (auxiliary heads that only training uses). Inputs stay as they are.
    ///
    /// # Errors
    /// A name that is not a node or input.
    pub fn with_outputs(&self, names: &[&str]) -> Result<Network, NetworkError> {
        let known: HashSet<&str> = self
            .inputs
            .iter()
            .map(|i| i.name.as_str())
            .chain(self.nodes.iter().map(|n| n.name.as_str()))
            .collect();
        for name in names {
            if !known.contains(name) {
                return Err(NetworkError::malformed(
                    format!("output `{name}`"),
                    "the network has no node or input of this name",
                ));
            }
        }
        let mut needed: HashSet<&str> = names.iter().copied().collect();
        let mut nodes: Vec<Node> = Vec::new();
        for node in self.nodes.iter().rev() {
            if needed.contains(node.name.as_str()) {
                needed.extend(node.from.iter().map(String::as_str));
                nodes.push(node.clone());
            }
        }
        nodes.reverse();
        Ok(Network {
            inputs: self.inputs.clone(),
            nodes,
            outputs: names.iter().map(|&n| n.into()).collect(),
        })
    }

    /// Checks that `weights` hold every tensor the network needs, in its shape and finite.
    /// Further tensors (of dropped heads) are allowed.
    ///
    /// # Errors
    /// As [`Network::shapes`], or the first weight that is absent, has another shape, or
    /// holds a NaN or an infinity.
    pub fn check_weights(&self, weights: &Weights) -> Result<(), NetworkError> {
        for spec in self.weight_specs()? {
            let place = || format!("weight `{}`", spec.name);
            let Some(tensor) = weights.get(&spec.name) else {
                return Err(NetworkError::malformed(
                    place(),
                    format!("is absent; the network needs it with shape {:?}", spec.shape),
                ));
            };
            if tensor.shape != spec.shape
                || tensor.data.len() != spec.shape.iter().product::<usize>()
            {
                return Err(NetworkError::malformed(
                    place(),
                    format!(
                        "has shape {:?} and {} values; the network needs {:?}",
                        tensor.shape,
                        tensor.data.len(),
                        spec.shape
                    ),
                ));
            }
            if let Some(at) = tensor.data.iter().position(|v| !v.is_finite()) {
                return Err(NetworkError::malformed(
                    place(),
                    format!("value {at} is {}; weights must be finite", tensor.data[at]),
                ));
            }
        }
        Ok(())
    }

    fn inspect(&self) -> Result<Inspection, NetworkError> {
        if self.nodes.len() + self.inputs.len() > MAX_NODES {
            return Err(NetworkError::over_limit(
                "network",
                format!("{} nodes; at most {MAX_NODES} are allowed", self.nodes.len()),
            ));
        }
        if self.inputs.is_empty() || self.outputs.is_empty() {
            return Err(NetworkError::malformed(
                "network",
                "needs at least one input and one output",
            ));
        }
        let mut found = Inspection::default();
        for input in &self.inputs {
            let place = format!("input `{}`", input.name);
            elements(&place, &input.shape)?;
            if found.shapes.insert(input.name.clone(), input.shape.clone()).is_some() {
                return Err(NetworkError::malformed(place, "the name is used twice"));
            }
        }
        for node in &self.nodes {
            let place = format!("node `{}`", node.name);
            let mut from: Vec<&[usize]> = Vec::with_capacity(node.from.len());
            for name in &node.from {
                match found.shapes.get(name) {
                    Some(shape) => from.push(shape),
                    None => {
                        return Err(NetworkError::malformed(
                            place,
                            format!(
                                "reads `{name}`, which is neither an input nor an earlier node"
                            ),
                        ));
                    }
                }
            }
            let site = Site { place: &place, node, from: &from };
            let effect = site.infer()?;
            elements(&place, &effect.shape)?;
            let mut size = 0usize;
            for spec in &effect.weights {
                size = size.saturating_add(elements(&place, &spec.shape)?);
            }
            found.weight_count = found.weight_count.saturating_add(size);
            found.macs = found.macs.saturating_add(effect.macs);
            found.work = found.work.saturating_add(effect.macs.max(effect.work));
            if found.weight_count > MAX_WEIGHTS || found.work > MAX_WORK {
                return Err(NetworkError::over_limit(
                    place,
                    format!(
                        "the network reaches {} weights and {} operations here; at most {MAX_WEIGHTS} and {MAX_WORK} are allowed",
                        found.weight_count, found.work
                    ),
                ));
            }
            if found.shapes.insert(node.name.clone(), effect.shape).is_some() {
                return Err(NetworkError::malformed(place, "the name is used twice"));
            }
            found.weights.extend(effect.weights);
        }
        for name in &self.outputs {
            if !found.shapes.contains_key(name) {
                return Err(NetworkError::malformed(
                    format!("output `{name}`"),
                    "the network has no node or input of this name",
                ));
            }
        }
        Ok(found)
    }
}

#[derive(Default)]
struct Inspection {
    shapes: BTreeMap<String, Vec<usize>>,
    weights: Vec<WeightSpec>,
    weight_count: usize,
    macs: u64,
    work: u64,
}

/// What a node does to the shapes, and needs.
struct Effect {
    shape: Vec<usize>,
    weights: Vec<WeightSpec>,
    macs: u64,
    work: u64,
}

impl Effect {
    fn shape(shape: impl Into<Vec<usize>>) -> Self {
        Self { shape: shape.into(), weights: Vec::new(), macs: 0, work: 0 }
    }
}

struct Site<'a> {
    place: &'a str,
    node: &'a Node,
    from: &'a [&'a [usize]],
}

impl Site<'_> {
    fn err<T>(&self, message: impl Into<String>) -> Result<T, NetworkError> {
        Err(NetworkError::malformed(self.place, message))
    }

    /// The only input's shape.
    fn one(&self) -> Result<&[usize], NetworkError> {
        match self.from {
            [only] => Ok(only),
            _ => self.err(format!("reads {} values; this operation takes one", self.from.len())),
        }
    }

    /// The only input's shape, which must have `N` axes.
    fn axes<const N: usize>(&self, names: &str) -> Result<[usize; N], NetworkError> {
        let shape = self.one()?;
        match shape.try_into() {
            Ok(axes) => Ok(axes),
            Err(_) => self.err(format!("reads shape {shape:?}; this operation needs {names}")),
        }
    }

    fn several(&self, least: usize) -> Result<&[usize], NetworkError> {
        if self.from.len() < least {
            return self.err(format!(
                "reads {} values; this operation takes at least {least}",
                self.from.len()
            ));
        }
        Ok(self.from[0])
    }

    fn spec(&self, part: &str, shape: &[usize], trainable: bool, init: Init) -> WeightSpec {
        WeightSpec {
            name: format!("{}.{part}", self.node.name),
            shape: shape.to_vec(),
            trainable,
            init,
        }
    }

    fn infer(&self) -> Result<Effect, NetworkError> {
        match &self.node.op {
            Op::Conv2d { out, kernel, stride, padding, bias, groups } => {
                let [channels, h, w] = self.axes("[channel, height, width]")?;
                let (out, groups) = (*out, *groups);
                if out == 0 || groups == 0 || channels % groups != 0 || out % groups != 0 {
                    return self.err(format!(
                        "{out} filters over {channels} channels do not split into {groups} groups"
                    ));
                }
                let size = self.window([h, w], *kernel, *stride, *padding)?;
                elements(
                    self.place,
                    &[
                        channels,
                        h + padding[0][0] + padding[0][1],
                        w + padding[1][0] + padding[1][1],
                    ],
                )?;
                let window = elements(self.place, kernel)?;
                let weight = [out, channels / groups, kernel[0], kernel[1]];
                let fan_in = elements(self.place, &weight[1..])?;
                let init = Init::Fan { fan_in, fan_out: (out / groups).saturating_mul(window) };
                let mut weights = vec![self.spec("weight", &weight, true, init)];
                if *bias {
                    weights.push(self.spec("bias", &[out], true, Init::Zeros));
                }
                let shape = vec![out, size[0], size[1]];
                let macs = product(&shape).saturating_mul(fan_in as u64);
                Ok(Effect { shape, weights, macs, work: 0 })
            }
            Op::BatchNorm { axis, eps } => {
                let shape = self.one()?;
                if *axis >= shape.len() {
                    return self.err(format!("normalises axis {axis} of shape {shape:?}"));
                }
                if !(eps.is_finite() && *eps > 0.0) {
                    return self.err(format!("eps is {eps}; it must be above 0"));
                }
                let size = [shape[*axis]];
                Ok(Effect {
                    weights: vec![
                        self.spec("weight", &size, true, Init::Ones),
                        self.spec("bias", &size, true, Init::Zeros),
                        self.spec("running_mean", &size, false, Init::Zeros),
                        self.spec("running_var", &size, false, Init::Ones),
                    ],
                    ..Effect::shape(shape)
                })
            }
            Op::Activation(_) => {
                let shape = self.one()?;
                if shape.is_empty() {
                    return self
                        .err("reads a value without axes; a function needs at least one axis");
                }
                Ok(Effect::shape(shape))
            }
            Op::Pool { kernel, stride, padding, .. } => {
                let [channels, h, w] = self.axes("[channel, height, width]")?;
                for (k, pad) in kernel.iter().zip(padding) {
                    if pad.iter().any(|p| p >= k) {
                        return self.err(format!(
                            "padding {padding:?} is not smaller than the kernel {kernel:?}: a window would hold nothing"
                        ));
                    }
                }
                let size = self.window([h, w], *kernel, *stride, *padding)?;
                let shape = vec![channels, size[0], size[1]];
                let work = product(&shape).saturating_mul(product(kernel));
                Ok(Effect { work, ..Effect::shape(shape) })
            }
            Op::Reduce { axes, .. } => {
                let shape = self.one()?;
                let distinct: HashSet<usize> = axes.iter().copied().collect();
                if axes.is_empty()
                    || distinct.len() != axes.len()
                    || axes.iter().any(|&a| a >= shape.len())
                {
                    return self.err(format!("reduces axes {axes:?} of shape {shape:?}"));
                }
                if axes.len() == shape.len() {
                    return self
                        .err(format!("reduces every axis of shape {shape:?}; one must remain"));
                }
                let kept = shape
                    .iter()
                    .enumerate()
                    .filter(|(a, _)| !distinct.contains(a))
                    .map(|(_, &n)| n);
                Ok(Effect::shape(kept.collect::<Vec<_>>()))
            }
            Op::Dense { out, bias } => {
                let shape = self.one()?;
                let Some((&last, rest)) = shape.split_last() else {
                    return self.err("reads a value without axes");
                };
                let mut weights = vec![self.spec(
                    "weight",
                    &[*out, last],
                    true,
                    Init::Fan { fan_in: last, fan_out: *out },
                )];
                if *bias {
                    weights.push(self.spec("bias", &[*out], true, Init::Zeros));
                }
                let shape = [rest, &[*out]].concat();
                let macs = product(&shape).saturating_mul(last as u64);
                Ok(Effect { shape, weights, macs, work: 0 })
            }
            Op::Dropout { p } => {
                if !(0.0..1.0).contains(p) {
                    return self.err(format!(
                        "drops with probability {p}; it must be at least 0 and below 1"
                    ));
                }
                Ok(Effect::shape(self.one()?))
            }
            Op::Gru { hidden, sequence } => self.recurrent(3, *hidden, *sequence),
            Op::Lstm { hidden, sequence } => self.recurrent(4, *hidden, *sequence),
            Op::Add => {
                let first = self.several(2)?;
                if self.from.iter().any(|&s| s != first) {
                    return self.err(format!("adds shapes {:?}; they must be equal", self.from));
                }
                Ok(Effect::shape(first))
            }
            Op::Mul => {
                let first = self.several(2)?;
                if self.from[1..].iter().any(|&s| s != first && !scales_channels(s, first)) {
                    return self.err(format!(
                        "multiplies shapes {:?}; each must equal the first or be its [channel] or [channel, 1, 1]",
                        self.from
                    ));
                }
                Ok(Effect::shape(first))
            }
            Op::Concat { axis } => {
                let mut shape = self.several(1)?.to_vec();
                let fits = |s: &[usize]| {
                    s.len() == shape.len()
                        && s.iter().zip(&shape).enumerate().all(|(i, (a, b))| i == *axis || a == b)
                };
                if *axis >= shape.len() || !self.from.iter().all(|s| fits(s)) {
                    return self.err(format!("joins shapes {:?} along axis {axis}", self.from));
                }
                shape[*axis] = self.from.iter().fold(0, |sum, s| sum.saturating_add(s[*axis]));
                Ok(Effect::shape(shape))
            }
            Op::Stack => {
                let first = self.several(1)?;
                if self.from.iter().any(|&s| s != first) {
                    return self.err(format!("stacks shapes {:?}; they must be equal", self.from));
                }
                Ok(Effect::shape([first, &[self.from.len()]].concat()))
            }
            Op::Permute { order } => {
                let shape = self.one()?;
                let distinct: HashSet<usize> = order.iter().copied().collect();
                if order.len() != shape.len()
                    || distinct.len() != order.len()
                    || order.iter().any(|&a| a >= shape.len())
                {
                    return self.err(format!("orders the axes of shape {shape:?} as {order:?}"));
                }
                Ok(Effect::shape(order.iter().map(|&a| shape[a]).collect::<Vec<_>>()))
            }
            Op::Flatten => Ok(Effect::shape([elements(self.place, self.one()?)?])),
            Op::Reshape { shape } => {
                let from = self.one()?;
                if elements(self.place, shape)? != elements(self.place, from)? {
                    return self.err(format!(
                        "reshapes {from:?} to {shape:?}, which holds another number of values"
                    ));
                }
                Ok(Effect::shape(shape.as_slice()))
            }
            Op::Slice { axis, start, length } => {
                let mut shape = self.one()?.to_vec();
                let end = start.checked_add(*length);
                match shape.get_mut(*axis) {
                    Some(size) if *length > 0 && end.is_some_and(|end| end <= *size) => {
                        *size = *length;
                        Ok(Effect::shape(shape))
                    }
                    _ => self.err(format!(
                        "takes {length} places from {start} on along axis {axis} of shape {shape:?}"
                    )),
                }
            }
            Op::RepeatChannels { count } => {
                let [channels, h, w] = self.axes("[1, height, width]")?;
                if channels != 1 {
                    return self.err(format!("repeats one channel, but reads {channels}"));
                }
                Ok(Effect::shape([*count, h, w]))
            }
        }
    }

    /// Output height and width of a sliding window.
    fn window(
        &self,
        size: [usize; 2],
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: [[usize; 2]; 2],
    ) -> Result<[usize; 2], NetworkError> {
        let mut out = [0; 2];
        for axis in 0..2 {
            let padded = padding[axis]
                .iter()
                .try_fold(size[axis], |sum, &p| sum.checked_add(p))
                .filter(|&n| n <= MAX_ELEMENTS);
            match padded {
                Some(n) if kernel[axis] > 0 && stride[axis] > 0 && kernel[axis] <= n => {
                    out[axis] = (n - kernel[axis]) / stride[axis] + 1;
                }
                _ => {
                    return self.err(format!(
                        "a window of {kernel:?} every {stride:?} does not fit height and width {size:?} padded by {padding:?}"
                    ));
                }
            }
        }
        Ok(out)
    }

    fn recurrent(
        &self,
        gates: usize,
        hidden: usize,
        sequence: bool,
    ) -> Result<Effect, NetworkError> {
        let [time, features] = self.axes("[time, feature]")?;
        let Some(rows) = hidden.checked_mul(gates).filter(|&r| r > 0 && r <= MAX_ELEMENTS) else {
            return self.err(format!("a state of {hidden} values is not possible"));
        };
        let init = Init::Uniform { bound: 1.0 / (hidden as f32).sqrt() };
        Ok(Effect {
            shape: if sequence { vec![time, hidden] } else { vec![hidden] },
            weights: vec![
                self.spec("weight_ih", &[rows, features], true, init),
                self.spec("weight_hh", &[rows, hidden], true, init),
                self.spec("bias_ih", &[rows], true, init),
                self.spec("bias_hh", &[rows], true, init),
            ],
            macs: product(&[time, rows, features.saturating_add(hidden)]),
            work: 0,
        })
    }
}

/// Whether `s` is one factor per channel of `first`: `[c]` or `[c, 1, …]`.
pub(crate) fn scales_channels(s: &[usize], first: &[usize]) -> bool {
    !s.is_empty()
        && !first.is_empty()
        && s[0] == first[0]
        && s[1..].iter().all(|&n| n == 1)
        && (s.len() == 1 || s.len() == first.len())
}

/// Number of values of `shape`, within [`MAX_ELEMENTS`] and none of its axes empty.
fn elements(place: &str, shape: &[usize]) -> Result<usize, NetworkError> {
    if shape.is_empty() || shape.contains(&0) {
        return Err(NetworkError::malformed(place, format!("shape {shape:?} holds nothing")));
    }
    let size =
        shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|&n| n <= MAX_ELEMENTS);
    match size {
        Some(size) if shape.len() <= MAX_RANK => Ok(size),
        _ => Err(NetworkError::over_limit(
            place,
            format!("shape {shape:?} exceeds {MAX_ELEMENTS} values or {MAX_RANK} axes"),
        )),
    }
}

fn product(shape: &[usize]) -> u64 {
    shape.iter().fold(1u64, |n, &d| n.saturating_mul(d as u64))
}

#[cfg(test)]
#[path = "shapes_tests.rs"]
mod tests;

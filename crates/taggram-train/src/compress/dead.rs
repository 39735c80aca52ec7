//! Dead filters taken out: the network computes what it did, without data or tuning.
//!
//! Weight decay shrinks a filter that nothing depends on until its kernel is 0 but for a hair. What it
//! makes is then a constant, whatever comes in: its bias, through the activations and norms after it. So
//! it can go, if everything that reads it adds the constant's share to its own bias.
//!
//! Each value of the graph is followed by its *places*: the positions along the one axis that the
//! filters of a layer lie on, each with its filter and the constant that it holds if that filter is
//! dead. Norms and functions change the constants, permutations and reshapes move the axis, sums unite
//! filters (they go together or not at all), layers end the places and read the constants. Where the
//! axis is lost, or a value is read by name, filters stay. That may keep others in turn, so the graph is walked
//! until nothing changes.
//!
//! **Constants beside padding.** A layer that pads its input with zeros reads, at the edges, 0 where the
//! filter would have been read outside of the map, and not the filter's constant. A bias is the
//! same everywhere, so what is folded is exact within the map, and too much at the edges by what the taps on
//! the padding would have added. Therefore a filter whose constant is read beside padding goes only if
//! all of its taps together, each with its sign taken off, add at most [`EDGE`] to every filter that reads
//! it, and stays otherwise. musicnn's first middle layer pads time: the constants that it reads are around
//! 1e-6.

use std::collections::BTreeMap;
use std::ops::Range;

use taggram_model::{Activation, Network, NetworkError, Node, Op, Tensor, Weights};

use super::surgery::select;

/// The most that a constant may add to a sum beside padding and yet be folded into a bias.
const EDGE: f64 = 1e-5;

/// A layer that had dead filters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Its name.
    pub name: String,
    /// Its filters or units.
    pub filters: usize,
    /// Those of them that are dead.
    pub dead: usize,
    /// Those of the dead that were taken out.
    pub taken: usize,
}

/// A place along the axis of the filters.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Place {
    /// Its filter among all of the network; none where it is no filter's.
    filter: Option<usize>,
    /// What it holds if that filter is dead.
    constant: f64,
}

/// A value's places and the axis that they lie on; `None` where filters cannot be told apart any more.
type Value = Option<(usize, Vec<Place>)>;

/// One walk through the graph.
struct Walk<'a> {
    weights: &'a Weights,
    shapes: &'a BTreeMap<String, Vec<usize>>,
    /// What each filter was united with, and whether all that were may go.
    parent: Vec<usize>,
    dead: Vec<bool>,
    values: BTreeMap<String, Value>,
    /// What each layer's biases gain.
    gains: BTreeMap<String, Vec<f64>>,
}

/// Takes the filters and units out of `network` whose norm is at most `below` times the largest of
/// their layer, as far as the graph allows, and says what was found. What the last layer before the
/// answer reads keeps its width: songs are compared by it.
///
/// # Errors
/// As [`Network::check_weights`].
pub fn take_out(
    network: &Network,
    weights: &Weights,
    below: f32,
) -> Result<(Network, Weights, Vec<Layer>), NetworkError> {
    network.check_weights(weights)?;
    let shapes = network.shapes()?;
    // The numbers of each layer's filters among all, and which are dead.
    let mut numbers: Vec<(&str, Range<usize>)> = Vec::new();
    let mut found: Vec<bool> = Vec::new();
    for node in network.nodes.iter().filter(|n| is_source(n)) {
        let first = found.len();
        found.extend(dead_filters(&weights[&format!("{}.weight", node.name)], below));
        numbers.push((&node.name, first..found.len()));
    }
    let first = numbers.iter().map(|(name, range)| (*name, range.start)).collect();
    let mut dead = found.clone();
    let walk = loop {
        let mut walk = Walk {
            weights,
            shapes: &shapes,
            parent: (0..dead.len()).collect(),
            dead: dead.clone(),
            values: BTreeMap::new(),
            gains: BTreeMap::new(),
        };
        walk.run(network, &first);
        let left: Vec<bool> = (0..dead.len()).map(|f| walk.goes(f)).collect();
        if left == dead {
            break walk;
        }
        dead = left;
    };
    let (small, values) = walk.cut(network)?;
    let layers = numbers
        .into_iter()
        .map(|(name, range)| {
            let count = |of: &[bool]| of[range.clone()].iter().filter(|d| **d).count();
            Layer {
                name: name.into(),
                filters: range.len(),
                dead: count(&found),
                taken: count(&dead),
            }
        })
        .filter(|layer| layer.dead > 0)
        .collect();
    Ok((small, values, layers))
}

/// Whether filters begin here: convolutions over all channels, and dense layers.
fn is_source(node: &Node) -> bool {
    matches!(node.op, Op::Conv2d { groups: 1, .. } | Op::Dense { .. })
}

/// Which filters are dead. At least one is not.
fn dead_filters(weight: &Tensor, below: f32) -> Vec<bool> {
    let rows = weight.shape[0];
    let norm = |row: &[f32]| row.iter().map(|w| f64::from(*w).powi(2)).sum::<f64>().sqrt();
    let norms: Vec<f64> = weight.data.chunks_exact(weight.len() / rows).map(norm).collect();
    let largest = norms.iter().copied().fold(0.0, f64::max);
    let mut dead: Vec<bool> = norms.iter().map(|n| *n <= f64::from(below) * largest).collect();
    if dead.iter().all(|d| *d) {
        dead[0] = false;
    }
    dead
}

impl Walk<'_> {
    fn root(&self, mut filter: usize) -> usize {
        while self.parent[filter] != filter {
            filter = self.parent[filter];
        }
        filter
    }

    /// Whether a filter may go, by what is known so far.
    fn goes(&self, filter: usize) -> bool {
        self.dead[self.root(filter)]
    }

    fn leaves(&self, place: &Place) -> bool {
        place.filter.is_some_and(|f| self.goes(f))
    }

    fn stay(&mut self, place: &Place) {
        if let Some(filter) = place.filter {
            let root = self.root(filter);
            self.dead[root] = false;
        }
    }

    fn all_stay(&mut self, value: &Value) {
        if let Some((_, places)) = value {
            places.iter().for_each(|place| self.stay(place));
        }
    }

    fn unite(&mut self, a: &Place, b: &Place) {
        match (a.filter, b.filter) {
            (Some(x), Some(y)) => {
                let (x, y) = (self.root(x), self.root(y));
                if x != y {
                    self.parent[y] = x;
                    self.dead[x] &= self.dead[y];
                }
            }
            _ => {
                self.stay(a);
                self.stay(b);
            }
        }
    }

    fn part(&self, node: &str, part: &str) -> Option<&[f32]> {
        self.weights.get(&format!("{node}.{part}")).map(|t| t.data.as_slice())
    }

    fn run(&mut self, network: &Network, first: &BTreeMap<&str, usize>) {
        for input in &network.inputs {
            self.values.insert(input.name.clone(), None);
        }
        for node in &network.nodes {
            let value = self.value(node, first.get(node.name.as_str()).copied());
            self.values.insert(node.name.clone(), value);
        }
        let penultimate = network.penultimate();
        for name in network.outputs.iter().map(String::as_str).chain(penultimate) {
            if let Some(value) = self.values.get(name).cloned() {
                self.all_stay(&value);
            }
        }
    }

    /// The places of what a node makes. `first` is the number of its first filter, if it has any.
    fn value(&mut self, node: &Node, first: Option<usize>) -> Value {
        let from: Vec<Value> = node.from.iter().map(|f| self.values[f].clone()).collect();
        let before = self.shapes[&node.from[0]].clone();
        let after = self.shapes[&node.name].clone();
        let known = self.follow(node, &from, &before, &after, first);
        if known.is_none()
            && !is_source(node)
            && !matches!(node.op, Op::Gru { .. } | Op::Lstm { .. })
        {
            from.iter().for_each(|value| self.all_stay(value));
        }
        known
    }

    /// As [`Self::value`]; `None` where the axis of the filters is lost.
    fn follow(
        &mut self,
        node: &Node,
        from: &[Value],
        before: &[usize],
        after: &[usize],
        first: Option<usize>,
    ) -> Value {
        if let Some(first) = first {
            let axis = if matches!(node.op, Op::Dense { .. }) { after.len() - 1 } else { 0 };
            self.read(node, &from[0], before);
            let bias = self.part(&node.name, "bias").map(<[f32]>::to_vec);
            let gain = self.gains.get(&node.name);
            let places = (0..after[axis]).map(|i| Place {
                filter: Some(first + i),
                constant: bias.as_ref().map_or(0.0, |b| f64::from(b[i]))
                    + gain.map_or(0.0, |g| g[i]),
            });
            return Some((axis, places.collect()));
        }
        if let Op::Gru { .. } | Op::Lstm { .. } = node.op {
            self.read(node, &from[0], before);
            return None;
        }
        let Some((axis, mut places)) = from[0].clone() else {
            return match &node.op {
                Op::Concat { axis } => self.concat(*axis, node, from),
                _ => None,
            };
        };
        match &node.op {
            Op::Conv2d { out, groups, padding, .. } if groups == out && before[0] == *out => {
                // One filter a channel: the channel's constant goes through it.
                if axis != 0 {
                    return None;
                }
                let weight = self.part(&node.name, "weight")?.to_vec();
                let bias = self.part(&node.name, "bias").map(<[f32]>::to_vec);
                let padded = padding.as_flattened().iter().any(|p| *p > 0);
                let taps = weight.len() / places.len();
                for (i, place) in places.iter_mut().enumerate() {
                    let taps = &weight[i * taps..][..taps];
                    if padded && place.constant.abs() * sum(taps, f32::abs) > EDGE {
                        self.stay(place);
                    }
                    place.constant = place.constant * sum(taps, |w| w)
                        + bias.as_ref().map_or(0.0, |b| f64::from(b[i]));
                }
                Some((axis, places))
            }
            Op::BatchNorm { axis: along, eps } => {
                // Along another axis it would make many constants of one.
                if *along != axis {
                    return None;
                }
                let part = |part: &str| self.part(&node.name, part);
                let (weight, bias) = (part("weight")?, part("bias")?);
                let (mean, var) = (part("running_mean")?, part("running_var")?);
                for (i, place) in places.iter_mut().enumerate() {
                    let scale = f64::from(weight[i]) / f64::from(var[i] + eps).sqrt();
                    place.constant =
                        (place.constant - f64::from(mean[i])) * scale + f64::from(bias[i]);
                }
                Some((axis, places))
            }
            Op::Activation(Activation::Softmax) => None,
            Op::Activation(function) => {
                places.iter_mut().for_each(|p| p.constant = apply(*function, p.constant));
                Some((axis, places))
            }
            // Padding counts as minus infinity or as absent: a constant's maximum and mean are itself.
            Op::Pool { .. } => (axis == 0).then_some((axis, places)),
            Op::Dropout { .. } => Some((axis, places)),
            Op::Reduce { axes, .. } if !axes.contains(&axis) => {
                Some((axis - axes.iter().filter(|a| **a < axis).count(), places))
            }
            Op::Add => {
                for other in &from[1..] {
                    match other {
                        Some((a, others)) if *a == axis && others.len() == places.len() => {
                            for (place, other) in places.iter_mut().zip(others) {
                                self.unite(place, other);
                                place.constant += other.constant;
                            }
                        }
                        _ => return None,
                    }
                }
                Some((axis, places))
            }
            Op::Concat { axis: along } => self.concat(*along, node, from),
            // Side by side in a new last axis: of the same filters, with the same constants.
            Op::Stack => {
                let same = |value: &Value| value.as_ref() == Some(&(axis, places.clone()));
                from.iter().all(same).then_some((axis, places))
            }
            Op::Permute { order } => Some((order.iter().position(|a| *a == axis)?, places)),
            Op::Flatten => Some((0, repeated(&places, axis, before))),
            Op::Reshape { shape } if shape.len() == 1 => Some((0, repeated(&places, axis, before))),
            Op::Reshape { shape } => {
                let inner =
                    |shape: &[usize], axis: usize| shape[axis + 1..].iter().product::<usize>();
                let to = (0..shape.len()).find(|&to| {
                    shape[to] == before[axis] && inner(shape, to) == inner(before, axis)
                })?;
                Some((to, places))
            }
            Op::Slice { axis: along, start, length } => {
                if *along != axis {
                    return Some((axis, places));
                }
                let slice = &places[*start..start + length];
                // Something has to be left.
                if slice.iter().all(|p| self.leaves(p)) {
                    return None;
                }
                Some((axis, slice.to_vec()))
            }
            Op::RepeatChannels { .. } => (axis != 0).then_some((axis, places)),
            _ => None,
        }
    }

    /// Places one after the other; of what has none, or along another axis, all stay.
    fn concat(&mut self, along: usize, node: &Node, from: &[Value]) -> Value {
        let mut all = Vec::new();
        for (value, name) in from.iter().zip(&node.from) {
            match value {
                Some((axis, places)) if *axis == along => all.extend_from_slice(places),
                _ => {
                    self.all_stay(value);
                    let count = self.shapes[name][along];
                    all.extend(std::iter::repeat_n(Place { filter: None, constant: 0.0 }, count));
                }
            }
        }
        Some((along, all))
    }

    /// A layer reads places: it gains what their constants add to its sums. Those that it cannot do without
    /// stay.
    fn read(&mut self, node: &Node, value: &Value, shape: &[usize]) {
        let Some((axis, places)) = value else { return };
        let Some((part, along, padded)) = reads_along(node, *axis, shape) else {
            self.all_stay(value);
            return;
        };
        let Some(weight) = self.weights.get(&format!("{}.{part}", node.name)) else { return };
        let inner: usize = weight.shape[along + 1..].iter().product();
        let (rows, length) = (weight.shape[0], weight.shape[along]);
        let per_row = weight.len() / rows;
        let mut gains = vec![0.0; rows];
        for (i, place) in places.iter().enumerate() {
            if place.constant == 0.0 || !self.leaves(place) {
                continue;
            }
            let of_row = |row: usize, map: fn(f32) -> f32| -> f64 {
                let row = &weight.data[row * per_row..][..per_row];
                row.chunks_exact(length * inner)
                    .map(|block| sum(&block[i * inner..][..inner], map))
                    .sum()
            };
            let most = |map| (0..rows).map(|row| of_row(row, map)).fold(0.0, f64::max);
            if padded && place.constant.abs() * most(f32::abs) > EDGE {
                self.stay(place);
                continue;
            }
            for (row, gain) in gains.iter_mut().enumerate() {
                *gain += place.constant * of_row(row, |w| w);
            }
        }
        if gains.iter().any(|gain| *gain != 0.0) {
            self.gains.insert(node.name.clone(), gains);
        }
    }

    /// The network without the filters that go, once nothing changes any more.
    fn cut(&self, network: &Network) -> Result<(Network, Weights), NetworkError> {
        let mut small = network.clone();
        let mut values = self.weights.clone();
        for node in &mut small.nodes {
            let kept = |name: &str| -> Option<(usize, Vec<bool>)> {
                let (axis, places) = self.values[name].as_ref()?;
                Some((*axis, places.iter().map(|p| !self.leaves(p)).collect()))
            };
            let count = |keep: &[bool]| keep.iter().filter(|k| **k).count();
            let shrink = |values: &mut Weights, part: &str, axis: usize, keep: &[bool]| {
                if let Some(tensor) = values.get_mut(&format!("{}.{part}", node.name)) {
                    *tensor = select(tensor, axis, keep);
                }
            };
            let read = kept(&node.from[0]).and_then(|(axis, keep)| {
                let (part, along, _) = reads_along(node, axis, &self.shapes[&node.from[0]])?;
                Some((part, along, axis, keep))
            });
            let made = kept(&node.name);
            if let Some(gains) = self.gains.get(&node.name) {
                let recurrent = matches!(node.op, Op::Gru { .. } | Op::Lstm { .. });
                let bias = format!("{}.{}", node.name, if recurrent { "bias_ih" } else { "bias" });
                let old = values.get(&bias).map(|t| t.data.clone());
                let sum = |(i, gain): (usize, &f64)| {
                    (old.as_ref().map_or(0.0, |b| f64::from(b[i])) + gain) as f32
                };
                let new = gains.iter().enumerate().map(sum).collect();
                values.insert(bias, Tensor::new([gains.len()], new));
                if let Op::Conv2d { bias, .. } | Op::Dense { bias, .. } = &mut node.op {
                    *bias = true;
                }
            }
            if let Some((part, along, axis, keep)) = &read {
                shrink(&mut values, part, *along, keep);
                if let (Op::Conv2d { kernel, .. }, 1..) = (&mut node.op, *axis) {
                    kernel[axis - 1] = count(keep);
                }
            }
            let Some((axis, keep)) = made else { continue };
            let left = count(&keep);
            match &mut node.op {
                Op::Conv2d { out, groups, .. } => {
                    // Depthwise: as many groups as filters.
                    *groups = if *groups > 1 { left } else { 1 };
                    *out = left;
                }
                Op::Dense { out, .. } => *out = left,
                Op::Reshape { shape } => shape[axis] = left,
                Op::Slice { axis: along, start, length } if *along == axis => {
                    if let Some((_, before)) = kept(&node.from[0]) {
                        *length = left;
                        *start = count(&before[..*start]);
                    }
                    continue;
                }
                Op::BatchNorm { .. } => {}
                _ => continue,
            }
            for part in ["weight", "bias", "running_mean", "running_var"] {
                shrink(&mut values, part, 0, &keep);
            }
        }
        small.check_weights(&values)?;
        Ok((small, values))
    }
}

/// How a layer reads the places along an axis of its input of this shape: the weight whose axis meets them,
/// which axis of it, and whether zeros lie beside the values. `None` where its filters slide along the axis.
fn reads_along(node: &Node, axis: usize, shape: &[usize]) -> Option<(&'static str, usize, bool)> {
    match &node.op {
        Op::Conv2d { groups: 1, kernel, padding, .. } => {
            let padded = |axis: usize| padding[axis].iter().any(|p| *p > 0);
            match axis {
                0 => Some(("weight", 1, padded(0) || padded(1))),
                1 | 2 => {
                    let whole = kernel[axis - 1] == shape[axis] && !padded(axis - 1);
                    whole.then_some(("weight", axis + 1, padded(2 - axis)))
                }
                _ => None,
            }
        }
        Op::Dense { .. } if axis + 1 == shape.len() => Some(("weight", 1, false)),
        Op::Gru { .. } | Op::Lstm { .. } if axis == 1 => Some(("weight_ih", 1, false)),
        _ => None,
    }
}

/// The places of a value of this shape after it was flattened.
fn repeated(places: &[Place], axis: usize, shape: &[usize]) -> Vec<Place> {
    let inner: usize = shape[axis + 1..].iter().product();
    let outer: usize = shape[..axis].iter().product();
    let once: Vec<Place> = places.iter().flat_map(|p| std::iter::repeat_n(*p, inner)).collect();
    once.repeat(outer)
}

fn sum(values: &[f32], map: fn(f32) -> f32) -> f64 {
    values.iter().map(|v| f64::from(map(*v))).sum()
}

fn apply(function: Activation, x: f64) -> f64 {
    let sigmoid = 1.0 / (1.0 + (-x).exp());
    match function {
        Activation::Relu => x.max(0.0),
        Activation::Elu => {
            if x > 0.0 {
                x
            } else {
                x.exp_m1()
            }
        }
        Activation::Silu => x * sigmoid,
        Activation::Sigmoid => sigmoid,
        Activation::Tanh => x.tanh(),
        // Its values depend on each other; the caller stops there.
        Activation::Softmax => x,
    }
}

#[cfg(test)]
#[path = "dead_tests.rs"]
mod tests;

//! Whole filters and units taken out of a network: what is left is an ordinary, smaller network.
//!
//! Values that are added or multiplied have to keep the same channels, and a channel that goes
//! is also gone from everything that reads it, through norms, pools and concatenations. So
//! channels are counted in *groups*: each layer makes one, a sum makes one of two, and every value
//! is a list of groups, one after the other, each channel of which is a run of neighbouring inputs
//! (after a map was flattened). A group that reaches the answer, an input, or an operation that
//! mixes channels otherwise is left whole.

use std::collections::{BTreeMap, BTreeSet};

use taggram_model::{Network, NetworkError, Node, Op, Tensor, Weights};

/// Channels of one group within a value: the group, and how many neighbouring values of the
/// first axis each of its channels is.
type Segment = (usize, usize);

/// The groups of a network.
struct Groups {
    /// What each group was merged into.
    parent: Vec<usize>,
    size: Vec<usize>,
    whole: BTreeSet<usize>,
    /// The channels of every input and node.
    values: BTreeMap<String, Vec<Segment>>,
}

impl Groups {
    fn new_group(&mut self, size: usize, whole: bool) -> usize {
        let id = self.parent.len();
        self.parent.push(id);
        self.size.push(size);
        if whole {
            self.whole.insert(id);
        }
        id
    }

    fn root(&self, mut id: usize) -> usize {
        while self.parent[id] != id {
            id = self.parent[id];
        }
        id
    }

    fn keep_whole(&mut self, segments: &[Segment]) {
        for (id, _) in segments {
            let root = self.root(*id);
            self.whole.insert(root);
        }
    }

    /// Makes the channels of two values the same ones; where they do not correspond, both stay.
    fn join(&mut self, a: &[Segment], b: &[Segment]) {
        let fits = a.len() == b.len()
            && a.iter().zip(b).all(|(a, b)| a.1 == b.1 && self.size[a.0] == self.size[b.0]);
        if !fits {
            self.keep_whole(a);
            self.keep_whole(b);
            return;
        }
        for ((a, _), (b, _)) in a.iter().zip(b) {
            let (a, b) = (self.root(*a), self.root(*b));
            if a != b {
                self.parent[b] = a;
                if self.whole.contains(&b) {
                    self.whole.insert(a);
                }
            }
        }
    }
}

fn groups(network: &Network) -> Result<Groups, NetworkError> {
    let shapes = network.shapes()?;
    let mut g = Groups {
        parent: Vec::new(),
        size: Vec::new(),
        whole: BTreeSet::new(),
        values: BTreeMap::new(),
    };
    for input in &network.inputs {
        let id = g.new_group(input.shape[0], true);
        g.values.insert(input.name.clone(), vec![(id, 1)]);
    }
    for node in &network.nodes {
        let from: Vec<Vec<Segment>> = node.from.iter().map(|f| g.values[f].clone()).collect();
        let (before, after) = (&shapes[&node.from[0]], &shapes[&node.name]);
        let segments = match &node.op {
            Op::Conv2d { out, groups: 1, .. } => vec![(g.new_group(*out, false), 1)],
            Op::Conv2d { out, groups, .. } if *groups == *out && before[0] == *out => {
                // Each filter is one channel's own.
                from[0].clone()
            }
            Op::Dense { out, .. } if before.len() == 1 => vec![(g.new_group(*out, false), 1)],
            Op::Activation(taggram_model::Activation::Softmax)
            | Op::BatchNorm { axis: 1.., .. } => {
                g.keep_whole(&from[0]);
                from[0].clone()
            }
            Op::BatchNorm { .. } | Op::Activation(_) | Op::Pool { .. } | Op::Dropout { .. } => {
                from[0].clone()
            }
            Op::Reduce { axes, .. } if !axes.contains(&0) => from[0].clone(),
            Op::Add | Op::Mul => {
                for other in &from[1..] {
                    g.join(&from[0], other);
                }
                from[0].clone()
            }
            Op::Concat { axis: 0 } => from.concat(),
            Op::Flatten => {
                let inner: usize = before[1..].iter().product();
                from[0].iter().map(|(id, run)| (*id, run * inner)).collect()
            }
            _ => {
                for segments in &from {
                    g.keep_whole(segments);
                }
                vec![(g.new_group(after[0], true), 1)]
            }
        };
        g.values.insert(node.name.clone(), segments);
    }
    for name in &network.outputs {
        let segments = g.values[name].clone();
        g.keep_whole(&segments);
    }
    Ok(g)
}

/// Takes `share` of the filters (and units) out of each layer, those whose weights are smallest
/// (the norm of a filter with the batch norm after it folded in, over all layers of its group).
/// At least two stay, and their number is even. Gives the smaller network and its weights.
///
/// # Errors
/// As [`Network::check_weights`].
pub fn shrink(
    network: &Network,
    weights: &Weights,
    share: f32,
) -> Result<(Network, Weights), NetworkError> {
    network.check_weights(weights)?;
    let g = groups(network)?;
    let importance = importance(network, weights, &g);
    let mut kept: BTreeMap<usize, Vec<bool>> = BTreeMap::new();
    for id in 0..g.parent.len() {
        let root = g.root(id);
        let size = g.size[root];
        let scores = importance.get(&root);
        let keep = match scores {
            Some(scores) if !g.whole.contains(&root) => {
                let count = (size as f32 * (1.0 - share)).round() as usize;
                let count = count.next_multiple_of(2).clamp(2.min(size), size);
                let mut order: Vec<usize> = (0..size).collect();
                order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
                let mut keep = vec![false; size];
                order[..count].iter().for_each(|i| keep[*i] = true);
                keep
            }
            _ => vec![true; size],
        };
        kept.insert(id, keep);
    }
    // Which places of a value's first axis stay.
    let places = |segments: &[Segment]| -> Vec<bool> {
        segments
            .iter()
            .flat_map(|(id, run)| kept[id].iter().flat_map(|keep| std::iter::repeat_n(*keep, *run)))
            .collect()
    };
    let mut small = network.clone();
    let mut values = weights.clone();
    for node in &mut small.nodes {
        let out = places(&g.values[&node.name]);
        let count = out.iter().filter(|k| **k).count();
        let cut = |values: &mut Weights, part: &str, axis: usize, keep: &[bool]| {
            if let Some(tensor) = values.get_mut(&format!("{}.{part}", node.name)) {
                *tensor = select(tensor, axis, keep);
            }
        };
        match &mut node.op {
            Op::Conv2d { out: filters, groups, .. } => {
                let depthwise = *groups > 1;
                if depthwise && *groups == *filters {
                    *groups = count;
                }
                if !depthwise || *groups == count {
                    *filters = count;
                    cut(&mut values, "weight", 0, &out);
                    cut(&mut values, "bias", 0, &out);
                    if !depthwise {
                        cut(&mut values, "weight", 1, &places(&g.values[&node.from[0]]));
                    }
                }
            }
            // A dense layer over the last axis of a map keeps its channels, which are whole.
            Op::Dense { out: units, .. }
                if g.values[&node.from[0]]
                    .iter()
                    .map(|(id, run)| g.size[*id] * run)
                    .sum::<usize>()
                    == values[&format!("{}.weight", node.name)].shape[1]
                    && out.len() == *units =>
            {
                *units = count;
                cut(&mut values, "weight", 0, &out);
                cut(&mut values, "bias", 0, &out);
                cut(&mut values, "weight", 1, &places(&g.values[&node.from[0]]));
            }
            Op::BatchNorm { axis: 0, .. } => {
                for part in ["weight", "bias", "running_mean", "running_var"] {
                    cut(&mut values, part, 0, &out);
                }
            }
            _ => {}
        }
    }
    small.check_weights(&values)?;
    Ok((small, values))
}

/// How much each channel of each group matters.
fn importance(network: &Network, weights: &Weights, g: &Groups) -> BTreeMap<usize, Vec<f32>> {
    let mut scores: BTreeMap<usize, Vec<f32>> = BTreeMap::new();
    for node in &network.nodes {
        let layer = matches!(node.op, Op::Conv2d { .. } | Op::Dense { .. });
        let (true, [(id, 1)]) = (layer, g.values[&node.name].as_slice()) else { continue };
        let weight = &weights[&format!("{}.weight", node.name)];
        let rows = weight.shape[0];
        if rows != g.size[*id] {
            continue;
        }
        let factor = norm_factor(network, weights, node);
        let mut norms: Vec<f32> = weight
            .data
            .chunks_exact(weight.data.len() / rows)
            .map(|row| row.iter().map(|w| w * w).sum::<f32>().sqrt())
            .collect();
        if let Some(factor) = factor {
            norms.iter_mut().zip(factor).for_each(|(n, f)| *n *= f.abs());
        }
        // Layers of one group count alike, however large their weights are.
        let mean = (norms.iter().sum::<f32>() / rows as f32).max(f32::MIN_POSITIVE);
        let sums = scores.entry(g.root(*id)).or_insert_with(|| vec![0.0; rows]);
        sums.iter_mut().zip(norms).for_each(|(sum, n)| *sum += n / mean);
    }
    scores
}

/// What the batch norm directly after a layer multiplies its filters by.
fn norm_factor(network: &Network, weights: &Weights, layer: &Node) -> Option<Vec<f32>> {
    let norm = network.nodes.iter().find(|n| {
        matches!(n.op, Op::BatchNorm { axis: 0, .. }) && n.from.first() == Some(&layer.name)
    })?;
    let Op::BatchNorm { eps, .. } = norm.op else { return None };
    let part = |part: &str| &weights[&format!("{}.{part}", norm.name)].data;
    let pairs = part("weight").iter().zip(part("running_var"));
    Some(pairs.map(|(w, var)| w / (var + eps).sqrt()).collect())
}

/// The places of an axis that stay.
pub(super) fn select(tensor: &Tensor, axis: usize, keep: &[bool]) -> Tensor {
    let inner: usize = tensor.shape[axis + 1..].iter().product();
    let mut shape = tensor.shape.clone();
    let length = shape[axis];
    shape[axis] = keep.iter().filter(|k| **k).count();
    let data = tensor
        .data
        .chunks_exact(inner)
        .enumerate()
        .filter(|(i, _)| keep[i % length])
        .flat_map(|(_, values)| values.iter().copied())
        .collect();
    Tensor::new(shape, data)
}

//! Every operation against a slow textbook formula in f64: the forward pass directly, the
//! backward pass against central differences of that formula.

use std::collections::BTreeMap;

use taggram_model::{Activation, Network, NetworkBuilder, Op, PoolKind, Weights};

use super::{Backend, Mode, OutputGradients, Trainable};
use crate::rng::Rng;

/// A value of the textbook network: shape with the batch axis first.
#[derive(Clone)]
struct Value {
    shape: Vec<usize>,
    data: Vec<f64>,
}

impl Value {
    fn zeros(shape: Vec<usize>) -> Self {
        let len = shape.iter().product();
        Self { shape, data: vec![0.0; len] }
    }

    /// Every index of `shape` in order.
    fn indices(shape: &[usize]) -> Vec<Vec<usize>> {
        let mut all = vec![Vec::new()];
        for &n in shape {
            all = all
                .into_iter()
                .flat_map(|i| (0..n).map(move |j| [i.clone(), vec![j]].concat()))
                .collect();
        }
        all
    }

    fn at(&self, index: &[usize]) -> f64 {
        self.data[index.iter().zip(&self.shape).fold(0, |sum, (i, n)| sum * n + i)]
    }

    fn fill(shape: Vec<usize>, value: impl FnMut(Vec<usize>) -> f64) -> Self {
        let data = Self::indices(&shape).into_iter().map(value).collect();
        Self { shape, data }
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// A network computed by formula.
fn textbook(
    network: &Network,
    weights: &BTreeMap<String, Vec<f64>>,
    inputs: &[Value],
    training: bool,
) -> Value {
    let mut values: BTreeMap<&str, Value> = BTreeMap::new();
    network.inputs.iter().zip(inputs).for_each(|(i, v)| {
        values.insert(&i.name, v.clone());
    });
    let shapes = network.shapes().unwrap();
    for node in &network.nodes {
        let x = &values[node.from[0].as_str()];
        let batch = x.shape[0];
        let out: Vec<usize> = [vec![batch], shapes[&node.name].clone()].concat();
        let w = |part: &str| &weights[&format!("{}.{part}", node.name)];
        let bias = |on: bool, i: usize| if on { w("bias")[i] } else { 0.0 };
        let y = match &node.op {
            Op::Conv2d { out: filters, kernel, stride, padding, bias: with_bias, groups } => {
                Value::fill(out, |i| {
                    let (each_in, each_out) = (x.shape[1] / groups, filters / groups);
                    let mut sum = bias(*with_bias, i[1]);
                    for c in 0..each_in {
                        for kh in 0..kernel[0] {
                            for kw in 0..kernel[1] {
                                let h = (i[2] * stride[0] + kh).wrapping_sub(padding[0][0]);
                                let v = (i[3] * stride[1] + kw).wrapping_sub(padding[1][0]);
                                if h < x.shape[2] && v < x.shape[3] {
                                    let weight = w("weight")
                                        [((i[1] * each_in + c) * kernel[0] + kh) * kernel[1] + kw];
                                    sum +=
                                        weight * x.at(&[i[0], i[1] / each_out * each_in + c, h, v]);
                                }
                            }
                        }
                    }
                    sum
                })
            }
            Op::BatchNorm { axis, eps } => {
                let channels = x.shape[axis + 1];
                let index = Value::indices(&x.shape);
                let mut lists = vec![Vec::new(); channels];
                index.iter().zip(&x.data).for_each(|(i, v)| lists[i[axis + 1]].push(*v));
                let moments: Vec<(f64, f64)> = lists
                    .iter()
                    .enumerate()
                    .map(|(c, list)| {
                        let mean = list.iter().sum::<f64>() / list.len() as f64;
                        let var = list.iter().map(|v| (v - mean).powi(2)).sum::<f64>()
                            / list.len() as f64;
                        if training {
                            (mean, var)
                        } else {
                            (w("running_mean")[c], w("running_var")[c])
                        }
                    })
                    .collect();
                Value::fill(out, |i| {
                    let c = i[axis + 1];
                    (x.at(&i) - moments[c].0) / (moments[c].1 + f64::from(*eps)).sqrt()
                        * w("weight")[c]
                        + w("bias")[c]
                })
            }
            Op::Activation(Activation::Softmax) => Value::fill(out.clone(), |i| {
                let last = i.len() - 1;
                let total: f64 =
                    (0..out[last]).map(|j| x.at(&[&i[..last], &[j]].concat()).exp()).sum();
                x.at(&i).exp() / total
            }),
            Op::Activation(function) => Value::fill(out, |i| {
                let v = x.at(&i);
                match function {
                    Activation::Relu => v.max(0.0),
                    Activation::Elu => v.max(0.0) + (v.min(0.0).exp() - 1.0),
                    Activation::Silu => v * sigmoid(v),
                    Activation::Sigmoid => sigmoid(v),
                    Activation::Tanh => v.tanh(),
                    Activation::Softmax => unreachable!("above"),
                }
            }),
            Op::Pool { kind, kernel, stride, padding } => Value::fill(out, |i| {
                let mut seen = Vec::new();
                for kh in 0..kernel[0] {
                    for kw in 0..kernel[1] {
                        let h = (i[2] * stride[0] + kh).wrapping_sub(padding[0][0]);
                        let v = (i[3] * stride[1] + kw).wrapping_sub(padding[1][0]);
                        if h < x.shape[2] && v < x.shape[3] {
                            seen.push(x.at(&[i[0], i[1], h, v]));
                        }
                    }
                }
                group(*kind, &seen)
            }),
            Op::Reduce { kind, axes } => {
                let kept: Vec<usize> =
                    (0..x.shape.len()).filter(|a| *a == 0 || !axes.contains(&(a - 1))).collect();
                Value::fill(kept.iter().map(|&a| x.shape[a]).collect(), |i| {
                    let same =
                        |full: &&Vec<usize>| kept.iter().zip(&i).all(|(&a, j)| full[a] == *j);
                    let all = Value::indices(&x.shape);
                    group(
                        *kind,
                        &all.iter().filter(same).map(|full| x.at(full)).collect::<Vec<_>>(),
                    )
                })
            }
            Op::Dense { bias: with_bias, .. } => Value::fill(out, |i| {
                let last = i.len() - 1;
                let inputs = x.shape[last];
                let sum: f64 = (0..inputs)
                    .map(|j| w("weight")[i[last] * inputs + j] * x.at(&[&i[..last], &[j]].concat()))
                    .sum();
                sum + bias(*with_bias, i[last])
            }),
            Op::Dropout { .. } => x.clone(),
            Op::Gru { hidden, sequence } | Op::Lstm { hidden, sequence } => {
                let (n, features) = (*hidden, x.shape[2]);
                let mut y = Value::zeros(out);
                for b in 0..batch {
                    let (mut h, mut c) = (vec![0.0; n], vec![0.0; n]);
                    for t in 0..x.shape[1] {
                        let share = |g: usize, i: usize| {
                            let row = g * n + i;
                            let a: f64 = (0..features)
                                .map(|j| w("weight_ih")[row * features + j] * x.at(&[b, t, j]))
                                .sum();
                            let s: f64 = (0..n).map(|j| w("weight_hh")[row * n + j] * h[j]).sum();
                            (a + w("bias_ih")[row], s + w("bias_hh")[row])
                        };
                        let both = |g: usize, i: usize| share(g, i).0 + share(g, i).1;
                        let (mut new_h, mut new_c) = (vec![0.0; n], vec![0.0; n]);
                        for i in 0..n {
                            if matches!(node.op, Op::Gru { .. }) {
                                let (r, z) = (sigmoid(both(0, i)), sigmoid(both(1, i)));
                                let candidate = (share(2, i).0 + r * share(2, i).1).tanh();
                                new_h[i] = (1.0 - z) * candidate + z * h[i];
                            } else {
                                new_c[i] = sigmoid(both(1, i)) * c[i]
                                    + sigmoid(both(0, i)) * both(2, i).tanh();
                                new_h[i] = sigmoid(both(3, i)) * new_c[i].tanh();
                            }
                        }
                        (h, c) = (new_h, new_c);
                        if *sequence {
                            y.data[(b * x.shape[1] + t) * n..][..n].copy_from_slice(&h);
                        }
                    }
                    if !sequence {
                        y.data[b * n..][..n].copy_from_slice(&h);
                    }
                }
                y
            }
            Op::Add => {
                Value::fill(out, |i| node.from.iter().map(|f| values[f.as_str()].at(&i)).sum())
            }
            Op::Mul => Value::fill(out, |i| {
                let factor = |f: &String| {
                    let v = &values[f.as_str()];
                    if v.shape == x.shape { v.at(&i) } else { v.data[i[0] * x.shape[1] + i[1]] }
                };
                node.from.iter().map(factor).product()
            }),
            Op::Concat { axis } => Value::fill(out, |mut i| {
                for f in &node.from {
                    let v = &values[f.as_str()];
                    if i[axis + 1] < v.shape[axis + 1] {
                        return v.at(&i);
                    }
                    i[axis + 1] -= v.shape[axis + 1];
                }
                unreachable!("the index lies in one of the inputs")
            }),
            Op::Stack => Value::fill(out, |i| {
                let last = i.len() - 1;
                values[node.from[i[last]].as_str()].at(&i[..last])
            }),
            Op::Permute { order } => Value::fill(out, |i| {
                let mut from = i.clone();
                order.iter().enumerate().for_each(|(to, &axis)| from[axis + 1] = i[to + 1]);
                x.at(&from)
            }),
            Op::Flatten | Op::Reshape { .. } => Value { shape: out, data: x.data.clone() },
            Op::RepeatChannels { .. } => Value::fill(out, |i| x.at(&[i[0], 0, i[2], i[3]])),
            Op::Slice { axis, start, .. } => Value::fill(out, |mut i| {
                i[axis + 1] += start;
                x.at(&i)
            }),
        };
        values.insert(&node.name, y);
    }
    values[network.outputs[0].as_str()].clone()
}

fn group(kind: PoolKind, values: &[f64]) -> f64 {
    match kind {
        PoolKind::Max => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        PoolKind::Mean => values.iter().sum::<f64>() / values.len() as f64,
    }
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

fn pool(kind: PoolKind, kernel: [usize; 2], stride: [usize; 2], padding: [[usize; 2]; 2]) -> Op {
    Op::Pool { kind, kernel, stride, padding }
}

/// A network of one operation on one input.
fn single(shape: &[usize], op: Op) -> Network {
    NetworkBuilder::new("input", shape).node("y", op).build()
}

/// A network of one operation on two inputs.
fn double(a: &[usize], b: &[usize], op: Op) -> Network {
    NetworkBuilder::new("a", a)
        .input("b", b)
        .node_from("y", op, vec!["a".into(), "b".into()])
        .build()
}

/// Every operation, in every form that takes a path of its own.
fn cases() -> Vec<(&'static str, Network)> {
    use PoolKind::{Max, Mean};
    let none = [[0, 0], [0, 0]];
    let same = [[1, 1], [1, 1]];
    let mut cases = vec![
        ("conv 3×3 same, wide", single(&[2, 17, 19], conv(3, [3, 3], [1, 1], same, true, 1))),
        ("conv 3×3 same, narrow", single(&[3, 4, 5], conv(4, [3, 3], [1, 1], same, true, 1))),
        (
            "conv 2×2 one-sided padding",
            single(&[2, 5, 6], conv(3, [2, 2], [1, 1], [[0, 1], [0, 1]], true, 1)),
        ),
        ("conv stride 2", single(&[2, 9, 8], conv(3, [3, 3], [2, 2], same, false, 1))),
        ("conv stride 2, wide", single(&[1, 40, 36], conv(2, [3, 3], [2, 2], same, true, 1))),
        (
            "conv stride 3 × 2, 7 × 7",
            single(&[1, 15, 14], conv(2, [7, 7], [3, 2], [[3, 3], [3, 3]], false, 1)),
        ),
        (
            "conv wider than the input's rest",
            single(&[1, 7, 3], conv(2, [5, 5], [1, 1], [[2, 2], [3, 3]], true, 1)),
        ),
        ("conv 1×1", single(&[4, 5, 3], conv(3, [1, 1], [1, 1], none, true, 1))),
        ("conv 1×1, wide", single(&[3, 18, 16], conv(2, [1, 1], [1, 1], none, false, 1))),
        ("conv 1×1 stride 2", single(&[4, 6, 5], conv(3, [1, 1], [2, 2], none, false, 1))),
        ("conv in groups", single(&[4, 5, 5], conv(6, [3, 3], [1, 1], same, true, 2))),
        ("conv in groups, wide", single(&[4, 17, 17], conv(2, [3, 3], [1, 1], same, true, 2))),
        ("conv depthwise", single(&[5, 6, 7], conv(5, [3, 3], [1, 1], same, true, 5))),
        ("conv depthwise stride 2", single(&[3, 7, 7], conv(3, [3, 3], [2, 2], same, false, 3))),
        ("conv depthwise × 2", single(&[3, 5, 5], conv(6, [3, 3], [1, 1], same, true, 3))),
        (
            "conv musicnn vertical",
            single(&[1, 12, 20], conv(3, [7, 8], [1, 1], [[3, 3], [0, 0]], true, 1)),
        ),
        ("batch norm, channel", single(&[3, 4, 5], Op::BatchNorm { axis: 0, eps: 1e-3 })),
        ("batch norm, band", single(&[2, 4, 5], Op::BatchNorm { axis: 2, eps: 1e-3 })),
        ("batch norm, time", single(&[2, 4, 5], Op::BatchNorm { axis: 1, eps: 1e-3 })),
        ("batch norm, vector", single(&[6], Op::BatchNorm { axis: 0, eps: 1e-5 })),
        ("dropout at rest", single(&[6], Op::Dropout { p: 0.0 })),
        ("max pool 2×2", single(&[2, 6, 4], pool(Max, [2, 2], [2, 2], none))),
        ("max pool 2×2, odd", single(&[2, 7, 5], pool(Max, [2, 2], [2, 2], none))),
        ("max pool 3×3 stride 2, padded", single(&[2, 7, 6], pool(Max, [3, 3], [2, 2], same))),
        ("max pool 4×2 stride 4×2", single(&[2, 9, 6], pool(Max, [4, 2], [4, 2], none))),
        ("mean pool 2×2", single(&[2, 6, 4], pool(Mean, [2, 2], [2, 2], none))),
        ("mean pool padded", single(&[2, 5, 6], pool(Mean, [3, 3], [2, 2], same))),
        ("max over band", single(&[2, 3, 4], Op::Reduce { kind: Max, axes: vec![2] })),
        (
            "max over channel and band",
            single(&[2, 3, 4], Op::Reduce { kind: Max, axes: vec![0, 2] }),
        ),
        (
            "mean over time and band",
            single(&[2, 3, 4], Op::Reduce { kind: Mean, axes: vec![1, 2] }),
        ),
        ("dense on a vector", single(&[7], Op::Dense { out: 5, bias: true })),
        ("dense on a series", single(&[3, 7], Op::Dense { out: 4, bias: false })),
        ("dense, large", single(&[40, 90], Op::Dense { out: 80, bias: true })),
        ("dense, few rows", single(&[400], Op::Dense { out: 300, bias: true })),
        ("gru series", single(&[5, 3], Op::Gru { hidden: 4, sequence: true })),
        ("gru last", single(&[5, 3], Op::Gru { hidden: 4, sequence: false })),
        ("lstm series", single(&[5, 3], Op::Lstm { hidden: 4, sequence: true })),
        ("lstm last", single(&[1, 3], Op::Lstm { hidden: 4, sequence: false })),
        ("lstm longer", single(&[6, 2], Op::Lstm { hidden: 3, sequence: false })),
        ("add", double(&[2, 3], &[2, 3], Op::Add)),
        ("mul alike", double(&[2, 3], &[2, 3], Op::Mul)),
        ("mul by channel", double(&[3, 2, 4], &[3], Op::Mul)),
        ("mul by channel map", double(&[3, 2, 4], &[3, 1, 1], Op::Mul)),
        ("concat channels", double(&[2, 3, 2], &[1, 3, 2], Op::Concat { axis: 0 })),
        ("concat bands", double(&[2, 3, 2], &[2, 3, 4], Op::Concat { axis: 2 })),
        ("stack", double(&[4], &[4], Op::Stack)),
        ("permute", single(&[2, 3, 4], Op::Permute { order: vec![1, 2, 0] })),
        ("flatten", single(&[2, 3, 4], Op::Flatten)),
        ("reshape", single(&[2, 3, 4], Op::Reshape { shape: vec![6, 4] })),
        ("slice bands", single(&[2, 3, 5], Op::Slice { axis: 2, start: 1, length: 3 })),
        ("slice channels", single(&[3, 2, 2], Op::Slice { axis: 0, start: 2, length: 1 })),
        ("repeat channels", single(&[1, 3, 4], Op::RepeatChannels { count: 3 })),
    ];
    use Activation::{Elu, Relu, Sigmoid, Silu, Softmax, Tanh};
    for (name, function) in [
        ("relu", Relu),
        ("elu", Elu),
        ("silu", Silu),
        ("sigmoid", Sigmoid),
        ("tanh", Tanh),
        ("softmax", Softmax),
    ] {
        cases.push((name, single(&[2, 5], Op::Activation(function))));
    }
    let start = || NetworkBuilder::new("input", [2, 6, 6]);
    cases.extend([
        // Shared buffers: a ReLU within a batch norm, functions in place, aliases of them.
        (
            "norm + relu + pool",
            start()
                .conv("c", 3, [3, 3])
                .batch_norm("n")
                .relu()
                .max_pool([2, 2])
                .flatten()
                .dense("d", 4)
                .build(),
        ),
        (
            "conv + relu + norm",
            start().conv("c", 3, [3, 3]).relu().batch_norm("n").mean_pool([2, 2]).build(),
        ),
        (
            "elu + dropout + flatten",
            start().conv("c", 3, [3, 3]).elu().dropout(0.0).flatten().relu().dense("d", 4).build(),
        ),
        (
            "norm over bands + elu",
            start().batch_norm_along("n", 2, 1e-3).elu().conv_valid("c", 2, [3, 3]).build(),
        ),
        (
            "residual",
            start()
                .conv("a", 2, [3, 3])
                .batch_norm("n")
                .relu()
                .conv("b", 2, [3, 3])
                .add("input")
                .relu()
                .add("a")
                .build(),
        ),
        (
            "squeeze and excite",
            start()
                .conv("a", 3, [3, 3])
                .activation(Silu)
                .reduce(Mean, &[1, 2])
                .dense("s", 3)
                .activation(Sigmoid)
                .node_from("y", Op::Mul, vec!["silu1".into(), "sigmoid1".into()])
                .relu()
                .build(),
        ),
        (
            "value read twice",
            start()
                .relu()
                .node_from("twice", Op::Add, vec!["relu1".into(), "relu1".into()])
                .activation(Tanh)
                .build(),
        ),
        (
            "crnn tail",
            start()
                .elu()
                .permute(&[1, 0, 2])
                .reshape([6, 12])
                .gru("g", 4, true)
                .gru("h", 3, false)
                .dense("d", 2)
                .build(),
        ),
    ]);
    cases
}

/// Random weights, far enough from ties and kinks that a small step does not cross one.
fn weights_of(network: &Network, rng: &mut Rng) -> Weights {
    let mut weights = Weights::new();
    for spec in network.weight_specs().unwrap() {
        let count = spec.shape.iter().product();
        let data =
            (0..count)
                .map(|_| {
                    if spec.name.ends_with("var") {
                        rng.range(0.5, 2.0)
                    } else {
                        0.5 * rng.normal()
                    }
                })
                .collect();
        weights.insert(spec.name, taggram_model::Tensor::new(spec.shape, data));
    }
    weights
}

fn check(
    name: &str,
    network: &Network,
    training: bool,
    backend: Backend,
    failures: &mut Vec<String>,
) {
    const BATCH: usize = 5;
    let mut rng = Rng::at(&[11]);
    let weights = weights_of(network, &mut rng);
    let inputs: Vec<Vec<f32>> = network
        .inputs
        .iter()
        .map(|i| (0..BATCH * i.shape.iter().product::<usize>()).map(|_| rng.normal()).collect())
        .collect();
    let exact_inputs: Vec<Value> = network
        .inputs
        .iter()
        .zip(&inputs)
        .map(|(i, x)| Value {
            shape: [vec![BATCH], i.shape.clone()].concat(),
            data: x.iter().map(|&v| v.into()).collect(),
        })
        .collect();
    let exact_weights: BTreeMap<String, Vec<f64>> = weights
        .iter()
        .map(|(n, t)| (n.clone(), t.data.iter().map(|&v| v.into()).collect()))
        .collect();

    let mut trainable = Trainable::with_weights(network.clone(), &weights).unwrap();
    trainable.compute_with(backend).unwrap();
    // Inputs want gradients too, as if something trainable lay before them.
    trainable.needs_gradient.fill(true);
    let mode = if training { Mode::Train { seed: 1, step: 0 } } else { Mode::Evaluate };
    let views: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    trainable.forward(&views, mode).unwrap();
    let output = &network.outputs[0];
    let expected = textbook(network, &exact_weights, &exact_inputs, training);
    let found = trainable.output(output).unwrap().to_vec();
    let close =
        |a: f64, b: f64, scale: f64, tolerance: f64| (a - b).abs() <= tolerance * scale.max(1.0);
    let worst =
        found.iter().zip(&expected.data).find(|(a, b)| !close(f64::from(**a), **b, b.abs(), 2e-5));
    if let Some((a, b)) = worst {
        failures.push(format!("{name} (training: {training}): forward {a}, formula {b}"));
        return;
    }

    let direction: Vec<f32> = (0..found.len()).map(|_| rng.normal()).collect();
    trainable.clear_gradients();
    trainable.backward(&OutputGradients::from([(output.clone(), direction.clone())])).unwrap();
    let loss = |weights: &BTreeMap<String, Vec<f64>>, inputs: &[Value]| -> f64 {
        let y = textbook(network, weights, inputs, training);
        y.data.iter().zip(&direction).map(|(y, &d)| y * f64::from(d)).sum()
    };
    let step = 1e-6;
    let mut compare = |what: String,
                       analytic: &[f32],
                       mut moved: Box<dyn FnMut(usize, f64) -> f64>| {
        let norm = (analytic.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>()
            / analytic.len() as f64)
            .sqrt();
        // All of a small array, a sample of a large one.
        for at in (0..analytic.len()).step_by((analytic.len() / 7).max(1)) {
            let numeric = (moved(at, step) - moved(at, -step)) / (2.0 * step);
            if !close(f64::from(analytic[at]), numeric, numeric.abs().max(norm), 1e-4) {
                failures.push(format!("{name} (training: {training}), {what}[{at}]: backward {}, differences {numeric}", analytic[at]));
                return;
            }
        }
    };
    for parameter in trainable.parameters().iter().filter(|p| p.trainable) {
        let (mut weights, inputs, key) =
            (exact_weights.clone(), exact_inputs.clone(), parameter.name.clone());
        compare(
            parameter.name.clone(),
            &parameter.gradient,
            Box::new(move |at, by| {
                let old = weights[&key][at];
                weights.get_mut(&key).unwrap()[at] = old + by;
                let value = loss(&weights, &inputs);
                weights.get_mut(&key).unwrap()[at] = old;
                value
            }),
        );
    }
    for (i, gradient) in trainable.input_gradients.iter().enumerate() {
        let (weights, mut inputs) = (exact_weights.clone(), exact_inputs.clone());
        let Some(gradient) = gradient else { panic!("{name}: no gradient came back to input {i}") };
        compare(
            format!("input {i}"),
            gradient,
            Box::new(move |at, by| {
                let old = inputs[i].data[at];
                inputs[i].data[at] = old + by;
                let value = loss(&weights, &inputs);
                inputs[i].data[at] = old;
                value
            }),
        );
    }
}

fn check_all(backend: Backend) {
    let mut failures = Vec::new();
    for (name, network) in cases() {
        check(name, &network, true, backend, &mut failures);
        // Only batch norm computes something else at rest.
        if network.nodes.iter().any(|n| matches!(n.op, Op::BatchNorm { .. })) {
            check(name, &network, false, backend, &mut failures);
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_operation_agrees_with_its_formula_and_its_differences() {
    check_all(Backend::Own);
}

#[cfg(feature = "libtorch")]
#[test]
fn every_operation_in_libtorch_agrees_with_its_formula_and_its_differences() {
    check_all(Backend::Libtorch);
}

#[test]
fn the_engine_computes_the_same_networks() {
    let mut failures = Vec::new();
    for (name, network) in cases() {
        let mut rng = Rng::at(&[13]);
        let weights = weights_of(&network, &mut rng);
        let len = |shape: &[usize]| shape.iter().product::<usize>();
        let inputs: Vec<Vec<f32>> = network
            .inputs
            .iter()
            .map(|i| (0..3 * len(&i.shape)).map(|_| rng.normal()).collect())
            .collect();
        let views: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
        let mut trainable = Trainable::with_weights(network.clone(), &weights).unwrap();
        trainable.forward(&views, Mode::Evaluate).unwrap();
        let ours = trainable.output(&network.outputs[0]).unwrap();
        let engine = taggram_model::engine::Engine::new(&network, &weights).unwrap();
        let theirs = engine.run(&views, 3).unwrap().remove(0).data;
        let far = |(a, b): &(&f32, &f32)| (*a - *b).abs() > 2e-5 * b.abs().max(1.0);
        if ours.len() != theirs.len() || ours.iter().zip(&theirs).any(|pair| far(&pair)) {
            let pair = ours.iter().zip(&theirs).find(far);
            failures.push(format!(
                "{name}: {:?} values, first far apart: {pair:?}",
                (ours.len(), theirs.len())
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let network = NetworkBuilder::new("input", [1, 40, 32])
        .conv("a", 8, [3, 3])
        .batch_norm("n")
        .relu()
        .max_pool([2, 2])
        .conv("b", 80, [3, 3])
        .elu()
        .max_pool([4, 4])
        .dropout(0.3)
        .permute(&[1, 0, 2])
        .reshape([5, 320])
        .gru("g", 16, false)
        .dense("logits", 10)
        .build();
    let run = |threads: usize| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
            let mut trainable = Trainable::new(network.clone(), 3).unwrap();
            let mut rng = Rng::at(&[5]);
            let x: Vec<f32> = (0..7 * 40 * 32).map(|_| rng.normal()).collect();
            let dy: Vec<f32> = (0..70).map(|_| rng.normal()).collect();
            trainable.forward(&[&x], Mode::Train { seed: 1, step: 4 }).unwrap();
            trainable.backward(&OutputGradients::from([("logits".into(), dy)])).unwrap();
            let gradients: Vec<Vec<f32>> =
                trainable.parameters().iter().map(|p| p.gradient.clone()).collect();
            (trainable.output("logits").unwrap().to_vec(), gradients)
        })
    };
    let one = run(1);
    assert!(one.1.iter().flatten().any(|&g| g != 0.0));
    for threads in [2, 3, 5] {
        assert_eq!(one, run(threads), "{threads} threads");
    }
}

#[test]
fn dropout_keeps_the_mean_and_its_backward_uses_the_same_mask() {
    let mut trainable = Trainable::new(single(&[20_000], Op::Dropout { p: 0.25 }), 0).unwrap();
    trainable.needs_gradient.fill(true);
    let ones = vec![1.0; 40_000];
    trainable.forward(&[&ones], Mode::Train { seed: 9, step: 2 }).unwrap();
    let y = trainable.output("y").unwrap().to_vec();
    let mean = y.iter().map(|&v| f64::from(v)).sum::<f64>() / y.len() as f64;
    assert!((mean - 1.0).abs() < 0.01, "mean {mean}");
    trainable.backward(&OutputGradients::from([("y".into(), ones)])).unwrap();
    assert_eq!(trainable.input_gradients[0].as_deref(), Some(y.as_slice()));
}

#[test]
fn frozen_layers_get_no_gradient_and_keep_their_statistics() {
    let network = NetworkBuilder::new("input", [1, 8, 8])
        .conv("front", 2, [3, 3])
        .batch_norm("front_norm")
        .relu()
        .flatten()
        .dense("logits", 3)
        .build();
    let mut trainable = Trainable::new(network, 1).unwrap();
    trainable.freeze(&["front".into()]).unwrap();
    let before = trainable.weights();
    trainable.forward(&[&[0.5; 128]], Mode::Train { seed: 0, step: 0 }).unwrap();
    trainable.backward(&OutputGradients::from([("logits".into(), vec![1.0; 6])])).unwrap();
    assert_eq!(before, trainable.weights());
    let trained: Vec<&str> =
        trainable.parameters().iter().filter(|p| p.trainable).map(|p| p.name.as_str()).collect();
    assert_eq!(trained, ["logits.weight", "logits.bias"]);
    let error = trainable.freeze(&["nothing".into()]).unwrap_err().to_string();
    assert!(error.contains("`nothing`"), "{error}");
}

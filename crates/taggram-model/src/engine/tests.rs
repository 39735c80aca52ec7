use std::collections::BTreeMap;

use super::*;
use crate::builder::{NetworkBuilder, same};
use crate::kernels::gemm::tests::noise;
use crate::network::{Activation, Node, Op, PoolKind};

/// Weights at random, variances positive.
pub(crate) fn random_weights(network: &Network) -> Weights {
    let fill = |(i, spec): (usize, crate::shapes::WeightSpec)| {
        let fan = spec.shape[1..].iter().product::<usize>() as f32;
        let mut data = noise(spec.shape.iter().product(), 100 + i as u64);
        data.iter_mut().for_each(|v| *v *= 1.5 / fan.sqrt());
        if spec.name.ends_with("running_var") {
            data.iter_mut().for_each(|v| *v = v.abs() + 0.3);
        }
        (spec.name, Tensor::new(spec.shape, data))
    };
    network.weight_specs().unwrap().into_iter().enumerate().map(fill).collect()
}

/// Coordinates of every value of `shape`, in order.
fn indices(shape: &[usize]) -> impl Iterator<Item = Vec<usize>> + '_ {
    (0..shape.iter().product::<usize>()).map(move |mut flat| {
        let mut index: Vec<usize> = shape
            .iter()
            .rev()
            .map(|n| {
                let i = flat % n;
                flat /= n;
                i
            })
            .collect();
        index.reverse();
        index
    })
}

fn at(tensor: &Tensor, index: &[usize]) -> f32 {
    tensor.data[index.iter().zip(&tensor.shape).fold(0, |flat, (i, n)| flat * n + i)]
}

/// One node on one example, value by value.
fn plain(node: &Node, from: &[&Tensor], shape: &[usize], weights: &Weights) -> Tensor {
    let x = from[0];
    let w = |part: &str| &weights[&format!("{}.{part}", node.name)];
    let bias = |on: &bool, i: usize| if *on { w("bias").data[i] } else { 0.0 };
    let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
    // Values of a sliding window of `x`, with padding left out, and their place in it.
    let window = |c: usize,
                  i: &[usize],
                  kernel: &[usize; 2],
                  stride: &[usize; 2],
                  padding: &[[usize; 2]; 2]| {
        let mut values = Vec::new();
        for ky in 0..kernel[0] {
            for kx in 0..kernel[1] {
                let y = (i[1] * stride[0] + ky).wrapping_sub(padding[0][0]);
                let z = (i[2] * stride[1] + kx).wrapping_sub(padding[1][0]);
                if y < x.shape[1] && z < x.shape[2] {
                    values.push(([ky, kx], at(x, &[c, y, z])));
                }
            }
        }
        values
    };
    let combine = |kind: PoolKind, values: &[f32]| match kind {
        PoolKind::Max => values.iter().copied().fold(f32::NEG_INFINITY, f32::max),
        PoolKind::Mean => values.iter().sum::<f32>() / values.len() as f32,
    };
    let value = |i: &Vec<usize>| -> f32 {
        match &node.op {
            Op::Conv2d { out, kernel, stride, padding, bias: b, groups } => {
                let (inside, outside) = (x.shape[0] / groups, out / groups);
                let mut sum = bias(b, i[0]);
                for c in 0..inside {
                    for ([ky, kx], v) in
                        window(i[0] / outside * inside + c, i, kernel, stride, padding)
                    {
                        sum += v * at(w("weight"), &[i[0], c, ky, kx]);
                    }
                }
                sum
            }
            Op::BatchNorm { axis, eps } => {
                let part = |part| w(part).data[i[*axis]];
                (at(x, i) - part("running_mean")) / (part("running_var") + eps).sqrt()
                    * part("weight")
                    + part("bias")
            }
            Op::Activation(function) => {
                let v = at(x, i);
                match function {
                    Activation::Relu => v.max(0.0),
                    Activation::Elu => {
                        if v > 0.0 {
                            v
                        } else {
                            v.exp() - 1.0
                        }
                    }
                    Activation::Silu => v * sigmoid(v),
                    Activation::Sigmoid => sigmoid(v),
                    Activation::Tanh => v.tanh(),
                    Activation::Softmax => {
                        let mut other = i.clone();
                        let last = i.len() - 1;
                        let mut sum = 0.0;
                        for j in 0..shape[last] {
                            other[last] = j;
                            sum += at(x, &other).exp();
                        }
                        v.exp() / sum
                    }
                }
            }
            Op::Pool { kind, kernel, stride, padding } => {
                let values: Vec<f32> =
                    window(i[0], i, kernel, stride, padding).into_iter().map(|v| v.1).collect();
                combine(*kind, &values)
            }
            Op::Reduce { kind, axes } => {
                let kept = |j: &Vec<usize>| -> Vec<usize> {
                    j.iter()
                        .enumerate()
                        .filter(|(a, _)| !axes.contains(a))
                        .map(|(_, &v)| v)
                        .collect()
                };
                let values: Vec<f32> =
                    indices(&x.shape).filter(|j| kept(j) == *i).map(|j| at(x, &j)).collect();
                combine(*kind, &values)
            }
            Op::Dense { bias: b, .. } => {
                let (unit, mut j) = (i[i.len() - 1], i.clone());
                let last = i.len() - 1;
                let mut sum = bias(b, unit);
                for k in 0..x.shape[last] {
                    j[last] = k;
                    sum += at(x, &j) * at(w("weight"), &[unit, k]);
                }
                sum
            }
            Op::Add => from.iter().map(|t| at(t, i)).sum(),
            Op::Mul => from
                .iter()
                .map(|t| if t.shape == shape { at(t, i) } else { t.data[i[0]] })
                .product(),
            Op::Concat { axis } => {
                let mut j = i.clone();
                for t in from {
                    if j[*axis] < t.shape[*axis] {
                        return at(t, &j);
                    }
                    j[*axis] -= t.shape[*axis];
                }
                unreachable!("the shapes were inferred")
            }
            Op::Stack => at(from[i[i.len() - 1]], &i[..i.len() - 1]),
            Op::Permute { order } => {
                let mut j = i.clone();
                order.iter().zip(i).for_each(|(&axis, &v)| j[axis] = v);
                at(x, &j)
            }
            Op::RepeatChannels { .. } => at(x, &[0, i[1], i[2]]),
            Op::Slice { axis, start, .. } => {
                let mut j = i.clone();
                j[*axis] += start;
                at(x, &j)
            }
            Op::Dropout { .. } | Op::Flatten | Op::Reshape { .. } => unreachable!("handled below"),
            Op::Gru { .. } | Op::Lstm { .. } => unreachable!("handled below"),
        }
    };
    let data = match &node.op {
        Op::Dropout { .. } | Op::Flatten | Op::Reshape { .. } => x.data.clone(),
        Op::Gru { hidden, sequence } | Op::Lstm { hidden, sequence } => {
            let gru = matches!(node.op, Op::Gru { .. });
            let (mut h, mut c, mut all) =
                (vec![0.0f32; *hidden], vec![0.0f32; *hidden], Vec::new());
            for x in x.data.chunks(x.shape[1]) {
                let side = |weight: &str, bias: &str, v: &[f32]| -> Vec<f32> {
                    let rows = w(weight).data.chunks(v.len()).zip(&w(bias).data);
                    rows.map(|(row, b)| b + row.iter().zip(v).map(|(a, b)| a * b).sum::<f32>())
                        .collect()
                };
                let (a, b) = (side("weight_ih", "bias_ih", x), side("weight_hh", "bias_hh", &h));
                for u in 0..*hidden {
                    let gate = |g: usize| a[g * hidden + u] + b[g * hidden + u];
                    if gru {
                        let n = (a[2 * hidden + u] + sigmoid(gate(0)) * b[2 * hidden + u]).tanh();
                        h[u] = (1.0 - sigmoid(gate(1))) * n + sigmoid(gate(1)) * h[u];
                    } else {
                        c[u] = sigmoid(gate(1)) * c[u] + sigmoid(gate(0)) * gate(2).tanh();
                        h[u] = sigmoid(gate(3)) * c[u].tanh();
                    }
                }
                all.extend_from_slice(&h);
            }
            if *sequence { all } else { h }
        }
        _ => indices(shape).map(|i| value(&i)).collect(),
    };
    Tensor::new(shape, data)
}

/// Every value of a network for one example.
fn plain_run(network: &Network, weights: &Weights, inputs: &[&[f32]]) -> BTreeMap<String, Tensor> {
    let shapes = network.shapes().unwrap();
    let mut values: BTreeMap<String, Tensor> = BTreeMap::new();
    for (input, data) in network.inputs.iter().zip(inputs) {
        values.insert(input.name.clone(), Tensor::new(input.shape.clone(), data.to_vec()));
    }
    for node in &network.nodes {
        let from: Vec<&Tensor> = node.from.iter().map(|n| &values[n]).collect();
        let value = plain(node, &from, &shapes[&node.name], weights);
        values.insert(node.name.clone(), value);
    }
    values
}

fn conv(
    out: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [[usize; 2]; 2],
    groups: usize,
) -> Op {
    Op::Conv2d { out, kernel, stride, padding, bias: groups == 1, groups }
}

/// Small networks that together use every operation, fused in every way.
pub(crate) fn zoo() -> Vec<(&'static str, Network)> {
    use Activation::*;
    let node = |name: &str, op: Op, from: &[&str]| Node {
        name: name.into(),
        op,
        from: from.iter().map(|&n| n.into()).collect(),
    };
    let mut two_inputs = NetworkBuilder::new("picture", [2, 6, 6])
        .conv("conv", 3, [3, 3])
        .reduce(PoolKind::Mean, &[1, 2])
        .input("series", [7, 4])
        .lstm("lstm", 5, false)
        .concat("both", 0, &["reduce1", "lstm"])
        .dense("logits", 4)
        .activation(Softmax)
        .build();
    two_inputs.outputs.push("both".into());
    let mut shared = NetworkBuilder::new("input", [3, 8, 9]).conv("conv", 3, [3, 3]).relu().build();
    shared.nodes.extend([
        node("sum", Op::Add, &["relu1", "conv", "input"]),
        node("sum_relu", Op::Activation(Relu), &["sum"]),
        node("double", Op::Add, &["sum_relu", "sum_relu"]),
        node("square", Op::Mul, &["double", "double"]),
        node("wide", Op::Concat { axis: 2 }, &["square", "input"]),
        node("tall", Op::Concat { axis: 0 }, &["input", "square", "input"]),
        node("bands", Op::Slice { axis: 2, start: 4, length: 3 }, &["sum_relu"]),
        node("channel", Op::Slice { axis: 0, start: 2, length: 1 }, &["bands"]),
    ]);
    shared.outputs =
        vec!["wide".into(), "tall".into(), "input".into(), "wide".into(), "channel".into()];
    vec![
        (
            "conv, norm, relu, pool, dense",
            NetworkBuilder::new("input", [1, 12, 15])
                .conv("conv1", 9, [3, 3])
                .batch_norm("bn1")
                .relu()
                .max_pool([2, 2])
                .conv("conv2", 5, [3, 3])
                .activation(Relu)
                .batch_norm("bn2")
                .dropout(0.1)
                .mean_pool([3, 2])
                .flatten()
                .dense("dense", 11)
                .dropout(0.5)
                .batch_norm("bn3")
                .elu()
                .batch_norm("bn4")
                .dense("logits", 3)
                .activation(Sigmoid)
                .build(),
        ),
        (
            "norms along other axes",
            NetworkBuilder::new("input", [2, 5, 6])
                .batch_norm_along("band", 2, 1e-3)
                .conv("conv", 3, [1, 1])
                .batch_norm_along("time", 1, 1e-3)
                .activation(Tanh)
                .dense("dense", 7)
                .batch_norm_along("unit", 2, 1e-3)
                .activation(Silu)
                .batch_norm_along("channel", 0, 1e-3)
                .activation(Softmax)
                .build(),
        ),
        (
            "convolutions of every kind",
            NetworkBuilder::new("input", [1, 17, 13])
                .repeat_channels(3)
                .node("stem", conv(8, [5, 3], [2, 2], [[2, 1], [0, 2]], 1))
                .activation(Silu)
                .batch_norm("bn")
                .node("depthwise", conv(8, [3, 3], [1, 1], [[1; 2]; 2], 8))
                .batch_norm("bn_depthwise")
                .relu()
                .node("grouped", conv(6, [2, 2], [1, 1], same([2, 2]), 2))
                .elu()
                .node("even", conv(4, [4, 1], [1, 1], same([4, 1]), 1))
                .pool(PoolKind::Max, [3, 3], [2, 2], 1)
                .pool(PoolKind::Mean, [2, 3], [1, 1], 1)
                .build(),
        ),
        (
            "residual with squeeze and excitation",
            NetworkBuilder::new("input", [4, 6, 5])
                .conv("conv1", 4, [3, 3])
                .batch_norm("bn1")
                .relu()
                .node_from(
                    "squeeze",
                    Op::Reduce { kind: PoolKind::Mean, axes: vec![1, 2] },
                    vec!["relu1".into()],
                )
                .dense("excite", 4)
                .activation(Sigmoid)
                .node_from("scaled", Op::Mul, vec!["relu1".into(), "sigmoid1".into()])
                .conv("conv2", 4, [3, 3])
                .batch_norm("bn2")
                .add("input")
                .relu()
                .reduce(PoolKind::Max, &[0, 2])
                .build(),
        ),
        (
            "recurrent over a permuted map",
            NetworkBuilder::new("input", [3, 7, 4])
                .permute(&[1, 0, 2])
                .reshape([7, 12])
                .gru("gru1", 6, true)
                .gru("gru2", 5, false)
                .at("reshape1")
                .lstm("lstm1", 4, true)
                .lstm("lstm2", 5, false)
                .node_from("stack", Op::Stack, vec!["gru2".into(), "lstm2".into()])
                .flatten()
                .dense("logits", 3)
                .build(),
        ),
        (
            "reductions and permutations",
            NetworkBuilder::new("input", [3, 20, 5])
                .permute(&[2, 0, 1])
                .reduce(PoolKind::Mean, &[2])
                .at("permute1")
                .reduce(PoolKind::Max, &[0])
                .permute(&[1, 0])
                .reduce(PoolKind::Max, &[1])
                .at("input")
                .reduce(PoolKind::Mean, &[0, 2])
                .build_with(&["reduce1", "reduce3", "reduce4", "permute2"]),
        ),
        ("values read several times", shared),
        ("two inputs", two_inputs),
    ]
}

fn assert_close(got: &[f32], expected: &[f32], what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let worst = got.iter().zip(expected).map(|(g, e)| (g - e).abs() / e.abs().max(1.0));
    let (at, worst) = worst.enumerate().fold((0, 0.0), |w, v| if v.1 <= w.1 { w } else { v });
    let finite = got.iter().all(|v| v.is_finite());
    assert!(finite && worst < 2e-5, "{what}: value {at} is {}, not {}", got[at], expected[at]);
}

#[test]
fn every_operation_agrees_with_its_definition_fused_or_not() {
    for (what, network) in zoo() {
        let weights = random_weights(&network);
        let all: Vec<&str> = network.nodes.iter().map(|n| n.name.as_str()).collect();
        // Every node asked for: nothing can be fused or overwritten.
        for network in [network.clone(), network.with_outputs(&all).unwrap()] {
            for isa in Isa::available() {
                let engine = Engine::with_isa(&network, &weights, isa).unwrap();
                for batch in [3, 1] {
                    let inputs: Vec<Vec<f32>> = engine
                        .inputs()
                        .enumerate()
                        .map(|(i, (_, shape))| {
                            noise(batch * shape.iter().product::<usize>(), 7 + i as u64)
                        })
                        .collect();
                    let slices: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
                    let outputs = engine.run(&slices, batch).unwrap();
                    assert_eq!(outputs.len(), network.outputs.len());
                    for example in 0..batch {
                        let one: Vec<&[f32]> = inputs
                            .iter()
                            .map(|v| &v[example * v.len() / batch..(example + 1) * v.len() / batch])
                            .collect();
                        let expected = plain_run(&network, &weights, &one);
                        for (name, output) in network.outputs.iter().zip(&outputs) {
                            let len = output.len() / batch;
                            assert_eq!(output.shape[1..], expected[name].shape, "{what}: {name}");
                            let what =
                                format!("{what}: {isa:?}, example {example} of {batch}, `{name}`");
                            assert_close(
                                &output.data[example * len..][..len],
                                &expected[name].data,
                                &what,
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_long_batch_gives_what_each_example_gives() {
    let network = NetworkBuilder::new("input", [1, 64, 64])
        .conv("conv1", 32, [3, 3])
        .relu()
        .max_pool([8, 8])
        .conv("conv2", 40, [3, 3])
        .elu()
        .reduce(PoolKind::Mean, &[1, 2])
        .dense("logits", 5)
        .build();
    let engine = Engine::new(&network, &random_weights(&network)).unwrap();
    let x = noise(33 * 64 * 64, 3);
    let together = engine.run(&[&x], 33).unwrap();
    std::thread::scope(|scope| {
        for (x, expected) in x.chunks(64 * 64).zip(together[0].data.chunks(5)) {
            let engine = &engine;
            scope.spawn(move || {
                assert_close(&engine.run(&[x], 1).unwrap()[0].data, expected, "alone");
            });
        }
    });
}

#[test]
fn what_does_not_fit_is_refused_with_evidence() {
    let network = NetworkBuilder::new("input", [2, 3]).dense("logits", 4).build();
    let weights = random_weights(&network);
    let engine = Engine::new(&network, &weights).unwrap();
    let error = engine.run(&[&[0.0; 11]], 2).unwrap_err().to_string();
    assert!(
        error.contains("`input`") && error.contains("11") && error.contains("[2, 3]"),
        "{error}"
    );
    let error = engine.run(&[], 1).unwrap_err().to_string();
    assert!(error.contains("0 inputs"), "{error}");
    assert!(engine.run(&[&[0.0; 6]], usize::MAX).is_err());
    assert_eq!(engine.run(&[&[]], 0).unwrap()[0].shape, [0, 2, 4]);
    let error = Engine::new(&network, &Weights::new()).unwrap_err().to_string();
    assert!(error.contains("logits.weight"), "{error}");
}

#[test]
fn small_networks_need_two_buffers() {
    let chain = (0..6).fold(NetworkBuilder::new("input", [4, 8, 8]), |b, i| {
        b.conv(&format!("conv{i}"), 4, [3, 3]).relu().max_pool([1, 1])
    });
    let network = chain.build();
    let engine = Engine::new(&network, &random_weights(&network)).unwrap();
    assert_eq!(engine.plan.buffers.len(), 2);
    assert_eq!(engine.plan.steps.len(), 12);
}

/// A network with all that integers can do, and some that they cannot.
fn for_integers() -> Network {
    NetworkBuilder::new("input", [1, 24, 20])
        .conv_strided("stem", 16, [7, 7], [2, 2], 3)
        .batch_norm("stem_bn")
        .relu()
        .node(
            "pool",
            Op::Pool { kind: PoolKind::Max, kernel: [3, 3], stride: [2, 2], padding: [[1, 1]; 2] },
        )
        .conv_strided("a1", 16, [3, 3], [1, 1], 1)
        .batch_norm("a1_bn")
        .node("a1_relu", Op::Activation(Activation::Relu))
        .conv_strided("a2", 16, [3, 3], [1, 1], 1)
        .batch_norm("a2_bn")
        .node_from("a_sum", Op::Add, vec!["a2_bn".into(), "pool".into()])
        .node("a_out", Op::Activation(Activation::Relu))
        .conv_strided("b1", 24, [3, 3], [2, 2], 1)
        .batch_norm("b1_bn")
        .node("b1_silu", Op::Activation(Activation::Silu))
        .conv_strided("b2", 24, [3, 3], [1, 1], 1)
        .batch_norm("b2_bn")
        .at("a_out")
        .conv_strided("down", 24, [1, 1], [2, 2], 0)
        .batch_norm("down_bn")
        .node_from("b_sum", Op::Add, vec!["b2_bn".into(), "down_bn".into()])
        .node("b_out", Op::Activation(Activation::Relu))
        .node("mean", Op::Reduce { kind: PoolKind::Mean, axes: vec![1, 2] })
        .at("b_out")
        .node("max", Op::Reduce { kind: PoolKind::Max, axes: vec![1, 2] })
        .concat("both", 0, &["mean", "max"])
        .dense("embed", 32)
        .node("embedding", Op::Activation(Activation::Relu))
        .dense("logits", 6)
        .build()
}

/// Ranges of all values of some examples but the outputs.
fn ranges(network: &Network, weights: &Weights, x: &[f32], batch: usize) -> Quantisation {
    let names: Vec<&str> = network.nodes.iter().map(|n| n.name.as_str()).collect();
    let values = Engine::new(&network.with_outputs(&names).unwrap(), weights)
        .unwrap()
        .run(&[x], batch)
        .unwrap();
    let range = |v: &[f32]| v.iter().fold([0.0f32; 2], |[l, h], &v| [l.min(v), h.max(v)]);
    let mut found = Quantisation::default();
    found.ranges.insert("input".into(), range(x));
    for (name, value) in names.iter().zip(&values).filter(|(n, _)| **n != "logits") {
        found.ranges.insert((*name).into(), range(&value.data));
    }
    found
}

#[test]
fn integers_say_nearly_what_floats_say_and_the_same_on_every_machine() {
    let network = for_integers();
    let weights = random_weights(&network);
    let batch = 5;
    let x = noise(batch * 480, 9);
    let found = ranges(&network, &weights, &x, batch);
    found.check(&network).unwrap();
    let expected = Engine::new(&network, &weights).unwrap().run(&[&x], batch).unwrap();
    let mut first: Option<Vec<Tensor>> = None;
    for isa in IntIsa::available() {
        let engine = Engine::quantised_with_isa(&network, &weights, &found, isa).unwrap();
        assert!(engine.integer_steps() >= 14, "{}", engine.integer_steps());
        let outputs = engine.run(&[&x], batch).unwrap();
        let largest = expected[0].data.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        for (a, b) in outputs[0].data.iter().zip(&expected[0].data) {
            assert!((a - b).abs() < 0.06 * largest, "{isa:?}: {a}, {b} in floats");
        }
        // One example at a time, and a second time in the same memory.
        let alone = engine.run(&[&x[480..960]], 1).unwrap();
        assert_eq!(alone[0].data, outputs[0].data[6..12], "{isa:?}");
        match &first {
            // The steps in floats are the same here, so all bits are.
            Some(first) => assert_eq!(*first, outputs, "{isa:?}"),
            None => first = Some(outputs),
        }
    }
}

#[test]
fn without_ranges_everything_stays_in_floats() {
    let network = for_integers();
    let weights = random_weights(&network);
    let x = noise(480, 9);
    let engine = Engine::quantised(&network, &weights, &Quantisation::default()).unwrap();
    assert_eq!(engine.integer_steps(), 0);
    assert_eq!(
        engine.run(&[&x], 1).unwrap(),
        Engine::new(&network, &weights).unwrap().run(&[&x], 1).unwrap()
    );
    // Some layers only: values are converted where they pass from one kind to the other.
    let mut found = ranges(&network, &weights, &x, 1);
    found.ranges.retain(|name, _| name.starts_with("a"));
    let mixed = Engine::quantised(&network, &weights, &found).unwrap();
    assert!(mixed.integer_steps() > 2);
    let (a, b) = (mixed.run(&[&x], 1).unwrap(), engine.run(&[&x], 1).unwrap());
    for (a, b) in a[0].data.iter().zip(&b[0].data) {
        assert!((a - b).abs() < 0.05, "{a} {b}");
    }
    found.ranges.insert("nobody".into(), [0.0, 1.0]);
    assert!(found.check(&network).unwrap_err().to_string().contains("nobody"));
    found.ranges.remove("nobody");
    found.ranges.insert("a1".into(), [0.0, f32::NAN]);
    assert!(found.check(&network).is_err());
}

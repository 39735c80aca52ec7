use super::*;
use crate::builder::NetworkBuilder;
use crate::network::{Activation, PoolKind};
use crate::tensor::Tensor;

fn small() -> Network {
    NetworkBuilder::new("input", [1, 16, 12])
        .conv("conv1", 8, [3, 3])
        .batch_norm("bn1")
        .relu()
        .max_pool([2, 2])
        .permute(&[1, 0, 2])
        .reshape([8, 48])
        .gru("gru", 5, true)
        .lstm("lstm", 4, false)
        .dense("logits", 3)
        .build()
}

#[test]
fn every_shape_is_inferred() {
    let shapes = small().shapes().unwrap();
    let expected: &[(&str, &[usize])] = &[
        ("input", &[1, 16, 12]),
        ("conv1", &[8, 16, 12]),
        ("bn1", &[8, 16, 12]),
        ("pool1", &[8, 8, 6]),
        ("permute1", &[8, 8, 6]),
        ("gru", &[8, 5]),
        ("lstm", &[4]),
        ("logits", &[3]),
    ];
    for (name, shape) in expected {
        assert_eq!(&shapes[*name], shape, "{name}");
    }
}

#[test]
fn parameters_and_macs_are_those_of_the_formulas() {
    let network = small();
    let (conv, bn, dense) = (8 * 9 + 8, 2 * 8, 3 * 4 + 3);
    let (gru, lstm) = (15 * 48 + 15 * 5 + 30, 16 * 5 + 16 * 4 + 32);
    assert_eq!(network.parameters().unwrap(), conv + bn + gru + lstm + dense);
    let macs = 8 * 16 * 12 * 9 + 8 * 15 * (48 + 5) + 8 * 16 * (5 + 4) + 12;
    assert_eq!(network.macs().unwrap(), macs as u64);
}

#[test]
fn with_outputs_drops_what_is_not_needed() {
    let network = NetworkBuilder::new("input", [4])
        .dense("trunk", 6)
        .dense("auxiliary", 2)
        .at("trunk")
        .dense("logits", 3)
        .build_with(&["logits", "auxiliary"]);
    let pruned = network.with_outputs(&["logits"]).unwrap();
    let names: Vec<_> = pruned.nodes.iter().map(|n| n.name.as_str()).collect();
    assert_eq!(names, ["trunk", "logits"]);
    let error = network.with_outputs(&["nothing"]).unwrap_err();
    assert!(error.to_string().contains("`nothing`"), "{error}");
}

#[test]
fn weights_are_checked_by_name_shape_and_value() {
    let network = small();
    let mut weights: Weights = network
        .weight_specs()
        .unwrap()
        .into_iter()
        .map(|s| (s.name, Tensor::zeros(s.shape)))
        .collect();
    network.check_weights(&weights).unwrap();
    weights.get_mut("gru.bias_hh").unwrap().data[3] = f32::NAN;
    let error = network.check_weights(&weights).unwrap_err().to_string();
    assert!(error.contains("gru.bias_hh") && error.contains("value 3"), "{error}");
    weights.insert("gru.bias_hh".into(), Tensor::zeros([2]));
    let error = network.check_weights(&weights).unwrap_err().to_string();
    assert!(error.contains("[2]") && error.contains("[15]"), "{error}");
    weights.remove("conv1.weight");
    let error = network.check_weights(&weights).unwrap_err().to_string();
    assert!(error.contains("conv1.weight") && error.contains("absent"), "{error}");
}

#[test]
fn contradictions_name_the_node_and_the_shapes() {
    let input = || NetworkBuilder::new("input", [2, 8, 6]);
    let cases: Vec<(&str, Network, &[&str])> = vec![
        ("unknown source", input().at("ghost").relu().build(), &["relu1", "ghost"]),
        ("wrong rank", input().flatten().conv("c", 4, [3, 3]).build(), &["`c`", "[96]"]),
        (
            "kernel too large",
            input().conv_valid("c", 4, [9, 1]).build(),
            &["`c`", "[9, 1]", "[8, 6]"],
        ),
        ("no filters", input().conv("c", 0, [3, 3]).build(), &["`c`", "0 filters"]),
        ("dropout of all", input().dropout(1.0).build(), &["drop1", "probability 1"]),
        ("axis outside", input().batch_norm_along("bn", 3, 1e-3).build(), &["bn", "axis 3"]),
        ("reshape", input().reshape([5, 5]).build(), &["[2, 8, 6]", "[5, 5]"]),
        ("permute", input().permute(&[0, 0, 1]).build(), &["[0, 0, 1]"]),
        ("reduce twice", input().reduce(PoolKind::Max, &[1, 1]).build(), &["[1, 1]"]),
        ("add", input().dense("d", 5).add("input").build(), &["[2, 8, 5]", "[2, 8, 6]"]),
        ("repeat", input().repeat_channels(3).build(), &["repeat1", "2"]),
        ("same name", input().dense("d", 5).dense("d", 5).build(), &["`d`", "twice"]),
        ("no output", input().build_with(&["z"]), &["`z`"]),
        ("recurrent rank", input().gru("g", 4, true).build(), &["`g`", "[time, feature]"]),
        (
            "pool of padding",
            input().pool(PoolKind::Mean, [2, 2], [1, 1], 2).build(),
            &["pool1", "padding"],
        ),
    ];
    for (what, network, evidence) in cases {
        let error = network.shapes().expect_err(what).to_string();
        assert!(evidence.iter().all(|e| error.contains(e)), "{what}: {error}");
    }
}

#[test]
fn hostile_sizes_are_refused_before_anything_is_allocated() {
    let huge = usize::MAX / 2;
    let input = || NetworkBuilder::new("input", [1, 64, 64]);
    let cases = vec![
        ("input", NetworkBuilder::new("input", [huge, 3]).relu().build()),
        ("dense", input().dense("d", huge).build()),
        ("conv", input().conv("c", huge, [3, 3]).build()),
        ("padding", input().conv_strided("c", 1, [1, 1], [1, 1], huge).build()),
        ("same padding", input().conv("c", 1, [huge, 1]).build()),
        ("hidden", input().reshape([64, 64]).lstm("l", huge, true).build()),
        ("repeat", input().repeat_channels(huge).build()),
        ("work", (0..400).fold(input(), |b, i| b.conv(&format!("c{i}"), 1024, [63, 63])).build()),
        ("nodes", (0..MAX_NODES).fold(input(), |b, _| b.activation(Activation::Tanh)).build()),
    ];
    for (what, network) in cases {
        assert!(network.shapes().is_err(), "{what} was accepted");
    }
}

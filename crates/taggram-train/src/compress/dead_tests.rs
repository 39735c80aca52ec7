//! Networks with filters that make constants say the same without them.

use taggram_features::{FeatureMap, Normalise, Windows};
use taggram_model::architectures::{MusicnnSize, musicnn};
use taggram_model::musicnn::MusicnnRunner;
use taggram_model::{Body, Engine, NetworkBuilder, Op, PoolKind, Storage};

use super::*;
use crate::compress::{CompressRecipe, Prune, Take, prune};
use crate::fit::Quiet;
use crate::grad::Trainable;
use crate::rng::Rng;

/// Weights as training begins with them, with biases and norms that do something.
fn weights(network: &Network, seed: u64) -> Weights {
    let mut weights = Trainable::new(network.clone(), seed).unwrap().weights();
    let mut rng = Rng::at(&[seed]);
    for (name, tensor) in &mut weights {
        let part = name.rsplit('.').next().unwrap_or_default();
        if tensor.shape.len() == 1 {
            for v in &mut tensor.data {
                *v = match part {
                    "running_var" | "weight" => 0.7 + 0.3 * rng.normal().abs(),
                    _ => 0.2 * rng.normal(),
                };
            }
        }
    }
    weights
}

/// What weight decay leaves of some filters' kernels.
fn kill(weights: &mut Weights, layer: &str, filters: impl IntoIterator<Item = usize>) {
    let tensor = weights.get_mut(&format!("{layer}.weight")).unwrap();
    let length = tensor.len() / tensor.shape[0];
    for filter in filters {
        tensor.data[filter * length..][..length].iter_mut().for_each(|w| *w *= 1e-31);
    }
}

/// A dead filter makes this after its norm.
fn make_constant(weights: &mut Weights, layer: &str, filter: usize, constant: f32) {
    weights.get_mut(&format!("{layer}.bias")).unwrap().data[filter] = 0.0;
    weights.get_mut(&format!("{layer}_bn.running_mean")).unwrap().data[filter] = 0.0;
    weights.get_mut(&format!("{layer}_bn.bias")).unwrap().data[filter] = constant;
}

fn noise(len: usize) -> Vec<f32> {
    let mut rng = Rng::at(&[5]);
    (0..len).map(|_| rng.normal()).collect()
}

fn outputs(network: &Network, weights: &Weights, input: &[f32]) -> Vec<f32> {
    Engine::new(network, weights).unwrap().run(&[input], 1).unwrap()[0].data.clone()
}

fn worst(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// The published musicnn's numbers of dead filters, in random weights.
fn dying_musicnn() -> (Network, Weights) {
    let network = musicnn(MusicnnSize::default());
    let mut weights = weights(&network, 4);
    let layers = [
        ("timbral_38", 24..204),
        ("timbral_67", 14..204),
        ("temporal_128", 3..51),
        ("temporal_64", 7..51),
        ("temporal_32", 17..51),
        ("mid1", 20..64),
        ("mid2", 61..64),
        ("mid3", 62..64),
    ];
    for (layer, dead) in layers {
        kill(&mut weights, layer, dead.clone());
        for filter in dead {
            let sign = if filter % 2 == 0 { 1e-6 } else { -1e-6 };
            make_constant(&mut weights, layer, filter, sign);
        }
    }
    // Read beside padding, where it would be missed.
    make_constant(&mut weights, "timbral_67", 14, 0.5);
    (network, weights)
}

#[test]
fn musicnn_loses_its_dead_filters_and_says_the_same() {
    let (network, weights) = dying_musicnn();
    let (small, values, layers) = take_out(&network, &weights, 1e-6).unwrap();
    let shapes = small.shapes().unwrap();
    let filters =
        ["timbral_38", "timbral_67", "temporal_128", "temporal_64", "temporal_32", "mid1"];
    assert_eq!(filters.map(|name| shapes[name][0]), [24, 15, 3, 7, 17, 62]);
    assert_eq!(shapes["penultimate"], [200]);
    assert_eq!(shapes["max_pool"], [66 + 3 * 62]);
    let names = |n: &Network| n.nodes.iter().map(|n| n.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&small), names(&network));
    let found = |name: &str| layers.iter().find(|l| l.name == name).unwrap();
    assert_eq!((found("timbral_67").dead, found("timbral_67").taken), (190, 189));
    // What is dead in one part of a sum goes where it is dead in all.
    assert_eq!((found("mid1").dead, found("mid1").taken), (44, 2));
    assert!(3 * small.parameters().unwrap() < network.parameters().unwrap());

    let mut rng = Rng::at(&[9]);
    let song = (0..500 * 96).map(|_| 2.0 + rng.normal()).collect();
    let song = FeatureMap::new(1, 500, 96, song);
    let windows = Windows { frames: 187, hop: 61, normalise: Normalise::None };
    let patch = &windows.cut(&song).unwrap().data[..187 * 96];
    let apart = worst(&outputs(&network, &weights, patch), &outputs(&small, &values, patch));
    assert!(apart < 1e-5, "{apart}");
    let [whole, cut] = [(&network, &weights), (&small, &values)].map(|(network, weights)| {
        MusicnnRunner::new(network, weights).unwrap().run(&song, &windows, 1).unwrap()
    });
    assert!(worst(&whole.tags, &cut.tags) < 1e-5);
    assert!(worst(&whole.penultimate, &cut.penultimate) < 1e-4);
}

/// Everything that filters can be followed through, with constants of any size.
#[test]
fn constants_are_folded_through_every_operation() {
    let conv = |out, kernel, groups, bias| Op::Conv2d {
        out,
        kernel,
        stride: [1, 1],
        padding: [[0; 2]; 2],
        bias,
        groups,
    };
    let network = NetworkBuilder::new("input", [2, 12, 9])
        .node("a", conv(6, [3, 3], 1, true))
        .batch_norm("a_bn")
        .elu()
        .node("deep", conv(6, [2, 1], 6, true))
        .pool(PoolKind::Mean, [2, 2], [1, 1], 1)
        .node("b", conv(5, [2, 2], 1, false))
        .activation(Activation::Silu)
        .node("turned", Op::Permute { order: vec![1, 2, 0] })
        .reduce(PoolKind::Max, &[1])
        .node("rows", Op::Slice { axis: 1, start: 1, length: 4 })
        .gru("gru", 4, false)
        .node("map", Op::Flatten)
        .at("turned")
        .reshape([63, 5])
        .reduce(PoolKind::Mean, &[0])
        .node("again", Op::Flatten)
        .node_from("stack", Op::Stack, vec!["again".into(), "again".into()])
        .flatten()
        .batch_norm_along("norm", 0, 1e-3)
        .dense("c", 6)
        .activation(Activation::Tanh)
        .dense("embedding", 4)
        .dense("d", 3)
        .concat("last", 0, &["d", "map"])
        .build();
    let mut weights = weights(&network, 7);
    kill(&mut weights, "a", [0, 4]);
    // One of them before the slice, one within it.
    kill(&mut weights, "b", [0, 3]);
    kill(&mut weights, "c", [2]);
    let (small, values, layers) = take_out(&network, &weights, 1e-6).unwrap();
    let taken: Vec<(&str, usize)> = layers.iter().map(|l| (l.name.as_str(), l.taken)).collect();
    assert_eq!(taken, [("a", 2), ("b", 2), ("c", 1)]);
    let shapes = small.shapes().unwrap();
    assert_eq!((shapes["deep"][0], &shapes["rows"][1..], shapes["norm"][0]), (4, &[3][..], 6));
    let input = noise(2 * 12 * 9);
    let apart = worst(&outputs(&network, &weights, &input), &outputs(&small, &values, &input));
    assert!(apart < 1e-5, "{apart}");
    // Nothing is left to take out.
    let again = take_out(&small, &values, 1e-6).unwrap();
    assert_eq!(again, (small, values, Vec::new()));
}

#[test]
fn filters_stay_where_they_are_needed() {
    // Beside padding, in an answer and before it, in a sum with others that live.
    let network = NetworkBuilder::new("input", [1, 8, 8])
        .conv("edge", 4, [3, 3])
        .relu()
        .conv("next", 4, [3, 3])
        .relu()
        .conv("more", 4, [1, 1])
        .add("relu2")
        .reduce(PoolKind::Mean, &[1, 2])
        .dense("embedding", 4)
        .dense("logits", 4)
        .build();
    let mut weights = weights(&network, 2);
    for layer in ["edge", "next", "embedding", "logits"] {
        kill(&mut weights, layer, [1]);
    }
    weights.get_mut("edge.bias").unwrap().data[1] = 0.3;
    let (small, values, layers) = take_out(&network, &weights, 1e-6).unwrap();
    assert_eq!((&small, &values), (&network, &weights));
    assert_eq!(layers.len(), 4);
    assert!(layers.iter().all(|l| (l.filters, l.dead, l.taken) == (4, 1, 0)), "{layers:?}");
    // What makes 0 is not missed beside padding.
    weights.get_mut("edge.bias").unwrap().data[1] = -0.3;
    let (small, values, layers) = take_out(&network, &weights, 1e-6).unwrap();
    assert_eq!(layers[0].taken, 1);
    let input = noise(64);
    let apart = worst(&outputs(&network, &weights, &input), &outputs(&small, &values, &input));
    assert!(apart < 1e-6, "{apart}");
}

#[test]
fn of_a_layer_that_is_all_dead_one_filter_stays() {
    let network = NetworkBuilder::new("input", [1, 6, 6])
        .conv_valid("a", 4, [3, 3])
        .relu()
        .flatten()
        .dense("embedding", 3)
        .dense("logits", 2)
        .build();
    let mut weights = weights(&network, 2);
    weights.get_mut("a.weight").unwrap().data.fill(0.0);
    let (small, values, layers) = take_out(&network, &weights, 0.0).unwrap();
    assert_eq!((small.shapes().unwrap()["a"][0], layers[0].taken), (1, 3));
    let input = noise(36);
    let apart = worst(&outputs(&network, &weights, &input), &outputs(&small, &values, &input));
    assert!(apart < 1e-6, "{apart}");
}

#[test]
fn models_say_what_was_taken_out_or_that_there_is_nothing() {
    let recipe = Prune { take: Take::Dead, ..Prune::default() };
    let mut artifact = taggram::artifact(taggram::DEFAULT_NAME).unwrap();
    let Body::Network { network, .. } = &artifact.description.body else { panic!("no network") };
    let layer = network.nodes.iter().find(|n| is_source(n)).unwrap().name.clone();
    kill(&mut artifact.weights, &layer, [0]);
    let (mut said, beside) = (String::new(), artifact.weights.len());
    let result = prune(&artifact, None, &recipe, &mut Quiet, &mut |text| said.push_str(text));
    match result {
        Ok(made) => {
            assert_ne!(made.storage, Storage::Int8);
            assert!(made.artifact.weights.len() >= beside, "weights beside the network's are kept");
            let description = &made.artifact.description;
            assert!(description.about.contains("1 dead filters were taken out"), "{description:?}");
            assert!(description.recipe.contains("# take = \"dead\""), "{}", description.recipe);
            let bytes = made.artifact.write(made.storage).unwrap();
            let read = taggram_model::Artifact::read(&bytes).unwrap();
            assert_eq!(read.description, description.clone());
            let error =
                prune(&read, None, &recipe, &mut Quiet, &mut |_| {}).err().unwrap().to_string();
            assert!(error.contains("nothing to take out"), "{error}");
        }
        Err(error) => assert!(error.to_string().contains("needs them"), "{error}"),
    }
    assert!(said.contains(&layer), "{said}");
    if let Body::Network { quantisation, .. } = &mut artifact.description.body {
        *quantisation = Some(taggram_model::Quantisation::default());
    }
    let error = prune(&artifact, None, &recipe, &mut Quiet, &mut |_| {}).err().unwrap().to_string();
    assert!(error.contains("prune first"), "{error}");
    let text = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../recipes/compress-dead.toml"
    ));
    assert_eq!(
        CompressRecipe::parse(&text.unwrap(), "compress-dead.toml").unwrap(),
        CompressRecipe::Prune(recipe)
    );
}

use std::collections::BTreeMap;

use taggram_model::architectures::{Architecture, Compact, Heads};
use taggram_model::{Engine, Network, NetworkBuilder, Op, PoolKind, Weights};

use super::*;
use crate::dataset::Dataset;
use crate::dataset::tests::real;
use crate::fit::Quiet;
use crate::grad::Trainable;
use crate::rng::Rng;

fn weights(network: &Network) -> Weights {
    Trainable::new(network.clone(), 3).unwrap().weights()
}

/// Residual blocks, two pools side by side, and a map that is flattened.
fn network() -> Network {
    NetworkBuilder::new("input", [1, 12, 8])
        .conv_strided("stem", 8, [3, 3], [1, 1], 1)
        .batch_norm("stem_bn")
        .relu()
        .conv_strided("a1", 16, [3, 3], [1, 1], 1)
        .batch_norm("a1_bn")
        .relu()
        .conv_strided("a2", 8, [3, 3], [1, 1], 1)
        .batch_norm("a2_bn")
        .node_from("sum", Op::Add, vec!["a2_bn".into(), "relu1".into()])
        .node("out", Op::Activation(taggram_model::Activation::Relu))
        .node("mean", Op::Reduce { kind: PoolKind::Mean, axes: vec![1, 2] })
        .at("out")
        .max_pool([4, 4])
        .flatten()
        .node("flat", Op::Dense { out: 6, bias: true })
        .concat("both", 0, &["mean", "flat"])
        .dense("logits", 3)
        .build()
}

#[test]
fn filters_that_do_nothing_can_be_taken_out_unnoticed() {
    let network = network();
    let mut weights = weights(&network);
    // Half of the filters of each layer make nothing but zeros: they are the smallest.
    let mut silence = |name: &str, every: usize| {
        for part in ["weight", "bias"] {
            if let Some(tensor) = weights.get_mut(&format!("{name}.{part}")) {
                let rows = tensor.shape[0];
                let inner = tensor.data.len() / rows;
                for row in (0..rows).filter(|r| r % every == 1) {
                    tensor.data[row * inner..(row + 1) * inner].fill(0.0);
                }
            }
        }
    };
    for name in ["stem", "stem_bn", "a1", "a1_bn", "a2", "a2_bn", "flat"] {
        silence(name, 2);
    }
    let (small, values) = shrink(&network, &weights, 0.5).unwrap();
    let shapes = small.shapes().unwrap();
    assert_eq!((shapes["stem"][0], shapes["a1"][0], shapes["a2"][0]), (4, 8, 4));
    assert_eq!(shapes["logits"], [3]);
    assert!(small.parameters().unwrap() < network.parameters().unwrap() / 2);
    let mut rng = Rng::at(&[1]);
    let x: Vec<f32> = (0..96).map(|_| rng.normal()).collect();
    let whole = Engine::new(&network, &weights).unwrap().run(&[&x], 1).unwrap();
    let cut = Engine::new(&small, &values).unwrap().run(&[&x], 1).unwrap();
    for (a, b) in whole[0].data.iter().zip(&cut[0].data) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
}

#[test]
fn the_default_network_shrinks_and_its_answer_stays_whole() {
    let sizes = Compact { stem: 8, blocks: vec![12], columns: 20, embedding: 10, dropout: 0.1 };
    let heads = Heads { classes: 3, auxiliary: Vec::new() };
    let network = Architecture::Compact(sizes).build([1, 16, 16], &heads);
    let weights = weights(&network);
    for share in [0.0, 0.3, 0.99] {
        let (small, values) = shrink(&network, &weights, share).unwrap();
        small.check_weights(&values).unwrap();
        let shapes = small.shapes().unwrap();
        assert_eq!(shapes["logits"], [3]);
        assert_eq!(shapes["columns"][0], if share > 0.9 { 2 } else { shapes["columns"][0] });
        assert_eq!(shapes["pooled"][0], 2 * shapes["columns"][0]);
    }
    assert_eq!(shrink(&network, &weights, 0.0).unwrap(), (network, weights));
}

#[test]
fn recipes_are_read_and_mistakes_named() {
    for method in ["quantize", "prune", "distill"] {
        let recipe = CompressRecipe::usual(method).unwrap();
        let text = toml::to_string(&recipe).unwrap();
        assert!(text.contains(method), "{text}");
        assert_eq!(CompressRecipe::parse(&text, "r.toml").unwrap(), recipe);
    }
    let cases = [
        ("method = \"squash\"", "squash"),
        ("method = \"prune\"\nshare = 1.5", "share is 1.5"),
        ("method = \"prune\"\ntake = \"dead\"\nbelow = 0.5", "below is 0.5"),
        ("method = \"prune\"\ntake = \"dead\"\nbelow = -1.0", "below is -1"),
        ("method = \"prune\"\ntake = \"dead\"\nbelow = nan", "below is NaN"),
        ("method = \"quantize\"\nsongs = 0", "songs is 0"),
        ("method = \"quantize\"\nsong = 3", "song"),
    ];
    for (text, says) in cases {
        let error = CompressRecipe::parse(text, "r.toml").unwrap_err().to_string();
        assert!(error.contains(says) && error.starts_with("r.toml"), "{error}");
    }
    assert!(CompressRecipe::usual("zip").unwrap_err().to_string().contains("none of"));
}

#[test]
fn the_usual_student_is_a_sound_recipe_with_one_teacher() {
    let artifact = taggram::artifact(taggram::DEFAULT_NAME).unwrap();
    let recipe =
        student(&artifact, "default", &Distill { epochs: 3, ..Distill::default() }).unwrap();
    assert_eq!(recipe.fit.epochs, 3);
    assert_eq!(recipe.data.teachers, BTreeMap::from([("whole".into(), "model:default".into())]));
    recipe.check().unwrap();
}

#[test]
fn models_that_a_method_cannot_help_get_a_sentence() {
    let mut artifact = taggram::artifact(taggram::DEFAULT_NAME).unwrap();
    let recipe = Quantize::default();
    let mut quiet = |_: &str| {};
    let error = quantize(&artifact, None, &recipe, &mut quiet).err().unwrap().to_string();
    assert!(error.contains("give a dataset"), "{error}");
    if let Some(folder) = real("mel") {
        let songs = Dataset::open(&folder).unwrap();
        let mut other = artifact.clone();
        if let taggram_model::Body::Network { front_end, .. } = &mut other.description.body {
            front_end.n_fft = 4096;
        }
        let error = quantize(&other, Some(&songs), &recipe, &mut quiet).err().unwrap();
        assert!(error.to_string().contains("it was made by Mel"), "{error}");
        other.description.recipe = "Imported from elsewhere".into();
        let error =
            prune(&other, Some(&songs), &Prune::default(), &mut Quiet, &mut quiet).err().unwrap();
        assert!(error.to_string().contains("not trained by `taggram train`"), "{error}");
    }
    if let taggram_model::Body::Network { quantisation, .. } = &mut artifact.description.body {
        *quantisation = Some(taggram_model::Quantisation::default());
    }
    let error = quantize(&artifact, None, &recipe, &mut quiet).err().unwrap().to_string();
    assert!(error.contains("already"), "{error}");
    // Halves need no songs and change nothing else.
    let halves = Quantize { arithmetic: Arithmetic::F16, ..recipe };
    let made = quantize(&artifact, None, &halves, &mut quiet).unwrap();
    assert_eq!((made.storage, made.artifact.weights), (Storage::F16, artifact.weights));
}

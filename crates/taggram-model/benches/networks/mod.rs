//! Networks to measure, with reproducible weights. Shared by the benchmark and the example
//! `bench_inference`.

use taggram_model::architectures::{Architecture, Heads};
use taggram_model::network::PoolKind;
use taggram_model::{Init, Network, NetworkBuilder, Tensor, Weights};

/// Name and network, smallest first.
pub fn all() -> Vec<(&'static str, Network)> {
    let plain = |filters: &str, kernel: usize, pools: &str, dense: &str| {
        format!(
            r#"{{"architecture": "plain-cnn", "filters": {filters}, "kernel": {kernel}, "pools": {pools}, "dense": {dense}, "dropout": 0.5}}"#
        )
    };
    let chunk = r#"{"architecture": "chunk-cnn", "filters": [64, 128, 256, 512], "kernel": 2,
        "dense": 1024, "dropout": 0.5}"#;
    let crnn = r#"{"architecture": "crnn", "filters": [64, 128, 128, 128],
        "pools": [[2, 2], [3, 3], [4, 4], [4, 4]], "hidden": 32, "dropout": [0.1, 0.3]}"#;
    let lstm = r#"{"architecture": "lstm", "hidden": [64, 64], "dense": 64, "dropout": 0.3}"#;
    let multimodal = r#"{"architecture": "multimodal", "picture_bands": 128, "width": 64,
        "hidden": [64], "dense": 128, "dropout": 0.3}"#;
    let nine = plain("[256, 256, 256, 256]", 3, "[2, 2, 2]", "[256, 128]");
    let cnn599 = plain("[149, 73, 35]", 4, "[4, 2, 2]", "[8192]");
    vec![
        ("small_cnn", small_cnn()),
        ("lstm", architecture(lstm, [1, 1290, 13])),
        ("mfcc_cnn_3s", architecture(&nine, [1, 130, 14])),
        ("chunk_cnn", architecture(chunk, [1, 128, 128])),
        ("resnet18", architecture(r#"{"architecture": "resnet18"}"#, [1, 128, 128])),
        ("multimodal", architecture(multimodal, [1, 128, 141])),
        ("system3_cnn", architecture(&cnn599, [1, 599, 128])),
        ("musicnn", architecture(r#"{"architecture": "musicnn"}"#, [1, 187, 96])),
        ("crnn", architecture(crnn, [1, 1366, 96])),
        ("vgg16", architecture(r#"{"architecture": "vgg16"}"#, [1, 129, 128])),
    ]
}

/// Weights in the range that training starts from, the same on every call.
pub fn weights(network: &Network) -> Weights {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    let fill = |spec: taggram_model::WeightSpec| {
        let len = spec.shape.iter().product();
        let scale =
            |bound: f32, next: &mut dyn FnMut() -> f32| (0..len).map(|_| bound * next()).collect();
        let data = match spec.init {
            Init::Zeros => vec![0.0; len],
            Init::Ones => vec![1.0; len],
            Init::Fan { fan_in, .. } => scale((6.0 / fan_in as f32).sqrt(), &mut next),
            Init::Uniform { bound } => scale(bound, &mut next),
        };
        (spec.name, Tensor::new(spec.shape, data))
    };
    network.weight_specs().expect("the networks here are valid").into_iter().map(fill).collect()
}

/// An input in −1…1.
pub fn input(network: &Network) -> Vec<f32> {
    let len: usize = network.inputs[0].shape.iter().product();
    (0..len).map(|i| ((i as u64 * 2_654_435_761 % 1000) as f32) / 500.0 - 1.0).collect()
}

/// Four blocks of 3 × 3 convolution, norm, ReLU and pool on a 128 × 128 map.
fn small_cnn() -> Network {
    let mut b = NetworkBuilder::new("input", [1, 128, 128]);
    for (i, filters) in [32, 64, 128, 128].into_iter().enumerate() {
        b = b
            .conv(&format!("conv{i}"), filters, [3, 3])
            .batch_norm(&format!("bn{i}"))
            .relu()
            .max_pool([2, 2]);
    }
    b.reduce(PoolKind::Mean, &[1, 2]).dense("logits", 10).build()
}

/// An architecture of [`taggram_model::architectures`] for ten genres.
fn architecture(text: &str, input: [usize; 3]) -> Network {
    let architecture: Architecture = serde_json::from_str(text).expect("sizes of an architecture");
    architecture.build(input, &Heads { classes: 10, auxiliary: Vec::new() })
}

//! The sizes that the sources give, and the shapes they imply.

use super::*;

fn genres(classes: usize) -> Heads {
    Heads { classes, auxiliary: Vec::new() }
}

/// The networks of the five systems on the patches of their sources, with their parameters.
pub(crate) fn published() -> Vec<(&'static str, Network, Option<usize>)> {
    let build = |text: &str, input: [usize; 3], classes: usize| {
        serde_json::from_str::<Architecture>(text).unwrap().build(input, &genres(classes))
    };
    let resnet = r#"{"architecture": "resnet18"}"#;
    let nine = r#"{"architecture": "plain-cnn", "filters": [256, 256, 256, 256], "kernel": 3,
        "pools": [2, 2, 2], "dense": [256, 128], "dropout": 0.3}"#;
    let crnn = r#"{"architecture": "crnn", "filters": [64, 128, 128, 128],
        "pools": [[2, 2], [3, 3], [4, 4], [4, 4]], "hidden": 32, "dropout": [0.1, 0.3]}"#;
    let cnn599 = r#"{"architecture": "plain-cnn", "filters": [149, 73, 35], "kernel": 4,
        "pools": [4, 2, 2], "dense": [8192], "dropout": 0.5}"#;
    vec![
        ("vgg16", build(r#"{"architecture": "vgg16"}"#, [1, 129, 128], 10), Some(16_814_666)),
        (
            "chunk cnn",
            build(
                r#"{"architecture": "chunk-cnn", "filters": [64, 128, 256, 512], "kernel": 2,
                    "dense": 1024, "dropout": 0.5}"#,
                [1, 128, 128],
                10,
            ),
            None,
        ),
        // Published: 396,786, which counts other layers than the text has (the test of the count below).
        ("crnn", build(crnn, [1, 1366, 96], 50), Some(394_290)),
        // torchvision's resnet18 has 11,689,512 with 1000 classes on 512 values.
        ("resnet18", build(resnet, [1, 128, 128], 10), Some(11_689_512 - 990 * 513)),
        (
            "lstm",
            build(
                r#"{"architecture": "lstm", "hidden": [64, 64], "dense": 64, "dropout": 0.3}"#,
                [1, 1290, 13],
                10,
            ),
            None,
        ),
        (
            "multimodal",
            build(
                r#"{"architecture": "multimodal", "picture_bands": 128, "width": 64,
                    "hidden": [64], "dense": 128, "dropout": 0.3}"#,
                [1, 128, 141],
                10,
            ),
            None,
        ),
        ("9 layers, 3 s", build(nine, [1, 130, 13], 10), Some(2_855_818)),
        ("9 layers, 3 s, loudness", build(nine, [1, 130, 14], 10), Some(2_855_818)),
        ("9 layers, 6 s", build(nine, [1, 259, 14], 10), None),
        ("9 layers, 9 s", build(nine, [1, 388, 14], 10), None),
        ("599 frames", build(cnn599, [1, 599, 128], 10), None),
        ("musicnn", build(r#"{"architecture": "musicnn"}"#, [1, 187, 96], 50), Some(787_159)),
    ]
}

#[test]
fn networks_have_the_published_sizes() {
    for (name, network, parameters) in published() {
        let shapes = network.shapes().unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(shapes.contains_key("logits"), "{name}");
        if let Some(parameters) = parameters {
            assert_eq!(network.parameters().unwrap(), parameters, "{name}");
        }
    }
}

/// Where the 396,786 parameters of Choi et al. 2017 come from, layer by layer: trained values alone; time padded
/// from 1366 to 1440 frames and normalised frame by frame (a scale and a shift each), where the text says
/// frequency, 96 bands; GRUs with one bias vector. Ours has the text's norm and PyTorch's GRU of two biases.
#[test]
fn the_published_count_of_the_crnn_is_understood() {
    let conv = |from: usize, to: usize| 9 * from * to + to + 2 * to;
    let gru = |from: usize, biases: usize| 3 * (32 * from + 32 * 32 + biases * 32);
    let count = |normalised: usize, biases: usize| {
        2 * normalised
            + conv(1, 64)
            + conv(64, 128)
            + 2 * conv(128, 128)
            + gru(128, biases)
            + gru(32, biases)
            + 33 * 50
    };
    assert_eq!(count(1440, 1), 396_786);
    assert_eq!(count(96, 2), 394_290);
}

#[test]
fn the_trunk_of_musicnn_is_musicnns() {
    let trained = MusicnnTrunk::default().build([1, 187, 96], &genres(10));
    let published = musicnn(MusicnnSize::default());
    let shared = published.nodes.len() - 2;
    assert_eq!(trained.nodes[..shared], published.nodes[..shared]);
    assert_eq!(trained.outputs, ["logits"]);
}

#[test]
fn compact_is_compact() {
    let sizes =
        Compact { stem: 16, blocks: vec![40, 80], columns: 192, embedding: 128, dropout: 0.2 };
    let heads = Heads { classes: 10, auxiliary: vec![("tags".into(), 50)] };
    let network = Architecture::Compact(sizes).build([1, 128, 128], &heads);
    let shapes = network.shapes().unwrap();
    assert_eq!(shapes["logits"], [10]);
    assert_eq!(shapes["tags"], [50]);
    // Five patches in 30 s: the whole clip stays below 0.3 GMAC.
    let lean = network.with_outputs(&["logits"]).unwrap();
    assert!(5 * lean.macs().unwrap() < 300_000_000, "{} MAC", lean.macs().unwrap());
}

#[test]
fn sizes_that_do_not_fit_name_the_node_and_do_not_panic() {
    for (text, input) in [
        (r#"{"architecture": "vgg16"}"#, [1, 16, 128]),
        (
            r#"{"architecture": "crnn", "filters": [8], "pools": [[0, 2]], "hidden": 4, "dropout": [0.1, 0.3]}"#,
            [1, 20, 20],
        ),
        (
            r#"{"architecture": "multimodal", "picture_bands": 200, "width": 8, "hidden": [4], "dense": 8, "dropout": 0.3}"#,
            [1, 128, 141],
        ),
    ] {
        let architecture: Architecture = serde_json::from_str(text).unwrap();
        let error = architecture.build(input, &genres(10)).shapes().unwrap_err();
        assert!(error.place.starts_with("node"), "{error}");
    }
    assert!(
        serde_json::from_str::<Architecture>(r#"{"architecture": "vgg16", "wide": 1}"#).is_err()
    );
}

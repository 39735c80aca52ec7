//! The fast path against the engine, patch by patch, with random weights.

use taggram_features::{FeatureMap, Normalise, Windows};

use super::*;
use crate::{Engine, Tensor, architectures::musicnn as build};

/// Pseudo-random numbers, −1…1 (xorshift).
fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// Weights of the order of trained ones, with batch norms of either sign.
fn random_weights(network: &Network) -> Weights {
    let mut noise = noise(7);
    let mut weights = Weights::new();
    for spec in network.weight_specs().unwrap() {
        let fan_in = spec.shape[1..].iter().product::<usize>().max(1) as f32;
        let part = spec.name.rsplit('.').next().unwrap_or_default();
        let norm = spec.shape.len() == 1 && network_has_norm(network, &spec.name);
        let data = (0..spec.shape.iter().product())
            .map(|_| match part {
                "running_var" => 1.0 + 0.5 * noise(),
                "weight" if norm => 1.5 * noise(),
                "weight" => 2.0 * noise() / fan_in.sqrt(),
                _ => 0.2 * noise(),
            })
            .collect();
        weights.insert(spec.name, Tensor::new(spec.shape, data));
    }
    weights
}

fn network_has_norm(network: &Network, weight: &str) -> bool {
    let node = weight.rsplit_once('.').map_or(weight, |(node, _)| node);
    network.nodes.iter().any(|n| n.name == node && matches!(n.op, Op::BatchNorm { .. }))
}

fn song(frames: usize) -> FeatureMap {
    let mut noise = noise(3);
    let data = (0..frames * BANDS).map(|_| 2.0 + 2.0 * noise()).collect();
    FeatureMap::new(1, frames, BANDS, data)
}

/// The largest difference, relative to the largest value where that is above 1.
fn worst(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let scale = b.iter().map(|b| b.abs()).fold(1.0, f32::max);
    a.iter().zip(b).map(|(a, b)| (a - b).abs() / scale).fold(0.0, f32::max)
}

/// musicnn with other numbers of filters, as is left of it after some were taken out.
fn with_filters(size: MusicnnSize, timbral: [usize; 2], temporal: [usize; 3]) -> Network {
    let mut network = build(size);
    let width = timbral.iter().chain(&temporal).sum();
    let named = ["timbral_38", "timbral_67", "temporal_128", "temporal_64", "temporal_32"];
    for node in &mut network.nodes {
        let place = named.iter().position(|name| *name == node.name);
        match (&mut node.op, place) {
            (Op::Conv2d { out, .. }, Some(i)) => {
                *out = *timbral.iter().chain(&temporal).nth(i).unwrap()
            }
            (Op::Conv2d { kernel, .. }, None) if node.name == "mid1" => kernel[1] = width,
            (Op::Reshape { shape }, _) => shape[2] = width,
            _ => {}
        }
    }
    network
}

/// Song length, patch length, hop: overlapping, touching, apart, tiny, too short.
const CASES: [[usize; 3]; 9] = [
    [500, 187, 61],
    [400, 187, 187],
    [450, 187, 200],
    [200, 187, 3],
    [100, 187, 61],
    [60, 40, 7],
    [30, 9, 4],
    [12, 5, 1],
    [7, 2, 2],
];

#[test]
fn whole_songs_equal_patch_by_patch() {
    let networks = CASES
        .map(|case| (case, build(MusicnnSize { frames: case[1], ..Default::default() })))
        .into_iter()
        // Fewer filters: whole vectors of filling, and layers that fill no vector.
        .chain([[24, 14], [1, 33]].into_iter().zip([[3, 7, 17], [9, 1, 4]]).map(
            |(timbral, temporal)| {
                let size = MusicnnSize { frames: 187, middle: 12, units: 20, tags: 7 };
                ([500, 187, 61], with_filters(size, timbral, temporal))
            },
        ));
    for ([frames, patch, hop], network) in networks {
        let weights = random_weights(&network);
        let names = ["tags", "max_pool", "mean_pool", "penultimate"];
        let engine = Engine::new(&network.with_outputs(&names).unwrap(), &weights).unwrap();
        let windows = Windows { frames: patch, hop, normalise: Normalise::None };
        let map = song(frames);
        let patches = windows.cut(&map).unwrap();
        let expected = engine.run(&[&patches.data], patches.count).unwrap();
        for isa in Isa::available() {
            let runner = MusicnnRunner::with_isa(&network, &weights, isa).unwrap();
            for threads in [1, 3] {
                let out = runner.run(&map, &windows, threads).unwrap();
                assert_eq!((&out.starts, out.padded), (&patches.starts, patches.padded));
                let got = [&out.tags, &out.max_pool, &out.mean_pool, &out.penultimate];
                for ((name, got), expected) in names.iter().zip(got).zip(&expected) {
                    let worst = worst(got, &expected.data);
                    assert!(
                        worst <= 1e-5,
                        "{name}, {frames} frames, patches of {patch} every {hop}, {isa:?}: {worst}"
                    );
                }
            }
        }
    }
}

#[test]
fn sections_do_not_show() {
    // Long enough for several sections.
    let network = build(MusicnnSize::default());
    let runner = MusicnnRunner::new(&network, &random_weights(&network)).unwrap();
    let windows = Windows { frames: 187, hop: 61, normalise: Normalise::None };
    let map = song(9000);
    let whole = runner.run(&map, &windows, 1).unwrap();
    let from = 61 * 100;
    let rest = FeatureMap::new(1, 9000 - from, BANDS, map.data[from * BANDS..].to_vec());
    let part = runner.run(&rest, &windows, 1).unwrap();
    assert!(worst(&whole.max_pool[100 * 753..], &part.max_pool) <= 1e-5);
    assert!(worst(&whole.tags[100 * 50..], &part.tags) <= 1e-5);
}

#[test]
fn silence_gives_finite_and_equal_rows() {
    let network = build(MusicnnSize::default());
    let runner = MusicnnRunner::new(&network, &random_weights(&network)).unwrap();
    let windows = Windows { frames: 187, hop: 61, normalise: Normalise::None };
    let silence = FeatureMap::new(1, 500, BANDS, vec![0.0; 500 * BANDS]);
    let out = runner.run(&silence, &windows, 1).unwrap();
    for row in out.tags.chunks_exact(50) {
        assert!(row.iter().all(|p| p.is_finite()));
        assert!(worst(row, &out.tags[..50]) <= 1e-6);
    }
}

#[test]
fn other_networks_and_inputs_are_refused() {
    let network = build(MusicnnSize::default());
    let weights = random_weights(&network);
    let mut other = network.clone();
    other.nodes.pop();
    assert!(MusicnnRunner::new(&other, &weights).is_err());
    // Filters that do not add up to what reads them.
    let mut other = with_filters(MusicnnSize::default(), [24, 14], [3, 7, 17]);
    for node in &mut other.nodes {
        if let (Op::Conv2d { out, .. }, "temporal_64") = (&mut node.op, node.name.as_str()) {
            *out = 8;
        }
    }
    assert!(MusicnnRunner::new(&other, &weights).is_err());
    let runner = MusicnnRunner::new(&network, &weights).unwrap();
    let windows = Windows { frames: 187, hop: 61, normalise: Normalise::None };
    for map in [FeatureMap::new(1, 200, 80, vec![0.0; 16_000]), FeatureMap::new(1, 0, 96, vec![])] {
        let error = runner.run(&map, &windows, 1).unwrap_err();
        assert!(error.message.contains("96 bands"), "{error}");
    }
    let z_score = Windows {
        normalise: Normalise::PatchZScore { top_db: 80.0, quiet_bands: 0 },
        ..windows.clone()
    };
    assert!(runner.run(&song(200), &z_score, 1).is_err());
    assert!(runner.run(&song(200), &Windows { hop: 0, ..windows }, 1).is_err());
}

#[test]
fn integers_give_nearly_the_same_features_on_every_machine() {
    let size = MusicnnSize::default();
    let networks = [[500, 187, 61], [450, 187, 200], [60, 40, 7], [12, 5, 1], [7, 2, 2]]
        .map(|case| (case, build(MusicnnSize { frames: case[1], ..size })))
        .into_iter()
        .chain([([500, 187, 61], with_filters(size, [24, 14], [3, 7, 17]))]);
    for ([frames, patch, hop], network) in networks {
        let weights = random_weights(&network);
        let map = song(frames);
        let windows = Windows { frames: patch, hop, normalise: Normalise::None };
        let floats = MusicnnRunner::new(&network, &weights).unwrap();
        let expected = floats.run(&map, &windows, 1).unwrap();
        let engine = Engine::new(&network.with_outputs(&POINTS[1..]).unwrap(), &weights).unwrap();
        let patches = windows.cut(&map).unwrap();
        let values = engine.run(&[&patches.data], patches.count).unwrap();
        let range = |v: &[f32]| v.iter().fold([0.0f32; 2], |[l, h], &v| [l.min(v), h.max(v)]);
        let mut found = Quantisation {
            spectrum: floats.spectrum_limits(std::slice::from_ref(&map)),
            ..Default::default()
        };
        found.ranges.insert(POINTS[0].into(), range(&map.data));
        for (name, value) in POINTS[1..].iter().zip(&values) {
            found.ranges.insert((*name).into(), range(&value.data));
        }
        let mut first: Option<MusicnnOutput> = None;
        for isa in IntIsa::available() {
            let runner =
                MusicnnRunner::quantised_with_isa(&network, &weights, &found, isa).unwrap();
            let out = runner.run(&map, &windows, 1).unwrap();
            let max = worst(&out.max_pool, &expected.max_pool);
            let mean = worst(&out.mean_pool, &expected.mean_pool);
            assert!(max < 0.03 && mean < 0.02, "{isa:?}, patches of {patch}: {max} {mean}");
            // Sums of bytes are the same; what is in floats is summed in another order elsewhere.
            let first = first.get_or_insert_with(|| out.clone());
            assert!(worst(&out.max_pool, &first.max_pool) < 1e-2, "{isa:?}");
            assert!(worst(&out.tags, &first.tags) < 1e-2, "{isa:?}");
        }
        let mut lacking = found.clone();
        lacking.ranges.remove("cnn1");
        let error = MusicnnRunner::quantised(&network, &weights, &lacking).unwrap_err();
        assert!(error.message.contains("cnn1"), "{error}");
        let lacking = Quantisation { spectrum: Vec::new(), ..found };
        assert!(MusicnnRunner::quantised(&network, &weights, &lacking).is_err());
    }
}

//! musicnn (Pons and Serra, "musicnn: pre-trained convolutional neural networks for music
//! audio tagging", 2019): filters shaped after timbre and tempo, a small dense middle, and
//! pooling over time.
//!
//! The node names double as the names of the layers that the original extractor returns:
//! `timbral`, `temporal`, `cnn1`, `cnn2`, `cnn3`, `mean_pool`, `max_pool`, `penultimate`. All
//! have time before feature, as there.

use serde::{Deserialize, Serialize};

use super::Heads;
use crate::network::{Activation, Network, Op, PoolKind};
use crate::{NetworkBuilder, builder::same};

/// Batch norm's ε in TensorFlow.
pub const EPS: f32 = 1e-3;
/// Filters of each timbral width, `int(1.6 · 128)`.
pub const TIMBRAL_FILTERS: usize = 204;
/// Bands that the timbral filters span: 40 % and 70 % of 96.
pub const TIMBRAL_WIDTHS: [usize; 2] = [38, 67];
/// Frames that the timbral and the middle filters span.
pub const SHORT: usize = 7;
/// Filters of each temporal length, `int(1.6 · 32)`.
pub const TEMPORAL_FILTERS: usize = 51;
/// Frames that the temporal filters span.
pub const TEMPORAL_LENGTHS: [usize; 3] = [128, 64, 32];
/// Mel bands of the input.
pub const BANDS: usize = 96;

/// The sizes in which published musicnn networks differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MusicnnSize {
    /// Frames of a patch, 187 (2.99 s) as trained. The weights do not depend on it.
    pub frames: usize,
    /// Filters of each layer of the middle: 64.
    pub middle: usize,
    /// Units of the penultimate layer: 200.
    pub units: usize,
    /// Number of tags: 50.
    pub tags: usize,
}

impl Default for MusicnnSize {
    fn default() -> Self {
        Self { frames: 187, middle: 64, units: 200, tags: 50 }
    }
}

/// `[1, time, 96]` → the tags' probabilities `[tag]` (node `tags`; before the sigmoid:
/// `logits`). 787,159 trainable parameters in the default size.
pub fn musicnn(size: MusicnnSize) -> Network {
    trunk(size.frames, size.middle, size.units)
        .dense("logits", size.tags)
        .node("tags", Op::Activation(Activation::Sigmoid))
        .build()
}

/// musicnn with other heads, to be trained: the `[model]` table of a recipe. Layers are named as
/// in [`musicnn`], so that imported weights find their places.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MusicnnTrunk {
    /// Filters of each layer of the middle.
    #[serde(default = "middle")]
    pub middle: usize,
    /// Units of the penultimate layer.
    #[serde(default = "units")]
    pub units: usize,
}

fn middle() -> usize {
    MusicnnSize::default().middle
}

fn units() -> usize {
    MusicnnSize::default().units
}

impl MusicnnTrunk {
    /// The network for patches `[1, time, 96]` with `heads`.
    pub fn build(&self, input: [usize; 3], heads: &Heads) -> Network {
        heads.append(trunk_of(input, self.middle, self.units))
    }
}

fn trunk(frames: usize, middle: usize, units: usize) -> NetworkBuilder {
    trunk_of([1, frames, BANDS], middle, units)
}

/// Everything before the last dense layer.
fn trunk_of(input: [usize; 3], middle: usize, units: usize) -> NetworkBuilder {
    let frames = input[1];
    let mut b = NetworkBuilder::new("input", input).batch_norm_along("input_bn", 0, EPS);

    for width in TIMBRAL_WIDTHS {
        // Only time is padded: every position over the bands is tried, and the best one kept.
        b = filters_over_bands(
            b.at("input_bn"),
            &format!("timbral_{width}"),
            (TIMBRAL_FILTERS, [SHORT, width]),
            [same([SHORT, 1])[0], [0, 0]],
        );
    }
    for length in TEMPORAL_LENGTHS {
        let kernel = [length, 1];
        let name = format!("temporal_{length}");
        b = filters_over_bands(b.at("input_bn"), &name, (TEMPORAL_FILTERS, kernel), same(kernel));
    }
    b = b
        .concat("timbral", 1, &["timbral_38_max", "timbral_67_max"])
        .concat("temporal", 1, &["temporal_128_max", "temporal_64_max", "temporal_32_max"])
        .concat("front", 1, &["timbral", "temporal"]);

    let width = 2 * TIMBRAL_FILTERS + 3 * TEMPORAL_FILTERS;
    b = b.node("front_image", Op::Reshape { shape: vec![1, frames, width] });
    b = middle_layer(b, "mid1", [SHORT, width], middle, "cnn1");
    b = middle_layer(b, "mid2", [SHORT, middle], middle, "mid2_t");
    b = b.node_from("cnn2", Op::Add, vec!["mid2_t".into(), "cnn1".into()]);
    b = middle_layer(b, "mid3", [SHORT, middle], middle, "mid3_t");
    b = b.node_from("cnn3", Op::Add, vec!["mid3_t".into(), "cnn2".into()]);

    let over_time = |kind| Op::Reduce { kind, axes: vec![0, 1] };
    b.concat("features", 2, &["front_image", "cnn1", "cnn2", "cnn3"])
        .node("max_pool", over_time(PoolKind::Max))
        .at("features")
        .node("mean_pool", over_time(PoolKind::Mean))
        // The original concatenates in a new last axis and flattens: max0, mean0, max1, …
        .node_from("pools", Op::Stack, vec!["max_pool".into(), "mean_pool".into()])
        .flatten()
        .batch_norm_along("pools_bn", 0, EPS)
        .dropout(0.5)
        .dense("dense", units)
        .relu()
        .batch_norm_along("penultimate", 0, EPS)
        .dropout(0.5)
}

/// Convolution → ReLU → batch norm → maximum over the bands, `[time, filter]` in `<name>_max`.
fn filters_over_bands(
    b: NetworkBuilder,
    name: &str,
    (out, kernel): (usize, [usize; 2]),
    padding: [[usize; 2]; 2],
) -> NetworkBuilder {
    b.node(name, Op::Conv2d { out, kernel, stride: [1, 1], padding, bias: true, groups: 1 })
        .relu()
        .batch_norm_along(&format!("{name}_bn"), 0, EPS)
        .reduce(PoolKind::Max, &[2])
        .node(&format!("{name}_max"), Op::Permute { order: vec![1, 0] })
}

/// Convolution over all features and `kernel[0]` frames → ReLU → batch norm, `[1, time, filter]`.
fn middle_layer(
    b: NetworkBuilder,
    name: &str,
    kernel: [usize; 2],
    out: usize,
    result: &str,
) -> NetworkBuilder {
    let padding = [same(kernel)[0], [0, 0]];
    b.node(name, Op::Conv2d { out, kernel, stride: [1, 1], padding, bias: true, groups: 1 })
        .relu()
        .batch_norm_along(&format!("{name}_bn"), 0, EPS)
        .node(result, Op::Permute { order: vec![2, 1, 0] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_published_size_and_layers() {
        let network = musicnn(MusicnnSize::default());
        assert_eq!(network.parameters().unwrap(), 787_159);
        let shapes = network.shapes().unwrap();
        for (layer, shape) in [
            ("timbral", vec![187, 408]),
            ("temporal", vec![187, 153]),
            ("cnn1", vec![1, 187, 64]),
            ("cnn2", vec![1, 187, 64]),
            ("cnn3", vec![1, 187, 64]),
            ("max_pool", vec![753]),
            ("mean_pool", vec![753]),
            ("penultimate", vec![200]),
            ("tags", vec![50]),
        ] {
            assert_eq!(shapes[layer], shape, "{layer}");
        }
    }
}

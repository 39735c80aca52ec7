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
    let sizes = MusicnnTrunk { middle: size.middle, units: size.units, ..Default::default() };
    sizes
        .trunk([1, size.frames, BANDS])
        .dense("logits", size.tags)
        .node("tags", Op::Activation(Activation::Sigmoid))
        .build()
}

/// musicnn with other heads and, if asked, other sizes, to be trained: the `[model]` table of a recipe. Layers are
/// named as in [`musicnn`] whatever their sizes, so that imported weights find their places.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MusicnnTrunk {
    /// `timbral_38` and `timbral_67`: filters, and the frames and bands that each spans.
    #[serde(default = "timbral")]
    pub timbral: [Timbral; 2],
    /// `temporal_128`, `temporal_64`, `temporal_32`: filters, and the frames that each spans.
    #[serde(default = "temporal")]
    pub temporal: [Temporal; 3],
    /// Bands between two positions of a filter of the front.
    #[serde(default = "one")]
    pub band_stride: usize,
    /// So many of the lowest bands are read; all of them if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bands: Option<usize>,
    /// Frames that a filter of the middle spans.
    #[serde(default = "short")]
    pub middle_frames: usize,
    /// Filters of each layer of the middle.
    #[serde(default = "middle")]
    pub middle: usize,
    /// Units of the penultimate layer.
    #[serde(default = "units")]
    pub units: usize,
    /// Probability of a dropped value before and after the penultimate layer, while training.
    #[serde(default = "half")]
    pub dropout: f32,
}

/// One kind of filters over time and bands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timbral {
    /// How many.
    pub filters: usize,
    /// Frames that each spans.
    pub frames: usize,
    /// Bands that each spans.
    pub bands: usize,
}

/// One kind of filters over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Temporal {
    /// How many.
    pub filters: usize,
    /// Frames that each spans.
    pub frames: usize,
}

fn timbral() -> [Timbral; 2] {
    TIMBRAL_WIDTHS.map(|bands| Timbral { filters: TIMBRAL_FILTERS, frames: SHORT, bands })
}

fn temporal() -> [Temporal; 3] {
    TEMPORAL_LENGTHS.map(|frames| Temporal { filters: TEMPORAL_FILTERS, frames })
}

fn one() -> usize {
    1
}

fn short() -> usize {
    SHORT
}

fn middle() -> usize {
    MusicnnSize::default().middle
}

fn units() -> usize {
    MusicnnSize::default().units
}

fn half() -> f32 {
    0.5
}

impl Default for MusicnnTrunk {
    fn default() -> Self {
        Self {
            timbral: timbral(),
            temporal: temporal(),
            band_stride: one(),
            bands: None,
            middle_frames: short(),
            middle: middle(),
            units: units(),
            dropout: half(),
        }
    }
}

impl MusicnnTrunk {
    /// The network for patches `[1, time, band]` with `heads`.
    pub fn build(&self, input: [usize; 3], heads: &Heads) -> Network {
        heads.append(self.trunk(input))
    }

    /// Everything before the last dense layer.
    fn trunk(&self, input: [usize; 3]) -> NetworkBuilder {
        let frames = input[1];
        let mut b = NetworkBuilder::new("input", input);
        if let Some(bands) = self.bands {
            b = b.slice("heard", 2, 0, bands);
        }
        b = b.batch_norm_along("input_bn", 0, EPS);

        for (width, sizes) in TIMBRAL_WIDTHS.iter().zip(self.timbral) {
            // Only time is padded: every position over the bands is tried, and the best one kept.
            let kernel = [sizes.frames, sizes.bands];
            let padding = [same([sizes.frames, 1])[0], [0, 0]];
            b = b.at("input_bn");
            b = self.front(b, &format!("timbral_{width}"), sizes.filters, kernel, padding);
        }
        for (length, sizes) in TEMPORAL_LENGTHS.iter().zip(self.temporal) {
            let kernel = [sizes.frames, 1];
            b = b.at("input_bn");
            b = self.front(b, &format!("temporal_{length}"), sizes.filters, kernel, same(kernel));
        }
        b = b
            .concat("timbral", 1, &["timbral_38_max", "timbral_67_max"])
            .concat("temporal", 1, &["temporal_128_max", "temporal_64_max", "temporal_32_max"])
            .concat("front", 1, &["timbral", "temporal"]);

        let width = self.timbral.iter().map(|t| t.filters).sum::<usize>()
            + self.temporal.iter().map(|t| t.filters).sum::<usize>();
        b = b.node("front_image", Op::Reshape { shape: vec![1, frames, width] });
        b = self.middle_layer(b, "mid1", width, "cnn1");
        b = self.middle_layer(b, "mid2", self.middle, "mid2_t");
        b = b.node_from("cnn2", Op::Add, vec!["mid2_t".into(), "cnn1".into()]);
        b = self.middle_layer(b, "mid3", self.middle, "mid3_t");
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
            .dropout(self.dropout)
            .dense("dense", self.units)
            .relu()
            .batch_norm_along("penultimate", 0, EPS)
            .dropout(self.dropout)
    }

    /// Convolution → ReLU → batch norm → maximum over the bands, `[time, filter]` in `<name>_max`.
    fn front(
        &self,
        b: NetworkBuilder,
        name: &str,
        out: usize,
        kernel: [usize; 2],
        padding: [[usize; 2]; 2],
    ) -> NetworkBuilder {
        let stride = [1, self.band_stride];
        b.node(name, Op::Conv2d { out, kernel, stride, padding, bias: true, groups: 1 })
            .relu()
            .batch_norm_along(&format!("{name}_bn"), 0, EPS)
            .reduce(PoolKind::Max, &[2])
            .node(&format!("{name}_max"), Op::Permute { order: vec![1, 0] })
    }

    /// Convolution over all `width` features and a few frames → ReLU → batch norm, `[1, time, filter]`.
    fn middle_layer(
        &self,
        b: NetworkBuilder,
        name: &str,
        width: usize,
        result: &str,
    ) -> NetworkBuilder {
        let kernel = [self.middle_frames, width];
        let padding = [same(kernel)[0], [0, 0]];
        let (out, stride) = (self.middle, [1, 1]);
        b.node(name, Op::Conv2d { out, kernel, stride, padding, bias: true, groups: 1 })
            .relu()
            .batch_norm_along(&format!("{name}_bn"), 0, EPS)
            .node(result, Op::Permute { order: vec![2, 1, 0] })
    }
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

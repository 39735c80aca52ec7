//! System 2's networks that hear a series: an LSTM on MFCCs, and the multi-modal network that
//! joins it with a picture network.

use serde::{Deserialize, Serialize};

use super::resnet18;
use crate::network::Network;
use crate::{NetworkBuilder, architectures::Heads};

/// An LSTM on a series of coefficients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lstm {
    /// Size of the state of each layer, one above the other.
    pub hidden: Vec<usize>,
    /// Units of the dense layer after the last state.
    pub dense: usize,
    /// Probability of a dropped unit after it, while training.
    pub dropout: f32,
}

impl Lstm {
    /// The network for patches `[1, time, coefficient]` with `heads`.
    pub fn build(&self, input: [usize; 3], heads: &Heads) -> Network {
        let b = NetworkBuilder::new("input", input).reshape([input[1], input[0] * input[2]]);
        let b = layers(b, &self.hidden);
        heads.append(b.dense("dense", self.dense).relu().dropout(self.dropout))
    }
}

/// ResNet18 on a picture beside an LSTM on a series, both of the same stretch of a song: the first
/// bands of each frame are the picture's column, the rest are the series' step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Multimodal {
    /// Bands of the picture; the bands after them are the series.
    pub picture_bands: usize,
    /// Filters of the first stage of the ResNet18.
    pub width: usize,
    /// Size of the state of each LSTM layer.
    pub hidden: Vec<usize>,
    /// Units of the dense layer on both vectors.
    pub dense: usize,
    /// Probability of a dropped value before and after it, while training.
    pub dropout: f32,
}

impl Multimodal {
    /// The network for patches `[1, time, picture bands + coefficients]` with `heads`. Each band
    /// has a batch norm of its own before all else, since decibels and coefficients differ in scale.
    pub fn build(&self, input: [usize; 3], heads: &Heads) -> Network {
        let [channels, time, bands] = input;
        // Too many picture bands are refused with the shapes; here they must only not overflow.
        let rest = bands.saturating_sub(self.picture_bands);
        let b = NetworkBuilder::new("input", input).batch_norm_along("bands_bn", 2, 1e-5).slice(
            "picture",
            2,
            0,
            self.picture_bands,
        );
        let b = resnet18::append(b, channels, self.width)
            .at("bands_bn")
            .slice("series", 2, self.picture_bands, rest)
            .reshape([time, channels * rest]);
        let b = layers(b, &self.hidden);
        let last = b.last().to_string();
        heads.append(
            b.concat("both", 0, &["vector", &last])
                .dropout(self.dropout)
                .dense("dense", self.dense)
                .relu()
                .dropout(self.dropout),
        )
    }
}

/// LSTM layers one above the other; only the last step's state of the last one goes on.
fn layers(mut b: NetworkBuilder, hidden: &[usize]) -> NetworkBuilder {
    for (i, &size) in hidden.iter().enumerate() {
        b = b.lstm(&format!("lstm{}", i + 1), size, i + 1 < hidden.len());
    }
    b
}

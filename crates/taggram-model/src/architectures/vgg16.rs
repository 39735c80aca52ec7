//! System 0: the convolutions of VGG16 (Simonyan and Zisserman 2015, configuration D) under a
//! small head.
//!
//! Layers are named as in torchvision's `vgg16` (`features.0`, `features.2`, …), so that its
//! weights find their places.

use serde::{Deserialize, Serialize};

use crate::network::{Network, Op};
use crate::{NetworkBuilder, architectures::Heads};

/// Convolutions of each block.
const COUNTS: [usize; 5] = [2, 2, 3, 3, 3];

/// Sizes of a VGG16.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vgg16 {
    /// Filters of the five blocks; 64, 128, 256, 512, 512 in the paper.
    #[serde(default = "filters")]
    pub filters: [usize; 5],
    /// Units of the dense layer after the convolutions: 256.
    #[serde(default = "dense")]
    pub dense: usize,
    /// Probability of a dropped unit after it, while training: 0.5.
    #[serde(default = "dropout")]
    pub dropout: f32,
}

fn filters() -> [usize; 5] {
    [64, 128, 256, 512, 512]
}

fn dense() -> usize {
    256
}

fn dropout() -> f32 {
    0.5
}

impl Vgg16 {
    /// The network for patches `[channel, time, band]` with `heads`. One channel is repeated
    /// to the three that published weights expect; several are taken as they are.
    pub fn build(&self, input: [usize; 3], heads: &Heads) -> Network {
        let mut b = NetworkBuilder::new("input", input);
        if input[0] == 1 {
            b = b.repeat_channels(3);
        }
        // torchvision numbers functions and pools too.
        let mut number = 0;
        for (&filters, &count) in self.filters.iter().zip(&COUNTS) {
            for _ in 0..count {
                b = b.conv(&format!("features.{number}"), filters, [3, 3]).relu();
                number += 2;
            }
            b = b.max_pool([2, 2]);
            number += 1;
        }
        let b = b
            .flatten()
            .node("dense", Op::Dense { out: self.dense, bias: true })
            .relu()
            .dropout(self.dropout);
        heads.append(b)
    }
}

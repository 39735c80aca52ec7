//! System 1: the CNN on 128 × 128 chunks of the mel spectrogram.

use serde::{Deserialize, Serialize};

use crate::network::Network;
use crate::{NetworkBuilder, architectures::Heads};

/// Sizes of a chunk CNN.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChunkCnn {
    /// Filters of the blocks; each halves time and frequency: 64, 128, 256, 512.
    pub filters: Vec<usize>,
    /// Height and width of the filters: 2.
    pub kernel: usize,
    /// Units of the dense layer: 1024.
    pub dense: usize,
    /// Probability of a dropped unit after it, while training: 0.5.
    pub dropout: f32,
}

impl ChunkCnn {
    /// The network for patches `[channel, time, band]` with `heads`.
    pub fn build(&self, input: [usize; 3], heads: &Heads) -> Network {
        let mut b = NetworkBuilder::new("input", input);
        for (i, &filters) in self.filters.iter().enumerate() {
            b = b.conv(&format!("conv{}", i + 1), filters, [self.kernel; 2]).elu().max_pool([2, 2]);
        }
        heads.append(b.flatten().dense("dense", self.dense).elu().dropout(self.dropout))
    }
}

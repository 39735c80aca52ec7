//! Plain stacks of "same" convolutions with rectifiers and maximum pools, then dense layers: System 2's
//! nine-layer network on MFCC segments and System 3's network on 599 mel frames.

use serde::{Deserialize, Serialize};

use crate::network::Network;
use crate::{NetworkBuilder, architectures::Heads};

/// Sizes of a plain CNN.
///
/// System 2 gives for 3 s of 13 MFCCs 2,855,818 parameters and nothing else; four layers of 256
/// filters 3 × 3, a 2 × 2 pool after each of the first three, and dense layers of 256 and 128 units
/// (nine layers before the answer) have exactly that many.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlainCnn {
    /// Filters of each convolution.
    pub filters: Vec<usize>,
    /// Height and width of the filters.
    pub kernel: usize,
    /// Height and width of the pool after each convolution; none after those that have no entry.
    pub pools: Vec<usize>,
    /// Units of each dense layer before the answer.
    pub dense: Vec<usize>,
    /// Probability of a dropped unit after each dense layer, while training.
    pub dropout: f32,
}

impl PlainCnn {
    /// The network for patches `[channel, time, band]` with `heads`.
    pub fn build(&self, input: [usize; 3], heads: &Heads) -> Network {
        let mut b = NetworkBuilder::new("input", input);
        for (i, &filters) in self.filters.iter().enumerate() {
            b = b.conv(&format!("conv{}", i + 1), filters, [self.kernel; 2]).relu();
            if let Some(&pool) = self.pools.get(i) {
                b = b.max_pool([pool; 2]);
            }
        }
        b = b.flatten();
        for (i, &units) in self.dense.iter().enumerate() {
            b = b.dense(&format!("dense{}", i + 1), units).relu();
            if self.dropout > 0.0 {
                b = b.dropout(self.dropout);
            }
        }
        heads.append(b)
    }
}

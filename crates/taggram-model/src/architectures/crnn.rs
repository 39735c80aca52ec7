//! System 1's outlook: the convolutional recurrent network of Choi, Fazekas, Sandler and Cho,
//! "Convolutional recurrent neural networks for music classification", 2017.

use serde::{Deserialize, Serialize};

use crate::network::Network;
use crate::{NetworkBuilder, architectures::Heads};

/// Epsilon of the batch norms: Keras' default, which the published network has.
const EPS: f32 = 1e-3;

/// Sizes of a convolutional recurrent network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crnn {
    /// Filters of the blocks: 64, 128, 128, 128.
    pub filters: Vec<usize>,
    /// Pool of each block, `[time, band]`: (2, 2), (3, 3), (4, 4), (4, 4).
    pub pools: Vec<[usize; 2]>,
    /// Size of the state of both recurrent layers: 32.
    pub hidden: usize,
    /// Probabilities of dropped values after each block (0.1) and before the answer (0.3), while training.
    pub dropout: [f32; 2],
}

impl Crnn {
    /// The network for patches `[channel, time, band]` with `heads`.
    ///
    /// The bands must be pooled away to one or few: what is left of them is each step's vector.
    pub fn build(&self, input: [usize; 3], heads: &Heads) -> Network {
        let mut b = NetworkBuilder::new("input", input).batch_norm_along("bands_bn", 2, EPS);
        let [_, mut time, mut bands] = input;
        let mut channels = input[0];
        for (i, (&filters, &pool)) in self.filters.iter().zip(&self.pools).enumerate() {
            b = b
                .conv(&format!("conv{}", i + 1), filters, [3, 3])
                .batch_norm_along(&format!("bn{}", i + 1), 0, EPS)
                .elu()
                .max_pool(pool)
                .dropout(self.dropout[0]);
            // A pool of zero is refused with the shapes; here it must only not divide.
            (time, bands) = (time / pool[0].max(1), bands / pool[1].max(1));
            channels = filters;
        }
        heads.append(
            b.permute(&[1, 0, 2])
                .reshape([time, channels * bands])
                .gru("gru1", self.hidden, true)
                .gru("gru2", self.hidden, false)
                .dropout(self.dropout[1]),
        )
    }
}

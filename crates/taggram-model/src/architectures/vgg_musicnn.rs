//! The plain convolutional network of the musicnn package (`MTT_vgg`, `MSD_vgg`): five layers
//! of 128 3×3 filters on the same log-mel patches.
//!
//! `pool1` … `pool5` are the layers that the original extractor returns (there with the
//! channel last, here first).

use crate::network::{Activation, Network, Op, PoolKind};
use crate::{NetworkBuilder, architectures::musicnn::EPS};

/// `[1, 187, 96]` → the tags' probabilities `[tag]` (node `tags`; before the sigmoid: `logits`).
/// 605,748 trainable parameters with 128 filters and 50 tags.
pub fn vgg_musicnn(filters: usize, tags: usize) -> Network {
    // The first pool spans 4 × 1 but steps by 2 × 2: it drops every other band. So published.
    let pools =
        [([4, 1], [2, 2]), ([2, 2], [2, 2]), ([2, 2], [2, 2]), ([2, 2], [2, 2]), ([4, 4], [4, 4])];
    let mut b = NetworkBuilder::new("input", [1, 187, 96]).batch_norm_along("input_bn", 0, EPS);
    for (i, (kernel, stride)) in pools.into_iter().enumerate() {
        let n = i + 1;
        b = b
            .conv(&format!("conv{n}"), filters, [3, 3])
            .relu()
            .batch_norm_along(&format!("bn{n}"), 0, EPS)
            .node(
                &format!("pool{n}"),
                Op::Pool { kind: PoolKind::Max, kernel, stride, padding: [[0; 2]; 2] },
            );
        if n < 5 {
            b = b.dropout(0.25);
        }
    }
    b.flatten()
        .dropout(0.5)
        .dense("logits", tags)
        .node("tags", Op::Activation(Activation::Sigmoid))
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_published_layers() {
        let network = vgg_musicnn(128, 50);
        let shapes = network.shapes().unwrap();
        let expected = [[128, 92, 48], [128, 46, 24], [128, 23, 12], [128, 11, 6], [128, 2, 1]];
        for (i, shape) in expected.into_iter().enumerate() {
            assert_eq!(shapes[&format!("pool{}", i + 1)], shape);
        }
        let by_hand = 2 + (9 * 128 + 128) + 4 * (9 * 128 * 128 + 128) + 5 * 256 + 257 * 50;
        assert_eq!(network.parameters().unwrap(), by_hand);
        assert_eq!(by_hand, 605_748);
    }
}

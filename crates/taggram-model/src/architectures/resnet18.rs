//! System 2's picture network: ResNet18 (He, Zhang, Ren and Sun, "Deep residual learning", 2016).
//!
//! Layers are named as in torchvision's `resnet18` (`conv1`, `layer1.0.conv1`,
//! `layer2.0.downsample.0`, …), so that its weights find their places.

use serde::{Deserialize, Serialize};

use crate::network::{Activation, Network, Op, PoolKind};
use crate::{NetworkBuilder, architectures::Heads};

/// Sizes of a ResNet18.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resnet18 {
    /// Filters of the first stage, doubled in each further one; 64 in the paper.
    #[serde(default = "width")]
    pub width: usize,
    /// Probability of a dropped value before the answer, while training.
    #[serde(default)]
    pub dropout: f32,
}

fn width() -> usize {
    64
}

impl Resnet18 {
    /// The network for patches `[channel, time, band]` with `heads`. One channel is repeated
    /// to the three that published weights expect; several are taken as they are.
    pub fn build(&self, input: [usize; 3], heads: &Heads) -> Network {
        let b = append(NetworkBuilder::new("input", input), input[0], self.width);
        heads.append(if self.dropout > 0.0 { b.dropout(self.dropout) } else { b })
    }
}

/// Everything of a ResNet18 up to its vector (of 8 · `width` values), on the last node, which has `channels`.
pub(super) fn append(mut b: NetworkBuilder, channels: usize, width: usize) -> NetworkBuilder {
    if channels == 1 {
        b = b.repeat_channels(3);
    }
    b = b.conv_strided("conv1", width, [7, 7], [2, 2], 3).batch_norm("bn1").relu().pool(
        PoolKind::Max,
        [3, 3],
        [2, 2],
        1,
    );
    for stage in 0..4usize {
        let filters = width << stage;
        for block in 0..2 {
            let name = |part: &str| format!("layer{}.{block}.{part}", stage + 1);
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let from = b.last().to_string();
            let mut skip = from.clone();
            if stride > 1 {
                skip = name("downsample.1");
                b = b
                    .conv_strided(&name("downsample.0"), filters, [1, 1], [stride; 2], 0)
                    .batch_norm(&skip);
            }
            b = b
                .at(&from)
                .conv_strided(&name("conv1"), filters, [3, 3], [stride; 2], 1)
                .batch_norm(&name("bn1"))
                .relu()
                .conv_strided(&name("conv2"), filters, [3, 3], [1, 1], 1)
                .batch_norm(&name("bn2"))
                .add(&skip)
                .node(&name("out"), Op::Activation(Activation::Relu));
        }
    }
    b.node("vector", Op::Reduce { kind: PoolKind::Mean, axes: vec![1, 2] })
}

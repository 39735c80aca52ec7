//! Networks to measure, with reproducible weights. Shared by the benchmark and the example
//! `bench_inference`.

use taggram_model::network::{Op, PoolKind};
use taggram_model::{Init, Network, NetworkBuilder, Tensor, Weights};

/// Name and network, smallest first.
pub fn all() -> Vec<(&'static str, Network)> {
    vec![("small_cnn", small_cnn()), ("resnet18", resnet18()), ("crnn", crnn()), ("vgg16", vgg16())]
}

/// Weights in the range that training starts from, the same on every call.
pub fn weights(network: &Network) -> Weights {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    let fill = |spec: taggram_model::WeightSpec| {
        let len = spec.shape.iter().product();
        let scale =
            |bound: f32, next: &mut dyn FnMut() -> f32| (0..len).map(|_| bound * next()).collect();
        let data = match spec.init {
            Init::Zeros => vec![0.0; len],
            Init::Ones => vec![1.0; len],
            Init::Fan { fan_in, .. } => scale((6.0 / fan_in as f32).sqrt(), &mut next),
            Init::Uniform { bound } => scale(bound, &mut next),
        };
        (spec.name, Tensor::new(spec.shape, data))
    };
    network.weight_specs().expect("the networks here are valid").into_iter().map(fill).collect()
}

/// An input in −1…1.
pub fn input(network: &Network) -> Vec<f32> {
    let len: usize = network.inputs[0].shape.iter().product();
    (0..len).map(|i| ((i as u64 * 2_654_435_761 % 1000) as f32) / 500.0 - 1.0).collect()
}

/// Four blocks of 3 × 3 convolution, norm, ReLU and pool on a 128 × 128 map.
fn small_cnn() -> Network {
    let mut b = NetworkBuilder::new("input", [1, 128, 128]);
    for (i, filters) in [32, 64, 128, 128].into_iter().enumerate() {
        b = b
            .conv(&format!("conv{i}"), filters, [3, 3])
            .batch_norm(&format!("bn{i}"))
            .relu()
            .max_pool([2, 2]);
    }
    b.reduce(PoolKind::Mean, &[1, 2]).dense("logits", 10).build()
}

/// ResNet18 (He et al. 2016) on a 3 × 128 × 128 picture.
fn resnet18() -> Network {
    let mut b = NetworkBuilder::new("input", [3, 128, 128])
        .conv_strided("conv1", 64, [7, 7], [2, 2], 3)
        .batch_norm("bn1")
        .relu()
        .pool(PoolKind::Max, [3, 3], [2, 2], 1);
    let mut channels = 64;
    for (stage, filters) in [64, 128, 256, 512].into_iter().enumerate() {
        for block in 0..2 {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let name = |part: &str| format!("layer{stage}.{block}.{part}");
            let mut skip = b.last().to_string();
            b = b
                .conv_strided(&name("conv1"), filters, [3, 3], [stride, stride], 1)
                .batch_norm(&name("bn1"))
                .relu()
                .conv_strided(&name("conv2"), filters, [3, 3], [1, 1], 1)
                .batch_norm(&name("bn2"));
            let main = b.last().to_string();
            if stride != 1 || channels != filters {
                b = b
                    .at(&skip)
                    .conv_strided(&name("down"), filters, [1, 1], [stride, stride], 0)
                    .batch_norm(&name("down_bn"));
                skip = b.last().to_string();
            }
            b = b.at(&main).add(&skip).relu();
            channels = filters;
        }
    }
    b.reduce(PoolKind::Mean, &[1, 2]).dense("logits", 10).build()
}

/// VGG16's convolutions (Simonyan and Zisserman 2015) and a small head on 3 × 128 × 129.
fn vgg16() -> Network {
    let mut b = NetworkBuilder::new("input", [3, 128, 129]);
    for (block, (filters, count)) in
        [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)].into_iter().enumerate()
    {
        for i in 0..count {
            b = b.conv(&format!("conv{block}_{i}"), filters, [3, 3]).relu();
        }
        b = b.max_pool([2, 2]);
    }
    b.flatten().dense("dense", 256).relu().dropout(0.5).dense("logits", 10).build()
}

/// Convolutions and two gated recurrent units after Choi et al. 2017, time first: 1366 × 96.
fn crnn() -> Network {
    let mut b = NetworkBuilder::new("input", [1, 1366, 96]).batch_norm_along("bn_in", 2, 1e-3);
    let blocks = [(64, [2, 2]), (128, [3, 3]), (128, [4, 4]), (128, [4, 4])];
    for (i, (filters, pool)) in blocks.into_iter().enumerate() {
        b = b
            .conv(&format!("conv{i}"), filters, [3, 3])
            .batch_norm(&format!("bn{i}"))
            .elu()
            .max_pool(pool);
    }
    b.permute(&[1, 0, 2])
        .reshape([14, 128])
        .gru("gru1", 32, true)
        .node("gru2", Op::Gru { hidden: 32, sequence: false })
        .dense("logits", 50)
        .build()
}

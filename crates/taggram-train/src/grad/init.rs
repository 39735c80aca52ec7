//! How weights start.

use taggram_model::{Activation, Init, Network, Op, Tensor, WeightSpec};

use crate::rng::Rng;

/// A weight as training begins. Its random numbers depend on the seed and its own name only,
/// so that an added head does not change the start of the rest.
pub(crate) fn start(network: &Network, spec: &WeightSpec, seed: u64) -> Tensor {
    let count: usize = spec.shape.iter().product();
    let name = spec
        .name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    let mut rng = Rng::at(&[seed, 1, name]);
    let data = match spec.init {
        Init::Zeros => vec![0.0; count],
        Init::Ones => vec![1.0; count],
        Init::Uniform { bound } => (0..count).map(|_| rng.range(-bound, bound)).collect(),
        Init::Fan { fan_in, fan_out } => {
            let node = spec.name.rsplit_once('.').map_or(spec.name.as_str(), |(node, _)| node);
            if rectified(network, node) {
                let deviation = (2.0 / fan_in.max(1) as f32).sqrt();
                (0..count).map(|_| deviation * rng.normal()).collect()
            } else {
                let bound = (6.0 / (fan_in + fan_out).max(1) as f32).sqrt();
                (0..count).map(|_| rng.range(-bound, bound)).collect()
            }
        }
    };
    Tensor::new(spec.shape.clone(), data)
}

/// Whether a rectifier (or a normalisation, pool or sum before one) reads this node: then He's
/// initialisation keeps the variance (He et al. 2015), else Glorot's does.
fn rectified(network: &Network, node: &str) -> bool {
    network.nodes.iter().filter(|n| n.from.iter().any(|f| f == node)).any(|n| match n.op {
        Op::Activation(Activation::Relu | Activation::Elu | Activation::Silu) => true,
        Op::BatchNorm { .. } | Op::Pool { .. } | Op::Add => rectified(network, &n.name),
        _ => false,
    })
}

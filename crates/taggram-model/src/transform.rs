//! A network made into another that computes the same.

use std::collections::HashMap;

use crate::network::{Network, Node, Op};
use crate::shapes::NetworkError;
use crate::tensor::{Tensor, Weights};

/// The network with every batch norm that directly follows a convolution or dense layer folded
/// into that layer's weights and bias. Nodes that read the norm read the layer instead; the
/// norms' own weights are gone.
///
/// # Errors
/// As [`Network::check_weights`].
pub fn fold_norms(
    network: &Network,
    weights: &Weights,
) -> Result<(Network, Weights), NetworkError> {
    network.check_weights(weights)?;
    let shapes = network.shapes()?;
    let mut folded = network.clone();
    let mut values = weights.clone();
    let mut renamed: HashMap<String, String> = HashMap::new();
    for norm in &network.nodes {
        let Op::BatchNorm { axis, eps } = norm.op else { continue };
        let Some(layer) = only_layer(network, norm, axis, &shapes[&norm.name]) else { continue };
        let part = |part: &str| weights[&format!("{}.{part}", norm.name)].data.as_slice();
        let (scale, shift) = scale_shift(
            [part("weight"), part("bias"), part("running_mean"), part("running_var")],
            eps,
        );
        let weight = format!("{}.weight", layer.name);
        let bias = format!("{}.bias", layer.name);
        let (weight, bias) = (&weight, &bias);
        let out = scale.len();
        if let Some(tensor) = values.get_mut(weight) {
            let length = tensor.data.len() / out;
            for (row, scale) in tensor.data.chunks_exact_mut(length).zip(&scale) {
                row.iter_mut().for_each(|w| *w = (f64::from(*w) * scale) as f32);
            }
        }
        let old = weights.get(bias).filter(|_| has_bias(&layer.op)).map(|t| t.data.as_slice());
        let new = (0..out)
            .map(|i| (old.map_or(0.0, |b| f64::from(b[i])) * scale[i] + shift[i]) as f32)
            .collect();
        values.insert(bias.clone(), Tensor::new([out], new));
        for node in folded.nodes.iter_mut().filter(|n| n.name == layer.name) {
            if let Op::Conv2d { bias, .. } | Op::Dense { bias, .. } = &mut node.op {
                *bias = true;
            }
        }
        renamed.insert(norm.name.clone(), layer.name.clone());
    }
    folded.nodes.retain(|n| !renamed.contains_key(&n.name));
    for name in folded.nodes.iter_mut().flat_map(|n| &mut n.from) {
        if let Some(layer) = renamed.get(name) {
            name.clone_from(layer);
        }
    }
    values.retain(|name, _| {
        !name.rsplit_once('.').is_some_and(|(node, _)| renamed.contains_key(node))
    });
    Ok((folded, values))
}

/// The same weights with every batch norm as a multiplication and an addition: mean 0 and variance 1,
/// which cost nothing to store.
///
/// # Errors
/// As [`Network::check_weights`].
pub fn plain_norms(network: &Network, weights: &Weights) -> Result<Weights, NetworkError> {
    network.check_weights(weights)?;
    let mut plain = weights.clone();
    for norm in &network.nodes {
        let Op::BatchNorm { eps, .. } = norm.op else { continue };
        let name = |part: &str| format!("{}.{part}", norm.name);
        let part = |part: &str| weights[&name(part)].data.as_slice();
        let (scale, shift) = scale_shift(
            [part("weight"), part("bias"), part("running_mean"), part("running_var")],
            eps,
        );
        let unit = (1.0 + f64::from(eps)).sqrt();
        let count = scale.len();
        let mut put = |part: &str, data: Vec<f32>| {
            plain.insert(name(part), Tensor::new([count], data));
        };
        put("weight", scale.iter().map(|s| (s * unit) as f32).collect());
        put("bias", shift.iter().map(|s| *s as f32).collect());
        put("running_mean", vec![0.0; count]);
        put("running_var", vec![1.0; count]);
    }
    Ok(plain)
}

fn has_bias(op: &Op) -> bool {
    matches!(op, Op::Conv2d { bias: true, .. } | Op::Dense { bias: true, .. })
}

/// The layer that `norm` alone reads, if it normalises that layer's filters or units and is no
/// output of the network.
fn only_layer<'a>(
    network: &'a Network,
    norm: &Node,
    axis: usize,
    shape: &[usize],
) -> Option<&'a Node> {
    let from = norm.from.first()?;
    let readers = network.nodes.iter().flat_map(|n| &n.from).filter(|n| *n == from).count();
    if readers != 1 || network.outputs.iter().any(|o| o == from || *o == norm.name) {
        return None;
    }
    let layer = network.nodes.iter().find(|n| n.name == *from)?;
    let along = match layer.op {
        Op::Conv2d { .. } => 0,
        Op::Dense { .. } => shape.len().checked_sub(1)?,
        _ => return None,
    };
    (along == axis).then_some(layer)
}

/// Weight, bias, mean and variance of a batch norm as `scale · x + shift`.
pub(crate) fn scale_shift(
    [weight, bias, mean, var]: [&[f32]; 4],
    eps: f32,
) -> (Vec<f64>, Vec<f64>) {
    let wide = |values: &[f32], i: usize| f64::from(values[i]);
    (0..weight.len())
        .map(|i| {
            let scale = wide(weight, i) / (wide(var, i) + f64::from(eps)).sqrt();
            (scale, wide(bias, i) - wide(mean, i) * scale)
        })
        .unzip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;
    use crate::engine::tests::random_weights;
    use crate::kernels::gemm::tests::noise;
    use crate::{Activation, NetworkBuilder};

    #[test]
    fn a_folded_network_says_the_same_without_norms() {
        let network = NetworkBuilder::new("input", [2, 9, 8])
            .batch_norm("first")
            .conv_strided("conv1", 5, [3, 3], [1, 1], 1)
            .batch_norm("bn1")
            .relu()
            .conv("conv2", 5, [3, 3])
            .batch_norm("bn2")
            .node_from("sum", Op::Add, vec!["bn2".into(), "bn1".into()])
            .node("act", Op::Activation(Activation::Relu))
            .flatten()
            .node("dense", Op::Dense { out: 7, bias: false })
            .batch_norm("bn3")
            .dense("logits", 3)
            .build();
        let weights = random_weights(&network);
        let (folded, values) = fold_norms(&network, &weights).unwrap();
        let norms =
            |n: &Network| n.nodes.iter().filter(|n| matches!(n.op, Op::BatchNorm { .. })).count();
        // The first one has no layer before it.
        assert_eq!((norms(&network), norms(&folded)), (4, 1));
        assert!(values.len() < weights.len());
        let x = noise(2 * 2 * 72, 1);
        let before = Engine::new(&network, &weights).unwrap().run(&[&x], 2).unwrap();
        let after = Engine::new(&folded, &values).unwrap().run(&[&x], 2).unwrap();
        for (a, b) in before[0].data.iter().zip(&after[0].data) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
        let plain = plain_norms(&network, &weights).unwrap();
        assert!(plain["bn1.running_mean"].data.iter().all(|m| *m == 0.0));
        let same = Engine::new(&network, &plain).unwrap().run(&[&x], 2).unwrap();
        for (a, b) in before[0].data.iter().zip(&same[0].data) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }
}

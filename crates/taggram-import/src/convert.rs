//! From TensorFlow's names and layouts to ours.

use taggram_model::{Network, Op, Tensor, Weights};

use crate::bundle::Bundle;

/// TensorFlow numbers layers of a kind in the order of their creation:
/// `(our node, its layer)` for musicnn.
pub const MUSICNN: [(&str, &str); 21] = [
    ("input_bn", "batch_normalization"),
    ("timbral_38", "conv2d"),
    ("timbral_38_bn", "batch_normalization_1"),
    ("timbral_67", "conv2d_1"),
    ("timbral_67_bn", "batch_normalization_2"),
    ("temporal_128", "conv2d_2"),
    ("temporal_128_bn", "batch_normalization_3"),
    ("temporal_64", "conv2d_3"),
    ("temporal_64_bn", "batch_normalization_4"),
    ("temporal_32", "conv2d_4"),
    ("temporal_32_bn", "batch_normalization_5"),
    ("mid1", "conv2d_5"),
    ("mid1_bn", "batch_normalization_6"),
    ("mid2", "conv2d_6"),
    ("mid2_bn", "batch_normalization_7"),
    ("mid3", "conv2d_7"),
    ("mid3_bn", "batch_normalization_8"),
    ("pools_bn", "batch_normalization_9"),
    ("dense", "dense"),
    ("penultimate", "batch_normalization_10"),
    ("logits", "dense_1"),
];

/// `(our node, its layer)` for the VGG of the package.
pub const VGG: [(&str, &str); 12] = [
    ("input_bn", "batch_normalization"),
    ("conv1", "1CNN"),
    ("bn1", "batch_normalization_1"),
    ("conv2", "2CNN"),
    ("bn2", "batch_normalization_2"),
    ("conv3", "3CNN"),
    ("bn3", "batch_normalization_3"),
    ("conv4", "4CNN"),
    ("bn4", "batch_normalization_4"),
    ("conv5", "5CNN"),
    ("bn5", "batch_normalization_5"),
    ("logits", "dense"),
];

/// The weights of `network` out of a checkpoint; optimiser slots in it are left alone.
///
/// # Errors
/// A sentence about the first tensor that is absent, damaged or of another shape, or about
/// a weight that is not finite.
pub fn weights(
    network: &Network,
    layers: &[(&str, &str)],
    bundle: &Bundle<'_>,
) -> Result<Weights, String> {
    let shapes = network.shapes().map_err(|e| e.to_string())?;
    let mut weights = Weights::new();
    for spec in network.weight_specs().map_err(|e| e.to_string())? {
        let (node, part) = spec.name.rsplit_once('.').unwrap_or((&spec.name, ""));
        let node = network.nodes.iter().find(|n| n.name == node);
        let layer = layers.iter().find(|(ours, _)| node.is_some_and(|n| n.name == *ours));
        let (Some(node), Some((_, layer))) = (node, layer) else {
            return Err(format!("the weight {:?} has no layer in the checkpoint", spec.name));
        };
        let batch_norm = matches!(node.op, Op::BatchNorm { .. });
        let tensor = match (part, spec.shape.as_slice()) {
            ("weight", &[out, channels, height, width]) => {
                let shape = [height, width, channels, out];
                let kernel = bundle.tensor(&format!("{layer}/kernel"), &shape)?;
                permuted(&kernel, [3, 2, 0, 1])
            }
            ("weight", &[out, features]) => {
                let kernel = bundle.tensor(&format!("{layer}/kernel"), &[features, out])?;
                // A picture is flattened height × width × channel there, channel first here.
                let picture = flattened_picture(network, &node.from, &shapes);
                let [c, h, w] = picture.unwrap_or([1, 1, features]);
                let kernel = Tensor::new([h, w, c, out], kernel.data);
                Tensor::new([out, features], permuted(&kernel, [3, 2, 0, 1]).data)
            }
            (part, shape) => {
                let theirs = match part {
                    "weight" if batch_norm => "gamma",
                    "bias" if batch_norm => "beta",
                    "running_mean" => "moving_mean",
                    "running_var" => "moving_variance",
                    part => part,
                };
                bundle.tensor(&format!("{layer}/{theirs}"), shape)?
            }
        };
        weights.insert(spec.name.clone(), tensor);
    }
    network.check_weights(&weights).map_err(|e| e.to_string())?;
    Ok(weights)
}

/// The shape before the flattening that feeds a dense layer, when it was a picture `[c, h, w]`.
fn flattened_picture(
    network: &Network,
    from: &[String],
    shapes: &std::collections::BTreeMap<String, Vec<usize>>,
) -> Option<[usize; 3]> {
    let node = network.nodes.iter().find(|n| Some(&n.name) == from.first())?;
    match node.op {
        Op::Flatten => shapes.get(node.from.first()?)?.as_slice().try_into().ok(),
        Op::Dropout { .. } => flattened_picture(network, &node.from, shapes),
        _ => None,
    }
}

/// `tensor` with its axes in another order: axis i of the result is axis `order[i]`.
fn permuted(tensor: &Tensor, order: [usize; 4]) -> Tensor {
    let from: [usize; 4] = std::array::from_fn(|i| tensor.shape[i]);
    let strides = [from[1] * from[2] * from[3], from[2] * from[3], from[3], 1];
    let shape = order.map(|axis| from[axis]);
    let step = order.map(|axis| strides[axis]);
    let mut data = Vec::with_capacity(tensor.len());
    for a in 0..shape[0] {
        for b in 0..shape[1] {
            for c in 0..shape[2] {
                let start = a * step[0] + b * step[1] + c * step[2];
                data.extend((0..shape[3]).map(|d| tensor.data[start + d * step[3]]));
            }
        }
    }
    Tensor::new(shape, data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_change_their_layout() {
        let data: Vec<f32> = (0..2 * 3 * 4 * 5).map(|i| i as f32).collect();
        let out = permuted(&Tensor::new([2, 3, 4, 5], data), [3, 2, 0, 1]);
        assert_eq!(out.shape, [5, 4, 2, 3]);
        // [out 1, in 3, h 1, w 2] was at h 1, w 2, in 3, out 1.
        let at = |i: [usize; 4], n: [usize; 4]| ((i[0] * n[1] + i[1]) * n[2] + i[2]) * n[3] + i[3];
        assert_eq!(out.data[at([1, 3, 1, 2], [5, 4, 2, 3])], at([1, 2, 3, 1], [2, 3, 4, 5]) as f32);
    }
}

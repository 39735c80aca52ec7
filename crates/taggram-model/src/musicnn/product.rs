//! A middle layer's filter of 7 frames over all columns, in floats or in integers.

use super::affine::Affine;
use crate::{
    Activation, NetworkError,
    architectures::musicnn::SHORT,
    kernels::{
        Epilogue, Isa, PackedRight,
        int8::{IntConv, IntIsa, IntShape, Params, conv::SLACK, image},
    },
};

/// The packed filters and what comes after them.
#[derive(Debug)]
pub(super) enum Product {
    Floats(PackedRight, Epilogue),
    /// With the range of its input, and the norm after its ReLU.
    Bytes(Box<IntConv>, Params, Option<Affine>),
}

/// What a product is made of.
pub(super) struct Parts<'a> {
    /// `[filter, 7, column]`.
    pub kernel: &'a [f32],
    pub filters: usize,
    /// Bias and norm of a layer with ReLU; a part of a sum has neither.
    pub layer: Option<(&'a [f32], Affine)>,
    pub isa: Isa,
    /// For integers: the range of the input.
    pub range: Option<(Params, IntIsa)>,
}

impl Product {
    pub fn new(parts: Parts) -> Result<Self, NetworkError> {
        let Parts { kernel, filters, layer, isa, range } = parts;
        let depth = kernel.len() / filters;
        let Some((params, int_isa)) = range else {
            let epilogue = match &layer {
                None => Epilogue::new(filters, None, None, None),
                Some((bias, norm)) => Epilogue::new(
                    filters,
                    Some(bias),
                    Some(Activation::Relu),
                    Some((&norm.scale, &norm.shift)),
                ),
            };
            return Ok(Self::Floats(PackedRight::new(kernel, filters, depth, isa), epilogue));
        };
        let columns = depth / SHORT;
        let shape = IntShape {
            channels: columns,
            size: [SHORT, 1],
            out: filters,
            kernel: [SHORT, 1],
            stride: [1, 1],
            padding: [[0; 2]; 2],
        };
        // Here the column runs fastest, in a convolution's filter the frame.
        let mut turned = vec![0.0; kernel.len()];
        for (i, w) in kernel.iter().enumerate() {
            let (row, frame, column) = (i / depth, i % depth / columns, i % columns);
            turned[row * depth + column * SHORT + frame] = *w;
        }
        let zeros = vec![0.0; filters];
        let (bias, relu) = layer.as_ref().map_or((&zeros[..], false), |(bias, _)| (*bias, true));
        let conv = IntConv::new(shape, &turned, bias, relu, [Some(params), None], int_isa);
        let conv = conv.ok_or_else(|| {
            NetworkError::over_limit("musicnn", "a filter has too many weights for sums of 32 bits")
        })?;
        Ok(Self::Bytes(Box::new(conv), params, layer.map(|(_, norm)| norm)))
    }

    /// `frames [rows + 6, column]` → `out [rows, filter]`; `bytes` is room to work in.
    pub fn multiply(
        &self,
        frames: &[f32],
        columns: usize,
        rows: usize,
        out: &mut [f32],
        bytes: &mut Vec<u8>,
    ) {
        match self {
            Self::Floats(kernel, epilogue) => {
                kernel.multiply(frames, columns, rows, out, epilogue.channels(), epilogue);
            }
            Self::Bytes(kernel, params, norm) => {
                let frames = &frames[..(rows + SHORT - 1) * columns];
                bytes.resize(frames.len() + SLACK, 0);
                image::quantise(frames, 1, frames.len(), *params, &mut bytes[..frames.len()]);
                kernel.run_over_time(bytes, rows, out);
                let Some(Affine { scale, shift }) = norm else { return };
                for row in out.chunks_exact_mut(scale.len()) {
                    for ((x, scale), shift) in row.iter_mut().zip(scale).zip(shift) {
                        *x = *x * scale + shift;
                    }
                }
            }
        }
    }
}

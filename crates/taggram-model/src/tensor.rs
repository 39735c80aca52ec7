//! A dense block of numbers with a shape: what weights are stored as and what
//! flows between the layers of a network.

use std::collections::BTreeMap;

/// Row-major `f32` values with a shape. The product of `shape` is `data.len()`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tensor {
    /// Length of every axis, outermost first.
    pub shape: Vec<usize>,
    /// The values, the last axis contiguous.
    pub data: Vec<f32>,
}

impl Tensor {
    /// A tensor over `data`.
    ///
    /// # Panics
    /// When the shape does not hold exactly `data.len()` values: a bug of the caller.
    pub fn new(shape: impl Into<Vec<usize>>, data: Vec<f32>) -> Self {
        let shape = shape.into();
        assert_eq!(shape.iter().product::<usize>(), data.len(), "shape {shape:?} and data differ");
        Self { shape, data }
    }

    /// A tensor of zeros.
    pub fn zeros(shape: impl Into<Vec<usize>>) -> Self {
        let shape = shape.into();
        let len = shape.iter().product();
        Self { shape, data: vec![0.0; len] }
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }
}

/// The parameters of a network by name, `<node>.<part>`: `conv1.weight`, `bn1.running_mean`.
/// Ordered, so that whatever walks them is reproducible.
pub type Weights = BTreeMap<String, Tensor>;

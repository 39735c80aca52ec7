//! A small dense network as a classifier.

use std::fmt;
use std::sync::Arc;

use super::{ClassifierError, softmax};
use crate::engine::Engine;
use crate::network::Network;
use crate::tensor::Weights;

/// A network with one input `[column]` whose one output is a score for each class.
#[derive(Clone)]
pub struct Perceptron {
    network: Network,
    weights: Weights,
    engine: Arc<Engine>,
    inputs: usize,
    classes: usize,
}

impl Perceptron {
    /// The network, ready to run.
    ///
    /// # Errors
    /// When network and weights do not fit, or there is not exactly one input and one
    /// output with one axis each.
    pub fn new(network: Network, weights: Weights) -> Result<Self, ClassifierError> {
        let engine = Engine::new(&network, &weights)
            .map_err(|e| ClassifierError::malformed("dense network", e.to_string()))?;
        let inputs: Vec<Vec<usize>> = engine.inputs().map(|(_, shape)| shape.to_vec()).collect();
        let outputs: Vec<Vec<usize>> = engine.outputs().map(|(_, shape)| shape.to_vec()).collect();
        let ([input], [output]) = (&inputs[..], &outputs[..]) else {
            return Err(shape_error(&inputs, &outputs));
        };
        let ([columns], [classes]) = (&input[..], &output[..]) else {
            return Err(shape_error(&inputs, &outputs));
        };
        let (columns, classes) = (*columns, *classes);
        Ok(Self { network, weights, engine: Arc::new(engine), inputs: columns, classes })
    }

    /// Columns.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The layers.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The parameters of the layers.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Probability of each class: softmax of the network's scores.
    ///
    /// # Errors
    /// When the engine refuses the row, which [`super::Pipeline`] rules out.
    pub fn predict_proba(&self, row: &[f32]) -> Result<Vec<f32>, ClassifierError> {
        let outputs = self
            .engine
            .run(&[row], 1)
            .map_err(|e| ClassifierError::malformed("dense network", e.to_string()))?;
        let scores: Vec<f64> = outputs[0].data.iter().map(|v| f64::from(*v)).collect();
        Ok(softmax(&scores))
    }
}

impl fmt::Debug for Perceptron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Perceptron").field("network", &self.network).finish_non_exhaustive()
    }
}

fn shape_error(inputs: &[Vec<usize>], outputs: &[Vec<usize>]) -> ClassifierError {
    ClassifierError::malformed(
        "dense network",
        format!(
            "It takes {inputs:?} and gives {outputs:?}; one row in and one row of scores out are needed."
        ),
    )
}

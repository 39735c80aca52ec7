//! Forward and backward passes of a network described as data: the whole of the training
//! framework. A batch goes through the network layer by layer, the work of each layer spread
//! over the threads; results are the same to the bit on any number of threads.

mod conv;
mod dense;
mod depthwise;
mod gemm;
mod init;
mod layer;
#[cfg(feature = "libtorch")]
mod libtorch;
mod norm;
mod pass;
mod pointwise;
mod pool;
mod recurrent;
mod reshape;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use rayon::prelude::*;
use taggram_model::{Network, NetworkError, NetworkErrorKind, Tensor, Weights};

use crate::error::{ErrorKind, TrainError};
use layer::{Kernel, Layer};

pub(crate) use pointwise::{sigmoid, softmax};

/// Whether a pass is part of training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Statistics of the batch, dropout; the address (seed, step) chooses what is dropped.
    Train {
        /// Seed of the run.
        seed: u64,
        /// Number of the update.
        step: u64,
    },
    /// Running statistics, no dropout.
    Evaluate,
}

/// What computes the passes of a training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// This program, on the processor: the same weights to the bit on any number of threads.
    #[default]
    Own,
    /// libtorch, on the first GPU when there is one, else on the processor. A build feature,
    /// `libtorch`; the weights agree with [`Backend::Own`]'s within rounding.
    Libtorch,
}

impl Backend {
    /// Refuses what this program was built without.
    ///
    /// # Errors
    /// libtorch is asked for, and the build has it not.
    pub fn check(self) -> Result<(), TrainError> {
        if self == Self::Libtorch && !cfg!(feature = "libtorch") {
            let message = "this program was built without it; docs/gpu.md says how to build it in";
            return Err(TrainError::new("libtorch", ErrorKind::Unsupported, message));
        }
        Ok(())
    }
}

/// A weight while it is trained.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// `<node>.<part>`.
    pub name: String,
    /// Shape as in [`Weights`].
    pub shape: Vec<usize>,
    /// Values.
    pub value: Vec<f32>,
    /// Gradient of the loss, added up since [`Trainable::clear_gradients`]. Empty when not trainable.
    pub gradient: Vec<f32>,
    /// Whether an optimiser may change it. Running statistics and frozen layers are not trainable.
    pub trainable: bool,
    /// Whether weight decay applies: matrices and kernels, not biases and normalisation.
    pub decays: bool,
}

/// A network with weights, buffers for a batch, and gradients.
#[derive(Clone, Debug)]
pub struct Trainable {
    network: Network,
    layers: Vec<Layer>,
    parameters: Vec<Parameter>,
    /// Values a sample of each input and node.
    lengths: Vec<usize>,
    /// The buffer that each input's or node's values are in.
    buffer_of: Vec<usize>,
    buffers: Vec<pass::Buffer>,
    /// Buffers for gradients, used again and again.
    spare: Vec<pass::Buffer>,
    /// Whether something trainable lies before each value.
    needs_gradient: Vec<bool>,
    mode: Mode,
    batch: usize,
    /// Gradients of the inputs are kept too (for checks).
    #[cfg(test)]
    input_gradients: Vec<Option<Vec<f32>>>,
    #[cfg(feature = "libtorch")]
    libtorch: Option<libtorch::Passes>,
}

impl From<NetworkError> for TrainError {
    fn from(error: NetworkError) -> Self {
        let kind = match error.kind {
            NetworkErrorKind::Malformed => ErrorKind::Malformed,
            NetworkErrorKind::OverLimit => ErrorKind::OverLimit,
        };
        Self::new(error.place, kind, error.message)
    }
}

impl Trainable {
    /// A network with fresh weights: He before rectifiers, Glorot elsewhere, uniform in recurrent layers.
    ///
    /// # Errors
    /// The network contradicts itself or is too large ([`Network::shapes`]).
    pub fn new(network: Network, seed: u64) -> Result<Self, TrainError> {
        let weights = network
            .weight_specs()?
            .iter()
            .map(|s| (s.name.clone(), init::start(&network, s, seed)))
            .collect();
        Self::with_weights(network, &weights)
    }

    /// A network that goes on from `weights`.
    ///
    /// # Errors
    /// The network contradicts itself, or a weight is absent, misshapen or not finite.
    pub fn with_weights(network: Network, weights: &Weights) -> Result<Self, TrainError> {
        network.check_weights(weights)?;
        let shapes = network.shapes()?;
        let specs = network.weight_specs()?;
        let names: Vec<&str> = network
            .inputs
            .iter()
            .map(|i| i.name.as_str())
            .chain(network.nodes.iter().map(|n| n.name.as_str()))
            .collect();
        let shapes: Vec<&[usize]> = names.iter().map(|&n| shapes[n].as_slice()).collect();
        let places: HashMap<&str, usize> =
            specs.iter().enumerate().map(|(i, s)| (s.name.as_str(), i)).collect();
        let layers = layer::compile(&network, &shapes, &places);
        let parameters: Vec<Parameter> = specs
            .iter()
            .map(|spec| Parameter {
                name: spec.name.clone(),
                shape: spec.shape.clone(),
                value: weights[&spec.name].data.clone(),
                gradient: if spec.trainable {
                    vec![0.0; spec.shape.iter().product()]
                } else {
                    Vec::new()
                },
                trainable: spec.trainable,
                decays: spec.trainable && spec.shape.len() > 1,
            })
            .collect();
        let mut buffer_of: Vec<usize> = (0..network.inputs.len()).collect();
        let mut count = buffer_of.len();
        for layer in &layers {
            buffer_of.push(if layer.in_place { buffer_of[layer.from[0]] } else { count });
            count += usize::from(!layer.in_place);
        }
        let lengths = shapes.iter().map(|s| s.iter().product()).collect();
        let mut made = Self {
            needs_gradient: Vec::new(),
            layers,
            parameters,
            lengths,
            buffer_of,
            buffers: vec![pass::Buffer::default(); count],
            spare: Vec::new(),
            mode: Mode::Evaluate,
            batch: 0,
            #[cfg(test)]
            input_gradients: vec![None; network.inputs.len()],
            #[cfg(feature = "libtorch")]
            libtorch: None,
            network,
        };
        made.find_needs();
        Ok(made)
    }

    /// Chooses what computes the passes from now on; says where, when that is not this program.
    ///
    /// # Errors
    /// Those of [`Backend::check`].
    pub fn compute_with(&mut self, backend: Backend) -> Result<Option<String>, TrainError> {
        backend.check()?;
        #[cfg(feature = "libtorch")]
        {
            let passes = || libtorch::Passes::new(rayon::current_num_threads());
            self.libtorch = (backend == Backend::Libtorch).then(passes);
            Ok(self.libtorch.as_ref().map(libtorch::Passes::device))
        }
        #[cfg(not(feature = "libtorch"))]
        Ok(None)
    }

    /// Keeps the weights of nodes whose name starts with one of `prefixes` as they are,
    /// running statistics included.
    ///
    /// # Errors
    /// A prefix that no node with weights has.
    pub fn freeze(&mut self, prefixes: &[String]) -> Result<(), TrainError> {
        for prefix in prefixes {
            let mut found = false;
            for (node, layer) in self.network.nodes.iter().zip(&mut self.layers) {
                if node.name.starts_with(prefix.as_str()) && !layer.parameters.is_empty() {
                    found = true;
                    layer.frozen = true;
                    for &p in &layer.parameters {
                        self.parameters[p].trainable = false;
                        self.parameters[p].gradient = Vec::new();
                    }
                }
            }
            if !found {
                return Err(TrainError::malformed(
                    "freeze",
                    format!("no layer with weights has a name that starts with `{prefix}`"),
                ));
            }
        }
        self.find_needs();
        Ok(())
    }

    fn find_needs(&mut self) {
        let mut needs = vec![false; self.network.inputs.len()];
        for layer in &self.layers {
            let own = layer.parameters.iter().any(|&p| self.parameters[p].trainable);
            needs.push(own || layer.from.iter().any(|&f| needs[f]));
        }
        self.needs_gradient = needs;
    }

    /// The description that this was made from.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Weights and running statistics with their gradients, in the order of the nodes.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// As [`Trainable::parameters`], for an optimiser to change.
    pub fn parameters_mut(&mut self) -> &mut [Parameter] {
        &mut self.parameters
    }

    /// The weights by name.
    pub fn weights(&self) -> Weights {
        self.parameters
            .iter()
            .map(|p| (p.name.clone(), Tensor::new(p.shape.clone(), p.value.clone())))
            .collect()
    }

    /// Sets all gradients to 0.
    pub fn clear_gradients(&mut self) {
        self.parameters.par_iter_mut().for_each(|p| p.gradient.fill(0.0));
    }

    /// Values a sample of the named input or node.
    ///
    /// # Errors
    /// No such input or node.
    pub fn length_of(&self, name: &str) -> Result<usize, TrainError> {
        self.value(name).map(|v| self.lengths[v])
    }

    fn value(&self, name: &str) -> Result<usize, TrainError> {
        let names = self
            .network
            .inputs
            .iter()
            .map(|i| &i.name)
            .chain(self.network.nodes.iter().map(|n| &n.name));
        names.enumerate().find(|(_, n)| *n == name).map(|(i, _)| i).ok_or_else(|| {
            TrainError::malformed(
                format!("output `{name}`"),
                "the network has no node or input of this name",
            )
        })
    }

    /// `[batch, …]` values of one of the network's outputs after [`Trainable::forward`].
    ///
    /// # Errors
    /// The network has no such output.
    pub fn output(&self, name: &str) -> Result<&[f32], TrainError> {
        let value = self.value(name)?;
        if !self.network.outputs.iter().any(|o| o == name) {
            let message = "it is computed on the way, but not one of the network's outputs";
            return Err(TrainError::malformed(format!("output `{name}`"), message));
        }
        Ok(&self.buffers[self.buffer_of[value]])
    }
}

/// Gradients of the loss with respect to outputs, by name, `[batch, …]`.
pub type OutputGradients = BTreeMap<String, Vec<f32>>;

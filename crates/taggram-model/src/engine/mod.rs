//! Runs a network on the CPU.
//!
//! [`Engine::new`] checks the network and its weights, plans the steps once (see
//! `plan.rs`: what is fused, which buffers are shared) and packs the weights;
//! [`Engine::run`] then only computes. An engine is `Send + Sync`: share it between
//! threads and call `run` from each. Inside, one call uses one thread, and memory is kept
//! from call to call.

mod integer;
mod ops;
mod plan;

use std::sync::Mutex;

use crate::kernels::int8::{IntIsa, conv::SLACK};
use crate::kernels::{Isa, Workspace};
use crate::network::Network;
use crate::quantisation::Quantisation;
use crate::shapes::NetworkError;
use crate::tensor::{Tensor, Weights};
use plan::{Plan, Sets, Source, Step};

/// Values that the buffers of one run may hold together before the batch is cut into
/// pieces: 8 MiB, so that what one step writes is still in a cache for the next.
const ARENA: usize = 2 * 1024 * 1024;

/// A network ready to run.
///
/// ```
/// use taggram_model::{Tensor, Weights, builder::NetworkBuilder, engine::Engine};
/// let network = NetworkBuilder::new("input", [2]).dense("logits", 1).relu().build();
/// let weights = Weights::from([
///     ("logits.weight".into(), Tensor::new([1, 2], vec![1.0, -2.0])),
///     ("logits.bias".into(), Tensor::new([1], vec![0.5])),
/// ]);
/// let engine = Engine::new(&network, &weights).unwrap();
/// let outputs = engine.run(&[&[3.0, 1.0, /* second example */ 0.0, 1.0]], 2).unwrap();
/// assert_eq!(outputs[0], Tensor::new([2, 1], vec![1.5, 0.0]));
/// ```
#[derive(Debug)]
pub struct Engine {
    plan: Plan,
    /// Scratch of finished runs, one for each that ran at the same time.
    pool: Mutex<Vec<Scratch>>,
}

#[derive(Debug, Default)]
struct Scratch {
    buffers: Vec<Vec<f32>>,
    bytes: Vec<Vec<u8>>,
    space: Workspace,
}

impl Engine {
    /// Plans `network` with `weights` for the instruction set of this machine. To see
    /// values inside a network, give [`Network::with_outputs`] with their names.
    ///
    /// # Errors
    /// As [`Network::shapes`] and [`Network::check_weights`].
    pub fn new(network: &Network, weights: &Weights) -> Result<Self, NetworkError> {
        Self::with_isa(network, weights, Isa::detect())
    }

    /// As [`Engine::new`] for a given instruction set.
    ///
    /// # Errors
    /// As [`Engine::new`], or when the machine lacks the instruction set.
    pub fn with_isa(network: &Network, weights: &Weights, isa: Isa) -> Result<Self, NetworkError> {
        if !Isa::available().contains(&isa) {
            return Err(NetworkError::malformed("engine", format!("this machine has no {isa:?}")));
        }
        let sets = Sets { float: isa, int: IntIsa::Portable };
        Ok(Self { plan: Plan::new(network, weights, None, sets)?, pool: Mutex::default() })
    }

    /// As [`Engine::new`], in integer arithmetic wherever `quantisation` gives the ranges of what
    /// a layer reads; the rest in floats.
    ///
    /// # Errors
    /// As [`Engine::new`], and those of [`Quantisation::check`].
    pub fn quantised(
        network: &Network,
        weights: &Weights,
        quantisation: &Quantisation,
    ) -> Result<Self, NetworkError> {
        Self::quantised_with_isa(network, weights, quantisation, IntIsa::detect())
    }

    /// As [`Engine::quantised`], on an instruction set of choice: the bytes do not depend on it.
    ///
    /// # Errors
    /// As [`Engine::quantised`], or when the machine lacks the instruction set.
    pub fn quantised_with_isa(
        network: &Network,
        weights: &Weights,
        quantisation: &Quantisation,
        isa: IntIsa,
    ) -> Result<Self, NetworkError> {
        if !IntIsa::available().contains(&isa) {
            return Err(NetworkError::malformed("engine", format!("this machine has no {isa:?}")));
        }
        let sets = Sets { float: Isa::detect(), int: isa };
        // The ranges may speak of nodes that this network was relieved of.
        let plan = Plan::new(network, weights, Some(quantisation), sets)?;
        Ok(Self { plan, pool: Mutex::default() })
    }

    /// Number of steps that compute in integers.
    pub fn integer_steps(&self) -> usize {
        self.plan.steps.iter().filter(|s| matches!(s.op, ops::Step::Integer(_))).count()
    }

    /// Shape of every input, without the batch axis, in the order that [`Engine::run`]
    /// takes them.
    pub fn inputs(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.plan.inputs.iter().map(|i| (i.name.as_str(), i.shape.as_slice()))
    }

    /// Shape of every output, without the batch axis, in order.
    pub fn outputs(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.plan.outputs.iter().map(|o| (o.name.as_str(), o.shape.as_slice()))
    }

    /// Runs `batch` examples: each input is `[batch, …]` flat; the answer holds one
    /// `[batch, …]` tensor per output of the network.
    ///
    /// # Errors
    /// When the number of inputs or the length of one does not fit.
    pub fn run(&self, inputs: &[&[f32]], batch: usize) -> Result<Vec<Tensor>, NetworkError> {
        let plan = &self.plan;
        if inputs.len() != plan.inputs.len() {
            return Err(NetworkError::malformed(
                "engine",
                format!("got {} inputs; the network has {}", inputs.len(), plan.inputs.len()),
            ));
        }
        for (input, values) in plan.inputs.iter().zip(inputs) {
            if input.len.checked_mul(batch) != Some(values.len()) {
                return Err(NetworkError::malformed(
                    format!("input `{}`", input.name),
                    format!(
                        "got {} values; {batch} examples of shape {:?} have {} each",
                        values.len(),
                        input.shape,
                        input.len
                    ),
                ));
            }
        }
        let mut outputs: Vec<Tensor> = plan
            .outputs
            .iter()
            .map(|o| Tensor::zeros([&[batch], o.shape.as_slice()].concat()))
            .collect();
        // A poisoned pool only holds scratch: whatever state it is in will do.
        let lock = || self.pool.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut scratch = lock().pop().unwrap_or_default();
        let values = plan.buffers.iter().sum::<usize>() + plan.bytes.iter().sum::<usize>() / 4;
        let piece = (ARENA / values.max(1)).clamp(1, batch.max(1));
        for first in (0..batch).step_by(piece) {
            let count = piece.min(batch - first);
            let inputs: Vec<&[f32]> = plan
                .inputs
                .iter()
                .zip(inputs)
                .map(|(i, values)| &values[first * i.len..(first + count) * i.len])
                .collect();
            run_piece(plan, &inputs, count, &mut scratch);
            for (output, tensor) in plan.outputs.iter().zip(&mut outputs) {
                let to = &mut tensor.data[first * output.len..(first + count) * output.len];
                to.copy_from_slice(read(
                    output.source,
                    output.len * count,
                    &inputs,
                    &scratch.buffers,
                ));
            }
        }
        lock().push(scratch);
        Ok(outputs)
    }
}

fn read<'a>(
    source: Source,
    len: usize,
    inputs: &[&'a [f32]],
    buffers: &'a [Vec<f32>],
) -> &'a [f32] {
    match source {
        Source::Input(i) => &inputs[i][..len],
        Source::Buffer(i) => &buffers[i][..len],
        Source::Bytes(_) => unreachable!("the plan gives this step floats"),
    }
}

fn run_piece(plan: &Plan, inputs: &[&[f32]], count: usize, scratch: &mut Scratch) {
    scratch.buffers.resize_with(plan.buffers.len(), Vec::new);
    scratch.bytes.resize_with(plan.bytes.len(), Vec::new);
    for step in &plan.steps {
        let len = step.len * count;
        // The buffer is taken out for the time of the step, so that the others can be read.
        match step.to {
            Source::Bytes(at) => {
                let mut to = std::mem::take(&mut scratch.bytes[at]);
                if to.len() < len + SLACK {
                    to.resize(plan.bytes[at] * count + SLACK, 0);
                }
                run_integer(step, inputs, count, integer::Result::Bytes(&mut to[..len]), scratch);
                scratch.bytes[at] = to;
            }
            Source::Buffer(at) => {
                let mut to = std::mem::take(&mut scratch.buffers[at]);
                if to.len() < len {
                    to.resize(plan.buffers[at] * count, 0.0);
                }
                if matches!(step.op, ops::Step::Integer(_)) {
                    let result = integer::Result::Floats(&mut to[..len]);
                    run_integer(step, inputs, count, result, scratch);
                } else {
                    let from: Vec<&[f32]> = step
                        .from
                        .iter()
                        // The first operand of a step in place is in `to`, and no longer where it was.
                        .skip(usize::from(step.in_place))
                        .map(|&(source, len)| read(source, len * count, inputs, &scratch.buffers))
                        .collect();
                    let to = &mut to[..len];
                    ops::run(&step.op, step.in_place, &from, count, to, &mut scratch.space);
                }
                scratch.buffers[at] = to;
            }
            Source::Input(_) => unreachable!("no step writes an input"),
        }
    }
}

fn run_integer(
    step: &Step,
    inputs: &[&[f32]],
    count: usize,
    to: integer::Result,
    scratch: &mut Scratch,
) {
    let ops::Step::Integer(op) = &step.op else { return };
    let Scratch { buffers, bytes, space } = scratch;
    let from: Vec<integer::Operand> = step
        .from
        .iter()
        .map(|&(source, len)| match source {
            Source::Bytes(i) => integer::Operand::Bytes(&bytes[i], len * count),
            other => integer::Operand::Floats(read(other, len * count, inputs, buffers)),
        })
        .collect();
    integer::run(op, &from, count, to, space);
}

#[cfg(test)]
#[path = "tests.rs"]
pub(crate) mod tests;

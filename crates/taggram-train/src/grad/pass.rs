//! The two passes over the layers.

use std::ops::{Deref, DerefMut};

use taggram_model::{Activation, PoolKind};

use super::conv::par_add;
use super::layer::Kept;
use super::{Kernel, Mode, OutputGradients, Parameter, Trainable};
use super::{dense, pointwise, reshape};
use crate::error::TrainError;

/// A block of values that shrinks and grows without being cleared or moved: fresh memory costs
/// more than the arithmetic on it.
#[derive(Clone, Debug, Default)]
pub(super) struct Buffer {
    data: Vec<f32>,
    len: usize,
}

impl Buffer {
    /// Now holds `len` arbitrary values.
    fn set_len(&mut self, len: usize) {
        if self.data.len() < len {
            self.data.resize(len, 0.0);
        }
        self.len = len;
    }
}

impl Deref for Buffer {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.data[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.data[..self.len]
    }
}

/// A buffer of `len` arbitrary values, an old one if one fits.
fn take(spare: &mut Vec<Buffer>, len: usize) -> Buffer {
    let fitting = spare
        .iter()
        .enumerate()
        .filter(|(_, b)| b.data.len() >= len)
        .min_by_key(|(_, b)| b.data.len());
    let mut buffer = fitting.map(|(i, _)| i).map_or_else(Buffer::default, |i| spare.swap_remove(i));
    buffer.set_len(len);
    buffer
}

impl Trainable {
    /// Computes every node for a batch. `inputs` are `[batch, …]` in the order of the network's inputs.
    ///
    /// # Errors
    /// A wrong number of inputs, or one whose length is not the same number of whole samples.
    pub fn forward(&mut self, inputs: &[&[f32]], mode: Mode) -> Result<(), TrainError> {
        let described = &self.network.inputs;
        let batch = inputs.first().map_or(0, |x| x.len() / self.lengths[0]);
        let fits = |(i, x): (usize, &&[f32])| x.len() == batch * self.lengths[i];
        if inputs.len() != described.len() || batch == 0 || !inputs.iter().enumerate().all(fits) {
            let found: Vec<usize> = inputs.iter().map(|x| x.len()).collect();
            let needed: Vec<usize> = self.lengths[..described.len()].to_vec();
            return Err(TrainError::malformed(
                "batch",
                format!("inputs of {found:?} values; a sample has {needed:?}"),
            ));
        }
        self.mode = mode;
        self.batch = batch;
        #[cfg(feature = "libtorch")]
        if self.libtorch.is_some() {
            return self.forward_in_libtorch(inputs);
        }
        for (i, x) in inputs.iter().enumerate() {
            self.buffers[i].set_len(x.len());
            self.buffers[i].copy_from_slice(x);
        }
        for i in 0..self.layers.len() {
            self.layer_forward(i);
        }
        Ok(())
    }

    #[cfg(feature = "libtorch")]
    fn forward_in_libtorch(&mut self, inputs: &[&[f32]]) -> Result<(), TrainError> {
        let outputs = self
            .network
            .outputs
            .iter()
            .map(|name| self.value(name))
            .collect::<Result<Vec<_>, _>>()?;
        let Self { libtorch: Some(passes), network, layers, parameters, needs_gradient, .. } = self
        else {
            return Ok(());
        };
        let given: Vec<_> = inputs.iter().copied().zip(needs_gradient.iter().copied()).collect();
        passes.forward(network, layers, parameters, &given, self.mode)?;
        for value in outputs {
            let buffer = &mut self.buffers[self.buffer_of[value]];
            buffer.set_len(self.batch * self.lengths[value]);
            passes.value(value, buffer)?;
        }
        Ok(())
    }

    fn layer_forward(&mut self, i: usize) {
        let Self { network, layers, parameters, buffers, buffer_of, lengths, mode, batch, .. } =
            self;
        let value = network.inputs.len() + i;
        let place = buffer_of[value];
        let layer = &mut layers[i];
        if layer.done_before {
            return;
        }
        // The output's buffer is taken out so that the inputs' can be read beside it.
        let mut y = std::mem::take(&mut buffers[place]);
        y.set_len(*batch * lengths[value]);
        let x = |n: usize| -> &[f32] { &buffers[buffer_of[layer.from[n]]] };
        let weight = |n: usize| -> &[f32] { &parameters[layer.parameters[n]].value };
        let bias = layer.parameters.get(1).map(|&p| parameters[p].value.as_slice());
        let from = |kind: PoolKind, kept: &mut Kept, len: usize| -> Vec<u32> {
            let mut from =
                if let Kept::From(old) = std::mem::take(kept) { old } else { Vec::new() };
            from.resize(if kind == PoolKind::Max { len } else { 0 }, 0);
            from
        };
        let mut kept = std::mem::take(&mut layer.kept);
        match &layer.kernel {
            Kernel::Conv(conv) => conv.forward(x(0), weight(0), bias, &mut y),
            Kernel::Dense { inputs, out } => {
                dense::forward(x(0), weight(0), bias, *inputs, *out, &mut y)
            }
            Kernel::Norm(norm) => {
                let places = &layer.parameters;
                let statistics = if *mode == Mode::Evaluate || layer.frozen {
                    norm.evaluate(x(0), weight(0), weight(1), [weight(2), weight(3)], &mut y)
                } else {
                    let [mut mean, mut var] =
                        [2, 3].map(|n| std::mem::take(&mut parameters[places[n]].value));
                    let [w, b] = [0, 1].map(|n| parameters[places[n]].value.as_slice());
                    let x = &buffers[buffer_of[layer.from[0]]];
                    let statistics = norm.train(x, w, b, [&mut mean, &mut var], &mut y);
                    parameters[places[2]].value = mean;
                    parameters[places[3]].value = var;
                    statistics
                };
                kept = Kept::Statistics(statistics);
            }
            Kernel::Activation(function, row) => {
                if !layer.in_place {
                    y.copy_from_slice(x(0));
                }
                pointwise::activate(*function, &mut y, *row);
            }
            Kernel::Dropout(p) => {
                if !layer.in_place {
                    y.copy_from_slice(x(0));
                }
                if let Mode::Train { seed, step } = mode {
                    pointwise::dropout(*p, [*seed, *step, i as u64], &mut y);
                }
            }
            Kernel::Alias => {
                if !layer.in_place {
                    y.copy_from_slice(x(0));
                }
            }
            Kernel::Pool(pool) => {
                let mut places = from(pool.kind, &mut kept, y.len());
                pool.forward(x(0), &mut y, &mut places);
                kept = Kept::From(places);
            }
            Kernel::Reduce(reduce) => {
                let mut places = from(reduce.kind, &mut kept, y.len());
                reduce.forward(x(0), &mut y, &mut places);
                kept = Kept::From(places);
            }
            Kernel::Recurrent(recurrent) => {
                kept = Kept::States(recurrent.forward(
                    x(0),
                    [weight(0), weight(1), weight(2), weight(3)],
                    &mut y,
                ));
            }
            Kernel::Add => {
                y.copy_from_slice(x(0));
                (1..layer.from.len()).for_each(|n| par_add(&mut y, x(n)));
            }
            Kernel::Mul(inner) => {
                y.copy_from_slice(x(0));
                (1..layer.from.len()).for_each(|n| pointwise::scale_runs(&mut y, x(n), inner[n]));
            }
            Kernel::Interleave(runs) => {
                let parts: Vec<(&[f32], usize)> =
                    runs.iter().enumerate().map(|(n, &run)| (x(n), run)).collect();
                reshape::interleave(&parts, &mut y);
            }
            Kernel::Permute(source) => reshape::gather(x(0), source, &mut y),
            Kernel::Slice { row, at, run } => reshape::take_part(x(0), *row, *at, *run, &mut y),
            Kernel::Repeat { sample, count } => reshape::repeat(x(0), *sample, *count, &mut y),
        }
        layer.kept = kept;
        buffers[place] = y;
    }

    /// Adds to the parameters' gradients those of a loss whose gradients with respect to outputs are given.
    /// Follows a [`Trainable::forward`] with the same batch.
    ///
    /// # Errors
    /// An output that does not exist, or a gradient of another length than the output.
    pub fn backward(&mut self, outputs: &OutputGradients) -> Result<(), TrainError> {
        let mut given: Vec<(usize, &[f32])> = Vec::with_capacity(outputs.len());
        for (name, gradient) in outputs {
            let needed = self.output(name)?.len();
            if gradient.len() != needed {
                let message =
                    format!("its gradient has {} values, its batch {needed}", gradient.len());
                return Err(TrainError::malformed(format!("output `{name}`"), message));
            }
            given.push((self.value(name)?, gradient));
        }
        #[cfg(feature = "libtorch")]
        if let Some(passes) = &mut self.libtorch {
            passes.backward(&given, &mut self.parameters)?;
            #[cfg(test)]
            {
                self.input_gradients = passes.gradients(self.network.inputs.len())?;
            }
            return Ok(());
        }
        let mut gradients: Vec<Option<Buffer>> = vec![None; self.lengths.len()];
        for (value, gradient) in given {
            let buffer = Buffer { data: gradient.to_vec(), len: gradient.len() };
            give(&mut gradients[value], buffer, &mut self.spare);
        }
        for i in (0..self.layers.len()).rev() {
            let value = self.network.inputs.len() + i;
            let Some(dy) = gradients[value].take() else { continue };
            if self.needs_gradient[value] {
                self.layer_backward(i, dy, &mut gradients);
            } else {
                self.spare.push(dy);
            }
        }
        #[cfg(test)]
        for (kept, gradient) in self.input_gradients.iter_mut().zip(gradients) {
            *kept = gradient.map(|g| g.to_vec());
        }
        Ok(())
    }

    fn layer_backward(&mut self, i: usize, mut dy: Buffer, gradients: &mut [Option<Buffer>]) {
        let Self {
            network,
            layers,
            parameters,
            buffers,
            buffer_of,
            lengths,
            needs_gradient,
            mode,
            batch,
            spare,
            ..
        } = self;
        let value = network.inputs.len() + i;
        let layer = &layers[i];
        let x = |n: usize| -> &[f32] { &buffers[buffer_of[layer.from[n]]] };
        let y: &[f32] = &buffers[buffer_of[value]];
        let wanted = |n: usize| needs_gradient[layer.from[n]];
        let length = |n: usize| *batch * lengths[layer.from[n]];
        let first = layer.from[0];
        // The parameters' gradients are taken out so that their values can be read beside them.
        let trains = layer.parameters.first().is_some_and(|&p| parameters[p].trainable);
        let mut own: Vec<Vec<f32>> =
            layer.parameters.iter().map(|&p| std::mem::take(&mut parameters[p].gradient)).collect();
        let weight = |n: usize| -> &[f32] { value_of(parameters, &layer.parameters, n) };
        // What most kernels do: one input, its gradient in a buffer of its own.
        let mut dx = None;
        match &layer.kernel {
            Kernel::Conv(conv) => {
                dx = wanted(0).then(|| take(spare, length(0)));
                let (dw, db) = two(&mut own, trains);
                conv.backward(x(0), weight(0), &dy, dx.as_deref_mut(), dw, db);
            }
            Kernel::Dense { inputs, out } => {
                dx = wanted(0).then(|| take(spare, length(0)));
                let (dw, db) = two(&mut own, trains);
                dense::backward(x(0), weight(0), &dy, *inputs, *out, dx.as_deref_mut(), dw, db);
            }
            Kernel::Norm(norm) => {
                let Kept::Statistics(kept) = &layer.kept else {
                    unreachable!("a batch norm keeps its statistics")
                };
                let gradients = match two(&mut own, trains) {
                    (Some(dw), Some(db)) => Some([dw, db]),
                    _ => None,
                };
                norm.backward(x(0), weight(0), weight(1), kept, &mut dy, gradients);
                dx = Some(std::mem::take(&mut dy));
            }
            Kernel::Activation(function, row) => {
                if !layer.done_before {
                    let kept = if *function == Activation::Silu { x(0) } else { y };
                    pointwise::activate_backward(*function, kept, &mut dy, *row);
                }
                dx = Some(std::mem::take(&mut dy));
            }
            Kernel::Dropout(p) => {
                if let Mode::Train { seed, step } = mode {
                    pointwise::dropout(*p, [*seed, *step, i as u64], &mut dy);
                }
                dx = Some(std::mem::take(&mut dy));
            }
            Kernel::Alias => dx = Some(std::mem::take(&mut dy)),
            Kernel::Pool(_) | Kernel::Reduce(_) => {
                let Kept::From(from) = &layer.kept else {
                    unreachable!("a pool keeps where maxima came from")
                };
                let mut buffer = take(spare, length(0));
                match &layer.kernel {
                    Kernel::Pool(pool) => pool.backward(&dy, from, &mut buffer),
                    Kernel::Reduce(reduce) => reduce.backward(&dy, from, &mut buffer),
                    _ => {}
                }
                dx = Some(buffer);
            }
            Kernel::Recurrent(recurrent) => {
                let Kept::States(kept) = &layer.kept else {
                    unreachable!("a recurrent layer keeps its states")
                };
                dx = wanted(0).then(|| take(spare, length(0)));
                let given = match own.as_mut_slice() {
                    [a, b, c, d] if trains => Some([a.as_mut_slice(), b, c, d]),
                    _ => None,
                };
                recurrent.backward(
                    x(0),
                    [weight(0), weight(1), weight(2), weight(3)],
                    kept,
                    &dy,
                    dx.as_deref_mut(),
                    given,
                );
            }
            Kernel::Add => {
                for &from in &layer.from[1..] {
                    if needs_gradient[from] {
                        let mut copy = take(spare, dy.len());
                        copy.copy_from_slice(&dy);
                        give(&mut gradients[from], copy, spare);
                    }
                }
                dx = Some(std::mem::take(&mut dy));
            }
            Kernel::Mul(inner) => {
                for n in (0..layer.from.len()).filter(|&n| wanted(n)) {
                    // dy times every other factor, summed over what this one scales.
                    let mut full = take(spare, dy.len());
                    full.copy_from_slice(&dy);
                    for other in (0..layer.from.len()).filter(|&o| o != n) {
                        pointwise::scale_runs(&mut full, x(other), inner[other]);
                    }
                    if inner[n] > 1 {
                        let mut summed = take(spare, length(n));
                        summed
                            .iter_mut()
                            .zip(full.chunks_exact(inner[n]))
                            .for_each(|(s, run)| *s = run.iter().sum());
                        spare.push(std::mem::replace(&mut full, summed));
                    }
                    give(&mut gradients[layer.from[n]], full, spare);
                }
            }
            Kernel::Interleave(runs) => {
                let row: usize = runs.iter().sum();
                let mut at = 0;
                for (n, &run) in runs.iter().enumerate() {
                    if wanted(n) {
                        let mut part = take(spare, length(n));
                        reshape::take_part(&dy, row, at, run, &mut part);
                        give(&mut gradients[layer.from[n]], part, spare);
                    }
                    at += run;
                }
            }
            Kernel::Permute(source) => {
                let mut buffer = take(spare, length(0));
                reshape::scatter(&dy, source, &mut buffer);
                dx = Some(buffer);
            }
            Kernel::Slice { row, at, run } => {
                let mut buffer = take(spare, length(0));
                reshape::put_part(&dy, *row, *at, *run, &mut buffer);
                dx = Some(buffer);
            }
            Kernel::Repeat { sample, count } => {
                let mut buffer = take(spare, length(0));
                reshape::unrepeat(&dy, *sample, *count, &mut buffer);
                dx = Some(buffer);
            }
        }
        if !dy.is_empty() {
            spare.push(dy);
        }
        if let Some(dx) = dx {
            give(&mut gradients[first], dx, spare);
        }
        for (&p, gradient) in layer.parameters.iter().zip(own) {
            parameters[p].gradient = gradient;
        }
    }
}

/// Adds a gradient to what has already come back to a value.
fn give(place: &mut Option<Buffer>, gradient: Buffer, spare: &mut Vec<Buffer>) {
    match place {
        None => *place = Some(gradient),
        Some(sum) => {
            par_add(sum, &gradient);
            spare.push(gradient);
        }
    }
}

fn value_of<'a>(parameters: &'a [Parameter], places: &[usize], n: usize) -> &'a [f32] {
    &parameters[places[n]].value
}

/// The gradients of weight and bias, where there are such and they are wanted.
fn two(own: &mut [Vec<f32>], wanted: bool) -> (Option<&mut [f32]>, Option<&mut [f32]>) {
    let mut own = own.iter_mut().map(Vec::as_mut_slice).filter(|_| wanted);
    (own.next(), own.next())
}

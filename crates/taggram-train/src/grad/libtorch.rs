//! The two passes computed by libtorch, on a GPU when there is one: the build feature `libtorch`.
//!
//! Only the arithmetic is libtorch's. Weights, losses, optimisers and checkpoints stay where they
//! are, so a training begun by one side goes on by the other. Weights travel to the device before
//! each pass and gradients come back after it, which is little beside the arithmetic of a batch.

use taggram_model::{Activation, Network, Op, PoolKind};
use tch::{Device, Kind, TchError, Tensor};

use super::layer::Layer;
use super::{Mode, Parameter, pointwise};
use crate::error::{ErrorKind, TrainError};

/// Where the passes run, and what a forward pass left for the backward pass.
#[derive(Debug)]
pub(super) struct Passes {
    device: Device,
    tape: Option<Tape>,
}

/// The values of a forward pass that a backward pass asks for.
#[derive(Debug)]
struct Tape {
    /// Inputs first, then nodes.
    values: Vec<Tensor>,
    /// In the order of the network's parameters.
    weights: Vec<Tensor>,
}

impl Clone for Passes {
    /// The tape is of one batch and stays behind.
    fn clone(&self) -> Self {
        Self { device: self.device, tape: None }
    }
}

/// A batch on its way into the network: values and whether their gradient is wanted.
pub(super) type Given<'a> = (&'a [f32], bool);

impl From<TchError> for TrainError {
    fn from(error: TchError) -> Self {
        let text = error.to_string();
        // What follows the first line is a list of C++ functions.
        let message = text.lines().next().unwrap_or("an error without words");
        Self::new("libtorch", ErrorKind::Overloaded, message)
    }
}

/// libtorch counts in i64.
fn long(n: usize) -> i64 {
    n as i64
}

fn longs<const N: usize>(all: &[usize; N]) -> [i64; N] {
    all.map(long)
}

impl Passes {
    /// On the first GPU, or on `threads` threads of the processor when libtorch finds none.
    pub fn new(threads: usize) -> Self {
        tch::set_num_threads(i32::try_from(threads).unwrap_or(1));
        Self { device: Device::cuda_if_available(), tape: None }
    }

    /// The device in words.
    pub fn device(&self) -> String {
        match self.device {
            Device::Cuda(number) => format!("libtorch, GPU {number}"),
            _ => format!("libtorch, {} threads: it found no GPU", tch::get_num_threads()),
        }
    }

    fn tensor(&self, data: &[f32], shape: &[i64], gradient: bool) -> Result<Tensor, TchError> {
        let tensor = Tensor::f_from_slice(data)?.f_to_device(self.device)?;
        tensor.f_reshape(shape)?.f_detach()?.f_set_requires_grad(gradient)
    }

    /// Computes every node; moves the running statistics of `parameters` while training. The
    /// outputs' values can be [read](Passes::value) afterwards.
    pub fn forward(
        &mut self,
        network: &Network,
        layers: &[Layer],
        parameters: &mut [Parameter],
        given: &[Given<'_>],
        mode: Mode,
    ) -> Result<(), TrainError> {
        self.tape = None;
        let weights = parameters
            .iter()
            .map(|p| {
                let shape: Vec<i64> = p.shape.iter().copied().map(long).collect();
                self.tensor(&p.value, &shape, p.trainable)
            })
            .collect::<Result<Vec<_>, _>>()?;
        if self.device.is_cuda() {
            join_recurrent(network, layers, &weights)?;
        }
        let mut values = Vec::with_capacity(given.len() + layers.len());
        for (input, &(data, gradient)) in network.inputs.iter().zip(given) {
            let shape: Vec<i64> =
                std::iter::once(-1).chain(input.shape.iter().copied().map(long)).collect();
            values.push(self.tensor(data, &shape, gradient)?);
        }
        for (i, (node, layer)) in network.nodes.iter().zip(layers).enumerate() {
            let x: Vec<&Tensor> = layer.from.iter().map(|&f| &values[f]).collect();
            let w: Vec<&Tensor> = layer.parameters.iter().map(|&p| &weights[p]).collect();
            let y = match (&node.op, mode) {
                (Op::Dropout { p }, Mode::Train { seed, step }) => {
                    self.drop(x[0], *p, [seed, step, i as u64])?
                }
                (op, mode) => {
                    compute(op, &x, &w, mode != Mode::Evaluate && !layer.frozen, self.device)?
                }
            };
            values.push(y);
        }
        if mode != Mode::Evaluate {
            for (node, layer) in network.nodes.iter().zip(layers) {
                if matches!(node.op, Op::BatchNorm { .. }) && !layer.frozen {
                    for &p in &layer.parameters[2..] {
                        read(&weights[p], &mut parameters[p].value)?;
                    }
                }
            }
        }
        self.tape = Some(Tape { values, weights });
        Ok(())
    }

    /// Drops what this program's own pass would drop, so that both train alike.
    fn drop(&self, x: &Tensor, p: f32, address: [u64; 3]) -> Result<Tensor, TchError> {
        let mut mask = vec![1.0; x.numel()];
        pointwise::dropout(p, address, &mut mask);
        x.f_mul(&self.tensor(&mask, &x.size(), false)?)
    }

    /// Copies the values of input or node number `value` of the last forward pass.
    pub fn value(&self, value: usize, into: &mut [f32]) -> Result<(), TrainError> {
        Ok(read(&self.tape()?.values[value], into)?)
    }

    fn tape(&self) -> Result<&Tape, TrainError> {
        self.tape.as_ref().ok_or_else(|| {
            TrainError::new("libtorch", ErrorKind::Bug, "no forward pass went before this")
        })
    }

    /// Adds to the parameters' gradients those of a loss whose gradients with respect to values
    /// are given by their numbers.
    pub fn backward(
        &mut self,
        outputs: &[(usize, &[f32])],
        parameters: &mut [Parameter],
    ) -> Result<(), TrainError> {
        let tape = self.tape()?;
        let mut loss: Option<Tensor> = None;
        for &(value, gradient) in outputs {
            let output = &tape.values[value];
            let part =
                output.f_mul(&self.tensor(gradient, &output.size(), false)?)?.f_sum(Kind::Float)?;
            loss = Some(match loss {
                Some(sum) => sum.f_add(&part)?,
                None => part,
            });
        }
        let Some(loss) = loss.filter(Tensor::requires_grad) else { return Ok(()) };
        loss.f_backward()?;
        for (parameter, weight) in parameters.iter_mut().zip(&tape.weights) {
            if parameter.trainable
                && let Some(gradient) = gradient_of(weight)?
            {
                parameter.gradient.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += g);
            }
        }
        Ok(())
    }

    /// The gradient that came back to each of the first `count` values, where one was wanted.
    #[cfg(test)]
    pub fn gradients(&self, count: usize) -> Result<Vec<Option<Vec<f32>>>, TrainError> {
        Ok(self.tape()?.values[..count].iter().map(gradient_of).collect::<Result<_, _>>()?)
    }
}

fn gradient_of(leaf: &Tensor) -> Result<Option<Vec<f32>>, TchError> {
    let gradient = leaf.f_grad()?;
    if !gradient.defined() {
        return Ok(None);
    }
    let mut values = vec![0.0; gradient.numel()];
    read(&gradient, &mut values)?;
    Ok(Some(values))
}

fn read(tensor: &Tensor, into: &mut [f32]) -> Result<(), TchError> {
    let here = tensor.f_detach()?.f_to_device(Device::Cpu)?.f_contiguous()?;
    here.f_copy_data(into, here.numel())
}

/// Lays the weights of each recurrent layer in one piece, as cuDNN wants them: otherwise it does so itself at
/// every call, and says so every time.
fn join_recurrent(network: &Network, layers: &[Layer], weights: &[Tensor]) -> Result<(), TchError> {
    for (node, layer) in network.nodes.iter().zip(layers) {
        // The numbers are cuDNN's for the two kinds.
        let (kind, hidden) = match &node.op {
            Op::Lstm { hidden, .. } => (2, long(*hidden)),
            Op::Gru { hidden, .. } => (3, long(*hidden)),
            _ => continue,
        };
        let own: Vec<&Tensor> = layer.parameters.iter().map(|&p| &weights[p]).collect();
        let (count, inputs) = (long(own.len()), own[0].size()[1]);
        // Afterwards the weights are parts of this one.
        let _whole = tch::no_grad(|| {
            Tensor::f_internal_cudnn_rnn_flatten_weight(
                &own, count, inputs, kind, hidden, 0, 1, true, false,
            )
        })?;
    }
    Ok(())
}

/// One operation on a batch: every tensor has the batch as its first axis.
fn compute(
    op: &Op,
    x: &[&Tensor],
    w: &[&Tensor],
    training: bool,
    device: Device,
) -> Result<Tensor, TchError> {
    let first = x[0];
    let size = first.size();
    match op {
        Op::Conv2d { stride, padding, groups, .. } => {
            let [[top, bottom], [left, right]] = padding.map(|side| longs(&side));
            let bias = w.get(1).copied();
            let groups = long(*groups);
            if top == bottom && left == right {
                first.f_conv2d(w[0], bias, longs(stride), [top, left], [1, 1], groups)
            } else {
                let padded = first.f_constant_pad_nd([left, right, top, bottom])?;
                padded.f_conv2d(w[0], bias, longs(stride), [0, 0], [1, 1], groups)
            }
        }
        Op::BatchNorm { axis, eps } => {
            let channels = size[axis + 1];
            let inner: i64 = size[axis + 2..].iter().product();
            let eps = f64::from(*eps);
            let [weight, bias, mean, var] = [0, 1, 2, 3].map(|n| Some(w[n]));
            let grouped = first.f_reshape([-1, channels, inner])?;
            grouped.f_batch_norm(weight, bias, mean, var, training, 0.1, eps, true)?.f_reshape(size)
        }
        Op::Activation(function) => match function {
            Activation::Relu => first.f_relu(),
            Activation::Elu => first.f_elu(),
            Activation::Silu => first.f_silu(),
            Activation::Sigmoid => first.f_sigmoid(),
            Activation::Tanh => first.f_tanh(),
            Activation::Softmax => first.f_softmax(-1, Kind::Float),
        },
        Op::Pool { kind, kernel, stride, padding } => pool(first, *kind, kernel, stride, padding),
        Op::Reduce { kind, axes } => {
            let gone: Vec<i64> = axes.iter().map(|&a| long(a) + 1).collect();
            match kind {
                PoolKind::Mean => first.f_mean_dim(gone.as_slice(), false, Kind::Float),
                // One of several equal maxima takes the gradient, as in this program's own pass.
                PoolKind::Max => {
                    let kept = (0..long(size.len())).filter(|a| !gone.contains(a));
                    let order: Vec<i64> = kept.chain(gone.iter().copied()).collect();
                    let last = long(size.len() - gone.len());
                    let rows = first.f_permute(order)?.f_flatten(last, -1)?;
                    Ok(rows.f_max_dim(-1, false)?.0)
                }
            }
        }
        Op::Dense { .. } => first.f_linear(w[0], w.get(1).copied()),
        // Outside training nothing is dropped.
        Op::Dropout { .. } => Ok(first.shallow_clone()),
        Op::Gru { hidden, sequence } | Op::Lstm { hidden, sequence } => {
            let state = Tensor::f_zeros([1, size[0], long(*hidden)], (Kind::Float, device))?;
            let states = if matches!(op, Op::Gru { .. }) {
                first.f_gru(&state, w, true, 1, 0.0, training, false, true)?.0
            } else {
                first.f_lstm(&[&state, &state], w, true, 1, 0.0, training, false, true)?.0
            };
            if *sequence { Ok(states) } else { states.f_select(1, size[1] - 1) }
        }
        Op::Add => x[1..].iter().try_fold(first.shallow_clone(), |sum, x| sum.f_add(x)),
        Op::Mul => {
            // A value of a smaller factor scales a run of values.
            let product = x[1..].iter().try_fold(first.shallow_clone(), |product, factor| {
                let factor = factor.f_reshape([-1, 1])?;
                product.f_reshape([factor.size()[0], -1])?.f_mul(&factor)
            })?;
            product.f_reshape(size)
        }
        Op::Concat { axis } => Tensor::f_cat(x, long(*axis) + 1),
        Op::Stack => Tensor::f_stack(x, -1),
        Op::Permute { order } => {
            let order: Vec<i64> =
                std::iter::once(0).chain(order.iter().map(|&a| long(a) + 1)).collect();
            first.f_permute(order)
        }
        Op::Flatten => first.f_flatten(1, -1),
        Op::Reshape { shape } => {
            let shape: Vec<i64> =
                std::iter::once(size[0]).chain(shape.iter().copied().map(long)).collect();
            first.f_reshape(shape)
        }
        Op::Slice { axis, start, length } => {
            first.f_narrow(long(*axis) + 1, long(*start), long(*length))
        }
        Op::RepeatChannels { count } => first.f_expand([-1, long(*count), -1, -1], false),
    }
}

fn pool(
    x: &Tensor,
    kind: PoolKind,
    kernel: &[usize; 2],
    stride: &[usize; 2],
    padding: &[[usize; 2]; 2],
) -> Result<Tensor, TchError> {
    let [[top, bottom], [left, right]] = padding.map(|side| longs(&side));
    let sides = [left, right, top, bottom];
    let (kernel, stride) = (longs(kernel), longs(stride));
    let mean = |x: &Tensor| x.f_avg_pool2d(kernel, stride, [0, 0], false, true, None);
    match kind {
        PoolKind::Max => {
            let padded = x.f_pad(sides, "constant", f64::NEG_INFINITY)?;
            padded.f_max_pool2d(kernel, stride, [0, 0], [1, 1], false)
        }
        PoolKind::Mean if sides == [0; 4] => mean(x),
        // Padding counts as absent: the mean over the places is divided by the share of real ones.
        PoolKind::Mean => {
            let real = x.f_ones_like()?.f_detach()?.f_constant_pad_nd(sides)?;
            mean(&x.f_constant_pad_nd(sides)?)?.f_div(&mean(&real)?)
        }
    }
}

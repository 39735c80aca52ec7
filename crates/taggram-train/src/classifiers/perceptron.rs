//! A dense network with ReLU and dropout, trained with AdamW (I. Loshchilov and F. Hutter,
//! 2019) and a step size that falls along half a cosine.

use std::collections::BTreeMap;

use taggram_model::classifier::Perceptron;
use taggram_model::{NetworkBuilder, Weights};

use super::recipe::MlpOptions;
use super::{Rows, bug};
use crate::error::TrainError;
use crate::grad::{Mode, OutputGradients, Trainable, softmax};
use crate::rng::Rng;

pub(super) fn fit(
    rows: &Rows,
    classes: usize,
    options: &MlpOptions,
    seed: u64,
) -> Result<Perceptron, TrainError> {
    let mut builder = NetworkBuilder::new("input", [rows.columns]);
    for (i, &units) in options.hidden.iter().enumerate() {
        builder = builder.dense(&format!("dense{}", i + 1), units).relu();
        if options.dropout > 0.0 {
            builder = builder.dropout(options.dropout);
        }
    }
    let network = builder.dense("scores", classes).build();
    let trainable = Trainable::new(network, seed)?;
    train(trainable, rows, classes, options, seed, &BTreeMap::new())
}

/// Goes on from the weights of `start`; those that `zeros` names stay 0 where it says so.
pub(crate) fn tune(
    rows: &Rows,
    start: &Perceptron,
    options: &MlpOptions,
    seed: u64,
    zeros: &BTreeMap<String, Vec<bool>>,
) -> Result<Weights, TrainError> {
    let trainable = Trainable::with_weights(start.network().clone(), start.weights())?;
    let classes = start.classes();
    Ok(train(trainable, rows, classes, options, seed, zeros)?.weights().clone())
}

fn train(
    mut trainable: Trainable,
    rows: &Rows,
    classes: usize,
    options: &MlpOptions,
    seed: u64,
    zeros: &BTreeMap<String, Vec<bool>>,
) -> Result<Perceptron, TrainError> {
    let network = trainable.network().clone();
    let scores = network.outputs[0].clone();
    let mut moments: Vec<Vec<[f32; 2]>> =
        trainable.parameters().iter().map(|p| vec![[0.0; 2]; p.value.len()]).collect();
    let mut order: Vec<usize> = (0..rows.len()).collect();
    let updates = options.epochs * rows.len().div_ceil(options.batch);
    let mut update = 0u64;
    for epoch in 0..options.epochs as u64 {
        Rng::at(&[seed, 0x317, epoch]).shuffle(&mut order);
        for batch in order.chunks(options.batch) {
            let input: Vec<f32> = batch.iter().flat_map(|&i| rows.row(i)).copied().collect();
            trainable.clear_gradients();
            trainable.forward(&[&input], Mode::Train { seed, step: update })?;
            // Gradient of the mean cross-entropy: (probability − truth) / rows.
            let mut gradient = trainable.output(&scores)?.to_vec();
            for (g, &i) in gradient.chunks_exact_mut(classes).zip(batch) {
                softmax(g);
                g[rows.labels[i]] -= 1.0;
                g.iter_mut().for_each(|g| *g /= batch.len() as f32);
            }
            trainable.backward(&OutputGradients::from([(scores.clone(), gradient)]))?;
            update += 1;
            let progress = update as f32 / updates as f32;
            let rate =
                options.learning_rate * 0.5 * (1.0 + (std::f32::consts::PI * progress).cos());
            step(&mut trainable, &mut moments, rate, options.weight_decay, update);
            for p in trainable.parameters_mut() {
                if let Some(zero) = zeros.get(&p.name) {
                    let pairs = p.value.iter_mut().zip(zero);
                    pairs.filter(|(_, zero)| **zero).for_each(|(w, _)| *w = 0.0);
                }
            }
        }
    }
    Perceptron::new(network, trainable.weights()).map_err(bug)
}

/// One AdamW update with the usual decays 0.9 and 0.999.
fn step(
    trainable: &mut Trainable,
    moments: &mut [Vec<[f32; 2]>],
    rate: f32,
    decay: f32,
    update: u64,
) {
    let correction = |beta: f64| (1.0 - beta.powf(update as f64)) as f32;
    let (first, second) = (correction(0.9), correction(0.999));
    for (parameter, moments) in trainable.parameters_mut().iter_mut().zip(moments) {
        if !parameter.trainable {
            continue;
        }
        let shrink = if parameter.decays { 1.0 - rate * decay } else { 1.0 };
        for ((w, g), m) in parameter.value.iter_mut().zip(&parameter.gradient).zip(moments) {
            m[0] += 0.1 * (g - m[0]);
            m[1] += 0.001 * (g * g - m[1]);
            *w = *w * shrink - rate * (m[0] / first) / ((m[1] / second).sqrt() + 1e-8);
        }
    }
}

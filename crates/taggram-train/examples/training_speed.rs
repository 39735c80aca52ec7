//! Training speed of two yardstick networks, for `bench/training/run.py`:
//! `training_speed small-cnn|resnet18 THREADS SECONDS BATCH [libtorch]` prints samples per second of wall
//! time in whole updates (forward, loss, backward, Adam), and how many samples in all.

use std::time::{Duration, Instant};

use taggram_model::architectures::{Heads, Resnet18};
use taggram_model::{Network, NetworkBuilder, PoolKind};
use taggram_train::grad::{Backend, Mode, Trainable};
use taggram_train::loss::{LossRecipe, Targets, batch_loss};
use taggram_train::optim::Optimiser;
use taggram_train::rng::Rng;

/// Four blocks of 3×3 convolution, batch norm, ReLU and 2×2 maximum; mean; dense.
fn small_cnn() -> Network {
    let mut b = NetworkBuilder::new("input", [1, 128, 128]);
    for (i, filters) in [32, 64, 128, 128].into_iter().enumerate() {
        b = b
            .conv(&format!("conv{i}"), filters, [3, 3])
            .batch_norm(&format!("norm{i}"))
            .relu()
            .max_pool([2, 2]);
    }
    b.reduce(PoolKind::Mean, &[1, 2]).dense("logits", 10).build()
}

/// ResNet18 (He et al. 2016) on 3 × 128 × 128.
fn resnet18() -> Network {
    let heads = Heads { classes: 10, auxiliary: Vec::new() };
    Resnet18 { width: 64, dropout: 0.0 }.build([3, 128, 128], &heads)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (name, threads, seconds, batch, backend) = match arguments.as_slice() {
        [name, threads, seconds, batch] => (name, threads, seconds, batch, Backend::Own),
        [name, threads, seconds, batch, backend] if backend == "libtorch" => {
            (name, threads, seconds, batch, Backend::Libtorch)
        }
        _ => {
            return Err(
                "usage: training_speed small-cnn|resnet18 THREADS SECONDS BATCH [libtorch]".into(),
            );
        }
    };
    let network = match name.as_str() {
        "small-cnn" => small_cnn(),
        "resnet18" => resnet18(),
        other => return Err(format!("no network `{other}`").into()),
    };
    let limit = Duration::from_secs_f64(seconds.parse()?);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.parse()?).build()?;
    let batch = batch.parse()?;
    let (speed, count) = pool.install(|| measure(network, backend, batch, limit))?;
    println!("{speed:.2} {count}");
    Ok(())
}

fn measure(
    network: Network,
    backend: Backend,
    batch: usize,
    limit: Duration,
) -> Result<(f64, usize), taggram_train::error::TrainError> {
    let mut trainable = Trainable::new(network, 1)?;
    trainable.compute_with(backend)?;
    let length: usize = trainable.network().inputs[0].shape.iter().product();
    let mut rng = Rng::at(&[1]);
    let x: Vec<f32> = (0..batch * length).map(|_| rng.normal()).collect();
    let mut targets = Targets { weights: vec![1.0; batch], ..Targets::default() };
    for i in 0..batch {
        targets.classes.extend((0..10).map(|c| if c == i % 10 { 1.0 } else { 0.0 }));
    }
    let adam = Optimiser::Adam {
        learning_rate: 1e-3,
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        clip_norm: 0.0,
    };
    let mut state = adam.start(trainable.parameters());
    let loss = LossRecipe::default();
    let mut update = |step: u64| -> Result<(), taggram_train::error::TrainError> {
        trainable.forward(&[&x], Mode::Train { seed: 1, step })?;
        let found = batch_loss(&loss, &trainable, &targets)?;
        trainable.clear_gradients();
        trainable.backward(&found.gradients)?;
        adam.update(&mut state, trainable.parameters_mut(), 1e-3);
        Ok(())
    };
    // The first updates allocate.
    (0..2).try_for_each(&mut update)?;
    let started = Instant::now();
    let mut steps = 0;
    while started.elapsed() < limit {
        update(steps + 2)?;
        steps += 1;
    }
    let count = steps as usize * batch;
    Ok((count as f64 / started.elapsed().as_secs_f64(), count + 2 * batch))
}

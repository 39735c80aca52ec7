//! Whether windows of several songs should share a batch: milliseconds a window of the default
//! model's network, by batch size, on one thread.
//!
//! ```sh
//! cargo run --release -p taggram-serve --example batches
//! ```

use std::time::Instant;

use taggram_model::{Artifact, Body, Engine};

/// Rounds, of which the fastest counts.
const ROUNDS: usize = 9;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let artifact = Artifact::read(taggram::DEFAULT_MODEL)?;
    let Body::Network { network, windows, front_end, .. } = &artifact.description.body else {
        return Err("the default model is no network".into());
    };
    let engine = Engine::new(network, &artifact.weights)?;
    let length = windows.frames * front_end.channels() * front_end.bands();
    let input: Vec<f32> =
        (0..16 * length).map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0).collect();
    println!("| windows a batch | ms a window |\n|---|---|");
    for batch in [1, 2, 4, 5, 8, 16] {
        let runs = 64 / batch;
        let mut best = f64::INFINITY;
        for _ in 0..ROUNDS {
            let before = Instant::now();
            for _ in 0..runs {
                engine.run(&[&input[..batch * length]], batch)?;
            }
            best = best.min(before.elapsed().as_secs_f64() * 1e3 / (runs * batch) as f64);
        }
        println!("| {batch} | {best:.3} |");
    }
    Ok(())
}

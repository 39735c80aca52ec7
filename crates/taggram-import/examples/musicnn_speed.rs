//! Times musicnn on a log-mel map, and writes its answers for comparison:
//! `musicnn_speed WHEEL LOG_MEL THREADS SECONDS OUT`.
//!
//! `LOG_MEL` is raw little-endian `f32`, `[time, 96]`. Prints the fastest and the median time of
//! a run in milliseconds: whole song, then patch by patch through the engine. `OUT` gets the tag
//! probabilities as raw `f32`, `[patch, 50]`. Called by `bench/musicnn/run.py`.

use std::{
    error::Error,
    path::Path,
    time::{Duration, Instant},
};

use taggram_features::FeatureMap;
use taggram_model::{Engine, musicnn::MusicnnRunner};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [wheel, log_mel, threads, seconds, out] = args.as_slice() else {
        return Err("usage: musicnn_speed WHEEL LOG_MEL THREADS SECONDS OUT".into());
    };
    let (threads, budget): (usize, f64) = (threads.parse()?, seconds.parse()?);
    let models = taggram_import::import(Path::new(wheel))?;
    let model = models.first().ok_or("the wheel holds no model")?;
    let bytes = std::fs::read(log_mel)?;
    let data: Vec<f32> = bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    let map = FeatureMap::new(1, data.len() / 96, 96, data);

    let runner = MusicnnRunner::new(&model.network, &model.weights)?;
    let answer = runner.run(&map, &model.windows, threads)?;
    let (best, median) = time(budget, || runner.run(&map, &model.windows, threads).map(drop))?;
    println!("song {best:.2} {median:.2}");

    let engine = Engine::new(&model.network, &model.weights)?;
    let patches = model.windows.cut(&map)?;
    let (best, median) = time(budget, || engine.run(&[&patches.data], patches.count).map(drop))?;
    println!("patches_one_thread {best:.2} {median:.2}");

    let bytes: Vec<u8> = answer.tags.iter().flat_map(|p| p.to_le_bytes()).collect();
    std::fs::write(out, bytes)?;
    Ok(())
}

/// Fastest and median time of `work`, milliseconds, repeated for `budget` seconds.
fn time<E>(budget: f64, mut work: impl FnMut() -> Result<(), E>) -> Result<(f64, f64), E> {
    let budget = Duration::from_secs_f64(budget);
    let begin = Instant::now();
    let mut times = Vec::new();
    while times.len() < 3 || begin.elapsed() < budget {
        let start = Instant::now();
        work()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok((times[0], times[times.len() / 2]))
}

//! Times musicnn on a log-mel map: `musicnn_speed WHEEL LOG_MEL FOLDER`, driven by
//! `bench/musicnn/run.py`.
//!
//! `LOG_MEL` is raw little-endian `f32`, `[time, 96]`. Writes to `FOLDER` the network as
//! `model.onnx` and the tag probabilities as `tags.f32`, `[patch, 50]`, and says `ready`. Then
//! answers each line of its input with milliseconds: `song THREADS` runs the whole song at once,
//! `patches` patch by patch through the engine, on one thread.

use std::{
    error::Error,
    io::{BufRead, Write},
    path::Path,
    time::Instant,
};

use taggram_features::FeatureMap;
use taggram_model::{Engine, musicnn::MusicnnRunner, onnx::to_onnx};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [wheel, log_mel, folder] = args.as_slice() else {
        return Err("usage: musicnn_speed WHEEL LOG_MEL FOLDER".into());
    };
    let folder = Path::new(folder);
    let models = taggram_import::import(Path::new(wheel))?;
    let model = models.first().ok_or("the wheel holds no model")?;
    std::fs::write(folder.join("model.onnx"), to_onnx(&model.network, &model.weights)?)?;

    let bytes = std::fs::read(log_mel)?;
    let data: Vec<f32> = bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    let map = FeatureMap::new(1, data.len() / 96, 96, data);
    let runner = MusicnnRunner::new(&model.network, &model.weights)?;
    let tags = runner.run(&map, &model.windows, 1)?.tags;
    let bytes: Vec<u8> = tags.iter().flat_map(|p| p.to_le_bytes()).collect();
    std::fs::write(folder.join("tags.f32"), bytes)?;
    let engine = Engine::new(&model.network, &model.weights)?;
    let patches = model.windows.cut(&map)?;
    println!("ready");

    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let start = Instant::now();
        match line.split_once(' ') {
            Some(("song", threads)) => {
                runner.run(&map, &model.windows, threads.parse()?)?;
            }
            _ if line == "patches" => {
                engine.run(&[&patches.data], patches.count)?;
            }
            _ => return Err(format!("unknown command {line:?}").into()),
        }
        println!("{:.3}", start.elapsed().as_secs_f64() * 1e3);
        std::io::stdout().flush()?;
    }
    Ok(())
}

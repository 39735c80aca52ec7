//! The engine's half of `bench/inference/run.py`.
//!
//! `bench_inference export FOLDER` writes every network as `NAME.onnx` with `NAME.input` and
//! the engine's answer `NAME.output` (raw f32). `bench_inference time NAME RUNS` prints
//! the milliseconds of each run, one per line, after one that is not counted.

use std::time::Instant;

use taggram_model::Engine;

#[path = "../benches/networks/mod.rs"]
mod networks;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["export", folder] => {
            let folder = std::path::Path::new(folder);
            for (name, network) in networks::all() {
                let weights = networks::weights(&network);
                let input = networks::input(&network);
                let output = Engine::new(&network, &weights)?.run(&[&input], 1)?.remove(0);
                let bytes = |v: &[f32]| v.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
                let write = |kind: &str, bytes: &[u8]| {
                    std::fs::write(folder.join(format!("{name}.{kind}")), bytes)
                };
                write("onnx", &taggram_model::onnx::to_onnx(&network, &weights)?)?;
                write("input", &bytes(&input))?;
                write("output", &bytes(&output.data))?;
                println!("{name} {} {}", network.parameters()?, network.macs()?);
            }
        }
        ["time", wanted, runs] => {
            let found = networks::all().into_iter().find(|(name, _)| name == wanted);
            let (_, network) = found.ok_or(format!("no network {wanted}"))?;
            let engine = Engine::new(&network, &networks::weights(&network))?;
            let input = networks::input(&network);
            engine.run(&[&input], 1)?;
            for _ in 0..runs.parse::<usize>()? {
                let before = Instant::now();
                engine.run(&[&input], 1)?;
                println!("{}", before.elapsed().as_secs_f64() * 1e3);
            }
        }
        _ => return Err("usage: bench_inference export FOLDER | time NAME RUNS".into()),
    }
    Ok(())
}

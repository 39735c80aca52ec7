//! The engine's half of `bench/inference/run.py`.
//!
//! `bench_inference export FOLDER` writes every network as `NAME.onnx` with `NAME.input` and
//! the engine's answer `NAME.output` (raw f32). `bench_inference time NAME RUNS` prints
//! the milliseconds of each run, one per line, after one that is not counted.
//! `bench_inference integers NAME RUNS` prints those in floats and in integers in turn, two a line,
//! with the ranges of values taken from the one input.

use std::time::Instant;

use taggram_model::{Engine, Network, NetworkError, Quantisation, Weights};

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
        ["integers", wanted, runs] => {
            let found = networks::all().into_iter().find(|(name, _)| name == wanted);
            let (_, network) = found.ok_or(format!("no network {wanted}"))?;
            let (weights, input) = (networks::weights(&network), networks::input(&network));
            let floats = Engine::new(&network, &weights)?;
            let ranges = ranges(&network, &weights, &input)?;
            let integers = Engine::quantised(&network, &weights, &ranges)?;
            for _ in 0..=runs.parse::<usize>()? {
                for engine in [&floats, &integers] {
                    let before = Instant::now();
                    engine.run(&[&input], 1)?;
                    print!("{:.3} ", before.elapsed().as_secs_f64() * 1e3);
                }
                println!();
            }
        }
        _ => {
            let usage = "bench_inference export FOLDER | time NAME RUNS | integers NAME RUNS";
            return Err(format!("usage: {usage}").into());
        }
    }
    Ok(())
}

/// Ranges of all values but the outputs.
fn ranges(
    network: &Network,
    weights: &Weights,
    input: &[f32],
) -> Result<Quantisation, NetworkError> {
    let names: Vec<&str> = network.nodes.iter().map(|n| n.name.as_str()).collect();
    let engine = Engine::new(&network.with_outputs(&names)?, weights)?;
    let values = engine.run(&[input], 1)?;
    let range = |v: &[f32]| v.iter().fold([0.0f32; 2], |[l, h], &v| [l.min(v), h.max(v)]);
    let mut found = Quantisation::default();
    found.ranges.insert(network.inputs[0].name.clone(), range(input));
    for (name, value) in names.iter().zip(&values) {
        if !network.outputs.iter().any(|o| o == name) {
            found.ranges.insert((*name).into(), range(&value.data));
        }
    }
    Ok(found)
}

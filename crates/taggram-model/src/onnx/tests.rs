use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;
use crate::builder::NetworkBuilder;
use crate::engine::Engine;
use crate::engine::tests::{random_weights, zoo};
use crate::kernels::gemm::tests::noise;

/// A Python with ONNX Runtime: `TAGGRAM_PYTHON`, else `python3`.
fn python() -> Option<PathBuf> {
    let python = PathBuf::from(std::env::var_os("TAGGRAM_PYTHON").unwrap_or("python3".into()));
    let check = Command::new(&python).args(["-c", "import onnxruntime"]).output().ok()?;
    check.status.success().then_some(python)
}

fn write_floats(path: &Path, values: &[f32]) {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn onnx_runtime_agrees_with_the_engine_on_every_operation() {
    let networks = zoo()
        .into_iter()
        .map(|(_, network)| {
            // Every node is an output, so that the first wrong one is named.
            let all: Vec<&str> = network.nodes.iter().map(|n| n.name.as_str()).collect();
            network.with_outputs(&all).unwrap()
        })
        .collect();
    agree(networks, "operations");
}

#[test]
#[ignore = "slow: large networks, and files of hundreds of megabytes"]
fn onnx_runtime_agrees_with_the_engine_on_every_architecture() {
    let networks = crate::architectures::tests::published().into_iter();
    agree(networks.map(|(_, network, _)| network).collect(), "architectures");
}

/// Exports networks and holds ONNX Runtime's answers to a batch of three against the engine's: 1e-4.
fn agree(networks: Vec<Network>, name: &str) {
    let Some(python) = python() else {
        eprintln!("SKIPPED: no Python with onnxruntime (set TAGGRAM_PYTHON)");
        return;
    };
    let folder = std::env::temp_dir().join(format!("taggram-onnx-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (batch, count) = (3, networks.len());
    for (i, network) in networks.into_iter().enumerate() {
        let weights = random_weights(&network);
        let engine = Engine::new(&network, &weights).unwrap();
        let mut inputs = Vec::new();
        for (j, (_, shape)) in engine.inputs().enumerate() {
            inputs.push(noise(batch * shape.iter().product::<usize>(), j as u64 + 1));
            write_floats(&folder.join(format!("net{i}.in{j}")), &inputs[j]);
        }
        let slices: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
        for (j, output) in engine.run(&slices, batch).unwrap().iter().enumerate() {
            write_floats(&folder.join(format!("net{i}.out{j}")), &output.data);
        }
        std::fs::write(folder.join(format!("net{i}.onnx")), to_onnx(&network, &weights).unwrap())
            .unwrap();
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/onnx/check.py");
    let output = Command::new(python).arg(script).arg(&folder).output().unwrap();
    let _ = std::fs::remove_dir_all(&folder);
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(text.contains(&format!("{count} networks agree")), "{text}");
}

#[test]
fn names_that_collide_are_made_different() {
    let mut network = NetworkBuilder::new("a.weight", [2]).dense("a", 2).build();
    network.outputs.push("a.weight".into());
    let bytes = to_onnx(&network, &random_weights(&network)).unwrap();
    let has = |text: &[u8]| bytes.windows(text.len()).any(|w| w == text);
    assert!(has(b"a.weight_") && has(b"a.weight.output"));
}

#[test]
fn weights_that_do_not_fit_are_refused() {
    let network = NetworkBuilder::new("input", [2]).dense("logits", 2).build();
    let error = to_onnx(&network, &Weights::new()).unwrap_err().to_string();
    assert!(error.contains("logits.weight"), "{error}");
}

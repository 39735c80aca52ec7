//! Any bytes as a model file: an error or a model that can be run, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use taggram_model::{Artifact, Body, Engine};

fuzz_target!(|data: &[u8]| {
    let Ok(artifact) = Artifact::read(data) else { return };
    if let Body::Network { network, windows, front_end, .. } = &artifact.description.body {
        let len = front_end.channels() * windows.frames * front_end.bands();
        // What passed the checks must run; a patch beyond a minute of memory is left alone.
        if len < 1 << 20 && network.macs().is_ok_and(|m| m < 1 << 26) {
            let engine = Engine::new(network, &artifact.weights).expect("a checked network runs");
            engine.run(&[&vec![0.0; len]], 1).expect("a checked network runs");
        }
    }
});

//! A trained model beside its ONNX export, on a real song: `onnx_pair MODEL SONG FOLDER` writes
//! `net0.onnx`, three patches of the song as the model hears them (`net0.in0`) and the engine's answers
//! (`net0.out0`; raw f32), for `crates/taggram-model/tests/onnx/check.py`.

use std::error::Error;
use std::path::Path;

use taggram_audio::{MonoSpec, read_mono};
use taggram_model::onnx::to_onnx;
use taggram_model::{Body, Engine};

/// Patches that are compared.
const BATCH: usize = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, song, folder] = arguments.as_slice() else {
        return Err("usage: onnx_pair MODEL SONG FOLDER".into());
    };
    let artifact = taggram::artifact(name)?;
    let Body::Network { front_end, windows, network, .. } = &artifact.description.body else {
        return Err(format!("{name} is no network").into());
    };
    let model = taggram::Model::from_artifact(taggram::artifact(name)?)?;
    let spec = MonoSpec { resampling: model.resampling(), ..MonoSpec::at(model.sample_rate()) };
    let samples = read_mono(Path::new(song), &spec)?;
    let patches = windows.cut(&front_end.map(&samples.data)?)?;
    // A window as long as the song gives one patch: it is taken three times.
    let input: Vec<f32> =
        (0..BATCH).flat_map(|i| patches.patch(i % patches.count).to_vec()).collect();
    let answers = Engine::new(network, &artifact.weights)?.run(&[&input], BATCH)?;
    let bytes = |v: &[f32]| v.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let write = |kind: &str, bytes: &[u8]| {
        std::fs::write(Path::new(folder).join(format!("net0.{kind}")), bytes)
    };
    write("onnx", &to_onnx(network, &artifact.weights)?)?;
    write("in0", &bytes(&input))?;
    for (i, answer) in answers.iter().enumerate() {
        write(&format!("out{i}"), &bytes(&answer.data))?;
    }
    Ok(())
}

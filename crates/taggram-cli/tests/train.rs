//! `taggram train` and `taggram evaluate` on a small dataset of folders of audio: the whole loop.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{stderr, stdout, taggram, wav_i16};

/// Two "genres" that a tiny network can tell apart: low tones and high hiss.
fn dataset(root: &Path) {
    let rate = 8000;
    for (genre, high) in [("hum", false), ("hiss", true)] {
        let folder = root.join(genre);
        fs::create_dir_all(&folder).unwrap();
        for i in 0..10u32 {
            let mut state = 12_345 + i;
            let samples: Vec<f32> = (0..rate * 3)
                .map(|n| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let noise = (state >> 8) as f32 / (1 << 23) as f32 - 1.0;
                    let tone = (n as f32 * (0.05 + 0.004 * i as f32)).sin();
                    if high { 0.4 * noise } else { 0.4 * tone + 0.01 * noise }
                })
                .collect();
            fs::write(folder.join(format!("{i}.wav")), wav_i16(&samples, rate as u32, 1)).unwrap();
        }
    }
}

const RECIPE: &str = r#"
[data]
split = "random-song:60/20/20@3"
[front_end]
sample_rate = 8000
n_fft = 512
hop = 400
map = { kind = "mel", bands = 32, scale = { kind = "decibel" } }
[windows]
frames = 20
hop = 10
normalise = { kind = "patch_z_score", top_db = 80.0 }
[model]
architecture = "compact"
stem = 4
blocks = [8]
columns = 8
embedding = 8
dropout = 0.1
[optimiser]
kind = "adam"
learning_rate = 0.01
[fit]
epochs = 6
batch = 6
seed = 5
patches_per_clip = 2
"#;

fn train(recipe: &Path, data: &Path, out: &Path, more: &[&str]) -> std::process::Output {
    let mut arguments: Vec<&std::ffi::OsStr> = vec![
        "train".as_ref(),
        recipe.as_os_str(),
        "--data".as_ref(),
        data.as_os_str(),
        "--out".as_ref(),
        out.as_os_str(),
    ];
    arguments.extend(more.iter().map(std::ffi::OsStr::new));
    taggram(arguments)
}

#[test]
fn from_folders_of_audio_to_a_model_that_knows_them() {
    let dir = tempfile::tempdir().unwrap();
    let (data, recipe) = (dir.path().join("songs"), dir.path().join("tiny.toml"));
    dataset(&data);
    fs::write(&recipe, RECIPE).unwrap();
    let run = dir.path().join("run");
    let output = train(&recipe, &data, &run, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let model = run.join("model.safetensors");
    assert!(stdout(&output).contains("model.safetensors"));
    for file in ["curves.csv", "curves.png", "last.safetensors"] {
        assert!(run.join(file).is_file(), "{file} is missing");
    }

    let report = dir.path().join("report");
    let output = taggram([
        "evaluate".as_ref(),
        model.as_os_str(),
        "--data".as_ref(),
        data.as_os_str(),
        "--split".as_ref(),
        "random-song:60/20/20@3".as_ref(),
        "--out".as_ref(),
        report.as_os_str(),
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        stdout(&output).contains("100.0 %"),
        "hum and hiss are told apart: {}",
        stdout(&output)
    );
    for file in ["report.html", "metrics.json", "predictions.csv", "confusion.png"] {
        assert!(report.join(file).is_file(), "{file} is missing");
    }

    onnx_runtime_agrees(&model, dir.path());

    let song = data.join("hiss").join("0.wav");
    let output =
        taggram(["classify".as_ref(), song.as_os_str(), "--model".as_ref(), model.as_os_str()]);
    assert!(stdout(&output).contains("hiss"), "{}", stdout(&output));

    strange_sounds_become_unknown(&model, &data, dir.path());
}

/// `taggram model remember`: sounds between hum and hiss are learnt to be unknown; the genres stay.
fn strange_sounds_become_unknown(model: &Path, data: &Path, folder: &Path) {
    let sounds = folder.join("strange");
    fs::create_dir_all(&sounds).unwrap();
    for i in 0..8u32 {
        let mut state = 99 + i;
        let samples: Vec<f32> = (0..24_000)
            .map(|n| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let noise = (state >> 8) as f32 / (1 << 23) as f32 - 1.0;
                let tone = (n as f32 * (0.05 + 0.005 * i as f32)).sin();
                if n / 2000 % 2 == 0 { 0.4 * noise } else { 0.4 * tone }
            })
            .collect();
        fs::write(sounds.join(format!("{i}.wav")), wav_i16(&samples, 8000, 1)).unwrap();
    }
    let remember = |strange: &Path, out: &Path| {
        taggram([
            "model".as_ref(),
            "remember".as_ref(),
            model.as_os_str(),
            "--data".as_ref(),
            data.as_os_str(),
            "--strange".as_ref(),
            strange.as_os_str(),
            "--out".as_ref(),
            out.as_os_str(),
        ])
    };
    let out = folder.join("remembering.safetensors");
    let output = remember(&sounds, &out);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("of 8 strange sounds"), "{}", stderr(&output));

    let read = |path| taggram_model::Artifact::read(&fs::read(path).unwrap()).unwrap();
    let (before, after) = (read(model), read(&out));
    for (name, tensor) in &before.weights {
        let same = after.weights.get(name) == Some(tensor);
        assert!(same || name.starts_with("familiarity."), "{name} has changed");
    }
    assert!(after.description.recipe.contains("strange = "), "the recipe says where they are");
    let known = |model: &Path, songs: &Path| {
        let model = ["--model".as_ref(), model.as_os_str()];
        let output = taggram(["classify".as_ref(), songs.as_os_str()].into_iter().chain(model));
        stdout(&output).lines().filter(|l| l.contains(" % ") && !l.contains("unknown")).count()
    };
    assert_eq!(known(&out, &sounds), 0, "all of them are unknown now");
    let (songs_before, songs_after) = (known(model, data), known(&out, data));
    assert!(songs_before > 4 && songs_after + 2 >= songs_before, "{songs_before}, {songs_after}");

    let output = remember(&folder.join("nowhere"), &folder.join("never.safetensors"));
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("nowhere"), "{}", stderr(&output));
    assert!(!folder.join("never.safetensors").exists());
}

/// `taggram model export` of a trained model, held against the engine in ONNX Runtime: 1e-4.
fn onnx_runtime_agrees(model: &Path, folder: &Path) {
    let exported = folder.join("onnx");
    fs::create_dir_all(&exported).unwrap();
    let output = taggram([
        "model".as_ref(),
        "export".as_ref(),
        model.as_os_str(),
        "--out".as_ref(),
        exported.join("net0.onnx").as_os_str(),
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let bytes = fs::read(exported.join("net0.onnx")).unwrap();
    let says = |text: &[u8]| bytes.windows(text.len()).any(|w| w == text);
    assert!(says(b"front_end") && says(br#"["hiss","hum"]"#), "labels and front-end go along");

    let artifact = taggram_model::Artifact::read(&fs::read(model).unwrap()).unwrap();
    let taggram_model::Body::Network { network, .. } = &artifact.description.body else {
        panic!("a network was trained");
    };
    let length: usize = network.inputs[0].shape.iter().product();
    let input: Vec<f32> = (0..3 * length).map(|i| (i as f32 * 0.37).sin()).collect();
    let engine = taggram_model::Engine::new(network, &artifact.weights).unwrap();
    let answer = engine.run(&[&input], 3).unwrap().remove(0);
    let floats = |v: &[f32]| v.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    fs::write(exported.join("net0.in0"), floats(&input)).unwrap();
    fs::write(exported.join("net0.out0"), floats(&answer.data)).unwrap();
    let python = std::env::var_os("TAGGRAM_PYTHON").unwrap_or("python3".into());
    let has = Command::new(&python).args(["-c", "import onnxruntime"]).output();
    if !has.is_ok_and(|o| o.status.success()) {
        eprintln!("SKIPPED: no Python with onnxruntime (set TAGGRAM_PYTHON)");
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../taggram-model/tests/onnx/check.py");
    let output = Command::new(python).arg(script).arg(&exported).output().unwrap();
    assert!(stdout(&output).contains("1 networks agree"), "{}{}", stdout(&output), stderr(&output));
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let dir = tempfile::tempdir().unwrap();
    let (data, recipe) = (dir.path().join("songs"), dir.path().join("tiny.toml"));
    dataset(&data);
    fs::write(&recipe, RECIPE.replace("epochs = 6", "epochs = 2")).unwrap();
    let model = |out: &str, more: &[&str]| {
        let run = dir.path().join(out);
        let output = train(&recipe, &data, &run, more);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        fs::read(run.join("model.safetensors")).unwrap()
    };
    let first = model("a", &["--jobs", "1"]);
    assert!(first == model("b", &["--jobs", "2"]), "threads must not change the weights");
    assert!(first != model("c", &["--seed", "6"]), "the seed must matter");
}

#[test]
fn mistakes_in_recipes_and_datasets_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let (data, recipe) = (dir.path().join("songs"), dir.path().join("tiny.toml"));
    dataset(&data);
    let out = dir.path().join("run");
    let cases = [
        (RECIPE.replace("batch = 6", "batches = 6"), "batches"),
        (RECIPE.replace("frames = 20", "frames = 0"), "windows"),
        (RECIPE.replace("\"compact\"", "\"transformer\""), "transformer"),
        (RECIPE.replace("random-song:60/20/20@3", "fault-filtered"), "fault-filtered"),
    ];
    for (text, named) in cases {
        fs::write(&recipe, text).unwrap();
        let output = train(&recipe, &data, &out, &[]);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(named), "{named} is not in: {}", stderr(&output));
    }
    fs::write(&recipe, RECIPE).unwrap();
    let output = train(&recipe, &dir.path().join("nowhere"), &out, &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("nowhere"), "{}", stderr(&output));
    if cfg!(not(feature = "libtorch")) {
        // Before songs are looked for.
        let output = train(&recipe, &dir.path().join("nowhere"), &out, &["--backend", "libtorch"]);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains("built without it"), "{}", stderr(&output));
    }
}

//! `taggram model` and `taggram tags` with the published weights. Those that need the wheel read
//! `TAGGRAM_MUSICNN_WHEEL` (`pip download --no-deps musicnn==0.1.0`) and are skipped without.

mod common;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{song, stderr, stdout, wav_i16};
use serde_json::Value;

const NAMES: [&str; 4] = ["msd-musicnn", "msd-vgg", "mtt-musicnn", "mtt-vgg"];

fn wheel(test: &str) -> Option<PathBuf> {
    let path = std::env::var_os("TAGGRAM_MUSICNN_WHEEL").map(PathBuf::from);
    if path.is_none() {
        eprintln!(
            "SKIPPED: {test}: TAGGRAM_MUSICNN_WHEEL does not name the wheel of musicnn 0.1.0"
        );
    }
    path
}

/// Runs the binary with its own model folder.
fn with_models<I: AsRef<OsStr>>(models: &Path, arguments: impl IntoIterator<Item = I>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_taggram"))
        .env("TAGGRAM_MODELS", models)
        .args(arguments)
        .output()
        .expect("the binary runs")
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn without_weights_both_commands_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("song.wav");
    fs::write(&path, wav_i16(&song(4.0, 16_000), 16_000, 1)).unwrap();
    for command in
        [&["tags"][..], &["classify", "--model=musicnn"], &["classify", "--model=msd-vgg"]]
    {
        let arguments = command.iter().map(OsStr::new).chain([path.as_os_str()]);
        let output = with_models(&dir.path().join("none"), arguments);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{command:?}: {said}");
        assert!(said.contains("pip download --no-deps musicnn==0.1.0"), "{command:?}: {said}");
        assert!(said.contains("taggram model import musicnn-0.1.0-py3-none-any.whl"), "{said}");
    }
}

#[test]
fn a_file_that_is_no_wheel_installs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (models, wrong) = (dir.path().join("models"), dir.path().join("wrong.whl"));
    fs::write(&wrong, b"PK\x03\x04 and then nothing").unwrap();
    for from in [wrong.as_path(), dir.path(), Path::new("no/such.whl")] {
        let output = with_models(&models, ["model".as_ref(), "import".as_ref(), from.as_os_str()]);
        assert_eq!(output.status.code(), Some(2), "{}", from.display());
        assert!(stderr(&output).starts_with("taggram: "), "{}", stderr(&output));
        assert_eq!(files(&models), [""; 0]);
    }
}

#[test]
fn what_is_not_installed_cannot_be_removed() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["default", "msd-musicnn", "../x", ""] {
        let output = with_models(dir.path(), ["model", "remove", name]);
        assert_eq!(output.status.code(), Some(2), "{name}");
    }
}

#[test]
fn a_truncated_wheel_installs_nothing() {
    let Some(wheel) = wheel("a_truncated_wheel_installs_nothing") else { return };
    let bytes = fs::read(wheel).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (models, cut) = (dir.path().join("models"), dir.path().join("cut.whl"));
    for len in [100, bytes.len() / 2, bytes.len() - 10] {
        fs::write(&cut, &bytes[..len]).unwrap();
        let output = with_models(&models, ["model".as_ref(), "import".as_ref(), cut.as_os_str()]);
        assert_eq!(output.status.code(), Some(2), "{len} bytes");
        assert_eq!(files(&models), [""; 0], "{len} bytes");
    }
}

/// One test, because importing is most of the work.
#[test]
fn import_list_info_tags_remove() {
    let Some(wheel) = wheel("import_list_info_tags_remove") else { return };
    let dir = tempfile::tempdir().unwrap();
    let models = dir.path().join("models");
    let run = |arguments: &[&OsStr]| with_models(&models, arguments);
    let text = |arguments: &[&str]| {
        let output = with_models(&models, arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
        stdout(&output)
    };
    let output = run(&["model".as_ref(), "import".as_ref(), wheel.as_os_str()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(files(&models), NAMES.map(|n| format!("{n}.safetensors")));

    let list = text(&["model", "list"]);
    for name in NAMES.iter().chain(&["default", "musicnn"]) {
        assert!(list.lines().any(|l| l.split(' ').next() == Some(name)), "{name} is not in {list}");
    }
    let info = text(&["model", "info", "msd-musicnn"]);
    for part in ["Music Technology Group", "max_pool", "female vocalists", "16000 Hz"] {
        assert!(info.contains(part), "{part} is not in {info}");
    }

    let write = |name: &str, seconds: f64| {
        let path = dir.path().join(name);
        fs::write(&path, wav_i16(&song(seconds, 16_000), 16_000, 1)).unwrap();
        path.to_str().unwrap().to_string()
    };
    let (long, short) = (write("long.wav", 8.0), write("short.wav", 1.0));
    let tags = |more: &[&str]| -> Value {
        let all: Vec<&str> = ["tags", "--format=json"].iter().chain(more).copied().collect();
        serde_json::from_str(&text(&all)).unwrap()
    };
    let record = tags(&[&long]);
    // 8 s are 501 frames: patches of 187 start at 0, 61, … 305.
    assert_eq!(record["windows"], 6);
    assert_eq!(record["labels"].as_array().unwrap().len(), 50);
    let rows = record["taggram"].as_array().unwrap();
    assert!(
        rows.iter()
            .flat_map(|r| r.as_array().unwrap())
            .all(|p| { (0.0..=1.0).contains(&p.as_f64().unwrap()) })
    );
    let mean = |tag: usize| rows.iter().map(|r| r[tag].as_f64().unwrap()).sum::<f64>() / 6.0;
    let first = record["labels"][0].as_str().unwrap();
    assert!((record["tags"][first].as_f64().unwrap() - mean(0)).abs() < 1e-6);
    assert_eq!(tags(&[&long, "--top=3"])["tags"].as_object().unwrap().len(), 3);
    // Half the distance: starts 0, 31, … 310.
    assert_eq!(tags(&[&long, "--hop=0.496"])["windows"], 11);
    let pooled = tags(&[&long, "--features=max_pool", "--excerpt=middle:4"]);
    assert_eq!(pooled["labels"].as_array().unwrap().len(), 753);
    let padded = tags(&[&short]);
    assert_eq!(padded["windows"], 1);
    assert!(padded["warnings"][0].as_str().unwrap().contains("shorter"), "{padded}");

    let npy = dir.path().join("tags.npy");
    text(&["tags", &long, "--format=npy", "--out", npy.to_str().unwrap()]);
    let bytes = fs::read(&npy).unwrap();
    assert!(bytes.starts_with(b"\x93NUMPY") && bytes.len().is_multiple_of(8));
    assert!(String::from_utf8_lossy(&bytes[..128]).contains("(6, 50)"));
    let last = f32::from_le_bytes(*bytes.last_chunk::<4>().unwrap());
    assert!((f64::from(last) - rows[5][49].as_f64().unwrap()).abs() < 1e-6);
    let csv = text(&["tags", &long, "--format=csv"]);
    assert_eq!(csv.lines().count(), 7);

    // The head that is part of the program works now.
    let head = text(&["classify", &long, "--model=musicnn", "--format=json"]);
    let head: Value = serde_json::from_str(&head).unwrap();
    let sum: f64 = head["scores"].as_object().unwrap().values().map(|v| v.as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-4, "{head}");

    for name in NAMES {
        text(&["model", "remove", name]);
    }
    assert_eq!(files(&models), [""; 0]);
}

/// Most of the published filters are dead: without them the model is a third and says the same.
#[test]
fn without_its_dead_filters_it_says_the_same() {
    let Some(wheel) = wheel("without_its_dead_filters_it_says_the_same") else { return };
    let dir = tempfile::tempdir().unwrap();
    let (models, small) = (dir.path().join("models"), dir.path().join("small"));
    fs::create_dir(&small).unwrap();
    let song_file = dir.path().join("song.wav");
    fs::write(&song_file, wav_i16(&song(8.0, 16_000), 16_000, 1)).unwrap();
    let (song_file, made) = (song_file.to_str().unwrap(), small.join("msd-musicnn.safetensors"));
    let run = |models: &Path, arguments: &[&str]| {
        let output = with_models(models, arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
        output
    };
    run(&models, &["model", "import", wheel.to_str().unwrap()]);
    let recipe = concat!(env!("CARGO_MANIFEST_DIR"), "/../../recipes/compress-dead.toml");
    let compress = ["compress", "msd-musicnn", "--recipe", recipe, "--out", made.to_str().unwrap()];
    let said = stderr(&run(&models, &compress));
    assert!(said.contains("timbral_38: 24 of 204 stay"), "{said}");
    let full = models.join("msd-musicnn.safetensors");
    let bytes = |path: &Path| fs::metadata(path).unwrap().len();
    assert!(3 * bytes(&made) < bytes(&full), "{}", bytes(&made));
    let info = stdout(&run(&small, &["model", "info", "msd-musicnn"]));
    assert!(info.contains("dead filters were taken out"), "{info}");

    let json = |models: &Path, arguments: &[&str]| -> Value {
        serde_json::from_str(&stdout(&run(models, arguments))).unwrap()
    };
    let tags = [&models, &small]
        .map(|m| json(m, &["tags", song_file, "--format=json", "--model=msd-musicnn"]));
    let [a, b] = tags.map(|t| t["taggram"].as_array().unwrap().clone());
    assert_eq!(a.len(), b.len());
    for (a, b) in
        a.iter().zip(&b).flat_map(|(a, b)| a.as_array().unwrap().iter().zip(b.as_array().unwrap()))
    {
        assert!((a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-4, "{a} {b}");
    }
    // And so does the head that reads it.
    let heads = [&models, &small]
        .map(|m| json(m, &["classify", song_file, "--model=musicnn", "--format=json"]));
    for (genre, score) in heads[0]["scores"].as_object().unwrap() {
        let other = heads[1]["scores"][genre].as_f64().unwrap();
        assert!((score.as_f64().unwrap() - other).abs() < 1e-4, "{genre}: {score} {other}");
    }
    let again = with_models(&small, compress);
    assert_eq!(again.status.code(), Some(2), "{}", stderr(&again));
    assert!(stderr(&again).contains("nothing to take out"), "{}", stderr(&again));
}

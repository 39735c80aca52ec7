//! Every layer of the imported networks against the Python package, from the same log-mel
//! input (`tests/golden/musicnn/make.py`), patch by patch and for the whole song.
//!
//! The weights are not ours to commit, so this needs the package's wheel.

use std::{fs::File, io::Read, path::Path};

use taggram_features::FeatureMap;
use taggram_import::{ImportedModel, import};
use taggram_model::{Engine, Tensor, musicnn::MusicnnRunner};
use zip::ZipArchive;

/// Frames kept of the long layers, as in `make.py`.
const FRAMES: [usize; 12] = [0, 1, 2, 3, 31, 63, 93, 122, 183, 184, 185, 186];

fn models() -> Option<Vec<ImportedModel>> {
    let Some(wheel) = std::env::var_os("TAGGRAM_MUSICNN_WHEEL") else {
        println!("SKIPPED: set TAGGRAM_MUSICNN_WHEEL to musicnn-0.1.0-py3-none-any.whl");
        return None;
    };
    Some(import(Path::new(&wheel)).unwrap())
}

/// An array of little-endian `f32` out of an `.npz` file.
fn array(archive: &mut ZipArchive<File>, name: &str) -> Tensor {
    let mut bytes = Vec::new();
    archive.by_name(&format!("{name}.npy")).unwrap().read_to_end(&mut bytes).unwrap();
    let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let text = std::str::from_utf8(&bytes[10..10 + header]).unwrap();
    assert!(text.contains("'<f4'") && text.contains("'fortran_order': False"), "{text}");
    let shape = text.split_once("'shape': (").unwrap().1.split_once(')').unwrap().0;
    let shape: Vec<usize> = shape.split(',').filter_map(|n| n.trim().parse().ok()).collect();
    let (values, _) = bytes[10 + header..].as_chunks();
    Tensor::new(shape, values.iter().map(|b| f32::from_le_bytes(*b)).collect())
}

fn golden() -> ZipArchive<File> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/musicnn/golden.npz");
    ZipArchive::new(File::open(path).unwrap()).unwrap()
}

fn log_mel(golden: &mut ZipArchive<File>) -> FeatureMap {
    let mel = array(golden, "log_mel");
    FeatureMap::new(1, mel.shape[0], mel.shape[1], mel.data)
}

/// Within 1e-4, and in layers that go beyond 10 within 1e-5 of the largest value: there 1e-4
/// is the last bits of 32-bit sums, on either side.
fn assert_close(what: &str, got: &[f32], expected: &[f32]) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let worst = got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let largest = expected.iter().map(|x| x.abs()).fold(0.0, f32::max);
    println!("{what}: {worst:.1e} of {largest:.1}");
    assert!(
        worst <= (1e-5 * largest).max(1e-4),
        "{what}: largest difference {worst}, largest value {largest}"
    );
}

#[test]
fn every_layer_agrees_with_the_python_package() {
    let Some(models) = models() else { return };
    let mut golden = golden();
    let map = log_mel(&mut golden);
    for model in models {
        let vgg = model.name.ends_with("vgg");
        let layers: &[&str] = if vgg {
            &["tags", "pool1", "pool2", "pool3", "pool4", "pool5"]
        } else {
            &[
                "tags",
                "timbral",
                "temporal",
                "cnn1",
                "cnn2",
                "cnn3",
                "mean_pool",
                "max_pool",
                "penultimate",
            ]
        };
        let network = model.network.with_outputs(layers).unwrap();
        let engine = Engine::new(&network, &model.weights).unwrap();
        let patches = model.windows.cut(&map).unwrap();
        let outputs = engine.run(&[&patches.data], patches.count).unwrap();
        for (layer, output) in layers.iter().zip(outputs) {
            let what = format!("{}.{layer}", model.name);
            let expected = array(&mut golden, &what);
            let last = patches.count - 1;
            let got = match output.shape.as_slice() {
                // Pictures: [patch, channel, time, band] here, thinned out.
                &[_, channels, height, width] if vgg => {
                    let mut some = Vec::new();
                    for y in (0..height).step_by(9) {
                        for x in (0..width).step_by(5) {
                            for c in (0..channels).step_by(7) {
                                let at = ((last * channels + c) * height + y) * width + x;
                                some.push(output.data[at]);
                            }
                        }
                    }
                    some
                }
                // [patch, time, feature] or [patch, 1, time, feature]: some frames.
                [_, .., 187, features] => [0, last]
                    .iter()
                    .flat_map(|patch| FRAMES.map(|t| (patch * 187 + t) * features))
                    .flat_map(|at| output.data[at..at + features].iter().copied())
                    .collect(),
                _ => output.data.clone(),
            };
            assert_close(&what, &got, &expected.data);
        }
    }
}

#[test]
fn whole_songs_agree_with_the_python_package() {
    let Some(models) = models() else { return };
    let mut golden = golden();
    let map = log_mel(&mut golden);
    for model in models.iter().filter(|m| m.name.ends_with("musicnn")) {
        let runner = MusicnnRunner::new(&model.network, &model.weights).unwrap();
        let out = runner.run(&map, &model.windows, 1).unwrap();
        for (layer, got) in [
            ("tags", &out.tags),
            ("max_pool", &out.max_pool),
            ("mean_pool", &out.mean_pool),
            ("penultimate", &out.penultimate),
        ] {
            let what = format!("{}.{layer}", model.name);
            assert_close(&format!("{what}, song"), got, &array(&mut golden, &what).data);
        }
    }
}

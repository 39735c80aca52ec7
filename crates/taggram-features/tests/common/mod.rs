//! What several tests share: `.npy` files, the synthesized signals, closeness.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::{Path, PathBuf};

/// An array from a `.npy` file (version 1 or 2, C order) as f64.
pub struct Array {
    pub shape: Vec<usize>,
    pub data: Vec<f64>,
}

impl Array {
    pub fn row(&self, row: usize) -> &[f64] {
        let width = self.data.len() / self.shape[0];
        &self.data[row * width..(row + 1) * width]
    }
}

/// Header of `.npy` bytes: type such as `<f4`, shape, and where the data begins.
pub fn npy_header(bytes: &[u8]) -> (String, Vec<usize>, usize) {
    assert_eq!(&bytes[..6], b"\x93NUMPY", "not an .npy file");
    let (length, at) = match bytes[6] {
        1 => (usize::from(u16::from_le_bytes([bytes[8], bytes[9]])), 10),
        _ => (u32::from_le_bytes(bytes[8..12].try_into().unwrap()) as usize, 12),
    };
    let header = std::str::from_utf8(&bytes[at..at + length]).unwrap();
    assert!(header.contains("'fortran_order': False"), "{header}");
    let after = |key: &str| header.split_once(key).unwrap().1;
    let kind = after("'descr': '").split('\'').next().unwrap().to_string();
    let shape = after("'shape': (").split(')').next().unwrap();
    let shape = shape.split(',').filter_map(|n| n.trim().parse().ok()).collect();
    (kind, shape, at + length)
}

pub fn read_npy(path: &Path) -> Array {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let (kind, shape, at) = npy_header(&bytes);
    let data = &bytes[at..];
    let data = match kind.as_str() {
        "<f4" => data
            .chunks_exact(4)
            .map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap())))
            .collect(),
        "<f8" => data.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect(),
        other => panic!("{}: type {other}", path.display()),
    };
    Array { shape, data }
}

pub fn golden(name: &str) -> Array {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/features");
    read_npy(&folder.join(format!("{name}.npy")))
}

/// The folder with real data, or `None` after saying that the test is skipped.
pub fn real_data() -> Option<PathBuf> {
    let folder = std::env::var_os("TAGGRAM_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    if folder.join("gtzan/audio").is_dir() {
        return Some(folder);
    }
    eprintln!("SKIPPED: no real data in {}; set TAGGRAM_DATA to its folder", folder.display());
    None
}

pub const SIGNALS: [&str; 6] = ["noise", "chirp", "harmonic", "clicks", "chords", "silence"];

fn noise(count: usize) -> Vec<f64> {
    let mut state = 12_345u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / 8_388_608.0 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// The signals of `tests/golden/features/make.py`: one second at `rate` Hz.
pub fn signal(name: &str, rate: usize) -> Vec<f32> {
    let noise = noise(rate);
    let turns = |x: f64| (std::f64::consts::TAU * x).sin();
    let value = |i: usize| {
        let t = i as f64 / rate as f64;
        match name {
            "noise" => 0.5 * noise[i],
            "chirp" => 0.5 * turns(60.0 * t + (rate as f64 * 0.45 - 60.0) / 2.0 * t * t),
            "harmonic" => {
                0.3 * (1..9).map(|k| turns(220.0 * f64::from(k) * t) / f64::from(k)).sum::<f64>()
            }
            "clicks" => f64::from(u8::from(i % (rate / 5) == 100)) * 0.9,
            "chords" => {
                let on = f64::from(u8::from(t % 0.25 < 0.2));
                [262.5, 331.2, 392.9].iter().map(|f| turns(f * t)).sum::<f64>() * 0.2 * on
                    + 0.01 * noise[i]
            }
            _ => 0.0,
        }
    };
    (0..rate).map(|i| value(i) as f32).collect()
}

/// Fails with the number of differing values and the worst, if any differs by more than `allowed(expected)`.
pub fn assert_close(what: &str, found: &[f32], expected: &[f64], allowed: impl Fn(f64) -> f64) {
    assert_eq!(found.len(), expected.len(), "{what}: number of values");
    let excess = |i: usize| {
        let error = (f64::from(found[i]) - expected[i]).abs() / allowed(expected[i]);
        if error.is_nan() { f64::INFINITY } else { error }
    };
    let Some(worst) = (0..found.len()).max_by(|&a, &b| excess(a).total_cmp(&excess(b))) else {
        return;
    };
    let count = (0..found.len()).filter(|&i| excess(i) > 1.0).count();
    assert!(
        count == 0,
        "{what}: {count} of {} values differ; worst at {worst}: found {}, expected {}, {:.2} × what is allowed",
        found.len(),
        found[worst],
        expected[worst],
        excess(worst)
    );
}

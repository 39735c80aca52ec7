//! Songs made on the spot, and the real binary.

// Every test file uses its own part of this.
#![allow(dead_code)]

pub mod browser;
pub mod hls;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs `taggram` with these arguments.
pub fn taggram<I: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = I>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_taggram")).args(arguments).output().expect("the binary runs")
}

/// Standard output as text.
pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Standard error as text.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A little music: three chords of sawtooth-like tones with a beat, `[sample]`, −1…1.
pub fn song(seconds: f64, rate: u32) -> Vec<f32> {
    let n = (seconds * f64::from(rate)) as usize;
    (0..n)
        .map(|i| {
            let t = i as f64 / f64::from(rate);
            let root = [220.0, 174.6, 196.0][(t as usize / 2) % 3];
            let tone: f64 = [1.0, 1.25, 1.5, 2.0]
                .iter()
                .flat_map(|ratio| (1..6).map(move |h| (ratio, f64::from(h))))
                .map(|(ratio, h)| (std::f64::consts::TAU * root * ratio * h * t).sin() / h)
                .sum();
            let beat = (-(t * 2.0).fract() * 12.0).exp();
            // Not noise, which would be another sound at every rate: high tones without harmony.
            let hiss: f64 = (1..12)
                .map(|k| (std::f64::consts::TAU * 701.3 * f64::from(k).powf(1.09) * t).sin())
                .sum();
            (0.06 * tone + 0.05 * hiss * beat) as f32
        })
        .collect()
}

/// A WAV file of 32-bit floats, every channel the same.
pub fn wav_f32(samples: &[f32], rate: u32, channels: u16) -> Vec<u8> {
    let data: Vec<u8> = samples
        .iter()
        .flat_map(|s| std::iter::repeat_n(s.to_le_bytes(), usize::from(channels)))
        .flatten()
        .collect();
    wav(3, 32, &data, rate, channels)
}

/// A WAV file of 16-bit integers, every channel the same.
pub fn wav_i16(samples: &[f32], rate: u32, channels: u16) -> Vec<u8> {
    let data: Vec<u8> = samples
        .iter()
        .map(|s| (s * 32_767.0).round() as i16)
        .flat_map(|s| std::iter::repeat_n(s.to_le_bytes(), usize::from(channels)))
        .flatten()
        .collect();
    wav(1, 16, &data, rate, channels)
}

fn wav(format: u16, bits: u16, data: &[u8], rate: u32, channels: u16) -> Vec<u8> {
    let frame = channels * bits / 8;
    let mut out = Vec::new();
    out.extend(b"RIFF");
    out.extend((36 + data.len() as u32).to_le_bytes());
    out.extend(b"WAVEfmt ");
    out.extend(16u32.to_le_bytes());
    out.extend(format.to_le_bytes());
    out.extend(channels.to_le_bytes());
    out.extend(rate.to_le_bytes());
    out.extend((rate * u32::from(frame)).to_le_bytes());
    out.extend(frame.to_le_bytes());
    out.extend(bits.to_le_bytes());
    out.extend(b"data");
    out.extend((data.len() as u32).to_le_bytes());
    out.extend(data);
    out
}

/// The folder of real clips, or `None` with a line that says so.
pub fn real_data(test: &str) -> Option<PathBuf> {
    let root = std::env::var_os("TAGGRAM_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let gtzan = root.join("gtzan");
    if gtzan.is_dir() {
        return Some(gtzan);
    }
    eprintln!("SKIPPED: {test}: there is no {} (set TAGGRAM_DATA)", gtzan.display());
    None
}

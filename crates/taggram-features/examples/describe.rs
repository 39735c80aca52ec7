//! Describes clips for the scripts in `bench/features`. Clips are files of raw little-endian f32
//! mono samples at 22,050 Hz.
//!
//! `describe rows SET FILE…` prints a CSV row a file, the columns first;
//! `describe frames SET OUT FILE…` writes all frame-level series as f32 to `OUT/<file name>`;
//! `describe time SET REPEATS FILE…` prints the milliseconds of processor time of each file;
//! `describe mel HOP REPEATS FILE…` does so for the mel spectrogram alone.
use std::path::Path;
use std::sync::OnceLock;
use std::time::Instant;
use std::{env, fs};

use taggram_features::{FeatureSet, FrontEnd, Map, Resampling, Scale};

const RATE: u32 = 22_050;

fn read(path: &str) -> Vec<f32> {
    let bytes = fs::read(path).unwrap_or_else(|e| panic!("{path}: {e}"));
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// Processor time of this thread in ms where Linux tells it, else the time on the wall.
fn clock_ms() -> f64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = START.get_or_init(Instant::now);
    let told = fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = told.and_then(|t| t.split(' ').next()?.parse::<f64>().ok());
    nanoseconds.map_or_else(|| start.elapsed().as_secs_f64() * 1e3, |ns| ns / 1e6)
}

/// Mean over `repeats` runs.
fn mean_ms(repeats: &str, mut work: impl FnMut()) -> f64 {
    let repeats: u32 = repeats.parse().expect("a number of repeats");
    let start = clock_ms();
    (0..repeats).for_each(|_| work());
    (clock_ms() - start) / f64::from(repeats)
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [verb, choice, rest @ ..] = &arguments[..] else {
        panic!("describe rows|frames|time|mel …")
    };
    let set = || FeatureSet::from_name(choice).expect("gtzan57, system3 or all");
    match verb.as_str() {
        "rows" => {
            println!("{}", set().columns().join(","));
            for path in rest {
                let row = set().compute(&read(path), RATE).expect("a row");
                println!("{}", row.iter().map(f64::to_string).collect::<Vec<_>>().join(","));
            }
        }
        "frames" => {
            for path in &rest[1..] {
                let series = set().frames(&read(path), RATE).expect("frames");
                let bytes: Vec<u8> =
                    series.iter().flat_map(|s| &s.values).flat_map(|v| v.to_le_bytes()).collect();
                let name = Path::new(path).file_name().expect("a file name");
                fs::write(Path::new(&rest[0]).join(name), bytes).expect("written");
            }
        }
        "time" => {
            for path in &rest[1..] {
                let samples = read(path);
                let work = || drop(std::hint::black_box(set().compute(&samples, RATE)));
                println!("{}", mean_ms(&rest[0], work));
            }
        }
        "mel" => {
            let hop = choice.parse().expect("a hop");
            let map = Map::Mel { bands: 128, scale: Scale::Power };
            let recipe = FrontEnd {
                sample_rate: RATE,
                resampling: Resampling::SoxrHq,
                n_fft: 2048,
                hop,
                map,
            };
            for path in &rest[1..] {
                let samples = read(path);
                let work = || drop(std::hint::black_box(recipe.map(&samples)));
                println!("{}", mean_ms(&rest[0], work));
            }
        }
        other => panic!("{other}: rows, frames, time or mel"),
    }
}

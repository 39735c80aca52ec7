//! Times the mel spectrogram: raw little-endian f32 samples on standard input, milliseconds out.
//! `mel_time HOP [REPEATS]`; 22,050 Hz, n_fft 2048, 128 bands, power.
use std::io::Read;
use std::time::Instant;

use taggram_features::{FrontEnd, Map, Resampling, Scale};

fn main() {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse().expect("a number"));
    let hop = arguments.next().unwrap_or(512);
    let repeats = arguments.next().unwrap_or(50);
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).expect("samples on standard input");
    let mut samples: Vec<f32> =
        bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    if samples.is_empty() {
        samples =
            (0..661_500).map(|i| ((i % 1000 * i % 7919) as f32 / 7919.0 - 0.5) * 0.3).collect();
    }
    for scale in [Scale::Power, Scale::Decibel] {
        let map = Map::Mel { bands: 128, scale };
        let recipe =
            FrontEnd { sample_rate: 22_050, resampling: Resampling::SoxrHq, n_fft: 2048, hop, map };
        let mut times: Vec<f64> = (0..repeats.max(1))
            .map(|_| {
                let start = Instant::now();
                let map = recipe.map(&samples).expect("a valid recipe");
                assert!(std::hint::black_box(map).frames > 0);
                start.elapsed().as_secs_f64() * 1e3
            })
            .collect();
        times.sort_by(f64::total_cmp);
        println!(
            "mel hop {hop} {scale:?}: median {:.3} ms, least {:.3} ms",
            times[times.len() / 2],
            times[0]
        );
    }
}

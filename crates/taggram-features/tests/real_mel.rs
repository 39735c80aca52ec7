//! Mel spectrograms of real clips against spectrograms that others made and published.
mod common;

use std::fs;
use std::path::Path;

use common::{npy_header, real_data};
use taggram_audio::{MonoSpec, read_mono};
use taggram_features::{FrontEnd, Map, Resampling, Scale};

const BANDS: usize = 128;
const COLUMNS: usize = 387;

/// Levels 0…255 `[column, band]` as the published array holds them: dB relative to the clip's
/// maximum, raised to −80, the clip's own minimum at level 0.
fn levels(samples: &[f32]) -> (Vec<u8>, f32) {
    let recipe = FrontEnd {
        sample_rate: 22_050,
        resampling: Resampling::SoxrHq,
        n_fft: 2048,
        hop: 512,
        map: Map::Mel { bands: BANDS, scale: Scale::Decibel },
    };
    let map = recipe.map(samples).unwrap();
    let loudest = map.data.iter().fold(f32::MIN, |a, &b| a.max(b));
    let db: Vec<f32> = map.data.iter().map(|d| (d - loudest).max(-80.0)).collect();
    let least = db.iter().fold(0.0f32, |a, &b| a.min(b));
    let mut levels = Vec::with_capacity(COLUMNS * BANDS);
    for column in 0..COLUMNS {
        let frame = ((column as f64 + 0.5) / COLUMNS as f64 * (map.frames - 1) as f64) as usize;
        let values = &db[frame * BANDS..(frame + 1) * BANDS];
        levels.extend(values.iter().map(|d| ((d - least) / -least * 255.0).round() as u8));
    }
    (levels, least)
}

#[test]
fn mel_of_100_clips_is_the_published_array() {
    let Some(data) = real_data() else { return };
    let gtzan = data.join("gtzan");
    let bytes = fs::read(gtzan.join("mel/mel_30s_128x387_u8.npy")).unwrap();
    let (kind, shape, at) = npy_header(&bytes);
    assert_eq!((kind.as_str(), &shape[1..]), ("|u1", &[BANDS, COLUMNS][..]));
    let tracks = fs::read_to_string(gtzan.join("mel/mel_30s_tracks.txt")).unwrap();
    let mut errors = Vec::new();
    for (row, track) in tracks.lines().enumerate() {
        let genre = track.split('.').next().unwrap();
        let path = gtzan.join(format!("audio/{genre}/{track}.flac"));
        if !Path::new(&path).exists() {
            continue;
        }
        let samples = read_mono(&path, &MonoSpec::at(22_050)).unwrap().data;
        let (found, least) = levels(&samples);
        let published = &bytes[at + row * BANDS * COLUMNS..at + (row + 1) * BANDS * COLUMNS];
        let sum: f64 = (0..BANDS * COLUMNS)
            .map(|i| {
                let (band, column) = (i / COLUMNS, i % COLUMNS);
                f64::from(found[column * BANDS + band].abs_diff(published[i]))
            })
            .sum();
        errors.push((sum / (BANDS * COLUMNS) as f64 * f64::from(-least) / 255.0, track));
    }
    errors.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mean = errors.iter().map(|e| e.0).sum::<f64>() / errors.len() as f64;
    let (worst, track) = errors.last().unwrap();
    println!("{} clips: mean error {mean:.4} dB, worst clip {track} {worst:.4} dB", errors.len());
    assert!(
        errors.len() >= 99 && mean <= 0.1,
        "mean error {mean:.4} dB over {} clips",
        errors.len()
    );
}

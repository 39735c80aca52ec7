//! Mel spectrograms of real clips against spectrograms that others made and published.
mod common;

use std::fs;
use std::path::Path;

use common::{npy_header, real_data};
use taggram_audio::{MonoSpec, read_mono};
use taggram_features::{FeatureMap, FrontEnd, Map, Resampling, Scale};

const BANDS: usize = 128;
const COLUMNS: usize = 387;

/// Levels 0…255 as the published array holds them, but unrounded: dB relative to the clip's
/// maximum, raised to −80, the clip's own minimum at level 0. Returns the map and its minimum in dB.
fn levels(samples: &[f32]) -> (FeatureMap, f64) {
    let recipe = FrontEnd {
        sample_rate: 22_050,
        resampling: Resampling::SoxrHq,
        n_fft: 2048,
        hop: 512,
        map: Map::Mel { bands: BANDS, scale: Scale::Decibel },
    };
    let mut map = recipe.map(samples).unwrap();
    let loudest = map.data.iter().fold(f32::MIN, |a, &b| a.max(b));
    map.data.iter_mut().for_each(|d| *d = (*d - loudest).max(-80.0));
    let least = map.data.iter().fold(0.0f32, |a, &b| a.min(b));
    map.data.iter_mut().for_each(|d| *d = (*d - least) / -least * 255.0);
    (map, f64::from(least))
}

/// Mean error of the published column, in levels, if it were this frame.
fn column_error(frame: &[f32], published: &[u8], column: usize) -> f64 {
    let error = |(band, level): (usize, &f32)| {
        (f64::from(*level) - f64::from(published[band * COLUMNS + column])).abs()
    };
    frame.iter().enumerate().map(error).sum::<f64>() / BANDS as f64
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
        let (map, least) = levels(&samples);
        let published = &bytes[at + row * BANDS * COLUMNS..at + (row + 1) * BANDS * COLUMNS];
        let mut sum = 0.0;
        for column in 0..COLUMNS {
            // Which frames the array's makers kept is known to a frame only: two thirds of the
            // columns are this frame, one third the one before it.
            let frame = ((column as f64 + 0.5) / COLUMNS as f64 * (map.frames - 1) as f64) as usize;
            let error = |frame| column_error(map.frame(0, frame), published, column);
            sum += error(frame).min(error(frame.saturating_sub(1)));
        }
        errors.push((sum / COLUMNS as f64 * -least / 255.0, track));
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

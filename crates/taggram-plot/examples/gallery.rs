//! Draws one picture of each kind from made-up numbers:
//! `cargo run -p taggram-plot --example gallery -- FOLDER`

use std::path::{Path, PathBuf};

use taggram_plot::*;

const GENRES: [&str; 10] =
    ["blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| ".".to_owned()));
    for theme in [Theme::Light, Theme::Dark] {
        let name = |kind: &str| {
            folder.join(match theme {
                Theme::Light => format!("{kind}.svg"),
                Theme::Dark => format!("{kind}-dark.svg"),
            })
        };
        save(&song(theme, 30.0)?, &name("taggram"))?;
        save(&song(theme, 36_000.0)?, &name("taggram-10h"))?;
        save(&curves(theme)?, &name("lines"))?;
        save(&confusion(theme)?, &name("confusion"))?;
        save(&bars(theme)?, &name("bars"))?;
        save(&models(theme)?, &name("models"))?;
        save(&calibration(theme)?, &name("reliability"))?;
        save(&table(theme)?, &name("heatmap"))?;
    }
    Ok(())
}

fn save(chart: &Chart, path: &Path) -> Result<(), PlotError> {
    chart.save(path)?;
    chart.save(&path.with_extension("png"))
}

fn labels() -> Vec<String> {
    GENRES.iter().map(|g| g.to_string()).collect()
}

/// Evenly spread numbers 0…1 that look random: fractional parts of multiples of √2 and √3.
fn noise(i: usize) -> f64 {
    ((i as f64 * std::f64::consts::SQRT_2).fract() * 7.0 + i as f64 * 1.732_050_8).fract()
}

fn song(theme: Theme, seconds: f64) -> Result<Chart, PlotError> {
    let window_s = 2.992;
    let starts: Vec<f64> =
        (0..).map(|i| i as f64 * 0.976).take_while(|s| s + window_s <= seconds).collect();
    let labels = labels();
    let mut probabilities = Vec::new();
    for i in 0..starts.len() {
        let t = i as f64 / starts.len() as f64;
        let weight = |g: usize| match g {
            8 => 2.6 + 1.2 * (t * 9.0).sin(),
            4 => 1.6 - 1.4 * (t * 9.0).sin(),
            7 => 0.9 * (t * 5.0).cos(),
            g => 0.8 * noise(g * 31 + i) - 0.8,
        };
        let exp: Vec<f64> = (0..10).map(|g| weight(g).exp()).collect();
        let sum: f64 = exp.iter().sum();
        probabilities.extend(exp.iter().map(|e| (e / sum) as f32));
    }
    let (frames, bands) = (((seconds * 43.0) as usize).min(20_000), 96);
    let mut levels = Vec::with_capacity(frames * bands);
    for f in 0..frames {
        let t = f as f64 / frames as f64 * 60.0;
        let beat = 18.0 * (-((t * 2.0).fract() * 4.0)).exp();
        for b in 0..bands {
            let tone = 14.0 * ((b as f64 * 0.55 + (t * 0.7).floor()).sin()).max(0.0);
            levels.push((beat + tone - 0.55 * b as f64 + 6.0 * noise(f * bands + b)) as f32);
        }
    }
    taggram(&TaggramPicture {
        title: "one-drop-demo.flac",
        verdict: "reggae 58 %",
        subtitle: "then hiphop 21 %, pop 7 % · model musicnn · mean of all patches",
        labels: &labels,
        probabilities: &probabilities,
        starts_s: &starts,
        window_s,
        spectrogram: Some(Spectrogram { levels_db: &levels, frames, bands, seconds }),
        theme,
    })
}

fn curves(theme: Theme) -> Result<Chart, PlotError> {
    let curve = |from: f64, to: f64, wobble: f64, speed: f64| {
        (1..=40)
            .map(|e| {
                let e = f64::from(e);
                (e, to - (to - from) * (-e / speed).exp() + wobble * (noise(e as usize) - 0.5))
            })
            .collect()
    };
    let series = |name: &str, points, style| Series { name: name.into(), points, style };
    line_chart(&LineChart {
        title: "Accuracy while training".into(),
        x_label: "epoch".into(),
        y_label: "accuracy".into(),
        series: vec![
            series("training", curve(0.1, 0.97, 0.01, 8.0), LineStyle::Solid),
            series("validation", curve(0.1, 0.72, 0.04, 6.0), LineStyle::Solid),
            series("validation, augmented", curve(0.1, 0.78, 0.03, 9.0), LineStyle::Dashed),
            series("chance", vec![(1.0, 0.1), (40.0, 0.1)], LineStyle::Reference),
        ],
        x_range: None,
        y_range: Some((0.0, 1.0)),
        theme,
    })
}

fn confusion(theme: Theme) -> Result<Chart, PlotError> {
    let mut counts = vec![0u64; 100];
    for truth in 0..10 {
        for answer in 0..10 {
            let near = noise(truth * 17 + answer * 5);
            counts[truth * 10 + answer] = match truth == answer {
                true => 18 + (near * 12.0) as u64,
                false => (near * near * near * 7.0) as u64,
            };
        }
    }
    confusion_matrix_with(&labels(), &counts, "fault-filtered, 290 songs: 81.4 % right", theme)
}

fn bars(theme: Theme) -> Result<Chart, PlotError> {
    let series = |name: &str, k: usize| BarSeries {
        name: name.into(),
        values: (0..10).map(|g| 0.55 + 0.43 * noise(g * 7 + k)).collect(),
        intervals: Vec::new(),
    };
    bar_chart(&BarChart {
        title: "Precision, recall and F1 per genre".into(),
        x_label: "share".into(),
        labels: labels(),
        series: vec![series("precision", 1), series("recall", 2), series("F1", 3)],
        range: Some((0.0, 1.0)),
        decimals: Some(2),
        theme,
    })
}

fn models(theme: Theme) -> Result<Chart, PlotError> {
    let values = vec![53.4, 68.2, 77.6, 81.4, 84.1];
    let intervals = values.iter().map(|v| (v - 4.6, v + 4.4)).collect();
    bar_chart(&BarChart {
        title: "Accuracy on fault-filtered, with 95 % intervals".into(),
        x_label: "right answers, % of 290 songs".into(),
        labels: [
            "MFCC + SVM",
            "CNN from scratch",
            "VGGish + SVM",
            "taggram + logistic regression",
            "stacked",
        ]
        .map(String::from)
        .to_vec(),
        series: vec![BarSeries { name: String::new(), values, intervals }],
        range: Some((0.0, 100.0)),
        decimals: Some(1),
        theme,
    })
}

fn calibration(theme: Theme) -> Result<Chart, PlotError> {
    let bins = (0..10)
        .map(|k| {
            let low = f64::from(k) / 10.0;
            let confidence = low + 0.05;
            let accuracy = (confidence * 1.15 + 0.04 * (noise(k as usize) - 0.5)).min(1.0);
            ReliabilityBin {
                low,
                high: low + 0.1,
                confidence,
                accuracy,
                count: [0, 2, 9, 14, 22, 30, 38, 45, 60, 70][k as usize],
            }
        })
        .collect();
    reliability(&Reliability {
        title: "Calibration, 290 songs".into(),
        bins,
        ece: Some(0.048),
        theme,
    })
}

fn table(theme: Theme) -> Result<Chart, PlotError> {
    heatmap(&Heatmap {
        title: "Mean feature per genre".into(),
        x_label: "feature".into(),
        y_label: "genre".into(),
        rows: labels(),
        columns: [
            "zcr",
            "rms",
            "centroid",
            "bandwidth",
            "rolloff",
            "tempo",
            "mfcc1",
            "mfcc2",
            "chroma",
        ]
        .map(String::from)
        .to_vec(),
        values: (0..90).map(|i| (noise(i * 13) * 4.0 - 2.0) as f32).collect(),
        range: None,
        map: ColourMap::Viridis,
        decimals: Some(1),
        theme,
    })
}

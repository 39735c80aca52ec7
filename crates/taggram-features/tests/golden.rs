//! Maps of synthesized signals against librosa 0.11 (`tests/golden/features/make.py`).
mod common;

use std::collections::HashMap;

use common::{SIGNALS, assert_close, golden, signal};
use taggram_features::{FeatureSet, FrontEnd, Map, Resampling, Scale};

fn mel(sample_rate: u32, n_fft: usize, hop: usize, bands: usize, scale: Scale) -> FrontEnd {
    FrontEnd {
        sample_rate,
        resampling: Resampling::SoxrHq,
        n_fft,
        hop,
        map: Map::Mel { bands, scale },
    }
}

/// Decibels are compared down to 80 dB below the clip's maximum. Power is compared band by band,
/// relative to the band's own power, down to 60 dB below the clip's maximum; below that the
/// allowance stays what it is there, since the transform is in float32, whose rounding noise is
/// the same in all bins (the worst band here is 2.7e-4 off, 79 dB under the maximum).
fn compare(name: &str, rate: u32, n_fft: usize, hop: usize, bands: usize, samples: &[f32]) {
    let expected = golden(name);
    let loudest = expected.data.iter().fold(0.0f64, |a, &b| a.max(b));
    let floor = (loudest * 1e-8).max(1e-10);
    let map = mel(rate, n_fft, hop, bands, Scale::Power).map(samples).unwrap();
    assert_eq!([map.frames, map.bands], expected.shape[..], "{name}");
    assert_close(name, &map.data, &expected.data, |e| 1e-4 * e.max(floor * 100.0));

    let map = mel(rate, n_fft, hop, bands, Scale::Decibel).map(samples).unwrap();
    let decibels = |power: f64| 10.0 * power.max(floor).log10();
    let found: Vec<f32> = map.data.iter().map(|&d| d.max(decibels(floor) as f32)).collect();
    let expected: Vec<f64> = expected.data.iter().map(|&p| decibels(p)).collect();
    assert_close(&format!("{name} in dB"), &found, &expected, |_| 0.01);
}

#[test]
fn mel_2048_512_128_at_22050() {
    for name in SIGNALS {
        compare(&format!("mel_2048_512_128_{name}"), 22_050, 2048, 512, 128, &signal(name, 22_050));
    }
}

#[test]
fn mel_with_a_hop_of_1709() {
    compare("mel_2048_1709_128_harmonic", 22_050, 2048, 1709, 128, &signal("harmonic", 22_050));
}

#[test]
fn mel_512_256_96_at_16000_and_its_logarithm() {
    for name in SIGNALS {
        let samples = signal(name, 16_000);
        compare(&format!("mel_512_256_96_{name}"), 16_000, 512, 256, 96, &samples);

        let scale = Scale::Log10Half { multiply: 10_000.0 };
        let map = mel(16_000, 512, 256, 96, scale).map(&samples).unwrap();
        let expected = golden(&format!("log10half_{name}"));
        // A power half-way between two float16 numbers may be rounded either way: one step of
        // float16 is at most 2⁻¹⁰ of the value, 4.3e-4 in the logarithm.
        assert_close(name, &map.data, &expected.data, |_| 4.3e-4);
        let same = map
            .data
            .iter()
            .zip(&expected.data)
            .filter(|(f, e)| (f64::from(**f) - **e).abs() < 2e-6);
        let share = same.count() as f64 / map.data.len() as f64;
        assert!(share > 0.99, "{name}: only {share:.4} of the values are the same float16");
    }
}

/// Each series is compared frame by frame, relative to the largest value of its family (all the
/// cepstral coefficients, say): single values lie near zero by chance, and are the difference of
/// large ones. Nothing is held closer than 2e-6.
#[test]
fn descriptors_frame_by_frame() {
    let family = |name: &str| name.trim_end_matches(char::is_numeric).to_string();
    for name in SIGNALS {
        let expected = golden(&format!("descriptors_{name}"));
        let series = FeatureSet::All.frames(&signal(name, 22_050), 22_050).unwrap();
        assert_eq!(series.len(), expected.shape[0], "{name}");
        let mut largest: HashMap<String, f64> = HashMap::new();
        for (i, found) in series.iter().enumerate() {
            let entry = largest.entry(family(&found.name)).or_insert(0.02);
            *entry = expected.row(i).iter().fold(*entry, |a, &b| a.max(b.abs()));
        }
        for (i, found) in series.iter().enumerate() {
            // A roll-off is a whole bin, 10.8 Hz: float32 sums may put it one bin on.
            let allowed =
                if found.name == "rolloff" { 10.8 } else { 1e-4 * largest[&family(&found.name)] };
            let what = format!("{} of {name}", found.name);
            assert_close(&what, &found.values, expected.row(i), |_| allowed);
        }
    }
}

#[test]
fn separation_tempo_and_beats() {
    let columns = FeatureSet::All.columns();
    let first = columns.iter().position(|c| c == "harmony_mean").unwrap();
    for name in SIGNALS {
        let expected = golden(&format!("clip_{name}")).data;
        let row = FeatureSet::All.compute(&signal(name, 22_050), 22_050).unwrap();
        let found: Vec<f32> = row[first..first + 6].iter().map(|&x| x as f32).collect();
        // A mean over samples is small beside their deviation, whose square follows it.
        for part in [0, 2] {
            let deviation = expected[part + 1].sqrt().max(1e-9);
            assert_close(name, &found[part..part + 1], &expected[part..part + 1], |_| {
                1e-4 * deviation
            });
            assert_close(name, &found[part + 1..part + 2], &expected[part + 1..part + 2], |v| {
                1e-4 * v.max(1e-9)
            });
        }
        assert_close(&format!("tempo and beats of {name}"), &found[4..], &expected[4..], |_| 1e-4);
    }
}

//! Maps of synthesized signals against librosa 0.11 (`tests/golden/features/make.py`).
mod common;

use common::{SIGNALS, assert_close, golden, signal};
use taggram_features::{FrontEnd, Map, Resampling, Scale};

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

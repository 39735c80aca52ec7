//! A 30 s clip through the default model, whole and stage by stage: `cargo bench -p taggram`.

use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use taggram::{Listen, Source};

/// A 16-bit mono WAV of 30 s at 22,050 Hz: chords, so that no stage can take a short cut.
fn clip() -> Arc<[u8]> {
    let rate = 22_050u32;
    let samples = (0..rate * 30).flat_map(|i| {
        let t = f64::from(i) / f64::from(rate);
        let chord = [220.0, 277.2, 329.6].map(|f| (std::f64::consts::TAU * f * t).sin());
        ((chord.iter().sum::<f64>() * 8000.0) as i16).to_le_bytes()
    });
    let data: Vec<u8> = samples.collect();
    let mut wav = Vec::new();
    wav.extend(b"RIFF");
    wav.extend((36 + data.len() as u32).to_le_bytes());
    wav.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    wav.extend(rate.to_le_bytes());
    wav.extend((2 * rate).to_le_bytes());
    wav.extend(b"\x02\0\x10\0data");
    wav.extend((data.len() as u32).to_le_bytes());
    wav.extend(data);
    wav.into()
}

fn listen(c: &mut Criterion) {
    let model = taggram::model("default").expect("the default model is compiled in");
    let bytes = clip();
    c.bench_function("30 s wav, bytes to verdict", |b| {
        b.iter(|| {
            let source = Source::Bytes(Arc::clone(&bytes));
            taggram::listen(&model, source, &Listen::default()).expect("the clip is sound")
        });
    });
    let samples = vec![0.1f32; 22_050 * 30];
    c.bench_function("30 s of samples to the feature map", |b| {
        b.iter(|| model.front_end().map(&samples).expect("the recipe is sound"));
    });
    c.bench_function("load the default model", |b| {
        b.iter(|| taggram::model("default").expect("the default model is compiled in"));
    });
}

criterion_group!(benches, listen);
criterion_main!(benches);

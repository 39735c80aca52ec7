//! Decoding and resampling, 30 s of audio each.

use std::hint::black_box;
use std::io::Cursor;

use criterion::{Criterion, criterion_group, criterion_main};
use taggram_audio::encode::{FlacWriter, WavFormat, WavWriter};
use taggram_audio::{AudioReader, Limits, Resampler, ResamplingKind};

/// 30 s of something like music: a few tones with slow beats.
fn music(rate: u32) -> Vec<f32> {
    let wave = |t: f32, f: f32| (t * f * std::f32::consts::TAU).sin();
    (0..rate * 30)
        .map(|i| {
            let t = i as f32 / rate as f32;
            0.2 * wave(t, 220.0) + 0.15 * wave(t, 1234.5) * wave(t, 2.1) + 0.1 * wave(t, 5210.0)
        })
        .collect()
}

fn decode(c: &mut Criterion) {
    let samples = music(44_100);
    let mut wav = WavWriter::new(Cursor::new(Vec::new()), 44_100, 1, WavFormat::Int16).unwrap();
    wav.write(&samples).unwrap();
    let wav = wav.finish().unwrap().into_inner();
    let mut flac = FlacWriter::new(Cursor::new(Vec::new()), 44_100, 1, 16).unwrap();
    flac.write(&samples).unwrap();
    let flac = flac.finish().unwrap().into_inner();
    for (name, file) in [("wav", wav), ("flac", flac)] {
        c.bench_function(&format!("decode 30 s of {name}"), |b| {
            b.iter(|| {
                let mut reader = AudioReader::from_bytes(file.clone(), &Limits::default()).unwrap();
                let mut count = 0;
                while let Some(block) = reader.next_block().unwrap() {
                    count += block.len();
                }
                count
            });
        });
    }
}

fn resample(c: &mut Criterion) {
    for (from, to) in [(44_100, 22_050), (48_000, 22_050), (44_100, 16_000), (22_050, 16_000)] {
        let samples = music(from);
        let mut out = Vec::new();
        c.bench_function(&format!("resample 30 s from {from} to {to}"), |b| {
            b.iter(|| {
                let mut resampler = Resampler::new(from, to, ResamplingKind::SoxrHq);
                out.clear();
                for block in samples.chunks(1 << 14) {
                    resampler.push(black_box(block), &mut out);
                }
                resampler.finish(&mut out);
                out.len()
            });
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = decode, resample
}
criterion_main!(benches);

//! Signals and files shared by the tests; the formulas are those of `tests/golden/audio/make.py`.
#![allow(dead_code)]

use std::f64::consts::TAU;
use std::path::PathBuf;

use taggram_audio::{AudioError, AudioReader, Limits};

pub fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/audio").join(name)
}

pub fn golden_f32(name: &str) -> Vec<f32> {
    let bytes = std::fs::read(golden(name)).expect("golden file");
    bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

/// A rising tone from 40 Hz to 0.9 of the Nyquist frequency and two clicks.
pub fn sweep(rate: u32, seconds: f64) -> Vec<f32> {
    let rate = f64::from(rate);
    let n = (rate * seconds) as usize;
    let top = 0.45 * rate;
    let mut x: Vec<f64> = (0..n)
        .map(|i| {
            let t = i as f64 / rate;
            0.6 * (TAU * (40.0 * t + (top - 40.0) * t * t / (2.0 * seconds))).sin()
        })
        .collect();
    x[n / 3] += 0.3;
    x[n / 2] -= 0.3;
    x.into_iter().map(|v| v as f32).collect()
}

/// Two steady tones as 16-bit integers, interleaved left 440 Hz, right 660 Hz.
pub fn tone(seconds: f64) -> Vec<i16> {
    let n = (44_100.0 * seconds) as usize;
    (0..n)
        .flat_map(|i| {
            let fade = 1f64.min(i.min(n - 1 - i) as f64 / 441.0);
            let wave = |f: f64, a: f64| {
                (a * fade * (TAU * f * i as f64 / 44_100.0).sin() * 32767.0).round_ties_even()
                    as i16
            };
            [wave(440.0, 0.5), wave(660.0, 0.25)]
        })
        .collect()
}

pub fn to_f32(pcm: &[i16]) -> Vec<f32> {
    pcm.iter().map(|&x| f32::from(x) / 32768.0).collect()
}

/// Signal-to-error ratio in dB.
pub fn agreement(want: &[f32], have: &[f32]) -> f64 {
    assert_eq!(want.len(), have.len(), "lengths differ");
    let power = |x: f64, y: &f32| x + f64::from(*y) * f64::from(*y);
    let signal = want.iter().fold(0.0, power);
    let errors: Vec<f32> = want.iter().zip(have).map(|(a, b)| a - b).collect();
    10.0 * (signal / errors.iter().fold(1e-30, power)).log10()
}

pub fn worst(want: &[f32], have: &[f32]) -> f32 {
    assert_eq!(want.len(), have.len(), "lengths differ");
    want.iter().zip(have).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// All channels, interleaved.
pub fn drain(reader: &mut AudioReader) -> Result<Vec<f32>, AudioError> {
    let mut all = Vec::new();
    while let Some(block) = reader.next_block_channels()? {
        all.extend_from_slice(block);
    }
    Ok(all)
}

pub fn decode(bytes: &[u8]) -> Result<(AudioReader, Vec<f32>), AudioError> {
    let mut reader = AudioReader::from_bytes(bytes.to_vec(), &Limits::default())?;
    let all = drain(&mut reader)?;
    Ok((reader, all))
}

/// An AU file around big-endian sample bytes.
pub fn au(encoding: u32, rate: u32, channels: u32, size: u32, samples: &[u8]) -> Vec<u8> {
    let mut file = b".snd".to_vec();
    for word in [24, size, encoding, rate, channels] {
        file.extend(word.to_be_bytes());
    }
    file.extend(samples);
    file
}

/// A WAV file with a chosen claim of its data size.
pub fn wav(tag: u16, bits: u16, rate: u32, channels: u16, size: u32, samples: &[u8]) -> Vec<u8> {
    let frame = channels * bits / 8;
    let mut file = b"RIFF".to_vec();
    file.extend(size.saturating_add(36).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0");
    file.extend(tag.to_le_bytes());
    file.extend(channels.to_le_bytes());
    file.extend(rate.to_le_bytes());
    file.extend(rate.wrapping_mul(frame.into()).to_le_bytes());
    file.extend(frame.to_le_bytes());
    file.extend(bits.to_le_bytes());
    file.extend(b"data");
    file.extend(size.to_le_bytes());
    file.extend(samples);
    file
}

/// A 16-bit WAV file with honest sizes.
pub fn wav16(rate: u32, channels: u16, pcm: &[i16]) -> Vec<u8> {
    let bytes: Vec<u8> = pcm.iter().flat_map(|x| x.to_le_bytes()).collect();
    wav(1, 16, rate, channels, bytes.len() as u32, &bytes)
}

/// Noise that is the same on every run (xorshift).
pub struct Noise(pub u64);

impl Noise {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

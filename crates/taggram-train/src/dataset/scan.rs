//! Listening to one track for what is wrong with it.

use std::path::Path;

use taggram_audio::{AudioReader, Limits, Resampler, ResamplingKind};
use taggram_features::map::FeatureFrames;
use taggram_features::{FrontEnd, Map, Scale};

use super::error::{ErrorKind, Result, fault};
use super::fingerprint::Fingerprint;
use super::{Dataset, Track, TrackSource, audio};

/// Samples this close to full scale count as clipped when they come in a run.
const CLIP_LEVEL: f32 = 0.999;
/// Length of a run, samples.
const CLIP_RUN: usize = 3;
/// Blocks quieter than this are silent, RMS relative to full scale: −60 dB.
const SILENCE_RMS: f64 = 1e-3;
/// Length of those blocks, seconds.
const BLOCK_S: f64 = 0.1;
/// A map that varies less than this over the whole clip holds no sound, dB.
const FLAT_DB: f32 = 0.5;

/// What one track is like.
#[derive(Debug)]
pub(super) struct Scan {
    /// Length, seconds; none for maps, whose end is not known.
    pub duration_s: Option<f64>,
    /// The file's own rate, Hz; none for maps.
    pub rate: Option<u32>,
    /// Share of the clip that is silent, 0…1 (maps: 0 or 1).
    pub silent: f64,
    /// Share of samples in clipped runs, 0…1.
    pub clipped: f64,
    /// Equal for equal content.
    pub hash: u64,
    /// For finding copies.
    pub print: Fingerprint,
    /// What the decoder noticed: skipped frames, a missing end.
    pub warnings: Vec<String>,
}

/// The map under the fingerprint.
fn listening() -> FrontEnd {
    FrontEnd {
        sample_rate: 22_050,
        resampling: Default::default(),
        n_fft: 2048,
        hop: 512,
        map: Map::Mel { bands: 128, scale: Scale::Decibel },
    }
}

pub(super) fn scan(dataset: &Dataset, track: &Track) -> Result<Scan> {
    match (&track.source, dataset.cache()) {
        (TrackSource::Audio(path), _) => scan_audio(path),
        (TrackSource::CacheRow(row), Some(cache)) => {
            let map = cache.stored_map(*row)?;
            let (low, high) =
                map.data.iter().fold((f32::MAX, f32::MIN), |(l, h), &v| (l.min(v), h.max(v)));
            let mut hash = Hash::new();
            map.data.iter().for_each(|v| hash.add(v.to_bits()));
            Ok(Scan {
                duration_s: None,
                rate: None,
                silent: f64::from(u8::from(map.data.is_empty() || high - low < FLAT_DB)),
                clipped: 0.0,
                hash: hash.0,
                print: Fingerprint::new(&map, cache.recipe().front_end.frame_rate()),
                warnings: Vec::new(),
            })
        }
        _ => Err(fault(
            &dataset.origin,
            ErrorKind::Unsupported,
            format!("`{}` has neither audio nor a cached map to check", track.id),
        )),
    }
}

fn scan_audio(path: &Path) -> Result<Scan> {
    let unreadable = |e: taggram_audio::AudioError| audio::audio_fault(path, &e);
    let mut reader = AudioReader::open(path, &Limits::default()).map_err(unreadable)?;
    let (rate, channels) = (reader.format().sample_rate, reader.format().channels.max(1));
    let front_end = listening();
    let mut resampler = Resampler::new(rate, front_end.sample_rate, ResamplingKind::default());
    let mut stream = front_end.stream().map_err(|e| fault(path, ErrorKind::Bug, e.to_string()))?;
    let mut frames = FeatureFrames::new(1, front_end.bands());
    let mut levels = Levels::new(rate, channels);
    let (mut mono, mut resampled) = (Vec::new(), Vec::new());
    let mut hash = Hash::new();
    while let Some(block) = reader.next_block_channels().map_err(unreadable)? {
        mono.clear();
        for frame in block.chunks_exact(channels) {
            levels.frame(frame);
            mono.push(frame.iter().sum::<f32>() / channels as f32);
        }
        block.iter().for_each(|v| hash.add(v.to_bits()));
        resampled.clear();
        resampler.push(&mono, &mut resampled);
        stream.push(&resampled, &mut frames);
    }
    resampled.clear();
    resampler.finish(&mut resampled);
    stream.push(&resampled, &mut frames);
    stream.finish(&mut frames);
    if levels.frames == 0 {
        return Err(fault(path, ErrorKind::TooShort, "the file holds no audio"));
    }
    let map = frames.into_map();
    Ok(Scan {
        duration_s: Some(levels.frames as f64 / f64::from(rate)),
        rate: Some(rate),
        silent: levels.silent(),
        clipped: levels.clipped as f64 / (levels.frames * channels) as f64,
        hash: hash.0,
        print: Fingerprint::new(&map, front_end.frame_rate()),
        warnings: reader.warnings().to_vec(),
    })
}

/// Silence and clipping, sample by sample.
struct Levels {
    frames: usize,
    clipped: usize,
    /// For each channel: the sign of the current run at full scale, and its length.
    runs: Vec<(bool, usize)>,
    block: usize,
    energy: f64,
    in_block: usize,
    blocks: usize,
    silent_blocks: usize,
}

impl Levels {
    fn new(rate: u32, channels: usize) -> Self {
        let block = ((f64::from(rate) * BLOCK_S) as usize).max(1);
        let runs = vec![(false, 0); channels];
        Self {
            frames: 0,
            clipped: 0,
            runs,
            block,
            energy: 0.0,
            in_block: 0,
            blocks: 0,
            silent_blocks: 0,
        }
    }

    fn frame(&mut self, frame: &[f32]) {
        for (&v, run) in frame.iter().zip(&mut self.runs) {
            if v.abs() < CLIP_LEVEL {
                run.1 = 0;
                continue;
            }
            *run = if run.1 > 0 && run.0 == (v > 0.0) { (run.0, run.1 + 1) } else { (v > 0.0, 1) };
            self.clipped += match run.1 {
                CLIP_RUN => CLIP_RUN,
                n if n > CLIP_RUN => 1,
                _ => 0,
            };
        }
        self.frames += 1;
        let loudest = frame.iter().fold(0f32, |m, v| m.max(v.abs()));
        self.energy += f64::from(loudest).powi(2);
        self.in_block += 1;
        if self.in_block == self.block {
            self.end_block();
        }
    }

    fn end_block(&mut self) {
        self.blocks += 1;
        if (self.energy / self.in_block as f64).sqrt() < SILENCE_RMS {
            self.silent_blocks += 1;
        }
        (self.energy, self.in_block) = (0.0, 0);
    }

    fn silent(&mut self) -> f64 {
        if self.in_block > 0 {
            self.end_block();
        }
        self.silent_blocks as f64 / self.blocks.max(1) as f64
    }
}

/// FNV-1a over words: tells equal content, defends against nobody.
struct Hash(u64);

impl Hash {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, word: u32) {
        self.0 = (self.0 ^ u64::from(word)).wrapping_mul(0x0000_0100_0000_01b3);
    }
}

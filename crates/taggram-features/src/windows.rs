//! Patches: the pieces of a map that a network sees, and how their values are normalised.

use crate::error::{FeatureError, Kind, within};
use crate::map::{FeatureFrames, FeatureMap, gather};
use crate::recipe::{FrontEnd, Normalise, Windows};

/// Length of the clips that a stream is taken as where a normalisation needs the clip, seconds.
const CLIP_SECONDS: f64 = 600.0;

/// Patches of one signal, row-major `[patch, channel, time, band]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patches {
    /// Number of patches.
    pub count: usize,
    /// Number of channels.
    pub channels: usize,
    /// Length of a patch, frames.
    pub frames: usize,
    /// Values a frame and channel.
    pub bands: usize,
    /// `count · channels · frames · bands` values.
    pub data: Vec<f32>,
    /// Where each patch starts in the signal, frames; `[patch]`.
    pub starts: Vec<usize>,
    /// The signal was shorter than a patch and was repeated to fill one.
    pub padded: bool,
}

impl Patches {
    /// No patches yet, of the sizes that `windows` cuts from the frames of `front_end`.
    pub fn new(windows: &Windows, front_end: &FrontEnd) -> Self {
        Self::sized(windows.frames, front_end.channels(), front_end.bands())
    }

    fn sized(frames: usize, channels: usize, bands: usize) -> Self {
        Self { channels, frames, bands, ..Self::default() }
    }

    /// Number of values of a patch.
    pub fn patch_len(&self) -> usize {
        self.channels * self.frames * self.bands
    }

    /// The values of a patch, `[channel, time, band]`.
    pub fn patch(&self, index: usize) -> &[f32] {
        let len = self.patch_len();
        &self.data[index * len..(index + 1) * len]
    }

    /// Forgets the patches, keeps sizes and memory.
    pub fn clear(&mut self) {
        self.count = 0;
        self.data.clear();
        self.starts.clear();
        self.padded = false;
    }
}

impl Windows {
    /// Refuses lengths and ranges that no patch of `bands` bands can be made of, naming the number.
    pub fn check(&self, bands: usize) -> Result<(), FeatureError> {
        within("windows frames", self.frames, 1, 1 << 16, "frames")?;
        within("windows hop", self.hop, 1, 1 << 20, "frames")?;
        match self.normalise {
            Normalise::PatchZScore { top_db, .. } | Normalise::ClipUnit { top_db }
                if !(top_db > 0.0 && top_db.is_finite()) =>
            {
                let found = format!("a range of {top_db} dB, a positive number is needed");
                Err(FeatureError::new(Kind::Unsupported, "windows top_db", found))
            }
            Normalise::PatchZScore { quiet_bands, .. } if quiet_bands >= bands => {
                let found =
                    format!("{quiet_bands} quiet bands of {bands}, one at least must be heard");
                Err(FeatureError::new(Kind::Unsupported, "windows quiet_bands", found))
            }
            _ => Ok(()),
        }
    }

    /// The patches of a whole map, taken as one clip. Frames after the last whole patch are
    /// dropped; a map shorter than one patch is repeated until it fills one, and marked.
    ///
    /// # Errors
    /// Those of [`Windows::check`], and `TooShort` for a map without frames.
    pub fn cut(&self, map: &FeatureMap) -> Result<Patches, FeatureError> {
        self.check(map.bands)?;
        if map.frames == 0 {
            return Err(FeatureError::new(
                Kind::TooShort,
                "windows",
                "no frames to cut patches from, 1 is needed",
            ));
        }
        let mut stream = PatchStream::new(self, map.channels, map.bands, usize::MAX);
        let mut patches = Patches::sized(self.frames, map.channels, map.bands);
        stream.push(&map.to_frames(), &mut patches);
        stream.finish(&mut patches);
        Ok(patches)
    }

    /// A stream that turns frames of `front_end` into patches as they become complete.
    /// [`Normalise::ClipUnit`] needs the clip: there frames are held until the end, or for ten
    /// minutes; in a longer stream a patch is relative to the ten minutes it was held in.
    ///
    /// # Errors
    /// Those of [`Windows::check`] and [`FrontEnd::check`].
    pub fn stream(&self, front_end: &FrontEnd) -> Result<PatchStream, FeatureError> {
        front_end.check()?;
        self.check(front_end.bands())?;
        let clip = (CLIP_SECONDS * front_end.frame_rate()) as usize;
        Ok(PatchStream::new(self, front_end.channels(), front_end.bands(), clip))
    }
}

/// Cuts a stream of frames into patches. Chunks of any size give the patches of the whole.
#[derive(Clone, Debug)]
pub struct PatchStream {
    windows: Windows,
    channels: usize,
    bands: usize,
    /// Frames at which a clip is flushed where the normalisation needs the clip.
    clip: usize,
    /// Frames not yet done with, `[time, channel, band]`.
    held: Vec<f32>,
    /// Number in the signal of the first held frame.
    first: usize,
    /// Frames still to be dropped before the next patch, where the hop exceeds the patch.
    skip: usize,
}

impl PatchStream {
    fn new(windows: &Windows, channels: usize, bands: usize, clip: usize) -> Self {
        let clip = clip.max(windows.frames);
        Self {
            windows: windows.clone(),
            channels,
            bands,
            clip,
            held: Vec::new(),
            first: 0,
            skip: 0,
        }
    }

    /// Takes frames in and appends the patches that they complete to `out`.
    ///
    /// # Panics
    /// When the frames have other sizes than those of the front-end given: a bug of the caller.
    pub fn push(&mut self, frames: &FeatureFrames, out: &mut Patches) {
        assert_eq!(
            (frames.channels, frames.bands),
            (self.channels, self.bands),
            "frames of another front-end"
        );
        let needed = match self.windows.normalise {
            Normalise::ClipUnit { .. } => self.clip,
            _ => self.windows.frames,
        };
        let size = self.channels * self.bands;
        for frame in frames.data.chunks_exact(size) {
            if self.skip > 0 {
                self.skip -= 1;
                self.first += 1;
                continue;
            }
            self.held.extend_from_slice(frame);
            if self.held.len() >= needed.saturating_mul(size) {
                self.flush(out);
            }
        }
    }

    /// Ends the signal: appends what is still held, and is ready for another signal.
    pub fn finish(&mut self, out: &mut Patches) {
        let size = self.channels * self.bands;
        let frames = self.held.len() / size;
        if self.first == 0 && (1..self.windows.frames).contains(&frames) {
            for i in frames..self.windows.frames {
                let from = (i % frames) * size;
                self.held.extend_from_within(from..from + size);
            }
            out.padded = true;
        }
        self.flush(out);
        *self = Self::new(&self.windows, self.channels, self.bands, self.clip);
    }

    /// Appends every whole patch held, normalised, and drops the frames before the next start.
    fn flush(&mut self, out: &mut Patches) {
        let size = self.channels * self.bands;
        let held = self.held.len() / size;
        let ranges = match self.windows.normalise {
            Normalise::ClipUnit { top_db } => {
                unit_ranges(&self.held, self.channels, self.bands, top_db)
            }
            _ => Vec::new(),
        };
        let mut at = 0;
        while at + self.windows.frames <= held {
            let frames = &self.held[at * size..(at + self.windows.frames) * size];
            let mut patch = gather(frames, self.channels, self.bands);
            let channel_len = patch.len() / self.channels;
            if ranges.is_empty() {
                normalise_patch(
                    &mut patch,
                    self.channels,
                    self.windows.frames,
                    self.bands,
                    self.windows.normalise,
                );
            } else {
                patch
                    .chunks_exact_mut(channel_len)
                    .zip(&ranges)
                    .for_each(|(channel, range)| range.apply(channel));
            }
            out.data.extend_from_slice(&patch);
            out.starts.push(self.first + at);
            out.count += 1;
            at += self.windows.hop;
        }
        let dropped = at.min(held);
        self.skip = at - dropped;
        self.held.drain(..dropped * size);
        self.first += dropped;
    }
}

/// Normalises one patch, `[channel, time, band]`, in place; each channel for itself. The patch is
/// its own clip for [`Normalise::ClipUnit`]. A channel, or a band, that is constant becomes zeros.
/// The numbers are those that [`Windows::check`] lets pass.
pub fn normalise_patch(
    patch: &mut [f32],
    channels: usize,
    frames: usize,
    bands: usize,
    normalise: Normalise,
) {
    debug_assert_eq!(patch.len(), channels * frames * bands);
    for channel in patch.chunks_exact_mut((frames * bands).max(1)) {
        match normalise {
            Normalise::None => {}
            Normalise::PatchZScore { top_db, quiet_bands } => {
                let heard = bands - quiet_bands;
                let loudest = |frame: &[f32]| max(&frame[..heard]);
                let floor =
                    channel.chunks_exact(bands).map(loudest).fold(f32::NEG_INFINITY, f32::max)
                        - top_db;
                for frame in channel.chunks_exact_mut(bands) {
                    frame[..heard].iter_mut().for_each(|x| *x = x.max(floor));
                    frame[heard..].fill(floor);
                }
                z_score(channel, 0, 1);
            }
            Normalise::ClipUnit { top_db } => {
                if let Some(range) = unit_ranges(channel, 1, bands, top_db).first() {
                    range.apply(channel);
                }
            }
            Normalise::BandZScore => (0..bands).for_each(|band| z_score(channel, band, bands)),
        }
    }
}

fn max(values: &[f32]) -> f32 {
    values.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b))
}

/// Mean 0 and deviation 1 of every `step`th value from `from`.
fn z_score(values: &mut [f32], from: usize, step: usize) {
    let n = values.iter().skip(from).step_by(step).count() as f64;
    let mean = values.iter().skip(from).step_by(step).map(|&x| f64::from(x)).sum::<f64>() / n;
    let variance =
        values.iter().skip(from).step_by(step).map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>()
            / n;
    let deviation = variance.sqrt();
    // Anything smaller is rounding noise of float32 values, not signal.
    let scale =
        if deviation <= 1e-6 * mean.abs() || deviation == 0.0 { 0.0 } else { 1.0 / deviation };
    values
        .iter_mut()
        .skip(from)
        .step_by(step)
        .for_each(|x| *x = ((f64::from(*x) - mean) * scale) as f32);
}

/// Range of a clip that becomes 0…1.
#[derive(Clone, Copy)]
struct UnitRange {
    floor: f32,
    /// 1 / range in dB; 0 for a constant clip, which becomes zeros.
    scale: f32,
}

impl UnitRange {
    fn apply(self, values: &mut [f32]) {
        values.iter_mut().for_each(|x| *x = (*x - self.floor).max(0.0) * self.scale);
    }
}

/// The range of each channel of frames `[time, channel, band]`.
fn unit_ranges(frames: &[f32], channels: usize, bands: usize, top_db: f32) -> Vec<UnitRange> {
    let mut extremes = vec![(f32::INFINITY, f32::NEG_INFINITY); channels];
    for (row, values) in frames.chunks_exact(bands).enumerate() {
        let (low, high) = &mut extremes[row % channels];
        for &value in values {
            *low = low.min(value);
            *high = high.max(value);
        }
    }
    let range = |(low, high): (f32, f32)| UnitRange {
        floor: high - top_db,
        scale: if high > low { 1.0 / top_db } else { 0.0 },
    };
    extremes.into_iter().map(range).collect()
}

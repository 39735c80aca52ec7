//! The path of [`listen()`](crate::listen()) fed in chunks: an upload, a stream, a microphone.

use taggram_features::windows::{PatchStream, Patches};
use taggram_features::{FeatureMap, MapStream, map::FeatureFrames};
use taggram_model::{Answer, Taggram, Verdict, decide};

use crate::{Error, ErrorKind, Model, overview::Overview};

/// Samples whose largest magnitude stays below this are called silence: −80 dB of full scale.
const SILENCE: f32 = 1e-4;

/// Patches that are given to the network at once. More would not be faster, only larger.
const BATCH: usize = 8;

/// Hears a song chunk by chunk. Chunks of any size give exactly the taggram of the whole.
pub struct Listener<'m> {
    model: &'m Model,
    frames_of: MapStream,
    patches_of: PatchStream,
    frames: FeatureFrames,
    patches: Patches,
    overview: Option<Overview>,
    taggram: Taggram,
    padded: bool,
    peak: f32,
}

impl<'m> Listener<'m> {
    /// Ready to hear samples at the model's rate. `keep_map` keeps the feature map, for a picture.
    ///
    /// # Errors
    /// When the model's recipe cannot be followed.
    pub fn new(model: &'m Model, keep_map: bool) -> Result<Self, Error> {
        let (front_end, windows) = (model.front_end(), model.windows());
        let frames = FeatureFrames::new(front_end.channels(), front_end.bands());
        Ok(Self {
            model,
            frames_of: front_end.stream()?,
            patches_of: windows.stream(front_end)?,
            overview: keep_map.then(|| Overview::new(frames.channels, frames.bands)),
            frames,
            patches: Patches::new(windows, front_end),
            taggram: Taggram {
                labels: model.labels().to_vec(),
                patch_s: windows.frames as f64 / front_end.frame_rate(),
                ..Taggram::default()
            },
            padded: false,
            peak: 0.0,
        })
    }

    /// Hears mono samples at the model's rate, −1…1. Returns how many patches were completed.
    ///
    /// # Errors
    /// When the network fails, which is a bug.
    pub fn hear(&mut self, samples: &[f32]) -> Result<usize, Error> {
        self.peak = samples.iter().fold(self.peak, |peak, x| peak.max(x.abs()));
        self.frames_of.push(samples, &mut self.frames);
        self.show_frames();
        self.patches_of.push(&self.frames, &mut self.patches);
        self.frames.clear();
        self.classify()
    }

    /// What has been heard so far.
    pub fn taggram(&self) -> &Taggram {
        &self.taggram
    }

    /// The answer so far; `None` before the first patch.
    pub fn verdict(&self, how: taggram_model::Decide) -> Option<Verdict> {
        decide(&self.taggram, how, self.model.calibration())
    }

    /// Hears the end: the taggram, the map if it was kept, and what a person should know.
    ///
    /// # Errors
    /// When the network fails, which is a bug.
    pub fn finish(mut self) -> Result<(Taggram, Option<FeatureMap>, Vec<String>), Error> {
        self.frames_of.finish(&mut self.frames);
        self.show_frames();
        self.patches_of.push(&self.frames, &mut self.patches);
        self.patches_of.finish(&mut self.patches);
        self.classify()?;
        let mut warnings = Vec::new();
        if self.peak < SILENCE && !self.taggram.is_empty() {
            warnings.push(format!(
                "silence: no sample is louder than {SILENCE} of full scale, so the genre means nothing"
            ));
        }
        if self.padded {
            warnings.push(format!(
                "shorter than the {:.1} s that the model looks at: it was repeated to fill them",
                self.taggram.patch_s
            ));
        }
        Ok((self.taggram, self.overview.map(Overview::into_map), warnings))
    }

    fn show_frames(&mut self) {
        if let Some(overview) = &mut self.overview {
            overview.push(&self.frames);
        }
    }

    fn classify(&mut self) -> Result<usize, Error> {
        let count = self.patches.count;
        let patch_len = self.patches.patch_len();
        let hop_s = 1.0 / self.model.front_end().frame_rate();
        for first in (0..count).step_by(BATCH) {
            let batch = BATCH.min(count - first);
            let input = &self.patches.data[first * patch_len..(first + batch) * patch_len];
            let outputs = self
                .model
                .engine()
                .run(&[input], batch)
                .map_err(|e| Error::new(ErrorKind::Bug, e.to_string()))?;
            let mut probabilities = outputs.into_iter().next().map(|t| t.data).unwrap_or_default();
            if self.model.description().answer == Answer::Genres {
                probabilities.chunks_exact_mut(self.taggram.labels.len()).for_each(softmax);
            }
            self.taggram.probabilities.extend_from_slice(&probabilities);
        }
        self.taggram.starts_s.extend(self.patches.starts.iter().map(|&s| s as f64 * hop_s));
        self.padded |= self.patches.padded;
        self.patches.clear();
        Ok(count)
    }
}

/// Logits to probabilities, in place.
fn softmax(logits: &mut [f32]) {
    let max = logits.iter().fold(f32::NEG_INFINITY, |m, &x| m.max(x));
    let mut sum = 0.0;
    for x in logits.iter_mut() {
        *x = (*x - max).exp();
        sum += *x;
    }
    logits.iter_mut().for_each(|x| *x /= sum);
}

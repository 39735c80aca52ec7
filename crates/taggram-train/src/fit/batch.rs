//! Batches of random, changed, mixed patches; the same ones for the same seed, epoch and step.

use rayon::prelude::*;
use taggram_features::windows::normalise_patch;
use taggram_features::{FeatureMap, Normalise};

use super::{Clip, Data};
use crate::augment::PatchSize;
use crate::loss::{ClassWeights, Targets};
use crate::recipe::Recipe;
use crate::rng::Rng;

/// Patches `[batch, channel, time, band]` and what they should answer.
pub(super) struct Batch {
    pub patches: Vec<f32>,
    pub targets: Targets,
}

/// Makes the batches of an epoch.
pub(super) struct Batches<'a> {
    data: &'a Data,
    recipe: &'a Recipe,
    size: PatchSize,
    /// How much a song of each genre counts.
    class_weights: Vec<f32>,
    /// Size of each teacher's targets.
    teachers: Vec<(&'a str, usize)>,
}

/// Purposes of random numbers, so that none is used twice.
const SHUFFLE: u64 = 2;
const PATCH: u64 = 3;
const PAIR: u64 = 4;

impl<'a> Batches<'a> {
    pub fn new(data: &'a Data, recipe: &'a Recipe) -> Self {
        let counts: Vec<usize> = (0..data.classes.len())
            .map(|c| data.train.iter().filter(|t| t.label == c).count())
            .collect();
        let class_weights = match recipe.loss.class_weights {
            ClassWeights::None => vec![1.0; counts.len()],
            ClassWeights::Balanced => counts
                .iter()
                .map(|&n| counts.iter().sum::<usize>() as f32 / (counts.len() * n.max(1)) as f32)
                .collect(),
        };
        let first =
            data.train.first().map_or(PatchSize { channels: 0, frames: 0, bands: 0 }, |c| {
                PatchSize {
                    channels: c.map.channels,
                    frames: recipe.windows.frames,
                    bands: c.map.bands,
                }
            });
        let teachers = recipe
            .loss
            .teachers
            .keys()
            .filter_map(|name| {
                data.learnt_from()
                    .find_map(|c| c.targets.get(name))
                    .map(|t| (name.as_str(), t.width))
            })
            .collect();
        Self { data, recipe, size: first, class_weights, teachers }
    }

    /// Examples of songs with a genre; those of songs without one follow.
    fn labelled(&self) -> usize {
        self.data.train.len() * self.recipe.fit.patches_per_clip
    }

    fn examples(&self) -> usize {
        let each = self.recipe.data.unlabelled.as_ref().map_or(1, |u| u.patches_per_clip);
        self.labelled() + self.data.unlabelled.len() * each
    }

    /// Batches an epoch. A last one of a single patch is left out: it has no statistics.
    pub fn per_epoch(&self) -> usize {
        let (whole, rest) =
            (self.examples() / self.recipe.fit.batch, self.examples() % self.recipe.fit.batch);
        (whole + usize::from(rest > 1)).max(1)
    }

    /// The examples of an epoch in random order.
    pub fn order(&self, epoch: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.examples()).collect();
        Rng::at(&[self.recipe.fit.seed, SHUFFLE, epoch as u64]).shuffle(&mut order);
        order
    }

    pub fn make(&self, epoch: usize, order: &[usize], step: usize) -> Batch {
        let batch = self.recipe.fit.batch;
        let chosen = &order[(step * batch).min(order.len())..((step + 1) * batch).min(order.len())];
        let seed = self.recipe.fit.seed;
        let augment = &self.recipe.augment;
        let length = self.size.channels * self.size.frames * self.size.bands;
        let mut patches = vec![0.0; chosen.len() * length];
        let cut = |(patch, &example): (&mut [f32], &usize)| {
            let mut rng = Rng::at(&[seed, PATCH, epoch as u64, example as u64]);
            self.patch(self.clip(example), patch, &mut rng)
        };
        let places: Vec<f32> = patches.par_chunks_mut(length).zip(chosen).map(cut).collect();
        let shares: Vec<f32> = chosen
            .iter()
            .map(|&example| {
                augment.share(&mut Rng::at(&[seed, PAIR, epoch as u64, example as u64]))
            })
            .collect();
        // Each patch is mixed with the next one of the batch, as that was before mixing.
        if shares.iter().any(|&s| s < 1.0) {
            let plain = patches.clone();
            patches.par_chunks_mut(length).enumerate().for_each(|(i, patch)| {
                let next = (i + 1) % chosen.len();
                augment.mix(patch, &plain[next * length..][..length], shares[i]);
            });
        }
        Batch { patches, targets: self.targets(chosen, &places, &shares) }
    }

    fn clip(&self, example: usize) -> &'a Clip {
        match example.checked_sub(self.labelled()) {
            None => &self.data.train[example / self.recipe.fit.patches_per_clip],
            Some(rest) => &self.data.unlabelled[rest % self.data.unlabelled.len()],
        }
    }

    /// How much the genre of an example counts: nothing where it has none.
    fn weight(&self, example: usize) -> f32 {
        if example < self.labelled() { self.class_weights[self.clip(example).label] } else { 0.0 }
    }

    /// Makes a random patch of a clip; tells where it lies: 0 at the beginning, 1 at the end.
    fn patch(&self, clip: &Clip, patch: &mut [f32], rng: &mut Rng) -> f32 {
        let PatchSize { channels, frames, bands } = self.size;
        let last = clip.map.frames.saturating_sub(frames);
        let start = if clip.starts.is_empty() {
            rng.below(last + 1)
        } else {
            clip.starts[rng.below(clip.starts.len())]
        };
        cut(&clip.map, start, frames, patch);
        self.recipe.augment.apply(patch, self.size, rng);
        match self.recipe.windows.normalise {
            // The patch is not its own clip: the range is that of the whole song.
            Normalise::ClipUnit { top_db } => {
                for (channel, values) in patch.chunks_exact_mut(frames * bands).enumerate() {
                    let whole = &clip.map.data[channel * clip.map.frames * bands..]
                        [..clip.map.frames * bands];
                    let floor = whole.iter().copied().fold(f32::NEG_INFINITY, f32::max) - top_db;
                    values.iter_mut().for_each(|v| *v = (*v - floor).max(0.0) / top_db);
                }
            }
            other => normalise_patch(patch, channels, frames, bands, other),
        }
        self.recipe.augment.add_noise(patch, rng);
        start as f32 / last.max(1) as f32
    }

    fn targets(&self, chosen: &[usize], places: &[f32], shares: &[f32]) -> Targets {
        let classes = self.data.classes.len();
        let smoothing = self.recipe.loss.label_smoothing;
        let next = |i: usize| (i + 1) % chosen.len();
        let pairs: Vec<(&Clip, &Clip, f32)> = (0..chosen.len())
            .map(|i| (self.clip(chosen[i]), self.clip(chosen[next(i)]), shares[i]))
            .collect();
        let mut targets = Targets::default();
        for (i, &(a, b, share)) in pairs.iter().enumerate() {
            let parts = [
                (a, share * self.weight(chosen[i])),
                (b, (1.0 - share) * self.weight(chosen[next(i)])),
            ];
            // What each part counts is in the weight of the sample; the row stays a distribution.
            let weight: f32 = parts.iter().map(|(_, w)| w).sum();
            let row = targets.classes.len();
            targets.classes.resize(row + classes, smoothing / classes as f32);
            for (clip, part) in parts.iter().filter(|(_, part)| *part > 0.0) {
                targets.classes[row + clip.label] += (1.0 - smoothing) * part / weight;
            }
            targets.weights.push(weight);
        }
        for &(name, size) in &self.teachers {
            let (mut values, mut present) = (Vec::with_capacity(size * pairs.len()), Vec::new());
            for (i, &(a, b, share)) in pairs.iter().enumerate() {
                let said = |clip: &'a Clip, i: usize| Some(clip.targets.get(name)?.at(places[i]));
                let first = said(a, i);
                let second = if share < 1.0 { said(b, next(i)) } else { first };
                present.push(first.is_some() && second.is_some());
                match (first, second) {
                    (Some(a), Some(b)) => {
                        values.extend(a.iter().zip(b).map(|(a, b)| share * a + (1.0 - share) * b))
                    }
                    _ => values.resize(values.len() + size, 0.0),
                }
            }
            targets.teachers.insert(name.into(), (values, present));
        }
        targets
    }
}

/// Copies `frames` frames from `start` on; a shorter map is repeated.
fn cut(map: &FeatureMap, start: usize, frames: usize, patch: &mut [f32]) {
    let bands = map.bands;
    for (channel, values) in patch.chunks_exact_mut(frames * bands).enumerate() {
        for (i, frame) in values.chunks_exact_mut(bands).enumerate() {
            frame.copy_from_slice(map.frame(channel, (start + i) % map.frames));
        }
    }
}

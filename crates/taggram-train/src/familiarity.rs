//! What a model remembers of the songs it learnt from, so that it can say when it does not know.

use rayon::prelude::*;
use taggram_features::{FeatureMap, FrontEnd, Windows};
use taggram_model::{Engine, Familiarity, Network, Weights};

use crate::classifiers::{Rows, discriminant_shape, plane};
use crate::dataset::Dataset;
use crate::error::TrainError;
use crate::fit::Clip;

/// Share of the clouds' shape that is replaced by a sphere: there are fewer songs than would settle
/// a shape of a hundred and more directions.
const SHRINKAGE: f64 = 0.2;

/// Share of the validation songs, music of known genres, that must stay familiar.
pub const ACCEPTED: f64 = 0.95;

/// Share of the validation songs that must lie on music's side of the plane. By five folds of the strange sounds (no
/// language, speaker or synthetic voice on both sides): of 98 % and 99 % the former misses none of 150 pieces of speech.
const MUSIC: f64 = 0.98;

/// Weight of the plane's penalty against the mean log loss, chosen by the same folds (1e-4, 3e-4 and 1e-3 hardly differ).
const PENALTY: f64 = 1e-3;

/// What is remembered is learnt from these embeddings, `[song][value]` where nothing else is said.
#[derive(Clone, Copy)]
pub struct Examples<'a> {
    /// Train songs, with their genres as labels.
    pub learnt: &'a Rows,
    /// Other music that is to count as music, whatever its genre.
    pub music: &'a [Vec<f32>],
    /// Sounds that are none; without them there is no plane.
    pub strange: &'a [Vec<f32>],
    /// Validation songs: what is too far, and where the plane lies.
    pub validation: &'a [Vec<f32>],
}

/// Learns clouds from the embeddings of train songs, the plane between music and what is none, and as limits
/// those that keep [`ACCEPTED`] of the validation songs.
///
/// # Errors
/// No validation songs, or embeddings of different lengths.
pub fn fit(of: &Examples<'_>, genres: usize) -> Result<Familiarity, TrainError> {
    let width = of.learnt.columns;
    let validation = of.validation;
    let all = [of.music, of.strange, validation];
    if validation.is_empty() || all.into_iter().flatten().any(|e| e.len() != width) {
        let message = format!(
            "{} validation songs, embeddings of {width} values: a threshold needs songs whose embeddings are as long",
            validation.len()
        );
        return Err(TrainError::malformed("familiarity", message));
    }
    let shape = discriminant_shape(of.learnt, genres, SHRINKAGE);
    let mut whitening = Vec::with_capacity(width * width);
    for (value, direction) in shape.values.iter().zip(shape.directions.chunks_exact(width)) {
        let scale = if *value > shape.values[0] * 1e-9 { value.sqrt().recip() } else { 0.0 };
        whitening.extend(direction.iter().map(|v| (v * scale) as f32));
    }
    let centres = shape.means.iter().flatten().map(|m| *m as f32).collect();
    let mut familiarity =
        Familiarity { width, centres, whitening, threshold: 0.0, plane: Vec::new() };
    if !of.strange.is_empty() {
        familiarity.plane = between(of);
        let behind = validation.iter().map(|e| familiarity.strangeness(e)).collect();
        familiarity.plane[width] -= keeping(MUSIC, behind);
    }
    // Songs behind the plane are called unknown already: the clouds get what that leaves of the alarms.
    let distances = validation.iter().map(|e| match familiarity.strangeness(e) <= 0.0 {
        true => familiarity.distance(e),
        false => f32::INFINITY,
    });
    familiarity.threshold = keeping(ACCEPTED, distances.collect());
    Ok(familiarity)
}

/// The smallest limit that `share` of `values` do not exceed.
fn keeping(share: f64, mut values: Vec<f32>) -> f32 {
    values.sort_by(f32::total_cmp);
    values[((values.len() as f64 * share).ceil() as usize).clamp(1, values.len()) - 1]
}

/// The plane between music and the strange sounds.
fn between(of: &Examples<'_>) -> Vec<f32> {
    let mut data = of.learnt.data.clone();
    let mut labels = vec![0; of.learnt.len()];
    for (label, rows) in [(0, of.music), (1, of.strange)] {
        data.extend(rows.iter().flatten());
        labels.extend(rows.iter().map(|_| label));
    }
    plane(&Rows { data, columns: of.learnt.columns, labels, groups: Vec::new() }, PENALTY)
}

/// A network cut off where its embeddings come out.
pub struct Embedder<'w> {
    engine: Engine,
    windows: &'w Windows,
    width: usize,
}

impl<'w> Embedder<'w> {
    /// None for a network without a layer before its answer.
    ///
    /// # Errors
    /// Weights that do not fit the network.
    pub fn new(
        network: &Network,
        weights: &Weights,
        windows: &'w Windows,
    ) -> Result<Option<Self>, TrainError> {
        let Some(layer) = network.penultimate() else { return Ok(None) };
        let width = network.shapes()?.get(layer).map_or(0, |shape| shape.iter().product());
        let engine = Engine::new(&network.with_outputs(&[layer])?, weights)?;
        Ok(Some(Self { engine, windows, width }))
    }

    /// Values of an embedding.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The mean over the patches of a song of what enters the network's last layer.
    ///
    /// # Errors
    /// A map that does not fit the windows or the network.
    pub fn embedding(&self, map: &FeatureMap) -> Result<Vec<f32>, TrainError> {
        let patches = self
            .windows
            .cut(map)
            .map_err(|e| TrainError::malformed("feature map", e.to_string()))?;
        let rows = self.engine.run(&[&patches.data], patches.count)?.remove(0);
        let width = rows.data.len() / patches.count.max(1);
        let mut sum = vec![0f64; width];
        for row in rows.data.chunks_exact(width.max(1)) {
            sum.iter_mut().zip(row).for_each(|(s, x)| *s += f64::from(*x));
        }
        Ok(sum.into_iter().map(|s| (s / patches.count.max(1) as f64) as f32).collect())
    }

    /// The embeddings of songs, `[song][value]`.
    ///
    /// # Errors
    /// As [`Self::embedding`].
    pub fn embeddings(&self, clips: &[Clip]) -> Result<Vec<Vec<f32>>, TrainError> {
        clips.par_iter().map(|clip| self.embedding(&clip.map)).collect()
    }

    /// The embeddings of some tracks of a dataset, `[song][value]`, whose maps are not kept.
    ///
    /// # Errors
    /// As [`Self::embedding`]; tracks without a feature map.
    pub fn embeddings_of(
        &self,
        dataset: &Dataset,
        tracks: &[usize],
        front_end: &FrontEnd,
    ) -> Result<Vec<Vec<f32>>, TrainError> {
        tracks
            .par_iter()
            .map(|&t| self.embedding(&dataset.feature_map(&dataset.tracks[t], front_end)?))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_of_the_validation_songs_stay_familiar_and_strangers_do_not() {
        let song = |i: usize, genre: usize| {
            let wobble = |k: usize| ((i * 37 + k * 11) % 17) as f32 / 17.0 - 0.5;
            vec![10.0 * genre as f32 + wobble(0), wobble(1), 3.0 * wobble(2)]
        };
        let labels: Vec<usize> = (0..60).map(|i| i % 2).collect();
        let data = labels.iter().enumerate().flat_map(|(i, &l)| song(i, l)).collect();
        let learnt = Rows { data, columns: 3, labels, groups: Vec::new() };
        let validation: Vec<Vec<f32>> = (100..140).map(|i| song(i, i % 2)).collect();
        let of = Examples { learnt: &learnt, music: &[], strange: &[], validation: &validation };
        let familiarity = fit(&of, 2).unwrap();
        let known = validation.iter().filter(|e| familiarity.knows(e)).count();
        assert!((38..=40).contains(&known), "{known} of 40");
        assert!(!familiarity.knows(&[5.0, 0.0, 0.0]), "between the genres");
        assert!(!familiarity.knows(&[0.0, 6.0, 0.0]), "off both");
        assert!(fit(&Examples { validation: &[], ..of }, 2).is_err());
        assert!(fit(&Examples { validation: &[vec![1.0]], ..of }, 2).is_err());
        assert!(fit(&Examples { strange: &[vec![1.0]], ..of }, 2).is_err());

        // Strange sounds within a cloud: the plane keeps them apart, and nearly all songs stay on its other side.
        let strange: Vec<Vec<f32>> =
            (0..30).map(|i| song(i, 0)).map(|s| vec![s[0], s[1] + 1.2, s[2]]).collect();
        let inside = strange.iter().filter(|e| familiarity.distance(e) <= 9.0).count();
        assert!(inside > 20, "{inside} of 30 are near");
        let music = [song(200, 1)];
        let familiarity = fit(&Examples { strange: &strange, music: &music, ..of }, 2).unwrap();
        let known = validation.iter().filter(|e| familiarity.knows(e)).count();
        assert!((38..=40).contains(&known), "{known} of 40");
        assert!(!strange.iter().any(|e| familiarity.strangeness(e) <= 0.0));
    }
}

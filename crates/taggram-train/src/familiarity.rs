//! What a model remembers of the songs it learnt from, so that it can say when it does not know.

use rayon::prelude::*;
use taggram_features::{FeatureMap, Windows};
use taggram_model::{Engine, Familiarity, Network, Weights};

use crate::classifiers::{Rows, discriminant_shape};
use crate::error::TrainError;
use crate::fit::Clip;

/// Share of the clouds' shape that is replaced by a sphere: there are fewer songs than would settle
/// a shape of a hundred and more directions.
const SHRINKAGE: f64 = 0.2;

/// Share of the validation songs, music of known genres, that must stay familiar.
pub const ACCEPTED: f64 = 0.95;

/// Learns clouds from the embeddings of train songs, `learnt` with their genres as labels, and the
/// threshold that keeps [`ACCEPTED`] of the validation songs, `[song][value]`.
///
/// # Errors
/// No validation songs, or embeddings of different lengths.
pub fn fit(
    learnt: &Rows,
    genres: usize,
    validation: &[Vec<f32>],
) -> Result<Familiarity, TrainError> {
    let width = learnt.columns;
    if validation.is_empty() || validation.iter().any(|e| e.len() != width) {
        let message = format!(
            "{} validation songs, embeddings of {width} values: a threshold needs songs whose embeddings are as long",
            validation.len()
        );
        return Err(TrainError::malformed("familiarity", message));
    }
    let shape = discriminant_shape(learnt, genres, SHRINKAGE);
    let mut whitening = Vec::with_capacity(width * width);
    for (value, direction) in shape.values.iter().zip(shape.directions.chunks_exact(width)) {
        let scale = if *value > shape.values[0] * 1e-9 { value.sqrt().recip() } else { 0.0 };
        whitening.extend(direction.iter().map(|v| (v * scale) as f32));
    }
    let centres = shape.means.iter().flatten().map(|m| *m as f32).collect();
    let mut familiarity = Familiarity { width, centres, whitening, threshold: 0.0 };
    let mut distances: Vec<f32> = validation.iter().map(|e| familiarity.distance(e)).collect();
    distances.sort_by(f32::total_cmp);
    let last = ((distances.len() as f64 * ACCEPTED).ceil() as usize).clamp(1, distances.len()) - 1;
    familiarity.threshold = distances[last];
    Ok(familiarity)
}

/// A network cut off where its embeddings come out.
pub struct Embedder<'w> {
    engine: Engine,
    windows: &'w Windows,
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
        let engine = Engine::new(&network.with_outputs(&[layer])?, weights)?;
        Ok(Some(Self { engine, windows }))
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
        let familiarity = fit(&learnt, 2, &validation).unwrap();
        let known = validation.iter().filter(|e| familiarity.knows(e)).count();
        assert!((38..=40).contains(&known), "{known} of 40");
        assert!(!familiarity.knows(&[5.0, 0.0, 0.0]), "between the genres");
        assert!(!familiarity.knows(&[0.0, 6.0, 0.0]), "off both");
        assert!(fit(&learnt, 2, &[]).is_err());
        assert!(fit(&learnt, 2, &[vec![1.0]]).is_err());
    }
}

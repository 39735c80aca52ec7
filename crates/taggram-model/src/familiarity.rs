//! Whether a song resembles anything that a model has learnt: speech, noise or an unmet genre should
//! come back as unknown, not as confident rock.
//!
//! Probabilities cannot tell: they say which of ten genres is nearest, however far all ten are. So
//! the embeddings of the train songs are remembered as one cloud a genre, all of the same shape, and
//! a song is measured by its distance to the nearest (Mahalanobis; Lee et al. 2018). Speech lies within
//! such clouds (hiphop's): a plane, learnt from sounds that are no music, keeps it apart (outlier exposure;
//! Hendrycks et al. 2019).

use crate::{Tensor, Weights};

/// Clouds of embeddings, how far from them is too far, and a plane behind which nothing is music.
#[derive(Clone, Debug, PartialEq)]
pub struct Familiarity {
    /// Values of an embedding.
    pub width: usize,
    /// `[genre, width]`, the middle of each cloud.
    pub centres: Vec<f32>,
    /// `[width, width]`: brings the clouds' common shape to a sphere of deviation 1.
    pub whitening: Vec<f32>,
    /// The largest distance that is still familiar.
    pub threshold: f32,
    /// `[width]` and a constant: an embedding whose product with them is above 0 is that of a sound that is no
    /// music. Empty where no such sounds were learnt.
    pub plane: Vec<f32>,
}

const CENTRES: &str = "familiarity.centres";
const WHITENING: &str = "familiarity.whitening";
const THRESHOLD: &str = "familiarity.threshold";
const PLANE: &str = "familiarity.plane";

impl Familiarity {
    /// Mean square deviation, over the whitened directions, from the nearest genre's centre: about 1 for
    /// the songs that were learnt from; infinite for an embedding of another length.
    pub fn distance(&self, embedding: &[f32]) -> f32 {
        if embedding.len() != self.width {
            return f32::INFINITY;
        }
        let nearest = self.centres.chunks_exact(self.width).map(|centre| {
            let offset: Vec<f32> = embedding.iter().zip(centre).map(|(e, c)| e - c).collect();
            let squares = self.whitening.chunks_exact(self.width).map(|direction| {
                direction.iter().zip(&offset).map(|(d, o)| d * o).sum::<f32>().powi(2)
            });
            squares.sum::<f32>() / self.width as f32
        });
        nearest.fold(f32::INFINITY, f32::min)
    }

    /// How far behind the plane an embedding of the right length lies: above 0 it is no music. 0 without a plane.
    pub fn strangeness(&self, embedding: &[f32]) -> f32 {
        let Some((constant, weights)) = self.plane.split_last() else { return 0.0 };
        weights.iter().zip(embedding).map(|(w, e)| w * e).sum::<f32>() + constant
    }

    /// Whether a song with this embedding is near enough to what was learnt, and music.
    pub fn knows(&self, embedding: &[f32]) -> bool {
        self.distance(embedding) <= self.threshold && self.strangeness(embedding) <= 0.0
    }

    /// Puts itself among a model's weights.
    pub fn store(&self, weights: &mut Weights) {
        let genres = self.centres.len() / self.width.max(1);
        let square = vec![self.width, self.width];
        weights.insert(CENTRES.into(), Tensor::new(vec![genres, self.width], self.centres.clone()));
        weights.insert(WHITENING.into(), Tensor::new(square, self.whitening.clone()));
        weights.insert(THRESHOLD.into(), Tensor::new(vec![1], vec![self.threshold]));
        weights.remove(PLANE);
        if !self.plane.is_empty() {
            let plane = Tensor::new(vec![self.plane.len()], self.plane.clone());
            weights.insert(PLANE.into(), plane);
        }
    }

    /// Finds itself among a model's weights; none when the model was made without.
    ///
    /// # Errors
    /// A sentence when parts are missing, do not fit together or hold no numbers.
    pub fn find(weights: &Weights) -> Result<Option<Self>, String> {
        let parts = [CENTRES, WHITENING, THRESHOLD].map(|name| weights.get(name));
        let (centres, whitening, threshold) = match parts {
            [None, None, None] => return Ok(None),
            [Some(c), Some(w), Some(t)] => (c, w, t),
            _ => return Err(format!("of {CENTRES}, {WHITENING} and {THRESHOLD} one is missing")),
        };
        let (&[_, width], &[rows, columns], &[1]) =
            (&centres.shape[..], &whitening.shape[..], &threshold.shape[..])
        else {
            return Err(format!("{CENTRES} and {WHITENING} need two axes, {THRESHOLD} one value"));
        };
        if width == 0 || rows != width || columns != width {
            return Err(format!("{CENTRES} is {width} wide, {WHITENING} {rows} × {columns}"));
        }
        let plane = weights.get(PLANE).map(|p| p.data.clone()).unwrap_or_default();
        if !plane.is_empty() && plane.len() != width + 1 {
            return Err(format!("{CENTRES} is {width} wide, {PLANE} has {} values", plane.len()));
        }
        let all = centres.data.iter().chain(&whitening.data).chain(&threshold.data).chain(&plane);
        if all.into_iter().any(|v| !v.is_finite()) {
            return Err(format!("{CENTRES}, {WHITENING}, {THRESHOLD} or {PLANE} holds no number"));
        }
        Ok(Some(Self {
            width,
            centres: centres.data.clone(),
            whitening: whitening.data.clone(),
            threshold: threshold.data[0],
            plane,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_clouds() -> Familiarity {
        Familiarity {
            width: 2,
            centres: vec![0.0, 0.0, 10.0, 0.0],
            // The second direction varies ten times as much as the first.
            whitening: vec![1.0, 0.0, 0.0, 0.1],
            threshold: 4.0,
            plane: Vec::new(),
        }
    }

    #[test]
    fn distance_is_to_the_nearest_cloud_in_its_own_measure() {
        let f = two_clouds();
        assert_eq!(f.distance(&[10.0, 0.0]), 0.0);
        assert_eq!(f.distance(&[0.0, 10.0]), 0.5);
        assert!(f.knows(&[8.0, 0.0]) && f.knows(&[0.0, 20.0]));
        assert!(!f.knows(&[5.0, 0.0]) && !f.knows(&[0.0, 40.0]));
        assert!(!f.knows(&[1.0]), "an embedding of another length");
    }

    #[test]
    fn behind_the_plane_nothing_is_known_however_near() {
        let mut f = two_clouds();
        f.plane = vec![0.0, 1.0, -1.5];
        assert!(f.knows(&[10.0, 1.0]) && !f.knows(&[10.0, 2.0]));
        let mut weights = Weights::new();
        f.store(&mut weights);
        assert_eq!(Familiarity::find(&weights), Ok(Some(f)));
        weights.insert(PLANE.into(), Tensor::new(vec![2], vec![1.0, 2.0]));
        assert!(Familiarity::find(&weights).unwrap_err().contains("2 values"));
        two_clouds().store(&mut weights);
        assert_eq!(Familiarity::find(&weights), Ok(Some(two_clouds())), "an old plane is gone");
    }

    #[test]
    fn it_comes_back_from_weights_and_damage_is_told() {
        let mut weights = Weights::new();
        assert_eq!(Familiarity::find(&weights), Ok(None));
        two_clouds().store(&mut weights);
        assert_eq!(Familiarity::find(&weights), Ok(Some(two_clouds())));
        for (name, tensor) in [
            (WHITENING, Tensor::new(vec![1, 2], vec![0.0; 2])),
            (THRESHOLD, Tensor::new(vec![1], vec![f32::NAN])),
            (CENTRES, Tensor::new(vec![4], vec![0.0; 4])),
        ] {
            let mut damaged = weights.clone();
            damaged.insert(name.into(), tensor);
            assert!(Familiarity::find(&damaged).is_err(), "{name}");
            damaged.remove(name);
            assert!(Familiarity::find(&damaged).unwrap_err().contains("missing"), "{name}");
        }
    }
}

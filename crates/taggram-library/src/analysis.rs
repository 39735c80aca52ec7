//! What is asked of a track and what is kept of the answer.

use std::panic::{AssertUnwindSafe, catch_unwind};

use half::f16;
use taggram::{Decide, Error, ErrorKind, Excerpt, Limits, Listen, Model, Source};

/// Counts up when the same file and model would give another answer than before.
const RECIPE: u32 = 1;

/// Pieces of a track that are listened to by default.
const PIECES: usize = 3;

/// Values of an embedding that are kept at most: 1 KB of half floats.
const MOST_VALUES: usize = 512;

/// How much of a track is listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Listening {
    /// Three windows of the model's length spread over the track; what lies between is skipped.
    #[default]
    Spread,
    /// All of it.
    Thorough,
}

/// A model that is ready to analyse tracks, from many threads at once.
pub struct Analyst {
    model: Model,
    listening: Listening,
    limits: Limits,
    key: String,
}

/// What is known of a track.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Number of the genre among the model's labels; `None` for a track that the model does not
    /// know what to make of ([`taggram::UNKNOWN`]).
    pub genre: Option<usize>,
    /// Its probability, 0…1; 0 when there is none.
    pub confidence: f32,
    /// Probability of every label, `[label]`, 0…1.
    pub probabilities: Vec<f16>,
    /// The track as a vector, of length 1, by which tracks are compared; empty when the model
    /// has none.
    pub embedding: Vec<f16>,
    /// Length of the track in seconds, if known.
    pub length_s: Option<f64>,
    /// Windows that were classified.
    pub windows: usize,
    /// What a person should know of this answer.
    pub warnings: Vec<String>,
}

impl Analyst {
    /// The model of that name (see [`taggram::model()`]), listening this way.
    ///
    /// # Errors
    /// When there is no such model.
    pub fn new(model: &str, listening: Listening) -> Result<Self, Error> {
        let fingerprint = taggram::fingerprint(model)?;
        let model = taggram::model(model)?;
        let how = match listening {
            Listening::Spread => format!("spread{PIECES}"),
            Listening::Thorough => "full".to_string(),
        };
        let key = format!("{}-{fingerprint}/{how}/{RECIPE}", model.name());
        Ok(Self { model, listening, limits: Limits::default(), key })
    }

    /// The same, with limits on what a file may ask of this machine.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The same, naming the nearest genre even of tracks that the model does not know.
    #[must_use]
    pub fn naming_the_nearest(mut self) -> Self {
        self.model = self.model.naming_the_nearest();
        self.key.push_str("/nearest");
        self
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// What a file may ask of this machine.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How it listens.
    pub fn listening(&self) -> Listening {
        self.listening
    }

    /// Names model, listening and recipe: equal keys give equal answers for equal audio.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Number of values of an embedding.
    pub fn embedding(&self) -> usize {
        let width = self.model.embedding();
        width.div_ceil(width.div_ceil(MOST_VALUES).max(1))
    }

    /// Listens to a track. Whatever is in it, a decoder's panic too, ends here.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn analyse(&self, source: Source) -> Result<Answer, Error> {
        let how = Listen {
            excerpt: match self.listening {
                Listening::Thorough => Excerpt::Full,
                Listening::Spread => {
                    Excerpt::Spread { pieces: PIECES, seconds: self.model.patch_s() }
                }
            },
            decide: Decide::Mean,
            limits: self.limits.clone(),
            ..Listen::default()
        };
        let heard = catch_unwind(AssertUnwindSafe(|| taggram::listen(&self.model, source, &how)))
            .unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Bug, "a bug: the analysis of this file panicked"))
        })?;
        let labels = self.model.labels();
        let genre = labels.iter().position(|label| *label == heard.verdict.genre);
        Ok(Answer {
            genre,
            confidence: heard.verdict.confidence,
            probabilities: heard.verdict.scores.iter().map(|s| f16::from_f32(s.1)).collect(),
            embedding: compact(&heard.embedding),
            length_s: heard.length_s,
            windows: heard.taggram.len(),
            warnings: heard.warnings,
        })
    }
}

/// An embedding brought to length 1 and to at most [`MOST_VALUES`] values: a longer one (the output
/// of a convolution, where neighbours see neighbouring times or bands) is averaged over neighbours.
fn compact(values: &[f32]) -> Vec<f16> {
    let run = values.len().div_ceil(MOST_VALUES).max(1);
    let means: Vec<f32> =
        values.chunks(run).map(|run| run.iter().sum::<f32>() / run.len() as f32).collect();
    let length = means.iter().map(|x| x * x).sum::<f32>().sqrt();
    let scale = if length > 0.0 && length.is_finite() { 1.0 / length } else { 0.0 };
    means.iter().map(|x| f16::from_f32(x * scale)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embeddings_have_length_one_and_few_values() {
        let kept = compact(&[3.0, 0.0, 4.0]);
        assert_eq!(
            kept.iter().map(|x| x.to_f32()).collect::<Vec<_>>(),
            [0.6, 0.0, 0.8].map(|x| f16::from_f32(x).to_f32())
        );
        assert_eq!(compact(&vec![1.0; 8192]).len(), 512);
        assert_eq!(compact(&vec![1.0; 513]).len(), 257);
        assert!(compact(&[0.0; 4]).iter().all(|x| x.to_f32() == 0.0));
    }
}

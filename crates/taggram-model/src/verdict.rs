//! From a taggram to an answer.

use serde::{Deserialize, Serialize};

use crate::taggram::{Taggram, argmax};

/// How the patches of a song agree on one answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decide {
    /// The mean of the patches' probabilities.
    #[default]
    Mean,
    /// Each patch votes for its most probable label; ties go to the larger mean.
    Majority,
}

/// The answer for a song.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Most probable label, or `unknown` for a song unlike all that the model has learnt.
    pub genre: String,
    /// Its probability, 0…1; 0 where the genre is unknown.
    pub confidence: f32,
    /// Every label with its probability, in the order of the vocabulary; sums to 1 for genres.
    pub scores: Vec<(String, f32)>,
}

impl Verdict {
    /// The most probable of `labels` by `scores`, `[label]`.
    pub fn from_scores(labels: &[String], scores: Vec<f32>) -> Self {
        let best = argmax(&scores);
        Self {
            genre: labels[best].clone(),
            confidence: scores[best],
            scores: labels.iter().cloned().zip(scores).collect(),
        }
    }
}

/// Makes the probability of a song honest: averaging patches makes it too timid (or a network too
/// bold), and one number fitted on songs that were not trained on undoes that.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Song probabilities become p^(1/T), renormalised: below 1 sharpens, above 1 softens.
    pub temperature: f32,
}

impl Default for Calibration {
    fn default() -> Self {
        Self { temperature: 1.0 }
    }
}

impl Calibration {
    /// Applies the temperature to one distribution over exclusive labels, in place.
    pub fn apply(&self, probabilities: &mut [f32]) {
        if self.temperature == 1.0 {
            return;
        }
        let exponent = 1.0 / f64::from(self.temperature);
        let powers: Vec<f64> =
            probabilities.iter().map(|&p| f64::from(p.max(1e-12)).powf(exponent)).collect();
        let sum: f64 = powers.iter().sum();
        for (p, power) in probabilities.iter_mut().zip(powers) {
            *p = (power / sum) as f32;
        }
    }
}

/// Decides over a taggram of exclusive labels (genres). `None` when nothing was heard.
pub fn decide(taggram: &Taggram, how: Decide, calibration: Calibration) -> Option<Verdict> {
    if taggram.is_empty() {
        return None;
    }
    let mean = taggram.mean();
    let scores = match how {
        Decide::Mean => {
            let mut scores = mean;
            calibration.apply(&mut scores);
            return Some(Verdict::from_scores(&taggram.labels, scores));
        }
        Decide::Majority => taggram.majority(),
    };
    // A tie of votes is broken by how probable the labels were on the whole.
    let mut best = argmax(&scores);
    for (i, &score) in scores.iter().enumerate() {
        if score == scores[best] && mean[i] > mean[best] {
            best = i;
        }
    }
    Some(Verdict {
        genre: taggram.labels[best].clone(),
        confidence: scores[best],
        scores: taggram.labels.iter().cloned().zip(scores).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taggram(rows: &[[f32; 3]]) -> Taggram {
        Taggram {
            labels: ["blues", "jazz", "rock"].map(String::from).to_vec(),
            starts_s: (0..rows.len()).map(|i| i as f64).collect(),
            patch_s: 3.0,
            probabilities: rows.concat(),
        }
    }

    #[test]
    fn mean_and_majority_can_disagree() {
        let t = taggram(&[[0.4, 0.35, 0.25], [0.4, 0.35, 0.25], [0.0, 0.9, 0.1]]);
        let mean = decide(&t, Decide::Mean, Calibration::default()).unwrap();
        let votes = decide(&t, Decide::Majority, Calibration::default()).unwrap();
        assert_eq!(mean.genre, "jazz");
        assert_eq!(votes.genre, "blues");
        assert!((votes.confidence - 2.0 / 3.0).abs() < 1e-6);
    }

    #[test]
    fn a_tie_of_votes_goes_to_the_larger_mean() {
        let t = taggram(&[[0.5, 0.4, 0.1], [0.0, 0.1, 0.9]]);
        assert_eq!(decide(&t, Decide::Majority, Calibration::default()).unwrap().genre, "rock");
    }

    #[test]
    fn a_temperature_below_one_sharpens_and_keeps_the_sum() {
        let t = taggram(&[[0.5, 0.3, 0.2]]);
        let v = decide(&t, Decide::Mean, Calibration { temperature: 0.5 }).unwrap();
        let sum: f32 = v.scores.iter().map(|s| s.1).sum();
        assert!(v.confidence > 0.6 && (sum - 1.0).abs() < 1e-6, "{v:?}");
    }

    #[test]
    fn nothing_heard_is_no_verdict() {
        assert!(decide(&taggram(&[]), Decide::Mean, Calibration::default()).is_none());
    }
}

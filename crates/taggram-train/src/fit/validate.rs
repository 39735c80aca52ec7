//! Judging whole songs: the mean of the patches' probabilities.

use taggram_features::{Patches, Windows};

use super::Clip;
use crate::error::TrainError;
use crate::grad::{Mode, Trainable, softmax};
use crate::loss::{LOGITS, largest};

/// Song-level scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SongScores {
    /// Share of songs whose most probable genre is right, 0 … 1.
    pub accuracy: f64,
    /// Mean of −log of the right genre's probability.
    pub log_loss: f64,
}

impl SongScores {
    /// The scores of `probabilities`, one row a clip.
    pub fn of(probabilities: &[Vec<f32>], clips: &[Clip]) -> Self {
        let count = clips.len().max(1) as f64;
        let right = probabilities.iter().zip(clips).filter(|(p, c)| largest(p) == c.label).count();
        // A NaN fails every comparison with max(): it must not pass for certainty.
        let loss = |p: f32| if p.is_nan() { f64::NAN } else { -f64::from(p.max(1e-12)).ln() };
        let total: f64 = probabilities.iter().zip(clips).map(|(p, c)| loss(p[c.label])).sum();
        Self { accuracy: right as f64 / count, log_loss: total / count }
    }
}

/// The patches of a clip that are judged: those of the windows, or those of them that start where it says.
///
/// # Errors
/// A map that no patch can be cut from.
pub(crate) fn patches_of(clip: &Clip, windows: &Windows) -> Result<Patches, TrainError> {
    let place = || format!("song {}", clip.id);
    let whole =
        windows.cut(&clip.map).map_err(|e| TrainError::malformed(place(), e.to_string()))?;
    if clip.starts.is_empty() {
        return Ok(whole);
    }
    let mut some = Patches { data: Vec::new(), starts: Vec::new(), count: 0, ..whole.clone() };
    for (i, start) in whole.starts.iter().enumerate().filter(|(_, s)| clip.starts.contains(s)) {
        some.data.extend_from_slice(whole.patch(i));
        some.starts.push(*start);
        some.count += 1;
    }
    if some.count == 0 {
        let message = format!("no window starts at any of the frames {:?}", clip.starts);
        return Err(TrainError::malformed(place(), message));
    }
    Ok(some)
}

/// Patches computed at once.
const TOGETHER: usize = 32;

/// Genre probabilities of each clip: its patches are cut as for listening, and their softmax averaged.
///
/// # Errors
/// Windows or maps that do not fit the network.
pub fn predict_songs(
    network: &mut Trainable,
    clips: &[Clip],
    windows: &Windows,
) -> Result<Vec<Vec<f32>>, TrainError> {
    let classes = network.length_of(LOGITS)?;
    let mut sums = vec![vec![0.0f64; classes]; clips.len()];
    let mut counts = vec![0usize; clips.len()];
    let mut waiting: Vec<f32> = Vec::new();
    let mut owners: Vec<usize> = Vec::new();
    for (i, clip) in clips.iter().enumerate() {
        let patches = patches_of(clip, windows)?;
        owners.extend(std::iter::repeat_n(i, patches.count));
        waiting.extend_from_slice(&patches.data);
        let length = patches.patch_len();
        while owners.len() >= TOGETHER || (i + 1 == clips.len() && !owners.is_empty()) {
            let count = owners.len().min(TOGETHER);
            network.forward(&[&waiting[..count * length]], Mode::Evaluate)?;
            let mut answers = network.output(LOGITS)?.to_vec();
            for (row, owner) in answers.chunks_exact_mut(classes).zip(owners.drain(..count)) {
                softmax(row);
                sums[owner].iter_mut().zip(row).for_each(|(s, p)| *s += f64::from(*p));
                counts[owner] += 1;
            }
            waiting.drain(..count * length);
        }
    }
    let mean = |(sum, count): (Vec<f64>, usize)| {
        sum.into_iter().map(|s| (s / count.max(1) as f64) as f32).collect()
    };
    Ok(sums.into_iter().zip(counts).map(mean).collect())
}

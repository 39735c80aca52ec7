//! Weights that a training begins with.
//!
//! A model whose frames or mel bands lie otherwise than the recipe's gives its kernels all the same: each is
//! brought onto the recipe's grid, so that it answers to the same sound as before as far as that grid shows it.

use std::path::Path;

use taggram_features::{FrontEnd, Map, mel::hz_to_mel};
use taggram_model::{Body, Network, Tensor, Weights, builder::same};

use crate::error::{ErrorKind, TrainError};

/// What a training begins with.
#[derive(Clone, Debug)]
pub(crate) struct Beginning {
    /// Tensors by the names of the layers.
    pub weights: Weights,
    /// Under what the weights that are learnt from them may be passed on, beside what is ours.
    pub licence: String,
}

/// The weights that `[fit] init` names — those of an installed model, or of a file —
/// for `network` on what `front_end` makes.
///
/// # Errors
/// A name that is neither, a model without a network, a file that cannot be read; a kernel of `network` that is too short for
/// what it should begin with.
pub(crate) fn beginning(
    name: &str,
    network: &Network,
    front_end: &FrontEnd,
) -> Result<Beginning, TrainError> {
    let fail = |message: String| {
        TrainError::new(format!("[fit] init = \"{name}\""), ErrorKind::Unsupported, message)
    };
    let artifact = taggram::artifact(name);
    let path = Path::new(name);
    if artifact.is_err() && (path.extension().is_some() || path.exists()) {
        let weights = taggram_import::read_weights(path).map_err(|e| fail(e.to_string()))?;
        return Ok(Beginning { weights, licence: format!("that of the weights in {name}") });
    }
    let artifact = artifact.map_err(|e| fail(e.to_string()))?;
    let Body::Network { front_end: theirs, .. } = &artifact.description.body else {
        return Err(fail(
            "this model has no network of its own, so no layers to begin with".into(),
        ));
    };
    let (mut weights, licence) = (artifact.weights, artifact.description.licence);
    let Some(grid) = Grid::between(theirs, front_end) else {
        return Ok(Beginning { weights, licence });
    };
    for spec in network.weight_specs().map_err(|e| fail(e.to_string()))? {
        let Some(kernel) = weights.get_mut(&spec.name) else { continue };
        if let ([_, _, frames, bands], true) = (&spec.shape[..], kernel.shape.len() == 4) {
            let moved = grid.moved(kernel, [*frames, *bands]);
            *kernel = moved.map_err(|e| fail(format!("`{}`: {e}", spec.name)))?;
        }
    }
    Ok(Beginning { weights, licence })
}

/// How far the frames and bands of one mel front-end lie apart on another's grid.
#[derive(Clone, Copy, Debug)]
struct Grid {
    /// A frame of theirs, in frames of ours.
    frames: f64,
    /// A band of theirs, in bands of ours.
    bands: f64,
}

impl Grid {
    /// Nothing for maps that are not both mel spectrograms.
    fn between(theirs: &FrontEnd, ours: &FrontEnd) -> Option<Self> {
        // Seconds a frame and mel a band.
        let steps = |f: &FrontEnd| match f.map {
            Map::Mel { bands, .. } => {
                let rate = f64::from(f.sample_rate);
                Some((f.hop as f64 / rate, hz_to_mel(rate / 2.0) / (bands + 1) as f64))
            }
            _ => None,
        };
        let ((frame, band), (our_frame, our_band)) = (steps(theirs)?, steps(ours)?);
        Some(Self { frames: frame / our_frame, bands: band / our_band })
    }

    /// A kernel `[out, in, frame, band]` as one of `[frames, bands]`: an axis that keeps its length stays as it is.
    fn moved(self, kernel: &Tensor, [frames, bands]: [usize; 2]) -> Result<Tensor, String> {
        let &[out, inputs, from_frames, from_bands] = &kernel.shape[..] else {
            return Ok(kernel.clone());
        };
        let short = |what: String| {
            move |needed: usize| {
                format!("its {what} are fewer than the {needed} that those of the model span here")
            }
        };
        // Where the middle of a kernel lies: padding keeps it over its frame. Over the bands it has no place of its own.
        let over_time = spread(from_frames, frames, self.frames, |n| same([n, 1])[0][0])
            .map_err(short(format!("{frames} frames")))?;
        let over_bands = spread(from_bands, bands, self.bands, |_| 0)
            .map_err(short(format!("{bands} bands")))?;
        let mut data = vec![0.0; out * inputs * frames * bands];
        for (from, to) in kernel
            .data
            .chunks_exact(from_frames * from_bands)
            .zip(data.chunks_exact_mut(frames * bands))
        {
            for (row, targets) in from.chunks_exact(from_bands).zip(&over_time) {
                for (value, columns) in row.iter().zip(&over_bands) {
                    for &(t, share_t) in targets {
                        for &(b, share_b) in columns {
                            to[t * bands + b] += value * share_t * share_b;
                        }
                    }
                }
            }
        }
        Ok(Tensor::new([out, inputs, frames, bands], data))
    }
}

/// For each tap of a kernel of `from` taps that lie `step` apart, the one or two taps of a kernel of `to` taps between which it lies,
/// with their shares: what a kernel says of a signal that is linear in between. `middle` gives the tap that keeps its
/// place. Too short a kernel: the length that it needs.
fn spread(
    from: usize,
    to: usize,
    step: f64,
    middle: impl Fn(usize) -> usize,
) -> Result<Vec<Vec<(usize, f32)>>, usize> {
    if from == to {
        return Ok((0..from).map(|i| vec![(i, 1.0)]).collect());
    }
    let from_middle = |i: usize| (i as f64 - middle(from) as f64) * step;
    let reach = |i: usize| from_middle(i).abs().ceil() as usize;
    let needed = reach(0) + reach(from.max(1) - 1) + 1;
    (0..from)
        .map(|i| {
            let place = from_middle(i) + middle(to) as f64;
            let (below, share) = (place.floor(), place.fract() as f32);
            let both = [(below, 1.0 - share), (below + 1.0, share)];
            both.into_iter()
                .filter(|&(_, share)| share > 0.0)
                .map(|(tap, share)| {
                    let inside = (0.0..to as f64).contains(&tap);
                    if inside { Ok((tap as usize, share)) } else { Err(needed) }
                })
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn front_end(sample_rate: u32, hop: usize, bands: usize) -> FrontEnd {
        let map = Map::Mel { bands, scale: taggram_features::Scale::Decibel };
        FrontEnd { sample_rate, resampling: Default::default(), n_fft: 512, hop, map }
    }

    /// A signal on our grid, and what lies between its values on theirs.
    fn between(signal: &[f64], place: f64) -> f64 {
        let (below, share) = (place.floor() as usize, place.fract());
        signal[below] * (1.0 - share) + signal[below + 1] * share
    }

    #[test]
    fn a_kernel_says_the_same_of_a_signal_on_the_other_grid() {
        let grid =
            Grid::between(&front_end(16_000, 256, 96), &front_end(22_050, 1709, 128)).unwrap();
        assert!(
            (grid.frames - 0.2064).abs() < 1e-4 && (grid.bands - 1.2056).abs() < 1e-4,
            "{grid:?}"
        );

        let wave = |i: usize| (i as f64 * 0.7).sin() + 0.1 * i as f64;
        let (time, bands): (Vec<f64>, Vec<f64>) =
            ((0..40).map(wave).collect(), (0..90).map(|i| wave(i + 7)).collect());
        for (shape, to) in
            [([7, 38], [3, 46]), ([7, 67], [3, 81]), ([128, 1], [29, 1]), ([32, 1], [9, 1])]
        {
            let data: Vec<f32> = (0..shape[0] * shape[1]).map(|i| (i as f32 * 1.3).cos()).collect();
            let kernel = Tensor::new([1, 1, shape[0], shape[1]], data);
            let moved = grid.moved(&kernel, to).unwrap();
            let middle = |n: usize| (n - 1) / 2;
            // What a kernel says of a sound, given by frame and band of the kernel.
            let says = |kernel: &Tensor, width: usize, sound: &dyn Fn(usize, usize) -> f64| {
                let each = kernel.data.iter().enumerate();
                each.map(|(i, &w)| f64::from(w) * sound(i / width, i % width)).sum::<f64>()
            };
            let theirs = says(&kernel, shape[1], &|t, b| {
                let at = 20.0 + (t as f64 - middle(shape[0]) as f64) * grid.frames;
                let tone = if shape[1] == 1 { 1.0 } else { between(&bands, b as f64 * grid.bands) };
                between(&time, at) * tone
            });
            let ours = says(&moved, to[1], &|t, b| {
                time[20 + t - middle(to[0])] * if to[1] == 1 { 1.0 } else { bands[b] }
            });
            assert!(
                (theirs - ours).abs() < 1e-3 * theirs.abs().max(1.0),
                "{shape:?}: {theirs} {ours}"
            );
        }
    }

    #[test]
    fn a_kernel_that_is_too_short_says_what_it_needs() {
        let grid = Grid { frames: 0.2064, bands: 1.2056 };
        let kernel = Tensor::new([1, 1, 128, 1], vec![1.0; 128]);
        let message = grid.moved(&kernel, [15, 1]).unwrap_err();
        assert!(message.contains("15 frames are fewer than the 29"), "{message}");
    }
}

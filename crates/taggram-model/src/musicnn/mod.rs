//! musicnn for whole songs: the same numbers as patch by patch, for a fraction of the work.
//!
//! Patches of 187 frames every 61 overlap threefold, and the largest part of the network — filters
//! over time and bands — does not depend on where a patch starts, except near its ends. So
//! that part runs once over the song, and the ends are repaired exactly:
//! - timbral filters: once, in the frequency domain, and 3 frames anew at either end of a patch
//!   (`timbral`);
//! - temporal filters: each product once, in partial sums between the ends of patches (`temporal`);
//! - the first middle layer: its sum over timbral features once (`middle`);
//! - the rest patch by patch.
//!
//! Songs of any length run in sections of at most some 4,000 frames, so memory does not grow
//! with the song beyond its feature map and the results.

mod affine;
mod columns;
mod lanes;
mod middle;
mod parallel;
mod product;
mod section;
mod temporal;
mod temporal_int;
mod timbral;
mod timbral_int;

#[cfg(test)]
mod tests;

use taggram_features::{FeatureMap, Normalise, Windows};

use crate::{
    Activation, Network, NetworkError, Op, Quantisation, Weights,
    architectures::{
        MusicnnSize,
        musicnn::{BANDS, TEMPORAL_LENGTHS, TIMBRAL_WIDTHS, musicnn},
    },
    kernels::{
        Epilogue, Isa, PackedRight,
        int8::{IntIsa, Params},
    },
};
use affine::{Affine, values};
use columns::Columns;
use middle::{Middle, Shared};
use section::Section;
use temporal::Temporal;
use temporal_int::IntTemporal;
use timbral::{ROWS, TILE, Tile, Timbral};
use timbral_int::IntTimbral;

/// Tiles of a timbral task and frames of a temporal one: small enough to share out evenly,
/// large enough to reuse weights from the cache.
const TILES: usize = 64;
const FRAMES: usize = 48;

/// The values whose ranges integer arithmetic needs ([`MusicnnRunner::quantised`]).
pub const POINTS: [&str; 5] = ["input", "timbral", "temporal", "cnn1", "cnn2"];

/// A musicnn network, prepared for whole songs. Can be shared between threads.
#[derive(Debug)]
pub struct MusicnnRunner {
    size: Size,
    input: Affine,
    /// Where the timbral and the temporal filters leave their results.
    front: [Columns; 2],
    timbral: Timbral,
    temporal: Temporal,
    middle: Middle,
    pools: Affine,
    dense: (PackedRight, Epilogue),
    logits: (PackedRight, Epilogue),
    /// The front-ends in integers, in place of those above; the middle knows for itself.
    integers: Option<(IntTimbral, IntTemporal)>,
}

/// What the network says about each patch of a song.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MusicnnOutput {
    /// First frame of each patch, `[patch]`.
    pub starts: Vec<usize>,
    /// The song was shorter than a patch and was repeated to fill one.
    pub padded: bool,
    /// Probabilities 0…1, `[patch, tag]`.
    pub tags: Vec<f32>,
    /// Maximum of each feature over the patch, `[patch, feature]`.
    pub max_pool: Vec<f32>,
    /// Mean of each feature over the patch, `[patch, feature]`.
    pub mean_pool: Vec<f32>,
    /// Last layer before the tags, `[patch, unit]`.
    pub penultimate: Vec<f32>,
}

impl MusicnnRunner {
    /// Prepares a network made by [`musicnn`] (of any size, and any number of filters of each kind).
    ///
    /// # Errors
    /// For any other network — run those with [`crate::Engine`] — and for weights that do not fit.
    pub fn new(network: &Network, weights: &Weights) -> Result<Self, NetworkError> {
        Self::with_isa(network, weights, Isa::detect())
    }

    /// As [`Self::new`], on an instruction set of choice: for tests of one against another.
    ///
    /// # Errors
    /// As [`Self::new`], and when this machine lacks the set.
    pub fn with_isa(network: &Network, weights: &Weights, isa: Isa) -> Result<Self, NetworkError> {
        Self::build(network, weights, isa, None)
    }

    /// As [`Self::new`], with the filters over time and bands and the middle layers in integers.
    ///
    /// # Errors
    /// As [`Self::new`], and when the range of one of [`POINTS`] or of the spectrum is missing.
    pub fn quantised(
        network: &Network,
        weights: &Weights,
        quantisation: &Quantisation,
    ) -> Result<Self, NetworkError> {
        Self::quantised_with_isa(network, weights, quantisation, IntIsa::detect())
    }

    /// As [`Self::quantised`], on an instruction set of choice: for tests of one against another.
    ///
    /// # Errors
    /// As [`Self::quantised`], and when this machine lacks the set.
    pub fn quantised_with_isa(
        network: &Network,
        weights: &Weights,
        quantisation: &Quantisation,
        isa: IntIsa,
    ) -> Result<Self, NetworkError> {
        if !IntIsa::available().contains(&isa) {
            return Err(NetworkError::malformed("musicnn", format!("this machine has no {isa:?}")));
        }
        quantisation.check(network)?;
        Self::build(network, weights, Isa::detect(), Some((quantisation, isa)))
    }

    fn build(
        network: &Network,
        weights: &Weights,
        isa: Isa,
        integers: Option<(&Quantisation, IntIsa)>,
    ) -> Result<Self, NetworkError> {
        if !Isa::available().contains(&isa) {
            return Err(NetworkError::malformed("musicnn", format!("this machine has no {isa:?}")));
        }
        let size = size_of(network).ok_or_else(|| {
            NetworkError::malformed("musicnn", "the network is not built as musicnn is")
        })?;
        network.check_weights(weights)?;
        let input = Affine::batch_norm(weights, "input_bn")?;
        let front = [
            Columns::new(&size.timbral, timbral::BLOCK),
            Columns::new(&size.temporal, temporal::BLOCK),
        ];
        let (mut ranges, mut front_ends) = (None, None);
        if let Some((quantisation, isa)) = integers {
            let params = |name: &str| -> Result<Params, NetworkError> {
                quantisation.params(name).ok_or_else(|| {
                    NetworkError::malformed(
                        "quantisation",
                        format!("no range of `{name}` is given"),
                    )
                })
            };
            let [of_input, rest @ ..] = POINTS;
            let [a, b, c, d] = rest.map(params);
            ranges = Some(([a?, b?, c?, d?], isa));
            front_ends = Some((
                IntTimbral::new(weights, &front[0], &quantisation.spectrum, isa)?,
                IntTemporal::new(weights, &front[1], &input, params(of_input)?, isa)?,
            ));
        }
        let middle = Middle::new(weights, size.middle, front.clone(), isa, ranges)?;
        let penultimate = Affine::batch_norm(weights, "penultimate")?;
        let dense = |name: &str, out, input, activation, affine| {
            Ok::<_, NetworkError>((
                PackedRight::new(values(weights, name, "weight")?, out, input, isa),
                Epilogue::new(out, Some(values(weights, name, "bias")?), Some(activation), affine),
            ))
        };
        let norm = Some((penultimate.scale.as_slice(), penultimate.shift.as_slice()));
        Ok(Self {
            size,
            input,
            timbral: Timbral::new(weights, &front[0], isa)?,
            temporal: Temporal::new(weights, &front[1], isa)?,
            pools: Affine::batch_norm(weights, "pools_bn")?,
            dense: dense("dense", size.units, 2 * middle.features(), Activation::Relu, norm)?,
            logits: dense("logits", size.tags, size.units, Activation::Sigmoid, None)?,
            middle,
            front,
            integers: front_ends,
        })
    }

    /// The largest absolute value of each of the 96 numbers of a frame's spectrum, in some log-mel
    /// maps ([`crate::Quantisation::spectrum`]).
    pub fn spectrum_limits(&self, maps: &[FeatureMap]) -> Vec<f32> {
        let (scale, shift) = (self.input.scale[0], self.input.shift[0]);
        let mut limits = vec![f32::MIN_POSITIVE; BANDS];
        for map in maps {
            let frames: Vec<f32> = map.data.iter().map(|x| x * scale + shift).collect();
            let mut spectra = vec![0.0; frames.len()];
            self.timbral.transform(&frames, &mut spectra);
            for frame in spectra.chunks_exact(BANDS) {
                for (limit, x) in limits.iter_mut().zip(frame) {
                    *limit = if x.abs() > *limit { x.abs() } else { *limit };
                }
            }
        }
        limits
    }

    /// Number of tags.
    pub fn tags(&self) -> usize {
        self.size.tags
    }

    /// Number of pooled features of a patch, 753 as published.
    pub fn features(&self) -> usize {
        self.middle.features()
    }

    /// Number of units of the penultimate layer, 200 as published.
    pub fn units(&self) -> usize {
        self.size.units
    }

    /// Runs the network on every patch of a song's log-mel map `[1, time, 96]`, on `threads`
    /// threads. Patches may have any length and hop. Frames after the last whole patch are
    /// dropped; a map shorter than one patch is repeated until it fills one, and marked.
    ///
    /// # Errors
    /// When the map is empty or has another number of channels or bands, when the windows are
    /// of no size, or ask for a normalisation, which musicnn has none of.
    pub fn run(
        &self,
        log_mel: &FeatureMap,
        windows: &Windows,
        threads: usize,
    ) -> Result<MusicnnOutput, NetworkError> {
        if (log_mel.channels, log_mel.bands) != (1, BANDS) || log_mel.frames == 0 {
            return Err(NetworkError::malformed(
                "input",
                format!(
                    "got {} channels, {} frames and {} bands; musicnn needs 1 channel, at least one frame and {BANDS} bands",
                    log_mel.channels, log_mel.frames, log_mel.bands
                ),
            ));
        }
        windows.check(BANDS).map_err(|e| NetworkError::malformed("windows", e.to_string()))?;
        if windows.normalise != Normalise::None {
            return Err(NetworkError::malformed(
                "windows",
                format!("{:?} is asked for; musicnn takes log-mel as it is", windows.normalise),
            ));
        }
        let patch = windows.frames;
        let mut out = MusicnnOutput { padded: log_mel.frames < patch, ..Default::default() };
        let repeated: Vec<f32>;
        let map = if out.padded {
            repeated = log_mel.data.iter().copied().cycle().take(patch * BANDS).collect();
            &repeated
        } else {
            &log_mel.data
        };
        let count = (map.len() / BANDS - patch) / windows.hop + 1;
        out.starts = (0..count).map(|i| i * windows.hop).collect();
        out.max_pool = vec![0.0; count * self.features()];
        out.mean_pool = vec![0.0; count * self.features()];
        for section in Section::cut(count, patch, windows.hop, self.front[1].total()) {
            let frames = &map[section.at * BANDS..(section.at + section.frames) * BANDS];
            let range = section.first * self.features()
                ..(section.first + section.starts.len()) * self.features();
            let pools = [&mut out.max_pool[range.clone()], &mut out.mean_pool[range]];
            self.section(&section, frames, threads.max(1), pools);
        }
        self.answer(&mut out);
        Ok(out)
    }

    /// Pooled features of a section's patches, from its log-mel frames.
    fn section(
        &self,
        section: &Section,
        frames: &[f32],
        threads: usize,
        [max, mean]: [&mut [f32]; 2],
    ) {
        let (scale, shift) = (self.input.scale[0], self.input.shift[0]);
        let fours = self.integers.as_ref().map(|(_, temporal)| temporal.prepare(frames));
        let frames: Vec<f32> = frames.iter().map(|x| x * scale + shift).collect();

        // The two front-ends have different needs of memory, so one after the other.
        let patches = section.starts.len();
        let [columns, of_temporal] = [self.front[0].total(), self.front[1].total()];
        let mut timbral = vec![0.0; section.frames.next_multiple_of(TILE) * columns];
        let mut ends = vec![0.0; patches * 2 * TILE * columns];
        self.timbral(section, &frames, threads, &mut timbral, &mut ends);

        let mut temporal = vec![0.0; section.frames * section.slots * of_temporal];
        let size = FRAMES * section.slots * of_temporal;
        let tasks = temporal.chunks_mut(size).enumerate().collect();
        parallel::for_each(
            threads,
            tasks,
            || (),
            |(), (i, out): (usize, &mut [f32])| match (&self.integers, &fours) {
                (Some((_, temporal)), Some(fours)) => {
                    temporal.run(section, fours, i * FRAMES, out);
                }
                _ => self.temporal.run(section, &frames, i * FRAMES, out),
            },
        );

        let middle = &self.middle;
        let mut sums = vec![0.0; section.frames.saturating_sub(6) * self.size.middle];
        let tasks = sums.chunks_mut(FRAMES * self.size.middle).enumerate().collect();
        parallel::for_each(threads, tasks, Vec::new, |bytes, (i, sums): (usize, &mut [f32])| {
            let rows = sums.len() / self.size.middle;
            middle.sums(&timbral[i * FRAMES * columns..], rows, sums, bytes);
        });

        let shared =
            Shared { section, timbral: &timbral, sums: &sums, ends: &ends, temporal: &temporal };
        let features = self.features();
        let tasks = max.chunks_mut(features).zip(mean.chunks_mut(features)).enumerate().collect();
        parallel::for_each(threads, tasks, middle::Scratch::default, |space, (i, (max, mean))| {
            middle.patch(&shared, i, space, [max, mean]);
        });
    }

    /// The timbral layer of every frame as within the song (`[time, column]`), and of the first
    /// and last four frames of every patch as within the patch (`[patch, 2, 4, column]`).
    fn timbral(
        &self,
        section: &Section,
        frames: &[f32],
        threads: usize,
        timbral: &mut [f32],
        ends: &mut [f32],
    ) {
        let columns = self.front[0].total();
        let mut spectra = vec![0.0; frames.len()];
        self.timbral.transform(frames, &mut spectra);
        if let Some((integers, _)) = &self.integers {
            let pairs = integers.pairs(&spectra);
            let mut tiles =
                tiles(section, columns, [timbral, ends], |t, start, end| pairs.rows(t, start, end));
            let tasks = tiles.chunks_mut(TILES).collect();
            parallel::for_each(threads, tasks, || (), |(), tiles| integers.run(tiles));
            return;
        }
        let (spectra, _) = spectra.as_chunks::<BANDS>();
        let rows = |t: usize, start: usize, end: usize| -> [&[f32; BANDS]; ROWS] {
            std::array::from_fn(|i| match (t + i).checked_sub(3) {
                Some(t) if (start..end).contains(&t) => &spectra[t],
                _ => &[0.0; BANDS],
            })
        };
        let mut tiles = tiles(section, columns, [timbral, ends], rows);
        let tasks = tiles.chunks_mut(TILES).collect();
        parallel::for_each(threads, tasks, || (), |(), tiles| self.timbral.run(tiles));
    }

    /// From the pooled features to the tags.
    fn answer(&self, out: &mut MusicnnOutput) {
        let count = out.starts.len();
        let (features, units, tags) = (self.features(), self.units(), self.tags());
        let pairs = out.max_pool.iter().zip(&out.mean_pool).flat_map(|(max, mean)| [*max, *mean]);
        let pools: Vec<f32> = pairs
            .enumerate()
            .map(|(i, x)| {
                let i = i % (2 * features);
                x * self.pools.scale[i] + self.pools.shift[i]
            })
            .collect();
        out.penultimate = vec![0.0; count * units];
        out.tags = vec![0.0; count * tags];
        let (dense, epilogue) = &self.dense;
        dense.multiply(&pools, 2 * features, count, &mut out.penultimate, units, epilogue);
        let (logits, epilogue) = &self.logits;
        logits.multiply(&out.penultimate, units, count, &mut out.tags, tags, epilogue);
    }
}

/// The tiles of a section: four frames as within the song, and the first and last four of every
/// patch as within the patch. `rows` gives what a tile reads, from 3 frames before its first on, with
/// zeros outside of the range of frames it is told.
fn tiles<'a, R>(
    section: &Section,
    columns: usize,
    [timbral, ends]: [&'a mut [f32]; 2],
    rows: impl Fn(usize, usize, usize) -> [&'a R; ROWS],
) -> Vec<Tile<'a, R>> {
    let mut tiles = Vec::new();
    for (i, out) in timbral.chunks_exact_mut(TILE * columns).enumerate() {
        let t = i * TILE;
        // Between patches that do not touch there is nothing to do.
        if (t..t + TILE).any(|t| !section.patches_at(t).is_empty()) {
            tiles.push(Tile { rows: rows(t, 0, section.frames), out });
        }
    }
    let mut ends = ends.chunks_exact_mut(TILE * columns);
    for &start in &section.starts {
        let end = start + section.patch;
        for t in [start, end.saturating_sub(TILE).max(start)] {
            if let Some(out) = ends.next() {
                tiles.push(Tile { rows: rows(t, start, end), out });
            }
        }
    }
    tiles
}

/// The sizes of a network that is built as [`musicnn`] is: the published ones, or what is left after
/// filters were taken out of it.
#[derive(Clone, Copy, Debug)]
struct Size {
    /// Filters of each timbral width and each temporal length.
    timbral: [usize; 2],
    temporal: [usize; 3],
    middle: usize,
    units: usize,
    tags: usize,
}

/// The sizes of a network, when it is exactly what [`musicnn`] makes, whatever the number of
/// filters of each kind.
fn size_of(network: &Network) -> Option<Size> {
    let units = |name: &str| {
        network.nodes.iter().find(|n| n.name == name).and_then(|n| match n.op {
            Op::Conv2d { out, .. } | Op::Dense { out, .. } => Some(out),
            _ => None,
        })
    };
    let [timbral_a, timbral_b] = TIMBRAL_WIDTHS.map(|width| units(&format!("timbral_{width}")));
    let [a, b, c] = TEMPORAL_LENGTHS.map(|length| units(&format!("temporal_{length}")));
    let size = Size {
        timbral: [timbral_a?, timbral_b?],
        temporal: [a?, b?, c?],
        middle: units("mid1")?,
        units: units("dense")?,
        tags: units("logits")?,
    };
    let mut expected = musicnn(MusicnnSize {
        frames: *network.inputs.first()?.shape.get(1)?,
        middle: size.middle,
        units: size.units,
        tags: size.tags,
    });
    let width = size.timbral.into_iter().chain(size.temporal).try_fold(0, usize::checked_add)?;
    for node in &mut expected.nodes {
        match &mut node.op {
            Op::Conv2d { kernel, .. } if node.name == "mid1" => kernel[1] = width,
            Op::Reshape { shape } if node.name == "front_image" => *shape.last_mut()? = width,
            Op::Conv2d { out, .. } if !node.name.starts_with("mid") => *out = units(&node.name)?,
            _ => {}
        }
    }
    (*network == expected).then_some(size)
}

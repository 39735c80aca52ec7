//! Feature caches: maps of many tracks in one array, with the recipe that made them.
//!
//! `FILE.npy` holds `[track, band, column]` or `[track, channel, band, column]`; the list beside
//! it names the tracks; `FILE.json` (or `recipe.json`) holds a [`CacheRecipe`].
//! Without one, the shapes of the GTZAN arrays are recognised.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use taggram_features::{FeatureMap, FrontEnd, Map, Scale};

use super::error::{ErrorKind, Result, fault, io, malformed};
use crate::npy::{DType, NpyFile};

/// Columns of a cache may lie this much closer or wider than the front-end's hop asks.
const HOP_TOLERANCE: f64 = 0.03;

/// How a cache was made: enough to refuse it to a model of another front-end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheRecipe {
    /// Version of this description: 1.
    pub version: u32,
    /// The front-end that made the maps.
    pub front_end: FrontEnd,
    /// What the stored numbers are.
    pub encoding: Encoding,
    /// Columns of each track that hold data, the rest being padding; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<usize>,
}

/// What the numbers of a cache are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// The values of the map.
    Value,
    /// Bytes 0…255 that mean −80…0 dB relative to the clip's maximum.
    ByteDecibel,
    /// dB of the clip with its mean taken off and divided by its deviation.
    ClipZScore,
}

/// An open cache. Rows are read when asked for.
#[derive(Debug)]
pub struct Cache {
    npy: NpyFile,
    recipe: CacheRecipe,
    channels: usize,
    bands: usize,
    columns: usize,
}

impl Cache {
    /// Opens an array of maps and finds out how it was made.
    ///
    /// # Errors
    /// Not an array of 3 or 4 axes, a recipe that contradicts it, or no recipe for an array
    /// that is not one of GTZAN's known ones.
    pub fn open(array: &Path) -> Result<Self> {
        let npy = NpyFile::open(array)?;
        let (channels, bands, columns) = match *npy.shape() {
            [_, bands, columns] => (1, bands, columns),
            [_, channels, bands, columns] => (channels, bands, columns),
            _ => {
                return Err(malformed(
                    array,
                    format!(
                        "a feature cache has the axes [track, band, column] or [track, channel, band, column]; it has shape {:?}",
                        npy.shape()
                    ),
                ));
            }
        };
        let recipe = match sidecar(array) {
            Some(path) => read_recipe(&path)?,
            None => known_gtzan(&npy).ok_or_else(|| {
                fault(
                    array,
                    ErrorKind::Unsupported,
                    format!(
                        "there is no {} that says which front-end made it, and its shape {:?} of {} is none of GTZAN's",
                        array.with_extension("json").display(),
                        npy.shape(),
                        npy.dtype().descr()
                    ),
                )
            })?,
        };
        let front_end = &recipe.front_end;
        if (channels, bands) != (front_end.channels(), front_end.bands()) {
            return Err(malformed(
                array,
                format!(
                    "it has {channels} × {bands} values a column; its recipe's front-end makes {} × {}",
                    front_end.channels(),
                    front_end.bands()
                ),
            ));
        }
        let rows = npy.shape()[0];
        if !(recipe.columns.is_empty() || recipe.columns.len() == rows) {
            return Err(malformed(
                array,
                format!(
                    "it has {rows} tracks; its recipe counts columns of {}",
                    recipe.columns.len()
                ),
            ));
        }
        if let Some(row) = recipe.columns.iter().position(|&c| c > columns) {
            return Err(malformed(
                array,
                format!(
                    "its recipe gives track {row} {} columns; it has {columns}",
                    recipe.columns[row]
                ),
            ));
        }
        Ok(Self { npy, recipe, channels, bands, columns })
    }

    /// How the maps were made.
    pub fn recipe(&self) -> &CacheRecipe {
        &self.recipe
    }

    /// Number of tracks.
    pub fn rows(&self) -> usize {
        self.npy.shape()[0]
    }

    /// The file of the array.
    pub fn path(&self) -> &Path {
        self.npy.path()
    }

    /// The map of one row as it was stored, `[channel, time, band]`; bytes become dB.
    ///
    /// # Errors
    /// A failure to read, or values that are not finite.
    pub fn stored_map(&self, row: usize) -> Result<FeatureMap> {
        let size = self.channels * self.bands * self.columns;
        let values = self.npy.read_f32(row * size, size)?;
        let frames = self.recipe.columns.get(row).copied().unwrap_or(self.columns);
        let mut data = vec![0f32; self.channels * frames * self.bands];
        for c in 0..self.channels {
            for b in 0..self.bands {
                let line = &values[(c * self.bands + b) * self.columns..][..frames];
                for (t, &v) in line.iter().enumerate() {
                    data[(c * frames + t) * self.bands + b] = v;
                }
            }
        }
        if self.recipe.encoding == Encoding::ByteDecibel {
            data.iter_mut().for_each(|v| *v = *v / 255.0 * 80.0 - 80.0);
        } else if data.iter().any(|v| !v.is_finite()) {
            return Err(malformed(
                self.npy.path(),
                format!("array row {row} holds values that are not finite numbers"),
            ));
        }
        Ok(FeatureMap::new(self.channels, frames, self.bands, data))
    }

    /// The map of one row for a front-end: the stored one when the front-end is the cache's, or
    /// cepstral coefficients, alone, drawn, or beside the mel map, when the cache holds the dB mel
    /// map under them.
    ///
    /// # Errors
    /// A cache of another front-end; a failure to read.
    pub fn map(&self, row: usize, front_end: &FrontEnd) -> Result<FeatureMap> {
        let made = &self.recipe.front_end;
        let same_frames = front_end.sample_rate == made.sample_rate
            && front_end.n_fft == made.n_fft
            && (front_end.hop as f64 / made.hop as f64 - 1.0).abs() <= HOP_TOLERANCE;
        if same_frames && front_end.map == made.map {
            return self.stored_map(row);
        }
        if let (true, Map::Mel { bands, scale: Scale::Decibel }) = (same_frames, &made.map) {
            let stored = || self.stored_map(row);
            match front_end.map {
                Map::Mfcc { count, rms: false } if *bands == 128 => {
                    return Ok(cepstrum(&stored()?, count));
                }
                Map::MelMfcc { bands: wanted, count } if *bands == wanted => {
                    let mel = stored()?;
                    let series = cepstrum(&mel, count);
                    return Ok(side_by_side(&mel, &series));
                }
                Map::MfccPlot { count, rows } if *bands == 128 => {
                    let series = cepstrum(&stored()?, count);
                    let data = (0..series.frames)
                        .flat_map(|t| (0..rows).map(move |row| (t, row * count / rows)))
                        .map(|(t, k)| series.frame(0, t)[k])
                        .collect();
                    return Ok(FeatureMap::new(1, series.frames, rows, data));
                }
                _ => {}
            }
        }
        Err(fault(
            self.npy.path(),
            ErrorKind::Unsupported,
            format!("it was made by {}; asked for is {}", describe(made), describe(front_end)),
        ))
    }
}

/// The coefficients of each frame: an orthonormal DCT-II over the bands of a dB mel map.
/// Relative dB instead of absolute shift the 0th coefficient of the whole clip, nothing else.
fn cepstrum(map: &FeatureMap, count: usize) -> FeatureMap {
    let n = map.bands;
    let basis: Vec<f32> = (0..count)
        .flat_map(|k| {
            let scale = if k == 0 { (1.0 / n as f64).sqrt() } else { (2.0 / n as f64).sqrt() };
            (0..n).map(move |i| {
                let angle = std::f64::consts::PI * k as f64 * (i as f64 + 0.5) / n as f64;
                (scale * angle.cos()) as f32
            })
        })
        .collect();
    let data = (0..map.frames)
        .flat_map(|t| {
            let frame = map.frame(0, t);
            basis.chunks_exact(n).map(move |b| b.iter().zip(frame).map(|(b, x)| b * x).sum())
        })
        .collect();
    FeatureMap::new(1, map.frames, count, data)
}

/// The bands of both maps in each frame.
fn side_by_side(a: &FeatureMap, b: &FeatureMap) -> FeatureMap {
    let data = (0..a.frames).flat_map(|t| [a.frame(0, t), b.frame(0, t)].concat()).collect();
    FeatureMap::new(1, a.frames, a.bands + b.bands, data)
}

fn describe(f: &FrontEnd) -> String {
    format!("{:?} at {} Hz, n_fft {}, hop {}", f.map, f.sample_rate, f.n_fft, f.hop)
}

/// `FILE.json` beside `FILE.npy`, or `recipe.json` in its folder.
fn sidecar(array: &Path) -> Option<PathBuf> {
    [array.with_extension("json"), array.with_file_name("recipe.json")]
        .into_iter()
        .find(|p| p.is_file())
}

fn read_recipe(path: &Path) -> Result<CacheRecipe> {
    let text =
        std::fs::read_to_string(path).map_err(|e| io(path, "read the cache's recipe", &e))?;
    let recipe: CacheRecipe = serde_json::from_str(&text)
        .map_err(|e| malformed(path, format!("it is no recipe of a cache: {e}")))?;
    if recipe.version != 1 {
        return Err(fault(
            path,
            ErrorKind::Unsupported,
            format!("version {} of cache recipes is not known; 1 is", recipe.version),
        ));
    }
    recipe.front_end.check().map_err(|e| malformed(path, e.to_string()))?;
    Ok(recipe)
}

/// The arrays made of GTZAN that came without a recipe: mel spectrograms at 22,050 Hz, n_fft
/// 2048, 128 bands. The columns of the 30 s array lie (T − 1) / 387 = 3.34 frames of 512
/// samples apart (T = 1293 for most clips): 1709 samples.
fn known_gtzan(npy: &NpyFile) -> Option<CacheRecipe> {
    let (hop, encoding) = match (npy.shape(), npy.dtype()) {
        ([_, 128, 387], DType::U8) => (1709, Encoding::ByteDecibel),
        ([_, 128, 130], DType::F16) => (512, Encoding::ClipZScore),
        _ => return None,
    };
    Some(CacheRecipe {
        version: 1,
        front_end: FrontEnd {
            sample_rate: 22_050,
            resampling: Default::default(),
            n_fft: 2048,
            hop,
            map: Map::Mel { bands: 128, scale: Scale::Decibel },
        },
        encoding,
        columns: Vec::new(),
    })
}

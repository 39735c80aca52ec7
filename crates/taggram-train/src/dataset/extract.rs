//! From audio to a feature cache, in parallel, whole or not at all.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use taggram_features::FrontEnd;

use super::cache::{CacheRecipe, Encoding};
use super::error::{ErrorKind, Result, fault, io};
use super::{Dataset, DatasetError, TrackSource, audio};
use crate::files::write_whole;
use crate::npy::{self, DType};

/// A cache larger than this is refused, bytes: the longest track decides the width of all.
const MAX_CACHE: u64 = 64 << 30;
/// Tracks in flight for each worker, before the next ones are started.
const BATCH: usize = 4;

/// How a cache is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExtractOptions {
    /// Take the middle of longer tracks, seconds; whole tracks when none.
    pub middle_s: Option<f64>,
    /// Workers; as many as there are cores when 0.
    pub jobs: usize,
}

/// What became of the tracks.
#[derive(Debug)]
pub struct Extracted {
    /// The array that was written; its list, recipe and the rest lie beside it.
    pub array: PathBuf,
    /// Ids in the order of the rows.
    pub ids: Vec<String>,
    /// Tracks that could not be read, each with the reason; they are not in the cache.
    pub failed: Vec<(String, DatasetError)>,
}

/// Writes `maps_f16.npy`, `maps_tracks.txt` (`id<TAB>genre<TAB>artist`) and `maps_f16.json` to a
/// folder, which [`Dataset::open`] reads as a feature cache. Splits and annotations
/// are copied into it when the dataset has them. Values are stored in half precision: for dB a step of
/// at most 0.06. `progress` is called after each track.
///
/// # Errors
/// A dataset without audio, no readable track, a cache over 64 GiB, a folder that cannot be
/// written. Nothing is left half-written.
pub fn extract_cache(
    dataset: &Dataset,
    front_end: &FrontEnd,
    out: &Path,
    options: ExtractOptions,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<Extracted> {
    fs::create_dir_all(out).map_err(|e| io(out, "make the folder", &e))?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.jobs)
        .build()
        .map_err(|e| fault(out, ErrorKind::Overloaded, format!("cannot start workers: {e}")))?;
    // Maps of unknown lengths are spooled one after the other; the width of the array is
    // known only when the last has been read.
    let spool_path = out.join(".maps.spool");
    let _clean = RemoveOnDrop(spool_path.clone());
    let mut spool = BufWriter::new(
        File::create(&spool_path).map_err(|e| io(&spool_path, "write the file", &e))?,
    );
    let (channels, bands) = (front_end.channels(), front_end.bands());
    let (mut kept, mut columns, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    let batch = pool.current_num_threads() * BATCH;
    for start in (0..dataset.len()).step_by(batch) {
        let tracks = &dataset.tracks[start..(start + batch).min(dataset.len())];
        let maps: Vec<_> = pool.install(|| {
            tracks
                .par_iter()
                .map(|track| {
                    let map = match &track.source {
                        TrackSource::Audio(path) => {
                            audio::feature_map(path, front_end, options.middle_s)
                        }
                        _ => dataset.feature_map(track, front_end),
                    };
                    progress(&track.id);
                    map
                })
                .collect()
        });
        for (i, map) in maps.into_iter().enumerate() {
            match map {
                Ok(map) => {
                    spool
                        .write_all(&npy::encode(DType::F16, &map.data))
                        .map_err(|e| io(&spool_path, "write the file", &e))?;
                    kept.push(start + i);
                    columns.push(map.frames);
                }
                Err(error) => failed.push((tracks[i].id.clone(), error)),
            }
        }
    }
    spool.flush().map_err(|e| io(&spool_path, "write the file", &e))?;
    if kept.is_empty() {
        let reason = failed.first().map_or(String::new(), |(_, e)| format!("; the first: {e}"));
        return Err(fault(out, ErrorKind::TooShort, format!("no track could be read{reason}")));
    }
    let width = columns.iter().copied().max().unwrap_or(0);
    let bytes = (kept.len() * channels * bands * width * 2) as u64;
    if bytes > MAX_CACHE {
        return Err(fault(
            out,
            ErrorKind::OverLimit,
            format!(
                "the cache would take {bytes} bytes, over the limit of {MAX_CACHE}, as its longest track has {width} columns; take the middle of long tracks"
            ),
        ));
    }
    let shape: &[usize] = if channels == 1 {
        &[kept.len(), bands, width]
    } else {
        &[kept.len(), channels, bands, width]
    };
    let array = out.join("maps_f16.npy");
    let layout = Layout { channels, bands, width };
    write_whole(&array, |file| {
        file.write_all(&npy::header(DType::F16, shape))?;
        assemble(&spool_path, &columns, layout, file)
    })?;
    let list: String = kept
        .iter()
        .map(|&t| {
            let track = &dataset.tracks[t];
            let artist = track.artist.as_deref().unwrap_or("").replace(['\t', '\n'], " ");
            let line = format!("{}\t{}\t{artist}", track.id, dataset.genres[track.genre]);
            line.trim_end().to_string() + "\n"
        })
        .collect();
    write_whole(&out.join("maps_tracks.txt"), |file| file.write_all(list.as_bytes()))?;
    let recipe = CacheRecipe {
        version: 1,
        front_end: front_end.clone(),
        encoding: Encoding::Value,
        columns: if columns.iter().all(|&c| c == width) { Vec::new() } else { columns },
    };
    let text = serde_json::to_string_pretty(&recipe)
        .map_err(|e| fault(out, ErrorKind::Bug, e.to_string()))?;
    write_whole(&array.with_extension("json"), |file| file.write_all(text.as_bytes()))?;
    for (name, from) in
        [("splits", &dataset.companions.splits), ("annotations", &dataset.companions.annotations)]
    {
        if let Some(from) = from {
            copy_lists(from, &out.join(name))?;
        }
    }
    let ids = kept.iter().map(|&t| dataset.tracks[t].id.clone()).collect();
    Ok(Extracted { array, ids, failed })
}

#[derive(Clone, Copy)]
struct Layout {
    channels: usize,
    bands: usize,
    width: usize,
}

/// Turns spooled `[channel, time, band]` maps into padded `[channel, band, column]` rows.
fn assemble(
    spool: &Path,
    columns: &[usize],
    layout: Layout,
    out: &mut impl Write,
) -> std::io::Result<()> {
    let mut spool = BufReader::new(File::open(spool)?);
    let Layout { channels, bands, width } = layout;
    let mut row = vec![0u8; channels * bands * width * 2];
    for &frames in columns {
        let mut map = vec![0u8; channels * frames * bands * 2];
        spool.read_exact(&mut map)?;
        row.fill(0);
        for c in 0..channels {
            for t in 0..frames {
                for b in 0..bands {
                    let from = ((c * frames + t) * bands + b) * 2;
                    let to = ((c * bands + b) * width + t) * 2;
                    row[to..to + 2].copy_from_slice(&map[from..from + 2]);
                }
            }
        }
        out.write_all(&row)?;
    }
    Ok(())
}

fn copy_lists(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).map_err(|e| io(to, "make the folder", &e))?;
    for entry in fs::read_dir(from).map_err(|e| io(from, "list the folder", &e))?.flatten() {
        let path = entry.path();
        let list = path.extension().is_some_and(|e| e == "txt" || e == "csv");
        if list && path.is_file() {
            let copy = to.join(entry.file_name());
            fs::copy(&path, &copy).map_err(|e| io(&copy, "copy the list", &e))?;
        }
    }
    Ok(())
}

struct RemoveOnDrop(PathBuf);

impl Drop for RemoveOnDrop {
    fn drop(&mut self) {
        // A spool that is already gone is what is wanted.
        let _ = fs::remove_file(&self.0);
    }
}

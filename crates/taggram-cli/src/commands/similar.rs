//! `taggram similar`: the songs of a table or a folder that are nearest to one.

use std::collections::HashSet;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use taggram::{Decide, Excerpt, Listener, Model, Source};
use taggram_audio::{Limits, MonoSpec, MonoStream, ResamplingKind, read_mono};
use taggram_features::{FeatureSet, Resampling};

use crate::Outcome;
use crate::work::{in_order, processors, progress_bar};
use taggram_library::{self as files, Analyst, Listening, export, similar};

/// Rate of the features, Hz: that of the published table.
const RATE: u32 = 22_050;
/// Longest song compared, seconds.
const LONGEST_S: f64 = 3600.0;
/// Columns that name a row.
const NAMES: [&str; 5] = ["filename", "path", "file", "track", "id"];

#[derive(Debug, Args)]
pub struct Similar {
    /// Audio file
    pub file: PathBuf,
    /// Where to look: a table that `taggram features` wrote (.csv), or a folder of audio
    /// [default: the tracks of the index, by the embeddings of `taggram scan`]
    #[arg(long = "in", value_name = "TABLE|FOLDER")]
    pub within: Option<PathBuf>,
    #[command(flatten)]
    pub index: super::library::Where,
    /// Over the index: write a playlist instead of a list
    #[arg(long, conflicts_with = "within")]
    pub m3u: bool,
    /// What is compared
    #[arg(long, value_enum, default_value_t = By::Features, requires = "within")]
    pub by: By,
    /// How it is compared
    #[arg(long, value_enum, default_value_t = Distance::Euclidean)]
    pub distance: Distance,
    /// Songs to name
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub top: u32,
    /// With --by embedding: a network, by name or .safetensors file
    #[arg(long, value_name = "NAME|FILE", default_value = taggram::DEFAULT_NAME)]
    pub model: String,
    /// With --by embedding: its layer
    #[arg(long, value_name = "NAME", default_value = "embedding")]
    pub layer: String,
    /// Files to work on at once [default: one a processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// The 57 features of gtzan57
    Features,
    /// What a layer of a network says, the mean over the song (folders only)
    Embedding,
}

/// How two songs are compared, each column brought to mean 0 and deviation 1 over the songs looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Distance {
    /// Length of the difference
    Euclidean,
    /// 1 − Pearson's correlation: 0 for the same shape, 2 for the opposite
    Correlation,
}

/// A song and the numbers it is compared by.
struct Song {
    name: String,
    label: String,
    row: Vec<f64>,
}

pub fn run(arguments: &Similar) -> anyhow::Result<Outcome> {
    let Some(within) = &arguments.within else { return over_index(arguments) };
    let model = match arguments.by {
        By::Features => None,
        By::Embedding if !within.is_dir() => anyhow::bail!(
            "{}: embeddings are computed from audio; `--by embedding` needs a folder",
            within.display()
        ),
        By::Embedding => {
            Some(Model::layer_of(taggram::artifact(&arguments.model)?, &arguments.layer)?)
        }
    };
    let query = numbers(&arguments.file, model.as_ref()).map_err(anyhow::Error::msg)?;
    let (songs, failed) = if within.is_dir() {
        folder(arguments, within, model.as_ref())?
    } else {
        (table(within)?, 0)
    };
    if songs.is_empty() {
        anyhow::bail!("{}: there is no song to compare with", within.display());
    }
    let mut said = std::io::stdout();
    for (distance, song) in
        nearest(&query, &songs, arguments.distance).iter().take(arguments.top as usize)
    {
        let label = if song.label.is_empty() { String::new() } else { format!("  {}", song.label) };
        writeln!(said, "{distance:8.4}  {}{label}", song.name)?;
    }
    Ok(if failed == 0 { Outcome::Done } else { Outcome::SomeFailed })
}

/// The tracks of the index that are nearest to a file. A file that was scanned is not listened to again.
fn over_index(arguments: &Similar) -> anyhow::Result<Outcome> {
    let index = arguments.index.existing()?;
    let path = super::library::root(&arguments.file)?;
    let (model, embedding) = match similar::known(&index, &path)? {
        Some(track) => (track.model.to_string(), track.embedding),
        None => {
            let analyst = Analyst::new(&arguments.model, Listening::Spread)?;
            let answer = analyst.analyse(Source::Path(path.clone()))?;
            (analyst.model().name().to_string(), answer.embedding)
        }
    };
    if embedding.is_empty() {
        anyhow::bail!("{model} has no layer to compare songs by");
    }
    let top = arguments.top as usize;
    let near = similar::nearest(&index, None, &model, &embedding, Some(&path), top)?;
    let mut out = std::io::stdout().lock();
    if arguments.m3u {
        writeln!(out, "#EXTM3U")?;
        for n in &near {
            export::entry(&mut out, &n.path, &n.genre, n.length_s)?;
        }
    } else {
        for n in &near {
            writeln!(out, "{:8.4}  {}  {}", n.similarity, n.path.display(), n.genre)?;
        }
    }
    Ok(Outcome::Done)
}

/// What a song is compared by.
fn numbers(path: &Path, model: Option<&Model>) -> Result<Vec<f64>, String> {
    let mut limits = Limits::default();
    limits.max_seconds = LONGEST_S;
    let Some(model) = model else {
        let spec = MonoSpec { limits, ..MonoSpec::at(RATE) };
        let samples = read_mono(path, &spec).map_err(|e| e.to_string())?;
        return FeatureSet::Gtzan57
            .compute(&samples.data, RATE)
            .map_err(|e| format!("{}: {e}", path.display()));
    };
    let resampling = match model.front_end().resampling {
        Resampling::SoxrHq => ResamplingKind::SoxrHq,
        Resampling::KaiserBest => ResamplingKind::KaiserBest,
    };
    let rate = Some(model.sample_rate());
    let spec = MonoSpec { rate, resampling, excerpt: Excerpt::Full, limits };
    let mut stream = MonoStream::open(path, &spec).map_err(|e| e.to_string())?;
    let failed = |e: taggram::Error| format!("{}: {e}", path.display());
    let mut listener = Listener::new(model, false, 1).map_err(failed)?;
    while let Some(block) = stream.next_block().map_err(|e| e.to_string())? {
        listener.hear(block).map_err(failed)?;
    }
    let heard = listener.finish(Decide::Mean).map_err(failed)?.taggram;
    let width = heard.labels.len();
    let patches = heard.probabilities.len() / width.max(1);
    if patches == 0 {
        return Err(format!("{}: nothing was heard", path.display()));
    }
    let mean = |column: usize| {
        let values = heard.probabilities.iter().skip(column).step_by(width);
        values.map(|&v| f64::from(v)).sum::<f64>() / patches as f64
    };
    Ok((0..width).map(mean).collect())
}

/// The audio files of a folder, without the one asked about, and how many failed.
fn folder(
    arguments: &Similar,
    within: &PathBuf,
    model: Option<&Model>,
) -> anyhow::Result<(Vec<Song>, usize)> {
    let asked = arguments.file.canonicalize().ok();
    let mut found = files::find(std::slice::from_ref(within));
    found.retain(|f| !f.as_ref().is_ok_and(|p| p.canonicalize().ok() == asked));
    let jobs = arguments.jobs.map_or_else(processors, usize::from).min(found.len().max(1));
    let bar = progress_bar(found.len());
    let (mut songs, mut failed) = (Vec::new(), 0);
    in_order(
        &found,
        jobs,
        |found| match found {
            Err((path, why)) => Err(format!("{}: {why}", path.display())),
            Ok(path) => {
                let row = catch_unwind(AssertUnwindSafe(|| numbers(path, model))).unwrap_or_else(
                    |_| Err(format!("{}: a bug: its analysis panicked", path.display())),
                )?;
                Ok(Song { name: path.display().to_string(), label: String::new(), row })
            }
        },
        |song| {
            bar.inc(1);
            match song {
                Ok(song) => songs.push(song),
                Err(why) => {
                    failed += 1;
                    bar.suspend(|| eprintln!("taggram: {why}"));
                }
            }
            Ok(())
        },
    )?;
    bar.finish_and_clear();
    Ok((songs, failed))
}

/// The rows of a table with the columns of gtzan57; others are left alone.
fn table(path: &Path) -> anyhow::Result<Vec<Song>> {
    let mut reader = csv::Reader::from_path(path)
        .with_context(|| format!("{} cannot be opened", path.display()))?;
    let not_a_table = || format!("{} cannot be read as a table", path.display());
    let header = reader.headers().with_context(not_a_table)?.clone();
    let place = |name: &str| header.iter().position(|h| h.trim().eq_ignore_ascii_case(name));
    let name = NAMES.iter().find_map(|n| place(n)).with_context(|| {
        format!("{}, row 1: no column names the songs ({})", path.display(), NAMES.join(", "))
    })?;
    let label = place("label").or_else(|| place("genre"));
    let columns = FeatureSet::Gtzan57
        .columns()
        .into_iter()
        .map(|column| match place(&column) {
            Some(at) => Ok((at, column)),
            None => Err(anyhow::anyhow!(
                "{}, row 1, column `{column}`: it is missing, and songs are compared by it",
                path.display()
            )),
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let (mut songs, mut seen) = (Vec::new(), HashSet::new());
    for (i, record) in reader.records().enumerate() {
        let record = record.with_context(not_a_table)?;
        let line = i + 2;
        let mut row = Vec::with_capacity(columns.len());
        for (at, column) in &columns {
            let value = record[*at].trim().parse::<f64>().ok().filter(|v| v.is_finite());
            row.push(value.with_context(|| {
                format!(
                    "{}, row {line}, column `{column}`: `{}` is not a finite number",
                    path.display(),
                    record[*at].escape_debug()
                )
            })?);
        }
        if !seen.insert(record[name].to_string()) {
            anyhow::bail!("{}, row {line}: `{}` is listed twice", path.display(), &record[name]);
        }
        let label = label.map(|c| record[c].to_string()).unwrap_or_default();
        songs.push(Song { name: record[name].to_string(), label, row });
    }
    Ok(songs)
}

/// All songs, the nearest first; equals in their own order.
fn nearest<'s>(query: &[f64], songs: &'s [Song], distance: Distance) -> Vec<(f64, &'s Song)> {
    let n = songs.len() as f64;
    let scales: Vec<(f64, f64)> = (0..query.len())
        .map(|c| {
            let mean = songs.iter().map(|s| s.row[c]).sum::<f64>() / n;
            let variance = songs.iter().map(|s| (s.row[c] - mean).powi(2)).sum::<f64>() / n;
            // A column that is the same for all tells nothing about which is nearer.
            let deviation = variance.sqrt();
            let constant = deviation <= 1e-12 * mean.abs().max(f64::MIN_POSITIVE);
            (mean, if constant { 0.0 } else { 1.0 / deviation })
        })
        .collect();
    let scaled = |row: &[f64]| -> Vec<f64> {
        row.iter().zip(&scales).map(|(v, (mean, factor))| (v - mean) * factor).collect()
    };
    let query = scaled(query);
    let mut all: Vec<(f64, &Song)> = songs
        .iter()
        .map(|song| {
            let row = scaled(&song.row);
            let d = match distance {
                Distance::Euclidean => {
                    query.iter().zip(&row).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
                }
                Distance::Correlation => 1.0 - correlation(&query, &row),
            };
            (d, song)
        })
        .collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    all
}

/// Pearson's correlation; 0 when one of the two is constant.
fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len() as f64;
    let (ma, mb) = (a.iter().sum::<f64>() / n, b.iter().sum::<f64>() / n);
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(b) {
        ab += (x - ma) * (y - mb);
        aa += (x - ma).powi(2);
        bb += (y - mb).powi(2);
    }
    if aa > 0.0 && bb > 0.0 { ab / (aa * bb).sqrt() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_is_near_under_both_distances() {
        let song = |name: &str, row: &[f64]| Song {
            name: name.into(),
            label: String::new(),
            row: row.to_vec(),
        };
        let songs = [
            song("far", &[9.0, -4.0, 1.0, 100.0]),
            song("near", &[1.0, 2.1, 3.0, 100.0]),
            song("between", &[3.0, 0.0, 2.0, 100.0]),
        ];
        for distance in [Distance::Euclidean, Distance::Correlation] {
            let order: Vec<&str> = nearest(&[1.0, 2.0, 3.0, 7.0], &songs, distance)
                .iter()
                .map(|s| s.1.name.as_str())
                .collect();
            assert_eq!(order[0], "near", "{distance:?}");
        }
        assert!((correlation(&[1.0, 2.0, 3.0], &[-2.0, -4.0, -6.0]) + 1.0).abs() < 1e-12);
        assert_eq!(correlation(&[1.0, 1.0], &[2.0, 3.0]), 0.0);
    }
}

//! `taggram features`: audio in, a table of descriptors out.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use taggram_audio::{Limits, MonoSpec, MonoStream};
use taggram_features::FeatureSet;
use taggram_features::descriptors::HOP;
use taggram_train::files::write_whole;
use taggram_train::npy::{self, DType};

use crate::Outcome;
use crate::work::{in_order, processors, progress_bar};
use taggram_library as files;
use taggram_library::parquet::{self, Column, Values};

/// Genres of GTZAN: a folder of such a name tells the genre of what is in it.
const GENRES: [&str; 10] =
    ["blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock"];
/// Longest clip described as a whole, seconds: its spectra are all in memory.
const LONGEST_S: f64 = 3600.0;

#[derive(Debug, Args)]
pub struct Features {
    /// Audio files, and folders to search for them
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Table to write; the ending tells the form: .csv, .npy or .parquet
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// What a row is
    #[arg(long, value_enum, default_value_t = Per::Clip)]
    pub per: Per,
    /// Length of a segment; a shorter rest is left out
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0, value_parser = seconds)]
    pub segment: f64,
    /// Which descriptors: gtzan57, system3 or all
    #[arg(long, value_name = "SET", default_value = "gtzan57", value_parser = set)]
    pub set: FeatureSet,
    /// Sample rate that every file is brought to, Hz
    #[arg(long, value_name = "HZ", default_value_t = 22_050, value_parser = clap::value_parser!(u32).range(1000..=768_000))]
    pub rate: u32,
    /// Files to work on at once [default: one a processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
}

/// What a row of the table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Per {
    /// A file
    Clip,
    /// A piece of a file, one after the other
    Segment,
    /// 2,048 samples, every 512
    Frame,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(s) if s.is_finite() && (0.05..=LONGEST_S).contains(&s) => Ok(s),
        _ => Err(format!("not a number of seconds from 0.05 to {LONGEST_S}")),
    }
}

fn set(text: &str) -> Result<FeatureSet, String> {
    FeatureSet::from_name(text).ok_or_else(|| "known sets are gtzan57, system3 and all".into())
}

/// A row under way to a table.
struct Row {
    name: String,
    /// What tells where the row is from (length, or frame and time), then the descriptors.
    numbers: Vec<f64>,
    label: String,
}

/// A file, how the table calls it, and its genre if known.
struct Item {
    path: PathBuf,
    name: String,
    label: String,
}

pub fn run(arguments: &Features) -> anyhow::Result<Outcome> {
    let form = Form::of(&arguments.out)?;
    let (items, mut failed) = items(&arguments.paths)?;
    let jobs = arguments.jobs.map_or_else(processors, usize::from).min(items.len());
    let columns = columns(arguments);
    let (total, bar) = (items.len() + failed, progress_bar(items.len()));
    let mut rows = 0usize;
    let mut nothing = false;
    let written = write_whole(&arguments.out, |file| {
        let mut table = Table::new(file, form, &columns)?;
        in_order(
            &items,
            jobs,
            |item| {
                let rows = catch_unwind(AssertUnwindSafe(|| describe(item, arguments)));
                (item, rows.unwrap_or_else(|_| Err("a bug: its analysis panicked".into())))
            },
            |(item, described)| {
                bar.inc(1);
                let say = |what: &str| {
                    bar.suspend(|| eprintln!("taggram: {}: {what}", item.path.display()));
                };
                match described {
                    Ok((described, warnings)) => {
                        warnings.iter().for_each(|w| say(w));
                        rows += described.len();
                        described.into_iter().try_for_each(|row| table.push(row))
                    }
                    Err(why) => {
                        failed += 1;
                        say(&why);
                        Ok(())
                    }
                }
            },
        )?;
        nothing = rows == 0;
        if nothing {
            return Err(io::Error::other("none of the files could be described"));
        }
        table.finish(&arguments.out, arguments.per)
    });
    bar.finish_and_clear();
    if failed > 0 && total > 1 {
        eprintln!("taggram: {failed} of {total} failed");
    }
    if nothing {
        eprintln!("taggram: {} was not written: there are no rows", arguments.out.display());
        return Ok(Outcome::SomeFailed);
    }
    written?;
    eprintln!("{rows} rows of {} columns", columns.len() - lead(arguments.per));
    println!("{}", arguments.out.display());
    Ok(if failed == 0 { Outcome::Done } else { Outcome::SomeFailed })
}

/// The files with names that no two share, and how many paths failed (each is told of).
fn items(paths: &[PathBuf]) -> anyhow::Result<(Vec<Item>, usize)> {
    let (mut items, mut failed) = (Vec::new(), 0);
    for typed in paths {
        for found in files::find(std::slice::from_ref(typed)) {
            match found {
                Ok(path) => {
                    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    let label = label(typed, &path);
                    items.push(Item { path, name, label });
                }
                Err((path, why)) => {
                    failed += 1;
                    eprintln!("taggram: {}: {why}", path.display());
                }
            }
        }
    }
    if items.is_empty() && failed == 0 {
        anyhow::bail!("there is no audio file in {}", files::display(paths));
    }
    let mut count: HashMap<String, usize> = HashMap::new();
    items.iter().for_each(|item| *count.entry(item.name.clone()).or_default() += 1);
    let mut seen = HashMap::new();
    for item in &mut items {
        if count[&item.name] > 1 {
            item.name = item.path.to_string_lossy().into_owned();
        }
        if let Some(before) = seen.insert(item.name.clone(), ()).map(|()| &item.name) {
            anyhow::bail!("{before} was given twice; a table has a row for each file");
        }
    }
    Ok((items, failed))
}

/// The folder a file is in, if that is a genre: one of GTZAN's, or any below the folder that was typed.
fn label(typed: &Path, path: &Path) -> String {
    let parent = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    let below = path.strip_prefix(typed).is_ok_and(|rest| rest.components().count() > 1);
    if below || GENRES.contains(&parent.as_ref()) { parent.into_owned() } else { String::new() }
}

/// Number of columns that are no descriptors.
fn lead(per: Per) -> usize {
    if per == Per::Frame { 2 } else { 1 }
}

/// Names of the numbers of a row, in order.
fn columns(arguments: &Features) -> Vec<String> {
    if arguments.per != Per::Frame {
        return std::iter::once("length".to_string()).chain(arguments.set.columns()).collect();
    }
    // Those of any clip: which series there are is a matter of the set alone.
    let one = vec![0.0; 16 * HOP];
    let series = arguments.set.frames(&one, 22_050).unwrap_or_default();
    let names = series.into_iter().map(|s| s.name);
    ["frame".to_string(), "time_s".to_string()].into_iter().chain(names).collect()
}

type Described = (Vec<Row>, Vec<String>);

fn describe(item: &Item, how: &Features) -> Result<Described, String> {
    let mut limits = Limits::default();
    if how.per != Per::Segment {
        limits.max_seconds = LONGEST_S;
    }
    let spec = MonoSpec { limits, ..MonoSpec::at(how.rate) };
    let place = format!("{}: ", item.path.display());
    let audio = |e: taggram_audio::AudioError| {
        let text = e.to_string();
        text.strip_prefix(&place).map(String::from).unwrap_or(text)
    };
    let mut stream = MonoStream::open(&item.path, &spec).map_err(audio)?;
    let length = (how.segment * f64::from(how.rate)).round() as usize;
    let (mut samples, mut rows) = (Vec::new(), Vec::new());
    while let Some(block) = stream.next_block().map_err(audio)? {
        samples.extend_from_slice(block);
        while how.per == Per::Segment && samples.len() >= length {
            let name = segment_name(&item.name, rows.len());
            rows.push(row(name, item, &samples[..length], how)?);
            samples.drain(..length);
        }
    }
    match how.per {
        Per::Segment if rows.is_empty() => {
            let seconds = samples.len() as f64 / f64::from(how.rate);
            return Err(format!(
                "{seconds:.2} s are shorter than one segment of {} s",
                how.segment
            ));
        }
        Per::Segment => {}
        Per::Clip => rows.push(row(item.name.clone(), item, &samples, how)?),
        Per::Frame => rows = frames(item, &samples, how)?,
    }
    Ok((rows, stream.warnings().map(String::from).collect()))
}

fn row(name: String, item: &Item, samples: &[f32], how: &Features) -> Result<Row, String> {
    let mut numbers = vec![samples.len() as f64];
    numbers.extend(how.set.compute(samples, how.rate).map_err(|e| e.to_string())?);
    Ok(Row { name, numbers, label: item.label.clone() })
}

fn frames(item: &Item, samples: &[f32], how: &Features) -> Result<Vec<Row>, String> {
    let series = how.set.frames(samples, how.rate).map_err(|e| e.to_string())?;
    let count = series.iter().map(|s| s.values.len()).min().unwrap_or(0);
    let at = |i: usize| {
        let time_s = (i * HOP) as f64 / f64::from(how.rate);
        let values = series.iter().map(|s| f64::from(s.values[i]));
        let numbers = [i as f64, time_s].into_iter().chain(values).collect();
        Row { name: item.name.clone(), numbers, label: item.label.clone() }
    };
    Ok((0..count).map(at).collect())
}

/// `blues.00000.wav` → `blues.00000.3.wav`, as the published table of segments has it.
fn segment_name(name: &str, index: usize) -> String {
    match name.rsplit_once('.') {
        Some((stem, ending)) if !stem.is_empty() && !ending.contains('/') => {
            format!("{stem}.{index}.{ending}")
        }
        _ => format!("{name}.{index}"),
    }
}

/// Form of a table.
#[derive(Clone, Copy)]
enum Form {
    Csv,
    Npy,
    Parquet,
}

impl Form {
    fn of(path: &Path) -> anyhow::Result<Self> {
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        Ok(match ending.as_str() {
            "csv" => Self::Csv,
            "npy" => Self::Npy,
            "parquet" => Self::Parquet,
            _ => anyhow::bail!(
                "{}: the form of the table is told by its ending, which must be .csv, .npy or .parquet",
                path.display()
            ),
        })
    }
}

/// A table being written: CSV as the rows come, the others (whose heads tell sizes) at the end.
enum Table<'f> {
    Csv(Box<csv::Writer<&'f mut BufWriter<File>>>),
    Whole { file: &'f mut BufWriter<File>, form: Form, columns: Vec<String>, rows: Vec<Row> },
}

impl<'f> Table<'f> {
    fn new(file: &'f mut BufWriter<File>, form: Form, columns: &[String]) -> io::Result<Self> {
        if !matches!(form, Form::Csv) {
            return Ok(Self::Whole { file, form, columns: columns.to_vec(), rows: Vec::new() });
        }
        let mut writer = csv::Writer::from_writer(file);
        let names = columns.iter().map(String::as_str);
        writer.write_record(std::iter::once("filename").chain(names).chain(["label"]))?;
        Ok(Self::Csv(Box::new(writer)))
    }

    fn push(&mut self, row: Row) -> io::Result<()> {
        match self {
            Self::Csv(writer) => {
                writer.write_field(&row.name)?;
                for number in &row.numbers {
                    writer.write_field(number.to_string())?;
                }
                writer.write_field(&row.label)?;
                Ok(writer.write_record(None::<&[u8]>)?)
            }
            Self::Whole { rows, .. } => {
                rows.push(row);
                Ok(())
            }
        }
    }

    fn finish(self, out: &Path, per: Per) -> io::Result<()> {
        match self {
            Self::Csv(mut writer) => writer.flush(),
            Self::Whole { file, form: Form::Parquet, columns, rows } => {
                let mut table = Vec::with_capacity(columns.len() + 2);
                let names = rows.iter().map(|r| r.name.clone()).collect();
                table.push(Column { name: "filename".into(), values: Values::Text(names) });
                for (c, name) in columns.into_iter().enumerate() {
                    let values = Values::Number(rows.iter().map(|r| r.numbers[c]).collect());
                    table.push(Column { name, values });
                }
                let labels = rows.into_iter().map(|r| r.label).collect();
                table.push(Column { name: "label".into(), values: Values::Text(labels) });
                parquet::write(file, &table)
            }
            Self::Whole { file, columns, rows, .. } => array(file, out, per, &columns, &rows),
        }
    }
}

/// An array of the descriptors alone, `[row, column]`, with the names of its columns and the list of
/// its rows beside it, which makes it a dataset.
fn array(
    file: &mut BufWriter<File>,
    out: &Path,
    per: Per,
    columns: &[String],
    rows: &[Row],
) -> io::Result<()> {
    let lead = lead(per);
    let values: Vec<f32> =
        rows.iter().flat_map(|r| r.numbers[lead..].iter().map(|&v| v as f32)).collect();
    npy::write(file, DType::F32, &[rows.len(), columns.len() - lead], &values)?;
    let stem = out.file_stem().unwrap_or_default().to_string_lossy();
    let beside = |what: &str| out.with_file_name(format!("{stem}_{what}.txt"));
    let list = beside(if per == Per::Frame { "rows" } else { "tracks" });
    let whole = |path: &Path, lines: Vec<String>| {
        write_whole(path, |f| lines.iter().try_for_each(|line| writeln!(f, "{line}")))
            .map_err(io::Error::other)
    };
    whole(&beside("columns"), columns[lead..].to_vec())?;
    let line = |row: &Row| match (id(row), row.label.as_str()) {
        (id, "") => id.to_string(),
        (id, _) if per == Per::Frame => id.to_string(),
        (id, label) => format!("{id}\t{label}"),
    };
    whole(&list, rows.iter().map(line).collect())
}

/// `blues.00000.wav` → `blues.00000`: files named as in GTZAN are known by that in lists of splits.
fn id(row: &Row) -> &str {
    let stem = row.name.rsplit_once('.').map_or(row.name.as_str(), |(stem, _)| stem);
    let number = stem.strip_prefix(row.label.as_str()).and_then(|rest| rest.strip_prefix('.'));
    let digits = number.is_some_and(|n| n.chars().all(|c| c.is_ascii_digit() || c == '.'));
    if digits && !row.label.is_empty() { stem } else { &row.name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn genres_are_folders() {
        let label = |typed: &str, path: &str| label(typed.as_ref(), path.as_ref());
        assert_eq!(label("data", "data/samba/a.wav"), "samba");
        assert_eq!(label("data/samba", "data/samba/a.wav"), "");
        assert_eq!(label("data/blues", "data/blues/a.wav"), "blues");
        assert_eq!(label("a.wav", "a.wav"), "");
    }

    #[test]
    fn segments_are_named_as_in_the_published_table() {
        assert_eq!(segment_name("blues.00000.wav", 3), "blues.00000.3.wav");
        assert_eq!(segment_name("song", 0), "song.0");
        assert_eq!(segment_name("a.b/song", 0), "a.b/song.0");
    }
}

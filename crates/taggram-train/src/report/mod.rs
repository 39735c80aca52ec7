//! A report: what a model is worth, under which protocol, and how that was measured.
//!
//! [`write()`] makes a folder with
//! - `report.html`: everything for a person, in one file without links;
//! - `metrics.json`: every figure, for programs ([`ReportFile`]);
//! - `predictions.csv`: what was said about each song, from which all figures can be recomputed;
//! - `confusion.png`, `.svg` and `.csv` for the first protocol, `confusion-NAME.…` for the others.

mod charts;
mod compare;
mod html;

use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::dataset::error::{ErrorKind, Result, TrainError, fault, io, malformed};
use crate::evaluate::{Evaluation, Failure, SongPrediction};
use crate::files::write_whole;
use crate::metrics::Metrics;

pub use compare::{Comparison, ComparisonRow, PairTest, ProtocolComparison, compare};

/// Largest file of a report that is read back, bytes.
const MAX_FILE: u64 = 256 << 20;

/// What a reader needs in order to get the same figures again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReportInfo {
    /// The command that made the report.
    pub command: String,
    /// Hash of the model file.
    pub model_hash: String,
    /// The dataset, as it was named in the command.
    pub dataset: String,
    /// Whatever else a reader should know, a sentence each.
    pub notes: Vec<String>,
}

/// The content of `metrics.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReportFile {
    /// Version of this layout: 1.
    pub version: u32,
    /// Name of the model.
    pub model: String,
    /// How the figures were made.
    #[serde(flatten)]
    pub info: ReportInfo,
    /// The genres.
    pub genres: Vec<String>,
    /// One entry a protocol; the first is the headline.
    pub protocols: Vec<ProtocolFigures>,
}

/// One protocol of a report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProtocolFigures {
    /// Its name.
    pub protocol: String,
    /// Songs that could not be classified and are in no figure.
    pub failed: Vec<Failure>,
    /// Songs of the protocol that the dataset does not have.
    pub absent: Vec<String>,
    /// The figures.
    pub metrics: Metrics,
}

/// Writes a report of one model under one or more protocols, the headline first.
///
/// # Errors
/// No evaluation, evaluations of different models or genres, a folder that cannot be written.
pub fn write(out: &Path, info: &ReportInfo, evaluations: &[Evaluation]) -> Result<()> {
    let Some(first) = evaluations.first() else {
        return Err(fault(
            out,
            ErrorKind::TooShort,
            "there is nothing to report: no protocol was evaluated",
        ));
    };
    if let Some(other) =
        evaluations.iter().find(|e| e.model != first.model || e.genres != first.genres)
    {
        return Err(fault(
            out,
            ErrorKind::Unsupported,
            format!(
                "a report is about one model; these are of `{}` and `{}`, or of different genres",
                first.model, other.model
            ),
        ));
    }
    std::fs::create_dir_all(out).map_err(|e| io(out, "make the folder", &e))?;
    let file = ReportFile {
        version: 1,
        model: first.model.clone(),
        info: info.clone(),
        genres: first.genres.clone(),
        protocols: evaluations
            .iter()
            .map(|e| ProtocolFigures {
                protocol: e.protocol.clone(),
                failed: e.failed.clone(),
                absent: e.absent.clone(),
                metrics: e.metrics.clone(),
            })
            .collect(),
    };
    let json = serde_json::to_string_pretty(&file)
        .map_err(|e| fault(out, ErrorKind::Bug, e.to_string()))?;
    write_whole(&out.join("metrics.json"), |f| writeln!(f, "{json}"))?;
    let csv =
        predictions_csv(evaluations).map_err(|e| fault(out, ErrorKind::Bug, e.to_string()))?;
    write_whole(&out.join("predictions.csv"), |f| f.write_all(&csv))?;
    for (i, evaluation) in evaluations.iter().enumerate() {
        let stem = match i {
            0 => "confusion".to_string(),
            _ => format!("confusion-{}", slug(&evaluation.protocol)),
        };
        let chart = charts::confusion(evaluation, taggram_plot::Theme::Light)?;
        let png = chart.png(2.0).map_err(|e| charts::picture(&e))?;
        write_whole(&out.join(format!("{stem}.svg")), |f| f.write_all(chart.svg().as_bytes()))?;
        write_whole(&out.join(format!("{stem}.png")), |f| f.write_all(&png))?;
        let csv =
            confusion_csv(evaluation).map_err(|e| fault(out, ErrorKind::Bug, e.to_string()))?;
        write_whole(&out.join(format!("{stem}.csv")), |f| f.write_all(&csv))?;
    }
    let page = html::report(info, evaluations)?;
    write_whole(&out.join("report.html"), |f| f.write_all(page.as_bytes()))
}

/// A name that is safe as a part of a file name.
fn slug(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .collect()
}

/// One row a song: the protocols it is tested in, what it is, what was said.
fn predictions_csv(evaluations: &[Evaluation]) -> std::result::Result<Vec<u8>, csv::Error> {
    let genres = &evaluations[0].genres;
    let mut rows: Vec<(&SongPrediction, Vec<&str>)> = Vec::new();
    let mut row_of = std::collections::HashMap::new();
    for evaluation in evaluations {
        for prediction in &evaluation.predictions {
            let row = *row_of.entry(prediction.id.as_str()).or_insert_with(|| {
                rows.push((prediction, Vec::new()));
                rows.len() - 1
            });
            rows[row].1.push(&evaluation.protocol);
        }
    }
    let mut writer = csv::Writer::from_writer(Vec::new());
    let fixed = ["track", "artist", "genre", "predicted", "correct", "confidence", "protocols"];
    writer.write_record(
        fixed.iter().map(ToString::to_string).chain(genres.iter().map(|g| format!("p_{g}"))),
    )?;
    for (p, protocols) in rows {
        let best = p.predicted();
        let mut record = vec![
            p.id.clone(),
            p.artist.clone().unwrap_or_default(),
            genres[p.label].clone(),
            genres[best].clone(),
            u8::from(p.correct()).to_string(),
            p.probabilities[best].to_string(),
            protocols.join(";"),
        ];
        record.extend(p.probabilities.iter().map(f64::to_string));
        writer.write_record(record)?;
    }
    writer.into_inner().map_err(|e| e.into_error().into())
}

fn confusion_csv(evaluation: &Evaluation) -> std::result::Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let head = std::iter::once("truth").chain(evaluation.genres.iter().map(String::as_str));
    writer.write_record(head)?;
    for (genre, counts) in evaluation.genres.iter().zip(&evaluation.metrics.confusion.counts) {
        writer.write_record(
            std::iter::once(genre.clone()).chain(counts.iter().map(u64::to_string)),
        )?;
    }
    writer.into_inner().map_err(|e| e.into_error().into())
}

/// Reads a report back: its figures, and what was said about each song under each
/// protocol, in the order of [`ReportFile::protocols`].
///
/// # Errors
/// A folder without a report, or files that contradict each other.
pub fn read(folder: &Path) -> Result<(ReportFile, Vec<Evaluation>)> {
    let path = folder.join("metrics.json");
    let file: ReportFile = serde_json::from_str(&bounded(&path)?)
        .map_err(|e| malformed(&path, format!("it is no report: {e}")))?;
    if file.version != 1 {
        return Err(fault(
            &path,
            ErrorKind::Unsupported,
            format!("version {} of reports is not known; 1 is", file.version),
        ));
    }
    let path = folder.join("predictions.csv");
    let text = bounded(&path)?;
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let mut songs: Vec<Vec<SongPrediction>> = vec![Vec::new(); file.protocols.len()];
    for (i, record) in reader.records().enumerate() {
        let record = record.map_err(|e| malformed(&path, e.to_string()).at_row(i as u64 + 2))?;
        let (prediction, protocols) = prediction(&record, &file.genres)
            .map_err(|message| malformed(&path, message).at_row(i as u64 + 2))?;
        for name in protocols.split(';') {
            let place =
                file.protocols.iter().position(|p| p.protocol == name).ok_or_else(|| {
                    malformed(&path, format!("`{name}` is not a protocol of metrics.json"))
                        .at_row(i as u64 + 2)
                })?;
            songs[place].push(prediction.clone());
        }
    }
    let evaluations = file
        .protocols
        .iter()
        .zip(songs)
        .map(|(p, predictions)| Evaluation {
            protocol: p.protocol.clone(),
            model: file.model.clone(),
            genres: file.genres.clone(),
            predictions,
            failed: p.failed.clone(),
            absent: p.absent.clone(),
            metrics: p.metrics.clone(),
        })
        .collect();
    Ok((file, evaluations))
}

fn prediction<'a>(
    record: &'a csv::StringRecord,
    genres: &[String],
) -> std::result::Result<(SongPrediction, &'a str), String> {
    let fields = 7 + genres.len();
    if record.len() != fields {
        return Err(format!(
            "it has {} fields; {fields} are needed for {} genres",
            record.len(),
            genres.len()
        ));
    }
    let label = genres
        .iter()
        .position(|g| *g == record[2])
        .ok_or_else(|| format!("`{}` is not a genre of metrics.json", &record[2]))?;
    let probabilities = (7..fields)
        .map(|i| record[i].parse::<f64>().ok().filter(|v| v.is_finite()))
        .collect::<Option<Vec<f64>>>()
        .ok_or("a probability is not a finite number")?;
    let artist = Some(record[1].to_string()).filter(|a| !a.is_empty());
    Ok((SongPrediction { id: record[0].to_string(), label, artist, probabilities }, &record[6]))
}

fn bounded(path: &Path) -> Result<String> {
    let size = std::fs::metadata(path).map_err(|e| io(path, "open the report", &e))?.len();
    if size > MAX_FILE {
        return Err(fault(
            path,
            ErrorKind::OverLimit,
            format!("{size} bytes are over the limit of {MAX_FILE}"),
        ));
    }
    std::fs::read_to_string(path).map_err(|e| io(path, "read the report", &e))
}

impl From<taggram_plot::PlotError> for TrainError {
    fn from(error: taggram_plot::PlotError) -> Self {
        charts::picture(&error)
    }
}

#[cfg(test)]
mod tests;

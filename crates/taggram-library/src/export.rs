//! The index as a table or a playlist for other programs.

use std::io::{self, Write};
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::parquet::{self, Column, Values};
use crate::{ErrorKind, Index, LibraryError, Track};

/// Form of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A table (RFC 4180), a column a genre.
    Csv,
    /// One JSON object a line.
    Json,
    /// A table for data tools, with embeddings (half floats, little-endian).
    Parquet,
    /// A playlist (extended M3U, UTF-8).
    M3u,
}

/// Which tracks.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Only tracks of this genre.
    pub genre: Option<String>,
    /// Only tracks at least this sure, 0…1.
    pub confidence: f32,
}

impl Selection {
    /// Whether it takes a track.
    pub fn takes(&self, track: &Track) -> bool {
        track.confidence >= self.confidence
            && self.genre.as_deref().is_none_or(|genre| genre == track.genre_name())
    }
}

/// Writes the selected tracks at or below `root` (everywhere without one), in the order of their paths. Gives
/// how many. Only Parquet is held in memory on the way.
///
/// # Errors
/// When the index cannot be read or the sink refuses.
pub fn export(
    index: &Index,
    root: Option<&Path>,
    selection: &Selection,
    form: Form,
    sink: &mut impl Write,
) -> Result<usize, LibraryError> {
    let mut count = 0;
    if form == Form::Parquet {
        let mut table = Table::default();
        index.tracks::<LibraryError>(root, true, |track| {
            if selection.takes(&track) {
                table.push(&track.path.to_string_lossy(), &track);
                count += 1;
            }
            Ok(())
        })?;
        parquet::write(sink, &table.columns()).map_err(sink_failed)?;
        return Ok(count);
    }
    let mut labels: Option<Vec<String>> = None;
    if form == Form::M3u {
        writeln!(sink, "#EXTM3U").map_err(sink_failed)?;
    }
    index.tracks::<LibraryError>(root, false, |track| {
        if !selection.takes(&track) {
            return Ok(());
        }
        count += 1;
        let written = match form {
            Form::Csv => csv_row(sink, &track, &mut labels),
            Form::M3u => entry(sink, &track.path, track.genre_name(), track.length_s),
            _ => writeln!(sink, "{}", object(&track)),
        };
        written.map_err(sink_failed)
    })?;
    Ok(count)
}

/// One entry of a playlist.
///
/// # Errors
/// What the sink reports.
pub fn entry(
    sink: &mut impl Write,
    path: &Path,
    genre: &str,
    length_s: Option<f64>,
) -> io::Result<()> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let seconds = length_s.map_or(-1, |s| s.round() as i64);
    // A line break in a name would begin another entry.
    let clean = |text: &str| text.replace(['\r', '\n'], " ");
    writeln!(sink, "#EXTINF:{seconds},{}\n#EXTGENRE:{}", clean(&name), clean(genre))?;
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        sink.write_all(path.as_os_str().as_bytes())?;
    }
    #[cfg(not(unix))]
    sink.write_all(path.to_string_lossy().as_bytes())?;
    sink.write_all(b"\n")
}

fn object(track: &Track) -> Value {
    let scores: Map<String, Value> =
        track.ranked().into_iter().map(|(genre, p)| (genre.to_string(), json!(p))).collect();
    json!({
        "path": track.path.to_string_lossy(),
        "genre": track.genre_name(),
        "confidence": track.confidence,
        "scores": scores,
        "length_s": track.length_s,
        "windows": track.windows,
        "model": &*track.model,
        "tag_genre": track.tag_genre,
        "year": track.year,
        "warnings": track.warnings,
    })
}

/// The columns of genres are those of the first track; a model with others would need another table.
fn csv_row(
    sink: &mut impl Write,
    track: &Track,
    labels: &mut Option<Vec<String>>,
) -> io::Result<()> {
    let first = labels.is_none();
    let labels = labels.get_or_insert_with(|| track.labels.to_vec());
    if first {
        let genres: Vec<String> = labels.iter().map(|l| cell(l)).collect();
        writeln!(
            sink,
            "path,genre,confidence,{},length_s,windows,model,tag_genre,year,warnings",
            genres.join(",")
        )?;
    }
    let mut cells = vec![
        cell(&track.path.to_string_lossy()),
        cell(track.genre_name()),
        track.confidence.to_string(),
    ];
    for label in labels.iter() {
        let at = track.labels.iter().position(|l| l == label);
        let value = at.and_then(|at| track.probabilities.get(at));
        cells.push(value.map(|p| p.to_string()).unwrap_or_default());
    }
    cells.extend([
        track.length_s.map(|s| format!("{s:.3}")).unwrap_or_default(),
        track.windows.to_string(),
        cell(&track.model),
        cell(track.tag_genre.as_deref().unwrap_or_default()),
        track.year.map(|y| y.to_string()).unwrap_or_default(),
        cell(&track.warnings.join("; ")),
    ]);
    writeln!(sink, "{}", cells.join(","))
}

/// A cell of a CSV table (RFC 4180): quoted where it must be.
pub fn cell(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_string()
    }
}

fn sink_failed(error: io::Error) -> LibraryError {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull => ErrorKind::Full,
        _ => ErrorKind::Unreadable,
    };
    LibraryError::new(kind, format!("writing the export failed: {error}"))
}

/// Answers as columns: what every Parquet file of answers looks like, here and from the workers.
#[derive(Default)]
pub struct Table {
    path: Vec<String>,
    genre: Vec<String>,
    confidence: Vec<f32>,
    probabilities: Vec<Vec<u8>>,
    embedding: Vec<Vec<u8>>,
    length_s: Vec<f64>,
    windows: Vec<f64>,
    model: Vec<String>,
    labels: Vec<String>,
}

impl Table {
    /// Adds a track under a name.
    pub fn push(&mut self, name: &str, track: &Track) {
        self.path.push(name.to_string());
        self.genre.push(track.genre_name().to_string());
        self.confidence.push(track.confidence);
        let floats = track.probabilities.iter().flat_map(|p| p.to_le_bytes());
        self.probabilities.push(floats.collect());
        self.embedding.push(track.embedding.iter().flat_map(|x| x.to_le_bytes()).collect());
        // Every value is present in this form of Parquet: an unknown length is not a number.
        self.length_s.push(track.length_s.unwrap_or(f64::NAN));
        self.windows.push(track.windows as f64);
        self.model.push(track.model.to_string());
        self.labels.push(track.labels.join(","));
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.path.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.path.is_empty()
    }

    /// The columns: `path`, `genre`, `confidence` (0…1), `probabilities` (32-bit floats in the order of
    /// `labels`), `embedding` (16-bit floats), `length_s` (not a number where unknown), `windows`,
    /// `model`, `labels` (joined by commas).
    pub fn columns(self) -> Vec<Column> {
        let column = |name: &str, values| Column { name: name.to_string(), values };
        vec![
            column("path", Values::Text(self.path)),
            column("genre", Values::Text(self.genre)),
            column("confidence", Values::Float(self.confidence)),
            column("probabilities", Values::Bytes(self.probabilities)),
            column("embedding", Values::Bytes(self.embedding)),
            column("length_s", Values::Number(self.length_s)),
            column("windows", Values::Number(self.windows)),
            column("model", Values::Text(self.model)),
            column("labels", Values::Text(self.labels)),
        ]
    }
}

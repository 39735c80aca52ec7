//! Tables: CSV or TSV with a header, checked so that every complaint names row and column.

use std::path::Path;

use super::error::{ErrorKind, Result, fault, io, malformed};

/// Largest table that is read, bytes.
const MAX_TABLE: u64 = 2 << 30;
/// Columns that say what a row is, never features. Matched without regard to case.
const DESCRIPTIVE: [&str; 15] = [
    "path",
    "file",
    "filename",
    "id",
    "track",
    "song",
    "label",
    "genre",
    "artist",
    "title",
    "length",
    "segment",
    "start_s",
    "end_s",
    "sample_rate",
];

/// Rows of text under a header.
#[derive(Debug)]
pub(super) struct Table {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

/// A table of numbers, `[row, column]`.
#[derive(Debug)]
pub(super) struct FeatureTable {
    pub columns: Vec<String>,
    values: Vec<f64>,
}

impl FeatureTable {
    pub(super) fn new(columns: Vec<String>, values: Vec<f64>) -> Self {
        Self { columns, values }
    }

    pub(super) fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.columns.len()..][..self.columns.len()]
    }
}

impl Table {
    /// Reads a table; tabs separate when the header has a tab.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let size = std::fs::metadata(path).map_err(|e| io(path, "open the table", &e))?.len();
        if size > MAX_TABLE {
            return Err(fault(
                path,
                ErrorKind::OverLimit,
                format!("a table of {size} bytes is over the limit of {MAX_TABLE}"),
            ));
        }
        let bytes = std::fs::read(path).map_err(|e| io(path, "read the table", &e))?;
        let first = bytes.split(|&b| b == b'\n').next().unwrap_or_default();
        let delimiter = if first.contains(&b'\t') { b'\t' } else { b',' };
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .flexible(true)
            .trim(csv::Trim::All)
            .from_reader(bytes.as_slice());
        let not_text = |e: csv::Error| {
            let error = malformed(path, format!("it cannot be read as a table: {e}"));
            match e.position() {
                Some(position) => error.at_row(position.line()),
                None => error,
            }
        };
        let columns: Vec<String> = reader
            .headers()
            .map_err(not_text)?
            .iter()
            .map(|c| c.trim_start_matches('\u{feff}').to_string())
            .collect();
        if columns.iter().all(String::is_empty) {
            return Err(malformed(path, "the table is empty: it has no header"));
        }
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(not_text)?;
            if record.len() != columns.len() {
                let line = record.position().map_or(0, csv::Position::line);
                return Err(malformed(
                    path,
                    format!("it has {} fields; the header has {}", record.len(), columns.len()),
                )
                .at_row(line));
            }
            rows.push(record.iter().map(String::from).collect());
        }
        if rows.is_empty() {
            return Err(fault(path, ErrorKind::TooShort, "the table has a header but no rows"));
        }
        Ok(Self { columns, rows })
    }

    /// Position of the first column with one of the names.
    pub(super) fn column(&self, names: &[&str]) -> Option<usize> {
        names.iter().find_map(|n| self.columns.iter().position(|c| c.eq_ignore_ascii_case(n)))
    }

    /// As [`Self::column`], an error when there is none.
    pub(super) fn need(&self, path: &Path, names: &[&str]) -> Result<usize> {
        self.column(names).ok_or_else(|| {
            let found: Vec<&str> = self.columns.iter().take(8).map(String::as_str).collect();
            malformed(
                path,
                format!(
                    "the column is missing (also known as {}); the table begins with the columns {}",
                    names[1..].join(", "),
                    found.join(", ")
                ),
            )
            .at_row(1)
            .at_column(names[0])
        })
    }

    /// Line of the file that a row is on, if no field holds a line break.
    pub(super) fn line(row: usize) -> u64 {
        row as u64 + 2
    }

    /// The columns that hold features, unless the other columns are words (titles, albums): a
    /// table is one of features when most of its undescriptive columns start with a number.
    pub(super) fn feature_columns(&self) -> Vec<usize> {
        let columns: Vec<usize> = (0..self.columns.len())
            .filter(|&c| !DESCRIPTIVE.iter().any(|d| self.columns[c].eq_ignore_ascii_case(d)))
            .collect();
        let numeric = columns
            .iter()
            .filter(|&&c| self.rows[0][c].is_empty() || self.rows[0][c].parse::<f64>().is_ok())
            .count();
        if numeric * 2 > columns.len() { columns } else { Vec::new() }
    }

    /// The numbers of the given columns.
    pub(super) fn numbers(&self, path: &Path, columns: &[usize]) -> Result<FeatureTable> {
        let mut values = Vec::with_capacity(self.rows.len() * columns.len());
        for (r, row) in self.rows.iter().enumerate() {
            for &c in columns {
                let value =
                    row[c].parse::<f64>().ok().filter(|v| v.is_finite()).ok_or_else(|| {
                        malformed(
                            path,
                            format!("`{}` is not a finite number", row[c].escape_debug()),
                        )
                        .at_row(Self::line(r))
                        .at_column(&self.columns[c])
                    })?;
                values.push(value);
            }
        }
        let names = columns.iter().map(|&c| self.columns[c].clone()).collect();
        Ok(FeatureTable { columns: names, values })
    }

    /// Refuses a `sample_rate` column with more than one value: features of different rates
    /// cannot be compared.
    pub(super) fn one_rate(&self, path: &Path) -> Result<()> {
        let Some(c) = self.column(&["sample_rate"]) else { return Ok(()) };
        let first = &self.rows[0][c];
        match self.rows.iter().position(|row| row[c] != *first) {
            None => Ok(()),
            Some(r) => Err(malformed(
                path,
                format!(
                    "mixed rates: {} Hz here, {first} Hz in row 2; features must come from one rate",
                    self.rows[r][c]
                ),
            )
            .at_row(Self::line(r))
            .at_column(&self.columns[c])),
        }
    }
}

//! How answers are written: for people, as JSON lines, as a table.

use std::io::{self, Write};

use taggram::Record;

pub use taggram_library::export::cell;

use crate::args::Format;

/// Writes records in one form.
pub struct Printer<W: Write> {
    out: W,
    format: Format,
    labels: Vec<String>,
    /// Width of the column of paths in text.
    width: usize,
}

impl<W: Write> Printer<W> {
    /// A printer for songs whose genres are among `labels` and whose paths are mostly at most `width` wide.
    pub fn new(out: W, format: Format, labels: &[String], width: usize) -> io::Result<Self> {
        let mut printer = Self { out, format, labels: labels.to_vec(), width };
        if format == Format::Csv {
            let genres = printer.labels.iter().map(|l| cell(l)).collect::<Vec<_>>().join(",");
            writeln!(
                printer.out,
                "path,genre,confidence,{genres},duration_s,windows,model,elapsed_ms,warnings,error"
            )?;
        }
        Ok(printer)
    }

    /// Writes one record. In text only answers are written: errors are talk, and go to stderr.
    pub fn print(&mut self, record: &Record) -> io::Result<()> {
        match self.format {
            Format::Json => {
                serde_json::to_writer(&mut self.out, record)?;
                writeln!(self.out)?;
            }
            Format::Csv => self.row(record)?,
            Format::Text => self.line(record)?,
        }
        self.out.flush()
    }

    fn row(&mut self, r: &Record) -> io::Result<()> {
        let number = |x: Option<String>| x.unwrap_or_default();
        let mut cells = vec![
            cell(&r.path),
            cell(r.genre.as_deref().unwrap_or_default()),
            number(r.confidence.map(|x| x.to_string())),
        ];
        for label in &self.labels {
            let score = r.scores.iter().find(|(name, _)| name == label);
            cells.push(number(score.map(|s| s.1.to_string())));
        }
        cells.extend([
            number(r.duration_s.map(|x| x.to_string())),
            number(r.windows.map(|x| x.to_string())),
            cell(&r.model),
            r.elapsed_ms.to_string(),
            cell(&r.warnings.join("; ")),
            cell(r.error.as_deref().unwrap_or_default()),
        ]);
        writeln!(self.out, "{}", cells.join(","))
    }

    fn line(&mut self, r: &Record) -> io::Result<()> {
        if r.error.is_some() {
            return Ok(());
        }
        let scores: Vec<String> =
            r.scores.iter().map(|(g, p)| format!("{g} {:.0} %", 100.0 * p)).collect();
        let unknown = r.genre.as_deref() == Some(taggram::UNKNOWN);
        let said = if unknown { "unknown; nearest: " } else { "" };
        writeln!(self.out, "{:<width$}  {said}{}", r.path, scores.join(" · "), width = self.width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(format: Format, record: &Record) -> String {
        let mut out = Vec::new();
        let labels = ["blues".to_string(), "jazz".to_string()];
        let mut printer = Printer::new(&mut out, format, &labels, 0).unwrap();
        printer.print(record).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn record() -> Record {
        Record {
            path: "a, \"b\".wav".into(),
            genre: Some("jazz".into()),
            confidence: Some(0.75),
            scores: vec![("jazz".into(), 0.75), ("blues".into(), 0.25)],
            duration_s: Some(30.0),
            windows: Some(5),
            model: "default".into(),
            elapsed_ms: 12.5,
            ..Record::default()
        }
    }

    #[test]
    fn text_says_that_it_does_not_know() {
        let known = printed(Format::Text, &record());
        assert_eq!(known, "a, \"b\".wav  jazz 75 % · blues 25 %\n");
        let unknown = Record { genre: Some(taggram::UNKNOWN.into()), ..record() };
        let text = printed(Format::Text, &unknown);
        assert_eq!(text, "a, \"b\".wav  unknown; nearest: jazz 75 % · blues 25 %\n");
    }

    #[test]
    fn csv_quotes_and_keeps_the_order_of_the_header() {
        let text = printed(Format::Csv, &record());
        let mut lines = text.lines();
        assert!(lines.next().unwrap().starts_with("path,genre,confidence,blues,jazz,"));
        assert_eq!(
            lines.next().unwrap(),
            "\"a, \"\"b\"\".wav\",jazz,0.75,0.25,0.75,30,5,default,12.5,,"
        );
    }

    #[test]
    fn json_is_one_object_a_line_with_the_promised_keys() {
        let text = printed(Format::Json, &record());
        assert_eq!(text.lines().count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        for key in [
            "path",
            "genre",
            "confidence",
            "scores",
            "duration_s",
            "windows",
            "model",
            "elapsed_ms",
        ] {
            assert!(value.get(key).is_some(), "{key} is missing in {text}");
        }
        assert!(value.get("error").is_none());
    }

    #[test]
    fn text_shows_percent() {
        assert_eq!(printed(Format::Text, &record()), "a, \"b\".wav  jazz 75 % · blues 25 %\n");
    }
}

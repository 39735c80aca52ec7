//! Models side by side, on the same songs.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use serde::Serialize;

use super::{html, read};
use crate::dataset::error::{ErrorKind, Result, TrainError, io};
use crate::evaluate::Evaluation;
use crate::files::write_whole;
use crate::metrics::{Interval, McNemar, mcnemar};

/// Reports side by side, protocol by protocol.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The protocols that at least one report has, in the order in which they are met.
    pub protocols: Vec<ProtocolComparison>,
}

/// The models under one protocol.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProtocolComparison {
    /// Name of the protocol.
    pub protocol: String,
    /// One row a model, in the order given.
    pub rows: Vec<ComparisonRow>,
    /// Each pair of models on the songs that both were asked about.
    pub tests: Vec<PairTest>,
}

/// One model under one protocol; see [`crate::metrics::Metrics`] for the figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComparisonRow {
    /// Name of the model, with its folder where two models share a name.
    pub name: String,
    /// Number of songs.
    pub songs: usize,
    /// Share of songs given their genre.
    pub accuracy: f64,
    /// Its 95 % interval.
    pub accuracy_interval: Interval,
    /// Share of songs whose genre is among the first three.
    pub top3: f64,
    /// Macro F1.
    pub macro_f1: f64,
    /// Mean average precision.
    pub mean_average_precision: f64,
    /// ROC-AUC, macro.
    pub roc_auc: f64,
    /// Expected calibration error.
    pub expected_calibration_error: f64,
    /// Log loss.
    pub log_loss: f64,
}

/// McNemar's test of two models.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PairTest {
    /// Name of the first model.
    pub first: String,
    /// Name of the second model.
    pub second: String,
    /// The test on the songs that both were asked about.
    #[serde(flatten)]
    pub test: McNemar,
}

/// Compares the reports in two or more folders.
///
/// # Errors
/// Fewer than two reports, or one that cannot be read.
pub fn compare(folders: &[&Path]) -> Result<Comparison> {
    if folders.len() < 2 {
        let message = format!("a comparison needs 2 reports or more; {} was given", folders.len());
        return Err(TrainError::new("compare", ErrorKind::TooShort, message));
    }
    let mut named: Vec<(String, Vec<Evaluation>)> = Vec::new();
    for folder in folders {
        let (file, evaluations) = read(folder)?;
        named.push((file.model, evaluations));
    }
    let mut uses: HashMap<String, usize> = HashMap::new();
    for (name, _) in &named {
        *uses.entry(name.clone()).or_default() += 1;
    }
    for ((name, _), folder) in named.iter_mut().zip(folders) {
        if uses[name.as_str()] > 1 {
            *name = format!("{name} ({})", folder.display());
        }
    }
    let mut order: Vec<&str> = Vec::new();
    for (_, evaluations) in &named {
        for e in evaluations {
            if !order.contains(&e.protocol.as_str()) {
                order.push(&e.protocol);
            }
        }
    }
    let protocols = order
        .into_iter()
        .map(|protocol| {
            let present: Vec<(&str, &Evaluation)> = named
                .iter()
                .filter_map(|(name, list)| {
                    Some((name.as_str(), list.iter().find(|e| e.protocol == protocol)?))
                })
                .collect();
            let mut tests = Vec::new();
            for (i, first) in present.iter().enumerate() {
                tests.extend(present[i + 1..].iter().filter_map(|second| pair(*first, *second)));
            }
            let rows = present.iter().map(|&(name, e)| row(name, e)).collect();
            ProtocolComparison { protocol: protocol.to_string(), rows, tests }
        })
        .collect();
    Ok(Comparison { protocols })
}

fn row(name: &str, e: &Evaluation) -> ComparisonRow {
    let m = &e.metrics;
    ComparisonRow {
        name: name.to_string(),
        songs: m.songs,
        accuracy: m.accuracy,
        accuracy_interval: m.accuracy_interval,
        top3: m.top3,
        macro_f1: m.macro_average.f1,
        mean_average_precision: m.mean_average_precision,
        roc_auc: m.roc_auc,
        expected_calibration_error: m.expected_calibration_error,
        log_loss: m.log_loss,
    }
}

/// None when the two share no song.
fn pair(first: (&str, &Evaluation), second: (&str, &Evaluation)) -> Option<PairTest> {
    let right: HashMap<&str, bool> =
        second.1.predictions.iter().map(|p| (p.id.as_str(), p.correct())).collect();
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for p in &first.1.predictions {
        if let Some(&other) = right.get(p.id.as_str()) {
            a.push(p.correct());
            b.push(other);
        }
    }
    (!a.is_empty()).then(|| PairTest {
        first: first.0.to_string(),
        second: second.0.to_string(),
        test: mcnemar(&a, &b),
    })
}

/// A probability as it is printed.
pub(super) fn p_text(p: f64) -> String {
    if p < 1e-4 { "< 0.0001".into() } else { format!("= {p:.4}") }
}

impl Comparison {
    /// The comparison as text for a terminal.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for p in &self.protocols {
            let width = p.rows.iter().map(|r| r.name.chars().count()).max().unwrap_or(0).max(5);
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{}\n  {:width$}  songs  accuracy  95 % interval   top 3  macro F1    mAP  ROC-AUC    ECE",
                p.protocol, "model"
            );
            for r in &p.rows {
                let _ = writeln!(
                    text,
                    "  {:width$}  {:5}  {:>8}  {:>13}  {:>6}     {:.3}  {:.3}    {:.3}  {:.3}",
                    r.name,
                    r.songs,
                    html::percent(r.accuracy),
                    html::interval(r.accuracy_interval),
                    html::percent(r.top3),
                    r.macro_f1,
                    r.mean_average_precision,
                    r.roc_auc,
                    r.expected_calibration_error
                );
            }
            for t in &p.tests {
                let verdict = if t.test.p_value < 0.05 { "differ" } else { "may be equally good" };
                let _ = writeln!(
                    text,
                    "  {} and {}: on {} songs only the first is right {} times, only the second {} times, p {} (McNemar, exact): they {verdict}",
                    t.first,
                    t.second,
                    t.test.songs,
                    t.test.only_first,
                    t.test.only_second,
                    p_text(t.test.p_value)
                );
            }
            text.push('\n');
        }
        text
    }

    /// The comparison as JSON.
    ///
    /// # Errors
    /// Never for figures of this crate; serialising is fallible in principle.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string_pretty(self)
            .map_err(|e| TrainError::new("compare", ErrorKind::Bug, e.to_string()))
    }

    /// The comparison as one page without links.
    ///
    /// # Errors
    /// A picture that cannot be drawn, which is a bug.
    pub fn to_html(&self) -> Result<String> {
        html::comparison(self)
    }

    /// Writes `comparison.html`, `.json` and `.txt` to a folder.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn save(&self, out: &Path) -> Result<()> {
        std::fs::create_dir_all(out).map_err(|e| io(out, "make the folder", &e))?;
        let files =
            [("html", self.to_html()?), ("json", self.to_json()? + "\n"), ("txt", self.to_text())];
        for (ending, content) in files {
            let path = out.join(format!("comparison.{ending}"));
            write_whole(&path, |f| f.write_all(content.as_bytes()))?;
        }
        Ok(())
    }
}

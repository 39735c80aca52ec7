//! Learning curves: what happened in each epoch, as a table and as a picture.

use std::fmt::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use taggram_plot::{LineChart, LineStyle, Series, line_chart};

use crate::error::{ErrorKind, TrainError};

/// What happened in one epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// 1 = the first.
    pub epoch: usize,
    /// Mean training loss, all parts together.
    pub train_loss: f64,
    /// Mean cross-entropy of the genres on the (changed, mixed) training patches.
    pub train_log_loss: f64,
    /// Share of training patches whose most probable genre was right, 0 … 1.
    pub train_accuracy: f64,
    /// Song-level log loss on the validation songs; mean of patch probabilities. None without such songs.
    pub valid_log_loss: Option<f64>,
    /// Song-level accuracy on the validation songs, 0 … 1.
    pub valid_accuracy: Option<f64>,
    /// Step size of the last update.
    pub learning_rate: f64,
    /// Mean norm of the gradient.
    pub gradient_norm: f64,
    /// Training patches a second.
    pub samples_per_second: f64,
    /// Duration of the epoch with its validation, seconds.
    pub seconds: f64,
}

/// The epochs as CSV with a header.
pub fn csv(history: &[EpochRecord]) -> String {
    let mut text = String::from(
        "epoch,train_loss,train_log_loss,train_accuracy,valid_log_loss,valid_accuracy,learning_rate,gradient_norm,samples_per_second,seconds\n",
    );
    let optional = |v: Option<f64>| v.map(|v| format!("{v:.6}")).unwrap_or_default();
    for r in history {
        let _ = writeln!(
            text,
            "{},{:.6},{:.6},{:.6},{},{},{:.3e},{:.4},{:.1},{:.2}",
            r.epoch,
            r.train_loss,
            r.train_log_loss,
            r.train_accuracy,
            optional(r.valid_log_loss),
            optional(r.valid_accuracy),
            r.learning_rate,
            r.gradient_norm,
            r.samples_per_second,
            r.seconds
        );
    }
    text
}

/// Draws accuracy and log loss of both sides over the epochs into `path` (`.png` or `.svg`).
///
/// # Errors
/// A picture that cannot be drawn or written.
pub fn draw(history: &[EpochRecord], title: &str, path: &Path) -> Result<(), TrainError> {
    let line = |name: &str, style, value: &dyn Fn(&EpochRecord) -> Option<f64>| Series {
        name: name.into(),
        points: history.iter().filter_map(|r| value(r).map(|v| (r.epoch as f64, v))).collect(),
        style,
    };
    let chart = LineChart {
        title: title.into(),
        x_label: "epoch".into(),
        y_label: "accuracy · log loss (nats)".into(),
        series: vec![
            line("validation songs, accuracy", LineStyle::Solid, &|r| r.valid_accuracy),
            line("validation songs, log loss", LineStyle::Solid, &|r| r.valid_log_loss),
            line("train patches, accuracy", LineStyle::Dashed, &|r| Some(r.train_accuracy)),
            line("train patches, log loss", LineStyle::Dashed, &|r| Some(r.train_log_loss)),
        ],
        ..LineChart::default()
    };
    let failed = |e: taggram_plot::PlotError| {
        TrainError::new(path.display().to_string(), ErrorKind::Overloaded, e.to_string())
    };
    line_chart(&chart).map_err(failed)?.save(path).map_err(failed)
}

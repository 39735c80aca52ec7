//! The pictures of a report.

use taggram_plot::{
    BarChart, BarSeries, Chart, LineChart, LineStyle, PlotError, Reliability, ReliabilityBin,
    Series, Theme, bar_chart, confusion_matrix_with, line_chart, reliability,
};

use crate::dataset::error::{ErrorKind, Result, TrainError};
use crate::evaluate::Evaluation;
use crate::metrics::{pr_curve, roc_curve};

/// A picture that could not be drawn from figures of our own is our fault.
pub(super) fn picture(error: &PlotError) -> TrainError {
    TrainError::new("a picture of the report", ErrorKind::Bug, error.to_string())
}

pub(super) fn confusion(e: &Evaluation, theme: Theme) -> Result<Chart> {
    let counts = e.metrics.confusion.counts.concat();
    Ok(confusion_matrix_with(&e.genres, &counts, &format!("Confusion · {}", e.protocol), theme)?)
}

pub(super) fn genres(e: &Evaluation, theme: Theme) -> Result<Chart> {
    let of = |name: &str, values: Vec<f64>| BarSeries {
        name: name.into(),
        values,
        intervals: Vec::new(),
    };
    let scores = &e.metrics.genres;
    Ok(bar_chart(&BarChart {
        title: "Each genre".into(),
        x_label: "score".into(),
        labels: scores.iter().map(|s| format!("{} ({})", s.genre, s.support)).collect(),
        series: vec![
            of("precision", scores.iter().map(|s| s.precision).collect()),
            of("recall", scores.iter().map(|s| s.recall).collect()),
            of("F1", scores.iter().map(|s| s.f1).collect()),
        ],
        range: Some((0.0, 1.0)),
        decimals: Some(2),
        theme,
    })?)
}

pub(super) fn roc(e: &Evaluation, theme: Theme) -> Result<Chart> {
    let mut series = curves(e, roc_curve);
    series.push(Series {
        name: "guessing".into(),
        points: vec![(0.0, 0.0), (1.0, 1.0)],
        style: LineStyle::Reference,
    });
    lines(
        "ROC, each genre against the rest",
        ["false positive rate", "true positive rate"],
        series,
        theme,
    )
}

pub(super) fn precision_recall(e: &Evaluation, theme: Theme) -> Result<Chart> {
    lines(
        "Precision and recall, each genre against the rest",
        ["recall", "precision"],
        curves(e, pr_curve),
        theme,
    )
}

fn lines(title: &str, [x, y]: [&str; 2], series: Vec<Series>, theme: Theme) -> Result<Chart> {
    Ok(line_chart(&LineChart {
        title: title.into(),
        x_label: x.into(),
        y_label: y.into(),
        series,
        x_range: Some((0.0, 1.0)),
        y_range: Some((0.0, 1.0)),
        theme,
    })?)
}

fn curves(e: &Evaluation, curve: impl Fn(&[bool], &[f64]) -> Vec<(f64, f64)>) -> Vec<Series> {
    (0..e.genres.len())
        .filter_map(|g| {
            let truth: Vec<bool> = e.predictions.iter().map(|p| p.label == g).collect();
            let scores: Vec<f64> = e.predictions.iter().map(|p| p.probabilities[g]).collect();
            let points = curve(&truth, &scores);
            (!points.is_empty()).then(|| Series {
                name: e.genres[g].clone(),
                points,
                style: LineStyle::Solid,
            })
        })
        .collect()
}

pub(super) fn calibration(e: &Evaluation, theme: Theme) -> Result<Chart> {
    let bins = e
        .metrics
        .reliability
        .iter()
        .map(|b| ReliabilityBin {
            low: b.low,
            high: b.high,
            confidence: b.confidence,
            accuracy: b.accuracy,
            count: b.songs as u64,
        })
        .collect();
    Ok(reliability(&Reliability {
        title: "Is 80 % sure right four times in five?".into(),
        bins,
        ece: Some(e.metrics.expected_calibration_error),
        theme,
    })?)
}

pub(super) fn accuracies(
    labels: Vec<String>,
    values: Vec<f64>,
    intervals: Vec<(f64, f64)>,
    theme: Theme,
) -> Result<Chart> {
    Ok(bar_chart(&BarChart {
        title: "Accuracy with its 95 % interval".into(),
        x_label: "share of songs".into(),
        labels,
        series: vec![BarSeries { name: String::new(), values, intervals }],
        range: Some((0.0, 1.0)),
        decimals: Some(3),
        theme,
    })?)
}

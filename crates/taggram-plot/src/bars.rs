//! Horizontal bars, one group a label, with intervals: accuracies of several models side
//! by side, precision / recall / F1 per genre.

use crate::axis::{TICK_SIZE, extent, fixed, number, step, ticks};
use crate::chart::Chart;
use crate::colour::{GENRE_COLOURS, Theme};
use crate::error::PlotError;
use crate::font;
use crate::scene::{Anchor, Scene};

/// One value for each label.
#[derive(Clone, Debug, Default)]
pub struct BarSeries {
    /// Its name in the legend; empty for none.
    pub name: String,
    /// A value for each label; a value that is not finite is left out.
    pub values: Vec<f64>,
    /// (low, high) for each label, drawn as a whisker; empty for none.
    pub intervals: Vec<(f64, f64)>,
}

/// A chart of horizontal bars.
#[derive(Clone, Debug, Default)]
pub struct BarChart {
    /// Headline.
    pub title: String,
    /// Name and unit of the values.
    pub x_label: String,
    /// What the bars stand for, from top to bottom.
    pub labels: Vec<String>,
    /// One or more values for each label.
    pub series: Vec<BarSeries>,
    /// Shown part of the value axis; by default from 0 to the largest.
    pub range: Option<(f64, f64)>,
    /// Decimals of the values written at the bars; `None` writes none.
    pub decimals: Option<usize>,
    /// Light or dark page.
    pub theme: Theme,
}

/// Draws horizontal bars. Without a single finite value the chart says so.
///
/// # Errors
/// A series with another number of values or intervals than there are labels, or an
/// empty range.
pub fn bar_chart(chart: &BarChart) -> Result<Chart, PlotError> {
    let n = chart.labels.len();
    for series in &chart.series {
        let (values, intervals) = (series.values.len(), series.intervals.len());
        if values != n || (intervals != 0 && intervals != n) {
            return Err(PlotError::malformed(format!(
                "The bars “{}” have {values} values and {intervals} intervals for {n} labels; \
                 each label needs one value, and one interval or none.",
                series.name
            )));
        }
    }
    let found = extent(
        chart
            .series
            .iter()
            .flat_map(|s| {
                s.values.iter().copied().chain(s.intervals.iter().flat_map(|i| [i.0, i.1]))
            })
            .chain([0.0]),
    );
    let any = chart.series.iter().flat_map(|s| &s.values).any(|v| v.is_finite());
    let (Some(found), true) = (found, any) else {
        let mut scene = Scene::new(900.0, 300.0, &chart.title, chart.theme);
        scene.headline(&chart.title);
        scene.no_data("No data to draw.");
        return Chart::new(scene);
    };
    let (low, high) = chart.range.unwrap_or(found);
    if !(low < high && low.is_finite() && high.is_finite()) {
        return Err(PlotError::malformed(format!(
            "The values are to run from {low} to {high}; the first must be the smaller, both finite."
        )));
    }

    let several = chart.series.len() > 1;
    let thick = if several { 13.0 } else { 20.0 };
    let group = thick * chart.series.len() as f64 + 12.0;
    let legend = if chart.series.iter().any(|s| !s.name.is_empty()) { 30.0 } else { 0.0 };
    let head = if chart.title.is_empty() { 20.0 } else { 56.0 };
    let height = head + legend + group * n as f64 + 66.0;
    let mut scene = Scene::new(900.0, height, &chart.title, chart.theme);
    scene.headline(&chart.title);
    let tones = scene.tones;
    let labels: Vec<String> =
        chart.labels.iter().map(|l| font::fit(l, 13.0, false, 260.0)).collect();
    let widest = labels.iter().map(|l| font::width(l, 13.0, false)).fold(40.0, f64::max);
    let (left, right) = (24.0 + widest + 12.0, 820.0);
    let px = |v: f64| left + (v.clamp(low, high) - low) / (high - low) * (right - left);
    let top = head + legend;
    let bottom = top + group * n as f64 + 6.0;

    let marks = ticks(low, high, 6);
    for &v in &marks {
        scene.rule((px(v), top), (px(v), bottom), tones.grid);
        let label = number(v, step(&marks));
        scene.text(px(v), bottom + 18.0, TICK_SIZE, Anchor::Middle, tones.quiet, &label);
    }
    let middle = (left + right) / 2.0;
    scene.text(middle, bottom + 42.0, 13.0, Anchor::Middle, tones.quiet, &chart.x_label);

    let mut x = left;
    for (k, series) in chart.series.iter().enumerate() {
        let colour = if several { GENRE_COLOURS[k % GENRE_COLOURS.len()] } else { tones.accent };
        if !series.name.is_empty() {
            let name = font::fit(&series.name, 13.0, false, 240.0);
            scene.rect(x, head - 2.0, 12.0, 12.0, 2.0, colour);
            scene.text(x + 18.0, head + 8.5, 13.0, Anchor::Start, tones.ink, &name);
            x += 18.0 + font::width(&name, 13.0, false) + 26.0;
        }
        for (i, &value) in series.values.iter().enumerate() {
            let y = top + 6.0 + group * i as f64 + thick * k as f64;
            if !value.is_finite() {
                continue;
            }
            let (from, to) = (px(0.0).min(px(value)), px(0.0).max(px(value)));
            scene.rect(from, y, to - from, thick - 2.0, 2.0, colour);
            let mut end = to;
            let mid = y + (thick - 2.0) / 2.0;
            if let Some(&(a, b)) =
                series.intervals.get(i).filter(|i| i.0.is_finite() && i.1.is_finite())
            {
                let cap = thick * 0.22;
                scene.line(vec![(px(a), mid), (px(b), mid)], 1.5, (0.0, 0.0), tones.ink);
                for edge in [px(a), px(b)] {
                    let bar = vec![(edge, mid - cap), (edge, mid + cap)];
                    scene.line(bar, 1.5, (0.0, 0.0), tones.ink);
                }
                end = end.max(px(b));
            }
            if let Some(decimals) = chart.decimals {
                let text = fixed(value, decimals);
                let size = if several { 10.5 } else { 12.0 };
                scene.text(end + 7.0, mid + 4.0, size, Anchor::Start, tones.quiet, &text);
            }
        }
    }
    for (i, label) in labels.iter().enumerate() {
        let y = top + 6.0 + group * i as f64 + (group - 12.0) / 2.0 + 3.5;
        scene.text(left - 12.0, y, 13.0, Anchor::End, tones.ink, label);
    }
    scene.rule((px(0.0), top), (px(0.0), bottom), tones.quiet);
    Chart::new(scene)
}

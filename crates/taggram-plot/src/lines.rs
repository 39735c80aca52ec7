//! Lines over an axis: learning curves, ROC and precision–recall curves.

use crate::axis::{Area, extent};
use crate::chart::Chart;
use crate::colour::{GENRE_COLOURS, Theme};
use crate::error::PlotError;
use crate::font;
use crate::scene::{Anchor, Scene};

/// How a series is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LineStyle {
    /// A continuous line.
    #[default]
    Solid,
    /// A dashed line, for what is compared with.
    Dashed,
    /// Grey dots and dashes without a place in the palette: a diagonal, a chance level.
    Reference,
    /// Separate dots.
    Dots,
}

/// One line of a chart.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// Its name in the legend; empty for none.
    pub name: String,
    /// (x, y) in drawing order. A value that is not finite interrupts the line.
    pub points: Vec<(f64, f64)>,
    /// How it is drawn.
    pub style: LineStyle,
}

/// A chart of lines.
#[derive(Clone, Debug, Default)]
pub struct LineChart {
    /// Headline.
    pub title: String,
    /// Name and unit of the horizontal axis.
    pub x_label: String,
    /// Name and unit of the vertical axis.
    pub y_label: String,
    /// The lines; the first ones get the most distinct colours.
    pub series: Vec<Series>,
    /// Shown part of the horizontal axis (low, high); by default all data.
    pub x_range: Option<(f64, f64)>,
    /// Shown part of the vertical axis (low, high); by default all data.
    pub y_range: Option<(f64, f64)>,
    /// Light or dark page.
    pub theme: Theme,
}

/// Draws lines with a legend at the right. Without a single finite point the chart says so.
///
/// # Errors
/// A range whose low end is not below its high end.
pub fn line_chart(chart: &LineChart) -> Result<Chart, PlotError> {
    let mut scene = Scene::new(960.0, 540.0, &chart.title, chart.theme);
    let top = scene.headline(&chart.title) + 10.0;
    let points = || chart.series.iter().flat_map(|s| &s.points).filter(|p| finite(p));
    let (Some(xs), Some(ys)) = (extent(points().map(|p| p.0)), extent(points().map(|p| p.1)))
    else {
        scene.no_data("No data to draw.");
        return Chart::new(scene);
    };
    let x = range(chart.x_range, xs, "horizontal")?;
    let padded = (ys.0 - 0.04 * (ys.1 - ys.0), ys.1 + 0.04 * (ys.1 - ys.0));
    let y = range(chart.y_range, padded, "vertical")?;

    let names: Vec<String> =
        chart.series.iter().map(|s| font::fit(&s.name, 13.0, false, 220.0)).collect();
    let legend = names.iter().map(|n| font::width(n, 13.0, false)).fold(0.0, f64::max);
    let legend = if legend > 0.0 { legend + 60.0 } else { 0.0 };
    let area = Area { left: 84.0, top, right: 936.0 - legend, bottom: 476.0, x, y };
    area.draw(&mut scene, &chart.x_label, &chart.y_label);

    let mut used = 0;
    let mut row = top + 8.0;
    for (series, name) in chart.series.iter().zip(&names) {
        let (colour, dash, width) = match series.style {
            LineStyle::Reference => (scene.tones.quiet, (2.0, 4.0), 1.2),
            style => {
                used += 1;
                let dash = if style == LineStyle::Dashed { (7.0, 4.0) } else { (0.0, 0.0) };
                (GENRE_COLOURS[(used - 1) % GENRE_COLOURS.len()], dash, 2.2)
            }
        };
        if series.style == LineStyle::Dots {
            for p in series.points.iter().filter(|p| finite(p) && inside(&area, **p)) {
                scene.dot(area.px(p.0), area.py(p.1), 3.5, colour);
            }
        } else {
            for piece in visible_pieces(&area, &series.points) {
                scene.line(piece, width, dash, colour);
            }
        }
        if !name.is_empty() {
            let left = area.right + 20.0;
            if series.style == LineStyle::Dots {
                scene.dot(left + 12.0, row, 3.5, colour);
            } else {
                scene.line(vec![(left, row), (left + 24.0, row)], width, dash, colour);
            }
            let ink = scene.tones.ink;
            scene.text(left + 32.0, row + 4.5, 13.0, Anchor::Start, ink, name);
            row += 22.0;
        }
    }
    Chart::new(scene)
}

fn finite(p: &(f64, f64)) -> bool {
    p.0.is_finite() && p.1.is_finite()
}

fn inside(area: &Area, p: (f64, f64)) -> bool {
    (area.x.0..=area.x.1).contains(&p.0) && (area.y.0..=area.y.1).contains(&p.1)
}

fn range(
    wanted: Option<(f64, f64)>,
    found: (f64, f64),
    axis: &str,
) -> Result<(f64, f64), PlotError> {
    let (low, high) = wanted.unwrap_or(found);
    if low < high && low.is_finite() && high.is_finite() {
        return Ok((low, high));
    }
    Err(PlotError::malformed(format!(
        "The {axis} axis is to run from {low} to {high}; the first must be the smaller, both finite."
    )))
}

/// The parts of a line inside the area, in pixels: cut where a value is not finite and at
/// the border of the area.
fn visible_pieces(area: &Area, points: &[(f64, f64)]) -> Vec<Vec<(f64, f64)>> {
    let mut pieces: Vec<Vec<(f64, f64)>> = vec![Vec::new()];
    for pair in points.windows(2) {
        let clipped =
            if finite(&pair[0]) && finite(&pair[1]) { clip(area, pair[0], pair[1]) } else { None };
        let Some((a, b)) = clipped else {
            pieces.push(Vec::new());
            continue;
        };
        let (a, b) = ((area.px(a.0), area.py(a.1)), (area.px(b.0), area.py(b.1)));
        let piece = pieces.last_mut().expect("there is always one");
        match piece.last() {
            Some(&last) if last == a => piece.push(b),
            None => piece.extend([a, b]),
            Some(_) => pieces.push(vec![a, b]),
        }
    }
    pieces.retain(|p| p.len() > 1);
    pieces
}

/// The part of a straight stretch inside the area (Liang and Barsky, 1984).
fn clip(area: &Area, a: (f64, f64), b: (f64, f64)) -> Option<((f64, f64), (f64, f64))> {
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let (mut enter, mut leave) = (0.0f64, 1.0f64);
    for (d, room) in
        [(-dx, a.0 - area.x.0), (dx, area.x.1 - a.0), (-dy, a.1 - area.y.0), (dy, area.y.1 - a.1)]
    {
        if d == 0.0 {
            if room < 0.0 {
                return None;
            }
        } else if d < 0.0 {
            enter = enter.max(room / d);
        } else {
            leave = leave.min(room / d);
        }
    }
    // Whole stretches keep their exact ends, so that neighbours join.
    let at = |t: f64| match t {
        0.0 => a,
        1.0 => b,
        t => (a.0 + t * dx, a.1 + t * dy),
    };
    (enter <= leave).then(|| (at(enter), at(leave)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_at_the_border_and_at_gaps() {
        let area =
            Area { left: 0.0, top: 0.0, right: 10.0, bottom: 10.0, x: (0.0, 1.0), y: (0.0, 1.0) };
        let pieces = visible_pieces(&area, &[(-1.0, 0.5), (1.0, 0.5)]);
        assert_eq!(pieces, vec![vec![(0.0, 5.0), (10.0, 5.0)]]);
        let gap = [(0.0, 0.0), (0.2, 0.2), (0.3, f64::NAN), (0.5, 0.5), (1.0, 1.0)];
        assert_eq!(visible_pieces(&area, &gap).len(), 2);
        assert!(visible_pieces(&area, &[(0.0, 2.0), (1.0, 3.0)]).is_empty());
    }
}

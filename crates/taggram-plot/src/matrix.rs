//! Coloured tables: heat maps and confusion matrices.

use crate::axis::{fixed, number};
use crate::chart::Chart;
use crate::colour::{ColourMap, Theme};
use crate::error::PlotError;
use crate::font;
use crate::scene::{Anchor, Scene};

/// A table of numbers as colours.
#[derive(Clone, Debug, Default)]
pub struct Heatmap {
    /// Headline.
    pub title: String,
    /// What the columns are.
    pub x_label: String,
    /// What the rows are.
    pub y_label: String,
    /// Names of the rows, from top to bottom.
    pub rows: Vec<String>,
    /// Names of the columns, from left to right.
    pub columns: Vec<String>,
    /// `[row, column]`; a value that is not finite leaves its cell empty.
    pub values: Vec<f32>,
    /// The values at the ends of the colour map; by default the smallest and largest.
    pub range: Option<(f32, f32)>,
    /// How a value becomes a colour.
    pub map: ColourMap,
    /// Write each value into its cell with this many decimals.
    pub decimals: Option<usize>,
    /// Light or dark page.
    pub theme: Theme,
}

/// The most rows or columns a table may have to stay readable.
const MAX_SIDE: usize = 200;

/// Draws a table of colours. Without a single finite value the chart says so.
///
/// # Errors
/// When there are not rows × columns values, more than 200 rows or columns, or an empty range.
pub fn heatmap(map: &Heatmap) -> Result<Chart, PlotError> {
    let (rows, columns) = (map.rows.len(), map.columns.len());
    if map.values.len() != rows * columns {
        return Err(PlotError::malformed(format!(
            "The table has {} values for {rows} rows and {columns} columns; it needs {}.",
            map.values.len(),
            rows * columns
        )));
    }
    check_side(rows.max(columns))?;
    let finite = || map.values.iter().copied().filter(|v| v.is_finite());
    let (low, high) = match map.range {
        Some((low, high)) if low < high && low.is_finite() && high.is_finite() => (low, high),
        Some((low, high)) => {
            return Err(PlotError::malformed(format!(
                "The colours are to run from {low} to {high}; the first must be the smaller, both finite."
            )));
        }
        None => {
            (finite().fold(f32::INFINITY, f32::min), finite().fold(f32::NEG_INFINITY, f32::max))
        }
    };
    if finite().next().is_none() {
        let mut scene = Scene::new(760.0, 300.0, &map.title, map.theme);
        scene.headline(&map.title);
        scene.no_data("No data to draw.");
        return Chart::new(scene);
    }
    let share = |v: f32| if high > low { (v - low) / (high - low) } else { 0.5 };
    let cell = (680.0 / columns as f64).clamp(6.0, 64.0);
    let tall = (560.0 / rows as f64).clamp(6.0, 40.0).min(cell.max(16.0));
    let table = Table {
        title: &map.title,
        x_label: &map.x_label,
        y_label: &map.y_label,
        rows: &map.rows,
        columns: &map.columns,
        cell: (cell, tall),
        margin: 90.0,
        theme: map.theme,
    };
    let (mut scene, at) = table.frame();
    for (i, &value) in map.values.iter().enumerate().filter(|(_, v)| v.is_finite()) {
        let text = map.decimals.map(|d| fixed(f64::from(value), d)).unwrap_or_default();
        let fill = map.map.colour(share(value));
        let place = at(i / columns, i % columns);
        draw_cell(&mut scene, place, (cell, tall), fill, &text, false);
    }
    let (left, top) = (at(0, columns - 1).0 + cell + 18.0, at(0, 0).1);
    let height = (tall * rows as f64).clamp(80.0, 240.0);
    for step in 0..64 {
        let y = top + height * f64::from(63 - step) / 64.0;
        let fill = map.map.colour(step as f32 / 63.0);
        scene.rect(left, y, 14.0, height / 64.0 + 0.5, 0.0, fill);
    }
    let quiet = scene.tones.quiet;
    let resolution = f64::from(high - low) / 20.0;
    for (value, y) in [(high, top + 9.0), (low, top + height)] {
        let label = number(f64::from(value), resolution);
        scene.text(left + 20.0, y, 11.5, Anchor::Start, quiet, &label);
    }
    Chart::new(scene)
}

/// Draws a confusion matrix on a light page; see [`confusion_matrix_with`].
///
/// # Errors
/// As there.
pub fn confusion_matrix(
    labels: &[String],
    counts: &[u64],
    title: &str,
) -> Result<Chart, PlotError> {
    confusion_matrix_with(labels, counts, title, Theme::Light)
}

/// Draws a confusion matrix: rows are the truth, columns the answers; `counts` is
/// `[truth, answer]`. A cell's colour is its share of its row; recall stands at the
/// right, precision below. Without any count the chart says so.
///
/// # Errors
/// When there are not labels² counts, or more than 200 labels.
pub fn confusion_matrix_with(
    labels: &[String],
    counts: &[u64],
    title: &str,
    theme: Theme,
) -> Result<Chart, PlotError> {
    let n = labels.len();
    if counts.len() != n * n {
        return Err(PlotError::malformed(format!(
            "The confusion matrix has {} counts for {n} labels; it needs {}.",
            counts.len(),
            n * n
        )));
    }
    check_side(n)?;
    if counts.iter().all(|&c| c == 0) {
        let mut scene = Scene::new(760.0, 300.0, title, theme);
        scene.headline(title);
        scene.no_data("No counts to draw.");
        return Chart::new(scene);
    }
    let cell = (640.0 / n as f64).clamp(14.0, 58.0);
    let size = (cell, (cell * 0.78).max(14.0));
    let table = Table {
        title,
        x_label: "answer",
        y_label: "truth",
        rows: labels,
        columns: labels,
        cell: size,
        margin: 84.0,
        theme,
    };
    let (mut scene, at) = table.frame();
    let tones = scene.tones;
    let map = theme.shares();
    for row in 0..n {
        let total: u64 = counts[row * n..(row + 1) * n].iter().sum();
        for column in 0..n {
            let count = counts[row * n + column];
            let share = if total > 0 { count as f32 / total as f32 } else { 0.0 };
            let fill = if count == 0 { tones.track } else { map.colour(0.06 + 0.94 * share) };
            let text = if count == 0 { String::new() } else { count.to_string() };
            draw_cell(&mut scene, at(row, column), size, fill, &text, row == column);
        }
    }
    let percent = |part: u64, whole: u64| {
        if whole == 0 {
            "–".to_owned()
        } else {
            format!("{:.0} %", 100.0 * part as f64 / whole as f64)
        }
    };
    let small = (size.1 * 0.4).clamp(8.0, 12.0);
    let (edge, below) = (at(0, n - 1).0 + size.0 + 10.0, at(n - 1, 0).1 + size.1 + small + 7.0);
    for k in 0..n {
        let (x, y) = at(k, k);
        let hit = counts[k * n + k];
        let truth: u64 = counts[k * n..(k + 1) * n].iter().sum();
        let answer: u64 = (0..n).map(|row| counts[row * n + k]).sum();
        let recall = percent(hit, truth);
        scene.text(edge, y + size.1 / 2.0 + 4.0, small, Anchor::Start, tones.quiet, &recall);
        if cell >= 26.0 {
            let precision = percent(hit, answer);
            scene.text(x + size.0 / 2.0, below, small, Anchor::Middle, tones.quiet, &precision);
        }
    }
    let top = at(0, 0).1;
    scene.text(edge, top - 10.0, 11.0, Anchor::Start, tones.quiet, "recall");
    if cell >= 26.0 {
        let x = at(0, 0).0 - 12.0;
        scene.text(x, below, 11.0, Anchor::End, tones.quiet, "precision");
    }
    Chart::new(scene)
}

fn check_side(side: usize) -> Result<(), PlotError> {
    if side <= MAX_SIDE {
        return Ok(());
    }
    let message = format!("The table has {side} rows or columns; at most {MAX_SIDE} are readable.");
    Err(PlotError::new(crate::error::PlotErrorKind::OverLimit, message))
}

/// The frame of a table: headline, names of rows and columns.
struct Table<'a> {
    title: &'a str,
    x_label: &'a str,
    y_label: &'a str,
    rows: &'a [String],
    columns: &'a [String],
    /// Width and height of a cell.
    cell: (f64, f64),
    /// Room at the right of the cells.
    margin: f64,
    theme: Theme,
}

impl Table<'_> {
    /// The scene so far, and where the top left corner of a (row, column) is.
    fn frame(&self) -> (Scene, impl Fn(usize, usize) -> (f64, f64) + use<>) {
        let (cell, tall) = self.cell;
        let size = |side: f64| (side * 0.62).clamp(7.0, 13.0);
        let (row_size, column_size) = (size(tall), size(cell));
        let fitted = |names: &[String], size: f64| -> Vec<String> {
            names.iter().map(|n| font::fit(n, size, false, 190.0)).collect()
        };
        let (rows, columns) = (fitted(self.rows, row_size), fitted(self.columns, column_size));
        let widest = |names: &[String], size: f64| {
            names.iter().map(|n| font::width(n, size, false)).fold(0.0, f64::max)
        };
        let row_room = widest(&rows, row_size).max(56.0);
        let column_room = widest(&columns, column_size);
        let upright = column_room > cell - 4.0;

        let head = if self.title.is_empty() { 12.0 } else { 54.0 };
        let left = 24.0 + 26.0 + row_room + 12.0;
        let names = if upright { column_room * 0.75 + 14.0 } else { 24.0 };
        let top = head + 22.0 + names;
        let width = (left + cell * columns.len() as f64 + self.margin).max(420.0);
        let height = top + tall * rows.len() as f64 + 44.0;
        let mut scene = Scene::new(width, height, self.title, self.theme);
        scene.headline(self.title);
        let tones = scene.tones;
        for (i, name) in rows.iter().enumerate() {
            let y = top + tall * (i as f64 + 0.5) + row_size * 0.35;
            scene.text(left - 12.0, y, row_size, Anchor::End, tones.ink, name);
        }
        for (i, name) in columns.iter().enumerate() {
            let x = left + cell * (i as f64 + 0.5);
            if upright {
                scene.push_text(crate::scene::Text {
                    x: x + 4.0,
                    y: top - 10.0,
                    size: column_size,
                    bold: false,
                    anchor: Anchor::Start,
                    colour: tones.ink,
                    turn: -45.0,
                    text: name.clone(),
                });
            } else {
                scene.text(x, top - 10.0, column_size, Anchor::Middle, tones.ink, name);
            }
        }
        let middle = left + cell * columns.len() as f64 / 2.0;
        scene.text(middle, head + 12.0, 12.5, Anchor::Middle, tones.quiet, self.x_label);
        let middle = top + tall * rows.len() as f64 / 2.0;
        scene.turned((34.0, middle), 12.5, Anchor::Middle, -90.0, self.y_label);
        (scene, move |row, column| (left + cell * column as f64, top + tall * row as f64))
    }
}

/// One cell, with a number when it fits.
fn draw_cell(
    scene: &mut Scene,
    at: (f64, f64),
    size: (f64, f64),
    fill: crate::colour::Colour,
    text: &str,
    bold: bool,
) {
    let gap = if size.0 >= 14.0 && size.1 >= 14.0 { 2.0 } else { 0.0 };
    let round = if gap > 0.0 { 3.0 } else { 0.0 };
    scene.rect(at.0, at.1, size.0 - gap, size.1 - gap, round, fill);
    let font_size = (size.1 * 0.42).clamp(7.0, 14.0);
    if !text.is_empty() && font::width(text, font_size, bold) <= size.0 - 3.0 {
        let (x, y) = (at.0 + (size.0 - gap) / 2.0, at.1 + (size.1 - gap) / 2.0 + font_size * 0.36);
        if bold {
            scene.bold(x, y, font_size, Anchor::Middle, fill.ink(), text);
        } else {
            scene.text(x, y, font_size, Anchor::Middle, fill.ink(), text);
        }
    }
}

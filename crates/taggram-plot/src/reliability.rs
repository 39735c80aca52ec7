//! Calibration: does a confidence of 80 % come true 80 times in 100?

use crate::axis::Area;
use crate::chart::Chart;
use crate::colour::Theme;
use crate::error::PlotError;
use crate::scene::{Anchor, Scene};

/// The answers whose confidence lay in one interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ReliabilityBin {
    /// Lower end of the interval, 0…1.
    pub low: f64,
    /// Upper end of the interval, 0…1.
    pub high: f64,
    /// Mean confidence of the answers in it, 0…1.
    pub confidence: f64,
    /// Share of them that was right, 0…1.
    pub accuracy: f64,
    /// How many there were; empty bins are not drawn.
    pub count: u64,
}

/// A calibration plot.
#[derive(Clone, Debug, Default)]
pub struct Reliability {
    /// Headline.
    pub title: String,
    /// The bins, in order of confidence.
    pub bins: Vec<ReliabilityBin>,
    /// Expected calibration error 0…1, written into the plot.
    pub ece: Option<f64>,
    /// Light or dark page.
    pub theme: Theme,
}

/// Draws confidence against accuracy, and below it how many answers had which
/// confidence. Without any answers the chart says so.
///
/// # Errors
/// A bin whose ends are not 0 ≤ low < high ≤ 1.
pub fn reliability(plot: &Reliability) -> Result<Chart, PlotError> {
    if let Some(bin) = plot.bins.iter().find(|b| !(0.0 <= b.low && b.low < b.high && b.high <= 1.0))
    {
        return Err(PlotError::malformed(format!(
            "A bin of confidences runs from {} to {}; it must lie between 0 and 1 and not be empty.",
            bin.low, bin.high
        )));
    }
    let mut scene = Scene::new(640.0, 720.0, &plot.title, plot.theme);
    let top = scene.headline(&plot.title) + 8.0;
    let used =
        |b: &&ReliabilityBin| b.count > 0 && b.accuracy.is_finite() && b.confidence.is_finite();
    let bins: Vec<&ReliabilityBin> = plot.bins.iter().filter(used).collect();
    if bins.is_empty() {
        scene.no_data("No answers to draw.");
        return Chart::new(scene);
    }
    let tones = scene.tones;
    let area = Area { left: 84.0, top, right: 610.0, bottom: 524.0, x: (0.0, 1.0), y: (0.0, 1.0) };
    area.draw(&mut scene, "", "share of right answers");
    let soft = tones.accent.mix(tones.page, 0.55);
    for bin in &bins {
        let (l, r, t) =
            (area.px(bin.low), area.px(bin.high), area.py(bin.accuracy.clamp(0.0, 1.0)));
        scene.rect(l + 1.0, t, r - l - 2.0, area.bottom - t, 0.0, soft);
    }
    let diagonal = vec![(area.px(0.0), area.py(0.0)), (area.px(1.0), area.py(1.0))];
    scene.line(diagonal, 1.2, (5.0, 4.0), tones.quiet);
    let place = |b: &ReliabilityBin| {
        (area.px(b.confidence.clamp(0.0, 1.0)), area.py(b.accuracy.clamp(0.0, 1.0)))
    };
    scene.line(bins.iter().map(|b| place(b)).collect(), 2.0, (0.0, 0.0), tones.accent);
    for (x, y) in bins.iter().map(|b| place(b)) {
        scene.dot(x, y, 4.0, tones.accent);
    }
    if let Some(ece) = plot.ece.filter(|e| e.is_finite()) {
        let text = format!("ECE {ece:.3}");
        scene.bold(area.left + 16.0, top + 24.0, 15.0, Anchor::Start, tones.ink, &text);
    }

    let most = bins.iter().map(|b| b.count).max().unwrap_or(1) as f64;
    let (base, room) = (656.0, 76.0);
    for bin in &bins {
        let (l, r) = (area.px(bin.low), area.px(bin.high));
        let h = (room * bin.count as f64 / most).max(1.0);
        scene.rect(l + 1.0, base - h, r - l - 2.0, h, 0.0, tones.quiet.mix(tones.page, 0.45));
        if r - l >= 22.0 {
            let count = bin.count.to_string();
            scene.text((l + r) / 2.0, base - h - 4.0, 10.5, Anchor::Middle, tones.quiet, &count);
        }
    }
    scene.rule((area.left, base), (area.right, base), tones.quiet);
    scene.turned((30.0, base - room / 2.0), 13.0, Anchor::Middle, -90.0, "answers");
    scene.text(
        (area.left + area.right) / 2.0,
        690.0,
        13.0,
        Anchor::Middle,
        tones.quiet,
        "confidence",
    );
    Chart::new(scene)
}

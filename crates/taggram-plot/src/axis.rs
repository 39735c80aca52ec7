//! Axes: round tick values, and a plot area that maps data to pixels.

use crate::scene::{Anchor, Scene};

/// Size of axis numbers, in pixels.
pub(crate) const TICK_SIZE: f64 = 12.0;

/// Round values inside `low…high`, about `count` of them, at 1, 2 or 5 times a power of ten.
pub(crate) fn ticks(low: f64, high: f64, count: usize) -> Vec<f64> {
    let span = high - low;
    if !(span > 0.0 && span.is_finite()) {
        return vec![low];
    }
    let rough = span / count.max(1) as f64;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|m| m * power)
        .find(|s| *s >= rough * 0.999)
        .unwrap_or(10.0 * power);
    multiples(low, high, step)
}

/// Round moments inside `0…end` seconds: whole seconds, minutes or hours.
pub(crate) fn time_ticks(end: f64, count: usize) -> Vec<f64> {
    const STEPS: [f64; 17] = [
        0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0,
        7200.0, 14400.0, 86400.0,
    ];
    let step = STEPS.into_iter().find(|s| end / s <= count as f64).unwrap_or(end / count as f64);
    multiples(0.0, end, step)
}

fn multiples(low: f64, high: f64, step: f64) -> Vec<f64> {
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last.min(first.saturating_add(1000))).map(|k| k as f64 * step).collect()
}

/// A tick value with as many decimals as tell it from its neighbours.
pub(crate) fn number(value: f64, step: f64) -> String {
    if value != 0.0 && !(1e-4..1e7).contains(&value.abs()) {
        return format!("{value:.1e}");
    }
    let decimals = if step > 0.0 { (-step.log10() - 1e-9).ceil().clamp(0.0, 6.0) } else { 2.0 };
    fixed(value, decimals as usize)
}

/// A value with a fixed number of decimals, a true minus sign, and no negative zero.
pub(crate) fn fixed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    if text.trim_start_matches('-').chars().all(|c| c == '0' || c == '.') {
        return text.trim_start_matches('-').to_owned();
    }
    text.replace('-', "−")
}

/// `12 s`, `1:30` or `2:05:00`, as suits a recording of `total` seconds.
pub(crate) fn clock(seconds: f64, total: f64) -> String {
    if total <= 90.0 {
        return format!("{} s", number(seconds, if seconds.fract() == 0.0 { 1.0 } else { 0.1 }));
    }
    let whole = seconds.round() as u64;
    let (h, m, s) = (whole / 3600, whole / 60 % 60, whole % 60);
    if total >= 3600.0 { format!("{h}:{m:02}:{s:02}") } else { format!("{m}:{s:02}") }
}

/// The part of a picture where data are drawn, and the data range it shows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Area {
    pub left: f64,
    pub top: f64,
    pub right: f64,
    pub bottom: f64,
    pub x: (f64, f64),
    pub y: (f64, f64),
}

impl Area {
    pub fn px(&self, x: f64) -> f64 {
        self.left + (x - self.x.0) / (self.x.1 - self.x.0) * (self.right - self.left)
    }

    pub fn py(&self, y: f64) -> f64 {
        self.bottom - (y - self.y.0) / (self.y.1 - self.y.0) * (self.bottom - self.top)
    }

    /// Grid, tick numbers and the names of both axes.
    pub fn draw(&self, scene: &mut Scene, x_label: &str, y_label: &str) {
        let tones = scene.tones;
        let xs = ticks(self.x.0, self.x.1, 8);
        let ys = ticks(self.y.0, self.y.1, 6);
        for &y in &ys {
            let at = self.py(y);
            scene.rule((self.left, at), (self.right, at), tones.grid);
            let label = number(y, step(&ys));
            scene.text(self.left - 10.0, at + 4.0, TICK_SIZE, Anchor::End, tones.quiet, &label);
        }
        for &x in &xs {
            let at = self.px(x);
            scene.rule((at, self.bottom), (at, self.bottom + 5.0), tones.quiet);
            let label = number(x, step(&xs));
            scene.text(at, self.bottom + 21.0, TICK_SIZE, Anchor::Middle, tones.quiet, &label);
        }
        scene.rule((self.left, self.bottom), (self.right, self.bottom), tones.quiet);
        let middle = (self.left + self.right) / 2.0;
        scene.text(middle, self.bottom + 44.0, 13.0, Anchor::Middle, tones.quiet, x_label);
        let middle = (self.top + self.bottom) / 2.0;
        scene.turned((self.left - 54.0, middle), 13.0, Anchor::Middle, -90.0, y_label);
    }
}

/// Distance between ticks.
pub(crate) fn step(ticks: &[f64]) -> f64 {
    if ticks.len() > 1 { ticks[1] - ticks[0] } else { 1.0 }
}

/// The range of finite values, widened where it has no extent.
pub(crate) fn extent(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let (low, high) = values
        .filter(|v| v.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    if low > high {
        return None;
    }
    if low == high {
        let half = if low == 0.0 { 0.5 } else { low.abs() * 0.1 };
        return Some((low - half, high + half));
    }
    Some((low, high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks(0.0, 1.0, 5), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        assert_eq!(ticks(-3.0, 47.0, 5), [0.0, 10.0, 20.0, 30.0, 40.0]);
        assert_eq!(ticks(2.0, 2.0, 5), [2.0]);
        for (low, high) in [(1e-9, 3e-9), (-1e12, 1e12), (0.1, 0.10001)] {
            let ticks = ticks(low, high, 6);
            assert!((2..=12).contains(&ticks.len()), "{low}…{high}: {ticks:?}");
        }
    }

    #[test]
    fn numbers_and_times_read_naturally() {
        assert_eq!(number(0.6000000000000001, 0.2), "0.6");
        assert_eq!(number(-20.0, 10.0), "−20");
        assert_eq!(number(-0.0, 0.5), "0.0");
        assert_eq!(clock(15.0, 30.0), "15 s");
        assert_eq!(clock(90.0, 240.0), "1:30");
        assert_eq!(clock(7500.0, 36000.0), "2:05:00");
        assert_eq!(time_ticks(30.0, 10), [0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0]);
    }
}

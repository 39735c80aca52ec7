//! A picture as a list of shapes, before it is SVG or pixels.

use crate::colour::{Colour, Theme, Tones};
use crate::image::Image;

/// Which end of a text its position names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// A piece of text on one line; `y` is its baseline.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    pub x: f64,
    pub y: f64,
    pub size: f64,
    pub bold: bool,
    pub anchor: Anchor,
    pub colour: Colour,
    /// Degrees, clockwise, about (x, y).
    pub turn: f64,
    pub text: String,
}

/// One shape; lengths in pixels at scale 1, origin top left.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    Rect {
        x: f64,
        y: f64,
        w: f64,
        h: f64,
        round: f64,
        fill: Colour,
    },
    /// A line through points, in pixels; `dash` is (on, off), zero for solid.
    Line {
        points: Vec<(f64, f64)>,
        width: f64,
        dash: (f64, f64),
        colour: Colour,
    },
    Dot {
        x: f64,
        y: f64,
        radius: f64,
        fill: Colour,
    },
    Text(Text),
    Image {
        x: f64,
        y: f64,
        w: f64,
        h: f64,
        image: Image,
    },
}

/// A picture.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub width: f64,
    pub height: f64,
    /// Said to screen readers.
    pub title: String,
    pub tones: Tones,
    pub items: Vec<Item>,
}

impl Scene {
    pub fn new(width: f64, height: f64, title: &str, theme: Theme) -> Self {
        Self { width, height, title: clean(title), tones: theme.tones(), items: Vec::new() }
    }

    pub fn rect(&mut self, x: f64, y: f64, w: f64, h: f64, round: f64, fill: Colour) {
        if w > 0.0 && h > 0.0 {
            self.items.push(Item::Rect { x, y, w, h, round, fill });
        }
    }

    pub fn line(&mut self, points: Vec<(f64, f64)>, width: f64, dash: (f64, f64), colour: Colour) {
        if points.len() > 1 {
            self.items.push(Item::Line { points, width, dash, colour });
        }
    }

    pub fn rule(&mut self, from: (f64, f64), to: (f64, f64), colour: Colour) {
        self.line(vec![from, to], 1.0, (0.0, 0.0), colour);
    }

    pub fn dot(&mut self, x: f64, y: f64, radius: f64, fill: Colour) {
        self.items.push(Item::Dot { x, y, radius, fill });
    }

    pub fn text(&mut self, x: f64, y: f64, size: f64, anchor: Anchor, colour: Colour, text: &str) {
        self.push_text(Text {
            x,
            y,
            size,
            bold: false,
            anchor,
            colour,
            turn: 0.0,
            text: clean(text),
        });
    }

    pub fn bold(&mut self, x: f64, y: f64, size: f64, anchor: Anchor, colour: Colour, text: &str) {
        self.push_text(Text {
            x,
            y,
            size,
            bold: true,
            anchor,
            colour,
            turn: 0.0,
            text: clean(text),
        });
    }

    pub fn turned(&mut self, at: (f64, f64), size: f64, anchor: Anchor, turn: f64, text: &str) {
        let colour = self.tones.quiet;
        let text = clean(text);
        self.push_text(Text { x: at.0, y: at.1, size, bold: false, anchor, colour, turn, text });
    }

    pub fn push_text(&mut self, text: Text) {
        if !text.text.is_empty() {
            self.items.push(Item::Text(text));
        }
    }

    pub fn image(&mut self, x: f64, y: f64, w: f64, h: f64, image: Image) {
        self.items.push(Item::Image { x, y, w, h, image });
    }

    /// Title line at the top left; returns the y below it.
    pub fn headline(&mut self, title: &str) -> f64 {
        if title.is_empty() {
            return 20.0;
        }
        let ink = self.tones.ink;
        let title = crate::font::fit(title, 18.0, true, self.width - 48.0);
        self.bold(24.0, 36.0, 18.0, Anchor::Start, ink, &title);
        56.0
    }

    /// The sentence shown where data would be.
    pub fn no_data(&mut self, why: &str) {
        let quiet = self.tones.quiet;
        let at = (self.width / 2.0, self.height / 2.0 + 5.0);
        self.text(at.0, at.1, 15.0, Anchor::Middle, quiet, why);
    }
}

/// Text that is safe in a one-line label: line breaks become spaces, other control
/// characters (XML 1.0 forbids most) a replacement mark, and marks that change the
/// reading direction of what follows disappear.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .filter(|c| !matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'))
        .map(|c| match c {
            '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => ' ',
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => '\u{fffd}',
            c => c,
        })
        .collect()
}

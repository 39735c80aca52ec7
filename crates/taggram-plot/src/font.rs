//! The font inside the program: DejaVu Sans Condensed, which covers Latin, Greek,
//! Cyrillic, Hebrew and Arabic (letters unjoined). Other scripts show as boxes in a PNG;
//! in SVG the viewer chooses the font.

use std::sync::OnceLock;

use ttf_parser::{Face, OutlineBuilder};

/// Regular or bold; parsed once.
pub(crate) fn face(bold: bool) -> &'static Face<'static> {
    static FACES: OnceLock<[Face<'static>; 2]> = OnceLock::new();
    let faces = FACES.get_or_init(|| {
        let parse = |bytes| Face::parse(bytes, 0).expect("the embedded font is a font");
        [parse(dejavu::sans_condensed::regular()), parse(dejavu::sans_condensed::bold())]
    });
    &faces[usize::from(bold)]
}

/// Width of a text in pixels.
pub(crate) fn width(text: &str, size: f64, bold: bool) -> f64 {
    let face = face(bold);
    let units: f64 = text
        .chars()
        .map(|c| {
            let glyph = face.glyph_index(c).unwrap_or_default();
            f64::from(face.glyph_hor_advance(glyph).unwrap_or(0))
        })
        .sum();
    units * size / f64::from(face.units_per_em())
}

/// The text, shortened with an ellipsis where it is wider than `room` pixels.
pub(crate) fn fit(text: &str, size: f64, bold: bool, room: f64) -> String {
    let text = crate::scene::clean(text);
    if width(&text, size, bold) <= room {
        return text;
    }
    let room = room - width("…", size, bold);
    let mut used = 0.0;
    let kept: String = text
        .chars()
        .take_while(|c| {
            used += width(c.encode_utf8(&mut [0; 4]), size, bold);
            used <= room
        })
        .collect();
    format!("{}…", kept.trim_end())
}

/// Feeds the outlines of a text to `sink`, which is told where each glyph begins.
/// The text starts at x = 0 on the baseline y = 0; y points down; font units are scaled.
pub(crate) fn outline<S: GlyphSink>(text: &str, size: f64, bold: bool, sink: &mut S) {
    let face = face(bold);
    let scale = (size / f64::from(face.units_per_em())) as f32;
    let mut pen = 0.0f32;
    for c in visual_order(text).chars() {
        let glyph = face.glyph_index(c).unwrap_or_default();
        sink.place(pen, scale);
        face.outline_glyph(glyph, sink);
        pen += f32::from(face.glyph_hor_advance(glyph).unwrap_or(0)) * scale;
    }
}

/// Receives glyph outlines.
pub(crate) trait GlyphSink: OutlineBuilder {
    /// The next outline starts `x` pixels along, at `scale` pixels a font unit.
    fn place(&mut self, x: f32, scale: f32);
}

/// Characters from left to right as they are seen: right-to-left scripts turned round.
fn visual_order(text: &str) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    let bidi = unicode_bidi::BidiInfo::new(text, None);
    match bidi.paragraphs.first() {
        Some(paragraph) => bidi.reorder_line(paragraph, paragraph.range.clone()).into_owned(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wider_text_is_wider_and_long_text_is_cut() {
        assert!(width("disco", 12.0, false) < width("classical", 12.0, false));
        assert!(width("disco", 12.0, false) < width("disco", 12.0, true));
        let cut = fit("a very long label indeed", 12.0, false, 60.0);
        assert!(cut.ends_with('…') && width(&cut, 12.0, false) <= 60.0, "{cut}");
        assert_eq!(fit("short", 12.0, false, 60.0), "short");
    }

    #[test]
    fn hebrew_runs_from_right_to_left() {
        assert_eq!(visual_order("abc"), "abc");
        assert_eq!(visual_order("אב"), "בא");
    }
}

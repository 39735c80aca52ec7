//! Writes a scene as SVG 1.1 with nothing that needs a network: no scripts, no links.

use std::fmt::Write;

use crate::colour::Colour;
use crate::error::PlotError;
use crate::scene::{Anchor, Item, Scene, Text};

/// The font of the PNG first, then common ones of about the same width.
const FONTS: &str = "'DejaVu Sans Condensed','Helvetica Neue',Arial,sans-serif";

/// The scene as a complete SVG document.
pub(crate) fn write(scene: &Scene) -> Result<String, PlotError> {
    let mut out = String::new();
    let (w, h) = (num(scene.width), num(scene.height));
    let title = escape(&scene.title);
    // Writing to a String cannot fail, here and below.
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}\" height=\"{h}\" viewBox=\"0 0 {w} {h}\" \
         role=\"img\" aria-label=\"{title}\" font-family=\"{FONTS}\">\n<title>{title}</title>\n\
         <rect width=\"{w}\" height=\"{h}\" fill=\"{}\"/>\n",
        hex(scene.tones.page)
    );
    for item in &scene.items {
        write_item(&mut out, item)?;
    }
    out.push_str("</svg>\n");
    Ok(out)
}

fn write_item(out: &mut String, item: &Item) -> Result<(), PlotError> {
    let _ = match item {
        Item::Rect { x, y, w, h, round, fill } => {
            let round =
                if *round > 0.0 { format!(" rx=\"{}\"", num(*round)) } else { String::new() };
            writeln!(
                out,
                "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"{round} fill=\"{}\"/>",
                num(*x),
                num(*y),
                num(*w),
                num(*h),
                hex(*fill)
            )
        }
        Item::Line { points, width, dash, colour } => {
            let mut path = String::new();
            for (i, (x, y)) in points.iter().enumerate() {
                let _ = write!(path, "{}{} {}", if i == 0 { 'M' } else { 'L' }, num(*x), num(*y));
            }
            let dash = if dash.0 > 0.0 {
                format!(" stroke-dasharray=\"{} {}\"", num(dash.0), num(dash.1))
            } else {
                String::new()
            };
            writeln!(
                out,
                "<path d=\"{path}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\" stroke-linejoin=\"round\"{dash}/>",
                hex(*colour),
                num(*width)
            )
        }
        Item::Dot { x, y, radius, fill } => writeln!(
            out,
            "<circle cx=\"{}\" cy=\"{}\" r=\"{}\" fill=\"{}\"/>",
            num(*x),
            num(*y),
            num(*radius),
            hex(*fill)
        ),
        Item::Text(text) => {
            write_text(out, text);
            Ok(())
        }
        Item::Image { x, y, w, h, image } => writeln!(
            out,
            "<image x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" preserveAspectRatio=\"none\" \
             style=\"image-rendering:pixelated\" href=\"{}\"/>",
            num(*x),
            num(*y),
            num(*w),
            num(*h),
            image.data_uri()?
        ),
    };
    Ok(())
}

fn write_text(out: &mut String, t: &Text) {
    let (x, y) = (num(t.x), num(t.y));
    let anchor = match t.anchor {
        Anchor::Start => "",
        Anchor::Middle => " text-anchor=\"middle\"",
        Anchor::End => " text-anchor=\"end\"",
    };
    let bold = if t.bold { " font-weight=\"bold\"" } else { "" };
    let turn = if t.turn != 0.0 {
        format!(" transform=\"rotate({} {x} {y})\"", num(t.turn))
    } else {
        String::new()
    };
    let _ = writeln!(
        out,
        "<text x=\"{x}\" y=\"{y}\" font-size=\"{}\"{bold}{anchor}{turn} fill=\"{}\">{}</text>",
        num(t.size),
        hex(t.colour),
        escape(&t.text)
    );
}

/// A number with at most two decimals, the same on every machine.
fn num(value: f64) -> String {
    let text = format!("{:.2}", if value.is_finite() { value } else { 0.0 });
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

fn hex(c: Colour) -> String {
    format!("#{:02x}{:02x}{:02x}", c.0, c.1, c.2)
}

/// The five characters that mean something in XML, written so that they do not.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

//! Paints a scene into pixels.

use tiny_skia::{
    Color, FillRule, FilterQuality, LineJoin, Paint, Path, PathBuilder, Pattern, Pixmap, Rect,
    SpreadMode, Stroke, StrokeDash, Transform,
};
use ttf_parser::OutlineBuilder;

use crate::colour::Colour;
use crate::error::{PlotError, PlotErrorKind};
use crate::font::{self, GlyphSink};
use crate::image::{self, Image};
use crate::scene::{Anchor, Item, Scene, Text};

/// Larger pictures are refused: 64 million pixels are 256 MB.
const MAX_PIXELS: f64 = 64e6;

/// The scene as a PNG file, `scale` pixels for each unit of the scene.
pub(crate) fn png(scene: &Scene, scale: f32) -> Result<Vec<u8>, PlotError> {
    let pixels = scene.width * scene.height * f64::from(scale) * f64::from(scale);
    if !(scale > 0.0 && scale.is_finite() && pixels <= MAX_PIXELS) {
        let (w, h) = (scene.width, scene.height);
        let message = format!(
            "The scale {scale} is not usable: a {w} × {h} picture may have at most 64 million pixels."
        );
        return Err(PlotError::new(PlotErrorKind::OverLimit, message));
    }
    let size = |length: f64| (length * f64::from(scale)).ceil() as u32;
    let mut canvas = Pixmap::new(size(scene.width), size(scene.height)).ok_or_else(|| {
        let message = "A picture without width or height cannot be painted.";
        PlotError::new(PlotErrorKind::Bug, message)
    })?;
    canvas.fill(colour(scene.tones.page));
    let zoom = Transform::from_scale(scale, scale);
    for item in &scene.items {
        paint_item(&mut canvas, item, zoom);
    }
    // The page is opaque, so premultiplied colours are the colours themselves.
    let samples: Vec<u8> = canvas.data().chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]]).collect();
    let (w, h) = (canvas.width() as usize, canvas.height() as usize);
    image::encode(w, h, png::ColorType::Rgb, &samples, |_| {})
}

fn paint_item(canvas: &mut Pixmap, item: &Item, zoom: Transform) {
    match item {
        Item::Rect { x, y, w, h, round, fill } => {
            if let Some(path) = rounded(*x as f32, *y as f32, *w as f32, *h as f32, *round as f32) {
                canvas.fill_path(&path, &ink(*fill), FillRule::Winding, zoom, None);
            }
        }
        Item::Line { points, width, dash, colour } => {
            let mut path = PathBuilder::new();
            for (i, &(x, y)) in points.iter().enumerate() {
                if i == 0 {
                    path.move_to(x as f32, y as f32);
                } else {
                    path.line_to(x as f32, y as f32);
                }
            }
            let dash = (dash.0 > 0.0)
                .then(|| StrokeDash::new(vec![dash.0 as f32, dash.1 as f32], 0.0))
                .flatten();
            let stroke = Stroke {
                width: *width as f32,
                line_join: LineJoin::Round,
                dash,
                ..Stroke::default()
            };
            if let Some(path) = path.finish() {
                canvas.stroke_path(&path, &ink(*colour), &stroke, zoom, None);
            }
        }
        Item::Dot { x, y, radius, fill } => {
            if let Some(path) = PathBuilder::from_circle(*x as f32, *y as f32, *radius as f32) {
                canvas.fill_path(&path, &ink(*fill), FillRule::Winding, zoom, None);
            }
        }
        Item::Text(text) => paint_text(canvas, text, zoom),
        Item::Image { x, y, w, h, image } => {
            paint_image(canvas, (*x as f32, *y as f32, *w as f32, *h as f32), image, zoom);
        }
    }
}

/// A rectangle whose corners are rounded with quadratic curves.
fn rounded(x: f32, y: f32, w: f32, h: f32, round: f32) -> Option<Path> {
    let rect = Rect::from_xywh(x, y, w, h)?;
    let r = round.min(w / 2.0).min(h / 2.0);
    if r <= 0.0 {
        return Some(PathBuilder::from_rect(rect));
    }
    let (right, bottom) = (x + w, y + h);
    let mut path = PathBuilder::new();
    path.move_to(x + r, y);
    path.line_to(right - r, y);
    path.quad_to(right, y, right, y + r);
    path.line_to(right, bottom - r);
    path.quad_to(right, bottom, right - r, bottom);
    path.line_to(x + r, bottom);
    path.quad_to(x, bottom, x, bottom - r);
    path.line_to(x, y + r);
    path.quad_to(x, y, x + r, y);
    path.close();
    path.finish()
}

/// Glyph outlines as a path.
struct Outline {
    path: PathBuilder,
    x: f32,
    scale: f32,
}

impl Outline {
    fn at(&self, x: f32, y: f32) -> (f32, f32) {
        (self.x + x * self.scale, -y * self.scale)
    }
}

impl GlyphSink for Outline {
    fn place(&mut self, x: f32, scale: f32) {
        (self.x, self.scale) = (x, scale);
    }
}

impl OutlineBuilder for Outline {
    fn move_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.path.move_to(x, y);
    }
    fn line_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.path.line_to(x, y);
    }
    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let ((x1, y1), (x, y)) = (self.at(x1, y1), self.at(x, y));
        self.path.quad_to(x1, y1, x, y);
    }
    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let ((x1, y1), (x2, y2), (x, y)) = (self.at(x1, y1), self.at(x2, y2), self.at(x, y));
        self.path.cubic_to(x1, y1, x2, y2, x, y);
    }
    fn close(&mut self) {
        self.path.close();
    }
}

fn paint_text(canvas: &mut Pixmap, t: &Text, zoom: Transform) {
    let mut outline = Outline { path: PathBuilder::new(), x: 0.0, scale: 1.0 };
    font::outline(&t.text, t.size, t.bold, &mut outline);
    let Some(path) = outline.path.finish() else { return };
    let width = font::width(&t.text, t.size, t.bold) as f32;
    let back = match t.anchor {
        Anchor::Start => 0.0,
        Anchor::Middle => -width / 2.0,
        Anchor::End => -width,
    };
    let place = Transform::from_translate(back, 0.0)
        .post_concat(Transform::from_rotate(t.turn as f32))
        .post_concat(Transform::from_translate(t.x as f32, t.y as f32))
        .post_concat(zoom);
    canvas.fill_path(&path, &ink(t.colour), FillRule::Winding, place, None);
}

fn paint_image(canvas: &mut Pixmap, at: (f32, f32, f32, f32), image: &Image, zoom: Transform) {
    let (x, y, w, h) = at;
    let Some(mut pixels) = Pixmap::new(image.width as u32, image.height as u32) else { return };
    for (target, &place) in pixels.data_mut().chunks_exact_mut(4).zip(&image.pixels) {
        let c = image.palette[usize::from(place)];
        target.copy_from_slice(&[c.0, c.1, c.2, 255]);
    }
    let Some(rect) = Rect::from_xywh(x, y, w, h) else { return };
    let stretch = Transform::from_scale(w / image.width as f32, h / image.height as f32)
        .post_concat(Transform::from_translate(x, y));
    let shader =
        Pattern::new(pixels.as_ref(), SpreadMode::Pad, FilterQuality::Nearest, 1.0, stretch);
    let paint = Paint { shader, anti_alias: false, ..Paint::default() };
    canvas.fill_rect(rect, &paint, zoom, None);
}

fn colour(c: Colour) -> Color {
    Color::from_rgba8(c.0, c.1, c.2, 255)
}

fn ink(c: Colour) -> Paint<'static> {
    let mut paint = Paint::default();
    paint.set_color(colour(c));
    paint
}

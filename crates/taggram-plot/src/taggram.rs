//! The picture of one song: its spectrogram, below it each genre's probability over
//! time, and the verdict above both.

use crate::axis::{clock, time_ticks};
use crate::chart::Chart;
use crate::colour::{ColourMap, Theme};
use crate::error::PlotError;
use crate::font;
use crate::image::Image;
use crate::scene::{Anchor, Scene};

/// Levels over time and frequency.
#[derive(Clone, Copy, Debug)]
pub struct Spectrogram<'a> {
    /// `[frame, band]` in dB, lowest band first.
    pub levels_db: &'a [f32],
    /// Number of frames.
    pub frames: usize,
    /// Number of bands.
    pub bands: usize,
    /// Length of what the frames cover, in seconds.
    pub seconds: f64,
}

/// A spectrogram made small and coarse, for eyes.
#[derive(Clone, Debug, PartialEq)]
pub struct Levels {
    /// Number of frames.
    pub frames: usize,
    /// Number of bands.
    pub bands: usize,
    /// `[frame, band]`, lowest band first: 0 is 80 dB below the loudest, or the softest there is; 255 the loudest.
    pub data: Vec<u8>,
}

impl Spectrogram<'_> {
    /// At most so many frames and bands; neighbours are averaged.
    pub fn levels(&self, max_frames: usize, max_bands: usize) -> Levels {
        let finite = || self.levels_db.iter().copied().filter(|v| v.is_finite());
        let loudest = finite().fold(f32::NEG_INFINITY, f32::max);
        let softest = finite().fold(f32::INFINITY, f32::min);
        let floor = softest.max(loudest - DYNAMIC_RANGE_DB);
        let span = (loudest - floor).max(1e-3);
        let (frames, bands) = (self.frames.min(max_frames), self.bands.min(max_bands));
        let mut data = Vec::with_capacity(frames * bands);
        for column in 0..frames {
            let from = column * self.frames / frames..(column + 1) * self.frames / frames;
            for row in 0..bands {
                let (a, b) = (row * self.bands / bands, (row + 1) * self.bands / bands);
                let cell = from
                    .clone()
                    .flat_map(|f| &self.levels_db[f * self.bands + a..f * self.bands + b])
                    .map(|v| if v.is_finite() { (v - floor) / span } else { 0.0 });
                data.push((mean(cell) * 255.0).round() as u8);
            }
        }
        Levels { frames, bands, data }
    }
}

/// Runners-up that a picture names.
const RUNNERS_UP: usize = 3;

/// The headline of a song's picture and the line under it: `reggae 62 %` and `then disco 9 %, … · model default`.
/// Probabilities are 0…1.
pub fn headlines(
    genre: &str,
    confidence: f32,
    scores: &[(String, f32)],
    model: &str,
) -> (String, String) {
    let mut scores: Vec<&(String, f32)> = scores.iter().filter(|(name, _)| name != genre).collect();
    scores.sort_by(|a, b| b.1.total_cmp(&a.1));
    let runners_up: Vec<String> = scores
        .iter()
        .take(RUNNERS_UP)
        .map(|(name, p)| format!("{name} {:.0} %", 100.0 * p))
        .collect();
    (
        format!("{genre} {:.0} %", 100.0 * confidence),
        format!("then {} · model {model}", runners_up.join(", ")),
    )
}

/// What is drawn of a song.
#[derive(Clone, Debug, Default)]
pub struct TaggramPicture<'a> {
    /// Small line at the top, e.g. the file name.
    pub title: &'a str,
    /// The headline, e.g. `reggae 62 %`.
    pub verdict: &'a str,
    /// Line under the headline, e.g. model and runners-up.
    pub subtitle: &'a str,
    /// Names of the columns of `probabilities`.
    pub labels: &'a [String],
    /// `[patch, label]`, 0…1.
    pub probabilities: &'a [f32],
    /// Start of each patch, in seconds, rising.
    pub starts_s: &'a [f64],
    /// Length of a patch, in seconds.
    pub window_s: f64,
    /// Levels over time, drawn above the genres.
    pub spectrogram: Option<Spectrogram<'a>>,
    /// Light or dark page.
    pub theme: Theme,
}

/// Columns of the images inside the picture, at most: twice the pixels they cover.
const MAX_COLUMNS: usize = 1600;
/// Labels drawn, at most; of more, those with the highest mean.
const MAX_ROWS: usize = 50;
/// Levels more than this below the loudest are black, in dB.
const DYNAMIC_RANGE_DB: f32 = 80.0;

const WIDTH: f64 = 1200.0;
const MARGIN: f64 = 28.0;
const SPECTRUM_HEIGHT: f64 = 190.0;

/// Draws the picture of a song. Rows are sorted by mean probability, the highest on top
/// and the first three in bold. The work and the size of the picture do not grow with the
/// length of the song. Without patches the picture says so.
///
/// # Errors
/// When there are not patches × labels probabilities or frames × bands levels, or when
/// the patches' start times do not rise.
pub fn taggram(picture: &TaggramPicture<'_>) -> Result<Chart, PlotError> {
    check(picture)?;
    let shown = ranking(picture);
    let row = if shown.len() <= 12 {
        28.0
    } else if shown.len() <= 24 {
        22.0
    } else {
        17.0
    };
    let size = if row >= 22.0 { 13.5 } else { 11.5 };
    let names: Vec<String> = shown
        .iter()
        .map(|&(label, _)| font::fit(&picture.labels[label], size, true, 200.0))
        .collect();
    let left =
        MARGIN + names.iter().map(|n| font::width(n, size, true)).fold(76.0, f64::max) + 14.0;
    let right = WIDTH - 190.0;
    let spectrum = picture.spectrogram.filter(|s| s.frames > 0 && s.bands > 0 && s.seconds > 0.0);
    let top = 130.0;
    let rows_top = top + if spectrum.is_some() { SPECTRUM_HEIGHT + 14.0 } else { 0.0 };
    let rows_bottom = rows_top + row * shown.len().max(4) as f64;
    let title = if picture.title.is_empty() { picture.verdict } else { picture.title };
    let mut scene = Scene::new(WIDTH, rows_bottom + 52.0, title, picture.theme);
    heading(&mut scene, picture);
    let tones = scene.tones;
    let patches = picture.starts_s.len();
    let mut end = picture.starts_s.last().map_or(0.0, |s| s + picture.window_s);
    if let Some(s) = spectrum {
        end = end.max(s.seconds);
    }
    if patches == 0 || shown.is_empty() {
        let (x, y) = ((left + right) / 2.0, (rows_top + rows_bottom) / 2.0);
        scene.text(x, y, 15.0, Anchor::Middle, tones.quiet, "No patches to draw.");
        if spectrum.is_none() {
            return Chart::new(scene);
        }
    }
    let px = |t: f64| left + t / end * (right - left);

    if let Some(s) = spectrum {
        let image = spectrum_image(&s);
        scene.image(left, top, px(s.seconds) - left, SPECTRUM_HEIGHT, image);
        let x = left - 14.0;
        scene.text(x, top + 12.0, 11.5, Anchor::End, tones.quiet, "high");
        scene.text(x, top + SPECTRUM_HEIGHT - 3.0, 11.5, Anchor::End, tones.quiet, "low");
        let middle = top + SPECTRUM_HEIGHT / 2.0 + 4.0;
        scene.text(x, middle, 11.5, Anchor::End, tones.quiet, "frequency");
    }
    if patches > 0 && !shown.is_empty() {
        let first = picture.starts_s[0];
        let last = picture.starts_s[patches - 1] + picture.window_s;
        let image = rows_image(picture, &shown, first, last);
        let height = row * shown.len() as f64;
        scene.image(px(first), rows_top, px(last) - px(first), height, image);
    }
    for (i, (&(_, mean), name)) in shown.iter().zip(&names).enumerate() {
        let y = rows_top + row * i as f64;
        // A line of page colour between the rows keeps them apart.
        scene.rect(left, y + row - 2.0, right - left, 2.0, 0.0, tones.page);
        let text_y = y + (row - 2.0) / 2.0 + size * 0.36;
        let bar = (right + 18.0, 92.0);
        let thick = (row - 14.0).clamp(6.0, 12.0);
        let bar_y = y + (row - 2.0 - thick) / 2.0;
        scene.rect(bar.0, bar_y, bar.1, thick, 3.0, tones.track);
        let share = f64::from(mean).clamp(0.0, 1.0);
        let strong = if i < 3 { tones.accent } else { tones.accent.mix(tones.page, 0.5) };
        scene.rect(bar.0, bar_y, (bar.1 * share).max(1.0), thick, 3.0, strong);
        let percent = format!("{:.1} %", 100.0 * share);
        let at = bar.0 + bar.1 + 58.0;
        if i < 3 {
            scene.bold(left - 14.0, text_y, size, Anchor::End, tones.ink, name);
            scene.bold(at, text_y, 12.5, Anchor::End, tones.ink, &percent);
        } else {
            scene.text(left - 14.0, text_y, size, Anchor::End, tones.quiet, name);
            scene.text(at, text_y, 12.5, Anchor::End, tones.quiet, &percent);
        }
    }
    let caption = if shown.len() < picture.labels.len() {
        format!("mean (top {} of {})", shown.len(), picture.labels.len())
    } else {
        "mean".to_owned()
    };
    scene.text(right + 18.0, rows_top - 6.0, 11.5, Anchor::Start, tones.quiet, &caption);

    let axis = rows_bottom + 2.0;
    scene.rule((left, axis), (right, axis), tones.quiet);
    for t in time_ticks(end, 12) {
        scene.rule((px(t), axis), (px(t), axis + 5.0), tones.quiet);
        let label = clock(t, end);
        scene.text(px(t), axis + 20.0, 12.0, Anchor::Middle, tones.quiet, &label);
    }
    Chart::new(scene)
}

fn heading(scene: &mut Scene, picture: &TaggramPicture<'_>) {
    let tones = scene.tones;
    let room = WIDTH - 2.0 * MARGIN - 130.0;
    let title = font::fit(picture.title, 13.0, false, room);
    scene.text(MARGIN, 34.0, 13.0, Anchor::Start, tones.quiet, &title);
    let verdict = font::fit(picture.verdict, 28.0, true, room);
    scene.bold(MARGIN, 70.0, 28.0, Anchor::Start, tones.ink, &verdict);
    let subtitle = font::fit(picture.subtitle, 14.0, false, room);
    scene.text(MARGIN, 98.0, 14.0, Anchor::Start, tones.quiet, &subtitle);
    // The key to the colours of the rows.
    let (x, y, w) = (WIDTH - MARGIN - 162.0, 90.0, 162.0);
    let map = picture.theme.shares();
    for step in 0..60 {
        let fill = map.colour(step as f32 / 59.0);
        scene.rect(x + w * f64::from(step) / 60.0, y, w / 60.0 + 0.4, 8.0, 0.0, fill);
    }
    scene.text(x, y - 6.0, 11.0, Anchor::Start, tones.quiet, "0 %");
    scene.text(x + w / 2.0, y - 6.0, 11.0, Anchor::Middle, tones.quiet, "probability");
    scene.text(x + w, y - 6.0, 11.0, Anchor::End, tones.quiet, "100 %");
}

fn check(p: &TaggramPicture<'_>) -> Result<(), PlotError> {
    let (patches, labels) = (p.starts_s.len(), p.labels.len());
    if p.probabilities.len() != patches * labels {
        return Err(PlotError::malformed(format!(
            "The taggram has {} probabilities for {patches} patches and {labels} labels; it needs {}.",
            p.probabilities.len(),
            patches * labels
        )));
    }
    let rising = p.starts_s.windows(2).all(|w| w[0] < w[1]);
    let finite = p.starts_s.iter().all(|s| s.is_finite() && *s >= 0.0);
    if !(rising && finite && p.window_s.is_finite()) || (patches > 0 && p.window_s <= 0.0) {
        return Err(PlotError::malformed(format!(
            "The patches' start times must rise from 0 or more and a patch must last longer than 0 s; \
             found {:?}… and {} s.",
            &p.starts_s[..patches.min(4)],
            p.window_s
        )));
    }
    if let Some(s) = p.spectrogram
        && s.levels_db.len() != s.frames * s.bands
    {
        return Err(PlotError::malformed(format!(
            "The spectrogram has {} levels for {} frames and {} bands; it needs {}.",
            s.levels_db.len(),
            s.frames,
            s.bands,
            s.frames * s.bands
        )));
    }
    Ok(())
}

/// Labels and their means over all patches, the highest first.
fn ranking(p: &TaggramPicture<'_>) -> Vec<(usize, f32)> {
    let labels = p.labels.len();
    let mut sums = vec![(0.0f64, 0u64); labels];
    for row in p.probabilities.chunks_exact(labels.max(1)) {
        for (sum, v) in sums.iter_mut().zip(row).filter(|(_, v)| v.is_finite()) {
            *sum = (sum.0 + f64::from(*v), sum.1 + 1);
        }
    }
    let mean = |&(sum, n): &(f64, u64)| if n > 0 { (sum / n as f64) as f32 } else { 0.0 };
    let mut order: Vec<(usize, f32)> = sums.iter().map(mean).enumerate().collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    order.truncate(MAX_ROWS);
    order
}

/// Probabilities over time, a row of pixels for each label. A patch is shown around its
/// middle: the border between two patches lies halfway between their middles.
fn rows_image(p: &TaggramPicture<'_>, shown: &[(usize, f32)], from: f64, to: f64) -> Image {
    let (patches, labels) = (p.starts_s.len(), p.labels.len());
    let width = MAX_COLUMNS;
    let border = |i: usize| match i {
        0 => from,
        i if i == patches => to,
        i => (p.starts_s[i - 1] + p.starts_s[i] + p.window_s) / 2.0,
    };
    let mut pixels = vec![0u8; width * shown.len()];
    let mut first = 0;
    for column in 0..width {
        let t = |c: usize| from + (to - from) * c as f64 / width as f64;
        let (start, end) = (t(column), t(column + 1));
        while first + 1 < patches && border(first + 1) <= start {
            first += 1;
        }
        // Many patches to a column: their mean. Few: the one in the middle of the column.
        let mut last = first;
        while last + 1 < patches && border(last + 1) < (start + end) / 2.0 {
            last += 1;
        }
        for (r, &(label, _)) in shown.iter().enumerate() {
            let values = (first..=last).map(|i| p.probabilities[i * labels + label]);
            pixels[r * width + column] = (mean(values) * 255.0).round() as u8;
        }
    }
    Image { width, height: shown.len(), pixels, palette: p.theme.shares().palette() }
}

/// The spectrogram with the low bands at the bottom, at most [`MAX_COLUMNS`] wide.
fn spectrum_image(s: &Spectrogram<'_>) -> Image {
    let levels = s.levels(MAX_COLUMNS, 512);
    let (width, height) = (levels.frames, levels.bands);
    let mut pixels = vec![0u8; width * height];
    for (column, frame) in levels.data.chunks_exact(height).enumerate() {
        for (band, &level) in frame.iter().enumerate() {
            pixels[(height - 1 - band) * width + column] = level;
        }
    }
    Image { width, height, pixels, palette: ColourMap::Magma.palette() }
}

/// Mean of values clamped to 0…1; NaN counts as 0.
fn mean(values: impl Iterator<Item = f32>) -> f32 {
    let (sum, n) = values.fold((0.0, 0), |(sum, n), v| {
        (sum + if v.is_nan() { 0.0 } else { v.clamp(0.0, 1.0) }, n + 1)
    });
    if n > 0 { sum / n as f32 } else { 0.0 }
}

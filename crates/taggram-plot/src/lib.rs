//! Pictures of results: a song's taggram, learning curves, confusion matrices,
//! bars with intervals, heat maps and calibration plots, as SVG or PNG.
//!
//! A chart is laid out once as a small list of shapes (`scene`), which two writers
//! understand: one prints SVG, the other paints pixels. The font travels with the
//! program, so a PNG looks the same on a machine without any fonts. Output depends on
//! nothing but the input: the same numbers give the same bytes.
//!
//! Text in pictures is escaped and cleaned (no control or direction-override
//! characters), so labels may come from anywhere.

mod axis;
mod bars;
mod chart;
mod colour;
mod error;
mod font;
mod image;
mod lines;
mod matrix;
mod raster;
mod reliability;
mod scene;
mod svg;
mod taggram;

pub use bars::{BarChart, BarSeries, bar_chart};
pub use chart::Chart;
pub use colour::{Colour, ColourMap, GENRE_COLOURS, Theme};
pub use error::{PlotError, PlotErrorKind};
pub use image::base64;
pub use lines::{LineChart, LineStyle, Series, line_chart};
pub use matrix::{Heatmap, confusion_matrix, confusion_matrix_with, heatmap};
pub use reliability::{Reliability, ReliabilityBin, reliability};
pub use taggram::{Levels, Spectrogram, TaggramPicture, headlines, taggram};

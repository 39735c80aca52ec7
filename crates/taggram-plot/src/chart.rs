//! A finished picture and how it is saved.

use std::io::Write;
use std::path::Path;

use crate::error::{PlotError, PlotErrorKind};
use crate::scene::Scene;
use crate::{raster, svg};

/// A finished picture.
#[derive(Clone, Debug)]
pub struct Chart {
    scene: Scene,
    svg: String,
}

impl Chart {
    pub(crate) fn new(scene: Scene) -> Result<Self, PlotError> {
        let svg = svg::write(&scene)?;
        Ok(Self { scene, svg })
    }

    /// The picture as an SVG document: self-contained, no scripts, no links.
    pub fn svg(&self) -> &str {
        &self.svg
    }

    /// The picture as a PNG file with `scale` pixels for each SVG unit: 1 for the nominal
    /// size, 2 for sharp displays.
    ///
    /// # Errors
    /// When `scale` is not positive or the picture would exceed 64 million pixels.
    pub fn png(&self, scale: f32) -> Result<Vec<u8>, PlotError> {
        raster::png(&self.scene, scale)
    }

    /// Width and height in SVG units.
    pub fn size(&self) -> (f64, f64) {
        (self.scene.width, self.scene.height)
    }

    /// Writes `path` in the format its extension names (`.svg`, or `.png` at scale 2),
    /// whole or not at all.
    ///
    /// # Errors
    /// Another extension, or a file that cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), PlotError> {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
        let png;
        let bytes = match extension.to_ascii_lowercase().as_str() {
            "svg" => self.svg.as_bytes(),
            "png" => {
                png = self.png(2.0)?;
                &png
            }
            other => {
                let message = format!(
                    "Pictures are written as .svg or .png, and the name ends in “.{other}”."
                );
                return Err(at(path, PlotErrorKind::Unsupported, message));
            }
        };
        write_whole(path, bytes).map_err(|e| {
            at(path, PlotErrorKind::Io, format!("The picture could not be written: {e}."))
        })
    }
}

/// Writes beside the target and renames, so that nobody sees half a file.
fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    // Temporary files are private by default; a picture is an ordinary file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|e| e.error)?;
    Ok(())
}

fn at(path: &Path, kind: PlotErrorKind, message: String) -> PlotError {
    PlotError { kind, path: Some(path.to_owned()), message }
}

//! Small indexed images inside pictures: spectrograms and heat maps.

use crate::colour::Colour;
use crate::error::{PlotError, PlotErrorKind};

/// An image with at most 256 colours, rows from top to bottom.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub width: usize,
    pub height: usize,
    /// `[row, column]` places in the palette.
    pub pixels: Vec<u8>,
    pub palette: Vec<Colour>,
}

impl Image {
    /// The image as a PNG file.
    pub fn png(&self) -> Result<Vec<u8>, PlotError> {
        encode(self.width, self.height, png::ColorType::Indexed, &self.pixels, |encoder| {
            encoder.set_palette(
                self.palette.iter().flat_map(|c| [c.0, c.1, c.2]).collect::<Vec<u8>>(),
            );
        })
    }

    /// The image as an address that can stand inside an SVG file.
    pub fn data_uri(&self) -> Result<String, PlotError> {
        Ok(format!("data:image/png;base64,{}", base64(&self.png()?)))
    }
}

/// A PNG file of 8-bit samples.
pub(crate) fn encode(
    width: usize,
    height: usize,
    colour: png::ColorType,
    samples: &[u8],
    prepare: impl FnOnce(&mut png::Encoder<'_, &mut Vec<u8>>),
) -> Result<Vec<u8>, PlotError> {
    let bug = |e: png::EncodingError| {
        PlotError::new(PlotErrorKind::Bug, format!("A PNG image could not be written: {e}."))
    };
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
    encoder.set_color(colour);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Balanced);
    prepare(&mut encoder);
    let mut writer = encoder.write_header().map_err(bug)?;
    writer.write_image_data(samples).map_err(bug)?;
    writer.finish().map_err(bug)?;
    Ok(bytes)
}

/// Base 64 with the standard alphabet and padding (RFC 4648, section 4).
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0u32, |bits, &b| bits << 8 | u32::from(b)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            if place <= chunk.len() {
                text.push(char::from(ALPHABET[(bits >> (18 - 6 * place)) as usize & 63]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_agrees_with_the_examples_of_rfc_4648() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(super::base64(plain.as_bytes()), coded);
        }
    }
}

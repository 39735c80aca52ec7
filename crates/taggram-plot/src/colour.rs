//! Colours: two themes, a palette for genres, and colour maps for numbers.

/// An opaque colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour(
    /// Red, 0…255.
    pub u8,
    /// Green, 0…255.
    pub u8,
    /// Blue, 0…255.
    pub u8,
);

impl Colour {
    pub(crate) const fn hex(rgb: u32) -> Self {
        Self((rgb >> 16) as u8, (rgb >> 8) as u8, rgb as u8)
    }

    /// The colour a share `t` (0…1) of the way to `other`.
    pub fn mix(self, other: Self, t: f32) -> Self {
        let t = if t.is_finite() { t.clamp(0.0, 1.0) } else { 0.0 };
        let part = |a: u8, b: u8| (f32::from(a) + (f32::from(b) - f32::from(a)) * t).round() as u8;
        Self(part(self.0, other.0), part(self.1, other.1), part(self.2, other.2))
    }

    /// Relative luminance 0…1 as WCAG 2 defines it: how light the colour looks.
    pub fn luminance(self) -> f32 {
        let linear = |c: u8| {
            let c = f32::from(c) / 255.0;
            if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * linear(self.0) + 0.7152 * linear(self.1) + 0.0722 * linear(self.2)
    }

    /// Near-black or white, whichever reads better on this colour.
    pub(crate) fn ink(self) -> Self {
        // WCAG contrast against this near-black and against white is equal at luminance 0.199.
        if self.luminance() > 0.199 { Self::hex(0x14181d) } else { Self::hex(0xffffff) }
    }
}

/// Ten colours that stay apart for colour-blind readers too: the ten-colour cycle of
/// M. Petroff, "Accessible Color Sequences for Data Visualization", 2021 (arXiv:2107.02270).
pub const GENRE_COLOURS: [Colour; 10] = [
    Colour::hex(0x3f90da),
    Colour::hex(0xffa90e),
    Colour::hex(0xbd1f01),
    Colour::hex(0x94a4a2),
    Colour::hex(0x832db6),
    Colour::hex(0xa96b59),
    Colour::hex(0xe76300),
    Colour::hex(0xb9ac70),
    Colour::hex(0x717581),
    Colour::hex(0x92dadd),
];

/// Dark ink on a light page, or the reverse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    /// White page.
    #[default]
    Light,
    /// Near-black page.
    Dark,
}

/// The colours of a theme.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tones {
    /// The page.
    pub page: Colour,
    /// Headlines and values.
    pub ink: Colour,
    /// Labels of axes, subtitles.
    pub quiet: Colour,
    /// Grid lines.
    pub grid: Colour,
    /// Bars and the first line.
    pub accent: Colour,
    /// Unlit part of a bar.
    pub track: Colour,
}

impl Theme {
    pub(crate) fn tones(self) -> Tones {
        match self {
            Self::Light => Tones {
                page: Colour::hex(0xffffff),
                ink: Colour::hex(0x1b2027),
                quiet: Colour::hex(0x5c6670),
                grid: Colour::hex(0xe4e8ec),
                accent: Colour::hex(0x2b6cb0),
                track: Colour::hex(0xf0f3f6),
            },
            Self::Dark => Tones {
                page: Colour::hex(0x14171c),
                ink: Colour::hex(0xeceff2),
                quiet: Colour::hex(0x9aa5b0),
                grid: Colour::hex(0x2b3139),
                accent: Colour::hex(0x63b3ed),
                track: Colour::hex(0x20252c),
            },
        }
    }

    /// The colour map for shares from nothing (the page) to all.
    pub(crate) fn shares(self) -> ColourMap {
        match self {
            Self::Light => ColourMap::Blues,
            Self::Dark => ColourMap::Night,
        }
    }
}

/// How a number 0…1 becomes a colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColourMap {
    /// Dark violet over green to yellow; equal steps look equal (S. van der Walt, N. Smith, matplotlib 1.5).
    #[default]
    Viridis,
    /// Black over red to pale yellow (same source): spectrograms.
    Magma,
    /// White to dark blue, after ColorBrewer's "Blues" (C. Brewer): shares on a light page.
    Blues,
    /// Near-black to pale blue: shares on a dark page.
    Night,
}

impl ColourMap {
    /// Evenly spaced points of the published maps, between which is interpolated.
    fn points(self) -> &'static [u32] {
        match self {
            Self::Viridis => &[
                0x440154, 0x482475, 0x414487, 0x355f8d, 0x2a788e, 0x21918c, 0x22a884, 0x44bf70,
                0x7ad151, 0xbddf26, 0xfde725,
            ],
            Self::Magma => &[
                0x000004, 0x140e36, 0x3b0f70, 0x641a80, 0x8c2981, 0xb73779, 0xde4968, 0xf7705c,
                0xfe9f6d, 0xfecf92, 0xfcfdbf,
            ],
            Self::Blues => &[
                0xf7fbff, 0xdeebf7, 0xc6dbef, 0x9ecae1, 0x6baed6, 0x4292c6, 0x2171b5, 0x08519c,
                0x08306b,
            ],
            Self::Night => &[
                0x191d23, 0x16283c, 0x143757, 0x154b78, 0x20659f, 0x3a84c4, 0x63a6dd, 0x9ccbf0,
                0xd8edfc,
            ],
        }
    }

    /// The colour of `value`; outside 0…1 the ends, for NaN the low end.
    pub fn colour(self, value: f32) -> Colour {
        let points = self.points();
        let place =
            if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) } * (points.len() - 1) as f32;
        let low = (place as usize).min(points.len() - 2);
        Colour::hex(points[low]).mix(Colour::hex(points[low + 1]), place - low as f32)
    }

    /// The map in 256 steps.
    pub(crate) fn palette(self) -> Vec<Colour> {
        (0..256).map(|i| self.colour(i as f32 / 255.0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_run_steadily_from_end_to_end() {
        for (map, rising) in [
            (ColourMap::Viridis, true),
            (ColourMap::Magma, true),
            (ColourMap::Blues, false),
            (ColourMap::Night, true),
        ] {
            let light: Vec<f32> = map.palette().iter().map(|c| c.luminance()).collect();
            for pair in light.windows(2) {
                let step = if rising { pair[1] - pair[0] } else { pair[0] - pair[1] };
                assert!(step > -0.004, "{map:?} turns back: {pair:?}");
            }
        }
        assert_eq!(ColourMap::Viridis.colour(f32::NAN), Colour::hex(0x440154));
        assert_eq!(ColourMap::Viridis.colour(7.0), Colour::hex(0xfde725));
    }

    #[test]
    fn ink_is_readable_on_every_map_colour() {
        for colour in ColourMap::Viridis.palette().into_iter().chain(ColourMap::Blues.palette()) {
            let (a, b) = (colour.luminance(), colour.ink().luminance());
            let contrast = (a.max(b) + 0.05) / (a.min(b) + 0.05);
            assert!(contrast > 4.0, "{colour:?} has contrast {contrast}");
        }
    }
}

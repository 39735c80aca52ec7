//! Matrix products with one side packed ahead of time.
//!
//! The register tile is 8 × 48 values on AVX-512 and 4 × 24 on AVX2: 24 or 12 accumulators
//! keep both multiply-add ports busy, and each step loads three vectors of one side and
//! broadcasts single values of the other. There is no blocking over the inner dimension:
//! both panels then stream from the second-level cache, whose bandwidth suffices for these
//! tiles, and results never have to be read back.

use super::tile::Tile;
use super::{Isa, elementwise};
use crate::network::Activation;

/// What happens to each result: `scale · f(x + bias) + shift`, with one bias, scale and
/// shift per channel (a row of [`PackedLeft`], a column of [`PackedRight`]).
#[derive(Clone, Debug)]
pub struct Epilogue {
    channels: usize,
    /// Padded to whole tiles, as are the others.
    bias: Vec<f32>,
    /// Applied in the tile.
    relu: bool,
    affine: Option<(Vec<f32>, Vec<f32>)>,
    /// Any function but ReLU follows in a second pass, and then the affine step too.
    late: Option<Activation>,
}

impl Epilogue {
    /// Bias, then activation, then `scale · x + shift`; each optional, each `[channels]`.
    ///
    /// # Panics
    /// When a length differs from `channels`, or the activation is softmax, which is no
    /// function of one value: bugs of the caller.
    pub fn new(
        channels: usize,
        bias: Option<&[f32]>,
        activation: Option<Activation>,
        affine: Option<(&[f32], &[f32])>,
    ) -> Self {
        assert_ne!(activation, Some(Activation::Softmax), "softmax is not element-wise");
        let padded = |values: &[f32]| {
            assert_eq!(values.len(), channels, "one value per channel");
            let mut values = values.to_vec();
            values.resize(channels + Isa::Avx512.tile_columns(), 0.0);
            values
        };
        let relu = activation == Some(Activation::Relu);
        Self {
            channels,
            bias: padded(bias.unwrap_or(&vec![0.0; channels])),
            relu,
            affine: affine.map(|(scale, shift)| (padded(scale), padded(shift))),
            late: activation.filter(|_| !relu),
        }
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.channels
    }

    pub(super) fn bias(&self, channel: usize) -> f32 {
        self.bias[channel]
    }

    pub(super) fn activation(&self) -> Option<Activation> {
        if self.relu { Some(Activation::Relu) } else { self.late }
    }

    pub(super) fn affine(&self, channel: usize) -> Option<(f32, f32)> {
        self.affine.as_ref().map(|(scale, shift)| (scale[channel], shift[channel]))
    }

    /// `scale` and `shift` for the tile, unless they must wait for a late activation.
    fn tile_affine(&self, from: usize) -> (*const f32, *const f32) {
        match &self.affine {
            Some((scale, shift)) if self.late.is_none() => {
                (scale[from..].as_ptr(), shift[from..].as_ptr())
            }
            _ => (std::ptr::null(), std::ptr::null()),
        }
    }

    /// The second pass over one row of results that all belong to `channel`.
    fn finish_channel(&self, channel: usize, row: &mut [f32]) {
        if let Some(function) = self.late {
            elementwise::activate(function, row);
            if let Some((scale, shift)) = &self.affine {
                elementwise::scale_shift(row, scale[channel], shift[channel]);
            }
        }
    }

    /// The second pass over one row of results, one channel each.
    fn finish_row(&self, row: &mut [f32]) {
        if let Some(function) = self.late {
            elementwise::activate(function, row);
            if let Some((scale, shift)) = &self.affine {
                elementwise::scale_shift_each(row, &scale[..row.len()], &shift[..row.len()]);
            }
        }
    }
}

/// Values on a 64-byte boundary, so that no vector of a packed panel spans two cache lines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Aligned {
    data: Vec<f32>,
    start: usize,
    len: usize,
}

impl Aligned {
    /// Makes room for `len` values; what they hold is unspecified.
    pub(crate) fn reserve(&mut self, len: usize) -> &mut [f32] {
        if self.len < len {
            self.data = vec![0.0; len + 16];
            // The answer counts values; were none possible, alignment only costs speed.
            self.start = self.data.as_ptr().align_offset(64).min(16);
            self.len = len;
        }
        &mut self.data[self.start..self.start + len]
    }

    pub(crate) fn slice(&self) -> &[f32] {
        &self.data[self.start..self.start + self.len]
    }
}

/// Columns in the order a tile reads them: panels of [`Isa::tile_columns`] columns, each
/// `[k, columns]`; the last one is as many vectors wide as it needs.
#[derive(Clone, Copy)]
pub(crate) struct Panels<'a> {
    pub data: &'a [f32],
    pub k: usize,
    pub columns: usize,
}

/// Length of a [`Panels`] buffer.
pub(crate) fn panels_len(isa: Isa, k: usize, columns: usize) -> usize {
    k * columns.next_multiple_of(isa.lanes())
}

/// Width in memory of the panel that starts at column `at`.
pub(crate) fn panel_width(isa: Isa, columns: usize, at: usize) -> usize {
    (columns - at).next_multiple_of(isa.lanes()).min(isa.tile_columns())
}

/// `W [m, k]` packed for `C [m, n] = W · B [k, n]`.
#[derive(Debug)]
pub struct PackedLeft {
    isa: Isa,
    rows: usize,
    k: usize,
    data: Aligned,
}

impl PackedLeft {
    /// Packs the row-major `weight [rows, k]`.
    ///
    /// # Panics
    /// When the length differs, or the machine lacks `isa`: bugs of the caller.
    pub fn new(weight: &[f32], rows: usize, k: usize, isa: Isa) -> Self {
        assert_eq!(weight.len(), rows * k, "weight is [rows, k]");
        assert!(isa.is_available(), "{isa:?} is not available");
        let mut data = Aligned::default();
        let packed = data.reserve(rows * k);
        let mut at = 0;
        for first in (0..rows).step_by(isa.tile_rows()) {
            let height = isa.tile_rows().min(rows - first);
            for step in 0..k {
                for row in first..first + height {
                    packed[at] = weight[row * k + step];
                    at += 1;
                }
            }
        }
        Self { isa, rows, k, data }
    }

    /// The instruction set it was packed for.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Rows of `W`.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns of `W`.
    pub fn depth(&self) -> usize {
        self.k
    }

    /// `C = epilogue(W · B)` for a row-major `b [k, n]`; row `i` of `C` starts at
    /// `i · c_row`. Packs `B` first; convolutions pack straight from the image instead.
    ///
    /// # Panics
    /// When a length does not fit: a bug of the caller.
    pub fn multiply(&self, b: &[f32], n: usize, c: &mut [f32], c_row: usize, epilogue: &Epilogue) {
        assert_eq!(b.len(), self.k * n, "b is [k, n]");
        let mut packed = Aligned::default();
        let data = packed.reserve(panels_len(self.isa, self.k, n));
        let mut at = 0;
        for first in (0..n).step_by(self.isa.tile_columns()) {
            let width = panel_width(self.isa, n, first);
            let valid = width.min(n - first);
            for row in b.chunks_exact(n) {
                data[at..at + valid].copy_from_slice(&row[first..first + valid]);
                data[at + valid..at + width].fill(0.0);
                at += width;
            }
        }
        self.multiply_panels(Panels { data, k: self.k, columns: n }, c, c_row, epilogue);
    }

    /// As [`PackedLeft::multiply`], for columns packed already.
    pub(crate) fn multiply_panels(
        &self,
        b: Panels,
        c: &mut [f32],
        c_row: usize,
        epilogue: &Epilogue,
    ) {
        let (isa, k, n) = (self.isa, self.k, b.columns);
        if self.rows == 0 || n == 0 {
            return;
        }
        assert_eq!(b.k, k, "inner dimensions differ");
        assert!(b.data.len() >= panels_len(isa, k, n), "panels are too short");
        assert!(n <= c_row && c.len() >= (self.rows - 1) * c_row + n, "c is too short");
        assert_eq!(epilogue.channels, self.rows, "one epilogue channel per row");
        let weights = self.data.slice();
        for first in (0..self.rows).step_by(isa.tile_rows()) {
            let height = isa.tile_rows().min(self.rows - first);
            let (scale, shift) = epilogue.tile_affine(first);
            for left in (0..n).step_by(isa.tile_columns()) {
                let width = panel_width(isa, n, left);
                let tile = Tile {
                    k,
                    a: weights[first * k..].as_ptr(),
                    a_row: 1,
                    a_step: height,
                    b: b.data[left * k..].as_ptr(),
                    b_step: width,
                    bias: epilogue.bias[first..].as_ptr(),
                    scale,
                    shift,
                    relu: epilogue.relu,
                    per_row: true,
                };
                let at = first * c_row + left;
                // SAFETY: panel `first` holds k · height weights and panel `left` k · width
                // columns (both lengths were checked or made here); the epilogue is padded
                // by a tile beyond its channels; the instruction set was checked at packing.
                unsafe { tile.write(isa, height, width, &mut c[at..], c_row, width.min(n - left)) };
            }
            for row in first..first + height {
                epilogue.finish_channel(row, &mut c[row * c_row..row * c_row + n]);
            }
        }
    }
}

/// `W [n, k]` packed for `C [m, n] = A [m, k] · Wᵀ`.
#[derive(Debug)]
pub struct PackedRight {
    isa: Isa,
    columns: usize,
    k: usize,
    data: Aligned,
}

impl PackedRight {
    /// Packs the row-major `weight [columns, k]`: one row per unit.
    ///
    /// # Panics
    /// When the length differs, or the machine lacks `isa`: bugs of the caller.
    pub fn new(weight: &[f32], columns: usize, k: usize, isa: Isa) -> Self {
        assert_eq!(weight.len(), columns * k, "weight is [columns, k]");
        assert!(isa.is_available(), "{isa:?} is not available");
        let mut data = Aligned::default();
        let packed = data.reserve(panels_len(isa, k, columns));
        let mut at = 0;
        for first in (0..columns).step_by(isa.tile_columns()) {
            let width = panel_width(isa, columns, first);
            for step in 0..k {
                for column in first..first + width {
                    packed[at] = if column < columns { weight[column * k + step] } else { 0.0 };
                    at += 1;
                }
            }
        }
        Self { isa, columns, k, data }
    }

    /// Rows of `W`: units.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Columns of `W`: inputs of each unit.
    pub fn depth(&self) -> usize {
        self.k
    }

    /// `C = epilogue(A · Wᵀ)` for `rows` rows of `A`, row `i` being `a[i · a_row ..][..k]`,
    /// and of `C`, row `i` being `c[i · c_row ..][..n]`. Rows of `A` may overlap.
    ///
    /// # Panics
    /// When a length does not fit: a bug of the caller.
    pub fn multiply(
        &self,
        a: &[f32],
        a_row: usize,
        rows: usize,
        c: &mut [f32],
        c_row: usize,
        epilogue: &Epilogue,
    ) {
        let (isa, k, n) = (self.isa, self.k, self.columns);
        if rows == 0 || n == 0 {
            return;
        }
        assert!(a.len() >= (rows - 1) * a_row + k, "a is too short");
        assert!(n <= c_row && c.len() >= (rows - 1) * c_row + n, "c is too short");
        assert_eq!(epilogue.channels, n, "one epilogue channel per column");
        let weights = self.data.slice();
        for left in (0..n).step_by(isa.tile_columns()) {
            let width = panel_width(isa, n, left);
            let (scale, shift) = epilogue.tile_affine(left);
            for first in (0..rows).step_by(isa.tile_rows()) {
                let height = isa.tile_rows().min(rows - first);
                let tile = Tile {
                    k,
                    a: a[first * a_row..].as_ptr(),
                    a_row,
                    a_step: 1,
                    b: weights[left * k..].as_ptr(),
                    b_step: width,
                    bias: epilogue.bias[left..].as_ptr(),
                    scale,
                    shift,
                    relu: epilogue.relu,
                    per_row: false,
                };
                let at = first * c_row + left;
                // SAFETY: rows `first..first + height` of `a` end before its length, checked
                // above; panel `left` holds k · width weights; the epilogue is padded by a
                // tile beyond its channels; the instruction set was checked at packing.
                unsafe { tile.write(isa, height, width, &mut c[at..], c_row, width.min(n - left)) };
            }
        }
        if epilogue.late.is_some() {
            for row in 0..rows {
                epilogue.finish_row(&mut c[row * c_row..row * c_row + n]);
            }
        }
    }
}

#[cfg(test)]
#[path = "gemm_tests.rs"]
pub(crate) mod tests;

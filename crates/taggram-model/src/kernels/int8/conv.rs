//! Convolutions and dense layers over images of bytes, `[height, width, channel]`.

use super::tile::{self, ROWS_MAX, Target, Tile};
use super::{IntIsa, MAX_DEPTH, Params, quantise_rows};

/// Bytes that must be readable after the last of an image: a tile reads in steps of four.
pub const SLACK: usize = 16;

/// Sizes of a convolution; a dense layer is one with a kernel of 1 × 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntShape {
    /// Input channels.
    pub channels: usize,
    /// Input height and width.
    pub size: [usize; 2],
    /// Number of filters.
    pub out: usize,
    /// Kernel height and width.
    pub kernel: [usize; 2],
    /// Distance between kernel positions.
    pub stride: [usize; 2],
    /// Zeros `[[top, bottom], [left, right]]`.
    pub padding: [[usize; 2]; 2],
}

impl IntShape {
    fn padded(&self) -> [usize; 2] {
        [0, 1].map(|a| self.size[a] + self.padding[a][0] + self.padding[a][1])
    }

    /// Output height and width.
    pub fn out_size(&self) -> [usize; 2] {
        let padded = self.padded();
        [0, 1].map(|a| (padded[a] - self.kernel[a]) / self.stride[a] + 1)
    }

    /// Products in each sum.
    pub fn depth(&self) -> usize {
        self.channels * self.kernel[0] * self.kernel[1]
    }
}

/// Memory that integer kernels share from call to call.
#[derive(Debug, Default)]
pub struct IntSpace {
    padded: Vec<u8>,
    /// Results in `[position, channel]` on their way to another order.
    pub(crate) floats: Vec<f32>,
}

/// A layer with its filters packed and everything after the sum folded into one
/// multiplication and addition.
#[derive(Debug)]
pub struct IntConv {
    shape: IntShape,
    isa: IntIsa,
    /// Byte that stands for 0 in the input.
    zero: u8,
    panels: Vec<Panel>,
    weights: Panels,
    /// `[filter]`, filled up to whole vectors.
    factor: Vec<f32>,
    shift: Vec<f32>,
    low: f32,
    bytes: bool,
    /// Where each output position's window begins in the padded image.
    starts: Vec<u32>,
}

/// Some filters side by side.
#[derive(Clone, Copy, Debug)]
struct Panel {
    first: usize,
    vectors: usize,
    /// Where its weights begin.
    at: usize,
}

/// Packed weights on a 64-byte boundary.
#[derive(Debug)]
struct Panels {
    data: Vec<i8>,
    start: usize,
}

impl IntConv {
    /// Quantises and packs `weight [out, channels, kernel_h, kernel_w]` (row by row, see
    /// [`quantise_rows`]). Inputs are bytes of `input`; results are `max(W · x + bias, 0)` with
    /// `relu`, as bytes of `output`, or as floats when that is `None`.
    ///
    /// `None` when a sum could leave 32 bits ([`MAX_DEPTH`]) or an image has too many bytes.
    ///
    /// # Panics
    /// When a length does not fit, or the machine lacks `isa`: bugs of the caller.
    pub fn new(
        shape: IntShape,
        weight: &[f32],
        bias: &[f32],
        relu: bool,
        [input, output]: [Option<Params>; 2],
        isa: IntIsa,
    ) -> Option<Self> {
        assert_eq!(weight.len(), shape.out * shape.depth(), "weight is [out, channels, h, w]");
        assert_eq!(bias.len(), shape.out, "one bias a filter");
        assert!(IntIsa::available().contains(&isa), "{isa:?} is not available");
        let input = input?;
        let [_, pitch] = shape.padded();
        let image = shape.padded()[0].checked_mul(pitch)?.checked_mul(shape.channels)?;
        if shape.depth() > MAX_DEPTH || u32::try_from(image).is_err() {
            return None;
        }
        let (bytes, scales) = quantise_rows(weight, shape.out);
        let mut factor = vec![0.0; shape.out.next_multiple_of(16) + 16];
        let mut shift = factor.clone();
        let unit = output.map_or(1.0, |p| f64::from(p.scale));
        let zero = output.map_or(0.0, |p| f64::from(p.zero));
        for (f, row) in bytes.chunks_exact(shape.depth()).enumerate() {
            let sum: i64 = row.iter().map(|w| i64::from(*w)).sum();
            let scale = f64::from(input.scale) * f64::from(scales[f]);
            let constant = f64::from(bias[f]) - scale * (sum * i64::from(input.zero)) as f64;
            factor[f] = (scale / unit) as f32;
            shift[f] = (constant / unit + zero) as f32;
        }
        let low = match (relu, output) {
            (true, Some(p)) => f32::from(p.zero),
            (true, None) | (false, Some(_)) => 0.0,
            (false, None) => f32::NEG_INFINITY,
        };
        let [out_h, out_w] = shape.out_size();
        let starts = (0..out_h * out_w)
            .map(|p| {
                let (y, x) = (p / out_w * shape.stride[0], p % out_w * shape.stride[1]);
                ((y * pitch + x) * shape.channels) as u32
            })
            .collect();
        let (panels, weights) = pack(&shape, &bytes, isa);
        Some(Self {
            shape,
            isa,
            zero: input.zero,
            panels,
            weights,
            factor,
            shift,
            low,
            bytes: output.is_some(),
            starts,
        })
    }

    /// Sizes.
    pub fn shape(&self) -> &IntShape {
        &self.shape
    }

    /// `input [batch, h, w, channel]`, with [`SLACK`] bytes after it, → `output [batch, h', w', out]`.
    ///
    /// # Panics
    /// When a length does not fit, or the layer makes floats: bugs of the caller.
    pub fn run(&self, input: &[u8], batch: usize, output: &mut [u8], space: &mut IntSpace) {
        assert!(self.bytes, "the layer makes floats");
        assert_eq!(output.len(), batch * self.starts.len() * self.shape.out, "output length");
        self.run_to(input, batch, Target::Bytes(output.as_mut_ptr()), &mut space.padded);
    }

    /// As [`IntConv::run`] for a layer that makes floats.
    ///
    /// # Panics
    /// When a length does not fit, or the layer makes bytes: bugs of the caller.
    pub fn run_floats(&self, input: &[u8], batch: usize, output: &mut [f32], space: &mut IntSpace) {
        assert!(!self.bytes, "the layer makes bytes");
        assert_eq!(output.len(), batch * self.starts.len() * self.shape.out, "output length");
        self.run_to(input, batch, Target::Floats(output.as_mut_ptr()), &mut space.padded);
    }

    /// As [`IntConv::run_floats`] for a filter over time only (one column, stride 1, no padding)
    /// and an input of any height: `input [rows + kernel − 1, channel]` and [`SLACK`] bytes →
    /// `output [rows, out]`.
    ///
    /// # Panics
    /// When a length does not fit, the layer makes bytes or is another one: bugs of the caller.
    pub fn run_over_time(&self, input: &[u8], rows: usize, output: &mut [f32]) {
        let IntShape { channels, size, kernel, stride, padding, out } = self.shape;
        assert!(!self.bytes && size[1] == 1 && kernel[1] == 1, "a filter over time to floats");
        assert!(stride == [1, 1] && padding == [[0; 2]; 2], "a filter over time");
        assert!(input.len() >= (rows + kernel[0] - 1) * channels + SLACK, "input length");
        assert_eq!(output.len(), rows * out, "output length");
        let starts: Vec<u32> = (0..rows).map(|t| (t * channels) as u32).collect();
        self.run_at(&starts, input, 0, 1, Target::Floats(output.as_mut_ptr()));
    }

    /// `to` is as long as the callers have checked.
    fn run_to(&self, input: &[u8], batch: usize, to: Target, padded: &mut Vec<u8>) {
        let shape = &self.shape;
        let image = shape.size[0] * shape.size[1] * shape.channels;
        assert!(input.len() >= batch * image + SLACK, "input is [batch, h, w, channel] and slack");
        let [height, pitch] = shape.padded();
        let (input, image) = if shape.padding == [[0; 2]; 2] {
            (input, image)
        } else {
            (self.pad(input, batch, padded), height * pitch * shape.channels)
        };
        self.run_at(&self.starts, input, image, batch, to);
    }

    /// Windows begin at `starts` in each of `batch` images, `image` bytes apart.
    fn run_at(&self, starts: &[u32], input: &[u8], image: usize, batch: usize, to: Target) {
        let (shape, begins) = (&self.shape, starts);
        let [_, pitch] = shape.padded();
        let positions = begins.len();
        let total = batch * positions;
        let single = total == 1;
        for panel in &self.panels {
            let height = if single { 1 } else { tile::rows(self.isa, panel.vectors) };
            let valid = (panel.vectors * self.isa.lanes()).min(shape.out - panel.first);
            let tile = Tile {
                runs: shape.kernel[0],
                steps: steps(shape),
                pitch: pitch * shape.channels,
                weights: self.weights.data[self.weights.start + panel.at..].as_ptr(),
                factor: self.factor[panel.first..].as_ptr(),
                shift: self.shift[panel.first..].as_ptr(),
                low: self.low,
            };
            let (mut example, mut position) = (0, 0);
            for first in (0..total).step_by(height) {
                let count = height.min(total - first);
                let mut starts = [std::ptr::null(); ROWS_MAX];
                for (r, start) in starts.iter_mut().enumerate().take(height) {
                    // Rows beyond the last repeat it and are not stored.
                    *start = input[example * image + begins[position] as usize..].as_ptr();
                    if r + 1 < count || (r + 1 == count && first + count < total) {
                        position += 1;
                        if position == positions {
                            (example, position) = (example + 1, 0);
                        }
                    }
                }
                let at = first * shape.out + panel.first;
                let to = match to {
                    Target::Bytes(to) => Target::Bytes(to.wrapping_add(at)),
                    Target::Floats(to) => Target::Floats(to.wrapping_add(at)),
                };
                // SAFETY: windows end within the image, and at most 3 bytes after it, which the
                // slack covers; panels, factor and shift are filled up to whole vectors; rows
                // `first..first + count` and the panel's valid columns lie within the output,
                // whose length the callers checked; `new` checked the instruction set.
                unsafe {
                    tile.run(
                        self.isa,
                        panel.vectors,
                        &starts,
                        single,
                        &to,
                        shape.out,
                        count,
                        valid,
                    );
                }
            }
        }
    }

    /// Copies every image into a frame of bytes that stand for 0.
    fn pad<'a>(&self, input: &[u8], batch: usize, padded: &'a mut Vec<u8>) -> &'a [u8] {
        let shape = &self.shape;
        let [height, pitch] = shape.padded().map(|n| n * shape.channels);
        let height = height / shape.channels;
        let len = batch * height * pitch + SLACK;
        if padded.len() < len {
            padded.resize(len, 0);
        }
        let [[top, _], [left, _]] = shape.padding;
        let (left, row) = (left * shape.channels, shape.size[1] * shape.channels);
        let images = padded[..batch * height * pitch].chunks_exact_mut(height * pitch);
        for (to, from) in images.zip(input.chunks_exact(shape.size[0] * row)) {
            to[..top * pitch].fill(self.zero);
            to[(top + shape.size[0]) * pitch..].fill(self.zero);
            let rows = to[top * pitch..].chunks_exact_mut(pitch);
            for (to, from) in rows.zip(from.chunks_exact(row)) {
                to[..left].fill(self.zero);
                to[left..left + row].copy_from_slice(from);
                to[left + row..].fill(self.zero);
            }
        }
        &padded[..len]
    }
}

/// Steps of four bytes of one row of a window.
fn steps(shape: &IntShape) -> usize {
    (shape.kernel[1] * shape.channels).div_ceil(4)
}

/// Weights in the order in which tiles read them: `[panel][kernel row][step][column][4]`, with
/// zeros where a row of a window or a panel is filled up.
fn pack(shape: &IntShape, bytes: &[i8], isa: IntIsa) -> (Vec<Panel>, Panels) {
    let IntShape { channels, kernel: [kernel_h, kernel_w], out, .. } = *shape;
    let (lanes, steps) = (isa.lanes(), steps(shape));
    let mut panels = Vec::new();
    let mut len = 0;
    let mut first = 0;
    while first < out {
        let vectors = (out - first).div_ceil(lanes).min(isa.vectors());
        panels.push(Panel { first, vectors, at: len });
        len += kernel_h * steps * vectors * lanes * 4;
        first += vectors * lanes;
    }
    let mut data = vec![0i8; len + 64];
    let start = data.as_ptr().align_offset(64).min(64);
    for panel in &panels {
        let columns = panel.vectors * lanes;
        for column in 0..columns.min(out - panel.first) {
            let filter = &bytes[(panel.first + column) * shape.depth()..][..shape.depth()];
            for ky in 0..kernel_h {
                for i in 0..kernel_w * channels {
                    // In the image the channel runs fastest; in the filter it runs slowest.
                    let (kx, channel) = (i / channels, i % channels);
                    let w = filter[(channel * kernel_h + ky) * kernel_w + kx];
                    let at = ((ky * steps + i / 4) * columns + column) * 4 + i % 4;
                    data[start + panel.at + at] = w;
                }
            }
        }
    }
    (panels, Panels { data, start })
}

//! Two-dimensional convolution over `[channel, height, width]`.
//!
//! The windows of a strip of output positions are copied into columns (as many as stay in
//! the second-level cache) in the order in which the matrix kernel reads them, and
//! multiplied by the packed filters at once. For strides over the width, values that lie a stride apart are
//! brought side by side before, so that what is copied is always a run. Small feature maps of several examples share
//! a strip, so that the filters are read once for all of them. Depthwise filters, which
//! share no inputs, are computed directly.

use super::gemm::{Aligned, Panels, panel_width, panels_len};
use super::int8::IntSpace;
use super::{Epilogue, Isa, PackedLeft, elementwise, multiversion};
use crate::network::Activation;

/// Values in a strip of columns: 768 KiB, which leaves a share of a 1–2 MiB second-level
/// cache to the filters.
const STRIP: usize = 192 * 1024;

/// Examples share strips when their output has fewer positions than this: from here on
/// the last, partly filled tile of each example costs little.
const SHARED_BELOW: usize = 256;

/// Sizes of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvShape {
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
    /// Independent groups that channels and filters are split in.
    pub groups: usize,
}

impl ConvShape {
    fn padded(&self) -> [usize; 2] {
        [0, 1].map(|a| self.size[a] + self.padding[a][0] + self.padding[a][1])
    }

    /// Output height and width.
    pub fn out_size(&self) -> [usize; 2] {
        let padded = self.padded();
        [0, 1].map(|a| (padded[a] - self.kernel[a]) / self.stride[a] + 1)
    }
}

/// Memory that kernels share from call to call, so that running allocates nothing.
#[derive(Debug, Default)]
pub struct Workspace {
    padded: Aligned,
    columns: Aligned,
    pub(crate) rows: Aligned,
    pub(crate) state: Aligned,
    pub(crate) int: IntSpace,
    runs: Vec<Run>,
}

/// A convolution with its filters packed and its epilogue.
#[derive(Debug)]
pub struct Conv {
    shape: ConvShape,
    filters: Filters,
}

#[derive(Debug)]
enum Filters {
    /// One packed matrix `[out / groups, channels / groups · kernel]` per group.
    Packed(Vec<(PackedLeft, Epilogue)>),
    /// One input channel per group: `[out, kernel]` as it came.
    Depthwise(Vec<f32>, Epilogue),
}

/// Output positions whose windows lie side by side in the input.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// Column within the panel.
    to: usize,
    len: usize,
    /// Position of the first window's first value in channel 0.
    from: usize,
}

impl Conv {
    /// Packs `weight [out, channels / groups, kernel_h, kernel_w]`; bias, activation and
    /// `(scale, shift)` are as in [`Epilogue::new`].
    ///
    /// # Panics
    /// When a length or group count does not fit: a bug of the caller.
    pub fn new(
        shape: ConvShape,
        weight: &[f32],
        bias: Option<&[f32]>,
        activation: Option<Activation>,
        affine: Option<(&[f32], &[f32])>,
        isa: Isa,
    ) -> Self {
        let ConvShape { channels, out, kernel, groups, .. } = shape;
        assert!(channels % groups == 0 && out % groups == 0, "groups split the channels");
        let (rows, depth) = (out / groups, channels / groups * kernel[0] * kernel[1]);
        assert_eq!(weight.len(), out * depth, "weight is [out, channels / groups, h, w]");
        let epilogue = |from: usize, len: usize| {
            let part = |values: &'_ [f32]| values[from..from + len].to_vec();
            let affine = affine.map(|(scale, shift)| (part(scale), part(shift)));
            let affine = affine.as_ref().map(|(scale, shift)| (&scale[..], &shift[..]));
            Epilogue::new(len, bias.map(part).as_deref(), activation, affine)
        };
        let filters = if groups == channels && groups > 1 {
            Filters::Depthwise(weight.to_vec(), epilogue(0, out))
        } else {
            let group = |g: usize| {
                let weight = &weight[g * rows * depth..(g + 1) * rows * depth];
                (PackedLeft::new(weight, rows, depth, isa), epilogue(g * rows, rows))
            };
            Filters::Packed((0..groups).map(group).collect())
        };
        Self { shape, filters }
    }

    /// Sizes.
    pub fn shape(&self) -> &ConvShape {
        &self.shape
    }

    /// `input [batch, channels, h, w]` → `output [batch, out, h', w']`.
    ///
    /// # Panics
    /// When a length does not fit: a bug of the caller.
    pub fn run(&self, input: &[f32], batch: usize, output: &mut [f32], space: &mut Workspace) {
        let shape = &self.shape;
        let [out_h, out_w] = shape.out_size();
        let plane: usize = shape.size.iter().product();
        assert_eq!(input.len(), batch * shape.channels * plane, "input is [batch, channels, h, w]");
        assert_eq!(output.len(), batch * shape.out * out_h * out_w, "output is [batch, out, h, w]");
        let Workspace { padded, columns, rows, runs, .. } = space;
        let layout = Layout::new(shape, matches!(self.filters, Filters::Packed(_)));
        let input = if shape.padding == [[0; 2]; 2] && layout.step == 1 {
            input
        } else {
            let padded = padded.reserve(batch * shape.channels * layout.plane);
            lay_out(shape, &layout, input, padded);
            padded
        };
        match &self.filters {
            Filters::Packed(groups) => {
                for (g, (filters, epilogue)) in groups.iter().enumerate() {
                    let source = Source { shape, layout, input, group: g };
                    if batch > 1 && out_h * out_w < SHARED_BELOW {
                        source.shared(filters, epilogue, batch, output, columns, rows, runs);
                    } else {
                        for image in 0..batch {
                            source.single(filters, epilogue, image, output, columns, runs);
                        }
                    }
                }
            }
            Filters::Depthwise(weight, epilogue) => {
                depthwise(shape, input, weight, epilogue, output)
            }
        }
    }
}

/// One group's view of the padded input.
struct Source<'a> {
    shape: &'a ConvShape,
    layout: Layout,
    input: &'a [f32],
    group: usize,
}

impl Source<'_> {
    /// Strips within one example, results straight to their place.
    fn single(
        &self,
        filters: &PackedLeft,
        epilogue: &Epilogue,
        image: usize,
        output: &mut [f32],
        columns: &mut Aligned,
        runs: &mut Vec<Run>,
    ) {
        let positions = area(self.shape.out_size());
        let output =
            &mut output[(image * self.shape.out + self.group * filters.rows()) * positions..];
        let strip = strip_columns(filters);
        for first in (0..positions).step_by(strip) {
            let count = strip.min(positions - first);
            let panels = self.pack(filters, image * positions + first, count, columns, runs);
            filters.multiply_panels(panels, &mut output[first..], positions, epilogue);
        }
    }

    /// Strips across examples, results through `rows`.
    #[allow(clippy::too_many_arguments)]
    fn shared(
        &self,
        filters: &PackedLeft,
        epilogue: &Epilogue,
        batch: usize,
        output: &mut [f32],
        columns: &mut Aligned,
        rows: &mut Aligned,
        runs: &mut Vec<Run>,
    ) {
        let positions = area(self.shape.out_size());
        let strip = strip_columns(filters);
        for first in (0..batch * positions).step_by(strip) {
            let count = strip.min(batch * positions - first);
            let panels = self.pack(filters, first, count, columns, runs);
            let rows = rows.reserve(filters.rows() * count);
            filters.multiply_panels(panels, rows, count, epilogue);
            for (row, values) in rows.chunks_exact(count).enumerate() {
                let channel = self.group * filters.rows() + row;
                let mut done = 0;
                while done < count {
                    let (image, at) = ((first + done) / positions, (first + done) % positions);
                    let len = (positions - at).min(count - done);
                    let to = (image * self.shape.out + channel) * positions + at;
                    output[to..to + len].copy_from_slice(&values[done..done + len]);
                    done += len;
                }
            }
        }
    }

    /// Copies the windows of `count` output positions, counted through all examples.
    fn pack<'c>(
        &self,
        filters: &PackedLeft,
        first: usize,
        count: usize,
        columns: &'c mut Aligned,
        runs: &mut Vec<Run>,
    ) -> Panels<'c> {
        let (isa, k) = (filters.isa(), filters.depth());
        let data = columns.reserve(panels_len(isa, k, count));
        let (shape, layout) = (self.shape, self.layout);
        let channels = shape.channels / shape.groups;
        let window = Window { channels, layout, kernel: shape.kernel };
        for left in (0..count).step_by(isa.tile_columns()) {
            let width = panel_width(isa, count, left);
            self.find_runs(first + left, width.min(count - left), runs);
            let input = &self.input[self.group * channels * layout.plane..];
            pack_panel(&mut data[left * k..left * k + width * k], width, input, runs, &window);
        }
        Panels { data, k, columns: count }
    }

    fn find_runs(&self, first: usize, count: usize, runs: &mut Vec<Run>) {
        let (shape, layout) = (self.shape, self.layout);
        let [out_h, out_w] = shape.out_size();
        runs.clear();
        let mut done = 0;
        while done < count {
            let at = first + done;
            let (x, y, image) = (at % out_w, at / out_w % out_h, at / (out_w * out_h));
            let len = (out_w - x).min(count - done);
            let from =
                image * shape.channels * layout.plane + y * shape.stride[0] * layout.pitch + x;
            runs.push(Run { to: done, len, from });
            done += len;
        }
    }
}

/// How rows of the padded input lie in memory: the values of every `step`-th column side by side, those of column 0, `step`,
/// 2 · `step` … first.
#[derive(Clone, Copy, Debug)]
struct Layout {
    /// Columns from one to its neighbour in memory.
    step: usize,
    /// Values of each of the `step` parts of a row.
    part: usize,
    /// Values from one row to the next.
    pitch: usize,
    /// Values from one channel to the next.
    plane: usize,
}

impl Layout {
    /// Parts for the stride over the width, or rows as they are.
    fn new(shape: &ConvShape, by_stride: bool) -> Self {
        let [height, width] = shape.padded();
        let step = if by_stride { shape.stride[1] } else { 1 };
        let part = width.div_ceil(step);
        Self { step, part, pitch: part * step, plane: height * part * step }
    }

    /// Where column `x` lies within its row.
    #[inline(always)]
    fn column(&self, x: usize) -> usize {
        x % self.step * self.part + x / self.step
    }
}

/// How the values of a window lie in the padded input.
struct Window {
    channels: usize,
    layout: Layout,
    kernel: [usize; 2],
}

multiversion! {
    /// Fills one panel `[channels · kernel, width]`.
    fn pack_panel(panel: &mut [f32], width: usize, input: &[f32], runs: &[Run], window: &Window) {
        let mut rows = panel.chunks_exact_mut(width);
        for channel in 0..window.channels {
            for ky in 0..window.kernel[0] {
                let base = channel * window.layout.plane + ky * window.layout.pitch;
                for kx in 0..window.kernel[1] {
                    let Some(row) = rows.next() else { return };
                    let (base, mut end) = (base + window.layout.column(kx), 0);
                    for run in runs {
                        copy(&mut row[run.to..run.to + run.len], &input[base + run.from..][..run.len]);
                        end = run.to + run.len;
                    }
                    row[end..].fill(0.0);
                }
            }
        }
    }
}

/// Runs are short: copying them in vectors beats a call to `memcpy`.
#[inline(always)]
fn copy(to: &mut [f32], from: &[f32]) {
    let (wide, rest) = to.as_chunks_mut::<16>();
    let (wide_from, rest_from) = from.as_chunks::<16>();
    for (to, from) in wide.iter_mut().zip(wide_from) {
        *to = *from;
    }
    let (four, rest) = rest.as_chunks_mut::<4>();
    let (four_from, rest_from) = rest_from.as_chunks::<4>();
    for (to, from) in four.iter_mut().zip(four_from) {
        *to = *from;
    }
    for (to, from) in rest.iter_mut().zip(rest_from) {
        *to = *from;
    }
}

/// Columns of a strip: whole tiles, at least one.
fn strip_columns(filters: &PackedLeft) -> usize {
    let tile = filters.isa().tile_columns();
    (STRIP / filters.depth() / tile).max(1) * tile
}

/// Copies every plane into a frame of zeros, its rows in parts. Of the parts only those that a kernel reads are written.
fn lay_out(shape: &ConvShape, layout: &Layout, input: &[f32], padded: &mut [f32]) {
    let [_, w] = shape.size;
    let [[top, _], [left, _]] = shape.padding;
    let parts = layout.step.min(shape.kernel[1]);
    let planes = padded.chunks_exact_mut(layout.plane).zip(input.chunks_exact(area(shape.size)));
    for (plane, source) in planes {
        for (y, row) in plane.chunks_exact_mut(layout.pitch).enumerate() {
            let inside = y.checked_sub(top).filter(|&y| y < shape.size[0]);
            let Some(y) = inside else {
                row.fill(0.0);
                continue;
            };
            let source = &source[y * w..(y + 1) * w];
            for (part, to) in row.chunks_exact_mut(layout.part).take(parts).enumerate() {
                let before = left.saturating_sub(part).div_ceil(layout.step).min(to.len());
                let first = (before * layout.step + part).checked_sub(left);
                let from = first.and_then(|first| source.get(first..)).unwrap_or_default();
                let count = from.len().div_ceil(layout.step).min(to.len() - before);
                to[..before].fill(0.0);
                to[before + count..].fill(0.0);
                every(&mut to[before..before + count], from, layout.step);
            }
        }
    }
}

multiversion! {
    /// Every `step`-th value of `from`, beginning with its first.
    fn every(to: &mut [f32], from: &[f32], step: usize) {
        match step {
            1 => to.copy_from_slice(&from[..to.len()]),
            2 => {
                let (pairs, rest) = from.as_chunks::<2>();
                let (whole, last) = to.split_at_mut(to.len().min(pairs.len()));
                for (to, [value, _]) in whole.iter_mut().zip(pairs) {
                    *to = *value;
                }
                last.copy_from_slice(&rest[..last.len()]);
            }
            _ => {
                for (to, from) in to.iter_mut().zip(from.iter().step_by(step)) {
                    *to = *from;
                }
            }
        }
    }
}

fn depthwise(
    shape: &ConvShape,
    input: &[f32],
    weight: &[f32],
    epilogue: &Epilogue,
    output: &mut [f32],
) {
    let [_, pitch] = shape.padded();
    let (plane, positions) = (area(shape.padded()), area(shape.out_size()));
    let [_, out_w] = shape.out_size();
    let taps = area(shape.kernel);
    let per_channel = shape.out / shape.channels;
    for (map, values) in output.chunks_exact_mut(positions).enumerate() {
        let (image, filter) = (map / shape.out, map % shape.out);
        let from = (image * shape.channels + filter / per_channel) * plane;
        let weight = &weight[filter * taps..(filter + 1) * taps];
        let plane = Plane { values: &input[from..from + plane], pitch };
        filter_plane(values, out_w, &plane, weight, shape.kernel, shape.stride);
        epilogue.apply_to_channel(filter, values);
    }
}

/// A channel with its padding, row after row.
struct Plane<'a> {
    values: &'a [f32],
    pitch: usize,
}

multiversion! {
    /// One filter over one plane.
    fn filter_plane(values: &mut [f32], out_w: usize, plane: &Plane<'_>, weight: &[f32], kernel: [usize; 2], stride: [usize; 2]) {
        for (y, row) in values.chunks_exact_mut(out_w).enumerate() {
            row.fill(0.0);
            for ky in 0..kernel[0] {
                let line = &plane.values[(y * stride[0] + ky) * plane.pitch..][..plane.pitch];
                for kx in 0..kernel[1] {
                    let (w, line) = (weight[ky * kernel[1] + kx], &line[kx..]);
                    if stride[1] == 1 {
                        for (v, x) in row.iter_mut().zip(line) {
                            *v += w * x;
                        }
                    } else {
                        for (v, x) in row.iter_mut().zip(line.iter().step_by(stride[1])) {
                            *v += w * x;
                        }
                    }
                }
            }
        }
    }
}

fn area([h, w]: [usize; 2]) -> usize {
    h * w
}

impl Epilogue {
    /// Bias, activation, scale and shift over values that all belong to `channel`.
    pub fn apply_to_channel(&self, channel: usize, values: &mut [f32]) {
        elementwise::scale_shift(values, 1.0, self.bias(channel));
        if let Some(function) = self.activation() {
            elementwise::activate(function, values);
        }
        if let Some((scale, shift)) = self.affine(channel) {
            elementwise::scale_shift(values, scale, shift);
        }
    }
}

#[cfg(test)]
#[path = "conv_tests.rs"]
mod tests;

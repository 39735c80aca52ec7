//! The feature map: what a front-end makes of samples.

/// Values over time, row-major `[channel, time, band]`: what an image is to a picture network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FeatureMap {
    /// Number of channels; 1 for a mel spectrogram.
    pub channels: usize,
    /// Number of frames.
    pub frames: usize,
    /// Values a frame and channel.
    pub bands: usize,
    /// `channels · frames · bands` values.
    pub data: Vec<f32>,
}

impl FeatureMap {
    /// A map over `data`.
    ///
    /// # Panics
    /// When the sizes do not multiply to `data.len()`: a bug of the caller.
    pub fn new(channels: usize, frames: usize, bands: usize, data: Vec<f32>) -> Self {
        assert_eq!(channels * frames * bands, data.len(), "sizes of the map and its data differ");
        Self { channels, frames, bands, data }
    }

    /// The values of one frame of one channel, `[band]`.
    pub fn frame(&self, channel: usize, frame: usize) -> &[f32] {
        let start = (channel * self.frames + frame) * self.bands;
        &self.data[start..start + self.bands]
    }

    /// The same values frame by frame, `[time, channel, band]`.
    pub fn to_frames(&self) -> FeatureFrames {
        let mut out = FeatureFrames::new(self.channels, self.bands);
        out.data.reserve(self.data.len());
        for frame in 0..self.frames {
            for channel in 0..self.channels {
                out.data.extend_from_slice(self.frame(channel, frame));
            }
        }
        out
    }
}

/// Frames of a map as a stream yields them, row-major `[time, channel, band]`.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureFrames {
    /// Number of channels.
    pub channels: usize,
    /// Values a frame and channel.
    pub bands: usize,
    /// `frames · channels · bands` values; emptied by the receiver once it is done with them.
    pub data: Vec<f32>,
}

impl FeatureFrames {
    /// No frames yet, of `channels · bands` values each (at least 1).
    pub fn new(channels: usize, bands: usize) -> Self {
        Self { channels, bands, data: Vec::new() }
    }

    /// Number of frames held.
    pub fn frames(&self) -> usize {
        self.data.len() / (self.channels * self.bands).max(1)
    }

    /// Forgets the frames, keeps the memory.
    pub fn clear(&mut self) {
        self.data.clear();
    }

    /// The frames as a map.
    pub fn into_map(self) -> FeatureMap {
        let (channels, bands, frames) = (self.channels, self.bands, self.frames());
        let data = if channels == 1 { self.data } else { gather(&self.data, channels, bands) };
        FeatureMap { channels, frames, bands, data }
    }
}

/// `[time, channel, band]` to `[channel, time, band]`.
pub(crate) fn gather(frames: &[f32], channels: usize, bands: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(frames.len());
    for channel in 0..channels {
        for frame in frames.chunks_exact(channels * bands) {
            out.extend_from_slice(&frame[channel * bands..(channel + 1) * bands]);
        }
    }
    out
}

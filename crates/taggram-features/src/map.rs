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
}

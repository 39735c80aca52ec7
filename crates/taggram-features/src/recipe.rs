//! The recipe: every number that fixes what a feature map or a patch contains. It is stored in
//! each trained model, so that a model can never be fed features of another making.

use serde::{Deserialize, Serialize};

/// How samples become frames. Every frame depends only on the samples under it, so the map
/// can be computed on a stream; whatever needs the whole clip or window is in [`Windows`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrontEnd {
    /// Rate that audio is resampled to, Hz.
    pub sample_rate: u32,
    /// Filter used for resampling.
    #[serde(default)]
    pub resampling: Resampling,
    /// Length of a Fourier transform and of its periodic Hann window, samples.
    pub n_fft: usize,
    /// Distance between the starts of frames, samples. Frame t is centred on sample t · hop,
    /// with zeros beyond the ends (librosa's `center=True`, `pad_mode="constant"`).
    pub hop: usize,
    /// What a frame becomes.
    pub map: Map,
}

/// Which published resampling filter to follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resampling {
    /// soxr "HQ", the default of librosa since 0.10.
    #[default]
    SoxrHq,
    /// resampy "kaiser_best", the default of librosa before 0.10.
    KaiserBest,
}

/// What a frame becomes. `[channel, band]` values a frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Map {
    /// Mel spectrogram: one channel, `bands` Slaney bands, area-normalised, of the power spectrum.
    Mel {
        /// Number of mel bands.
        bands: usize,
        /// How power is compressed.
        scale: Scale,
    },
    /// Two channels: the mel map, and 12 chroma classes (librosa `chroma_stft`, no tuning
    /// estimate) repeated over the bands, scaled as −80 … 0.
    MelChroma {
        /// Number of mel bands.
        bands: usize,
        /// How mel power is compressed.
        scale: Scale,
    },
    /// Mel-frequency cepstral coefficients of the dB mel spectrogram (128 bands), with the
    /// RMS of the frame in dB as a last row when asked.
    Mfcc {
        /// Number of coefficients, starting with the 0th.
        count: usize,
        /// Append the frame's loudness.
        #[serde(default)]
        rms: bool,
    },
    /// The dB mel map and after its bands the first `count` cepstral coefficients of the same
    /// bands: a picture and a series of the same frames, for networks that look at both.
    MelMfcc {
        /// Number of mel bands.
        bands: usize,
        /// Number of coefficients, starting with the 0th.
        count: usize,
    },
    /// The picture of the cepstral coefficients of 128 mel bands: each is drawn over as many of
    /// the `rows` as any other (give or take one).
    MfccPlot {
        /// Number of coefficients, starting with the 0th.
        count: usize,
        /// Height of the picture.
        rows: usize,
    },
    /// The picture of the wave: a frame is a column, and each of its rows says how much of it lies
    /// between the lowest and the highest of the frame's middle `hop` samples, 0…1. Row 0 is at −1.
    WavePlot {
        /// Height of the picture.
        rows: usize,
    },
    /// The picture of the zero-crossing rate as a line, drawn as [`Map::WavePlot`] is. Row 0 is at
    /// rate 0, the last one at a crossing every other sample.
    ZeroCrossingPlot {
        /// Height of the picture.
        rows: usize,
    },
}

/// How mel power is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Scale {
    /// Not at all.
    Power,
    /// 10 · log10(max(power, 1e-10)); the floor below the maximum is applied by [`Normalise`].
    Decibel,
    /// log10(multiply · power + 1), the power first rounded to float16 as musicnn stores it.
    Log10Half {
        /// Factor before the logarithm (10,000 in musicnn).
        multiply: f32,
    },
}

/// How a map is cut into the patches that a network sees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Windows {
    /// Length of a patch, frames.
    pub frames: usize,
    /// Distance between the starts of patches, frames.
    pub hop: usize,
    /// What is done to the values of a patch.
    pub normalise: Normalise,
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// What is done to the values of a patch before the network sees it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Normalise {
    /// Nothing.
    None,
    /// Raised to at least (maximum of the patch − `top_db`), then mean 0 and deviation 1 over the patch:
    /// indifferent to gain, and needs no more of the clip than the patch.
    PatchZScore {
        /// Range kept below the patch's maximum, dB.
        top_db: f32,
        /// So many of the highest bands are set to the least that is kept: resamplers and codecs end somewhere
        /// in them, each elsewhere, and the answer must not depend on where.
        #[serde(default, skip_serializing_if = "is_zero")]
        quiet_bands: usize,
    },
    /// Relative to the clip's maximum, raised to at least −`top_db`, mapped to 0…1.
    /// A stream longer than ten minutes is taken as clips of ten minutes.
    ClipUnit {
        /// Range kept below the clip's maximum, dB.
        top_db: f32,
    },
    /// Mean 0 and deviation 1 of each band over the patch (for MFCC series).
    BandZScore,
}

//! Reads the four networks of the `musicnn` package (ISC licence, Music Technology Group,
//! Universitat Pompeu Fabra) out of its wheel — a zip archive with TensorFlow checkpoints —
//! without Python and without TensorFlow.
//!
//! ```text
//! pip download --no-deps musicnn==0.1.0
//! ```
//!
//! [`import`] returns all four or none. Every block and tensor that is read is checked against
//! its CRC-32C; only what is asked for by name is read, up to fixed limits, so that a damaged
//! or hostile wheel ends in an error.
mod bundle;
mod convert;
mod crc32c;
mod error;
mod labels;
mod pickle;
mod proto;
mod source;
mod table;
mod weights;

use std::path::Path;

use taggram_features::{FrontEnd, Map, Normalise, Resampling, Scale, Windows};
use taggram_model::{
    Network, Weights,
    architectures::{MusicnnSize, musicnn, vgg_musicnn},
};

pub use error::{ImportError, ImportErrorKind};
use source::Source;
pub use weights::read_weights;

const PACKAGE: &str = "musicnn";
const LICENCE: &str = "musicnn-0.1.0.dist-info/LICENSE.md";
/// Most bytes of a text file, an index, and a checkpoint's data. The published ones have 1 kB,
/// 5 kB and 9.5 MB.
const MAX_TEXT: u64 = 64 << 10;
const MAX_INDEX: u64 = 1 << 20;
const MAX_DATA: u64 = 64 << 20;
/// Every network of the package answers with the 50 most frequent tags of its data set.
const TAGS: usize = 50;

/// A network with its weights and everything that is needed to use it.
#[derive(Clone, Debug)]
pub struct ImportedModel {
    /// `msd-musicnn`, `mtt-musicnn`, `msd-vgg` or `mtt-vgg`.
    pub name: String,
    /// `[1, 187, 96]` → tag probabilities `[50]`.
    pub network: Network,
    /// Parameters in the layout of [`taggram_model::Op`].
    pub weights: Weights,
    /// The tags in the order of the outputs.
    pub vocabulary: Vec<String>,
    /// 16 kHz log-mel, 96 bands.
    pub front_end: FrontEnd,
    /// Patches of 187 frames every 61.
    pub windows: Windows,
    /// Text of the package's licence.
    pub licence: String,
    /// Where the weights come from, for people.
    pub source: String,
}

/// Reads `msd-musicnn`, `mtt-musicnn`, `msd-vgg` and `mtt-vgg` from the wheel
/// `musicnn-0.1.0-py3-none-any.whl` or a folder it was unpacked to.
///
/// # Errors
/// When the path cannot be read, or anything in it is absent, damaged, too large or not as in
/// the published package: all four models or none.
pub fn import(path: &Path) -> Result<Vec<ImportedModel>, ImportError> {
    let mut source = Source::open(path)?;
    let configuration = format!("{PACKAGE}/configuration.py");
    let lists = source.read_text(&configuration, MAX_TEXT)?;
    let licence = source.read_text(LICENCE, MAX_TEXT)?;
    let mut models = Vec::new();
    for (network, kind, layers) in [
        (
            musicnn(MusicnnSize { tags: TAGS, ..Default::default() }),
            "musicnn",
            &convert::MUSICNN[..],
        ),
        (vgg_musicnn(128, TAGS), "vgg", &convert::VGG[..]),
    ] {
        for (set, data_set) in [("MSD", "Million Song Dataset"), ("MTT", "MagnaTagATune")] {
            let vocabulary = labels::labels(&lists, &format!("{set}_LABELS"), TAGS)
                .map_err(|e| ImportError::malformed(source.place(&configuration), e))?;
            let folder = format!("{PACKAGE}/{set}_{kind}");
            let index = source.read(&format!("{folder}/.index"), MAX_INDEX)?;
            let data = source.read(&format!("{folder}/.data-00000-of-00001"), MAX_DATA)?;
            let weights = bundle::Bundle::new(&index, &data)
                .and_then(|bundle| convert::weights(&network, layers, &bundle))
                .map_err(|e| ImportError::malformed(source.place(&folder), e))?;
            models.push(ImportedModel {
                name: format!("{}-{kind}", set.to_lowercase()),
                network: network.clone(),
                weights,
                vocabulary,
                front_end: front_end(),
                windows: windows(),
                licence: licence.clone(),
                source: format!(
                    "{set}_{kind} of the Python package musicnn 0.1.0, trained on the {data_set}"
                ),
            });
        }
    }
    Ok(models)
}

/// The package's input: 16 kHz, Hann 512, hop 256, 96 Slaney mel bands,
/// log10(10,000 · power + 1). Resampled as resampy's "kaiser_best" does, librosa's default of the
/// package's time: the networks are sensitive to where the resampler's band ends (on the published
/// taggrams, worst difference 0.02 with it, 0.11 with soxr's).
pub fn front_end() -> FrontEnd {
    FrontEnd {
        sample_rate: 16_000,
        resampling: Resampling::KaiserBest,
        n_fft: 512,
        hop: 256,
        map: Map::Mel { bands: 96, scale: Scale::Log10Half { multiply: 10_000.0 } },
    }
}

/// Patches of 187 frames (2.99 s) every 61 (0.976 s): what the published taggrams have.
pub fn windows() -> Windows {
    Windows { frames: 187, hop: 61, normalise: Normalise::None }
}

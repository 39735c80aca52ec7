//! Feature maps from audio files, by the same decoder and front-end that listening uses.

use std::path::Path;

use taggram_audio::{Excerpt, MonoSpec, MonoStream, ResamplingKind};
use taggram_features::map::FeatureFrames;
use taggram_features::{FeatureMap, FrontEnd, Resampling};

use super::error::{ErrorKind, Result, fault};

/// The feature map of a file, or of its middle `seconds`.
pub(super) fn feature_map(
    path: &Path,
    front_end: &FrontEnd,
    middle_s: Option<f64>,
) -> Result<FeatureMap> {
    let unreadable = |e: taggram_audio::AudioError| audio_fault(path, &e);
    let resampling = match front_end.resampling {
        Resampling::SoxrHq => ResamplingKind::SoxrHq,
        Resampling::KaiserBest => ResamplingKind::KaiserBest,
    };
    let excerpt = middle_s.map_or(Excerpt::Full, |seconds| Excerpt::Middle { seconds });
    let spec = MonoSpec { resampling, excerpt, ..MonoSpec::at(front_end.sample_rate) };
    let mut audio = MonoStream::open(path, &spec).map_err(unreadable)?;
    let mut stream =
        front_end.stream().map_err(|e| fault(path, ErrorKind::Unsupported, e.to_string()))?;
    let mut frames = FeatureFrames::new(front_end.channels(), front_end.bands());
    while let Some(block) = audio.next_block().map_err(unreadable)? {
        stream.push(block, &mut frames);
    }
    stream.finish(&mut frames);
    let map = frames.into_map();
    if map.frames == 0 {
        return Err(fault(path, ErrorKind::TooShort, "the file holds no audio"));
    }
    Ok(map)
}

/// An audio error as one of this crate, without naming the path twice.
pub(super) fn audio_fault(path: &Path, error: &taggram_audio::AudioError) -> super::DatasetError {
    let text = error.to_string();
    let place = path.display().to_string();
    let message = text.strip_prefix(&format!("{place}: ")).unwrap_or(&text);
    fault(path, ErrorKind::Malformed, message)
}

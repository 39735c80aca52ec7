//! The whole program in one page: a song in, its genre out.

use std::time::Instant;

use taggram_audio::{AudioReader, Excerpt, Limits, MonoSpec, MonoStream, Source};
use taggram_model::{Decide, Taggram, Verdict};

use crate::listener::Ending;
use crate::{Error, ErrorKind, Listener, Model};

/// How to listen.
#[derive(Clone, Debug)]
pub struct Listen {
    /// Which part of the song.
    pub excerpt: Excerpt,
    /// How patches agree on one answer.
    pub decide: Decide,
    /// What may be asked of this machine by the file.
    pub limits: Limits,
    /// Keep the feature map too, for a picture.
    pub keep_map: bool,
    /// Threads that the network may use for this one song, where it can (musicnn).
    pub threads: usize,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            excerpt: Excerpt::Full,
            decide: Decide::Mean,
            limits: Limits::default(),
            keep_map: false,
            threads: 1,
        }
    }
}

/// What was heard.
#[derive(Clone, Debug)]
pub struct Heard {
    /// The answer.
    pub verdict: Verdict,
    /// How it unfolds.
    pub taggram: Taggram,
    /// The song as a vector, by which songs are compared: see [`Ending::embedding`].
    pub embedding: Vec<f32>,
    /// Seconds of audio that were listened to.
    pub duration_s: f64,
    /// Length of the whole file in seconds: what was heard when that is all of it, else what its
    /// header says.
    pub length_s: Option<f64>,
    /// What a person should know: silence, padding, damaged frames.
    pub warnings: Vec<String>,
    /// Time from opening to answer, milliseconds.
    pub elapsed_ms: f64,
    /// The part of it that went into reading, decoding and resampling, milliseconds.
    pub decode_ms: f64,
    /// The feature map when it was asked for, `[channel, time, band]`: thinned out evenly to at
    /// most 4096 columns, whatever the length of the song.
    pub map: Option<taggram_features::FeatureMap>,
}

/// bytes → samples → frames → patches → taggram → verdict.
///
/// # Errors
/// When there is no audio in `source`, or none that the limits allow.
pub fn listen(model: &Model, source: Source, how: &Listen) -> Result<Heard, Error> {
    listen_while(model, source, how, |_| Ok(()))
}

/// [`listen()`], which tells `each` after every block of at most a few seconds what was heard so
/// far: to show it, to let others have a turn, or to stop with an error.
///
/// # Errors
/// As [`listen()`]; what `each` returns.
pub fn listen_while(
    model: &Model,
    source: Source,
    how: &Listen,
    mut each: impl FnMut(&Listener<'_>) -> Result<(), Error>,
) -> Result<Heard, Error> {
    let start = Instant::now();
    let mut samples = open(source, model, how)?;
    let mut listener = Listener::new(model, how.keep_map, how.threads)?;
    if let Excerpt::Spread { .. } = how.excerpt {
        listener.leap(samples.start_s())?;
    }
    let mut decode = start.elapsed();
    loop {
        let before = Instant::now();
        let block = samples.next_block()?;
        decode += before.elapsed();
        if let Some(block) = block {
            listener.hear(block)?;
            each(&listener)?;
            continue;
        }
        let Some(start_s) = samples.next_piece()? else { break };
        listener.leap(start_s)?;
    }
    let Ending { taggram, verdict, embedding, map, mut warnings } = listener.finish(how.decide)?;
    let verdict = verdict.ok_or_else(|| {
        Error::new(ErrorKind::TooShort, "there is no audio in it: 0 samples were decoded")
    })?;
    warnings.splice(0..0, samples.warnings().map(str::to_string));
    let duration_s = samples.duration_s();
    let length_s = match how.excerpt {
        Excerpt::Full => Some(duration_s),
        _ => samples.format().duration_s,
    };
    let elapsed_ms = start.elapsed().as_secs_f64() * 1e3;
    let decode_ms = decode.as_secs_f64() * 1e3;
    Ok(Heard {
        verdict,
        taggram,
        embedding,
        duration_s,
        length_s,
        warnings,
        elapsed_ms,
        decode_ms,
        map,
    })
}

/// The samples of `source`: mono, at the model's rate, the part that is asked for.
fn open(source: Source, model: &Model, how: &Listen) -> Result<MonoStream, Error> {
    let spec = MonoSpec {
        rate: Some(model.sample_rate()),
        resampling: model.resampling(),
        excerpt: how.excerpt,
        limits: how.limits.clone(),
    };
    Ok(MonoStream::new(AudioReader::from_source(source, &how.limits)?, &spec)?)
}

//! One song listened to, on a thread that may block, and what is said of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;
use taggram::{Heard, Listen, Listener, Model, Record, Source};
use taggram_plot::{Spectrogram, TaggramPicture};
use utoipa::ToSchema;

use crate::Service;
use crate::options::{Format, Options, Theme};
use crate::problem::{Code, Problem};
use crate::turns::{SharedTurn, hold};

/// Columns and bands of a spectrogram in JSON, at most.
const COLUMNS: usize = 1000;
const BANDS: usize = 128;

/// Tells a song's thread that nobody wants the answer any more.
#[derive(Clone, Default)]
pub(crate) struct Cancel(Arc<AtomicBool>);

/// Sets a [`Cancel`] when it is dropped: with the request, that is.
pub(crate) struct CancelOnDrop(pub Cancel);

impl Cancel {
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// What is to be done with a song.
pub(crate) struct Task {
    pub service: Arc<Service>,
    pub model: Arc<Model>,
    pub name: String,
    pub options: Options,
    pub cancel: Cancel,
}

/// The answer in its form.
pub(crate) enum Answer {
    Json(Box<Said>),
    Picture(&'static str, Vec<u8>),
}

/// The record of a song, with its spectrogram where that was asked for.
#[derive(Serialize)]
pub(crate) struct Said {
    #[serde(flatten)]
    pub record: Record,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spectrogram: Option<Levels>,
}

/// A spectrogram small enough for a screen.
#[derive(Serialize, ToSchema)]
pub struct Levels {
    /// Number of frames.
    frames: usize,
    /// Number of bands.
    bands: usize,
    /// Length of what the frames cover, in seconds.
    seconds: f64,
    /// Base 64 of `[frame, band]` bytes, the lowest band first: 0 is 80 dB below the loudest or
    /// the softest there is, 255 the loudest.
    levels: String,
}

/// Listens to `source`. `tell` hears of every block.
pub(crate) fn hear(
    task: &Task,
    source: Source,
    turn: &SharedTurn,
    mut tell: impl FnMut(&Listener<'_>),
) -> Result<Answer, Problem> {
    let Task { service, model, options, .. } = task;
    let most = service.config.work;
    let how = Listen {
        excerpt: options.excerpt()?,
        decide: options.decide(),
        limits: service.config.limits(),
        keep_map: options.needs_map(),
        threads: 1,
    };
    let heard = taggram::listen_while(model, source, &how, |listener| {
        if task.cancel.is_set() {
            return Err(stopped("nobody wants the answer any more".to_string()));
        }
        tell(listener);
        let mut turn = hold(turn);
        turn.share();
        if turn.worked() > most {
            let text = format!("the song takes more than the {:.0} s of work", most.as_secs_f64());
            return Err(stopped(text));
        }
        Ok(())
    });
    if task.cancel.is_set() {
        service.metrics.cancelled.inc();
    }
    let heard = heard?;
    let metrics = &service.metrics;
    let worked = hold(turn).worked();
    let decode = Duration::from_secs_f64(heard.decode_ms.max(0.0) / 1e3).min(worked);
    metrics.decode.observe(decode.as_secs_f64());
    metrics.listen.observe((worked - decode).as_secs_f64());
    metrics.audio_seconds.inc_by(heard.duration_s);
    metrics.windows.inc_by(heard.taggram.len() as u64);
    say(task, &heard)
}

fn stopped(why: String) -> taggram::Error {
    taggram::Error::new(taggram::ErrorKind::Cancelled, why)
}

fn say(task: &Task, heard: &Heard) -> Result<Answer, Problem> {
    let options = &task.options;
    let format = options.format.unwrap_or_default();
    if format == Format::Json {
        let mut record = Record::heard(&task.name, &task.model, heard, options.top());
        if options.taggram.unwrap_or(false) {
            record = record.with_taggram(heard);
        }
        let spectrogram = spectrogram(heard).map(|s| {
            let levels = s.levels(COLUMNS, BANDS);
            Levels {
                frames: levels.frames,
                bands: levels.bands,
                seconds: s.seconds,
                levels: taggram_plot::base64(&levels.data),
            }
        });
        return Ok(Answer::Json(Box::new(Said { record, spectrogram })));
    }
    let said = &heard.verdict;
    let model = task.model.name();
    let (verdict, subtitle) =
        taggram_plot::headlines(&said.genre, said.confidence, &said.scores, model);
    let chart = taggram_plot::taggram(&TaggramPicture {
        title: &task.name,
        verdict: &verdict,
        subtitle: &subtitle,
        labels: &heard.taggram.labels,
        probabilities: &heard.taggram.probabilities,
        starts_s: &heard.taggram.starts_s,
        window_s: heard.taggram.patch_s,
        spectrogram: spectrogram(heard),
        theme: match options.theme.unwrap_or_default() {
            Theme::Light => taggram_plot::Theme::Light,
            Theme::Dark => taggram_plot::Theme::Dark,
        },
    });
    let bug = |e: taggram_plot::PlotError| Problem::new(Code::Bug, e.to_string());
    let chart = chart.map_err(bug)?;
    Ok(match format {
        Format::Svg => Answer::Picture("image/svg+xml", chart.svg().as_bytes().to_vec()),
        _ => Answer::Picture("image/png", chart.png(2.0).map_err(bug)?),
    })
}

/// The first channel of the feature map.
fn spectrogram(heard: &Heard) -> Option<Spectrogram<'_>> {
    heard.map.as_ref().map(|map| Spectrogram {
        levels_db: &map.data[..map.frames * map.bands],
        frames: map.frames,
        bands: map.bands,
        seconds: heard.duration_s,
    })
}

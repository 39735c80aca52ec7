//! `taggram hls listen`: a stream in, a running verdict out, and the taggram at the end.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use clap::{Args, ValueEnum};
use serde_json::json;
use taggram::{Decide, Ending, Heard, Limits, Listener, Model, Record};
use taggram_audio::{AudioReader, MonoSpec, MonoStream};
use taggram_hls::client::{ClientOptions, Traffic};
use taggram_hls::{ErrorKind, HlsError, SegmentDecoder};
use tokio::sync::mpsc::Receiver;

use super::incoming::{self, Body, Event, Kind};
use crate::commands::show;
use crate::{Outcome, args};

/// Genres named in a line.
const TOP: usize = 3;

/// Windows that have to be heard before a verdict is sure enough to stop.
const FEWEST: usize = 2;

/// Samples given to the model at once, about 0.4 s: a verdict waits for no more than these.
const CHUNK: usize = 1 << 13;

#[derive(Debug, Args)]
pub struct Hear {
    /// Address of a stream: http or https
    #[arg(value_name = "URL")]
    url: String,
    /// Model: a name (`taggram model list`) or a .safetensors file
    #[arg(long, value_name = "NAME|FILE", default_value = taggram::DEFAULT_NAME)]
    model: String,
    /// Stop as soon as the verdict is as sure, after two windows at least: confident:0.9
    #[arg(long, value_name = "confident:P", value_parser = confidence)]
    until: Option<f32>,
    /// Stop after as many seconds of music
    #[arg(long, value_name = "N", value_parser = seconds)]
    seconds: Option<f64>,
    /// How the windows agree on a genre
    #[arg(long, value_enum, default_value_t = args::DecideBy::Mean)]
    decide: args::DecideBy,
    /// Form of what is told
    #[arg(long, value_enum, default_value_t = Form::Text)]
    format: Form,
    /// Write the taggram: .png, .svg, .json or .csv
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Follow addresses into this machine and private networks when a public server names them
    #[arg(long)]
    allow_private: bool,
    /// Keep a connection for all requests, or open one for each
    #[arg(long, value_enum, default_value_t = Connection::Persistent)]
    connection: Connection,
    /// Speak HTTP/2 without asking (over https it is agreed on)
    #[arg(long)]
    http2: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Lines for people
    Text,
    /// One JSON object a line: the windows, then the answer
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Connection {
    /// One for all requests
    Persistent,
    /// One for each request, to see what that costs
    Each,
}

fn confidence(text: &str) -> Result<f32, String> {
    let p = text.strip_prefix("confident:").and_then(|p| p.parse::<f32>().ok());
    p.filter(|p| *p > 0.0 && *p <= 1.0)
        .ok_or_else(|| "not confident:P with P above 0 and at most 1".into())
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() && seconds > 0.0 => Ok(seconds),
        _ => Err("not a number of seconds above 0".into()),
    }
}

pub fn run(arguments: &Hear) -> anyhow::Result<Outcome> {
    let form = arguments.out.as_deref().map(show::Form::of).transpose()?;
    // What is wrong with the address as it was typed is wrong usage.
    taggram_hls::client::address(&arguments.url)?;
    let model = taggram::model(&arguments.model)?;
    let options = ClientOptions {
        allow_private: arguments.allow_private,
        persistent: arguments.connection == Connection::Persistent,
        http2: arguments.http2,
        ..ClientOptions::default()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(2)
        .enable_all()
        .build()?;
    let start = Instant::now();
    let mut events = incoming::begin(&runtime, &arguments.url, options);
    let (what, duration_s, traffic) = loop {
        match events.blocking_recv() {
            Some(Event::Open { what, duration_s, traffic }) => break (what, duration_s, traffic),
            Some(Event::End(Some(error))) => return failed(arguments, &model, &error, start),
            Some(_) => {}
            None => anyhow::bail!("the stream could not be opened"),
        }
    };
    let mut ear = Ear::new(arguments, &model, form.is_some_and(show::Form::is_picture), start)?;
    let end = match what {
        Kind::Hls => segments(&mut ear, &model, events),
        Kind::Plain => file(&mut ear, &model, events),
    };
    // What is still on its way is not waited for.
    runtime.shutdown_background();
    ear.finish(&model, form, end, duration_s, &traffic)
}

/// Why nothing more came, if not by itself or because enough was heard.
type End = Option<HlsError>;

fn segments(ear: &mut Ear, model: &Model, mut events: Receiver<Event>) -> End {
    let mut decoder =
        SegmentDecoder::new(model.sample_rate(), model.resampling(), Limits::default());
    let mut samples = Vec::new();
    let mut failures = 0;
    let mut end = None;
    while let Some(event) = events.blocking_recv() {
        match event {
            Event::Segment(piece) => {
                samples.clear();
                match decoder.push(&piece, &mut samples) {
                    Ok(()) => failures = 0,
                    Err(error) => {
                        ear.note(&format!("segment {}: {error}", piece.sequence));
                        failures += 1;
                        let hopeless =
                            matches!(error.kind, ErrorKind::Unsupported | ErrorKind::OverLimit);
                        if hopeless || failures == ClientOptions::default().failures {
                            end = Some(error);
                            break;
                        }
                    }
                }
                match ear.hear(&samples) {
                    Ok(true) => {}
                    Ok(false) => return ear.warn(decoder.warnings()),
                    Err(error) => return Some(error),
                }
            }
            Event::Note(note) => ear.note(&note),
            Event::End(error) => end = error,
            Event::Open { .. } | Event::Bytes(_) | Event::Title(_) => {}
        }
    }
    samples.clear();
    let last = decoder.finish(&mut samples);
    if let Err(error) = ear.hear(&samples) {
        return Some(error);
    }
    ear.warn(decoder.warnings());
    end.or(last.err())
}

fn file(ear: &mut Ear, model: &Model, events: Receiver<Event>) -> End {
    let limits = Limits::default();
    let spec = MonoSpec { resampling: model.resampling(), ..MonoSpec::at(model.sample_rate()) };
    let (body, aside) = Body::new(events);
    let opened = AudioReader::from_read(Box::new(body), &limits);
    let mut stream = match opened.and_then(|reader| MonoStream::new(reader, &spec)) {
        Ok(stream) => stream,
        // That the network failed explains better than that the bytes were too few.
        Err(error) => {
            let end = aside.lock().ok().and_then(|mut aside| aside.end.take());
            return Some(end.unwrap_or_else(|| error.into()));
        }
    };
    loop {
        let notes = aside.lock().map(|mut a| std::mem::take(&mut a.notes)).unwrap_or_default();
        notes.iter().for_each(|note| ear.note(note));
        match stream.next_block() {
            Ok(Some(block)) => match ear.hear(block) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => return Some(error),
            },
            Ok(None) => break,
            Err(error) => return Some(error.into()),
        }
    }
    ear.warn(stream.warnings().map(str::to_owned).collect());
    aside.lock().ok().and_then(|mut aside| aside.end.take())
}

/// Hears samples and tells the verdict as it unfolds.
struct Ear<'a> {
    arguments: &'a Hear,
    listener: Listener<'a>,
    decide: Decide,
    rate: f64,
    samples: u64,
    told: usize,
    warnings: Vec<String>,
    start: Instant,
    first_ms: Option<f64>,
    stopped: bool,
}

impl<'a> Ear<'a> {
    fn new(
        arguments: &'a Hear,
        model: &'a Model,
        keep_map: bool,
        start: Instant,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            arguments,
            listener: Listener::new(model, keep_map, 1)?,
            decide: arguments.decide.into(),
            rate: f64::from(model.sample_rate()),
            samples: 0,
            told: 0,
            warnings: Vec::new(),
            start,
            first_ms: None,
            stopped: false,
        })
    }

    /// Hears samples; `false` when enough was heard.
    fn hear(&mut self, samples: &[f32]) -> Result<bool, HlsError> {
        let failed = |e: taggram::Error| HlsError::new(ErrorKind::Bug, e.to_string());
        let most = self.arguments.seconds.map_or(u64::MAX, |s| (s * self.rate).round() as u64);
        let wanted = (most - self.samples).min(samples.len() as u64) as usize;
        for chunk in samples[..wanted].chunks(CHUNK) {
            self.samples += chunk.len() as u64;
            self.listener.hear(chunk).map_err(failed)?;
            if self.listener.taggram().len() > self.told {
                self.told = self.listener.taggram().len();
                if self.tell().map_err(failed)? {
                    self.stopped = true;
                    return Ok(false);
                }
            }
        }
        self.stopped |= self.samples >= most;
        Ok(!self.stopped)
    }

    /// Tells the verdict so far; `true` when it is sure enough.
    fn tell(&mut self) -> Result<bool, taggram::Error> {
        let Some(verdict) = self.listener.verdict(self.decide)? else { return Ok(false) };
        let ms = self.start.elapsed().as_secs_f64() * 1e3;
        self.first_ms.get_or_insert(ms);
        let heard_s = self.samples as f64 / self.rate;
        let mut scores = verdict.scores;
        scores.sort_by(|a, b| b.1.total_cmp(&a.1));
        let mut out = io::stdout().lock();
        // A closed output is noticed at the last line, which is the answer.
        let _ = match self.arguments.format {
            Form::Text => {
                let names: Vec<String> = scores
                    .iter()
                    .take(TOP)
                    .map(|(genre, p)| format!("{genre} {:.0} %", 100.0 * p))
                    .collect();
                writeln!(out, "{heard_s:7.1} s  {}", names.join(" · "))
            }
            Form::Json => {
                let line = json!({
                    "window": self.told - 1,
                    "heard_s": (heard_s * 1e3).round() / 1e3,
                    "elapsed_ms": (ms * 1e2).round() / 1e2,
                    "genre": verdict.genre,
                    "confidence": verdict.confidence,
                });
                writeln!(out, "{line}")
            }
        }
        .and_then(|()| out.flush());
        let sure = self.arguments.until.is_some_and(|p| verdict.confidence >= p);
        Ok(sure && self.told >= FEWEST)
    }

    fn note(&self, note: &str) {
        eprintln!("taggram: {note}");
    }

    fn warn(&mut self, warnings: Vec<String>) -> End {
        self.warnings.extend(warnings);
        None
    }

    /// The answer, whatever brought the end.
    fn finish(
        self,
        model: &Model,
        form: Option<show::Form>,
        end: End,
        duration_s: Option<f64>,
        traffic: &Arc<Traffic>,
    ) -> anyhow::Result<Outcome> {
        let arguments = self.arguments;
        let Ending { taggram, verdict, map, warnings, embedding, .. } =
            self.listener.finish(self.decide)?;
        let Some(verdict) = verdict else {
            let error = end.unwrap_or_else(|| {
                HlsError::new(ErrorKind::Malformed, "there is no audio in it: 0 samples came")
            });
            return failed(arguments, model, &error, self.start);
        };
        let mut all = self.warnings;
        all.extend(warnings);
        if let Some(error) = &end {
            all.push(format!("the stream broke off: {error}"));
        }
        for warning in &all {
            eprintln!("taggram: {warning}");
        }
        let heard = Heard {
            verdict,
            taggram,
            embedding,
            length_s: None,
            decode_ms: 0.0,
            duration_s: self.samples as f64 / self.rate,
            warnings: all,
            elapsed_ms: self.start.elapsed().as_secs_f64() * 1e3,
            map,
        };
        if let (Some(out), Some(form)) = (&arguments.out, form) {
            show::save(out, form, Path::new(&arguments.url), model, &heard)?;
        }
        let mut out = io::stdout().lock();
        match arguments.format {
            Form::Text => {
                let record = Record::heard(&arguments.url, model, &heard, TOP);
                let scores: Vec<String> = record
                    .scores
                    .iter()
                    .map(|(genre, p)| format!("{genre} {:.0} %", 100.0 * p))
                    .collect();
                writeln!(out, "{}  {}", arguments.url, scores.join(" · "))?;
                eprintln!(
                    "taggram: {:.1} s heard in {:.1} s: {} requests, {:.0} KiB{}",
                    heard.duration_s,
                    heard.elapsed_ms / 1e3,
                    traffic.requests(),
                    traffic.bytes() as f64 / 1024.0,
                    if self.stopped { "; stopped early" } else { "" }
                );
            }
            Form::Json => {
                let record = Record::heard(&arguments.url, model, &heard, usize::MAX);
                let mut value = serde_json::to_value(record)?;
                value["stream"] = json!({
                    "duration_s": duration_s,
                    "first_verdict_ms": self.first_ms,
                    "stopped_early": self.stopped,
                    "requests": traffic.requests(),
                    "repetitions": traffic.repetitions(),
                    "bytes": traffic.bytes(),
                });
                writeln!(out, "{value}")?;
            }
        }
        out.flush()?;
        Ok(if end.is_some() { Outcome::SomeFailed } else { Outcome::Done })
    }
}

/// Nothing could be heard.
fn failed(
    arguments: &Hear,
    model: &Model,
    error: &HlsError,
    start: Instant,
) -> anyhow::Result<Outcome> {
    eprintln!("taggram: {error}");
    if arguments.format == Form::Json {
        let error = taggram::Error::new(taggram::ErrorKind::Unreadable, error.to_string());
        let ms = start.elapsed().as_secs_f64() * 1e3;
        let record = Record::failed(&arguments.url, model, &error, ms);
        println!("{}", serde_json::to_string(&record)?);
    }
    Ok(Outcome::SomeFailed)
}

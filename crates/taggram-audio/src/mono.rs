//! Mono at one rate: the reader, the resampler and an excerpt put together.

use std::collections::VecDeque;
use std::path::Path;

use crate::{AudioError, AudioFormat, AudioReader, ErrorKind, Limits, Resampler, ResamplingKind};

/// Mono audio in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples {
    /// `[sample]`, full scale −1…1 (a decoder may go slightly beyond).
    pub data: Vec<f32>,
    /// Samples a second, in Hz.
    pub sample_rate: u32,
}

impl Samples {
    /// Length in seconds.
    pub fn duration_s(&self) -> f64 {
        self.data.len() as f64 / f64::from(self.sample_rate)
    }
}

/// Which part of a file to read.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Excerpt {
    /// All of it.
    #[default]
    Full,
    /// The middle `seconds` (all of it when it is not longer than that).
    Middle {
        /// Length in seconds, positive.
        seconds: f64,
    },
    /// `seconds` from `start_s` on, or what there is of them.
    Range {
        /// Start in seconds, 0 or more.
        start_s: f64,
        /// Length in seconds, positive.
        seconds: f64,
    },
    /// Several pieces spread evenly over the file: the middle of piece `i` is at
    /// `(i + ½) / pieces` of the length. What lies between is skipped, not decoded. A piece begins
    /// at the sample that decoding everything would give there (see [`AudioReader::seek`]), with a
    /// resampler that hears silence before it. A file that is not longer than its pieces together
    /// is one piece.
    Spread {
        /// How many, 1 or more.
        pieces: usize,
        /// Length of each in seconds, positive.
        seconds: f64,
    },
}

impl std::str::FromStr for Excerpt {
    type Err = String;

    /// `full`, or `middle:SECONDS`.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "full" {
            return Ok(Self::Full);
        }
        let seconds = text.strip_prefix("middle:").and_then(|s| s.parse::<f64>().ok());
        match seconds {
            Some(seconds) if seconds.is_finite() && seconds > 0.0 => Ok(Self::Middle { seconds }),
            _ => Err("neither `full` nor `middle:SECONDS` with seconds above 0".to_string()),
        }
    }
}

/// What mono audio is wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct MonoSpec {
    /// Sample rate in Hz; `None` keeps the file's own.
    pub rate: Option<u32>,
    /// The resampling filter.
    pub resampling: ResamplingKind,
    /// The part of the file.
    pub excerpt: Excerpt,
    /// What the source may cost.
    pub limits: Limits,
}

impl MonoSpec {
    /// The whole file at `rate` Hz, with the default filter and limits.
    pub fn at(rate: u32) -> Self {
        Self {
            rate: Some(rate),
            resampling: ResamplingKind::default(),
            excerpt: Excerpt::default(),
            limits: Limits::default(),
        }
    }
}

/// Input gathered before it is resampled, in samples: filters work best on runs.
const GATHER: usize = 1 << 14;

/// Mono audio at one rate, block by block, in bounded memory.
pub struct MonoStream {
    reader: AudioReader,
    resampler: Resampler,
    rate: u32,
    /// Source samples still to be taken of this piece; `None` is to the end.
    left: Option<u64>,
    /// Pieces that come after this one: start and length in seconds, the next first.
    pieces: VecDeque<(f64, f64)>,
    start_s: f64,
    gathered: Vec<f32>,
    block: Vec<f32>,
    delivered: u64,
    notes: Vec<String>,
    finished: bool,
}

impl MonoStream {
    /// Opens a file.
    ///
    /// # Errors
    /// As [`AudioReader::open`] and [`MonoStream::new`].
    pub fn open(path: &Path, spec: &MonoSpec) -> Result<Self, AudioError> {
        Self::new(AudioReader::open(path, &spec.limits)?, spec).map_err(|e| e.at(path.display()))
    }

    /// Reads on from an opened source (`spec.limits` are not looked at again).
    ///
    /// # Errors
    /// A rate of 0 or an excerpt that makes no sense; an excerpt that begins after the end; or
    /// whatever stops the reader on the way to the excerpt.
    pub fn new(mut reader: AudioReader, spec: &MonoSpec) -> Result<Self, AudioError> {
        let native = reader.format().sample_rate;
        let rate = spec.rate.unwrap_or(native);
        if rate == 0 {
            return Err(AudioError::unsupported("a sample rate of 0 Hz was asked for"));
        }
        let mut notes = Vec::new();
        let mut pieces = locate(&mut reader, spec.excerpt, &mut notes)?;
        let mut span = pieces.pop_front();
        if let Some((start_s, _)) = span
            && start_s > 0.0
        {
            match reader.seek(start_s) {
                Err(e) if e.kind == ErrorKind::TooShort && !pieces.is_empty() => {
                    // The header promised a length that is not there: learn the real one.
                    reader.measure()?;
                    pieces = locate(&mut reader, spec.excerpt, &mut notes)?;
                    span = pieces.pop_front();
                    if let Some((start_s, _)) = span {
                        reader.seek(start_s)?;
                    }
                }
                sought => {
                    sought?;
                }
            }
        }
        Ok(Self {
            pieces,
            start_s: span.map_or(0.0, |(start_s, _)| start_s),
            resampler: Resampler::new(native, rate, spec.resampling),
            reader,
            rate,
            left: span.map(|(_, seconds)| (seconds * f64::from(native)).round() as u64),
            gathered: Vec::new(),
            block: Vec::new(),
            delivered: 0,
            notes,
            finished: false,
        })
    }

    /// The next block, never empty, or `None` at the end.
    ///
    /// # Errors
    /// As [`AudioReader::next_block`].
    pub fn next_block(&mut self) -> Result<Option<&[f32]>, AudioError> {
        self.block.clear();
        while self.block.is_empty() && !self.finished {
            self.gathered.clear();
            while self.gathered.len() < GATHER && self.left != Some(0) {
                let Some(block) = self.reader.next_block()? else {
                    self.left = Some(0);
                    break;
                };
                let wanted =
                    self.left.map_or(block.len(), |left| left.min(block.len() as u64) as usize);
                self.gathered.extend_from_slice(&block[..wanted]);
                self.left = self.left.map(|left| left - wanted as u64);
            }
            self.resampler.push(&self.gathered, &mut self.block);
            if self.left == Some(0) {
                self.resampler.finish(&mut self.block);
                self.finished = true;
            }
        }
        self.delivered += self.block.len() as u64;
        Ok((!self.block.is_empty()).then_some(&self.block))
    }

    /// Goes on to the next piece of an [`Excerpt::Spread`] once this one has ended; gives its start
    /// in the file in seconds, or `None` after the last. Pieces that a header promised and the file
    /// does not hold are left out with a [warning](MonoStream::warnings).
    ///
    /// # Errors
    /// As [`AudioReader::seek`].
    pub fn next_piece(&mut self) -> Result<Option<f64>, AudioError> {
        let Some((start_s, seconds)) = self.pieces.pop_front() else { return Ok(None) };
        match self.reader.seek(start_s) {
            Err(e) if e.kind == ErrorKind::TooShort => {
                let left_out = 1 + self.pieces.len();
                self.pieces.clear();
                self.notes.push(format!(
                    "{left_out} of the pieces to listen to lie behind the end: {}",
                    e.message
                ));
                return Ok(None);
            }
            sought => sought?,
        };
        self.resampler.reset();
        self.left = Some((seconds * f64::from(self.reader.format().sample_rate)).round() as u64);
        self.finished = false;
        Ok(Some(start_s))
    }

    /// Everything that is left of this piece.
    ///
    /// # Errors
    /// As [`MonoStream::next_block`].
    pub fn read_to_end(&mut self) -> Result<Samples, AudioError> {
        let mut data = Vec::new();
        while let Some(block) = self.next_block()? {
            data.extend_from_slice(block);
        }
        Ok(Samples { data, sample_rate: self.rate })
    }

    /// Where in the file the first piece begins, in seconds.
    pub fn start_s(&self) -> f64 {
        self.start_s
    }

    /// Samples a second of the blocks, in Hz.
    pub fn sample_rate(&self) -> u32 {
        self.rate
    }

    /// Audio delivered so far, in seconds.
    pub fn duration_s(&self) -> f64 {
        self.delivered as f64 / f64::from(self.rate)
    }

    /// What the file says of itself.
    pub fn format(&self) -> &AudioFormat {
        self.reader.format()
    }

    /// What was noticed so far: the excerpt's notes, then the reader's.
    pub fn warnings(&self) -> impl Iterator<Item = &str> {
        self.notes.iter().chain(self.reader.warnings()).map(String::as_str)
    }
}

/// Start and length in seconds of the pieces of an excerpt; none is everything.
fn locate(
    reader: &mut AudioReader,
    excerpt: Excerpt,
    notes: &mut Vec<String>,
) -> Result<VecDeque<(f64, f64)>, AudioError> {
    let positive = |seconds: f64| {
        if seconds.is_finite() && seconds > 0.0 {
            return Ok(seconds);
        }
        Err(AudioError::unsupported(format!(
            "an excerpt of {seconds} s was asked for; its length must be positive"
        )))
    };
    match excerpt {
        Excerpt::Full => Ok(VecDeque::new()),
        Excerpt::Range { start_s, seconds } => {
            if !(start_s.is_finite() && start_s >= 0.0) {
                return Err(AudioError::unsupported(format!(
                    "an excerpt from {start_s} s on was asked for; its start must be 0 or more"
                )));
            }
            Ok([(start_s, positive(seconds)?)].into())
        }
        Excerpt::Middle { seconds } => {
            let seconds = positive(seconds)?;
            let total = match reader.format().duration_s {
                Some(total) => total,
                None if reader.can_go_back() => reader.measure()?,
                None => {
                    notes.push(format!(
                        "the length of this stream is not known beforehand, so the first {seconds} s stand in for the middle"
                    ));
                    return Ok([(0.0, seconds)].into());
                }
            };
            let middle = (total > seconds).then(|| ((total - seconds) / 2.0, seconds));
            Ok(middle.into_iter().collect())
        }
        Excerpt::Spread { pieces, seconds } => {
            let seconds = positive(seconds)?;
            if pieces == 0 {
                return Err(AudioError::unsupported("0 pieces of the file were asked for"));
            }
            let total = match reader.format().duration_s {
                _ if !reader.can_go_back() => return Ok(VecDeque::new()),
                Some(total) => total,
                None => reader.measure()?,
            };
            if total <= pieces as f64 * seconds {
                return Ok(VecDeque::new());
            }
            let middle = |i: usize| total * (i as f64 + 0.5) / pieces as f64;
            Ok((0..pieces).map(|i| (middle(i) - seconds / 2.0, seconds)).collect())
        }
    }
}

/// Reads a file, or the excerpt of it, into memory.
///
/// # Errors
/// As [`MonoStream::open`] and [`MonoStream::next_block`]; an excerpt with nothing in it is
/// [`ErrorKind::TooShort`].
pub fn read_mono(path: &Path, spec: &MonoSpec) -> Result<Samples, AudioError> {
    let mut stream = MonoStream::open(path, spec)?;
    let samples = stream.read_to_end().map_err(|e| e.at(path.display()))?;
    if samples.data.is_empty() {
        return Err(AudioError::new(
            ErrorKind::TooShort,
            "there is no audio in the part of the file that was asked for",
        )
        .at(path.display()));
    }
    Ok(samples)
}

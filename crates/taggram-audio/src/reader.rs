//! Blocks of samples from any supported file.

use std::any::Any;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use crate::decode::{self, Chunk, Damage, Decode};
use crate::{AudioError, ErrorKind, Limits, Source};

/// Lowest sample rate taken for one, in Hz; below it a header is taken to be wrong.
const MIN_RATE: u32 = 1000;

/// Beyond this a "sample" is not sound; squared in a spectrum it would overflow.
const ABSURD: f32 = 1e6;

/// What a file is, as found by decoding its beginning.
#[derive(Debug, Clone, PartialEq)]
pub struct AudioFormat {
    /// The container: `wav`, `au`, `aiff`, `mp3`, `flac`, `ogg`, `mp4`, `adts`.
    pub container: String,
    /// The codec, such as `pcm_s16le`, `mp3`, `vorbis`, `opus`, `aac`, `he-aac`, `alac`.
    pub codec: String,
    /// Frames a second, in Hz, of what is decoded (HE-AAC: twice what the container says).
    pub sample_rate: u32,
    /// Channels of what is decoded.
    pub channels: usize,
    /// Length in seconds, if the header tells; it may be an estimate, or wrong.
    pub duration_s: Option<f64>,
}

/// Decodes an audio file block by block, in bounded memory.
///
/// ```no_run
/// use taggram_audio::{AudioReader, Limits};
/// # fn main() -> Result<(), taggram_audio::AudioError> {
/// let mut reader = AudioReader::open("song.ogg".as_ref(), &Limits::default())?;
/// let mut loudest = 0f32;
/// while let Some(block) = reader.next_block()? {
///     loudest = block.iter().fold(loudest, |m, x| m.max(x.abs()));
/// }
/// # Ok(())
/// # }
/// ```
pub struct AudioReader {
    decoder: Box<dyn Decode>,
    /// The source once more, for going back from the end.
    again: Option<Source>,
    format: AudioFormat,
    limits: Limits,
    place: Option<String>,
    /// The current block, interleaved, and its mono mean.
    block: Vec<f32>,
    mono: Vec<f32>,
    /// The block was decoded to look at it, and not handed out yet.
    pending: bool,
    /// Decoded frame that comes next, and the bounds of what is handed out.
    position: i64,
    from: i64,
    to: i64,
    /// Decoded frames cut off at the start.
    skip: i64,
    /// The next chunk tells where it is.
    lost: bool,
    jumped: bool,
    ended: bool,
    damage: Damage,
    replaced: u64,
    warnings: Vec<String>,
    /// Damage that the warnings tell of.
    told: (u64, u64, usize),
}

impl AudioReader {
    /// Opens a file and decodes its beginning. The format is told by content, not by name.
    ///
    /// # Errors
    /// One sentence with the path: unreadable, not audio, an unsupported codec, no audio in it,
    /// or over a limit.
    pub fn open(path: &Path, limits: &Limits) -> Result<Self, AudioError> {
        Self::from_source(Source::Path(path.to_owned()), limits)
    }

    /// Reads a whole file that is in memory.
    ///
    /// # Errors
    /// As [`AudioReader::open`], without a path.
    pub fn from_bytes(bytes: impl Into<Arc<[u8]>>, limits: &Limits) -> Result<Self, AudioError> {
        Self::from_source(Source::Bytes(bytes.into()), limits)
    }

    /// Reads a stream as it comes. An MP4 is held in memory first, within
    /// [`Limits::max_spool_bytes`], since its index may be at the end.
    ///
    /// # Errors
    /// As [`AudioReader::open`], without a path.
    pub fn from_read(
        stream: Box<dyn Read + Send + Sync>,
        limits: &Limits,
    ) -> Result<Self, AudioError> {
        Self::from_source(Source::Stream(stream), limits)
    }

    /// Opens any source.
    ///
    /// # Errors
    /// As [`AudioReader::open`].
    pub fn from_source(source: Source, limits: &Limits) -> Result<Self, AudioError> {
        let place = match &source {
            Source::Path(path) => Some(path.display().to_string()),
            _ => None,
        };
        let result = guarded(|| {
            let mut opened = source.ready(limits)?;
            let again = opened.again.take();
            Self::begin(decode::open(opened, limits)?, again, limits)
        });
        match (result, place) {
            (Ok(reader), place) => Ok(Self { place, ..reader }),
            (Err(error), Some(place)) => Err(error.at(place)),
            (Err(error), None) => Err(error),
        }
    }

    /// Decodes the first block: only what comes out tells the rate and the channels for sure.
    fn begin(
        decoder: Box<dyn Decode>,
        again: Option<Source>,
        limits: &Limits,
    ) -> Result<Self, AudioError> {
        let claims = decoder.claims().clone();
        let mut reader = Self {
            decoder,
            again,
            format: AudioFormat {
                container: claims.container.to_owned(),
                codec: claims.codec.clone(),
                sample_rate: 0,
                channels: 0,
                duration_s: None,
            },
            limits: limits.clone(),
            place: None,
            block: Vec::new(),
            mono: Vec::new(),
            pending: false,
            position: 0,
            from: 0,
            to: i64::MAX,
            skip: 0,
            lost: false,
            jumped: false,
            ended: false,
            damage: Damage::default(),
            replaced: 0,
            warnings: Vec::new(),
            told: (0, 0, 0),
        };
        if claims.oversold {
            reader
                .damage
                .notes
                .push("the header promises more audio than the file holds".to_owned());
        }
        reader.pending = reader.fill()?;
        if reader.pending {
            return Ok(reader);
        }
        let container = &reader.format.container;
        Err(match reader.damage.packets {
            0 => AudioError::new(
                ErrorKind::TooShort,
                format!("the file is {container} with no audio in it (0 samples)"),
            ),
            n => AudioError::malformed(format!(
                "the file looks like {container}, but none of its {n} packets could be decoded ({})",
                reader.damage.reason
            )),
        })
    }

    /// What the file is.
    pub fn format(&self) -> &AudioFormat {
        &self.format
    }

    /// What was noticed so far that did not stop the reading: damaged packets left out, samples
    /// that were not numbers, a header that promises more than there is. Each is a sentence.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Whether [`AudioReader::seek`] can go back (a stream cannot).
    pub fn can_go_back(&self) -> bool {
        self.decoder.claims().can_go_back
    }

    /// Where the next block begins, in seconds.
    pub fn position_s(&self) -> f64 {
        let frames = self.block.len() / self.format.channels.max(1);
        let next = self.position - if self.pending { frames as i64 } else { 0 };
        (next.max(self.from) - self.skip) as f64 / f64::from(self.format.sample_rate)
    }

    /// The next block in mono: the mean of the channels, at the file's own rate. Never empty;
    /// `None` at the end.
    ///
    /// # Errors
    /// Over a limit, an I/O fault, or a defect of a decoder. Damage to the file is no error but
    /// a [warning](AudioReader::warnings).
    pub fn next_block(&mut self) -> Result<Option<&[f32]>, AudioError> {
        if !self.advance()? {
            return Ok(None);
        }
        let channels = self.format.channels;
        if channels == 1 {
            return Ok(Some(&self.block));
        }
        self.mono.clear();
        mix_down(&self.block, channels, &mut self.mono);
        Ok(Some(&self.mono))
    }

    /// The next block with all channels, interleaved (`[frame, channel]`). Never empty; `None`
    /// at the end. Integer samples of up to 24 bits are exact.
    ///
    /// # Errors
    /// As [`AudioReader::next_block`].
    pub fn next_block_channels(&mut self) -> Result<Option<&[f32]>, AudioError> {
        Ok(if self.advance()? { Some(&self.block) } else { None })
    }

    /// Moves to a time, to the sample: where a codec cannot begin just there, it is run in from
    /// somewhat before. Gives the position reached, in seconds. A stream can only go forward.
    ///
    /// # Errors
    /// Going back in a stream; a time behind the end ([`ErrorKind::TooShort`]); or as
    /// [`AudioReader::next_block`].
    pub fn seek(&mut self, seconds: f64) -> Result<f64, AudioError> {
        let place = self.place.clone();
        self.seek_inner(seconds).map_err(|e| match place {
            Some(place) => e.at(place),
            None => e,
        })
    }

    fn seek_inner(&mut self, seconds: f64) -> Result<f64, AudioError> {
        let rate = self.format.sample_rate;
        let target = self.skip + (seconds.max(0.0) * f64::from(rate)).round().min(1e15) as i64;
        let frames = (self.block.len() / self.format.channels) as i64;
        let next = self.position - if self.pending { frames } else { 0 };
        self.jumped = true;
        let run_in = self.decoder.claims().preroll as i64;
        // Close ahead, decoding on is as good as seeking.
        let close = target >= next && target - next <= run_in + i64::from(rate);
        let mut sought = false;
        if self.ended
            && let Some(source) = self.again.take()
        {
            // Not every demuxer finds its way back once it has met the end.
            let limits = &self.limits;
            (self.decoder, self.again) = guarded(|| {
                let mut opened = source.ready(limits)?;
                let again = opened.again.take();
                Ok((decode::open(opened, limits)?, again))
            })?;
        }
        if !close || self.ended {
            let to = (target - run_in).max(0) as u64;
            sought = guarded(|| self.decoder.seek(to, rate))?;
            if !sought && (target < next || self.ended) {
                return Err(AudioError::unsupported(format!(
                    "this source cannot go back to {seconds} s, only forward"
                )));
            }
        }
        if sought {
            self.pending = false;
            self.lost = true;
            self.ended = false;
            self.position = (target - run_in).max(0);
        }
        self.from = target;
        if self.pending {
            // Part of the block in hand may be what is sought.
            let cut = ((target - next).clamp(0, frames)) as usize * self.format.channels;
            self.block.drain(..cut);
            self.pending = !self.block.is_empty();
        }
        if !self.pending {
            // Packets that a decoder refuses while it is run in are no damage to the file.
            let before = self.damage.packets;
            self.pending = self.fill()?;
            self.damage.packets = before;
        }
        if !self.pending {
            return Err(AudioError::new(
                ErrorKind::TooShort,
                format!(
                    "the audio ends at {:.3} s, before the {seconds:.3} s asked for",
                    self.position_s()
                ),
            ));
        }
        Ok(self.position_s())
    }

    /// Decodes to the end to learn the length in seconds, then goes back to the start.
    ///
    /// # Errors
    /// As [`AudioReader::next_block`] and [`AudioReader::seek`].
    pub fn measure(&mut self) -> Result<f64, AudioError> {
        while self.advance()? {}
        let frames = (self.position.min(self.to) - self.skip).max(0);
        let seconds = frames as f64 / f64::from(self.format.sample_rate);
        self.format.duration_s = Some(seconds);
        self.seek(0.0)?;
        Ok(seconds)
    }

    /// Makes `block` the next one; `false` at the end.
    fn advance(&mut self) -> Result<bool, AudioError> {
        if std::mem::take(&mut self.pending) {
            return Ok(true);
        }
        if self.ended {
            return Ok(false);
        }
        let result = self.fill();
        match (result, &self.place) {
            (Err(error), Some(place)) => Err(error.at(place)),
            (result, _) => result,
        }
    }

    /// Decodes until there are frames between `from` and `to`.
    fn fill(&mut self) -> Result<bool, AudioError> {
        loop {
            self.block.clear();
            let Self { decoder, block, damage, .. } = self;
            let chunk = match guarded(|| decoder.next(block, damage)) {
                Ok(chunk) => chunk,
                Err(error) => {
                    // Nothing good comes of asking again.
                    self.ended = true;
                    return Err(error);
                }
            };
            let usable = match chunk {
                Some(chunk) if !self.block.is_empty() => self.accept(chunk)?,
                Some(_) => true,
                None => false,
            };
            if !usable || self.position >= self.to && self.block.is_empty() {
                self.block.clear();
                self.ended = true;
                self.note_length();
            }
            self.tell();
            if self.ended || !self.block.is_empty() {
                return Ok(!self.ended);
            }
        }
    }

    /// Cuts and cleans the block just decoded; `false` if it cannot belong to the same audio.
    fn accept(&mut self, chunk: Chunk) -> Result<bool, AudioError> {
        if self.format.sample_rate == 0 {
            self.settle(chunk)?;
        }
        if chunk.rate != self.format.sample_rate {
            self.damage.notes.push(format!(
                "the sample rate changes from {} to {} Hz in the middle of the file; the rest was left out",
                self.format.sample_rate, chunk.rate
            ));
            return Ok(false);
        }
        if chunk.channels != self.format.channels {
            spread(&mut self.block, chunk.channels, self.format.channels);
        }
        if std::mem::take(&mut self.lost)
            && let Some(start) = chunk.start
        {
            self.position = start;
        }
        let channels = self.format.channels;
        let frames = (self.block.len() / channels) as i64;
        let first = (self.from - self.position).clamp(0, frames);
        let last = (self.to - self.position).clamp(first, frames);
        self.position += frames;
        // What is cut at the end stays out of the count.
        if last < frames && last > first {
            self.position = self.to;
        }
        self.block.truncate(last as usize * channels);
        self.block.drain(..first as usize * channels);
        self.replaced += silence_absurd(&mut self.block);
        let seconds = (self.position - self.skip) as f64 / f64::from(self.format.sample_rate);
        if seconds > self.limits.max_seconds {
            self.ended = true;
            return Err(AudioError::new(
                ErrorKind::OverLimit,
                format!("the audio is longer than the {} s accepted", self.limits.max_seconds),
            ));
        }
        Ok(true)
    }

    /// Takes rate and channels from the first chunk, and all that depends on them.
    fn settle(&mut self, chunk: Chunk) -> Result<(), AudioError> {
        let Limits { max_channels, max_sample_rate, .. } = self.limits;
        if chunk.rate < MIN_RATE {
            return Err(AudioError::unsupported(format!(
                "the sample rate is {} Hz, and at least {MIN_RATE} Hz is needed",
                chunk.rate
            )));
        }
        if chunk.rate > max_sample_rate {
            return Err(AudioError::new(
                ErrorKind::OverLimit,
                format!(
                    "the sample rate is {} Hz, and at most {max_sample_rate} Hz is accepted",
                    chunk.rate
                ),
            ));
        }
        if chunk.channels > max_channels {
            return Err(AudioError::new(
                ErrorKind::OverLimit,
                format!(
                    "the audio has {} channels, and at most {max_channels} are accepted",
                    chunk.channels
                ),
            ));
        }
        let claims = self.decoder.claims();
        let scaled = |ticks: u64, per_second: u32| {
            let (ticks, rate) = (u128::from(ticks), u128::from(chunk.rate));
            ((ticks * rate + u128::from(per_second) / 2) / u128::from(per_second.max(1)))
                .min(1 << 62) as i64
        };
        self.skip = scaled(claims.trim.skip, claims.trim.rate);
        if let Some(keep) = claims.trim.keep {
            self.to = self.skip.saturating_add(scaled(keep, claims.trim.rate));
        }
        self.from = self.skip;
        self.format.sample_rate = chunk.rate;
        self.format.channels = chunk.channels;
        let seconds = |ticks: u64, per_second: u32| {
            (per_second > 0 && ticks > 0).then(|| ticks as f64 / f64::from(per_second))
        };
        self.format.duration_s = claims
            .trim
            .keep
            .and_then(|n| seconds(n, claims.trim.rate))
            .or_else(|| seconds(claims.frames?, claims.frames_rate));
        Ok(())
    }

    /// At the end: whether the header kept its promise.
    fn note_length(&mut self) {
        let Some(promised) = self.format.duration_s else { return };
        if self.jumped || self.decoder.claims().oversold {
            return;
        }
        let found = (self.position - self.skip).max(0) as f64 / f64::from(self.format.sample_rate);
        // The length of MPEG streams is often an estimate.
        let slack = match self.format.container.as_str() {
            "mp3" | "adts" => 0.2 + promised * 0.1,
            _ => 0.2,
        };
        if found + slack < promised {
            self.damage.notes.push(format!(
                "the header promises {promised:.2} s of audio and there are {found:.2} s: the file may be cut short"
            ));
        }
    }

    /// Brings the warnings up to date.
    fn tell(&mut self) {
        let now = (self.damage.packets, self.replaced, self.damage.notes.len());
        if now == self.told {
            return;
        }
        self.told = now;
        self.warnings.clone_from(&self.damage.notes);
        if self.damage.packets > 0 {
            self.warnings.push(format!(
                "{} damaged packets were left out (the last: {})",
                self.damage.packets, self.damage.reason
            ));
        }
        if self.replaced > 0 {
            self.warnings.push(format!(
                "{} samples were not numbers, or absurdly large, and were read as silence",
                self.replaced
            ));
        }
    }
}

/// Appends the mean of the channels of each frame.
pub(crate) fn mix_down(block: &[f32], channels: usize, mono: &mut Vec<f32>) {
    let share = channels as f32;
    match channels {
        1 => mono.extend_from_slice(block),
        2 => mono.extend(block.as_chunks::<2>().0.iter().map(|[l, r]| (l + r) * 0.5)),
        _ => mono.extend(block.chunks_exact(channels).map(|f| f.iter().sum::<f32>() / share)),
    }
}

/// Makes silence of what is no sound; gives how many samples that were.
pub(crate) fn silence_absurd(block: &mut [f32]) -> u64 {
    // Nearly always there is none, and looking without stopping is many times as fast. (What is not a number
    // is not less than anything.)
    if block.iter().fold(true, |sound, x| sound & (x.abs() <= ABSURD)) {
        return 0;
    }
    let mut replaced = 0;
    for x in block {
        if x.is_nan() || x.abs() > ABSURD {
            *x = 0.0;
            replaced += 1;
        }
    }
    replaced
}

/// Gives a block another number of channels, each the mean: the count changed mid-file.
fn spread(block: &mut Vec<f32>, from: usize, to: usize) {
    let mean = |frame: &[f32]| frame.iter().sum::<f32>() / from as f32;
    *block =
        block.chunks_exact(from).flat_map(|frame| std::iter::repeat_n(mean(frame), to)).collect();
}

/// Runs a decoder; a panic in it becomes an error. The reader is not asked for more afterwards.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, AudioError>) -> Result<T, AudioError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let said = message(&*panic);
        Err(AudioError::new(ErrorKind::Bug, format!("the decoder crashed on this file ({said})")))
    })
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no reason given")
}

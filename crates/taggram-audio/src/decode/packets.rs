//! Formats that come as packets: symphonia takes the container apart, and its decoders (or ours
//! for Opus and HE-AAC) decode.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::CODEC_ID_AAC;
use symphonia::core::errors::{Error, SeekErrorKind};
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, SeekMode, SeekTo, TrackType};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions, ReadOnlySource};
use symphonia::core::meta::MetadataOptions;
use symphonia::core::packet::Packet;
use symphonia::core::units::{TimeBase, Timestamp};

use super::codec::{Codec, choose, preroll};
use super::{Chunk, Claims, Damage, Decode, Trim, mp4};
use crate::source::{Looks, Opened};
use crate::{AudioError, ErrorKind, Limits};

/// Packets looked at to tell HE-AAC from AAC: SBR may be missing from the very first.
pub(crate) const TRIAL: usize = 6;

/// A demuxer that finds nothing usable this often in a row is at the end of what it can do.
const PATIENCE: usize = 256;

/// A demuxer and the decoder of one of its tracks.
pub(crate) struct Packets {
    format: Box<dyn FormatReader>,
    codec: Codec,
    track: u32,
    time_base: TimeBase,
    /// Timestamp of the first decoded frame, and of the first packet.
    origin: i64,
    begin: i64,
    queue: VecDeque<Packet>,
    claims: Claims,
    over_limit: Arc<AtomicBool>,
    max_bytes: u64,
    failures: usize,
}

impl Packets {
    pub fn open(opened: Opened, limits: &Limits) -> Result<Self, AudioError> {
        let Opened { mut media, looks, begins, size, over_limit, cut, .. } = opened;
        let trim = if looks == Looks::Mp4 { mp4::trim(&mut *media) } else { Trim::default() };
        if cut {
            // The demuxer would look for what follows the samples, and give up.
            media = Box::new(ReadOnlySource::new(media));
        }
        let can_go_back = media.is_seekable();
        let stream = MediaSourceStream::new(media, MediaSourceStreamOptions::default());
        let mut format = symphonia::default::get_probe()
            .probe(&Hint::new(), stream, FormatOptions::default(), MetadataOptions::default())
            .map_err(|e| not_opened(&e, &begins))?;
        let track = format.default_track(TrackType::Audio).ok_or_else(|| {
            AudioError::unsupported("the file has no audio track in a codec that is supported")
        })?;
        let Some(CodecParameters::Audio(params)) = track.codec_params.clone() else {
            return Err(AudioError::unsupported("the codec of the audio track is not known"));
        };
        let id = track.id;
        let time_base =
            track
                .time_base
                .or_else(|| TimeBase::try_from_recip(params.sample_rate?))
                .ok_or_else(|| AudioError::malformed("the audio track has no sample rate"))?;
        let container = container(format.format_info().short_name);
        let mut claims = Claims {
            container,
            frames: track.num_frames,
            frames_rate: params.sample_rate.unwrap_or(0),
            trim,
            preroll: preroll(&params),
            can_go_back,
            ..Claims::default()
        };
        check_pcm_length(&mut claims, &params, size);
        let mut queue = VecDeque::new();
        let wanted = if params.codec == CODEC_ID_AAC { TRIAL } else { 1 };
        while queue.len() < wanted {
            match format.next_packet() {
                Ok(Some(packet)) if packet.track_id == id => queue.push_back(packet),
                Ok(Some(_)) => {}
                // Whatever it is, reading on will meet it again and deal with it.
                Ok(None) | Err(_) => break,
            }
        }
        // An MP3's time begins after its delay, of which the first packets may be made wholly.
        let origin = if container == "mp3" { 0 } else { queue.front().map_or(0, start_of) };
        let begin = queue.front().map_or(0, |packet| packet.pts.get());
        let codec = choose(&params, queue.make_contiguous(), &mut claims)?;
        claims.codec = codec.name();
        Ok(Self {
            format,
            codec,
            track: id,
            time_base,
            origin,
            begin,
            queue,
            claims,
            over_limit,
            max_bytes: limits.max_bytes,
            failures: 0,
        })
    }

    /// The next packet of the track; `None` at the end.
    fn packet(&mut self, damage: &mut Damage) -> Result<Option<Packet>, AudioError> {
        if let Some(packet) = self.queue.pop_front() {
            return Ok(Some(packet));
        }
        loop {
            let error = match self.format.next_packet() {
                Ok(Some(packet)) if packet.track_id == self.track => {
                    self.failures = 0;
                    return Ok(Some(packet));
                }
                Ok(Some(_)) => continue,
                Ok(None) => return Ok(None),
                Err(error) => error,
            };
            if self.over_limit.load(Ordering::Relaxed) {
                return Err(AudioError::new(
                    ErrorKind::OverLimit,
                    format!("the stream has more than the {} bytes accepted", self.max_bytes),
                ));
            }
            match error {
                Error::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
                    return Ok(None);
                }
                // A number from the operating system: the device failed, not the format.
                Error::IoError(e) if e.raw_os_error().is_some() => {
                    return Err(AudioError::unreadable("reading the file", &e));
                }
                // Another stream follows in the same file (Internet radio does that).
                Error::ResetRequired if self.adopt_next_stream() => {}
                Error::DecodeError(_) | Error::IoError(_) if self.failures < PATIENCE => {
                    self.failures += 1;
                    damage.packets += 1;
                    damage.reason = error.to_string();
                }
                error => {
                    damage
                        .notes
                        .push(format!("reading stopped before the end of the file: {error}"));
                    return Ok(None);
                }
            }
        }
    }

    /// After a chained stream began: its decoder, if it can be decoded.
    fn adopt_next_stream(&mut self) -> bool {
        let Some(track) = self.format.default_track(TrackType::Audio) else { return false };
        let Some(CodecParameters::Audio(params)) = &track.codec_params else { return false };
        let Ok(codec) = choose(params, &[], &mut self.claims) else { return false };
        self.track = track.id;
        self.time_base = track.time_base.unwrap_or(self.time_base);
        self.codec = codec;
        self.claims.can_go_back = false;
        true
    }

    /// Ticks of the time base to frames at `rate`.
    fn to_frames(&self, ticks: i64, rate: u32) -> i64 {
        let (numer, denom) =
            (i128::from(self.time_base.numer.get()), i128::from(self.time_base.denom.get()));
        (i128::from(ticks) * numer * i128::from(rate)).div_euclid(denom) as i64
    }
}

impl Decode for Packets {
    fn claims(&self) -> &Claims {
        &self.claims
    }

    fn next(
        &mut self,
        out: &mut Vec<f32>,
        damage: &mut Damage,
    ) -> Result<Option<Chunk>, AudioError> {
        loop {
            let Some(packet) = self.packet(damage)? else { return Ok(None) };
            match self.codec.decode(&packet, out) {
                Ok((rate, channels)) if rate > 0 && channels > 0 => {
                    let start = self.to_frames(start_of(&packet) - self.origin, rate);
                    return Ok(Some(Chunk { start: Some(start), rate, channels }));
                }
                Ok(_) => {}
                Err(reason) => {
                    damage.packets += 1;
                    damage.reason = reason;
                }
            }
        }
    }

    fn seek(&mut self, frame: u64, rate: u32) -> Result<bool, AudioError> {
        if !self.claims.can_go_back {
            return Ok(false);
        }
        let (numer, denom) =
            (u128::from(self.time_base.numer.get()), u128::from(self.time_base.denom.get()));
        let ticks = (u128::from(frame) * denom / (numer * u128::from(rate))) as i64;
        // The start is that of the first packet, even if its frames are cut off.
        let ts = if frame == 0 { self.begin } else { self.origin.saturating_add(ticks) };
        let to = SeekTo::Timestamp { ts: Timestamp::new(ts), track_id: self.track };
        match self.format.seek(SeekMode::Accurate, to) {
            Ok(_) => self.queue.clear(),
            Err(Error::SeekError(SeekErrorKind::OutOfRange)) => {
                self.queue.clear();
                return Err(AudioError::new(
                    ErrorKind::TooShort,
                    format!("the audio ends before {:.3} s", frame as f64 / f64::from(rate)),
                ));
            }
            // The container found no way there; the caller decodes its way ahead if it can.
            Err(Error::SeekError(_) | Error::DecodeError(_) | Error::Unsupported(_)) => {
                return Ok(false);
            }
            Err(Error::IoError(e)) if e.raw_os_error().is_none() => return Ok(false),
            Err(e) => {
                return Err(AudioError::malformed(format!("seeking in the file failed: {e}")));
            }
        }
        self.codec.reset();
        self.failures = 0;
        Ok(true)
    }
}

/// Timestamp of the first frame that a decoder yields for a packet.
fn start_of(packet: &Packet) -> i64 {
    packet.pts.get().saturating_add_unsigned(packet.trim_start.get())
}

/// A header of plain samples may promise more than the file can hold; then the file is right.
fn check_pcm_length(claims: &mut Claims, params: &AudioCodecParameters, size: Option<u64>) {
    let (Some(size), Some(bits), Some(channels)) =
        (size, params.bits_per_coded_sample.or(params.bits_per_sample), &params.channels)
    else {
        return;
    };
    let frame = (u64::from(bits) / 8 * channels.count() as u64).max(1);
    if matches!(claims.container, "wav" | "aiff") && claims.frames.is_some_and(|n| n > size / frame)
    {
        claims.oversold = true;
        claims.frames = Some(size / frame);
    }
}

pub(crate) fn container(short_name: &'static str) -> &'static str {
    match short_name {
        "wave" => "wav",
        "isomp4" => "mp4",
        "aac" => "adts",
        other => other,
    }
}

/// Why a source could not be opened.
pub(crate) fn not_opened(error: &Error, begins: &str) -> AudioError {
    match error {
        Error::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            AudioError::not_audio(format!(
                "no audio format was recognised before the end of the file (it begins with {begins})"
            ))
        }
        Error::IoError(e) => AudioError::unreadable("reading the file", e),
        Error::Unsupported(what) if what.contains("probe") => AudioError::not_audio(format!(
            "no audio format was recognised (the file begins with {begins})"
        )),
        Error::Unsupported(what) if what.contains("missing") => {
            AudioError::malformed(format!("the file is incomplete: {what}"))
        }
        Error::Unsupported(what) => {
            AudioError::unsupported(format!("the file uses something not supported: {what}"))
        }
        Error::LimitError(what) => {
            AudioError::new(ErrorKind::OverLimit, format!("the file is out of bounds: {what}"))
        }
        other => AudioError::malformed(format!("the header cannot be read: {other}")),
    }
}

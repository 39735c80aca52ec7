//! Packets in, segment files out.

use std::io;
use std::path::{Path, PathBuf};

use taggram_audio::{Gapless, PacketCodec};

use super::{CutOptions, CutTrack, Packaging, Written};
use crate::frames::{adts_header, id3_timestamp};
use crate::mp4::{Mp4Writer, codec_name};
use crate::playlist::Trim;
use crate::ts::{Elementary, TsMuxer};
use crate::{ErrorKind, HlsError};

/// Time of the first frame, 1/90,000 s. Decoders want their clock to have begun before it.
const FIRST_PTS: u64 = 126_000;

/// Gathers packets until a segment is full and writes it.
pub(super) struct Cutter {
    form: Form,
    codecs: String,
    /// ADTS headers are made from it.
    config: Option<Vec<u8>>,
    extension: &'static str,
    folder: PathBuf,
    rate: u32,
    /// Frames in a segment at most.
    most: u64,
    waiting: Vec<(Box<[u8]>, u32)>,
    waiting_frames: u64,
    /// Frames before those that wait.
    time: u64,
    init: Option<Written>,
    segments: Vec<Written>,
}

enum Form {
    Ts(TsMuxer),
    Packed,
    Mp4(Mp4Writer),
}

impl Cutter {
    pub fn new(
        codec: &PacketCodec,
        rate: u32,
        channels: usize,
        gapless: Gapless,
        packaging: Packaging,
        folder: &Path,
        options: &CutOptions,
    ) -> Result<Self, HlsError> {
        if rate == 0 {
            return Err(HlsError::malformed("the audio track has a sample rate of 0"));
        }
        let config = match codec {
            PacketCodec::Aac { config } => Some(core_config(config)),
            _ => None,
        };
        let mut init = None;
        let (form, extension) = match (packaging, codec) {
            (Packaging::Ts, PacketCodec::Mp3) => {
                (Form::Ts(TsMuxer::new(Elementary::Mpeg, rate)), "ts")
            }
            (Packaging::Ts, PacketCodec::Aac { .. }) => {
                (Form::Ts(TsMuxer::new(Elementary::Adts, rate)), "ts")
            }
            (Packaging::Packed, PacketCodec::Mp3) => (Form::Packed, "mp3"),
            (Packaging::Packed, PacketCodec::Aac { .. }) => (Form::Packed, "aac"),
            (Packaging::Mp4, PacketCodec::Aac { .. } | PacketCodec::Flac { .. }) => {
                let writer = Mp4Writer::new(codec, rate, channels, gapless)?;
                init = Some(write(folder, "init.mp4", &writer.init(), 0.0)?);
                (Form::Mp4(writer), "m4s")
            }
            _ => {
                return Err(HlsError::unsupported("this codec cannot be put in such segments"));
            }
        };
        Ok(Self {
            form,
            codecs: codec_name(codec),
            config,
            extension,
            folder: folder.to_owned(),
            rate,
            most: ((options.segment_s * f64::from(rate)) as u64).max(1),
            waiting: Vec::new(),
            waiting_frames: 0,
            time: 0,
            init,
            segments: Vec::new(),
        })
    }

    /// Takes a packet that lasts `frames`.
    pub fn push(&mut self, data: Box<[u8]>, frames: u64) -> Result<(), HlsError> {
        if self.waiting_frames + frames > self.most {
            self.flush()?;
        }
        self.waiting_frames += frames;
        self.waiting.push((data, frames as u32));
        Ok(())
    }

    pub fn finish(mut self, trim: Trim) -> Result<CutTrack, HlsError> {
        self.flush()?;
        if self.segments.is_empty() {
            return Err(HlsError::malformed("there is no audio in it"));
        }
        let whole = trim.skip == 0 && trim.keep.is_none();
        Ok(CutTrack {
            extension: self.extension,
            codecs: self.codecs,
            rate: self.rate,
            init: self.init,
            segments: self.segments,
            trim: (!whole && trim.rate > 0).then_some(trim),
            encoded: false,
        })
    }

    fn flush(&mut self) -> Result<(), HlsError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let mut out = Vec::new();
        let pts =
            |time: u64| FIRST_PTS + (u128::from(time) * 90_000 / u128::from(self.rate)) as u64;
        let header = |length: usize| match &self.config {
            None => Ok(Vec::new()),
            Some(config) => adts_header(config, length).map(Vec::from).ok_or_else(|| {
                HlsError::unsupported("this kind of AAC cannot be put in ADTS frames")
            }),
        };
        match &mut self.form {
            Form::Ts(muxer) => {
                muxer.begin(&mut out);
                let mut time = self.time;
                for (i, (packet, frames)) in self.waiting.iter().enumerate() {
                    let mut frame = header(packet.len())?;
                    frame.extend_from_slice(packet);
                    muxer.frame(&frame, pts(time), i == 0, &mut out);
                    time += u64::from(*frames);
                }
            }
            Form::Packed => {
                out = id3_timestamp(pts(self.time));
                for (packet, _) in &self.waiting {
                    out.extend(header(packet.len())?);
                    out.extend_from_slice(packet);
                }
            }
            Form::Mp4(writer) => {
                let number = self.segments.len() as u32 + 1;
                let mut packets = self.waiting.iter().map(|(data, frames)| (&data[..], *frames));
                writer.segment(number, self.time, &mut packets, &mut out);
            }
        }
        let name = format!("{}.{}", self.segments.len(), self.extension);
        let duration_s = self.waiting_frames as f64 / f64::from(self.rate);
        self.segments.push(write(&self.folder, &name, &out, duration_s)?);
        self.time += self.waiting_frames;
        self.waiting_frames = 0;
        self.waiting.clear();
        Ok(())
    }
}

/// The configuration of the core where SBR is signalled before it: ADTS tells the core alone.
fn core_config(config: &[u8]) -> Vec<u8> {
    match config {
        [a, b, ..] if matches!(a >> 3, 5 | 29) => {
            let word = u16::from_be_bytes([*a, *b]);
            (2 << 11 | word & 0x07f8).to_be_bytes().to_vec()
        }
        _ => config.to_vec(),
    }
}

fn write(folder: &Path, name: &str, bytes: &[u8], duration_s: f64) -> Result<Written, HlsError> {
    std::fs::write(folder.join(name), bytes).map_err(|e| unwritable(folder, &e))?;
    Ok(Written { duration_s, bytes: bytes.len() as u64, crc: crc32fast::hash(bytes) })
}

pub(super) fn unwritable(folder: &Path, e: &io::Error) -> HlsError {
    HlsError::new(ErrorKind::Unreadable, format!("a segment cannot be written: {e}"))
        .at(folder.display())
}

//! Cutting a track into segments: along its own frames where its codec is allowed in HLS, through
//! an encoder otherwise.

mod cutter;
mod encode;
mod shift;

use std::path::Path;

use taggram_audio::{AudioReader, Limits, Packet, PacketCodec, PacketReader};

use crate::HlsError;
use crate::playlist::Trim;
use cutter::Cutter;
pub(crate) use shift::shift;

/// What segments are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Packaging {
    /// MPEG-TS.
    Ts,
    /// Frames as they are behind an ID3 tag with the time.
    Packed,
    /// Fragmented MP4.
    Mp4,
}

/// A kind of sound that players can go on with from track to track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// MP3.
    Mp3,
    /// AAC.
    Aac,
    /// FLAC.
    Flac,
}

/// How to cut.
#[derive(Debug, Clone, PartialEq)]
pub struct CutOptions {
    /// No segment lasts longer, s.
    pub segment_s: f64,
    /// What MP3 is put in: [`Packaging::Ts`], which every player takes, or [`Packaging::Packed`].
    pub mp3: Packaging,
    /// Bounds on the file.
    pub limits: Limits,
}

/// A file that was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// How long it lasts, s; 0 for an initialisation segment.
    pub duration_s: f64,
    /// Bytes.
    pub bytes: u64,
    /// CRC-32 of its bytes.
    pub crc: u32,
}

/// A track that is cut: `0.ts`, `1.ts`, … (and `init.mp4`) in a folder.
#[derive(Debug, Clone, PartialEq)]
pub struct CutTrack {
    /// Ending of the segments' names, without the dot.
    pub extension: &'static str,
    /// Codec as RFC 6381 names it.
    pub codecs: String,
    /// Frames a second, Hz.
    pub rate: u32,
    /// The initialisation segment, if there is one.
    pub init: Option<Written>,
    /// The segments in order.
    pub segments: Vec<Written>,
    /// What of the decoded frames is music, when that is not all.
    pub trim: Option<Trim>,
    /// It went through an encoder.
    pub encoded: bool,
}

impl CutTrack {
    /// Length, s.
    pub fn duration_s(&self) -> f64 {
        self.segments.iter().map(|s| s.duration_s).sum()
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|s| s.bytes).sum()
    }

    /// Highest bit rate of a segment, bit/s (very short ones at the end aside).
    pub fn peak_bps(&self) -> u64 {
        let rate = |s: &Written| (s.bytes as f64 * 8.0 / s.duration_s.max(0.5)).ceil() as u64;
        self.segments.iter().map(rate).max().unwrap_or(0)
    }

    /// MIME type of the segments.
    pub fn mime(&self) -> &'static str {
        mime(self.extension)
    }
}

/// MIME type by the ending of a name.
pub fn mime(extension: &str) -> &'static str {
    match extension {
        "ts" => "video/mp2t",
        "aac" => "audio/aac",
        "mp3" => "audio/mpeg",
        "m4s" | "mp4" => "audio/mp4",
        "m3u8" => "application/vnd.apple.mpegurl",
        "json" => "application/json",
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "wasm" => "application/wasm",
        _ => "application/octet-stream",
    }
}

/// The family that a file belongs to without encoding; `None` when it has to be encoded.
///
/// # Errors
/// The file cannot be read, or is no audio.
pub fn family(path: &Path, limits: &Limits) -> Result<Option<Family>, HlsError> {
    match PacketReader::open(path, limits) {
        Ok(reader) => Ok(match reader.codec() {
            PacketCodec::Mp3 => Some(Family::Mp3),
            PacketCodec::Aac { .. } => Some(Family::Aac),
            PacketCodec::Flac { .. } => Some(Family::Flac),
            _ => None,
        }),
        // PCM in its many kinds is no packets; whether it is audio at all the decoder knows.
        Err(_) => Ok(AudioReader::open(path, limits).map(|_| None)?),
    }
}

/// Cuts `path` into `folder`, which exists and is empty. With `uniform` the result is of that
/// family, encoded as AAC if need be (and AAC is always [`Packaging::Packed`] then).
///
/// # Errors
/// The file cannot be read or encoded; the folder cannot be written.
pub fn cut(
    path: &Path,
    folder: &Path,
    uniform: Option<Family>,
    options: &CutOptions,
) -> Result<CutTrack, HlsError> {
    let natural = family(path, &options.limits)?;
    match (natural, uniform) {
        (Some(own), None) => pass(path, folder, own, None, options),
        (Some(own), Some(wanted)) if own == wanted => {
            let packaging = (own == Family::Aac).then_some(Packaging::Packed);
            pass(path, folder, own, packaging, options)
        }
        (None, None | Some(Family::Flac)) if encode::is_lossless(path, &options.limits)? => {
            let flac = folder.join("source.flac");
            let result = encode::to_flac(path, &flac, &options.limits)
                .and_then(|()| pass(&flac, folder, Family::Flac, None, options));
            // It served its purpose; a rest of it would only take up room.
            let _ = std::fs::remove_file(&flac);
            result.map(|track| CutTrack { encoded: true, ..track })
        }
        _ => encode::to_aac(path, folder, options),
    }
}

/// Frame by frame, as the file holds them.
fn pass(
    path: &Path,
    folder: &Path,
    family: Family,
    packaging: Option<Packaging>,
    options: &CutOptions,
) -> Result<CutTrack, HlsError> {
    let mut reader = PacketReader::open(path, &options.limits)?;
    let packaging = packaging.unwrap_or(match (family, reader.container()) {
        (Family::Mp3, _) => options.mp3,
        (Family::Aac, "adts") => Packaging::Packed,
        (Family::Aac | Family::Flac, _) => Packaging::Mp4,
    });
    let gapless = reader.gapless();
    let mut cutter = Cutter::new(
        reader.codec(),
        reader.sample_rate(),
        reader.channels(),
        gapless,
        packaging,
        folder,
        options,
    )?;
    let mut seconds = 0.0;
    while let Some(Packet { data, frames }) = reader.next_packet()? {
        seconds += frames as f64 / f64::from(reader.sample_rate());
        if seconds > options.limits.max_seconds {
            return Err(HlsError::new(
                crate::ErrorKind::OverLimit,
                format!("the audio is longer than the {} s accepted", options.limits.max_seconds),
            ));
        }
        cutter.push(data, frames)?;
    }
    cutter.finish(Trim { rate: gapless.rate, skip: gapless.skip, keep: gapless.keep })
}

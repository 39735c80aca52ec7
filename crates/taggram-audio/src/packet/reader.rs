//! The packets of a file, as they are stored.

use std::path::Path;

use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::well_known::{
    CODEC_ID_AAC, CODEC_ID_ALAC, CODEC_ID_FLAC, CODEC_ID_MP3, CODEC_ID_OPUS,
};
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions};
use symphonia::core::meta::MetadataOptions;
use symphonia::core::units::TimeBase;

use super::{Gapless, PacketCodec};
use crate::decode::{container, heaac, mp4, not_opened};
use crate::reader::guarded;
use crate::source::Looks;
use crate::{AudioError, ErrorKind, Limits, Source};

/// Damaged packets in a row after which a file is given up.
const PATIENCE: usize = 256;

/// A packet as the file holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Its bytes.
    pub data: Box<[u8]>,
    /// How long it lasts, in frames at [`PacketReader::sample_rate`].
    pub frames: u64,
}

/// Takes a file apart into packets, without decoding them.
pub struct PacketReader {
    format: Box<dyn FormatReader>,
    track: u32,
    time_base: TimeBase,
    codec: PacketCodec,
    sample_rate: u32,
    channels: usize,
    gapless: Gapless,
    container: &'static str,
}

impl PacketReader {
    /// Opens a file whose codec is one of [`PacketCodec`].
    ///
    /// # Errors
    /// As [`AudioReader::open`](crate::AudioReader::open); [`ErrorKind::Unsupported`] when the codec is another one.
    pub fn open(path: &Path, limits: &Limits) -> Result<Self, AudioError> {
        guarded(|| Self::begin(path, limits)).map_err(|e| e.at(path.display()))
    }

    fn begin(path: &Path, limits: &Limits) -> Result<Self, AudioError> {
        let mut opened = Source::Path(path.to_owned()).ready(limits)?;
        let edits = match opened.looks {
            Looks::Mp4 => mp4::trim(&mut *opened.media),
            _ => Default::default(),
        };
        let stream = MediaSourceStream::new(opened.media, MediaSourceStreamOptions::default());
        let format = symphonia::default::get_probe()
            .probe(&Hint::new(), stream, FormatOptions::default(), MetadataOptions::default())
            .map_err(|e| not_opened(&e, &opened.begins))?;
        let track = format.default_track(TrackType::Audio).ok_or_else(|| {
            AudioError::unsupported("the file has no audio track in a codec that is supported")
        })?;
        let Some(CodecParameters::Audio(params)) = &track.codec_params else {
            return Err(AudioError::unsupported("the codec of the audio track is not known"));
        };
        let rate = params
            .sample_rate
            .ok_or_else(|| AudioError::malformed("the audio track has no sample rate"))?;
        let channels = params.channels.as_ref().map_or(0, |c| c.count());
        let extra = params.extra_data.as_deref().unwrap_or_default().to_vec();
        let codec = match params.codec {
            CODEC_ID_MP3 => PacketCodec::Mp3,
            CODEC_ID_AAC if !extra.is_empty() => PacketCodec::Aac { config: extra },
            CODEC_ID_AAC => {
                let config = heaac::lc_config(rate, channels).ok_or_else(|| {
                    AudioError::unsupported(format!(
                        "AAC with {channels} channels at {rate} Hz has no plain configuration"
                    ))
                })?;
                PacketCodec::Aac { config: config.to_vec() }
            }
            CODEC_ID_FLAC => PacketCodec::Flac { stream_info: extra },
            CODEC_ID_OPUS => PacketCodec::Opus { head: extra },
            CODEC_ID_ALAC => PacketCodec::Alac { cookie: extra },
            other => {
                return Err(AudioError::unsupported(format!("the codec {other} has no packets")));
            }
        };
        let time_base = track
            .time_base
            .or_else(|| TimeBase::try_from_recip(rate))
            .ok_or_else(|| AudioError::malformed("the audio track has a sample rate of 0"))?;
        let gapless = match codec {
            PacketCodec::Mp3 => Gapless {
                rate,
                skip: track.delay.unwrap_or(0).into(),
                // Without a header that says so, the length is a guess from the file's size.
                keep: track.num_frames.filter(|_| track.delay.is_some()),
            },
            _ => Gapless { rate: edits.rate, skip: edits.skip, keep: edits.keep },
        };
        let (track, container) = (track.id, container(format.format_info().short_name));
        Ok(Self {
            container,
            format,
            track,
            time_base,
            codec,
            sample_rate: rate,
            channels,
            gapless,
        })
    }

    /// The codec of the packets.
    pub fn codec(&self) -> &PacketCodec {
        &self.codec
    }

    /// The container: `mp3`, `adts`, `mp4`, `flac`, `ogg`.
    pub fn container(&self) -> &'static str {
        self.container
    }

    /// Frames a second, Hz, as the container counts them (HE-AAC: half of what is decoded).
    pub fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    /// Channels as the container says, 0 when it does not.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// What is music of the decoded frames.
    pub fn gapless(&self) -> Gapless {
        self.gapless
    }

    /// The next packet; `None` at the end. Damaged ones are left out.
    ///
    /// # Errors
    /// An I/O fault.
    pub fn next_packet(&mut self) -> Result<Option<Packet>, AudioError> {
        let mut failures = 0;
        loop {
            match guarded(|| Ok(self.format.next_packet()))? {
                Ok(Some(packet)) if packet.track_id == self.track => {
                    let (numer, denom) = (
                        u128::from(self.time_base.numer.get()),
                        u128::from(self.time_base.denom.get()),
                    );
                    let ticks = u128::from(packet.block_dur().get());
                    let frames = (ticks * numer * u128::from(self.sample_rate) + denom / 2) / denom;
                    return Ok(Some(Packet { data: packet.data, frames: frames as u64 }));
                }
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                Err(Error::IoError(e)) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
                    return Ok(None);
                }
                Err(Error::IoError(e)) if e.raw_os_error().is_some() => {
                    return Err(AudioError::unreadable("reading the file", &e));
                }
                Err(_) if failures < PATIENCE => failures += 1,
                Err(error) => {
                    return Err(AudioError::new(
                        ErrorKind::Malformed,
                        format!("{PATIENCE} packets in a row are damaged: {error}"),
                    ));
                }
            }
        }
    }
}

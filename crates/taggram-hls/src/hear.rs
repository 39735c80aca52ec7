//! Segments in, mono samples at one rate out: one decoder across all segments that belong together.

use std::sync::Arc;

use taggram_audio::{Gapless, Limits, PacketCodec, PacketStream, ResamplingKind};

use crate::frames::{Found, Framer, id3_length, sniff};
use crate::mp4::{self, Init};
use crate::playlist::Trim;
use crate::ts::{self, TsDemuxer};
use crate::{ErrorKind, HlsError};

/// A segment with what is known of it.
#[derive(Debug, Clone, Default)]
pub struct Piece {
    /// Its number in the playlist.
    pub sequence: u64,
    /// Its bytes, decrypted.
    pub data: Vec<u8>,
    /// The initialisation segment that belongs to it.
    pub init: Option<Arc<[u8]>>,
    /// Something changes with it: what came before is brought to its end.
    pub discontinuity: bool,
    /// How long the playlist says that it lasts, s.
    pub duration_s: f64,
    /// What is music in the whole presentation, if the playlist says so.
    pub trim: Option<Trim>,
}

/// Decodes segments as they come: MPEG-TS, packed audio, fragmented MP4.
pub struct SegmentDecoder {
    rate: u32,
    resampling: ResamplingKind,
    limits: Limits,
    kind: Option<Kind>,
    packets: Packets,
    heard: u64,
    warnings: Vec<String>,
}

/// What segments are made of.
enum Kind {
    Ts(Box<TsDemuxer>, Option<Framer>),
    Packed(Framer),
    Mp4 { init: Arc<[u8]>, read: Init },
}

/// The decoder of the packets found, set up when the codec is known.
#[derive(Default)]
struct Packets {
    stream: Option<PacketStream>,
    codec: Option<PacketCodec>,
    trim: Option<Trim>,
}

impl SegmentDecoder {
    /// A decoder that gives mono samples at `rate` Hz, within `limits`.
    pub fn new(rate: u32, resampling: ResamplingKind, limits: Limits) -> Self {
        Self {
            rate,
            resampling,
            limits,
            kind: None,
            packets: Packets::default(),
            heard: 0,
            warnings: Vec::new(),
        }
    }

    /// Takes a segment and appends the samples that it completes.
    ///
    /// # Errors
    /// Bytes that are no audio, a codec that is not supported, over a limit. The next segment may
    /// be good again.
    pub fn push(&mut self, piece: &Piece, out: &mut Vec<f32>) -> Result<(), HlsError> {
        if piece.discontinuity {
            self.end(out)?;
        }
        if let Some(init) = &piece.init
            && !matches!(&self.kind, Some(Kind::Mp4 { init: held, .. }) if held == init)
        {
            self.end(out)?;
            self.kind = Some(Kind::Mp4 { init: init.clone(), read: mp4::read_init(init)? });
        }
        if self.heard == 0 {
            self.packets.trim = piece.trim;
        }
        let data = &piece.data[..];
        let before = out.len();
        let result = self.segment(data, out);
        self.heard += (out.len() - before) as u64;
        result
    }

    /// Takes the end and appends the samples that were still held.
    ///
    /// # Errors
    /// As [`SegmentDecoder::push`].
    pub fn finish(&mut self, out: &mut Vec<f32>) -> Result<(), HlsError> {
        self.end(out)
    }

    /// What was noticed so far, each a sentence.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.warnings.clone();
        warnings.extend(self.packets.stream.iter().flat_map(PacketStream::warnings));
        warnings.extend(self.kind.as_ref().and_then(noticed));
        warnings
    }

    /// The codec that is being decoded.
    pub fn codec(&self) -> Option<&PacketCodec> {
        self.packets.codec.as_ref()
    }

    fn segment(&mut self, data: &[u8], out: &mut Vec<f32>) -> Result<(), HlsError> {
        self.recognise(data, out)?;
        let Self { rate, resampling, limits, kind, packets, .. } = self;
        let mut take = |found: Found| match found {
            Found::Codec(codec) => {
                packets.set_up(codec, Gapless::default(), *rate, *resampling, limits, out)
            }
            Found::Packet(packet) => packets.push(packet, out),
        };
        match kind {
            Some(Kind::Ts(demuxer, framer)) => {
                let mut payload = Vec::new();
                let found = demuxer.push(data, &mut |bytes| payload.extend_from_slice(bytes))?;
                demuxer.end_of_segment();
                if framer.is_none() {
                    *framer = found.map(Framer::new);
                }
                let Some(framer) = framer else {
                    return Err(HlsError::malformed("the transport stream names no audio"));
                };
                framer.push(&payload, &mut take)
            }
            Some(Kind::Packed(framer)) => {
                let tag = id3_length(data).filter(|n| *n <= data.len()).unwrap_or(0);
                framer.push(&data[tag..], &mut take)
            }
            Some(Kind::Mp4 { read, .. }) => {
                if packets.codec.is_none() {
                    let (codec, gapless) = (read.codec.clone(), read.gapless);
                    packets.set_up(codec, gapless, *rate, *resampling, limits, out)?;
                }
                let packets = &mut *packets;
                mp4::fragment_packets(read, data, &mut |packet| packets.push(packet, out))
            }
            None => Err(HlsError::new(ErrorKind::Bug, "a segment of no kind was to be decoded")),
        }
    }

    /// Makes `kind` what the segment is; another kind than before ends what came before.
    fn recognise(&mut self, data: &[u8], out: &mut Vec<f32>) -> Result<(), HlsError> {
        let is_ts =
            data.first() == Some(&ts::SYNC) && data.get(ts::PACKET).is_none_or(|&b| b == ts::SYNC);
        let same = match &self.kind {
            Some(Kind::Ts(..)) => is_ts,
            Some(Kind::Packed(_)) => !is_ts && !mp4::is_mp4(data),
            Some(Kind::Mp4 { .. }) => mp4::is_mp4(data),
            None => false,
        };
        if same {
            return Ok(());
        }
        if self.kind.is_some() {
            self.warnings.push("the kind of the segments changed without being announced".into());
            self.end(out)?;
        }
        let kind = if is_ts {
            Kind::Ts(Box::default(), None)
        } else if mp4::is_mp4(data) {
            // Without an initialisation segment of its own it has to be in this one.
            Kind::Mp4 { init: data.into(), read: mp4::read_init(data)? }
        } else {
            let elementary = sniff(data).ok_or_else(|| {
                let begins: Vec<String> = data.iter().take(8).map(|b| format!("{b:02x}")).collect();
                HlsError::malformed(format!(
                    "the segment is no MPEG-TS, MP4, ADTS or MP3: its {} bytes begin with {}",
                    data.len(),
                    begins.join(" ")
                ))
            })?;
            Kind::Packed(Framer::new(elementary))
        };
        self.kind = Some(kind);
        Ok(())
    }

    /// Brings what was heard to its end; whatever follows is begun afresh.
    fn end(&mut self, out: &mut Vec<f32>) -> Result<(), HlsError> {
        let Self { rate, resampling, limits, kind, packets, .. } = self;
        let mut take = |found: Found| match found {
            Found::Codec(codec) => {
                packets.set_up(codec, Gapless::default(), *rate, *resampling, limits, out)
            }
            Found::Packet(packet) => packets.push(packet, out),
        };
        let result = match kind {
            Some(Kind::Ts(_, Some(framer)) | Kind::Packed(framer)) => framer.finish(&mut take),
            _ => Ok(()),
        };
        if let Some(kind) = self.kind.take() {
            self.warnings.extend(noticed(&kind));
        }
        let mut packets = std::mem::take(&mut self.packets);
        if let Some(stream) = &mut packets.stream {
            stream.end(out)?;
            self.warnings.extend(stream.warnings());
        }
        result
    }
}

impl Packets {
    fn set_up(
        &mut self,
        codec: PacketCodec,
        gapless: Gapless,
        rate: u32,
        resampling: ResamplingKind,
        limits: &Limits,
        out: &mut Vec<f32>,
    ) -> Result<(), HlsError> {
        if let Some(mut old) = self.stream.take() {
            old.end(out)?;
        }
        let mut stream = PacketStream::new(&codec, rate, resampling, limits)?;
        let gapless = match self.trim.take() {
            Some(trim) => Gapless { rate: trim.rate, skip: trim.skip, keep: trim.keep },
            None => gapless,
        };
        stream.set_gapless(gapless);
        self.stream = Some(stream);
        self.codec = Some(codec);
        Ok(())
    }

    fn push(&mut self, packet: &[u8], out: &mut Vec<f32>) -> Result<(), HlsError> {
        match &mut self.stream {
            Some(stream) => Ok(stream.push(packet, out)?),
            None => Err(HlsError::new(ErrorKind::Bug, "a packet came before its codec")),
        }
    }
}

/// What the container noticed.
fn noticed(kind: &Kind) -> Option<String> {
    match kind {
        Kind::Ts(demuxer, framer) => {
            let (lost, jumps) = (demuxer.lost(), demuxer.jumps());
            let skipped = framer.as_ref().map_or(0, Framer::skipped);
            (lost > 0 || jumps > 0 || skipped > 0).then(|| {
                format!(
                    "the transport stream has {lost} gaps, {jumps} jumps of its clock and {skipped} bytes that belong to no frame"
                )
            })
        }
        Kind::Packed(framer) if framer.skipped() > 0 => {
            Some(format!("{} bytes belong to no frame", framer.skipped()))
        }
        _ => None,
    }
}

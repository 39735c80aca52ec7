//! Sound in codecs that HLS does not allow, brought into one that it does.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use syom::{EncodeOptions, Encoder};
use taggram_audio::encode::FlacWriter;
use taggram_audio::{AudioReader, Gapless, Limits, MonoSpec, MonoStream, PacketCodec};

use super::cutter::{Cutter, unwritable};
use super::{CutOptions, CutTrack, Packaging};
use crate::frames::AAC_RATES;
use crate::playlist::Trim;
use crate::{ErrorKind, HlsError};

/// Highest rate that FLAC is written with, Hz.
const FLAC_RATE: u32 = 96_000;

/// Bits a second of a channel at 44.1 kHz.
const CHANNEL_BPS: f64 = 64_000.0;

/// Frames in an access unit of AAC-LC.
const UNIT: u64 = 1024;

/// Whether a file holds every bit of its sound, so that FLAC loses none and AAC would.
pub(super) fn is_lossless(path: &Path, limits: &Limits) -> Result<bool, HlsError> {
    let reader = AudioReader::open(path, limits)?;
    let format = reader.format();
    let exact = format.codec.starts_with("pcm") || format.codec == "alac";
    Ok(exact && format.sample_rate <= FLAC_RATE && format.channels <= 8)
}

/// Writes a FLAC file with the same samples, 24 bits at most.
pub(super) fn to_flac(path: &Path, flac: &Path, limits: &Limits) -> Result<(), HlsError> {
    let mut reader = AudioReader::open(path, limits)?;
    let format = reader.format().clone();
    let short = ["u8", "s8", "s16", "alaw", "mulaw"].iter().any(|k| format.codec.contains(k));
    let failed = |e: std::io::Error| unwritable(flac, &e);
    let file = BufWriter::new(File::create(flac).map_err(failed)?);
    let bits = if short { 16 } else { 24 };
    let mut writer =
        FlacWriter::new(file, format.sample_rate, format.channels, bits).map_err(failed)?;
    while let Some(block) = reader.next_block_channels()? {
        writer.write(block).map_err(failed)?;
    }
    writer.finish().map_err(failed)?;
    Ok(())
}

/// Encodes as AAC-LC and cuts into packed audio.
pub(super) fn to_aac(
    path: &Path,
    folder: &Path,
    options: &CutOptions,
) -> Result<CutTrack, HlsError> {
    let reader = AudioReader::open(path, &options.limits)?;
    let (rate, channels) = (reader.format().sample_rate, reader.format().channels);
    if channels <= 2 && AAC_RATES.contains(&rate) {
        let mut reader = reader;
        let mut next = |out: &mut Vec<f32>| -> Result<bool, HlsError> {
            let block = reader.next_block_channels()?;
            out.extend_from_slice(block.unwrap_or_default());
            Ok(block.is_some())
        };
        return encode(rate, channels, &mut next, folder, options);
    }
    // Anything unusual is brought to what every player takes.
    let spec = MonoSpec { limits: options.limits.clone(), ..MonoSpec::at(44_100) };
    let mut stream = MonoStream::new(reader, &spec)?;
    let mut next = |out: &mut Vec<f32>| -> Result<bool, HlsError> {
        let block = stream.next_block()?;
        out.extend_from_slice(block.unwrap_or_default());
        Ok(block.is_some())
    };
    encode(44_100, 1, &mut next, folder, options)
}

/// Encodes what `next` appends, interleaved, until it says that there is no more.
fn encode(
    rate: u32,
    channels: usize,
    next: &mut dyn FnMut(&mut Vec<f32>) -> Result<bool, HlsError>,
    folder: &Path,
    options: &CutOptions,
) -> Result<CutTrack, HlsError> {
    let failed = |e: syom::AacError| HlsError::new(ErrorKind::Bug, format!("encoding AAC: {e}"));
    let share = (f64::from(rate) / 44_100.0).clamp(0.5, 1.0);
    let bps = (CHANNEL_BPS * channels as f64 * share) as u32;
    let settings = EncodeOptions::raw().with_bitrate_bps(bps);
    let mut encoder = Encoder::new(rate, channels, &settings).map_err(failed)?;
    let codec = PacketCodec::Aac { config: encoder.asc().to_vec() };
    let mut cutter = Cutter::new(
        &codec,
        rate,
        channels,
        Gapless::default(),
        Packaging::Packed,
        folder,
        options,
    )?;
    let mut planes = vec![Vec::new(); channels];
    let mut block = Vec::new();
    let mut units: Vec<Box<[u8]>> = Vec::new();
    loop {
        block.clear();
        let more = next(&mut block)?;
        for (channel, plane) in planes.iter_mut().enumerate() {
            plane.clear();
            plane.extend(block.iter().skip(channel).step_by(channels).map(|x| x.clamp(-1.0, 1.0)));
        }
        let mut keep = |frame: syom::EncodedFrame<'_>| {
            units.push(frame.payload.into());
            Ok(())
        };
        if more {
            let planes: Vec<&[f32]> = planes.iter().map(Vec::as_slice).collect();
            encoder.feed(&planes, &mut keep).map_err(failed)?;
        }
        let done = if more { None } else { Some(encoder.finish(&mut keep).map_err(failed)?) };
        for unit in units.drain(..) {
            cutter.push(unit, UNIT)?;
        }
        if let Some(info) = done {
            let trim = Trim { rate, skip: info.priming, keep: Some(info.samples) };
            return Ok(CutTrack { encoded: true, ..cutter.finish(trim)? });
        }
    }
}

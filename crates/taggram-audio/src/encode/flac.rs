//! Native FLAC: the same samples in about 60 % of the space.

use std::io::{self, Seek, SeekFrom, Write};

use flacenc::bitsink::ByteSink;
use flacenc::component::{BitRepr, StreamInfo};
use flacenc::config::Encoder;
use flacenc::error::{Verified, Verify};
use flacenc::source::{Context, Fill, FrameBuf};

/// Frames in a block, the usual size.
const BLOCK: usize = 4096;

/// Where the 34 bytes of stream information stand: behind the signature and a block header.
const INFO_AT: u64 = 8;

/// Writes a FLAC file as the samples come; [`FlacWriter::finish`] completes the header.
pub struct FlacWriter<W: Write + Seek> {
    sink: W,
    start: u64,
    config: Verified<Encoder>,
    info: StreamInfo,
    buffer: FrameBuf,
    context: Context,
    bits: u32,
    channels: usize,
    /// Samples that wait for their block to be full, interleaved.
    waiting: Vec<i32>,
    blocks: usize,
    smallest: usize,
    largest: usize,
}

impl<W: Write + Seek> FlacWriter<W> {
    /// Begins a file at the sink's current position. `bits` is 16 or 24; rates go up to 96 kHz.
    ///
    /// # Errors
    /// What the sink reports; rates, channels (at most 8) or bits that FLAC cannot hold.
    pub fn new(mut sink: W, sample_rate: u32, channels: usize, bits: u32) -> io::Result<Self> {
        let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidInput, what);
        if !matches!(bits, 16 | 24) || !(1..=8).contains(&channels) || sample_rate == 0 {
            return Err(invalid(format!(
                "FLAC is written with 16 or 24 bits and 1 to 8 channels, not {bits} bits and {channels} channels at {sample_rate} Hz"
            )));
        }
        let refused = |e: String| {
            invalid(format!(
                "FLAC cannot hold {channels} channels of {bits} bits at {sample_rate} Hz: {e}"
            ))
        };
        let config = Encoder::default().into_verified().map_err(|(_, e)| refused(e.to_string()))?;
        let info = StreamInfo::new(sample_rate as usize, channels, bits as usize)
            .map_err(|e| refused(e.to_string()))?;
        let buffer = FrameBuf::with_size(channels, BLOCK).map_err(|e| refused(e.to_string()))?;
        let start = sink.stream_position()?;
        // The signature, then the last (and only) metadata block, of type 0 and 34 bytes.
        sink.write_all(b"fLaC\x80\0\0\x22")?;
        sink.write_all(&[0; 34])?;
        Ok(Self {
            sink,
            start,
            config,
            info,
            buffer,
            context: Context::new(bits as usize, channels),
            bits,
            channels,
            waiting: Vec::new(),
            blocks: 0,
            smallest: usize::MAX,
            largest: 0,
        })
    }

    /// Writes interleaved samples in −1…1 (whole frames), rounded and clipped.
    ///
    /// # Errors
    /// What the sink reports.
    pub fn write(&mut self, interleaved: &[f32]) -> io::Result<()> {
        self.waiting.extend(interleaved.iter().map(|&x| super::to_integer(x, self.bits)));
        let block = BLOCK * self.channels;
        let whole = self.waiting.len() / block * block;
        for at in (0..whole).step_by(block) {
            self.block(at..at + block)?;
        }
        self.waiting.drain(..whole);
        Ok(())
    }

    fn block(&mut self, range: std::ops::Range<usize>) -> io::Result<()> {
        let samples = &self.waiting[range];
        self.buffer.resize(samples.len() / self.channels);
        self.buffer.fill_interleaved(samples).map_err(failed)?;
        self.context.fill_interleaved(samples).map_err(failed)?;
        let frame =
            flacenc::encode_fixed_size_frame(&self.config, &self.buffer, self.blocks, &self.info)
                .map_err(failed)?;
        let mut bytes = ByteSink::new();
        frame.write(&mut bytes).map_err(failed)?;
        let bytes = bytes.as_slice();
        self.smallest = self.smallest.min(bytes.len());
        self.largest = self.largest.max(bytes.len());
        self.blocks += 1;
        self.sink.write_all(bytes)
    }

    /// Writes what waits, completes the header and gives the sink back.
    ///
    /// # Errors
    /// What the sink reports.
    pub fn finish(mut self) -> io::Result<W> {
        let rest = self.waiting.len() / self.channels * self.channels;
        if rest > 0 {
            self.block(0..rest)?;
        }
        let end = self.sink.stream_position()?;
        self.info.set_block_sizes(BLOCK, BLOCK).map_err(failed)?;
        if self.blocks > 0 {
            self.info.set_frame_sizes(self.smallest, self.largest).map_err(failed)?;
        }
        self.info.set_total_samples(self.context.total_samples());
        self.info.set_md5_digest(&self.context.md5_digest());
        let mut bytes = ByteSink::new();
        self.info.write(&mut bytes).map_err(failed)?;
        self.sink.seek(SeekFrom::Start(self.start + INFO_AT))?;
        self.sink.write_all(bytes.as_slice())?;
        self.sink.seek(SeekFrom::Start(end))?;
        self.sink.flush()?;
        Ok(self.sink)
    }
}

/// The encoder's errors cannot cross threads; their words can.
fn failed(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(error.to_string())
}

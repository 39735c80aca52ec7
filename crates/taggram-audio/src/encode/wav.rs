//! RIFF WAVE.

use std::io::{self, Seek, SeekFrom, Write};

/// How samples are stored in a WAV file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WavFormat {
    /// 16-bit integers.
    #[default]
    Int16,
    /// 24-bit integers.
    Int24,
    /// 32-bit floating point.
    Float32,
}

impl WavFormat {
    fn bytes(self) -> u32 {
        match self {
            Self::Int16 => 2,
            Self::Int24 => 3,
            Self::Float32 => 4,
        }
    }
}

/// The largest size a RIFF header can tell.
const MAX_DATA: u64 = u32::MAX as u64 - 64;

/// Writes a WAV file as the samples come; [`WavWriter::finish`] completes the header.
pub struct WavWriter<W: Write + Seek> {
    sink: W,
    format: WavFormat,
    start: u64,
    data: u64,
    bytes: Vec<u8>,
}

impl<W: Write + Seek> WavWriter<W> {
    /// Begins a file at the sink's current position.
    ///
    /// # Errors
    /// What the sink reports; more than 65,535 channels or none.
    pub fn new(
        mut sink: W,
        sample_rate: u32,
        channels: usize,
        format: WavFormat,
    ) -> io::Result<Self> {
        let start = sink.stream_position()?;
        let count = u16::try_from(channels).ok().filter(|&c| c > 0).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("a WAV file cannot have {channels} channels"),
            )
        })?;
        let frame = u32::from(count) * format.bytes();
        let tag: u16 = if format == WavFormat::Float32 { 3 } else { 1 };
        let mut header = Vec::with_capacity(44);
        header.extend(b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0");
        header.extend(tag.to_le_bytes());
        header.extend(count.to_le_bytes());
        header.extend(sample_rate.to_le_bytes());
        header.extend(sample_rate.saturating_mul(frame).to_le_bytes());
        header.extend((frame as u16).to_le_bytes());
        header.extend((format.bytes() as u16 * 8).to_le_bytes());
        header.extend(b"data\0\0\0\0");
        sink.write_all(&header)?;
        Ok(Self { sink, format, start, data: 0, bytes: Vec::new() })
    }

    /// Writes interleaved samples in −1…1; integers are rounded and clipped.
    ///
    /// # Errors
    /// What the sink reports; a file beyond 4 GiB, which the format cannot hold.
    pub fn write(&mut self, interleaved: &[f32]) -> io::Result<()> {
        self.bytes.clear();
        for &x in interleaved {
            match self.format {
                WavFormat::Int16 => {
                    self.bytes.extend((super::to_integer(x, 16) as i16).to_le_bytes());
                }
                WavFormat::Int24 => self.bytes.extend(&super::to_integer(x, 24).to_le_bytes()[..3]),
                WavFormat::Float32 => self.bytes.extend(x.to_le_bytes()),
            }
        }
        self.data += self.bytes.len() as u64;
        if self.data > MAX_DATA {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "a WAV file cannot exceed 4 GiB",
            ));
        }
        self.sink.write_all(&self.bytes)
    }

    /// Completes the header and gives the sink back.
    ///
    /// # Errors
    /// What the sink reports.
    pub fn finish(mut self) -> io::Result<W> {
        if self.data % 2 == 1 {
            // Chunks begin at even places.
            self.sink.write_all(&[0])?;
        }
        let end = self.sink.stream_position()?;
        let padded = self.data + self.data % 2;
        self.sink.seek(SeekFrom::Start(self.start + 4))?;
        self.sink.write_all(&((36 + padded) as u32).to_le_bytes())?;
        self.sink.seek(SeekFrom::Start(self.start + 40))?;
        self.sink.write_all(&(self.data as u32).to_le_bytes())?;
        self.sink.seek(SeekFrom::Start(end))?;
        self.sink.flush()?;
        Ok(self.sink)
    }
}

//! From the bytes of a music file to samples: decode, downmix, resample.
//!
//! ```text
//! bytes ─ AudioReader ─→ blocks at the file's own rate ─ MonoStream ─→ mono at the rate asked for
//! ```
//!
//! * [`AudioReader`] recognises a format by its content and decodes it block by block:
//!   WAV, AU/SND, AIFF, MP3, FLAC (native and Ogg), Ogg Vorbis, Opus, AAC (ADTS and MP4,
//!   including HE-AAC) and ALAC. Channels are averaged before anything else happens to them.
//! * [`Resampler`] changes the rate, as librosa's `soxr_hq` or resampy's `kaiser_best` would.
//! * [`MonoStream`] is both together over the whole file or an excerpt of it, in bounded memory.
//! * [`PacketReader`] takes a file apart without decoding it, [`PacketStream`] decodes packets that
//!   come from elsewhere: a stream in pieces.
//! * [`encode`] writes WAV and FLAC.
//!
//! Whatever the bytes are, the answer is samples, samples with [warnings](AudioReader::warnings),
//! or an [`AudioError`] in one sentence; never a panic, and never memory in proportion to what a
//! header claims.

mod decode;
pub mod encode;
mod error;
mod limits;
mod mono;
mod packet;
mod reader;
mod resample;
mod source;

pub use error::{AudioError, ErrorKind};
pub use limits::Limits;
pub use mono::{Excerpt, MonoSpec, MonoStream, Samples, read_mono};
pub use packet::{Gapless, Packet, PacketCodec, PacketReader, PacketStream};
pub use reader::{AudioFormat, AudioReader};
pub use resample::{Resampler, ResamplingKind};
pub use source::Source;

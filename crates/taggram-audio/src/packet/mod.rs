//! Packets without decoding, and decoding without a file: for programs that cut music into pieces
//! and for those that get it in pieces.

mod reader;
mod stream;

pub use reader::{Packet, PacketReader};
pub use stream::PacketStream;

/// A codec with what its decoder must know before the first packet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PacketCodec {
    /// MPEG audio layer III; a packet is a frame with its header.
    Mp3,
    /// AAC; a packet is an access unit without ADTS header.
    Aac {
        /// AudioSpecificConfig (ISO/IEC 14496-3 §1.6.2.1).
        config: Vec<u8>,
    },
    /// FLAC; a packet is a frame.
    Flac {
        /// The 34 bytes of STREAMINFO (RFC 9639 §8.2).
        stream_info: Vec<u8>,
    },
    /// Opus.
    Opus {
        /// The `OpusHead` packet (RFC 7845 §5.1).
        head: Vec<u8>,
    },
    /// ALAC.
    Alac {
        /// The decoder's configuration ("magic cookie"), 24 bytes or more.
        cookie: Vec<u8>,
    },
}

/// Which part of what is decoded is music: the rest is the encoder's delay and padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gapless {
    /// What `skip` and `keep` count: frames a second, Hz.
    pub rate: u32,
    /// Frames to leave out at the start.
    pub skip: u64,
    /// Frames to keep after them; `None` is all.
    pub keep: Option<u64>,
}

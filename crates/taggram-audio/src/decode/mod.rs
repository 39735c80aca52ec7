//! Decoders behind one small trait.

mod au;
mod codec;
pub(crate) mod heaac;
pub(crate) mod mp4;
pub(crate) mod opus;
mod packets;

pub(crate) use codec::{Codec, choose};
pub(crate) use packets::{TRIAL, container, not_opened};

use crate::source::{Looks, Opened};
use crate::{AudioError, Limits};

/// What a container says before anything is decoded; none of it is trusted for an allocation.
#[derive(Debug, Clone, Default)]
pub(crate) struct Claims {
    pub container: &'static str,
    pub codec: String,
    /// Frames after trimming, in `frames_rate` Hz.
    pub frames: Option<u64>,
    /// The rate that `frames` counts in.
    pub frames_rate: u32,
    /// The part of what is decoded that is music.
    pub trim: Trim,
    /// The header promised more than the file can hold.
    pub oversold: bool,
    /// Frames to decode ahead of a position that is sought.
    pub preroll: u64,
    pub can_go_back: bool,
}

/// Encoder delay and padding to be cut, in ticks of `1 / rate` seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Trim {
    pub rate: u32,
    pub skip: u64,
    pub keep: Option<u64>,
}

/// What one step of a decoder gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Frame (counted from the first decoded one) at which the chunk begins, if the decoder knows.
    pub start: Option<i64>,
    pub rate: u32,
    pub channels: usize,
}

/// Things that went wrong without ending the file.
#[derive(Debug, Default)]
pub(crate) struct Damage {
    /// Packets that could not be decoded.
    pub packets: u64,
    /// The last reason given.
    pub reason: String,
    /// Something said once.
    pub notes: Vec<String>,
}

/// A decoder: frames come out in order, `channels` interleaved samples each.
pub(crate) trait Decode: Send {
    fn claims(&self) -> &Claims;

    /// Appends the next chunk to the empty `out`; `None` at the end. A chunk may be empty.
    fn next(
        &mut self,
        out: &mut Vec<f32>,
        damage: &mut Damage,
    ) -> Result<Option<Chunk>, AudioError>;

    /// Moves to `frame` (in `rate` Hz, from the first decoded one) or somewhat before it. The
    /// next chunk says where that was. `false` when the source cannot.
    fn seek(&mut self, frame: u64, rate: u32) -> Result<bool, AudioError>;
}

/// Finds the decoder for a source.
pub(crate) fn open(opened: Opened, limits: &Limits) -> Result<Box<dyn Decode>, AudioError> {
    Ok(match opened.looks {
        Looks::Au => Box::new(au::Au::open(opened)?),
        Looks::Mp4 | Looks::Other => Box::new(packets::Packets::open(opened, limits)?),
    })
}

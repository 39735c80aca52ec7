//! A radio: all tracks one after the other, for ever, in a window that moves with the clock.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::library::{Library, Track};
use super::{Origin, routes};
use crate::playlist::{Map, Media, Segment};
use crate::segment::{CutOptions, Family, family};
use crate::{ErrorKind, HlsError};

/// Length of the window in target durations. RFC 8216 §6.2.2 wants three at least.
const WINDOW: u64 = 6;

/// How often the window is looked at.
pub(super) const TICK: Duration = Duration::from_millis(200);

/// Tracks that cannot be cut one after the other before the radio is given up.
const PATIENCE: usize = 100;

pub(super) struct Live {
    tracks: Vec<Track>,
    pub family: Family,
    state: Mutex<State>,
    begin: Instant,
    target_s: u64,
}

#[derive(Default)]
struct State {
    window: VecDeque<Segment>,
    sequence: u64,
    discontinuity_sequence: u64,
    /// Length of all that was ever listed, s.
    listed_s: f64,
    /// Segments of the current track that are not listed yet.
    waiting: VecDeque<Segment>,
    next_track: usize,
    /// Codec and highest bit rate so far.
    codecs: String,
    peak_bps: u64,
    version: u32,
}

impl Live {
    /// A radio of the whole library; `None` when that is empty. If all tracks are of one family
    /// they are served as they are, else as AAC, since players do not change codecs on the way.
    pub fn new(library: &Library, options: &CutOptions) -> Result<Option<Self>, HlsError> {
        let mut tracks = Vec::new();
        let mut families = Vec::new();
        for track in library.tracks() {
            if let Ok(family) = family(&track.path, &options.limits) {
                families.push(family);
                tracks.push(track.clone());
            }
        }
        let Some(first) = families.first().copied() else { return Ok(None) };
        let uniform = families.iter().all(|f| *f == first);
        Ok(Some(Self {
            tracks,
            family: first.filter(|_| uniform).unwrap_or(Family::Aac),
            state: Mutex::default(),
            begin: Instant::now(),
            target_s: options.segment_s.ceil() as u64,
        }))
    }
}

impl Origin {
    /// Brings the radio's window up to date.
    pub(super) async fn advance(&self) -> Result<(), HlsError> {
        let Some(live) = &self.live else { return Ok(()) };
        let mut state = live.state.lock().await;
        let window_s = (WINDOW * live.target_s) as f64;
        let mut failures = 0;
        loop {
            // A segment is listed when its last sample would have been played into it; at the
            // beginning a whole window is there.
            let now_s = live.begin.elapsed().as_secs_f64() + window_s;
            while let Some(next) = state.waiting.front() {
                if state.listed_s + next.duration_s > now_s {
                    return Ok(());
                }
                state.list_next(window_s);
            }
            let track = &live.tracks[state.next_track % live.tracks.len()];
            state.next_track += 1;
            match self.cut(track, Some(live.family)).await {
                Ok(cut) => {
                    failures = 0;
                    let folder = format!("../{}/{}", routes::RADIO, track.id);
                    let map =
                        cut.track.init.as_ref().map(|_| {
                            Arc::new(Map { uri: format!("{folder}/init.mp4"), range: None })
                        });
                    state.version = if map.is_some() { 7 } else { 3 };
                    state.codecs.clone_from(&cut.track.codecs);
                    state.peak_bps = state.peak_bps.max(cut.track.peak_bps());
                    let first = state.next_track == 1;
                    state.waiting = cut
                        .track
                        .segments
                        .iter()
                        .enumerate()
                        .map(|(i, written)| Segment {
                            uri: format!("{folder}/{i}.{}", cut.track.extension),
                            duration_s: written.duration_s,
                            discontinuity: i == 0 && !first,
                            map: map.clone(),
                            ..Segment::default()
                        })
                        .collect();
                }
                Err(error) => {
                    failures += 1;
                    if failures > PATIENCE.min(live.tracks.len()) {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// The radio's media playlist, and what its master playlist says of it.
    pub(super) async fn live_playlist(&self) -> Result<(Media, String, u64), HlsError> {
        self.advance().await?;
        let live = self.live.as_ref();
        let live = live.ok_or_else(|| HlsError::new(ErrorKind::Status, "there is no radio"))?;
        let state = live.state.lock().await;
        let media = Media {
            version: state.version,
            target_s: live.target_s,
            sequence: state.sequence,
            discontinuity_sequence: state.discontinuity_sequence,
            segments: state.window.iter().cloned().collect(),
            ..Media::default()
        };
        Ok((media, state.codecs.clone(), state.peak_bps))
    }
}

impl State {
    fn list_next(&mut self, window_s: f64) {
        let Some(next) = self.waiting.pop_front() else { return };
        self.listed_s += next.duration_s;
        self.window.push_back(next);
        let mut total: f64 = self.window.iter().map(|s| s.duration_s).sum();
        while let Some(first) = self.window.front()
            && total - first.duration_s >= window_s
        {
            total -= first.duration_s;
            self.sequence += 1;
            self.discontinuity_sequence += u64::from(first.discontinuity);
            self.window.pop_front();
        }
    }
}

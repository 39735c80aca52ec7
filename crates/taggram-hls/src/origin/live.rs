//! A radio: all tracks one after the other, for ever, in a window that moves with the clock.
//!
//! A segment that is listed is written anew with its place on the radio's own clock, which goes on
//! from track to track, and is kept until nobody can want it any more.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::Origin;
use super::cache::Cut;
use super::library::{Library, Track};
use crate::playlist::{Map, Media, Segment};
use crate::segment::{CutOptions, Family, family, shift};
use crate::{ErrorKind, HlsError};

/// Length of the window in target durations. RFC 8216 §6.2.2 wants three at least.
const WINDOW: u64 = 6;

/// Target durations for which a segment can be had after it left the window: §6.2.2 wants its own
/// and the longest playlist it was in.
const GRACE: u64 = WINDOW + 2;

/// How often the window is looked at.
pub(super) const TICK: Duration = Duration::from_millis(200);

/// Tracks that cannot be cut one after the other before the radio is given up.
const PATIENCE: usize = 100;

pub(super) struct Live {
    tracks: Vec<Track>,
    family: Family,
    state: Mutex<State>,
    begin: Instant,
    target_s: u64,
    /// Segments as the radio sends them; removed with the program.
    folder: tempfile::TempDir,
}

/// A segment that was listed, or the initialisation of some.
struct Sent {
    name: String,
    crc: u32,
    /// When it left the window.
    left: Option<Instant>,
}

/// A track that is being played.
struct Playing {
    cut: Arc<Cut>,
    /// Segments that are listed.
    listed: usize,
    map: Option<Arc<Map>>,
    /// Where it begins on the radio's clock, 1/90,000 s.
    ticks: u64,
}

#[derive(Default)]
struct State {
    window: VecDeque<Segment>,
    sequence: u64,
    discontinuity_sequence: u64,
    /// Length of all that was ever listed, s.
    listed_s: f64,
    playing: Option<Playing>,
    next_track: usize,
    sent: VecDeque<Sent>,
    /// The initialisation that was sent last, which the next track may share.
    init: Option<(Vec<u8>, Arc<Map>)>,
    /// Codec and highest bit rate so far.
    codecs: String,
    peak_bps: u64,
    version: u32,
}

impl Live {
    /// A radio of the whole library; `None` when that is empty. If all tracks are of one family
    /// they are served as they are, else as AAC, since players do not change codecs on the way.
    pub fn new(
        library: &Library,
        options: &CutOptions,
        cache: &Path,
    ) -> Result<Option<Self>, HlsError> {
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
        let folder = tempfile::Builder::new().prefix("live-").tempdir_in(cache);
        Ok(Some(Self {
            tracks,
            family: first.filter(|_| uniform).unwrap_or(Family::Aac),
            state: Mutex::default(),
            begin: Instant::now(),
            target_s: options.segment_s.ceil() as u64,
            folder: folder.map_err(unwritable)?,
        }))
    }

    /// Gives the next segment its place in the stream and lists it; `false` when the track is over
    /// or it is not time yet.
    fn list_next(&self, state: &mut State) -> Result<bool, HlsError> {
        let window_s = (WINDOW * self.target_s) as f64;
        // A segment is listed when its last sample would have been played into it; at the
        // beginning a whole window is there.
        let now_s = self.begin.elapsed().as_secs_f64() + window_s;
        let Some(playing) = &mut state.playing else { return Ok(false) };
        let (index, track) = (playing.listed, &playing.cut.track);
        let Some(written) = track.segments.get(index) else { return Ok(false) };
        if state.listed_s + written.duration_s > now_s {
            return Ok(false);
        }
        let number = state.sequence + state.window.len() as u64;
        let discontinuity = index == 0 && state.listed_s > 0.0;
        if index == 0 && track.init.is_some() {
            let bytes = std::fs::read(playing.cut.folder.join("init.mp4")).map_err(unwritable)?;
            let same = state.init.take().filter(|(held, _)| *held == bytes);
            let map = match same {
                Some((_, map)) => map,
                None => {
                    let sent = self.write(number, "mp4", &bytes)?;
                    let map = Arc::new(Map { uri: sent.name.clone(), range: None });
                    state.sent.push_back(sent);
                    map
                }
            };
            state.init = Some((bytes, map.clone()));
            playing.map = Some(map);
        }
        let from = playing.cut.folder.join(format!("{index}.{}", track.extension));
        let mut bytes = std::fs::read(from).map_err(unwritable)?;
        shift(track.extension, track.rate, playing.ticks, !discontinuity, &mut bytes);
        let sent = self.write(number, track.extension, &bytes)?;
        state.window.push_back(Segment {
            uri: sent.name.clone(),
            duration_s: written.duration_s,
            discontinuity,
            map: playing.map.clone(),
            ..Segment::default()
        });
        state.sent.push_back(sent);
        state.listed_s += written.duration_s;
        playing.listed += 1;
        state.slide(window_s);
        self.forget(state);
        Ok(true)
    }

    /// Writes a segment. Its name tells its content too, since a radio that is started again counts
    /// from 0 again, and caches on the way remember.
    fn write(&self, number: u64, extension: &str, bytes: &[u8]) -> Result<Sent, HlsError> {
        let crc = crc32fast::hash(bytes);
        let name = format!("{number}-{crc:08x}.{extension}");
        std::fs::write(self.folder.path().join(&name), bytes).map_err(unwritable)?;
        Ok(Sent { name, crc, left: None })
    }

    /// Removes what nobody can want any more.
    fn forget(&self, state: &mut State) {
        let grace = Duration::from_secs(GRACE * self.target_s);
        let State { window, sent, init, .. } = state;
        let wanted = |name: &str| {
            init.as_ref().is_some_and(|(_, map)| map.uri == name)
                || window
                    .iter()
                    .any(|s| s.uri == name || s.map.as_ref().is_some_and(|m| m.uri == name))
        };
        for sent in sent.iter_mut().filter(|s| s.left.is_none() && !wanted(&s.name)) {
            sent.left = Some(Instant::now());
        }
        sent.retain(|s| {
            let over = s.left.is_some_and(|left| left.elapsed() > grace);
            if over {
                // At worst it stays until the program ends.
                let _ = std::fs::remove_file(self.folder.path().join(&s.name));
            }
            !over
        });
    }
}

fn unwritable(e: std::io::Error) -> HlsError {
    HlsError::new(ErrorKind::Unreadable, format!("a segment of the radio cannot be made: {e}"))
}

impl Origin {
    /// Brings the radio's window up to date.
    pub(super) async fn advance(&self) -> Result<(), HlsError> {
        let Some(live) = &self.live else { return Ok(()) };
        let mut state = live.state.lock().await;
        let mut failures = 0;
        loop {
            while live.list_next(&mut state)? {}
            let over = |p: &Playing| p.listed == p.cut.track.segments.len();
            if !state.playing.as_ref().is_none_or(over) {
                return Ok(());
            }
            let track = &live.tracks[state.next_track % live.tracks.len()];
            state.next_track += 1;
            match self.cut(track, Some(live.family)).await {
                Ok(cut) => {
                    failures = 0;
                    state.begin(cut);
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

    /// Has the track cut that the radio plays next, so that it is there when its time comes.
    pub(super) async fn prepare(&self) {
        let Some(live) = &self.live else { return };
        let next = live.state.lock().await.next_track;
        // A track that cannot be cut is passed over when its time comes.
        let _ = self.cut(&live.tracks[next % live.tracks.len()], Some(live.family)).await;
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

    /// The file of a segment that the radio sends or sent a moment ago, and its CRC.
    pub(super) async fn live_file(&self, name: &str) -> Option<(PathBuf, u32)> {
        let live = self.live.as_ref()?;
        let state = live.state.lock().await;
        let sent = state.sent.iter().find(|s| s.name == name)?;
        Some((live.folder.path().join(name), sent.crc))
    }
}

impl State {
    fn begin(&mut self, cut: Arc<Cut>) {
        self.version = if cut.track.init.is_some() { 7 } else { 3 };
        self.codecs.clone_from(&cut.track.codecs);
        self.peak_bps = self.peak_bps.max(cut.track.peak_bps());
        let ticks = (self.listed_s * 90_000.0).round() as u64;
        self.playing = Some(Playing { cut, listed: 0, map: None, ticks });
    }

    /// Drops what the window does not need to be full.
    fn slide(&mut self, window_s: f64) {
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

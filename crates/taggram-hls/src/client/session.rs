//! A stream from its address to its last segment.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use url::Url;

use super::fetch::{Fetcher, wait};
use super::icy::Plain;
use super::live::{Follower, pause};
use super::{ClientOptions, address};
use crate::crypt::{decrypt, iv_of};
use crate::hear::Piece;
use crate::playlist::{Key, Map, Master, Media, Playlist, Segment, parse};
use crate::{ErrorKind, HlsError};

/// Bytes that tell a playlist from audio.
const MARK: &[u8] = b"#EXTM3U";

/// Times a live stream may begin anew.
const NEW_BEGINNINGS: u32 = 10;

/// What is behind an address.
pub enum Opened {
    /// HLS.
    Hls(Box<Session>),
    /// A file or a radio.
    Plain(Box<Plain>),
}

/// Opens a stream, whatever it is.
///
/// # Errors
/// The address cannot be fetched, or names a playlist with nothing in it to hear.
pub async fn open(url: &str, options: ClientOptions) -> Result<Opened, HlsError> {
    let url = address::typed(url)?;
    let fetcher = Fetcher::new(&url, options)?;
    let (mut answer, url) = fetcher.open(&url).await?;
    let mut head = Vec::new();
    while head.len() < MARK.len() {
        match fetcher.next(&mut answer).await.map_err(|e| e.at(&url))? {
            Some(chunk) => head.extend(chunk),
            None => break,
        }
    }
    let is_playlist = head.starts_with(MARK) || head.starts_with(b"\xef\xbb\xbf#EXTM3U");
    if !is_playlist {
        return Ok(Opened::Plain(Box::new(Plain::new(fetcher, answer, head))));
    }
    let longest = fetcher.options.longest;
    let rest = async {
        while let Some(chunk) = fetcher.next(&mut answer).await? {
            head.extend(chunk);
            if head.len() > fetcher.options.playlist.bytes {
                break;
            }
        }
        Ok::<_, HlsError>(())
    };
    let stalled = |_| HlsError::new(ErrorKind::Stalled, "the playlist did not come whole in time");
    tokio::time::timeout(longest, rest).await.map_err(stalled)??;
    let playlist = parse(&head, &fetcher.options.playlist).map_err(|e| within(e, &url))?;
    Session::new(fetcher, playlist, url).await.map(|s| Opened::Hls(Box::new(s)))
}

/// An error of a playlist, with its address before its line.
fn within(e: HlsError, url: &Url) -> HlsError {
    let place = e.place.as_ref().map_or(url.to_string(), |line| format!("{url}, {line}"));
    HlsError { place: Some(place), ..e }
}

/// An HLS stream that is being heard.
pub struct Session {
    fetcher: Fetcher,
    /// Address of the media playlist after redirects, to which its addresses are relative.
    url: Url,
    media: Media,
    looked: Instant,
    /// When the playlist last had something new.
    moved: Instant,
    changed: bool,
    follower: Follower,
    queue: VecDeque<(u64, Segment)>,
    key: Option<(Url, [u8; 16])>,
    map: Option<(Arc<Map>, Arc<[u8]>)>,
    failures: u32,
    restarts: u32,
    discontinuity: bool,
    notes: Vec<String>,
    began: bool,
}

impl Session {
    async fn new(fetcher: Fetcher, playlist: Playlist, url: Url) -> Result<Self, HlsError> {
        let (media, url) = match playlist {
            Playlist::Media(media) => (media, url),
            Playlist::Master(master) => choose(&fetcher, &master, &url).await?,
        };
        let now = Instant::now();
        let mut session = Self {
            fetcher,
            url,
            media,
            looked: now,
            moved: now,
            changed: true,
            follower: Follower::default(),
            queue: VecDeque::new(),
            key: None,
            map: None,
            failures: 0,
            restarts: 0,
            discontinuity: false,
            notes: Vec::new(),
            began: false,
        };
        session.look();
        if session.media.ended && session.queue.is_empty() {
            return Err(HlsError::malformed("the playlist has no segments").at(&session.url));
        }
        Ok(session)
    }

    /// Whether the stream has no end that is known yet.
    pub fn is_live(&self) -> bool {
        !self.media.ended
    }

    /// Length of a stream that is complete, s.
    pub fn duration_s(&self) -> Option<f64> {
        self.media.ended.then(|| self.media.duration_s())
    }

    /// What was asked and came so far.
    pub fn fetcher(&self) -> &Fetcher {
        &self.fetcher
    }

    /// What a person should know, since the last call.
    pub fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// The next segment; `None` at the end. A segment that cannot be had is left out, with a
    /// note, unless too many are.
    ///
    /// # Errors
    /// The stream cannot go on: its segments cannot be had, it stands still, or it is encrypted
    /// in a way that is not supported.
    pub async fn next(&mut self) -> Result<Option<Piece>, HlsError> {
        loop {
            let Some((sequence, segment)) = self.queue.pop_front() else {
                if self.media.ended {
                    return Ok(None);
                }
                self.reload().await?;
                continue;
            };
            if segment.gap {
                self.notes.push(format!("segment {sequence} is a gap in the stream"));
                self.discontinuity = true;
                continue;
            }
            match self.fetch(sequence, &segment).await {
                Ok(mut piece) => {
                    self.failures = 0;
                    piece.discontinuity |= std::mem::take(&mut self.discontinuity);
                    piece.discontinuity |= std::mem::take(&mut self.follower.broken);
                    // Nothing precedes the first one that it could differ from.
                    piece.discontinuity &= std::mem::replace(&mut self.began, true);
                    return Ok(Some(piece));
                }
                Err(error) if matches!(error.kind, ErrorKind::Unsupported | ErrorKind::Refused) => {
                    return Err(error);
                }
                Err(error) => {
                    self.failures += 1;
                    if self.failures >= self.fetcher.options.failures {
                        return Err(HlsError {
                            message: format!(
                                "{}; {} segments in a row could not be had",
                                error.message, self.failures
                            ),
                            ..error
                        });
                    }
                    self.notes.push(format!("segment {sequence} was left out: {error}"));
                    self.discontinuity = true;
                }
            }
        }
    }

    async fn fetch(&mut self, sequence: u64, segment: &Segment) -> Result<Piece, HlsError> {
        let most = self.fetcher.options.segment_bytes;
        let init = match &segment.map {
            Some(map) => Some(self.init(map, segment.key.as_deref()).await?),
            None => None,
        };
        let key = match &segment.key {
            Some(key) => Some((self.key(key).await?, key.iv.unwrap_or_else(|| iv_of(sequence)))),
            None => None,
        };
        let url = self.join(&segment.uri)?;
        let (mut data, _) = self.fetcher.get(&url, segment.range, most).await?;
        if let Some((key, iv)) = key {
            data = decrypt(data, &key, &iv).map_err(|e| e.at(&url))?;
        }
        if data.is_empty() {
            return Err(HlsError::malformed("the segment is empty").at(&url));
        }
        Ok(Piece {
            sequence,
            data,
            init,
            discontinuity: segment.discontinuity,
            duration_s: segment.duration_s,
            trim: self.media.trim,
        })
    }

    async fn init(&mut self, map: &Arc<Map>, key: Option<&Key>) -> Result<Arc<[u8]>, HlsError> {
        if let Some((held, bytes)) = &self.map
            && held == map
        {
            return Ok(bytes.clone());
        }
        let url = self.join(&map.uri)?;
        let (mut data, _) =
            self.fetcher.get(&url, map.range, self.fetcher.options.segment_bytes).await?;
        // RFC 8216 §4.3.2.5: an encrypted initialisation must name its vector.
        if let Some(key) = key
            && let Some(iv) = key.iv
        {
            let secret = self.key(key).await?;
            data = decrypt(data, &secret, &iv).map_err(|e| e.at(&url))?;
        }
        let bytes: Arc<[u8]> = data.into();
        self.map = Some((map.clone(), bytes.clone()));
        Ok(bytes)
    }

    async fn key(&mut self, key: &Key) -> Result<[u8; 16], HlsError> {
        if key.method != "AES-128" || key.format != "identity" {
            return Err(HlsError::unsupported(format!(
                "the stream is encrypted with {} ({}); AES-128 with a plain key is supported",
                key.method, key.format
            ))
            .at(&self.url));
        }
        let url = self.join(&key.uri)?;
        if let Some((held, secret)) = &self.key
            && *held == url
        {
            return Ok(*secret);
        }
        let (bytes, _) = self.fetcher.get(&url, None, 1024).await?;
        let secret = <[u8; 16]>::try_from(&bytes[..]).map_err(|_| {
            HlsError::malformed(format!("a key has {} bytes; it must have 16", bytes.len()))
                .at(&url)
        })?;
        self.key = Some((url, secret));
        Ok(secret)
    }

    fn join(&self, uri: &str) -> Result<Url, HlsError> {
        join(&self.url, uri)
    }

    /// Takes in the playlist in hand.
    fn look(&mut self) {
        let look = self.follower.look(&self.media);
        self.changed = look.moved;
        if look.moved {
            self.moved = Instant::now();
        }
        self.restarts += u32::from(look.note.as_ref().is_some_and(|n| n.contains("anew")));
        self.notes.extend(look.note);
        self.queue.extend(look.segments);
    }

    /// Waits until the next look is due, and looks.
    async fn reload(&mut self) -> Result<(), HlsError> {
        let target = Duration::from_secs(self.media.target_s.clamp(1, 60));
        let longest = target * self.fetcher.options.standstill;
        if self.moved.elapsed() > longest {
            return Err(HlsError::new(
                ErrorKind::Stalled,
                format!(
                    "the live playlist has had nothing new for {:.0} s",
                    self.moved.elapsed().as_secs_f64()
                ),
            )
            .at(&self.url));
        }
        if self.restarts > NEW_BEGINNINGS {
            return Err(
                HlsError::malformed("the live playlist begins anew again and again").at(&self.url)
            );
        }
        let due = pause(&self.media, self.changed);
        wait(due.saturating_sub(self.looked.elapsed())).await;
        self.looked = Instant::now();
        let most = self.fetcher.options.playlist.bytes;
        match self.fetcher.get(&self.url, None, most).await {
            Ok((bytes, _)) => match parse(&bytes, &self.fetcher.options.playlist) {
                Ok(Playlist::Media(media)) => {
                    self.media = media;
                    self.look();
                }
                Ok(Playlist::Master(_)) => {
                    return Err(HlsError::malformed("the media playlist became a master playlist")
                        .at(&self.url));
                }
                Err(error) => self.unread(within(error, &self.url)),
            },
            Err(error) if error.kind == ErrorKind::Refused => return Err(error),
            Err(error) => self.unread(error),
        }
        Ok(())
    }

    /// A look that brought nothing: the one before stands, until it has stood too long.
    fn unread(&mut self, error: HlsError) {
        self.changed = false;
        self.notes.push(format!("the playlist could not be read again: {error}"));
    }
}

fn join(base: &Url, uri: &str) -> Result<Url, HlsError> {
    base.join(uri)
        .map_err(|e| HlsError::malformed(format!("\"{uri}\" is no address: {e}")).at(base))
}

/// The cheapest way to hear a presentation: audio alone before audio with a picture, fewer bits
/// before more. When one cannot be had the next one is tried.
async fn choose(fetcher: &Fetcher, master: &Master, base: &Url) -> Result<(Media, Url), HlsError> {
    let mut ways: Vec<(bool, u64, &str)> = Vec::new();
    for variant in &master.variants {
        let group = variant.audio.as_deref();
        let audio = master
            .renditions
            .iter()
            .filter(|r| r.kind == "AUDIO" && Some(r.group.as_str()) == group)
            .filter_map(|r| r.uri.as_deref().map(|uri| (!r.default, uri)))
            .min();
        let codecs = variant.codecs.as_deref().unwrap_or("");
        let pictures = ["avc", "hvc", "hev", "vp0", "av01", "dvh", "mp4v"];
        let picture = variant.resolution.is_some()
            || codecs.split(',').any(|c| pictures.iter().any(|p| c.trim().starts_with(p)));
        match audio {
            Some((_, uri)) => ways.push((false, variant.bandwidth, uri)),
            None => ways.push((picture, variant.bandwidth, &variant.uri)),
        }
    }
    ways.sort();
    ways.dedup_by_key(|way| way.2);
    let mut last = HlsError::malformed("the master playlist names no variant").at(base);
    // A few are enough to see that none can be had.
    for (_, _, uri) in ways.into_iter().take(4) {
        let found = async {
            let url = join(base, uri)?;
            let (bytes, url) = fetcher.get(&url, None, fetcher.options.playlist.bytes).await?;
            match parse(&bytes, &fetcher.options.playlist).map_err(|e| within(e, &url))? {
                Playlist::Media(media) => Ok((media, url)),
                Playlist::Master(_) => Err(HlsError::malformed(
                    "a master playlist names a master playlist; it may name media playlists only",
                )
                .at(url)),
            }
        };
        match found.await {
            Ok(found) => return Ok(found),
            Err(error) => last = error,
        }
    }
    Err(last)
}

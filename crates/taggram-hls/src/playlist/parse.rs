//! Reading a playlist, by the rules that RFC 8216 gives to clients.

use std::sync::Arc;

use super::attributes::{Attributes, brief, integer};
use super::{ByteRange, Key, Map, Master, Media, Playlist, Rendition, Segment, Trim, Variant};
use crate::{ErrorKind, HlsError};

/// How large a playlist may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaylistLimits {
    /// Most bytes of text.
    pub bytes: usize,
    /// Most bytes of a line.
    pub line: usize,
    /// Most segments, or variants and renditions together.
    pub entries: usize,
}

impl Default for PlaylistLimits {
    /// 4 MiB, 16 KiB, 50,000: three days in segments of six seconds.
    fn default() -> Self {
        Self { bytes: 4 << 20, line: 16 << 10, entries: 50_000 }
    }
}

/// The latest version of the protocol whose rules are known here (draft-pantos-hls-rfc8216bis).
const NEWEST: u64 = 13;

/// Longest a segment may claim to last, s: a day.
const LONGEST_S: f64 = 86_400.0;

/// Reads a playlist.
///
/// # Errors
/// [`ErrorKind::Malformed`] with the line where RFC 8216 makes a client refuse it,
/// [`ErrorKind::Unsupported`] for a version from the future, [`ErrorKind::OverLimit`].
pub fn parse(bytes: &[u8], limits: &PlaylistLimits) -> Result<Playlist, HlsError> {
    let over = |what: String| HlsError::new(ErrorKind::OverLimit, what);
    if bytes.len() > limits.bytes {
        return Err(over(format!(
            "the playlist has {} bytes and at most {} are accepted",
            bytes.len(),
            limits.bytes
        )));
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(HlsError::malformed(
            "the playlist begins with a byte order mark, which RFC 8216 §4 forbids",
        ));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|e| HlsError::malformed(format!("the playlist is not UTF-8: {e}")))?;
    let mut reader = Reader::default();
    let mut lines = text.split('\n').map(|l| l.strip_suffix('\r').unwrap_or(l)).enumerate();
    if lines.next().is_none_or(|(_, first)| first.trim_end() != "#EXTM3U") {
        return Err(HlsError::malformed(format!(
            "the first line is \"{}\", not #EXTM3U",
            brief(text.lines().next().unwrap_or(""))
        )));
    }
    for (number, line) in lines {
        let place = || format!("line {}", number + 1);
        if line.len() > limits.line {
            return Err(over(format!("a line has {} bytes", line.len())).at(place()));
        }
        if line.chars().any(|c| c.is_control() && c != '\t') {
            return Err(HlsError::malformed("there is a control character").at(place()));
        }
        let entries = reader.media.segments.len()
            + reader.master.variants.len()
            + reader.master.renditions.len();
        if entries > limits.entries {
            return Err(over(format!("there are more than {} entries", limits.entries)));
        }
        reader.line(line).map_err(|(kind, what)| HlsError::new(kind, what).at(place()))?;
    }
    reader.finish()
}

type Fault = (ErrorKind, String);

fn bad(what: impl Into<String>) -> Fault {
    (ErrorKind::Malformed, what.into())
}

#[derive(Default)]
struct Reader {
    master: Master,
    media: Media,
    /// The first tag that only a playlist of this kind has.
    is_master: Option<String>,
    is_media: Option<String>,
    /// Tags that may be given once.
    seen: Vec<&'static str>,
    /// What the next address is.
    variant: Option<Variant>,
    duration: Option<f64>,
    range: Option<(u64, Option<u64>)>,
    discontinuity: bool,
    gap: bool,
    key: Option<Arc<Key>>,
    map: Option<Arc<Map>>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), Fault> {
        let line = line.trim_end();
        if line.is_empty() {
            return Ok(());
        }
        if !line.starts_with('#') {
            return self.address(line);
        }
        let Some(tag) = line.strip_prefix("#EXT") else { return Ok(()) };
        let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
        self.kind_of(name)?;
        match name {
            "M3U" => return Err(bad("#EXTM3U is given twice")),
            "INF" => self.duration = Some(duration(value)?),
            "-X-VERSION" => {
                self.once("EXT-X-VERSION")?;
                let version = integer(value).map_err(bad)?;
                if version > NEWEST {
                    return Err((
                        ErrorKind::Unsupported,
                        format!("the playlist is of version {version}; up to {NEWEST} are known"),
                    ));
                }
                self.master.version = version as u32;
            }
            "-X-TARGETDURATION" => {
                self.once("EXT-X-TARGETDURATION")?;
                self.media.target_s = integer(value).map_err(bad)?;
            }
            "-X-MEDIA-SEQUENCE" => {
                self.once("EXT-X-MEDIA-SEQUENCE")?;
                self.before_segments("EXT-X-MEDIA-SEQUENCE")?;
                self.media.sequence = integer(value).map_err(bad)?;
            }
            "-X-DISCONTINUITY-SEQUENCE" => {
                self.once("EXT-X-DISCONTINUITY-SEQUENCE")?;
                self.before_segments("EXT-X-DISCONTINUITY-SEQUENCE")?;
                if self.discontinuity {
                    return Err(bad("EXT-X-DISCONTINUITY-SEQUENCE follows a discontinuity"));
                }
                self.media.discontinuity_sequence = integer(value).map_err(bad)?;
            }
            "-X-PLAYLIST-TYPE" => {
                self.once("EXT-X-PLAYLIST-TYPE")?;
                if !matches!(value, "VOD" | "EVENT") {
                    return Err(bad(format!(
                        "the playlist type is {}, neither VOD nor EVENT",
                        brief(value)
                    )));
                }
                self.media.kind = Some(value.to_owned());
            }
            "-X-ENDLIST" => self.media.ended = true,
            "-X-DISCONTINUITY" => self.discontinuity = true,
            "-X-GAP" => self.gap = true,
            "-X-BYTERANGE" => self.range = Some(range(value)?),
            "-X-KEY" => self.key = key(value)?.map(Arc::new),
            "-X-MAP" => self.map = Some(Arc::new(map(value)?)),
            "-X-TAGGRAM-TRIM" => {
                let list = Attributes::read(value).map_err(bad)?;
                let number = |name| list.integer(name).map_err(bad);
                let (rate, skip, keep) = (number("RATE")?, number("SKIP")?, number("KEEP")?);
                if let Some(rate) = rate.and_then(|r| u32::try_from(r).ok()).filter(|r| *r > 0) {
                    self.media.trim = Some(Trim { rate, skip: skip.unwrap_or(0), keep });
                }
            }
            "-X-STREAM-INF" => {
                if self.variant.is_some() {
                    return Err(bad("no address follows the EXT-X-STREAM-INF before this one"));
                }
                self.variant = Some(variant(value)?);
            }
            "-X-MEDIA" => self.master.renditions.push(rendition(value)?),
            // Everything else RFC 8216 §6.3.1 makes a client ignore.
            _ => {}
        }
        Ok(())
    }

    /// "A Playlist that contains both is invalid, and clients must fail to parse it" (§4.3.3, §4.3.4).
    fn kind_of(&mut self, name: &str) -> Result<(), Fault> {
        let master = matches!(
            name,
            "-X-MEDIA"
                | "-X-STREAM-INF"
                | "-X-I-FRAME-STREAM-INF"
                | "-X-SESSION-DATA"
                | "-X-SESSION-KEY"
        );
        let media = matches!(
            name,
            "INF"
                | "-X-TARGETDURATION"
                | "-X-MEDIA-SEQUENCE"
                | "-X-DISCONTINUITY-SEQUENCE"
                | "-X-ENDLIST"
                | "-X-PLAYLIST-TYPE"
                | "-X-I-FRAMES-ONLY"
                | "-X-BYTERANGE"
                | "-X-DISCONTINUITY"
                | "-X-KEY"
                | "-X-MAP"
                | "-X-PROGRAM-DATE-TIME"
                | "-X-DATERANGE"
                | "-X-GAP"
        );
        if master {
            self.is_master.get_or_insert_with(|| format!("EXT{name}"));
        }
        if media {
            self.is_media.get_or_insert_with(|| format!("EXT{name}"));
        }
        match (&self.is_master, &self.is_media) {
            (Some(a), Some(b)) => Err(bad(format!(
                "{a} belongs to a master playlist and {b} to a media playlist: it cannot be both"
            ))),
            _ => Ok(()),
        }
    }

    fn once(&mut self, tag: &'static str) -> Result<(), Fault> {
        if self.seen.contains(&tag) {
            return Err(bad(format!("{tag} is given twice")));
        }
        self.seen.push(tag);
        Ok(())
    }

    fn before_segments(&self, tag: &str) -> Result<(), Fault> {
        if self.media.segments.is_empty() {
            return Ok(());
        }
        Err(bad(format!("{tag} follows a segment; it must precede all of them")))
    }

    fn address(&mut self, uri: &str) -> Result<(), Fault> {
        if uri.contains("{$") {
            return Err((
                ErrorKind::Unsupported,
                "addresses with variables are not supported".into(),
            ));
        }
        if let Some(mut variant) = self.variant.take() {
            variant.uri = uri.to_owned();
            self.master.variants.push(variant);
            return Ok(());
        }
        if self.is_master.is_some() {
            // RFC 8216 gives an address that follows no EXT-X-STREAM-INF no meaning; some servers
            // repeat those of EXT-X-MEDIA on a line of their own.
            return Ok(());
        }
        let Some(duration_s) = self.duration.take() else {
            return Err(bad(format!(
                "no #EXTINF or #EXT-X-STREAM-INF belongs to the address {}",
                brief(uri)
            )));
        };
        let range = self.range.take().map(|r| self.place(uri, r)).transpose()?;
        self.media.segments.push(Segment {
            uri: uri.to_owned(),
            duration_s,
            range,
            discontinuity: std::mem::take(&mut self.discontinuity),
            gap: std::mem::take(&mut self.gap),
            key: self.key.clone(),
            map: self.map.clone(),
        });
        Ok(())
    }

    /// A range without an offset goes on where the segment before ended, in the same resource.
    fn place(&self, uri: &str, (length, offset): (u64, Option<u64>)) -> Result<ByteRange, Fault> {
        let offset = match offset {
            Some(offset) => offset,
            None => self
                .media
                .segments
                .last()
                .filter(|last| last.uri == uri)
                .and_then(|last| last.range)
                .and_then(|r| r.offset.checked_add(r.length))
                .ok_or_else(|| bad("EXT-X-BYTERANGE has no offset and no range precedes it"))?,
        };
        offset
            .checked_add(length)
            .map(|_| ByteRange { length, offset })
            .ok_or_else(|| bad("the byte range ends beyond 2^64"))
    }

    fn finish(mut self) -> Result<Playlist, HlsError> {
        let version = self.master.version.max(1);
        if self.is_master.is_some() {
            if self.variant.is_some() {
                return Err(HlsError::malformed("no address follows the last EXT-X-STREAM-INF"));
            }
            self.master.version = version;
            return Ok(Playlist::Master(self.master));
        }
        if !self.seen.contains(&"EXT-X-TARGETDURATION") {
            return Err(HlsError::malformed(
                "the playlist has neither an EXT-X-STREAM-INF nor an EXT-X-TARGETDURATION",
            ));
        }
        self.media.version = version;
        Ok(Playlist::Media(self.media))
    }
}

/// `EXTINF:duration,[title]`.
fn duration(value: &str) -> Result<f64, Fault> {
    let number = value.split(',').next().unwrap_or("").trim();
    let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match number.parse::<f64>() {
        Ok(s) if plain && s <= LONGEST_S => Ok(s),
        _ => Err(bad(format!("the duration \"{}\" is no number of seconds", brief(number)))),
    }
}

/// `n[@o]`.
fn range(value: &str) -> Result<(u64, Option<u64>), Fault> {
    let (length, offset) = match value.split_once('@') {
        Some((length, offset)) => (length, Some(integer(offset).map_err(bad)?)),
        None => (value, None),
    };
    Ok((integer(length).map_err(bad)?, offset))
}

fn key(value: &str) -> Result<Option<Key>, Fault> {
    let list = Attributes::read(value).map_err(bad)?;
    let method = list.plain("METHOD").map_err(bad)?;
    let method = method.ok_or_else(|| bad("EXT-X-KEY has no METHOD"))?;
    let uri = list.quoted("URI").map_err(bad)?;
    if method == "NONE" {
        return match uri {
            None => Ok(None),
            Some(_) => Err(bad("EXT-X-KEY has the METHOD NONE and a URI")),
        };
    }
    let uri = uri.ok_or_else(|| bad(format!("EXT-X-KEY {} has no URI", brief(method))))?;
    let iv = list.plain("IV").map_err(bad)?.map(hexadecimal).transpose()?;
    let format = list.quoted("KEYFORMAT").map_err(bad)?.unwrap_or("identity");
    Ok(Some(Key { method: method.to_owned(), uri: uri.to_owned(), iv, format: format.to_owned() }))
}

/// `0x` and up to 32 hexadecimal digits.
fn hexadecimal(text: &str) -> Result<[u8; 16], Fault> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let well_formed =
        |d: &&str| (1..=32).contains(&d.len()) && d.bytes().all(|b| b.is_ascii_hexdigit());
    digits
        .filter(well_formed)
        .and_then(|d| u128::from_str_radix(d, 16).ok())
        .map(u128::to_be_bytes)
        .ok_or_else(|| bad(format!("the IV {} is not 128 bits in hexadecimal", brief(text))))
}

fn map(value: &str) -> Result<Map, Fault> {
    let list = Attributes::read(value).map_err(bad)?;
    let uri = list.quoted("URI").map_err(bad)?.ok_or_else(|| bad("EXT-X-MAP has no URI"))?;
    let part = list.quoted("BYTERANGE").map_err(bad)?.map(range).transpose()?;
    let part = part.map(|(length, offset)| ByteRange { length, offset: offset.unwrap_or(0) });
    Ok(Map { uri: uri.to_owned(), range: part })
}

fn variant(value: &str) -> Result<Variant, Fault> {
    let list = Attributes::read(value).map_err(bad)?;
    let bandwidth = list.integer("BANDWIDTH").map_err(bad)?;
    Ok(Variant {
        uri: String::new(),
        bandwidth: bandwidth.ok_or_else(|| bad("EXT-X-STREAM-INF has no BANDWIDTH"))?,
        average_bandwidth: list.integer("AVERAGE-BANDWIDTH").map_err(bad)?,
        codecs: list.quoted("CODECS").map_err(bad)?.map(str::to_owned),
        resolution: list.plain("RESOLUTION").map_err(bad)?.map(str::to_owned),
        audio: list.quoted("AUDIO").map_err(bad)?.map(str::to_owned),
    })
}

fn rendition(value: &str) -> Result<Rendition, Fault> {
    let list = Attributes::read(value).map_err(bad)?;
    let needed = |value: Option<&str>, name: &str| {
        value.map(str::to_owned).ok_or_else(|| bad(format!("EXT-X-MEDIA has no {name}")))
    };
    let kind = needed(list.plain("TYPE").map_err(bad)?, "TYPE")?;
    if !matches!(kind.as_str(), "AUDIO" | "VIDEO" | "SUBTITLES" | "CLOSED-CAPTIONS") {
        return Err(bad(format!("EXT-X-MEDIA is of the unknown TYPE {}", brief(&kind))));
    }
    Ok(Rendition {
        kind,
        group: needed(list.quoted("GROUP-ID").map_err(bad)?, "GROUP-ID")?,
        name: needed(list.quoted("NAME").map_err(bad)?, "NAME")?,
        default: list.yes("DEFAULT").map_err(bad)?,
        uri: list.quoted("URI").map_err(bad)?.map(str::to_owned),
    })
}

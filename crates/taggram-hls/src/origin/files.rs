//! Answers made of bytes: whole, in part, or not at all because the asker has them.

use std::collections::BTreeMap;
use std::io::{self, SeekFrom, Write};
use std::path::{Path, PathBuf};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use crate::segment::mime;
use crate::{ErrorKind, HlsError};

/// Bytes read from a file at once.
const CHUNK: usize = 64 << 10;

/// Segments and initialisations never change: their address does.
pub(super) const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// An answer without content.
pub(super) fn status(code: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{code}\n")));
    *response.status_mut() = code;
    set(&mut response, header::CONTENT_TYPE, "text/plain; charset=utf-8");
    set(&mut response, header::CACHE_CONTROL, "no-store");
    response
}

fn set(response: &mut Response<Body>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// Whether a list of tags that the asker holds names this one.
fn names(list: Option<&HeaderValue>, tag: &str) -> bool {
    let list = list.and_then(|v| v.to_str().ok()).unwrap_or("");
    list.split(',').map(|t| t.trim().trim_start_matches("W/")).any(|t| t == tag || t == "*")
}

/// A text that may change: a playlist. Compressed if the asker likes.
pub(super) fn text(asked: &HeaderMap, kind: &str, content: &str, cache: &str) -> Response<Body> {
    let accepts = asked.get(header::ACCEPT_ENCODING).and_then(|v| v.to_str().ok()).unwrap_or("");
    let gzip = accepts.split(',').any(|e| {
        let mut parts = e.split(';').map(str::trim);
        parts.next() == Some("gzip") && parts.next().is_none_or(|q| q != "q=0")
    });
    let crc = crc32fast::hash(content.as_bytes());
    let tag = format!("\"{crc:08x}-{}{}\"", content.len(), if gzip { "-gz" } else { "" });
    let mut response = if names(asked.get(header::IF_NONE_MATCH), &tag) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else if gzip {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        // Writing to memory does not fail.
        let packed = encoder.write_all(content.as_bytes()).and_then(|()| encoder.finish());
        let mut response = Response::new(Body::from(packed.unwrap_or_default()));
        set(&mut response, header::CONTENT_ENCODING, "gzip");
        response
    } else {
        Response::new(Body::from(content.to_owned()))
    };
    set(&mut response, header::CONTENT_TYPE, mime(kind));
    set(&mut response, header::CACHE_CONTROL, cache);
    set(&mut response, header::ETAG, &tag);
    set(&mut response, header::VARY, "accept-encoding");
    response
}

/// What a `Range` header asks for of `length` bytes.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    All,
    Part { from: u64, to: u64 },
    Nothing,
}

/// RFC 9110 §14. Of several ranges none is given, but all: a server may.
fn wanted(range: Option<&str>, length: u64) -> Wanted {
    let Some(spec) = range.and_then(|r| r.strip_prefix("bytes=")) else { return Wanted::All };
    let Some((first, last)) = spec.trim().split_once('-') else { return Wanted::All };
    let number = |text: &str| -> Option<u64> {
        text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
    };
    match (number(first), number(last)) {
        (None, Some(tail)) if first.is_empty() => match tail.min(length) {
            0 => Wanted::Nothing,
            tail => Wanted::Part { from: length - tail, to: length },
        },
        (Some(from), to) if to.is_some() || last.is_empty() => {
            let to = to.map_or(length, |to| to.saturating_add(1)).min(length);
            if from >= length {
                Wanted::Nothing
            } else if to <= from {
                Wanted::All
            } else {
                Wanted::Part { from, to }
            }
        }
        _ => Wanted::All,
    }
}

/// A file that does not change, by pieces, whole or the part that is asked for.
pub(super) async fn file(
    asked: &HeaderMap,
    path: &Path,
    kind: &str,
    crc: u32,
    cache: &str,
) -> io::Result<Response<Body>> {
    let mut file = tokio::fs::File::open(path).await?;
    let length = file.metadata().await?.len();
    let tag = format!("\"{crc:08x}-{length}\"");
    let mut response = if names(asked.get(header::IF_NONE_MATCH), &tag) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        let same = asked.get(header::IF_RANGE).is_none_or(|v| v.as_bytes() == tag.as_bytes());
        let range = asked.get(header::RANGE).filter(|_| same).and_then(|v| v.to_str().ok());
        let (from, to, code) = match wanted(range, length) {
            Wanted::All => (0, length, StatusCode::OK),
            Wanted::Part { from, to } => (from, to, StatusCode::PARTIAL_CONTENT),
            Wanted::Nothing => {
                let mut response = status(StatusCode::RANGE_NOT_SATISFIABLE);
                set(&mut response, header::CONTENT_RANGE, &format!("bytes */{length}"));
                return Ok(response);
            }
        };
        if from > 0 {
            file.seek(SeekFrom::Start(from)).await?;
        }
        let stream = ReaderStream::with_capacity(file.take(to - from), CHUNK);
        let mut response = Response::new(Body::from_stream(stream));
        *response.status_mut() = code;
        set(&mut response, header::CONTENT_LENGTH, &(to - from).to_string());
        if code == StatusCode::PARTIAL_CONTENT {
            let part = format!("bytes {from}-{}/{length}", to - 1);
            set(&mut response, header::CONTENT_RANGE, &part);
        }
        response
    };
    set(&mut response, header::CONTENT_TYPE, mime(kind));
    set(&mut response, header::CACHE_CONTROL, cache);
    set(&mut response, header::ETAG, &tag);
    set(&mut response, header::ACCEPT_RANGES, "bytes");
    Ok(response)
}

/// The files of a page, named once at the start: no address is made into a path.
#[derive(Default)]
pub(super) struct Page(BTreeMap<String, (PathBuf, u32)>);

impl Page {
    pub fn read(folder: Option<&Path>) -> Result<Self, HlsError> {
        let Some(folder) = folder else { return Ok(Self::default()) };
        let failed = |e: io::Error| {
            HlsError::new(ErrorKind::Unreadable, format!("the page cannot be read: {e}"))
                .at(folder.display())
        };
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_type().map_err(failed)?.is_file() {
                let bytes = std::fs::read(entry.path()).map_err(failed)?;
                let name = entry.file_name().to_string_lossy().into_owned();
                files.insert(name, (entry.path(), crc32fast::hash(&bytes)));
            }
        }
        Ok(Self(files))
    }

    /// The file of that name; the empty name is the page itself.
    pub fn file(&self, name: &str) -> Option<&(PathBuf, u32)> {
        match name {
            "" => self.0.get("index.html").or_else(|| self.0.get("hls.html")),
            name => self.0.get(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_as_rfc_9110_reads_them() {
        let part = |from, to| Wanted::Part { from, to };
        for (range, expected) in [
            (None, Wanted::All),
            (Some("bytes=0-0"), part(0, 1)),
            (Some("bytes=10-19"), part(10, 20)),
            (Some("bytes=90-"), part(90, 100)),
            (Some("bytes=90-500"), part(90, 100)),
            (Some("bytes=-10"), part(90, 100)),
            (Some("bytes=-500"), part(0, 100)),
            (Some("bytes=-0"), Wanted::Nothing),
            (Some("bytes=100-"), Wanted::Nothing),
            (Some("bytes=20-10"), Wanted::All),
            (Some("bytes=0-1,5-6"), Wanted::All),
            (Some("bytes=x-3"), Wanted::All),
            (Some("bytes=-"), Wanted::All),
            (Some("items=0-1"), Wanted::All),
            (Some("bytes=0-99999999999999999999999"), Wanted::All),
        ] {
            assert_eq!(wanted(range, 100), expected, "{range:?}");
        }
    }
}

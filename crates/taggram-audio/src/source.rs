//! Where the bytes come from, and a first look at what they are.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use symphonia::core::io::{MediaSource, ReadOnlySource};

use crate::{AudioError, ErrorKind, Limits};

/// Where the bytes of an audio file come from.
#[non_exhaustive]
pub enum Source {
    /// A file. Anything but a regular file is read as a stream.
    Path(PathBuf),
    /// A whole file in memory.
    Bytes(Arc<[u8]>),
    /// A stream that is read once, front to back.
    Stream(Box<dyn Read + Send + Sync>),
}

/// How much of the front is looked at to tell formats apart.
const HEAD: usize = 4096;

/// A source made ready for a demuxer.
pub(crate) struct Opened {
    pub media: Box<dyn MediaSource>,
    pub looks: Looks,
    /// The first bytes as hexadecimal numbers, for messages.
    pub begins: String,
    /// Size in bytes, where it is known.
    pub size: Option<u64>,
    /// It is an AIFF that ends before its header says.
    pub cut: bool,
    /// The same source once more, unless it can be read only once.
    pub again: Option<Source>,
    /// Set when a stream delivered more than [`Limits::max_bytes`].
    pub over_limit: Arc<AtomicBool>,
}

/// What the first bytes look like, as far as it matters which reader gets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Looks {
    Au,
    Mp4,
    Other,
}

impl Source {
    pub(crate) fn ready(self, limits: &Limits) -> Result<Opened, AudioError> {
        match self {
            Self::Path(path) => open_path(&path, limits).map_err(|e| e.at(path.display())),
            Self::Bytes(bytes) => {
                let size = bytes.len() as u64;
                check_size(size, limits)?;
                let head = &bytes[..bytes.len().min(HEAD)];
                let (looks, begins, cut) = (look(head)?, begins(head), is_cut(head, size));
                Ok(Opened {
                    media: Box::new(Cursor::new(bytes.clone())),
                    again: Some(Self::Bytes(bytes)),
                    looks,
                    begins,
                    cut,
                    size: Some(size),
                    over_limit: Arc::default(),
                })
            }
            Self::Stream(stream) => open_stream(stream, limits),
        }
    }
}

fn check_size(size: u64, limits: &Limits) -> Result<(), AudioError> {
    if size > limits.max_bytes {
        return Err(AudioError::new(
            ErrorKind::OverLimit,
            format!("the file has {size} bytes and at most {} are accepted", limits.max_bytes),
        ));
    }
    Ok(())
}

fn open_path(path: &Path, limits: &Limits) -> Result<Opened, AudioError> {
    let opening = |e: &io::Error| AudioError::unreadable("opening the file", e);
    let mut file = File::open(path).map_err(|e| opening(&e))?;
    let facts = file.metadata().map_err(|e| opening(&e))?;
    if facts.is_dir() {
        return Err(AudioError::new(ErrorKind::Unreadable, "this is a folder, not an audio file"));
    }
    if !facts.is_file() {
        return open_stream(Box::new(file), limits);
    }
    check_size(facts.len(), limits)?;
    let head = read_head(&mut file)?;
    let looks = look(&head)?;
    file.seek(SeekFrom::Start(0)).map_err(|e| AudioError::unreadable("reading the file", &e))?;
    Ok(Opened {
        media: Box::new(file),
        again: Some(Source::Path(path.to_owned())),
        looks,
        begins: begins(&head),
        cut: is_cut(&head, facts.len()),
        size: Some(facts.len()),
        over_limit: Arc::default(),
    })
}

fn open_stream(
    mut stream: Box<dyn Read + Send + Sync>,
    limits: &Limits,
) -> Result<Opened, AudioError> {
    let head = read_head(&mut stream)?;
    let (looks, begins) = (look(&head)?, begins(&head));
    let over_limit = Arc::new(AtomicBool::new(false));
    let mut metered = Metered {
        inner: Cursor::new(head).chain(stream),
        left: limits.max_bytes,
        over_limit: over_limit.clone(),
    };
    if looks != Looks::Mp4 {
        let media = Box::new(ReadOnlySource::new(metered));
        return Ok(Opened {
            media,
            looks,
            begins,
            cut: false,
            size: None,
            again: None,
            over_limit,
        });
    }
    // An MP4 may keep its index at the end: hold it, within the limit.
    let cap = limits.max_spool_bytes.min(limits.max_bytes);
    let mut spool = Vec::new();
    let result = (&mut metered).take(cap.saturating_add(1)).read_to_end(&mut spool);
    if spool.len() as u64 > cap || over_limit.load(Ordering::Relaxed) {
        return Err(AudioError::new(
            ErrorKind::OverLimit,
            format!(
                "an MP4 from a stream has to be held in memory, and it has more than the {cap} bytes accepted"
            ),
        ));
    }
    result.map_err(|e| AudioError::unreadable("reading the stream", &e))?;
    let size = Some(spool.len() as u64);
    let spool: Arc<[u8]> = spool.into();
    let again = Some(Source::Bytes(spool.clone()));
    Ok(Opened {
        media: Box::new(Cursor::new(spool)),
        looks,
        begins,
        cut: false,
        size,
        again,
        over_limit,
    })
}

fn read_head(from: &mut impl Read) -> Result<Vec<u8>, AudioError> {
    let mut head = Vec::with_capacity(HEAD);
    from.take(HEAD as u64)
        .read_to_end(&mut head)
        .map_err(|e| AudioError::unreadable("reading the first bytes", &e))?;
    Ok(head)
}

/// Whether an AIFF promises more than the `size` bytes there are.
fn is_cut(head: &[u8], size: u64) -> bool {
    let promised = head.get(4..8).and_then(|b| Some(u32::from_be_bytes(b.try_into().ok()?)));
    head.starts_with(b"FORM") && promised.is_some_and(|n| u64::from(n) + 8 > size)
}

fn begins(head: &[u8]) -> String {
    let bytes: Vec<String> = head.iter().take(8).map(|b| format!("{b:02x}")).collect();
    bytes.join(" ")
}

/// A stream that stops with an error once it has delivered as much as is allowed.
struct Metered<R> {
    inner: R,
    left: u64,
    over_limit: Arc<AtomicBool>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        if count as u64 > self.left {
            self.over_limit.store(true, Ordering::Relaxed);
            return Err(io::Error::other("the stream delivered more bytes than are accepted"));
        }
        self.left -= count as u64;
        Ok(count)
    }
}

/// Tells formats apart by the first bytes, and refuses what is clearly something else: the MP3
/// format has no signature, so its decoder would search any file for a beginning.
fn look(head: &[u8]) -> Result<Looks, AudioError> {
    if head.is_empty() {
        return Err(AudioError::new(ErrorKind::TooShort, "the file is empty (0 bytes)"));
    }
    if let Some(what) = foreign(head) {
        return Err(AudioError::not_audio(format!("this is {what}, not an audio file")));
    }
    if head.starts_with(b".snd") || head.starts_with(b"dns.") {
        return Ok(Looks::Au);
    }
    if head.get(4..8) == Some(b"ftyp") || head.get(4..8) == Some(b"moov") {
        return Ok(Looks::Mp4);
    }
    Ok(Looks::Other)
}

/// Names what is certainly not audio.
fn foreign(head: &[u8]) -> Option<&'static str> {
    const SIGNATURES: &[(&[u8], &str)] = &[
        (b"PK\x03\x04", "a ZIP archive"),
        (b"\x1f\x8b", "a gzip archive"),
        (b"7z\xbc\xaf", "a 7-Zip archive"),
        (b"Rar!", "a RAR archive"),
        (b"%PDF", "a PDF document"),
        (b"\x89PNG", "a PNG picture"),
        (b"\xff\xd8\xff", "a JPEG picture"),
        (b"GIF8", "a GIF picture"),
        (b"\x7fELF", "a program (ELF)"),
        (b"MThd", "a MIDI score"),
        (b"SQLite format 3", "a database"),
    ];
    if let Some((_, what)) = SIGNATURES.iter().find(|(signature, _)| head.starts_with(signature)) {
        return Some(what);
    }
    if head.iter().all(|&b| b == 0) {
        return Some("a run of zero bytes");
    }
    let readable = |b: &u8| matches!(b, b'\t' | b'\n' | b'\r' | 0x20..=0x7e);
    // "RIFF", "FORM", "OggS" … are readable too, but are followed by binary numbers.
    head.iter().all(readable).then_some("text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_audio_from_the_rest() {
        assert_eq!(look(b".snd\0\0\0\x18").unwrap(), Looks::Au);
        assert_eq!(look(b"\0\0\0\x20ftypM4A ").unwrap(), Looks::Mp4);
        assert_eq!(look(b"OggS\0\x02").unwrap(), Looks::Other);
        for (bytes, needed) in [
            (&b""[..], "empty"),
            (b"Dear diary, today I wrote a file.\r\n", "text"),
            (b"%PDF-1.7\0", "PDF"),
            (&[0; 100], "zero bytes"),
        ] {
            let error = look(bytes).unwrap_err().to_string();
            assert!(error.contains(needed), "{error}");
        }
    }

    #[test]
    fn a_stream_is_cut_at_the_limit() {
        let limits = Limits { max_bytes: 10_000, ..Limits::default() };
        let stream = Box::new(io::repeat(0xAA));
        let mut opened = Source::Stream(stream).ready(&limits).unwrap();
        let mut sink = Vec::new();
        assert!(opened.media.read_to_end(&mut sink).is_err());
        assert!(opened.over_limit.load(Ordering::Relaxed));
        assert!(sink.len() <= 10_000);
    }
}

//! What is to be listened to: a text file, a folder, or what a store holds, brought into one file of lines.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, Write};
use std::path::Path;

use futures_util::TryStreamExt;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::{ErrorKind, FleetError, Place, Stores};

/// Longest address of a track, bytes.
const LONGEST: usize = 4096;

/// Endings of objects that are taken from a store: its objects are not opened to see what they are.
const ENDINGS: [&str; 18] = [
    "wav", "wave", "au", "snd", "aif", "aiff", "aifc", "mp3", "mp2", "flac", "ogg", "oga", "opus",
    "m4a", "mp4", "m4b", "aac", "adts",
];

/// Tracks in a fixed order, each once, in a temporary file: there may be more than fit into memory. (16 bytes a
/// track are held to tell that it is there already.)
pub struct Listing {
    lines: BufWriter<File>,
    seen: HashSet<u128>,
    hash: Xxh3,
    repeated: u64,
}

impl Listing {
    fn new() -> Result<Self, FleetError> {
        let file = tempfile::tempfile().map_err(|e| spool("making", &e))?;
        Ok(Self {
            lines: BufWriter::new(file),
            seen: HashSet::new(),
            hash: Xxh3::new(),
            repeated: 0,
        })
    }

    /// A track a line. Empty lines are left out; relative paths are made absolute.
    ///
    /// # Errors
    /// When `lines` cannot be read or a line is no place of a track.
    pub fn of_lines(mut lines: impl BufRead, name: &str) -> Result<Self, FleetError> {
        let mut listing = Self::new()?;
        let mut line = Vec::new();
        for number in 1u64.. {
            line.clear();
            let failed = |e: &io::Error| {
                FleetError::new(ErrorKind::Malformed, format!("{name}, line {number}: {e}"))
            };
            let read = (&mut lines)
                .take(LONGEST as u64 + 2)
                .read_until(b'\n', &mut line)
                .map_err(|e| failed(&e))?;
            if read == 0 {
                break;
            }
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            if text.is_empty() {
                continue;
            }
            let text = str::from_utf8(text).map_err(|e| {
                failed(&io::Error::other(format!(
                    "{e}; a path that is not UTF-8 is written as file:///path/%ff.mp3"
                )))
            })?;
            if text.len() > LONGEST {
                return Err(failed(&io::Error::other(format!(
                    "it is longer than {LONGEST} bytes, so it is no place of a track"
                ))));
            }
            match Place::parse(text).map_err(|e| failed(&io::Error::other(e.message)))? {
                Place::File(path) if path.is_relative() => {
                    let path = std::path::absolute(&path).map_err(|e| failed(&e))?;
                    listing.add(&Place::name_of(&path)?)?;
                }
                _ => listing.add(text)?,
            }
        }
        Ok(listing)
    }

    /// The lines of a file, or the audio files below a folder.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of_path(path: &Path) -> Result<Self, FleetError> {
        let failed = |e: io::Error| {
            FleetError::new(ErrorKind::Malformed, format!("{} cannot be read: {e}", path.display()))
        };
        if !path.is_dir() {
            let file = File::open(path).map_err(failed)?;
            return Self::of_lines(BufReader::new(file), &path.display().to_string());
        }
        let mut listing = Self::new()?;
        for entry in taggram_library::walk(&path.canonicalize().map_err(failed)?) {
            let entry = entry.map_err(|(path, why)| {
                FleetError::new(ErrorKind::Malformed, format!("{}: {why}", path.display()))
            })?;
            listing.add(&Place::name_of(entry.path())?)?;
        }
        Ok(listing)
    }

    /// The objects below an address whose names end like audio, in the order of their names.
    ///
    /// # Errors
    /// When the store cannot be listed.
    pub async fn of_store(address: &str, stores: &Stores) -> Result<Self, FleetError> {
        let url = match Place::parse(address)? {
            Place::File(path) => return Self::of_path(&path),
            Place::Object(url) => url,
        };
        let (store, prefix) = stores.find(&url)?;
        let root = &url[..url::Position::BeforePath];
        let mut listing = Self::new()?;
        let mut names = Vec::new();
        let mut objects = store.list(Some(&prefix));
        let failed = |e| FleetError::store(address, "listing the store", e);
        while let Some(object) = objects.try_next().await.map_err(failed)? {
            let ending = object.location.extension().unwrap_or_default().to_ascii_lowercase();
            if ENDINGS.contains(&ending.as_str()) {
                // As an address: what is special in one is escaped.
                let mut track = url::Url::parse(root).map_err(|e| {
                    FleetError::new(ErrorKind::Bug, format!("{root} is no address: {e}"))
                })?;
                track.set_path(&object.location.as_ref().replace('%', "%25"));
                names.push(track.to_string());
            }
        }
        // Stores differ in the order in which they list.
        names.sort_unstable();
        names.iter().try_for_each(|name| listing.add(name))?;
        Ok(listing)
    }

    fn add(&mut self, track: &str) -> Result<(), FleetError> {
        if !self.seen.insert(xxh3_128(track.as_bytes())) {
            self.repeated += 1;
            return Ok(());
        }
        self.hash.update(track.as_bytes());
        self.hash.update(b"\n");
        writeln!(self.lines, "{track}").map_err(|e| spool("writing", &e))
    }

    /// Number of tracks, each counted once.
    pub fn tracks(&self) -> u64 {
        self.seen.len() as u64
    }

    /// Lines that named a track once more.
    pub fn repeated(&self) -> u64 {
        self.repeated
    }

    /// A hash of all tracks in their order.
    pub fn digest(&self) -> String {
        format!("{:032x}", self.hash.digest128())
    }

    /// The tracks, from the first on.
    pub(crate) fn into_lines(
        self,
    ) -> Result<impl Iterator<Item = Result<String, FleetError>>, FleetError> {
        let mut file = self.lines.into_inner().map_err(|e| spool("writing", e.error()))?;
        file.rewind().map_err(|e| spool("reading", &e))?;
        Ok(BufReader::new(file).lines().map(|line| line.map_err(|e| spool("reading", &e))))
    }
}

fn spool(doing: &str, error: &io::Error) -> FleetError {
    FleetError::new(ErrorKind::Store, format!("{doing} the temporary listing failed: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> Result<Vec<String>, FleetError> {
        Listing::of_lines(text, "list").and_then(|listing| listing.into_lines()?.collect())
    }

    #[test]
    fn each_track_once_in_order() {
        let text = b"/b.mp3\r\n\n/a.mp3\n/b.mp3\ns3://bucket/c d.mp3";
        assert_eq!(lines(text).unwrap(), ["/b.mp3", "/a.mp3", "s3://bucket/c d.mp3"]);
        let listing = Listing::of_lines(&text[..], "list").unwrap();
        assert_eq!((listing.tracks(), listing.repeated()), (3, 1));
        let other = Listing::of_lines(&b"/a.mp3\n/b.mp3\ns3://bucket/c d.mp3"[..], "list").unwrap();
        assert_ne!(listing.digest(), other.digest());
        assert!(lines(b"x.mp3").unwrap()[0].starts_with('/'));
    }

    #[test]
    fn wrong_lines_are_named() {
        for (text, needed) in [
            (&b"/a.mp3\n/\xff.mp3"[..], "line 2"),
            (&[b'x'; 5000], "longer than 4096"),
            (b"http://", "no place"),
        ] {
            let error = lines(text).unwrap_err().message;
            assert!(error.contains(needed), "{error}");
        }
    }
}

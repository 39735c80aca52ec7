//! The tracks that are served.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::{ErrorKind, HlsError};

/// A file of the library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Track {
    /// What addresses call it: 16 hexadecimal digits.
    pub id: String,
    /// Where it lies below the library, with `/`.
    pub name: String,
    /// Where it really lies.
    pub path: PathBuf,
}

/// Tracks in the order of their names.
#[derive(Debug, Default)]
pub struct Library {
    root: PathBuf,
    tracks: Vec<Track>,
    by_id: HashMap<String, usize>,
}

impl Library {
    /// The tracks among `files` that lie in `root`. Gives too why others are left out: links that
    /// lead out of it, files that are gone.
    ///
    /// # Errors
    /// There is no folder `root`.
    pub fn new(root: &Path, files: &[PathBuf]) -> Result<(Self, Vec<HlsError>), HlsError> {
        let unreadable = |path: &Path, e: std::io::Error| {
            HlsError::new(ErrorKind::Unreadable, format!("it cannot be opened: {e}"))
                .at(path.display())
        };
        let real_root = root.canonicalize().map_err(|e| unreadable(root, e))?;
        let (mut tracks, mut left_out) = (Vec::new(), Vec::new());
        for file in files {
            match track(root, &real_root, file) {
                Ok(track) => tracks.push(track),
                Err(error) => left_out.push(error),
            }
        }
        tracks.sort_by(|a, b| a.name.cmp(&b.name));
        tracks.dedup_by(|a, b| a.id == b.id);
        let by_id = tracks.iter().enumerate().map(|(i, t)| (t.id.clone(), i)).collect();
        Ok((Self { root: real_root, tracks, by_id }, left_out))
    }

    /// All tracks.
    pub fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    /// The track of that name.
    pub fn track(&self, id: &str) -> Option<&Track> {
        self.by_id.get(id).map(|&i| &self.tracks[i])
    }

    /// Whether a track still lies in the library: links may have been changed.
    pub(super) fn still_inside(&self, track: &Track) -> bool {
        track.path.canonicalize().is_ok_and(|path| path == track.path)
            && track.path.starts_with(&self.root)
    }
}

fn track(root: &Path, real_root: &Path, file: &Path) -> Result<Track, HlsError> {
    let refuse = |what: String| HlsError::new(ErrorKind::Refused, what).at(file.display());
    let path = file.canonicalize().map_err(|e| refuse(format!("it cannot be opened: {e}")))?;
    if !path.starts_with(real_root) {
        return Err(refuse("it is a link that leads out of the library, and is not served".into()));
    }
    let facts = path.metadata().map_err(|e| refuse(format!("it cannot be read: {e}")))?;
    if !facts.is_file() {
        return Err(refuse("it is no file".into()));
    }
    let name = file.strip_prefix(root).unwrap_or(&path);
    let name: Vec<_> = name.components().map(|c| c.as_os_str().to_string_lossy()).collect();
    let name = name.join("/");
    let modified = facts.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
    let facts = format!("{name}\0{}\0{}", facts.len(), modified.map_or(0, |t| t.as_nanos()));
    Ok(Track { id: format!("{:016x}", fnv(facts.as_bytes())), name, path })
}

/// FNV-1a, 64 bits: the same from run to run.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &b| {
        (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
    })
}

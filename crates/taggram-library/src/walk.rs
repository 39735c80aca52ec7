//! From the paths that were asked for to the audio files that are meant.

use std::io::Read;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

/// A file to work on, or why something that was asked for cannot be.
pub type Found = Result<PathBuf, (PathBuf, String)>;

/// Endings that say "audio": such a file in a folder is taken even when its content is not what
/// the name says, so that the person hears of it.
const ENDINGS: [&str; 22] = [
    "wav", "wave", "au", "snd", "aif", "aiff", "aifc", "mp3", "mp2", "flac", "ogg", "oga", "opus",
    "m4a", "mp4", "m4b", "aac", "adts", "alac", "caf", "rf64", "spx",
];

/// Every path that is a file, and the audio files below every path that is a folder, in a fixed order.
/// Links are followed; a loop of links, an unreadable folder or a path that does not exist is an `Err`.
pub fn find(paths: &[PathBuf]) -> Vec<Found> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            found.extend(walk(path).map(|entry| entry.map(DirEntry::into_path)));
        } else {
            found.push(Ok(path.clone()));
        }
    }
    found
}

/// Paths as a person typed them, in one line.
pub fn display(paths: &[PathBuf]) -> String {
    paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// The audio files below a folder (or the file that `root` is), in a fixed order, as they are come upon.
pub fn walk(root: &Path) -> impl Iterator<Item = Result<DirEntry, (PathBuf, String)>> + use<> {
    let root = root.to_path_buf();
    WalkDir::new(&root).follow_links(true).sort_by_file_name().into_iter().filter_map(
        move |entry| match entry {
            Ok(entry) if entry.file_type().is_file() && is_audio(entry.path()) => Some(Ok(entry)),
            Ok(_) => None,
            Err(error) => {
                let at = error.path().unwrap_or(&root).to_path_buf();
                let why = if let Some(ancestor) = error.loop_ancestor() {
                    format!("a link leads back to {}", ancestor.display())
                } else if let Some(io) = error.io_error() {
                    format!("the folder cannot be read: {io}")
                } else {
                    error.to_string()
                };
                Some(Err((at, why)))
            }
        },
    )
}

/// By its name, or by how its content begins.
fn is_audio(path: &Path) -> bool {
    let named = path
        .extension()
        .and_then(|e| e.to_str())
        .is_some_and(|e| ENDINGS.contains(&e.to_ascii_lowercase().as_str()));
    named || begins_like_audio(path)
}

fn begins_like_audio(path: &Path) -> bool {
    let mut head = [0u8; 12];
    let read = std::fs::File::open(path).and_then(|mut f| f.read(&mut head)).unwrap_or(0);
    if read < head.len() {
        return false;
    }
    let starts = |magic: &[u8]| head.starts_with(magic);
    starts(b"fLaC")
        || starts(b"OggS")
        || starts(b"ID3")
        || starts(b".snd")
        || (starts(b"RIFF") && &head[8..] == b"WAVE")
        || (starts(b"FORM") && head[8..11] == *b"AIF")
        || (&head[4..8] == b"ftyp" && (&head[8..11] == b"M4A" || &head[8..11] == b"M4B"))
        || (head[0] == 0xff && (head[1] & 0xe6 == 0xe2 || head[1] & 0xf6 == 0xf0))
}

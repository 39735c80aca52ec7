//! One file gets its genres: by way of a copy that is proven before it takes the original's place.

use std::fs::{self, File};
use std::io::{Cursor, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::form::Tagged;
use super::{Facts, Journal, Rules};
use crate::index::{Index, Stamp};
use crate::{ErrorKind, Fingerprint, LibraryError, Track};

/// Largest file that is tagged, bytes: the way back is made in memory.
const LARGEST: u64 = 2 << 30;

/// What is to become of a file's genres.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The file.
    pub path: PathBuf,
    /// What its tags say now.
    pub before: Vec<String>,
    /// What they are to say.
    pub after: Vec<String>,
    /// Confidence in the first of them, 0…1.
    pub confidence: f32,
}

/// What is to be done with a track's file.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Its genres are to change.
    Change(Change),
    /// It says what it is to say, or may not be overwritten.
    Keep(Vec<String>),
    /// Nothing is sure enough to be written.
    Unsure,
}

/// What the rules make of a track. Reads the file's tags as they are now; changes nothing.
///
/// # Errors
/// When the file changed since it was scanned, cannot be read, or has tags of an unknown form.
pub fn plan(track: &Track, rules: &Rules) -> Result<Verdict, LibraryError> {
    let path = &track.path;
    let now = fs::metadata(path).map_err(|e| LibraryError::io(path, "looking at the file", &e))?;
    if Stamp::of(&now) != track.stamp {
        return Err(LibraryError::new(
            ErrorKind::Changed,
            format!("{}: it changed since it was scanned; scan again", path.display()),
        ));
    }
    let after = rules.genres(track);
    if after.is_empty() {
        return Ok(Verdict::Unsure);
    }
    let before = Tagged::read(path, false)?.facts().genres;
    if !rules.wants(&before, &after) {
        return Ok(Verdict::Keep(before));
    }
    let change = Change { path: path.clone(), before, after, confidence: track.confidence };
    Ok(Verdict::Change(change))
}

/// Carries a change out. Whatever fails, the original is as it was: it is replaced in one step, after
/// the copy was read again (same audio, same other tags, the genres asked for), was forced to
/// the disk, and the way back is in the journal.
///
/// # Errors
/// As [`plan`]; a full disk; a copy that is not what it should be; a journal that cannot be written.
pub fn write(
    index: &Index,
    journal: &Journal,
    run: i64,
    change: &Change,
) -> Result<(), LibraryError> {
    // A link is followed: its target is replaced, the link stays.
    let path = fs::canonicalize(&change.path)
        .map_err(|e| LibraryError::io(&change.path, "looking for the file", &e))?;
    let io = |doing, e: std::io::Error| LibraryError::io(&path, doing, &e);
    let named = |e: LibraryError| {
        if e.message.contains(&path.display().to_string()) {
            return e;
        }
        LibraryError::new(e.kind, format!("{}: {}", path.display(), e.message))
    };
    let facts = fs::metadata(&path).map_err(|e| io("looking at the file", e))?;
    refuse(&path, &facts)?;
    let stamp = Stamp::of(&facts);
    let original = fs::read(&path).map_err(|e| io("reading the file", e))?;
    let audio =
        Fingerprint::read(&mut Cursor::new(&original)).map_err(|e| io("hashing the audio", e))?;
    if index.fingerprint_of(&change.path)?.is_some_and(|known| known != audio) {
        return Err(LibraryError::new(
            ErrorKind::Changed,
            format!("{}: its audio is not what was scanned; scan again", path.display()),
        ));
    }

    let mut tagged = Tagged::read(&path, true)?;
    let rest = tagged.rest();
    tagged.set(&change.after);
    let mut copy = copy_beside(&path)?;
    tagged.save(copy.path()).map_err(named)?;

    // Read again from the disk: what was meant is not what counts.
    let again = Tagged::read(copy.path(), true)
        .map_err(|e| unsafe_copy(&path, &format!("it cannot be read again ({})", e.message)))?;
    if !says(&again.facts().genres, &change.after) {
        let found = again.facts().genre().unwrap_or_default();
        return Err(unsafe_copy(&path, &format!("its genre reads \"{found}\"")));
    }
    let after = again.rest();
    if let Some(lost) = rest.iter().find(|item| !after.contains(item)) {
        let start: String = lost.chars().take(80).collect();
        return Err(unsafe_copy(&path, &format!("another tag would be lost or changed: {start}")));
    }
    if let Some(new) = after.iter().find(|item| !rest.contains(item)) {
        let start: String = new.chars().take(80).collect();
        return Err(unsafe_copy(&path, &format!("another tag would appear: {start}")));
    }
    let file = copy.as_file_mut();
    file.seek(SeekFrom::Start(0)).map_err(|e| io("reading the copy", e))?;
    if Fingerprint::read(file).map_err(|e| io("hashing the copy", e))? != audio {
        return Err(unsafe_copy(&path, "its audio would not be the same"));
    }
    let tagged_bytes = fs::read(copy.path()).map_err(|e| io("reading the copy", e))?;
    copy.as_file().sync_all().map_err(|e| io("forcing the copy to the disk", e))?;
    let now = fs::metadata(&path).map_err(|e| io("looking at the file", e))?;
    if Stamp::of(&now) != stamp {
        return Err(LibraryError::new(
            ErrorKind::Changed,
            format!("{}: it changed while it was tagged, and was left alone", path.display()),
        ));
    }
    let entry = journal.put(run, &path, &original, &tagged_bytes, stamp.mtime_ns)?;
    if let Err(error) = replace(copy, &path) {
        journal.drop_entry(entry)?;
        return Err(error);
    }
    let now = fs::metadata(&path).map_err(|e| io("looking at the file", e))?;
    let facts = Facts { genres: change.after.clone(), year: again.facts().year };
    index.touch(&change.path, Stamp::of(&now), &facts)
}

/// Files that are better left alone.
fn refuse(path: &Path, facts: &fs::Metadata) -> Result<(), LibraryError> {
    let no = |why: String| {
        Err(LibraryError::new(ErrorKind::Unsupported, format!("{}: {why}", path.display())))
    };
    if facts.permissions().readonly() {
        return no("the file is read-only, and was left alone".into());
    }
    if facts.len() > LARGEST {
        return no(format!("{} bytes are more than the {LARGEST} that are tagged", facts.len()));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        if facts.nlink() > 1 {
            return no(format!(
                "the file has {} names (hard links); replacing one would part it from the others",
                facts.nlink()
            ));
        }
    }
    Ok(())
}

/// Whether the genres read are those written; RIFF INFO and old ID3 join several into one.
fn says(found: &[String], wanted: &[String]) -> bool {
    let flat = |genres: &[String]| {
        let all = genres.join(";");
        all.split([';', '/']).map(|g| g.trim().to_string()).collect::<Vec<_>>()
    };
    found == wanted || flat(found) == flat(wanted)
}

fn unsafe_copy(path: &Path, why: &str) -> LibraryError {
    LibraryError::new(
        ErrorKind::Unsafe,
        format!(
            "{}: the tagged copy was thrown away, {why}; the file is as it was",
            path.display()
        ),
    )
}

/// A copy in the same folder with the same owner and permissions, which goes away unless it is kept.
pub(super) fn copy_beside(path: &Path) -> Result<NamedTempFile, LibraryError> {
    let io = |doing, e: std::io::Error| LibraryError::io(path, doing, &e);
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let copy = tempfile::Builder::new()
        .prefix(".taggram-")
        .suffix(".part")
        .tempfile_in(folder)
        .map_err(|e| io("making a copy beside it", e))?;
    fs::copy(path, copy.path()).map_err(|e| io("copying the file", e))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        if let Ok(facts) = fs::metadata(path) {
            // Only a superuser can give files away; for anyone else it is theirs already.
            let _ = std::os::unix::fs::chown(copy.path(), Some(facts.uid()), Some(facts.gid()));
        }
    }
    Ok(copy)
}

/// Puts a finished copy in the original's place in one step, and makes that lasting.
pub(super) fn replace(copy: NamedTempFile, path: &Path) -> Result<(), LibraryError> {
    let io = |doing, e: std::io::Error| LibraryError::io(path, doing, &e);
    copy.as_file().sync_all().map_err(|e| io("forcing the copy to the disk", e))?;
    copy.persist(path).map_err(|e| io("putting the copy in its place", e.error))?;
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        // The new name, too; where folders cannot be synced it is lasting a little later.
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
    Ok(())
}

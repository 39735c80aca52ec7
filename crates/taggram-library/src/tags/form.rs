//! One way to the genre of every form of tag: ID3v2, ID3v1, APE, Vorbis comments, MP4, RIFF INFO.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufReader, Seek};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use lofty::aac::AacFile;
use lofty::ape::ApeItem;
use lofty::config::{ParseOptions, WriteOptions};
use lofty::file::{AudioFile, FileType};
use lofty::flac::FlacFile;
use lofty::id3::v1::Id3v1Tag;
use lofty::id3::v2::{Id3v2Tag, Id3v2Version};
use lofty::iff::aiff::AiffFile;
use lofty::iff::wav::{RiffInfoList, WavFile};
use lofty::mp4::{Atom, AtomData, AtomIdent, Ilst, Mp4File};
use lofty::mpeg::MpegFile;
use lofty::ogg::tag::VorbisComments;
use lofty::ogg::{OggPictureStorage, OpusFile, SpeexFile, VorbisFile};
use lofty::probe::Probe;
use lofty::tag::{Accessor, ItemValue};

use super::Facts;
use crate::{ErrorKind, LibraryError};

/// Where MP4 keeps the genre, as text.
const MP4_GENRE: AtomIdent<'static> = AtomIdent::Fourcc(*b"\xa9gen");
/// Where MP4 keeps a genre that is one of ID3v1's, as a number.
const MP4_NUMBER: AtomIdent<'static> = AtomIdent::Fourcc(*b"gnre");
/// Where RIFF INFO keeps the genre.
const RIFF_GENRE: &str = "IGNR";
/// The key in Vorbis comments and APE.
const GENRE: &str = "GENRE";

/// The tags of a file, by container.
enum Tags {
    Mpeg(Box<MpegFile>),
    Aac(Box<AacFile>),
    Aiff(Box<AiffFile>),
    Wav(Box<WavFile>),
    Flac(Box<FlacFile>),
    Vorbis(Box<VorbisFile>),
    Opus(Box<OpusFile>),
    Speex(Box<SpeexFile>),
    Mp4(Box<Mp4File>),
}

/// A file's tags in memory.
pub(super) struct Tagged(Tags);

/// Everything in a file's tags but the genre, in a fixed order, to compare before with after.
pub(super) type Rest = Vec<String>;

impl Tagged {
    /// Reads the tags of a file; `whole` with its pictures.
    pub fn read(path: &Path, whole: bool) -> Result<Self, LibraryError> {
        let at = path.display();
        let bad = |why: String| {
            LibraryError::new(ErrorKind::Foreign, format!("{at}: its tags cannot be read: {why}"))
        };
        let opened =
            File::open(path).map_err(|e| LibraryError::io(path, "opening the file", &e))?;
        let parse = || -> Result<Option<Tags>, String> {
            let probe = Probe::new(BufReader::new(opened)).guess_file_type();
            let probe = probe.map_err(|e| e.to_string())?;
            let kind = probe.file_type();
            let mut source = probe.into_inner();
            source.rewind().map_err(|e| e.to_string())?;
            let mut how = ParseOptions::new();
            how.read_properties(false).read_cover_art(whole);
            let source = &mut source;
            Ok(Some(match kind {
                Some(FileType::Mpeg) => Tags::Mpeg(Box::new(load(source, how)?)),
                Some(FileType::Aac) => Tags::Aac(Box::new(load(source, how)?)),
                Some(FileType::Aiff) => Tags::Aiff(Box::new(load(source, how)?)),
                Some(FileType::Wav) => Tags::Wav(Box::new(load(source, how)?)),
                Some(FileType::Flac) => Tags::Flac(Box::new(load(source, how)?)),
                Some(FileType::Vorbis) => Tags::Vorbis(Box::new(load(source, how)?)),
                Some(FileType::Opus) => Tags::Opus(Box::new(load(source, how)?)),
                Some(FileType::Speex) => Tags::Speex(Box::new(load(source, how)?)),
                Some(FileType::Mp4) => Tags::Mp4(Box::new(load(source, how)?)),
                _ => return Ok(None),
            }))
        };
        // The reader is someone else's and the bytes are a stranger's.
        let parsed = catch_unwind(AssertUnwindSafe(parse))
            .unwrap_or_else(|_| Err("the reader of tags crashed on this file".into()));
        match parsed.map_err(bad)? {
            Some(tags) => Ok(Self(tags)),
            None => Err(LibraryError::new(
                ErrorKind::Unsupported,
                format!("{at}: this kind of file has no tags that are written here"),
            )),
        }
    }

    /// Genres and year, from the first tag that has them.
    pub fn facts(&self) -> Facts {
        let mut facts = Facts::default();
        let mut add = |genres: Vec<String>, year: Option<i32>| {
            let genres: Vec<String> = genres
                .into_iter()
                .map(|g| g.trim().to_string())
                .filter(|g| !g.is_empty())
                .collect();
            if facts.genres.is_empty() {
                facts.genres = genres;
            }
            facts.year = facts.year.or(year);
        };
        if let Some(tag) = self.vorbis() {
            add(tag.get_all(GENRE).map(str::to_string).collect(), year(tag));
        }
        if let Some(tag) = self.id3v2() {
            add(tag.genres().into_iter().flatten().map(str::to_string).collect(), year(tag));
        }
        if let Tags::Mp4(file) = &self.0
            && let Some(tag) = file.ilst()
        {
            add(mp4_genres(tag), year(tag));
        }
        if let Tags::Mpeg(file) = &self.0 {
            if let Some(tag) = file.ape() {
                let text = tag.get(GENRE).map(|item| match item.value() {
                    ItemValue::Text(text) => text.split('\0').map(str::to_string).collect(),
                    _ => Vec::new(),
                });
                add(text.unwrap_or_default(), year(tag));
            }
            if let Some(tag) = file.id3v1() {
                add(tag.genre().map(Cow::into_owned).into_iter().collect(), year(tag));
            }
        }
        if let Tags::Wav(file) = &self.0
            && let Some(tag) = file.riff_info()
        {
            add(tag.get(RIFF_GENRE).map(split).unwrap_or_default(), year(tag));
        }
        facts
    }

    /// Puts these genres, and no others, into every tag that the file has and can say them, and into
    /// the usual tag of its kind if it has none.
    pub fn set(&mut self, genres: &[String]) {
        let joined = genres.join("; ");
        match &mut self.0 {
            Tags::Mpeg(file) => {
                if file.ape().is_none() && file.id3v2().is_none() {
                    file.set_id3v2(Id3v2Tag::new());
                }
                if let Some(tag) = file.id3v2_mut() {
                    set_id3v2(tag, genres);
                }
                if let Some(tag) = file.ape_mut() {
                    tag.remove(GENRE);
                    // The key is a constant that APE allows.
                    if let Ok(item) =
                        ApeItem::new("Genre".into(), ItemValue::Text(genres.join("\0")))
                    {
                        tag.insert(item);
                    }
                }
                if let Some(tag) = file.id3v1_mut() {
                    set_id3v1(tag, genres);
                }
            }
            Tags::Aac(file) => {
                if file.id3v2().is_none() {
                    file.set_id3v2(Id3v2Tag::new());
                }
                if let Some(tag) = file.id3v2_mut() {
                    set_id3v2(tag, genres);
                }
                if let Some(tag) = file.id3v1_mut() {
                    set_id3v1(tag, genres);
                }
            }
            Tags::Aiff(file) => {
                if file.id3v2().is_none() {
                    file.set_id3v2(Id3v2Tag::new());
                }
                if let Some(tag) = file.id3v2_mut() {
                    set_id3v2(tag, genres);
                }
            }
            Tags::Wav(file) => {
                // Some players read the one, some the other: both, or they would disagree.
                if file.riff_info().is_none() {
                    file.set_riff_info(RiffInfoList::new());
                }
                if file.id3v2().is_none() {
                    file.set_id3v2(Id3v2Tag::new());
                }
                if let Some(tag) = file.id3v2_mut() {
                    set_id3v2(tag, genres);
                }
                if let Some(tag) = file.riff_info_mut() {
                    tag.insert(RIFF_GENRE.into(), joined);
                }
            }
            Tags::Mp4(file) => {
                if file.ilst().is_none() {
                    file.set_ilst(Ilst::new());
                }
                if let Some(tag) = file.ilst_mut() {
                    tag.remove(&MP4_NUMBER).for_each(drop);
                    tag.remove(&MP4_GENRE).for_each(drop);
                    let values = genres.iter().cloned().map(AtomData::UTF8).collect();
                    if let Some(atom) = Atom::from_collection(MP4_GENRE, values) {
                        tag.replace_atom(atom);
                    }
                }
            }
            Tags::Flac(file) => {
                if file.vorbis_comments().is_none() {
                    file.set_vorbis_comments(VorbisComments::new());
                }
                if let Some(tag) = file.vorbis_comments_mut() {
                    set_vorbis(tag, genres);
                }
            }
            Tags::Vorbis(file) => set_vorbis(file.vorbis_comments_mut(), genres),
            Tags::Opus(file) => set_vorbis(file.vorbis_comments_mut(), genres),
            Tags::Speex(file) => set_vorbis(file.vorbis_comments_mut(), genres),
        }
    }

    /// Writes the tags into the file at `path`, in place: it is to be a copy.
    pub fn save(&self, path: &Path) -> Result<(), LibraryError> {
        let mut how = WriteOptions::new().remove_others(false).respect_read_only(true);
        // ID3v2.3 stays 2.3: there are players that know no other.
        if self.id3v2().is_some_and(|tag| tag.original_version() != Id3v2Version::V4) {
            how.use_id3v23(true);
        }
        let save = || match &self.0 {
            Tags::Mpeg(file) => file.save_to_path(path, how),
            Tags::Aac(file) => file.save_to_path(path, how),
            Tags::Aiff(file) => file.save_to_path(path, how),
            Tags::Wav(file) => file.save_to_path(path, how),
            Tags::Flac(file) => file.save_to_path(path, how),
            Tags::Vorbis(file) => file.save_to_path(path, how),
            Tags::Opus(file) => file.save_to_path(path, how),
            Tags::Speex(file) => file.save_to_path(path, how),
            Tags::Mp4(file) => file.save_to_path(path, how),
        };
        let saved = catch_unwind(AssertUnwindSafe(save)).map_err(|_| {
            LibraryError::new(ErrorKind::Unsafe, "the writer of tags crashed on this file")
        })?;
        saved.map_err(|e| {
            LibraryError::new(ErrorKind::Unsafe, format!("the tags could not be written: {e}"))
        })
    }

    /// Everything but the genre: a line an item. Their order is not looked at: some writers change it,
    /// and it means nothing.
    pub fn rest(&self) -> Rest {
        let mut rest = Rest::new();
        if let Some(tag) = self.id3v2() {
            let mut tag = tag.clone();
            tag.remove_genre();
            rest.extend(tag.iter().map(|frame| format!("ID3v2 {frame:?}")));
        }
        if let Some(tag) = self.vorbis() {
            let others = tag.items().filter(|(key, _)| !key.eq_ignore_ascii_case(GENRE));
            rest.extend(others.map(|(key, value)| format!("Vorbis {key}={value}")));
        }
        let id3v1 = match &self.0 {
            Tags::Mpeg(file) => file.id3v1(),
            Tags::Aac(file) => file.id3v1(),
            _ => None,
        };
        rest.extend(id3v1.cloned().map(|mut tag| {
            tag.remove_genre();
            format!("ID3v1 {tag:?}")
        }));
        match &self.0 {
            Tags::Mpeg(file) => {
                let items = file.ape().into_iter().flatten();
                let others = items.filter(|item| !item.key().eq_ignore_ascii_case(GENRE));
                rest.extend(others.map(|item| format!("APE {item:?}")));
            }
            Tags::Wav(file) => {
                let items = file.riff_info().into_iter().flatten();
                let others = items.filter(|(key, _)| *key != RIFF_GENRE);
                rest.extend(others.map(|(key, value)| format!("RIFF {key}={value}")));
            }
            Tags::Mp4(file) => {
                let atoms = file.ilst().into_iter().flatten();
                let others = atoms.filter(|a| ![MP4_GENRE, MP4_NUMBER].contains(a.ident()));
                rest.extend(others.map(|atom| format!("MP4 {atom:?}")));
            }
            Tags::Flac(file) => {
                rest.extend(file.pictures().iter().map(|picture| format!("FLAC {picture:?}")));
            }
            Tags::Vorbis(file) => {
                rest.extend(file.vorbis_comments().pictures().iter().map(|p| format!("{p:?}")));
            }
            Tags::Opus(file) => {
                rest.extend(file.vorbis_comments().pictures().iter().map(|p| format!("{p:?}")));
            }
            Tags::Aac(_) | Tags::Aiff(_) | Tags::Speex(_) => {}
        }
        rest.sort();
        rest
    }

    fn id3v2(&self) -> Option<&Id3v2Tag> {
        match &self.0 {
            Tags::Mpeg(file) => file.id3v2(),
            Tags::Aac(file) => file.id3v2(),
            Tags::Aiff(file) => file.id3v2(),
            Tags::Wav(file) => file.id3v2(),
            _ => None,
        }
    }

    fn vorbis(&self) -> Option<&VorbisComments> {
        match &self.0 {
            Tags::Flac(file) => file.vorbis_comments(),
            Tags::Vorbis(file) => Some(file.vorbis_comments()),
            Tags::Opus(file) => Some(file.vorbis_comments()),
            Tags::Speex(file) => Some(file.vorbis_comments()),
            _ => None,
        }
    }
}

fn load<T: AudioFile>(source: &mut BufReader<File>, how: ParseOptions) -> Result<T, String> {
    T::read_from(source, how).map_err(|e| e.to_string())
}

fn year(tag: &impl Accessor) -> Option<i32> {
    tag.date().map(|date| i32::from(date.year)).filter(|year| (1000..=2999).contains(year))
}

/// RIFF INFO has one text for all genres.
fn split(text: &str) -> Vec<String> {
    text.split(';').map(|genre| genre.trim().to_string()).collect()
}

fn set_id3v2(tag: &mut Id3v2Tag, genres: &[String]) {
    tag.set_genre(genres.join("\0"));
}

/// ID3v1 knows a list of genres: one that is on it is set, for others the byte is cleared, since
/// what it said before is not what the file is to say now.
fn set_id3v1(tag: &mut Id3v1Tag, genres: &[String]) {
    tag.remove_genre();
    if let Some(genre) = genres.first() {
        tag.set_genre(genre.clone());
    }
}

fn set_vorbis(tag: &mut VorbisComments, genres: &[String]) {
    tag.remove(GENRE).for_each(drop);
    for genre in genres {
        tag.push(GENRE.into(), genre.clone());
    }
}

fn mp4_genres(tag: &Ilst) -> Vec<String> {
    let text = |data: &AtomData| match data {
        AtomData::UTF8(text) | AtomData::UTF16(text) => Some(text.clone()),
        _ => None,
    };
    let written: Vec<String> =
        tag.get(&MP4_GENRE).into_iter().flat_map(|atom| atom.data()).filter_map(text).collect();
    if written.is_empty() {
        tag.genre().map(Cow::into_owned).into_iter().collect()
    } else {
        written
    }
}

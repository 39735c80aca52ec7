//! Which genres a track gets, and whether its file is to be touched at all.

use std::collections::BTreeMap;
use std::path::Path;

use crate::{ErrorKind, LibraryError, Track};

/// When a genre is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Policy {
    /// Only into files without a genre.
    #[default]
    Missing,
    /// Also where the file says something else.
    Different,
    /// Wherever there is an answer.
    Always,
}

/// The person's own words for the model's genres. A genre that is not named keeps its name; one
/// whose word is empty is never written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vocabulary(BTreeMap<String, String>);

impl Vocabulary {
    /// From a TOML file of lines such as `hiphop = "Hip-Hop"`.
    ///
    /// # Errors
    /// When the file cannot be read or is something else.
    pub fn load(path: &Path) -> Result<Self, LibraryError> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| LibraryError::io(path, "reading the vocabulary", &e))?;
        let words: BTreeMap<String, String> = toml::from_str(&text).map_err(|e| {
            LibraryError::new(
                ErrorKind::Foreign,
                format!(
                    "{}: lines such as `hiphop = \"Hip-Hop\"` are needed: {}",
                    path.display(),
                    e.message()
                ),
            )
        })?;
        if let Some((genre, _)) = words.iter().find(|(_, word)| word.chars().any(char::is_control))
        {
            return Err(LibraryError::new(
                ErrorKind::Foreign,
                format!("{}: the word for {genre} holds a control character", path.display()),
            ));
        }
        Ok(Self(words))
    }

    /// Names in it that are none of `labels`: a slip of the pen, probably.
    pub fn unknown<'a>(&'a self, labels: &'a [String]) -> impl Iterator<Item = &'a str> {
        self.0.keys().map(String::as_str).filter(|name| !labels.iter().any(|label| label == name))
    }

    fn word<'a>(&'a self, genre: &'a str) -> &'a str {
        self.0.get(genre).map_or(genre, String::as_str)
    }
}

/// What is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// Into which files.
    pub policy: Policy,
    /// Genres less probable than this are not written, 0…1.
    pub threshold: f32,
    /// Most genres a file gets.
    pub top: usize,
    /// In which words.
    pub vocabulary: Vocabulary,
}

impl Rules {
    /// The genres for a track, the most probable first; none when nothing is sure enough.
    pub fn genres(&self, track: &Track) -> Vec<String> {
        let mut genres: Vec<String> = Vec::new();
        // What the model does not know is not named after what is nearest.
        if track.genre.is_none() {
            return genres;
        }
        for (genre, probability) in track.ranked() {
            let word = self.vocabulary.word(genre);
            if probability < self.threshold || genres.len() == self.top {
                break;
            }
            // Two genres of the model may be one in the person's words.
            if !word.is_empty() && !genres.iter().any(|known| known == word) {
                genres.push(word.to_string());
            }
        }
        genres
    }

    /// Whether a file that says `before` is to say `after`.
    pub fn wants(&self, before: &[String], after: &[String]) -> bool {
        if after.is_empty() || before == after {
            return false;
        }
        let same = before.len() == after.len()
            && before.iter().zip(after).all(|(b, a)| b.eq_ignore_ascii_case(a));
        match self.policy {
            Policy::Missing => before.is_empty(),
            Policy::Different => !same,
            Policy::Always => true,
        }
    }
}

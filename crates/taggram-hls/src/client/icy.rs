//! Files and Internet radio: one answer that is read as it comes, with titles between the music.

use super::fetch::{Answer, Fetcher};
use crate::HlsError;

/// Longest interval between titles, bytes.
const LONGEST: usize = 1 << 20;

/// A stream without playlists: a file, or a radio (Icecast, SHOUTcast).
pub struct Plain {
    fetcher: Fetcher,
    answer: Answer,
    /// Bytes that were read to see what this is.
    first: Option<Vec<u8>>,
    filter: Option<Filter>,
    /// Name of the station.
    pub station: Option<String>,
    /// What the station says that it plays.
    pub genre: Option<String>,
}

/// What comes next of a plain stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chunk {
    /// Bytes of the audio file.
    Audio(Vec<u8>),
    /// The title of what is played now.
    Title(String),
}

impl Plain {
    pub(super) fn new(fetcher: Fetcher, answer: Answer, first: Vec<u8>) -> Self {
        let interval = answer.header("icy-metaint").and_then(|n| n.parse::<usize>().ok());
        let interval = interval.filter(|n| (1..=LONGEST).contains(n));
        let (station, genre) = (answer.header("icy-name"), answer.header("icy-genre"));
        let filter = interval.map(Filter::new);
        Self { fetcher, answer, first: Some(first), filter, station, genre }
    }

    /// What was asked and came so far.
    pub fn fetcher(&self) -> &Fetcher {
        &self.fetcher
    }

    /// What comes next; empty at the end.
    ///
    /// # Errors
    /// The connection broke or stalled.
    pub async fn next(&mut self) -> Result<Vec<Chunk>, HlsError> {
        let bytes = match self.first.take() {
            Some(first) if !first.is_empty() => Some(first),
            _ => self.fetcher.next(&mut self.answer).await?,
        };
        let Some(bytes) = bytes else { return Ok(Vec::new()) };
        Ok(match &mut self.filter {
            Some(filter) => filter.push(&bytes),
            None => vec![Chunk::Audio(bytes)],
        })
    }
}

/// Takes titles out: after every `interval` bytes of audio one byte tells how many times 16 bytes
/// of metadata follow, `StreamTitle='…';` among them.
struct Filter {
    interval: usize,
    audio_left: usize,
    /// Metadata gathered and how much there will be; `None` in audio.
    metadata: Option<(Vec<u8>, usize)>,
    title: String,
}

impl Filter {
    fn new(interval: usize) -> Self {
        Self { interval, audio_left: interval, metadata: None, title: String::new() }
    }

    fn push(&mut self, mut bytes: &[u8]) -> Vec<Chunk> {
        let mut out = Vec::new();
        let mut audio = Vec::new();
        while !bytes.is_empty() {
            if let Some((held, length)) = &mut self.metadata {
                let taken = (*length - held.len()).min(bytes.len());
                held.extend_from_slice(&bytes[..taken]);
                bytes = &bytes[taken..];
                if held.len() == *length {
                    let title = title(held);
                    self.metadata = None;
                    if let Some(title) = title.filter(|t| *t != self.title) {
                        self.title.clone_from(&title);
                        out.push(Chunk::Title(title));
                    }
                }
            } else if self.audio_left > 0 {
                let taken = self.audio_left.min(bytes.len());
                audio.extend_from_slice(&bytes[..taken]);
                self.audio_left -= taken;
                bytes = &bytes[taken..];
            } else {
                let length = 16 * usize::from(bytes[0]);
                bytes = &bytes[1..];
                self.audio_left = self.interval;
                self.metadata = (length > 0).then(|| (Vec::new(), length));
            }
        }
        if !audio.is_empty() || out.is_empty() {
            out.push(Chunk::Audio(audio));
        }
        out
    }
}

fn title(metadata: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(metadata);
    let value = text.split_once("StreamTitle='")?.1;
    // A title may hold an apostrophe; its end is one before a semicolon.
    let value = value.split_once("';").map_or(value, |(title, _)| title);
    let clean: String = value.trim_end_matches('\0').chars().filter(|c| !c.is_control()).collect();
    (!clean.trim().is_empty()).then(|| clean.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_taken_out_wherever_chunks_end() {
        let mut stream = Vec::new();
        let audio: Vec<u8> = (0..=255).cycle().take(1000).collect();
        for (i, part) in audio.chunks(100).enumerate() {
            stream.extend(part);
            if part.len() == 100 {
                let mut meta = match i {
                    0 => b"StreamTitle='Rock 'n' Roll';StreamUrl='';".to_vec(),
                    3 => b"StreamTitle='Next';".to_vec(),
                    _ => Vec::new(),
                };
                meta.resize(meta.len().div_ceil(16) * 16, 0);
                stream.push((meta.len() / 16) as u8);
                stream.extend(meta);
            }
        }
        for size in [1, 3, 64, 5000] {
            let mut filter = Filter::new(100);
            let (mut got, mut titles) = (Vec::new(), Vec::new());
            for chunk in stream.chunks(size).flat_map(|part| filter.push(part)) {
                match chunk {
                    Chunk::Audio(bytes) => got.extend(bytes),
                    Chunk::Title(title) => titles.push(title),
                }
            }
            assert_eq!(got, audio, "in chunks of {size}");
            assert_eq!(titles, ["Rock 'n' Roll", "Next"]);
        }
    }
}

//! Finding out what a path is, and reading its list of tracks.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::cache::Cache;
use super::error::{ErrorKind, Result, fault, io, malformed};
use super::patches::{PatchStore, read_list};
use super::table::{FeatureTable, Table};
use super::{Dataset, Store, Track, TrackSource};
use crate::npy::NpyFile;

/// Endings of audio files that a folder is searched for. What a file is, is decided by its
/// content when it is read.
const AUDIO: [&str; 13] =
    ["wav", "au", "snd", "aif", "aiff", "mp3", "flac", "ogg", "oga", "opus", "m4a", "aac", "mp4"];
/// Folders inside a dataset's root, in the order in which they are tried.
const INSIDE: [&str; 4] = ["mel", "audio", "genres", "taggrams"];
/// Folders are searched this deep below a genre.
const MAX_DEPTH: usize = 8;

/// Folders that say more about a dataset.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Companions {
    /// Lists of ids: `<name>_train.txt`, `<name>_valid.txt`, `<name>_test.txt`.
    pub splits: Option<PathBuf>,
    /// `artist_title.csv` and `exact_duplicates.csv`.
    pub annotations: Option<PathBuf>,
}

impl Companions {
    /// Looks for `splits/` and `annotations/` in the folder of `path` and up to two above.
    pub fn beside(path: &Path) -> Self {
        // The parents of a relative path end at the working folder; those of the real path go on.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        let folder = if path.is_dir() { Some(path.as_path()) } else { path.parent() };
        let find = |name: &str| {
            folder
                .into_iter()
                .flat_map(Path::ancestors)
                .take(3)
                .map(|f| f.join(name))
                .find(|f| f.is_dir())
        };
        Self { splits: find("splits"), annotations: find("annotations") }
    }
}

/// One track before genres are numbered.
struct Row {
    id: String,
    genre: String,
    artist: Option<String>,
    source: TrackSource,
    line: Option<u64>,
}

pub(super) fn open(path: &Path, companions: Option<Companions>) -> Result<Dataset> {
    let companions = companions.unwrap_or_else(|| Companions::beside(path));
    let (store, rows) = find(path)?;
    assemble(path, companions, store, rows)
}

/// All audio below a folder, whatever it is: a dataset whose genres mean nothing.
pub(super) fn open_unlabelled(path: &Path) -> Result<Dataset> {
    let mut files = Vec::new();
    audio_below(path, 0, &mut files)?;
    files.sort();
    if files.is_empty() {
        return Err(fault(path, ErrorKind::TooShort, "no audio was found in it"));
    }
    let rows = files.into_iter().map(|file| Row {
        id: file.strip_prefix(path).unwrap_or(&file).to_string_lossy().into_owned(),
        genre: "unlabelled".into(),
        artist: None,
        source: TrackSource::Audio(file),
        line: None,
    });
    assemble(path, Companions::beside(path), Store::Audio, rows.collect())
}

fn find(path: &Path) -> Result<(Store, Vec<Row>)> {
    let metadata = std::fs::metadata(path).map_err(|e| io(path, "open the dataset", &e))?;
    if metadata.is_file() {
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        return match ending.as_str() {
            "npy" => open_array(path),
            "csv" | "tsv" => open_table(path),
            _ => Err(fault(
                path,
                ErrorKind::Unsupported,
                "a dataset is a folder of genre folders, a .csv or .tsv table, or a .npy array with its track list; this file is none of them",
            )),
        };
    }
    let arrays = arrays_in(path)?;
    let caches = || arrays.iter().filter(|a| list_of(a, "tracks").is_some());
    // The longest list wins: a folder may hold a part of its tracks in more detail.
    let best = caches()
        .filter_map(|a| Some((a, NpyFile::open(a).ok()?)))
        .filter(|(_, npy)| matches!(npy.shape().len(), 3 | 4))
        .max_by_key(|(a, npy)| (npy.shape()[0], std::cmp::Reverse(*a)));
    if let Some((array, _)) = best {
        return open_array(array);
    }
    let pairs: Vec<_> =
        arrays.iter().filter_map(|a| Some((a.clone(), list_of(a, "rows")?))).collect();
    if !pairs.is_empty() {
        return open_patches(&pairs);
    }
    let rows = genre_folders(path)?;
    // `audio/` and `genres/` are names of places, `mel/` and the like hold no audio.
    if !rows.is_empty() && !rows.iter().all(|r| INSIDE.contains(&r.genre.as_str())) {
        return Ok((Store::Audio, rows));
    }
    for name in INSIDE {
        let inside = path.join(name);
        if inside.is_dir() {
            return find(&inside);
        }
    }
    Err(fault(
        path,
        ErrorKind::TooShort,
        "no audio in genre folders, no .npy array with a track list and no folder mel, audio, genres or taggrams was found in it",
    ))
}

fn arrays_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut arrays: Vec<PathBuf> = entries(folder)?
        .into_iter()
        .filter(|p| p.extension().is_some_and(|e| e.eq_ignore_ascii_case("npy")))
        .collect();
    arrays.sort();
    Ok(arrays)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let list = std::fs::read_dir(folder).map_err(|e| io(folder, "list the folder", &e))?;
    let mut paths = Vec::new();
    for entry in list {
        paths.push(entry.map_err(|e| io(folder, "list the folder", &e))?.path());
    }
    paths.sort();
    Ok(paths)
}

/// The list beside an array: `<stem>_tracks.txt` or `.csv`, where ever more of the stem's parts
/// (`mel_30s_128x387_u8` → `mel_30s`) may be left out, at last `tracks.txt`.
pub(super) fn list_of(array: &Path, what: &str) -> Option<PathBuf> {
    let mut stem = array.file_stem()?.to_str()?.to_string();
    loop {
        for ending in ["txt", "tsv", "csv"] {
            let list = array.with_file_name(format!("{stem}_{what}.{ending}"));
            if list.is_file() {
                return Some(list);
            }
        }
        match stem.rfind('_') {
            Some(cut) => stem.truncate(cut),
            None => break,
        }
    }
    Some(array.with_file_name(format!("{what}.txt"))).filter(|p| p.is_file())
}

fn open_array(array: &Path) -> Result<(Store, Vec<Row>)> {
    if let Some(list) = list_of(array, "rows") {
        return open_patches(&[(array.to_path_buf(), list)]);
    }
    let list = list_of(array, "tracks").ok_or_else(|| {
        fault(
            array,
            ErrorKind::Unsupported,
            "no list beside it says which tracks its rows are (…_tracks.txt, or …_rows.txt for rows per patch)",
        )
    })?;
    let names = track_list(&list)?;
    let npy = NpyFile::open(array)?;
    let rows = npy.shape().first().copied().unwrap_or(0);
    if names.len() != rows {
        return Err(malformed(
            &list,
            format!("it names {} tracks, but {} has {rows} rows", names.len(), array.display()),
        ));
    }
    let flat = npy.shape().len() == 2;
    let store = if flat {
        let values: Vec<f64> = npy.read_all_f32()?.into_iter().map(f64::from).collect();
        let width = npy.shape()[1];
        if let Some(bad) = values.iter().position(|v| !v.is_finite()) {
            return Err(malformed(
                array,
                format!(
                    "value {} of array row {} is not a finite number",
                    bad % width,
                    bad / width
                ),
            ));
        }
        Store::Table(FeatureTable::new((0..width).map(|c| format!("v{c}")).collect(), values))
    } else {
        Store::Cache(Cache::open(array)?)
    };
    let rows = names
        .into_iter()
        .enumerate()
        .map(|(i, mut row)| {
            row.source = if flat { TrackSource::TableRow(i) } else { TrackSource::CacheRow(i) };
            row
        })
        .collect();
    Ok((store, rows))
}

/// The lines of a track list: `id`, `id<TAB>genre` or `id<TAB>genre<TAB>artist`; of a `.csv`
/// list, the column `track`. Without a genre the id begins with it, up to the first dot.
fn track_list(list: &Path) -> Result<Vec<Row>> {
    let table = list.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv"));
    let lines: Vec<Vec<String>> = if table {
        let table = Table::read(list)?;
        let column = table.need(list, &["track", "id", "filename", "path"])?;
        table.rows.into_iter().map(|mut row| vec![row.swap_remove(column)]).collect()
    } else {
        let lines = read_list(list)?;
        lines.iter().map(|l| l.split('\t').map(|f| f.trim().to_string()).collect()).collect()
    };
    let first = if table { 2 } else { 1 };
    let mut rows = Vec::with_capacity(lines.len());
    for (i, fields) in lines.into_iter().enumerate() {
        let line = i as u64 + first;
        let mut fields = fields.into_iter();
        let id = fields.next().unwrap_or_default();
        let genre = match fields.next().filter(|g| !g.is_empty()) {
            Some(genre) => genre,
            None => genre_of_id(&id)
                .ok_or_else(|| {
                    malformed(
                        list,
                        format!(
                            "`{id}` names no genre: neither `genre.number` nor a second column"
                        ),
                    )
                    .at_row(line)
                })?
                .to_string(),
        };
        let artist = fields.next().filter(|a| !a.is_empty());
        rows.push(Row { id, genre, artist, source: TrackSource::TableRow(i), line: Some(line) });
    }
    Ok(rows)
}

fn genre_of_id(id: &str) -> Option<&str> {
    id.split_once('.').map(|(genre, _)| genre).filter(|g| !g.is_empty())
}

fn open_patches(pairs: &[(PathBuf, PathBuf)]) -> Result<(Store, Vec<Row>)> {
    let (store, tracks) = PatchStore::open(pairs)?;
    let mut rows = Vec::with_capacity(tracks.len());
    for (id, range) in tracks {
        let genre = genre_of_id(&id)
            .ok_or_else(|| {
                malformed(
                    &pairs[range.file].1,
                    format!("`{id}` does not begin with a genre and a dot"),
                )
            })?
            .to_string();
        let line = Some(range.start as u64 + 1);
        rows.push(Row { id, genre, artist: None, source: TrackSource::Patches(range), line });
    }
    Ok((Store::Patches(store), rows))
}

fn genre_folders(root: &Path) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for folder in entries(root)?.into_iter().filter(|p| p.is_dir()) {
        let Some(genre) = folder.file_name().and_then(|n| n.to_str()) else { continue };
        let mut files = Vec::new();
        audio_below(&folder, MAX_DEPTH, &mut files)?;
        for file in files {
            let below =
                file.strip_prefix(root).unwrap_or(&file).to_string_lossy().replace('\\', "/");
            let id = gtzan_id(&below, genre).unwrap_or(below);
            let genre = genre.to_string();
            rows.push(Row {
                id,
                genre,
                artist: None,
                source: TrackSource::Audio(file),
                line: None,
            });
        }
    }
    Ok(rows)
}

fn audio_below(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<()> {
    for path in entries(folder)? {
        if path.is_dir() {
            if depth > 0 {
                audio_below(&path, depth - 1, files)?;
            }
        } else if is_audio(&path) {
            files.push(path);
        }
    }
    Ok(())
}

fn is_audio(path: &Path) -> bool {
    path.extension()
        .and_then(|e| e.to_str())
        .is_some_and(|e| AUDIO.iter().any(|a| e.eq_ignore_ascii_case(a)))
}

/// `…/blues.00000.wav` → `blues.00000`, for files named as in GTZAN.
fn gtzan_id(path: &str, genre: &str) -> Option<String> {
    let name = path.rsplit('/').next()?;
    let stem = Path::new(name).file_stem()?.to_str()?;
    let number = stem.strip_prefix(genre)?.strip_prefix('.')?;
    let digits = !number.is_empty() && number.chars().all(|c| c.is_ascii_digit() || c == '.');
    digits.then(|| stem.to_string())
}

/// `blues.00000.3` → `blues.00000`: the song of a segment, for ids of that form.
fn song_of(id: &str) -> &str {
    let mut parts = id.splitn(3, '.');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(genre), Some(number), Some(segment))
            if !genre.is_empty()
                && number.len() == 5
                && number.chars().all(|c| c.is_ascii_digit())
                && segment.chars().all(|c| c.is_ascii_digit()) =>
        {
            &id[..genre.len() + 6]
        }
        _ => id,
    }
}

fn open_table(path: &Path) -> Result<(Store, Vec<Row>)> {
    let table = Table::read(path)?;
    table.one_rate(path)?;
    let name = table.need(path, &["path", "filename", "file", "track", "id"])?;
    let label = table.need(path, &["label", "genre"])?;
    let artist = table.column(&["artist"]);
    let features = table.feature_columns();
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut rows = Vec::with_capacity(table.rows.len());
    for (r, row) in table.rows.iter().enumerate() {
        let line = Table::line(r);
        for c in [name, label] {
            if row[c].is_empty() {
                return Err(malformed(path, "the field is empty")
                    .at_row(line)
                    .at_column(&table.columns[c]));
            }
        }
        let id = gtzan_id(&row[name].replace('\\', "/"), &row[label])
            .unwrap_or_else(|| row[name].clone());
        let source = if features.is_empty() {
            TrackSource::Audio(folder.join(&row[name]))
        } else {
            TrackSource::TableRow(r)
        };
        rows.push(Row {
            id,
            genre: row[label].clone(),
            artist: artist.map(|c| row[c].clone()).filter(|a| !a.is_empty()),
            source,
            line: Some(line),
        });
    }
    let mut counts: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
    for row in &rows {
        let entry = counts.entry(&row.genre).or_insert((0, row.line.unwrap_or(0)));
        entry.0 += 1;
    }
    if let Some((genre, (_, line))) = counts.iter().find(|(_, (count, _))| *count == 1) {
        return Err(fault(
            path,
            ErrorKind::TooShort,
            format!("`{genre}` is the label of this row alone; a genre needs at least 2 rows to be learnt and tested"),
        )
        .at_row(*line)
        .at_column(&table.columns[label]));
    }
    let store = if features.is_empty() {
        Store::Audio
    } else {
        Store::Table(table.numbers(path, &features)?)
    };
    Ok((store, rows))
}

fn assemble(path: &Path, companions: Companions, store: Store, rows: Vec<Row>) -> Result<Dataset> {
    let genres: Vec<String> =
        rows.iter().map(|r| r.genre.clone()).collect::<BTreeSet<_>>().into_iter().collect();
    let artists = match &companions.annotations {
        Some(folder) => artists(&folder.join("artist_title.csv"))?,
        None => HashMap::new(),
    };
    let known_duplicates = match &companions.annotations {
        Some(folder) => pairs(&folder.join("exact_duplicates.csv"))?,
        None => Vec::new(),
    };
    let mut index = HashMap::with_capacity(rows.len());
    let mut tracks: Vec<Track> = Vec::with_capacity(rows.len());
    for row in rows {
        let position = tracks.len();
        if let Some(earlier) = index.insert(row.id.clone(), position) {
            let before = match tracks[earlier].line {
                Some(line) => format!("in row {line}"),
                None => "before".to_string(),
            };
            let error =
                malformed(path, format!("`{}` is listed twice: it was {before} already", row.id));
            return Err(match row.line {
                Some(line) => error.at_row(line),
                None => error,
            });
        }
        let song = song_of(&row.id).to_string();
        let artist = row.artist.or_else(|| artists.get(&song).cloned());
        let genre = genres.binary_search(&row.genre).unwrap_or_default();
        tracks.push(Track { id: row.id, song, genre, artist, source: row.source, line: row.line });
    }
    if tracks.is_empty() {
        return Err(fault(path, ErrorKind::TooShort, "the dataset has no tracks"));
    }
    Ok(Dataset {
        genres,
        tracks,
        origin: path.to_path_buf(),
        companions,
        known_duplicates,
        store,
        index,
    })
}

/// Track → artist, those known.
fn artists(path: &Path) -> Result<HashMap<String, String>> {
    if !path.is_file() {
        return Ok(HashMap::new());
    }
    let table = Table::read(path)?;
    let track = table.need(path, &["track", "id", "path"])?;
    let artist = table.need(path, &["artist"])?;
    Ok(table
        .rows
        .into_iter()
        .filter(|row| !row[artist].is_empty())
        .map(|row| (row[track].clone(), row[artist].clone()))
        .collect())
}

fn pairs(path: &Path) -> Result<Vec<(String, String)>> {
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let table = Table::read(path)?;
    let (a, b) = (table.need(path, &["track_a"])?, table.need(path, &["track_b"])?);
    Ok(table.rows.into_iter().map(|row| (row[a].clone(), row[b].clone())).collect())
}

//! Who is learnt from, who is chosen by, who is tested on.
//!
//! | name | what is split |
//! |---|---|
//! | `fault-filtered` (or any `<name>` with lists in `splits/`) | songs, by list |
//! | `strict` | `fault-filtered` without the test songs whose artist is also in train |
//! | `random-song` | songs at random, the same share of each genre |
//! | `random-segment` | segments at random: parts of one song land on both sides. **Leaky** |

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;

use super::Dataset;
use super::error::{ErrorKind, Result, fault, malformed};
use super::patches::read_list;
use crate::rng::Rng;

/// Indices into [`Dataset::tracks`], each side sorted, none in two sides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// Name of the protocol.
    pub name: String,
    /// Learnt from.
    pub train: Vec<usize>,
    /// Chosen by: early stopping, temperature, settings. May be empty.
    pub valid: Vec<usize>,
    /// Tested on.
    pub test: Vec<usize>,
    /// Ids of the lists that this dataset does not have.
    pub absent: Vec<String>,
}

/// The parts of a random split; their ratio counts, not their sum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shares {
    /// Part learnt from.
    pub train: f64,
    /// Part chosen by.
    pub valid: f64,
    /// Part tested on.
    pub test: f64,
}

impl Default for Shares {
    /// 80 / 10 / 10.
    fn default() -> Self {
        Self { train: 80.0, valid: 10.0, test: 10.0 }
    }
}

/// What must not be on both sides of a fold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Songs of one artist; a song without a known artist is on its own. So are the songs of a genre
    /// that has only one artist ([`Dataset::lone_artists`]): together they would leave no fold to learn it from.
    Artist,
    /// Segments of one song.
    Song,
}

/// One segment (window) of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Segment {
    /// Index into [`Dataset::tracks`].
    pub track: usize,
    /// Which of the track's segments.
    pub index: usize,
}

/// A split of segments, not songs: the leaky protocol `random-segment`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentSplit {
    /// Learnt from.
    pub train: Vec<Segment>,
    /// Chosen by.
    pub valid: Vec<Segment>,
    /// Tested on.
    pub test: Vec<Segment>,
}

impl Dataset {
    /// The split of a name: `all` (every track is a test track), `strict`, `random-song`, `random-segment` (for tables with a row per
    /// segment), or one whose lists are in `splits/`, such as `fault-filtered`. Random ones take
    /// shares and a seed: `random-song:70/10/20@7`; without, 80/10/10 and seed 0.
    ///
    /// # Errors
    /// A name without lists, an empty side, lists that contradict each other.
    pub fn split(&self, name: &str) -> Result<Split> {
        let (kind, shares, seed) =
            parse(name).map_err(|m| fault(&self.origin, ErrorKind::Malformed, m))?;
        let split = match kind {
            "strict" => {
                let mut split = self.listed("fault-filtered")?;
                let leaked: HashSet<usize> = self.shared_artist(&split).into_iter().collect();
                split.test.retain(|t| !leaked.contains(t));
                split.name = name.to_string();
                split
            }
            "all" => Split {
                name: name.to_string(),
                train: Vec::new(),
                valid: Vec::new(),
                test: (0..self.tracks.len()).collect(),
                absent: Vec::new(),
            },
            "random-song" => self.random(name, shares, seed, |d, t| d.tracks[t].song.clone())?,
            "random-segment" => {
                if self.tracks.iter().all(|t| t.song == t.id) {
                    return Err(fault(
                        &self.origin,
                        ErrorKind::Unsupported,
                        "random-segment splits segments, and each track here is a whole song; cut songs into segments first",
                    ));
                }
                self.random(name, shares, seed, |d, t| d.tracks[t].id.clone())?
            }
            _ => self.listed(name)?,
        };
        for (side, tracks) in [("train", &split.train), ("test", &split.test)] {
            if tracks.is_empty() && kind != "all" {
                return Err(fault(
                    &self.origin,
                    ErrorKind::TooShort,
                    format!(
                        "the {side} side of `{name}` is empty: none of its tracks is in this dataset"
                    ),
                ));
            }
        }
        Ok(split)
    }

    /// Shares and seed of a split of the name `random-segment`, where tracks are whole songs that
    /// are still to be cut; none for any other split, and where the tracks are segments already.
    ///
    /// # Errors
    /// Shares or a seed that are none.
    pub fn segment_split(&self, name: &str) -> Result<Option<(Shares, u64)>> {
        let (kind, shares, seed) =
            parse(name).map_err(|m| fault(&self.origin, ErrorKind::Malformed, m))?;
        let whole = self.tracks.iter().all(|t| t.song == t.id);
        Ok((kind == "random-segment" && whole).then_some((shares, seed)))
    }

    /// Names of the splits whose lists are in `splits/`.
    pub fn listed_splits(&self) -> Vec<String> {
        self.companions.splits.as_deref().map(lists).unwrap_or_default()
    }

    fn listed(&self, name: &str) -> Result<Split> {
        let Some(folder) = &self.companions.splits else {
            return Err(fault(
                &self.origin,
                ErrorKind::Unsupported,
                format!(
                    "there is no split `{name}`: no folder `splits` lies beside it (without lists: random-song, or cross-validation)"
                ),
            ));
        };
        let stem = name.replace('-', "_");
        let mut split = Split { name: name.to_string(), ..Split::default() };
        let mut side_of: HashMap<String, &str> = HashMap::new();
        for side in ["train", "valid", "test"] {
            let list = folder.join(format!("{stem}_{side}.txt"));
            if !list.is_file() {
                if side == "valid" {
                    continue;
                }
                return Err(fault(
                    &list,
                    ErrorKind::Unsupported,
                    format!(
                        "the split `{name}` needs this list; known are {}",
                        known(folder).join(", ")
                    ),
                ));
            }
            for (i, id) in read_list(&list)?.into_iter().enumerate() {
                if let Some(other) = side_of.insert(id.clone(), side) {
                    return Err(malformed(&list, format!("`{id}` is already in {other}"))
                        .at_row(i as u64 + 1));
                }
            }
        }
        let mut met = HashSet::new();
        for (t, track) in self.tracks.iter().enumerate() {
            let Some((id, side)) = side_of.get_key_value(&track.song) else { continue };
            met.insert(id);
            match *side {
                "train" => split.train.push(t),
                "valid" => split.valid.push(t),
                _ => split.test.push(t),
            }
        }
        split.absent = side_of.keys().filter(|id| !met.contains(id)).cloned().collect();
        split.absent.sort();
        Ok(split)
    }

    /// Test tracks of a split whose artist is also in its train side.
    pub fn shared_artist(&self, split: &Split) -> Vec<usize> {
        let train: HashSet<&str> =
            split.train.iter().filter_map(|&t| self.tracks[t].artist.as_deref()).collect();
        let met = |t: &usize| self.tracks[*t].artist.as_deref().is_some_and(|a| train.contains(a));
        split.test.iter().copied().filter(met).collect()
    }

    /// Units with the same share of each genre on each side.
    fn random(
        &self,
        name: &str,
        shares: Shares,
        seed: u64,
        unit: impl Fn(&Self, usize) -> String,
    ) -> Result<Split> {
        let mut units: Vec<BTreeMap<String, Vec<usize>>> = vec![BTreeMap::new(); self.genres.len()];
        for (t, track) in self.tracks.iter().enumerate() {
            units[track.genre].entry(unit(self, t)).or_default().push(t);
        }
        let mut split = Split { name: name.to_string(), ..Split::default() };
        for (genre, units) in units.into_iter().enumerate() {
            let mut units: Vec<Vec<usize>> = units.into_values().collect();
            Rng::at(&[seed, 0x5911, genre as u64]).shuffle(&mut units);
            let (train, valid) = cuts(units.len(), shares);
            for (i, tracks) in units.into_iter().enumerate() {
                let side = if i < train {
                    &mut split.train
                } else if i < valid {
                    &mut split.valid
                } else {
                    &mut split.test
                };
                side.extend(tracks);
            }
        }
        for side in [&mut split.train, &mut split.valid, &mut split.test] {
            side.sort_unstable();
        }
        Ok(split)
    }

    /// The leaky protocol at the level of windows: every window of every track at random, with
    /// the same share of each genre. `segments[i]` is the number of windows of `tracks[i]`.
    ///
    /// # Panics
    /// When the two lists differ in length: a bug of the caller.
    pub fn random_segments(
        &self,
        tracks: &[usize],
        segments: &[usize],
        shares: Shares,
        seed: u64,
    ) -> SegmentSplit {
        assert_eq!(tracks.len(), segments.len(), "tracks and their numbers of segments differ");
        let mut by_genre: Vec<Vec<Segment>> = vec![Vec::new(); self.genres.len()];
        for (&track, &count) in tracks.iter().zip(segments) {
            let genre = self.tracks[track].genre;
            by_genre[genre].extend((0..count).map(|index| Segment { track, index }));
        }
        let mut split = SegmentSplit::default();
        for (genre, mut all) in by_genre.into_iter().enumerate() {
            Rng::at(&[seed, 0x5912, genre as u64]).shuffle(&mut all);
            let (train, valid) = cuts(all.len(), shares);
            split.train.extend(&all[..train]);
            split.valid.extend(&all[train..valid]);
            split.test.extend(&all[valid..]);
        }
        for side in [&mut split.train, &mut split.valid, &mut split.test] {
            side.sort_unstable();
        }
        split
    }

    /// Cross-validation over all tracks; see [`Self::k_fold_of`].
    ///
    /// # Errors
    /// As [`Self::k_fold_of`].
    pub fn k_fold(&self, k: usize, group: Group, seed: u64) -> Result<Vec<Split>> {
        let all: Vec<usize> = (0..self.tracks.len()).collect();
        self.k_fold_of(&all, k, group, seed)
    }

    /// `k` splits of some tracks (say, of a train side), each track tested exactly once. Groups
    /// stay together — known copies of one recording count as one song — and genres are
    /// spread evenly. The validation sides are empty.
    ///
    /// # Errors
    /// Fewer than 2 folds, or fewer groups than folds.
    pub fn k_fold_of(
        &self,
        tracks: &[usize],
        k: usize,
        group: Group,
        seed: u64,
    ) -> Result<Vec<Split>> {
        let mut groups = self.groups(tracks, group);
        if k < 2 || groups.len() < k {
            return Err(fault(
                &self.origin,
                ErrorKind::TooShort,
                format!(
                    "{k} folds were asked of {} groups; at least 2 folds, and a group for each, are needed",
                    groups.len()
                ),
            ));
        }
        // Large groups first, so that small ones can even out what they leave.
        Rng::at(&[seed, 0xf01d]).shuffle(&mut groups);
        groups.sort_by_key(|g| std::cmp::Reverse(g.len()));
        let genres = self.genres.len();
        let mut totals = vec![0usize; genres];
        tracks.iter().for_each(|&t| totals[self.tracks[t].genre] += 1);
        let mut counts = vec![vec![0usize; genres]; k];
        let mut folds: Vec<Vec<usize>> = vec![Vec::new(); k];
        for members in groups {
            let mut of_genre = vec![0usize; genres];
            members.iter().for_each(|&t| of_genre[self.tracks[t].genre] += 1);
            // The fold whose shares of these genres are smallest; the emptiest of equals.
            let fill = |f: usize| -> f64 {
                (0..genres)
                    .filter(|&g| of_genre[g] > 0)
                    .map(|g| {
                        (counts[f][g] + of_genre[g]) as f64 / totals[g] as f64 * of_genre[g] as f64
                    })
                    .sum()
            };
            let best = (0..k)
                .min_by(|&a, &b| {
                    fill(a).total_cmp(&fill(b)).then(folds[a].len().cmp(&folds[b].len()))
                })
                .unwrap_or(0);
            (0..genres).for_each(|g| counts[best][g] += of_genre[g]);
            folds[best].extend(members);
        }
        Ok((0..k)
            .map(|f| {
                let mut test = folds[f].clone();
                let mut train: Vec<usize> =
                    (0..k).filter(|&o| o != f).flat_map(|o| folds[o].iter().copied()).collect();
                test.sort_unstable();
                train.sort_unstable();
                Split { name: format!("fold {} of {k}", f + 1), train, test, ..Split::default() }
            })
            .collect())
    }

    /// Genres whose songs among `tracks` are all by one artist, with that artist: no grouping by artist
    /// can learn such a genre from one song and test it on another.
    pub fn lone_artists(&self, tracks: &[usize]) -> Vec<(&str, &str)> {
        let mut artists: Vec<BTreeSet<Option<&str>>> = vec![BTreeSet::new(); self.genres.len()];
        for &t in tracks {
            artists[self.tracks[t].genre].insert(self.tracks[t].artist.as_deref());
        }
        let named = self.genres.iter().map(String::as_str).zip(&artists);
        named
            .filter(|(_, of)| of.len() == 1)
            .filter_map(|(genre, of)| Some((genre, (*of.first()?)?)))
            .collect()
    }

    /// Tracks that must stay together, in an order fixed by the dataset.
    pub fn groups(&self, tracks: &[usize], group: Group) -> Vec<Vec<usize>> {
        let mut parent: Vec<usize> = (0..self.tracks.len()).collect();
        fn root(parent: &mut [usize], mut i: usize) -> usize {
            while parent[i] != i {
                parent[i] = parent[parent[i]];
                i = parent[i];
            }
            i
        }
        let join = |parent: &mut [usize], a: usize, b: usize| {
            let (a, b) = (root(parent, a), root(parent, b));
            parent[a.max(b)] = a.min(b);
        };
        let lone: HashSet<&str> = match group {
            Group::Artist => self.lone_artists(tracks).into_iter().map(|(_, a)| a).collect(),
            Group::Song => HashSet::new(),
        };
        let mut first_of: HashMap<&str, usize> = HashMap::new();
        let mut of_song: HashMap<&str, usize> = HashMap::new();
        for (t, track) in self.tracks.iter().enumerate() {
            let first = *of_song.entry(&track.song).or_insert(t);
            join(&mut parent, t, first);
            if let (Group::Artist, Some(artist)) = (group, &track.artist)
                && !lone.contains(artist.as_str())
            {
                let first = *first_of.entry(artist).or_insert(t);
                join(&mut parent, t, first);
            }
        }
        for (a, b) in &self.known_duplicates {
            if let (Some(&a), Some(&b)) = (of_song.get(a.as_str()), of_song.get(b.as_str())) {
                join(&mut parent, a, b);
            }
        }
        let mut groups: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for &t in tracks {
            groups.entry(root(&mut parent, t)).or_default().insert(t);
        }
        groups.into_values().map(|g| g.into_iter().collect()).collect()
    }
}

/// Ends of the train and the validation part of `count` things.
fn cuts(count: usize, shares: Shares) -> (usize, usize) {
    let sum = shares.train + shares.valid + shares.test;
    let train = (count as f64 * shares.train / sum).round() as usize;
    let valid = (count as f64 * (shares.train + shares.valid) / sum).round() as usize;
    (train.min(count), valid.clamp(train.min(count), count))
}

/// `kind[:train/valid/test][@seed]`.
fn parse(name: &str) -> std::result::Result<(&str, Shares, u64), String> {
    let (rest, seed) = match name.split_once('@') {
        Some((rest, seed)) => (
            rest,
            seed.parse()
                .map_err(|_| format!("`{seed}` in `{name}` is no seed (a whole number)"))?,
        ),
        None => (name, 0),
    };
    let Some((kind, parts)) = rest.split_once(':') else {
        return Ok((rest, Shares::default(), seed));
    };
    let numbers: Vec<f64> = parts
        .split('/')
        .filter_map(|p| p.parse().ok())
        .filter(|v: &f64| v.is_finite() && *v >= 0.0)
        .collect();
    match numbers[..] {
        [train, valid, test] if train > 0.0 && test > 0.0 && parts.split('/').count() == 3 => {
            Ok((kind, Shares { train, valid, test }, seed))
        }
        _ => Err(format!(
            "`{parts}` in `{name}` are no shares: three numbers such as 70/10/20 are needed, train and test above 0"
        )),
    }
}

/// Names of the splits in a folder, and those that need no lists.
fn known(folder: &Path) -> Vec<String> {
    let mut names = lists(folder);
    names.extend(["strict", "random-song"].map(String::from));
    names
}

fn lists(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| Some(e.file_name().to_str()?.strip_suffix("_train.txt")?.replace('_', "-")))
        .collect();
    names.sort();
    names
}

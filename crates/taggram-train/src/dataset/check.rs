//! What is wrong with a dataset, and why it matters: before anything is learnt from it.

use std::collections::{BTreeMap, HashMap};

use rayon::prelude::*;
use serde::Serialize;

use super::error::{ErrorKind, Result, fault};
use super::fingerprint::{Fingerprint, find_copies};
use super::scan::{Scan, scan};
use super::{Dataset, Split, Track, TrackSource};

/// A clip with a larger share of clipped samples is reported: one in a thousand can be heard.
const CLIPPED: f64 = 1e-3;
/// A clip that is silent for a larger share is reported.
const SILENT: f64 = 0.5;
/// A clip shorter than this cannot fill one patch of a model, seconds.
const SHORT_S: f64 = 3.0;
/// A clip shorter than this share of the median is reported too.
const SHORT_SHARE: f64 = 0.5;

/// What sort of fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// A file that cannot be decoded.
    Unreadable,
    /// A file that could only be decoded in part.
    Damaged,
    /// Nothing, or mostly nothing, to be heard.
    Silent,
    /// Peaks cut off at full scale.
    Clipped,
    /// Too little music.
    TooShort,
    /// Another sample rate than most.
    OddRate,
    /// Two tracks of equal content.
    ExactDuplicate,
    /// Two tracks of one recording.
    NearDuplicate,
    /// Two tracks of one recording, with different genres.
    DuplicateAcrossGenres,
    /// An artist on two sides of a split.
    SharedArtist,
}

impl FindingKind {
    fn heading(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Damaged => "damaged",
            Self::Silent => "silent",
            Self::Clipped => "clipped",
            Self::TooShort => "too short",
            Self::OddRate => "odd sample rate",
            Self::ExactDuplicate => "exact duplicates",
            Self::NearDuplicate => "near duplicates",
            Self::DuplicateAcrossGenres => "duplicates across genres",
            Self::SharedArtist => "artists on two sides of a split",
        }
    }
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// What sort.
    pub kind: FindingKind,
    /// Ids of the tracks concerned.
    pub tracks: Vec<String>,
    /// What was found and why it matters, a sentence or two.
    pub explanation: String,
}

/// The faults of a dataset.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CheckReport {
    /// Number of tracks looked at.
    pub tracks: usize,
    /// What could not be checked here, and why.
    pub not_checked: Vec<String>,
    /// The faults, by kind, then in the order of the dataset.
    pub findings: Vec<Finding>,
}

/// What to check.
#[derive(Clone, Debug, Default)]
pub struct CheckOptions {
    /// Splits whose sides are compared; all that have lists when empty.
    pub splits: Vec<String>,
    /// Workers; as many as there are cores when 0.
    pub jobs: usize,
}

/// Looks for unreadable, damaged, silent, clipped and short clips and odd sample rates (audio only),
/// for copies of one recording (audio and feature caches; in feature tables only equal rows), and for
/// artists on two sides of a split. `progress` is called after each track.
///
/// # Errors
/// A split that was asked for and does not exist. Faults of the data are findings, not errors.
pub fn check(
    dataset: &Dataset,
    options: &CheckOptions,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<CheckReport> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(options.jobs).build().map_err(|e| {
        fault(&dataset.origin, ErrorKind::Overloaded, format!("cannot start workers: {e}"))
    })?;
    let splits = splits(dataset, options)?;
    let mut report =
        CheckReport { tracks: dataset.len(), not_checked: Vec::new(), findings: Vec::new() };
    let listened = dataset.tracks.iter().any(|t| matches!(t.source, TrackSource::Audio(_)));
    let mapped = dataset.cache().is_some();
    if listened || mapped {
        let scans: Vec<Result<Scan>> = pool.install(|| {
            let one = |track: &Track| {
                let found = scan(dataset, track);
                progress(&track.id);
                found
            };
            dataset.tracks.par_iter().map(one).collect()
        });
        sound(dataset, &scans, &mut report);
        pool.install(|| duplicates(dataset, &scans, &splits, &mut report));
    } else {
        equal_rows(dataset, &splits, &mut report);
    }
    if !listened {
        report.not_checked.push(
            "clipping, length, sample rate and damage: there is no audio here, only what was made of it".into(),
        );
    }
    if splits.is_empty() {
        report.not_checked.push("sides of splits: no lists of splits were found".into());
    } else if dataset.tracks.iter().all(|t| t.artist.is_none()) {
        report.not_checked.push("artists on two sides: no artist is known".into());
    }
    for split in &splits {
        shared_artists(dataset, split, &mut report);
    }
    report.findings.sort_by_key(|f| f.kind);
    Ok(report)
}

fn splits(dataset: &Dataset, options: &CheckOptions) -> Result<Vec<Split>> {
    if !options.splits.is_empty() {
        return options.splits.iter().map(|name| dataset.split(name)).collect();
    }
    // Lists that name none of these tracks belong to another part of the data.
    Ok(dataset.listed_splits().iter().filter_map(|name| dataset.split(name).ok()).collect())
}

fn sound(dataset: &Dataset, scans: &[Result<Scan>], report: &mut CheckReport) {
    let found: Vec<&Scan> = scans.iter().flatten().collect();
    let median = median(found.iter().filter_map(|s| s.duration_s).collect());
    let usual = most_common(found.iter().filter_map(|s| s.rate));
    for (track, scan) in dataset.tracks.iter().zip(scans) {
        let mut add = |kind, explanation: String| {
            report.findings.push(Finding { kind, tracks: vec![track.id.clone()], explanation });
        };
        let scan = match scan {
            Ok(scan) => scan,
            Err(e) => {
                add(
                    FindingKind::Unreadable,
                    format!("It cannot be read and teaches nothing: {}", e.message),
                );
                continue;
            }
        };
        if let Some(warning) = scan.warnings.first() {
            let more = match scan.warnings.len() - 1 {
                0 => String::new(),
                n => format!(" (and {n} more)"),
            };
            add(FindingKind::Damaged, format!("The decoder noticed: {warning}{more}"));
        }
        if scan.silent >= 1.0 {
            add(
                FindingKind::Silent,
                "There is nothing to be heard; any label on it is wrong.".into(),
            );
        } else if scan.silent > SILENT {
            add(
                FindingKind::Silent,
                format!(
                    "{:.0} % of it is below −60 dB: silence would be learnt as its genre.",
                    scan.silent * 100.0
                ),
            );
        }
        if scan.clipped > CLIPPED {
            add(
                FindingKind::Clipped,
                format!(
                    "{:.1} % of its samples are cut off at full scale (runs of 3 or more); a model may learn the distortion instead of the music.",
                    scan.clipped * 100.0
                ),
            );
        }
        if let (Some(duration), Some(median)) = (scan.duration_s, median) {
            if duration < SHORT_S {
                add(
                    FindingKind::TooShort,
                    format!("It lasts {duration:.2} s; a patch of most models needs {SHORT_S} s."),
                );
            } else if duration < SHORT_SHARE * median {
                add(
                    FindingKind::TooShort,
                    format!(
                        "It lasts {duration:.1} s, less than half of the median of {median:.1} s: it counts for less than the others."
                    ),
                );
            }
        }
        if let (Some(rate), Some(usual)) = (scan.rate, usual)
            && rate != usual
        {
            add(
                FindingKind::OddRate,
                format!(
                    "Its rate is {rate} Hz, of most others {usual} Hz: what resampling leaves of it can give its source away."
                ),
            );
        }
    }
}

fn duplicates(
    dataset: &Dataset,
    scans: &[Result<Scan>],
    splits: &[Split],
    report: &mut CheckReport,
) {
    let read: Vec<(usize, &Scan)> =
        scans.iter().enumerate().filter_map(|(t, s)| Some((t, s.as_ref().ok()?))).collect();
    let prints: Vec<Fingerprint> = read.iter().map(|(_, s)| s.print.clone()).collect();
    let mut pairs: BTreeMap<(usize, usize), String> = BTreeMap::new();
    for copy in find_copies(&prints) {
        let ((a, first), (b, second)) = (read[copy.a], read[copy.b]);
        if first.hash == second.hash {
            continue;
        }
        let when = if copy.shift_s.abs() < 0.05 {
            "at the same time".to_string()
        } else {
            let side = if copy.shift_s > 0.0 { "later" } else { "earlier" };
            format!("{:.2} s {side} in the second", copy.shift_s.abs())
        };
        pairs.insert(
            (a, b),
            format!(
                "The same recording, {when}: {:.0} % of the bits of their fingerprints agree over {:.0} s (strangers: about 50 %).",
                (1.0 - copy.error) * 100.0,
                copy.overlap_s
            ),
        );
    }
    // Equal content is told by its hash, also where it is too short or too silent for a fingerprint.
    let mut first_of: HashMap<u64, usize> = HashMap::new();
    let mut exact = Vec::new();
    for &(t, scan) in read.iter().filter(|(_, s)| s.silent < 1.0) {
        match first_of.get(&scan.hash) {
            Some(&first) => exact.push((first, t)),
            None => {
                first_of.insert(scan.hash, t);
            }
        }
    }
    for (a, b) in exact {
        add_pair(
            dataset,
            splits,
            report,
            (a, b),
            FindingKind::ExactDuplicate,
            "Their content is identical.",
        );
    }
    for ((a, b), sentence) in pairs {
        add_pair(dataset, splits, report, (a, b), FindingKind::NearDuplicate, &sentence);
    }
}

fn equal_rows(dataset: &Dataset, splits: &[Split], report: &mut CheckReport) {
    let columns = dataset.feature_names().len();
    if columns == 0 {
        report
            .not_checked
            .push("duplicates: there is neither audio nor a map or table of features".into());
        return;
    }
    report.not_checked.push(
        "near duplicates: a table of features has no fingerprint, so only equal rows are found"
            .into(),
    );
    let mut first_of: HashMap<Vec<u64>, usize> = HashMap::new();
    for (t, track) in dataset.tracks.iter().enumerate() {
        let Ok(row) = dataset.features(track) else { continue };
        match first_of.entry(row.iter().map(|v| v.to_bits()).collect()) {
            std::collections::hash_map::Entry::Occupied(first) => {
                let sentence = format!("All their {columns} features are equal.");
                add_pair(
                    dataset,
                    splits,
                    report,
                    (*first.get(), t),
                    FindingKind::ExactDuplicate,
                    &sentence,
                );
            }
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(t);
            }
        }
    }
}

fn add_pair(
    dataset: &Dataset,
    splits: &[Split],
    report: &mut CheckReport,
    (a, b): (usize, usize),
    kind: FindingKind,
    sentence: &str,
) {
    let (first, second) = (&dataset.tracks[a], &dataset.tracks[b]);
    let mut explanation = sentence.to_string();
    let mut kind = kind;
    if first.genre != second.genre {
        kind = FindingKind::DuplicateAcrossGenres;
        explanation += &format!(
            " One is labelled {}, the other {}: at most one label is right.",
            dataset.genres[first.genre], dataset.genres[second.genre]
        );
    }
    for split in splits {
        if let (Some(x), Some(y)) = (side(split, a), side(split, b))
            && x != y
        {
            explanation += &format!(
                " In `{}` they are in {x} and {y}: the score is told the answer.",
                split.name
            );
        }
    }
    let tracks = vec![first.id.clone(), second.id.clone()];
    report.findings.push(Finding { kind, tracks, explanation });
}

fn side(split: &Split, track: usize) -> Option<&'static str> {
    [("train", &split.train), ("valid", &split.valid), ("test", &split.test)]
        .into_iter()
        .find_map(|(name, side)| side.binary_search(&track).is_ok().then_some(name))
}

fn shared_artists(dataset: &Dataset, split: &Split, report: &mut CheckReport) {
    let mut of_artist: BTreeMap<&str, BTreeMap<&str, Vec<&Track>>> = BTreeMap::new();
    for (t, track) in dataset.tracks.iter().enumerate() {
        if let (Some(artist), Some(side)) = (&track.artist, side(split, t)) {
            of_artist.entry(artist).or_default().entry(side).or_default().push(track);
        }
    }
    for (artist, sides) in of_artist.iter().filter(|(_, sides)| sides.len() > 1) {
        let counts: Vec<String> = ["train", "valid", "test"]
            .iter()
            .filter_map(|s| Some(format!("{} in {s}", sides.get(s)?.len())))
            .collect();
        let why = if sides.contains_key("train") && sides.contains_key("test") {
            "a model can score on the test songs by knowing the artist instead of the genre (`strict` leaves such test songs out)"
        } else if sides.contains_key("test") {
            "settings are chosen on songs of an artist who is also tested"
        } else {
            "the validation score, by which settings are chosen, is too good"
        };
        report.findings.push(Finding {
            kind: FindingKind::SharedArtist,
            tracks: sides.values().flatten().map(|t| t.id.clone()).collect(),
            explanation: format!(
                "{artist} is on several sides of `{}` ({}): {why}.",
                split.name,
                counts.join(", ")
            ),
        });
    }
}

impl CheckReport {
    /// The report for a person: findings under headings, then what was not checked.
    pub fn to_text(&self) -> String {
        let mut text = match self.findings.len() {
            0 => format!("{} tracks, nothing found.\n", self.tracks),
            n => format!("{} tracks, {n} findings.\n", self.tracks),
        };
        let mut heading = None;
        for finding in &self.findings {
            if heading != Some(finding.kind) {
                let count = self.findings.iter().filter(|f| f.kind == finding.kind).count();
                text += &format!("\n{} ({count})\n", finding.kind.heading());
                heading = Some(finding.kind);
            }
            let shown = finding.tracks.iter().take(6).cloned().collect::<Vec<_>>().join(", ");
            let more = match finding.tracks.len().saturating_sub(6) {
                0 => String::new(),
                n => format!(" and {n} more"),
            };
            text += &format!("  {shown}{more}\n    {}\n", finding.explanation);
        }
        if !self.not_checked.is_empty() {
            text += "\nnot checked\n";
            for what in &self.not_checked {
                text += &format!("  {what}\n");
            }
        }
        text
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn most_common(values: impl Iterator<Item = u32>) -> Option<u32> {
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    values.for_each(|v| *counts.entry(v).or_default() += 1);
    counts.into_iter().max_by_key(|&(_, count)| count).map(|(value, _)| value)
}

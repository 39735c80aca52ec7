//! The check must find what was put there, and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::check::*;
use super::tests::{real, toy, wav};
use super::*;
use crate::rng::Rng;

const RATE: u32 = 22_050;

/// Something like music: notes of random pitch and length with overtones, over noise.
fn music(seed: u64, seconds: f64) -> Vec<f32> {
    let mut rng = Rng::at(&[seed]);
    let mut samples = vec![0f32; (f64::from(RATE) * seconds) as usize];
    let mut at = 0;
    while at < samples.len() {
        let length = (f64::from(RATE) * (0.1 + 0.4 * f64::from(rng.unit()))) as usize;
        for _ in 0..3 {
            let hz = 110.0 * 2f32.powf(rng.below(48) as f32 / 12.0);
            let loud = 0.05 + 0.1 * rng.unit();
            for (i, s) in samples[at..].iter_mut().take(2 * length).enumerate() {
                let t = i as f32 / RATE as f32;
                let decay = (-4.0 * t).exp() * loud;
                *s += (1..5)
                    .map(|k| (std::f32::consts::TAU * hz * k as f32 * t).sin() / k as f32)
                    .sum::<f32>()
                    * decay;
            }
        }
        at += length;
    }
    samples.iter_mut().for_each(|s| *s = (*s + 0.01 * rng.normal()).clamp(-0.95, 0.95));
    samples
}

fn pairs(report: &CheckReport) -> BTreeSet<(String, String)> {
    let pair = |f: &Finding| (f.tracks[0].clone(), f.tracks[1].clone());
    let duplicate = |f: &&Finding| {
        matches!(
            f.kind,
            FindingKind::ExactDuplicate
                | FindingKind::NearDuplicate
                | FindingKind::DuplicateAcrossGenres
        )
    };
    report.findings.iter().filter(duplicate).map(pair).collect()
}

#[test]
fn faults_of_audio_are_found_and_explained() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, samples: &[f32]| wav(&folder.path().join(name), RATE, samples);
    for i in 0..4 {
        put(&format!("jazz/good{i}.wav"), &music(i, 12.0));
    }
    put("jazz/silent.wav", &vec![0.0; RATE as usize * 12]);
    let loud: Vec<f32> = music(9, 12.0).iter().map(|s| s * 20.0).collect();
    put("rock/clipped.wav", &loud);
    put("rock/short.wav", &music(8, 1.0));
    wav(&folder.path().join("rock/rate.wav"), 44_100, &music(7, 24.0));
    fs::write(folder.path().join("rock/broken.mp3"), b"this is no music").unwrap();
    // A copy: 1 s later, quieter, coarsely quantised (as 8 bits are), another genre.
    let copy: Vec<f32> =
        music(0, 12.0)[RATE as usize..].iter().map(|s| (s * 0.4 * 127.0).round() / 127.0).collect();
    put("rock/copy.wav", &copy);
    fs::copy(folder.path().join("jazz/good1.wav"), folder.path().join("jazz/same.wav")).unwrap();

    let dataset = Dataset::open(folder.path()).unwrap();
    let report = check(&dataset, &CheckOptions::default(), &|_| ()).unwrap();
    let found: BTreeSet<(FindingKind, String)> =
        report.findings.iter().map(|f| (f.kind, f.tracks.join(" "))).collect();
    let expected = BTreeSet::from(
        [
            (FindingKind::Unreadable, "rock/broken.mp3"),
            (FindingKind::Silent, "jazz/silent.wav"),
            (FindingKind::Clipped, "rock/clipped.wav"),
            (FindingKind::TooShort, "rock/short.wav"),
            (FindingKind::OddRate, "rock/rate.wav"),
            (FindingKind::ExactDuplicate, "jazz/good1.wav jazz/same.wav"),
            (FindingKind::DuplicateAcrossGenres, "jazz/good0.wav rock/copy.wav"),
        ]
        .map(|(k, t)| (k, t.to_string())),
    );
    assert_eq!(found, expected, "{}", report.to_text());
    let text = report.to_text();
    for part in ["7 findings", "1.00 s earlier in the second", "44100 Hz", "jazz, the other rock"] {
        assert!(text.contains(part), "`{part}` is not in {text}");
    }
}

#[test]
fn artists_and_copies_on_two_sides_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let d = toy(folder.path(), &["blues", "rock"], 12);
    let report = check(&d, &CheckOptions::default(), &|_| ()).unwrap();
    let artists: Vec<&Finding> =
        report.findings.iter().filter(|f| f.kind == FindingKind::SharedArtist).collect();
    assert_eq!(artists.len(), 6, "{}", report.to_text());
    assert!(artists[0].explanation.contains("blues artist 0 is on several sides of `fault-filtered` (2 in train, 2 in valid, 1 in test)"), "{artists:?}");
    // Songs of one number are equal across the two genres: 12 pairs, none on two sides.
    assert_eq!(pairs(&report).len(), 12);
    let unknown = CheckOptions { splits: vec!["nonsense".into()], jobs: 1 };
    assert!(check(&d, &unknown, &|_| ()).is_err());
}

#[test]
fn the_known_copies_in_gtzan_are_found_and_no_strangers() {
    let Some(root) = real("") else { return };
    let d = Dataset::open(&root.join("mel")).unwrap();
    let report = check(&d, &CheckOptions::default(), &|_| ()).unwrap();
    let found = pairs(&report);
    for pair in &d.known_duplicates {
        assert!(found.contains(pair), "{pair:?} was not found");
    }
    let exact = report.findings.iter().filter(|f| f.explanation.contains("identical")).count();
    assert_eq!(exact, 14);
    // Every other pair is, after Sturm's index, the same piece by the same artist.
    let index = fs::read_to_string(root.join("annotations/artist_title.csv")).unwrap();
    let piece = |id: &str| index.lines().find_map(|l| l.strip_prefix(&format!("{id},"))).unwrap();
    for (a, b) in found.iter().filter(|(a, b)| a.split('.').next() == b.split('.').next()) {
        assert_eq!(piece(a), piece(b), "{a} {b}");
    }
    assert!(found.len() >= 50, "{} pairs", found.len());
    let across: Vec<&Finding> =
        report.findings.iter().filter(|f| f.kind == FindingKind::DuplicateAcrossGenres).collect();
    assert_eq!(across.len(), 1);
    assert_eq!(across[0].tracks, ["metal.00058", "rock.00016"]);
    println!("{} pairs, {} findings", found.len(), report.findings.len());
}

#[test]
fn a_reencoded_shifted_louder_copy_is_found_among_real_clips() {
    let Some(root) = real("audio") else { return };
    let folder = tempfile::tempdir().unwrap();
    let spec = taggram_audio::MonoSpec::at(RATE);
    for id in ["blues.00000", "classical.00000", "hiphop.00001", "metal.00002"] {
        let genre = id.split('.').next().unwrap();
        let source = root.join(genre).join(format!("{id}.flac"));
        let samples = taggram_audio::read_mono(&source, &spec).unwrap().data;
        wav(&folder.path().join(genre).join(format!("{id}.wav")), RATE, &samples);
        let copy: Vec<f32> = samples[RATE as usize + 100..].iter().map(|s| s * 0.5).collect();
        reencode(&folder.path().join(genre).join("copy.wav"), &copy);
    }
    let d = Dataset::open(folder.path()).unwrap();
    let report = check(&d, &CheckOptions::default(), &|_| ()).unwrap();
    let found = pairs(&report);
    assert_eq!(found.len(), 4, "{}", report.to_text());
    assert!(
        found.iter().all(|(a, b)| a.split(['.', '/']).next() == b.split(['.', '/']).next()),
        "{found:?}"
    );
}

/// As lossy coding does it, at the cost of noise about 30 dB below the music: 6-bit samples after
/// µ-law companding.
fn reencode(path: &Path, samples: &[f32]) {
    let coarse = |s: f32| {
        let level = (1.0 + 255.0 * s.abs().min(1.0)).ln() / 256f32.ln();
        (((level * 31.0).round() / 31.0 * 256f32.ln()).exp() - 1.0) / 255.0 * s.signum()
    };
    wav(path, RATE, &samples.iter().map(|&s| coarse(s)).collect::<Vec<_>>());
}

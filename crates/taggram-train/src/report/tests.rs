//! A report must say what was measured, and be read back as it was written.

use std::fs;

use super::*;
use crate::rng::Rng;

fn evaluation(model: &str, protocol: &str, songs: usize, skill: f64, seed: u64) -> Evaluation {
    let genres = ["blues", "jazz", "r&b <x>"].map(String::from).to_vec();
    let mut rng = Rng::at(&[seed]);
    let predictions = (0..songs)
        .map(|i| {
            let label = i % 3;
            let mut p: Vec<f64> = (0..3).map(|_| f64::from(rng.unit()) + 0.01).collect();
            p[label] += skill;
            let sum: f64 = p.iter().sum();
            SongPrediction {
                id: format!("song, \"{i}\""),
                label,
                artist: (i % 2 == 0).then(|| format!("artist {i}")),
                probabilities: p.into_iter().map(|v| v / sum).collect(),
            }
        })
        .collect();
    let failed = vec![Failure { id: "broken".into(), reason: "it is <broken>".into() }];
    Evaluation::new(protocol, model, genres, predictions, failed)
}

#[test]
fn a_report_says_what_was_measured_and_reads_back() {
    let folder = tempfile::tempdir().unwrap();
    let info = ReportInfo {
        command: "taggram evaluate m.taggram --split \"strict\"".into(),
        model_hash: "sha256 0123".into(),
        dataset: "data".into(),
        notes: vec!["A note.".into()],
    };
    let headline = evaluation("small", "fault-filtered", 60, 0.8, 1);
    let mut second = headline.clone();
    second.protocol = "strict".into();
    second.predictions.truncate(40);
    let second = Evaluation::new("strict", "small", second.genres, second.predictions, Vec::new());
    write(folder.path(), &info, &[headline.clone(), second.clone()]).unwrap();
    let (file, back) = read(folder.path()).unwrap();
    assert_eq!(file.info, info);
    assert_eq!(back, [headline.clone(), second]);

    let page = fs::read_to_string(folder.path().join("report.html")).unwrap();
    let m = &headline.metrics;
    for part in [
        "fault-filtered",
        "strict",
        "taggram evaluate m.taggram --split &quot;strict&quot;",
        "sha256 0123",
        "of 60 songs",
        "it is &lt;broken&gt;",
        "r&amp;b &lt;x&gt;",
        &format!("{:.1} %", m.accuracy * 100.0),
        &html::interval(m.accuracy_interval),
    ] {
        assert!(page.contains(part), "`{part}` is not in the page");
    }
    assert_eq!(page.matches("<svg").count(), 2 * 2 * 5);
    assert!(!page.contains("<script") && !page.contains("href=") && !page.contains("src="));
    for name in ["confusion.png", "confusion.svg", "confusion-strict.csv"] {
        assert!(folder.path().join(name).metadata().unwrap().len() > 20, "{name}");
    }
    let csv = fs::read_to_string(folder.path().join("confusion.csv")).unwrap();
    assert!(csv.starts_with("truth,blues,jazz,r&b <x>\nblues,"), "{csv}");
    let predictions = fs::read_to_string(folder.path().join("predictions.csv")).unwrap();
    assert_eq!(predictions.lines().count(), 61);
    assert!(predictions.contains("fault-filtered;strict"));
}

#[test]
fn models_are_compared_on_the_songs_they_share() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    let info = ReportInfo::default();
    let (good, poor) =
        (evaluation("net", "strict", 90, 3.0, 1), evaluation("net", "strict", 80, 0.0, 2));
    write(&a, &info, &[good]).unwrap();
    write(&b, &info, &[poor]).unwrap();
    let c = compare(&[&a, &b]).unwrap();
    let p = &c.protocols[0];
    assert_eq!((p.rows.len(), p.tests.len(), p.tests[0].test.songs), (2, 1, 80));
    assert!(p.tests[0].test.p_value < 1e-4);
    assert!(p.rows[0].name.contains("net (") && p.rows[0].name != p.rows[1].name);
    let text = c.to_text();
    assert!(text.contains("they differ") && text.contains("p < 0.0001"), "{text}");
    c.save(folder.path()).unwrap();
    let json = fs::read_to_string(folder.path().join("comparison.json")).unwrap();
    assert!(json.contains("\"p_value\""));
    assert!(fs::read_to_string(folder.path().join("comparison.html")).unwrap().contains("<svg"));
    assert!(compare(&[&a]).unwrap_err().message.contains("2 reports"));
    assert!(compare(&[&a, folder.path()]).is_err());
}

#[test]
fn broken_reports_are_refused_with_the_row() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    assert!(write(path, &ReportInfo::default(), &[]).unwrap_err().message.contains("nothing"));
    let mixed = [evaluation("a", "x", 3, 0.1, 1), evaluation("b", "x", 3, 0.1, 1)];
    assert!(write(path, &ReportInfo::default(), &mixed).unwrap_err().message.contains("one model"));
    write(path, &ReportInfo::default(), &mixed[..1]).unwrap();
    let csv = fs::read_to_string(path.join("predictions.csv")).unwrap();
    fs::write(path.join("predictions.csv"), csv.replace(",jazz,", ",polka,")).unwrap();
    let error = read(path).unwrap_err().to_string();
    assert!(error.contains("row 3") && error.contains("polka"), "{error}");
    fs::write(path.join("metrics.json"), "{}").unwrap();
    assert!(read(path).unwrap_err().message.contains("no report"));
}

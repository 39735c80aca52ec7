//! `taggram classify` as a person runs it: the real binary on real files.

mod common;

use std::fs;
use std::path::Path;

use common::{song, stderr, stdout, taggram, wav_f32, wav_i16};
use serde_json::Value;

fn records(text: &str) -> Vec<Value> {
    text.lines().map(|l| serde_json::from_str(l).expect("one JSON object a line")).collect()
}

fn classify_json(path: &Path) -> Value {
    // The made songs are music of no genre.
    let options = ["--format=json".as_ref(), "--nearest".as_ref()];
    let output = taggram(["classify".as_ref(), path.as_os_str()].into_iter().chain(options));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    records(&stdout(&output)).remove(0)
}

#[test]
fn a_song_in_its_genre_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("song.wav");
    fs::write(&path, wav_i16(&song(30.0, 22_050), 22_050, 1)).unwrap();
    let record = classify_json(&path);
    let scores = record["scores"].as_object().unwrap();
    let sum: f64 = scores.values().map(|v| v.as_f64().unwrap()).sum();
    assert_eq!(scores.len(), 10);
    assert!((sum - 1.0).abs() < 1e-4, "the scores sum to {sum}");
    assert_eq!(record["genre"].as_str(), scores.keys().next().map(String::as_str));
    assert_eq!(record["model"], "default");
    assert!((record["duration_s"].as_f64().unwrap() - 30.0).abs() < 0.01);
    assert!(record["windows"].as_u64().unwrap() >= 3);
    assert!(record.get("error").is_none());

    let output = taggram(["classify".as_ref(), path.as_os_str()]);
    let genre = record["genre"].as_str().unwrap();
    let line = stdout(&output);
    assert!(line.contains("song.wav") && line.contains(genre) && line.contains('%'), "{line}");
    assert!(line.contains("unknown; nearest:"), "without --nearest it is told: {line}");
    let said = stderr(&output);
    assert!(
        said.contains("unlike all music") && said.lines().count() == 1,
        "no progress bar: {said}"
    );
}

#[test]
fn rates_channels_and_gain_do_not_change_the_answer() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: Vec<u8>| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let plain = classify_json(&write("a.wav", wav_i16(&song(20.0, 22_050), 22_050, 1)));
    let quiet: Vec<f32> = song(20.0, 22_050).iter().map(|x| 0.1 * x).collect();
    let variants = [
        write("stereo.wav", wav_i16(&song(20.0, 22_050), 22_050, 2)),
        write("eight.wav", wav_f32(&song(20.0, 22_050), 22_050, 8)),
        write("quiet.wav", wav_f32(&quiet, 22_050, 1)),
        write("44100.dat", wav_f32(&song(20.0, 44_100), 44_100, 1)),
        write("48000.mp3", wav_f32(&song(20.0, 48_000), 48_000, 2)),
        write("192000.wav", wav_f32(&song(20.0, 192_000), 192_000, 1)),
    ];
    for path in variants {
        let record = classify_json(&path);
        assert_eq!(record["genre"], plain["genre"], "{}", path.display());
        for (genre, p) in plain["scores"].as_object().unwrap() {
            let (p, q) = (p.as_f64().unwrap(), record["scores"][genre].as_f64().unwrap());
            assert!((p - q).abs() < 0.1, "{}: {genre} is {q}, not {p}", path.display());
        }
    }
}

#[test]
fn whatever_a_file_holds_the_others_are_done() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
    let good = wav_i16(&song(12.0, 22_050), 22_050, 1);
    write("z-good.wav", &good);
    write("empty.wav", b"");
    write("text.mp3", b"This is not music at all, only words, some of them twice, words.\n");
    let noise: Vec<u8> =
        (0u32..40_000).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    write("random.flac", &noise);
    write("no-samples.wav", &wav_i16(&[], 22_050, 1));
    let mut terabytes = wav_i16(&song(1.0, 22_050), 22_050, 1);
    terabytes[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    terabytes[40..44].copy_from_slice(&0xffff_fff0u32.to_le_bytes());
    write("terabytes.wav", &terabytes[..60]);
    write("only-a-header.au", b".snd\0\0\0\x18\xff\xff\xff\xff\0\0\0\x03\0\0\x56\x22\0\0\0\x01");
    let output = taggram(["classify".as_ref(), dir.path().as_os_str(), "--format=json".as_ref()]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let records = records(&stdout(&output));
    assert_eq!(records.len(), 7);
    for record in &records {
        let path = record["path"].as_str().unwrap();
        if path.ends_with("z-good.wav") {
            assert!(record["genre"].is_string(), "{record}");
        } else if !path.ends_with("terabytes.wav") {
            let error = record["error"].as_str().unwrap_or_else(|| panic!("{path} was classified"));
            assert!(error.len() > 15 && !error.contains('\n'), "{path}: {error}");
        }
    }
    assert!(!stderr(&output).contains("panicked"), "{}", stderr(&output));
    assert!(stderr(&output).contains("text.mp3"));
}

#[test]
fn damage_silence_and_short_clips_are_answered_and_said() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let mut nans = song(12.0, 22_050);
    nans[5000..5100].fill(f32::NAN);
    nans[7000] = f32::INFINITY;
    let whole = wav_i16(&song(12.0, 22_050), 22_050, 1);
    for (path, says) in [
        (write("nan.wav", &wav_f32(&nans, 22_050, 1)), "101"),
        (write("silence.wav", &wav_i16(&[0.0; 22_050 * 12], 22_050, 1)), "silence"),
        (write("short.wav", &wav_i16(&song(1.0, 22_050), 22_050, 1)), "shorter"),
        (write("truncated.wav", &whole[..whole.len() / 2]), ""),
    ] {
        let record = classify_json(&path);
        let warnings = record["warnings"].to_string();
        assert!(warnings.contains(says), "{}: {warnings}", path.display());
        for p in record["scores"].as_object().unwrap().values() {
            assert!(p.as_f64().unwrap().is_finite());
        }
    }
}

#[test]
#[cfg(unix)]
fn loops_of_links_and_missing_paths_are_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.wav"), wav_i16(&song(11.0, 22_050), 22_050, 1)).unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    std::os::unix::fs::symlink(dir.path(), dir.path().join("sub/up")).unwrap();
    fs::write(dir.path().join("cover.jpg"), b"\xff\xd8\xff\xe0 a picture").unwrap();
    let missing = dir.path().join("missing.mp3");
    let output = taggram([
        "classify".as_ref(),
        dir.path().as_os_str(),
        missing.as_os_str(),
        "--format=json".as_ref(),
    ]);
    assert_eq!(output.status.code(), Some(1));
    let records = records(&stdout(&output));
    assert_eq!(records.len(), 3, "the song, the loop, the missing file; not the picture");
    assert!(records[0]["genre"].is_string());
    assert!(records[1]["error"].as_str().unwrap().contains("link"), "{}", records[1]);
    assert!(records[2]["path"].as_str().unwrap().ends_with("missing.mp3"));
}

#[test]
fn answers_come_in_order_with_any_number_of_jobs() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..9 {
        let seconds = 11.0 + f64::from((i * 5) % 9);
        let bytes = wav_i16(&song(seconds, 22_050), 22_050, 1);
        fs::write(dir.path().join(format!("{i}.wav")), bytes).unwrap();
    }
    let run = |jobs: &str| {
        let output = taggram([
            "classify".as_ref(),
            dir.path().as_os_str(),
            "--format=csv".as_ref(),
            "--jobs".as_ref(),
            jobs.as_ref(),
        ]);
        assert_eq!(output.status.code(), Some(0));
        let text = stdout(&output);
        let rows = text.lines().map(|l| l.split(',').take(12).collect::<Vec<_>>().join(","));
        rows.collect::<Vec<_>>()
    };
    let one = run("1");
    assert_eq!(one.len(), 10);
    assert!(one[1].contains("0.wav") && one[9].contains("8.wav"), "{one:?}");
    assert_eq!(one, run("4"));
}

#[test]
fn wrong_usage_and_missing_models_exit_with_2() {
    let cases: [&[&str]; 5] = [
        &["classify"],
        &["classify", "a.wav", "--excerpt", "middle:never"],
        &["classify", "a.wav", "--model", "no-such-model"],
        &["classify", "a.wav", "--no-such-flag"],
        &["show", "a.wav", "--out", "picture.bmp"],
    ];
    for arguments in cases {
        let output = taggram(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
        assert!(!stderr(&output).is_empty());
    }
    assert!(stderr(&taggram(cases[2])).contains("no-such-model"));
}

#[test]
fn top_and_excerpt_and_majority() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("song.wav");
    fs::write(&path, wav_i16(&song(40.0, 22_050), 22_050, 1)).unwrap();
    let run = |more: &[&str]| {
        let mut arguments = vec!["classify", path.to_str().unwrap(), "--format", "json"];
        arguments.extend(more);
        records(&stdout(&taggram(arguments))).remove(0)
    };
    assert_eq!(run(&["--top", "2"])["scores"].as_object().unwrap().len(), 2);
    let middle = run(&["--excerpt", "middle:12"]);
    assert!((middle["duration_s"].as_f64().unwrap() - 12.0).abs() < 0.01, "{middle}");
    let votes = run(&["--decide", "majority"]);
    let windows = votes["windows"].as_f64().unwrap();
    let share = votes["confidence"].as_f64().unwrap() * windows;
    assert!((share - share.round()).abs() < 1e-3, "a share of {windows} votes: {votes}");
}

#[test]
fn show_writes_pictures_and_tables() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a <song> & more.wav");
    fs::write(&path, wav_i16(&song(30.0, 22_050), 22_050, 1)).unwrap();
    for form in ["png", "svg", "json", "csv"] {
        let out = dir.path().join(format!("picture.{form}"));
        let output =
            taggram(["show".as_ref(), path.as_os_str(), "--out".as_ref(), out.as_os_str()]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let bytes = fs::read(&out).unwrap();
        match form {
            "png" => assert_eq!(&bytes[1..4], b"PNG"),
            "svg" => {
                let text = String::from_utf8(bytes).unwrap();
                assert!(text.contains("&lt;song&gt; &amp; more"), "the name is escaped");
            }
            "json" => {
                let value: Value = serde_json::from_slice(&bytes).unwrap();
                let taggram = &value["taggram"];
                let patches = taggram["starts_s"].as_array().unwrap().len();
                assert_eq!(taggram["probabilities"].as_array().unwrap().len(), 10 * patches);
            }
            _ => {
                let text = String::from_utf8(bytes).unwrap();
                assert!(text.starts_with("start_s,end_s,blues,"), "{text}");
            }
        }
    }
}

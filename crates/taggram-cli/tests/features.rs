//! Tables of features, conversion, dataset checks, comparison and similar songs: the real binary on
//! songs made on the spot.

mod common;

use std::fs;
use std::path::Path;
use std::process::Output;

use common::{song, stderr, stdout, taggram, wav_f32, wav_i16};

const RATE: u32 = 22_050;

/// Arguments separated by blanks; `@/` is in the folder.
fn run(folder: &Path, line: &str) -> Output {
    let folder = format!("{}/", folder.display());
    taggram(line.split(' ').map(|word| word.replace("@/", &folder)))
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

/// Noise coloured by `tone` (0…1), another for each seed.
fn noise(seconds: f64, seed: u32, tone: f32) -> Vec<f32> {
    let (mut state, mut low) = (seed.wrapping_mul(747_796_405).wrapping_add(12_345), 0.0);
    (0..(seconds * f64::from(RATE)) as usize)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let white = (state >> 8) as f32 / (1 << 23) as f32 - 1.0;
            low += (1.0 - tone) * (white - low);
            0.4 * low
        })
        .collect()
}

fn write(folder: &Path, name: &str, bytes: Vec<u8>) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Two clips of blues, one of rock, in genre folders.
fn clips(folder: &Path) {
    for (name, seed, tone) in
        [("blues/blues.00000", 1, 0.9), ("blues/blues.00001", 2, 0.8), ("rock/rock.00000", 3, 0.1)]
    {
        let bytes = wav_i16(&noise(7.0, seed, tone), RATE, 1);
        write(folder, &format!("genres/{name}.wav"), bytes);
    }
}

#[test]
fn a_table_of_clips_has_the_published_columns() {
    let dir = tempfile::tempdir().unwrap();
    clips(dir.path());
    write(
        dir.path(),
        "genres/rock/broken.wav",
        b"no music at all, and long enough to look".to_vec(),
    );
    let output = run(dir.path(), "features @/genres --out @/f.csv --jobs 2");
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    assert!(stderr(&output).contains("broken.wav"), "{}", stderr(&output));
    let text = fs::read_to_string(dir.path().join("f.csv")).unwrap();
    let lines: Vec<Vec<&str>> = text.lines().map(|l| l.split(',').collect()).collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[0].len(), 60);
    let begin =
        ["filename", "length", "chroma_stft_mean", "chroma_stft_var", "rms_mean", "rms_var"];
    assert_eq!(lines[0][..6], begin);
    assert_eq!(lines[0][18], "tempo");
    assert_eq!(lines[0][57..], ["mfcc20_mean", "mfcc20_var", "label"]);
    assert_eq!(lines[1][..2], ["blues.00000.wav", "154350"]);
    assert_eq!(lines[3][0], "rock.00000.wav");
    let labels: Vec<&str> = lines[1..].iter().map(|l| l[59]).collect();
    assert_eq!(labels, ["blues", "blues", "rock"]);
    assert!(
        lines[1..].iter().all(|l| l[2..59].iter().all(|v| v.parse::<f64>().unwrap().is_finite()))
    );
    // One worker or two, the same table.
    assert_eq!(code(&run(dir.path(), "features @/genres --out @/g.csv --jobs 1")), 1);
    assert_eq!(text, fs::read_to_string(dir.path().join("g.csv")).unwrap());
}

#[test]
fn rows_for_segments_and_frames() {
    let dir = tempfile::tempdir().unwrap();
    clips(dir.path());
    let output = run(dir.path(), "features @/genres --out @/s.csv --per segment --segment 3");
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = fs::read_to_string(dir.path().join("s.csv")).unwrap();
    let names: Vec<&str> = text.lines().skip(1).map(|l| l.split(',').next().unwrap()).collect();
    assert_eq!(names.len(), 6);
    assert_eq!(names[..2], ["blues.00000.0.wav", "blues.00000.1.wav"]);

    let one = "features @/genres/rock/rock.00000.wav --set system3 --per frame --out @/one.csv";
    assert_eq!(code(&run(dir.path(), one)), 0);
    let text = fs::read_to_string(dir.path().join("one.csv")).unwrap();
    assert!(
        text.starts_with(
            "filename,frame,time_s,zero_crossing_rate,spectral_centroid,rolloff,mfcc1,"
        )
    );
    assert_eq!(text.lines().count(), 1 + 1 + 154_350 / 512);

    let long = run(dir.path(), "features @/genres --out @/long.csv --per segment --segment 30");
    assert_eq!(code(&long), 1);
    assert!(stderr(&long).contains("shorter than one segment"), "{}", stderr(&long));
    assert!(!dir.path().join("long.csv").exists(), "nothing is written without rows");
}

#[test]
fn arrays_and_parquet() {
    let dir = tempfile::tempdir().unwrap();
    clips(dir.path());
    let output = run(dir.path(), "features @/genres --out @/f.npy");
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let bytes = fs::read(dir.path().join("f.npy")).unwrap();
    let header = String::from_utf8_lossy(&bytes[10..128]);
    assert!(header.contains("'shape': (3, 57)") && header.contains("<f4"), "{header}");
    assert_eq!(bytes.len(), 128 + 3 * 57 * 4);
    let list = fs::read_to_string(dir.path().join("f_tracks.txt")).unwrap();
    assert_eq!(list, "blues.00000\tblues\nblues.00001\tblues\nrock.00000\trock\n");
    let columns = fs::read_to_string(dir.path().join("f_columns.txt")).unwrap();
    assert_eq!(columns.lines().count(), 57);
    assert_eq!(columns.lines().last(), Some("mfcc20_var"));

    assert_eq!(code(&run(dir.path(), "features @/genres --out @/f.parquet")), 0);
    let bytes = fs::read(dir.path().join("f.parquet")).unwrap();
    assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));

    let wrong = run(dir.path(), "features @/genres --out @/f.xlsx");
    assert_eq!(code(&wrong), 2);
    assert!(stderr(&wrong).contains(".parquet"), "{}", stderr(&wrong));
}

/// A Sun audio file of 16-bit integers.
fn au(samples: &[i16], rate: u32) -> Vec<u8> {
    let mut out = b".snd".to_vec();
    for word in [24, samples.len() as u32 * 2, 3, rate, 1] {
        out.extend(word.to_be_bytes());
    }
    out.extend(samples.iter().flat_map(|s| s.to_be_bytes()));
    out
}

#[test]
fn conversion_keeps_every_sample() {
    let dir = tempfile::tempdir().unwrap();
    let samples: Vec<i16> = (0..30_000i32).map(|i| (i * 7919 % 65_536 - 32_768) as i16).collect();
    write(dir.path(), "in/blues/a.au", au(&samples, RATE));
    write(dir.path(), "in/rock/b.wav", wav_f32(&song(1.0, 44_100), 44_100, 2));
    let output = run(dir.path(), "convert @/in --out @/wav");
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let pcm: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
    let wav = fs::read(dir.path().join("wav/blues/a.wav")).unwrap();
    assert_eq!(wav[44..], pcm);
    assert_eq!(
        fs::read(dir.path().join("wav/rock/b.wav")).unwrap()[44..],
        wav_f32(&song(1.0, 44_100), 44_100, 2)[44..]
    );

    // Through FLAC and back.
    assert_eq!(code(&run(dir.path(), "convert @/wav/blues --to flac --out @/flac")), 0);
    assert_eq!(code(&run(dir.path(), "convert @/flac/a.flac --out @/back")), 0);
    assert_eq!(fs::read(dir.path().join("back/a.wav")).unwrap(), wav);

    // What is there stays, unless one insists; the source always stays.
    let again = run(dir.path(), "convert @/in --out @/wav");
    assert_eq!(code(&again), 1);
    assert!(stderr(&again).contains("--force"), "{}", stderr(&again));
    assert_eq!(code(&run(dir.path(), "convert @/in --out @/wav --force --mono --rate 22050")), 0);
    assert_eq!(
        fs::read(dir.path().join("wav/blues/a.wav")).unwrap(),
        wav,
        "already mono at that rate"
    );
    assert_eq!(fs::metadata(dir.path().join("wav/rock/b.wav")).unwrap().len(), 44 + 22_050 * 4);
    let itself = run(dir.path(), "convert @/wav --out @/wav --force");
    assert_eq!(code(&itself), 1);
    assert!(stderr(&itself).contains("the source itself"), "{}", stderr(&itself));
    assert_eq!(fs::read(dir.path().join("wav/blues/a.wav")).unwrap(), wav);
    let parts = fs::read_dir(dir.path().join("wav/blues")).unwrap().count();
    assert_eq!(parts, 1, "no part is left behind");
}

#[test]
fn a_check_finds_copies_in_disguise() {
    let dir = tempfile::tempdir().unwrap();
    let original = song(16.0, RATE);
    for (i, genre) in ["blues", "rock"].into_iter().enumerate() {
        for k in 0..2 {
            let other = noise(12.0, (10 * i + k) as u32, 0.3);
            write(dir.path(), &format!("d/{genre}/{k}.wav"), wav_i16(&other, RATE, 1));
        }
    }
    let clean = run(dir.path(), "dataset check @/d");
    assert_eq!(code(&clean), 0, "{}{}", stdout(&clean), stderr(&clean));

    // Another rate and form, a third of the level, a second later.
    write(dir.path(), "d/blues/song.wav", wav_i16(&original, RATE, 1));
    let disguised: Vec<f32> = original[RATE as usize..].iter().map(|x| x / 3.0).collect();
    write(dir.path(), "x/copy.wav", wav_f32(&disguised, RATE, 2));
    assert_eq!(code(&run(dir.path(), "convert @/x --to flac --out @/d/rock")), 0);
    let found = run(dir.path(), "dataset check @/d --format json");
    assert_eq!(code(&found), 1, "{}", stderr(&found));
    let report: serde_json::Value = serde_json::from_str(&stdout(&found)).unwrap();
    let pair = report["findings"].as_array().unwrap().iter().find(|f| {
        f["kind"] == "duplicate_across_genres"
            && f["tracks"].as_array().is_some_and(|t| t.len() == 2)
            && f["tracks"].to_string().contains("song.wav")
            && f["tracks"].to_string().contains("copy.flac")
    });
    assert!(pair.is_some(), "{report:#}");
}

/// A table of two well-separated genres, by two features.
fn table(rows: usize) -> String {
    let mut text = "filename,length,one,two,label\n".to_string();
    for i in 0..rows {
        for (genre, offset) in [("blues", 0.0), ("rock", 5.0)] {
            let (a, b) = ((i * 37 % 11) as f64 / 11.0, (i * 53 % 13) as f64 / 13.0);
            text += &format!("{genre}.{i:05}.wav,100,{},{},{genre}\n", a + offset, b - offset);
        }
    }
    text
}

const RECIPE: &str = "[input]\nkind = \"table\"\n[classifier]\nkind = \"knn\"\nk = 3\n";

#[test]
fn recipes_are_evaluated_and_reports_compared() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "t.csv", table(20).into_bytes());
    write(dir.path(), "near.toml", RECIPE.into());
    write(dir.path(), "bayes.toml", RECIPE.replace("\"knn\"\nk = 3", "\"gaussian_nb\"").into());
    for (recipe, how) in
        [("near", "--cv 5 --group song"), ("bayes", "--cv 5 --group song --seed 0")]
    {
        let output = run(
            dir.path(),
            &format!("evaluate @/{recipe}.toml --data @/t.csv {how} --out @/{recipe}"),
        );
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        assert!(stdout(&output).contains("100.0 % of 40 songs"), "{}", stdout(&output));
        assert!(dir.path().join(recipe).join("report.html").is_file());
    }
    let split = "evaluate @/near.toml --data @/t.csv --split random-song:80/0/20@0 --out @/split";
    let output = run(dir.path(), split);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(stdout(&output).contains("of 8 songs"), "{}", stdout(&output));

    let output = run(dir.path(), "compare @/near @/bayes --out @/both");
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("near") && text.contains("bayes") && text.contains("McNemar"), "{text}");
    assert!(dir.path().join("both/comparison.html").is_file());
    assert_eq!(code(&run(dir.path(), "compare @/near")), 2);
    let model = run(dir.path(), "evaluate default --data @/t.csv --cv 5 --out @/no");
    assert_eq!(code(&model), 2);
    assert!(stderr(&model).contains("recipe"), "{}", stderr(&model));
}

#[test]
fn a_bad_table_is_refused_in_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "r.toml", RECIPE.into());
    let good = table(5);
    let row = "rock.00003.wav,100,";
    let nan = {
        let at = good.find(row).unwrap() + row.len();
        let end = at + good[at..].find(',').unwrap();
        format!("{}NaN{}", &good[..at], &good[end..])
    };
    let cases = [
        (good.replace(",label", ",mood"), ["row 1", "column `label`"]),
        (nan, ["row 9", "column `one`"]),
        (format!("{good}jazz.00000.wav,100,1,2,jazz\n"), ["row 12", "column `label`"]),
        (format!("{good}blues.00000.wav,100,1,2,blues\n"), ["row 12", "listed twice"]),
        (format!("{good}blues.00009.wav,100,1,2\n"), ["row 12", "4 fields"]),
        (
            good.lines()
                .enumerate()
                .map(|(i, l)| format!("{l},{}\n", ["sample_rate", "22050", "44100"][i.min(2)]))
                .collect(),
            ["row 3", "column `sample_rate`"],
        ),
    ];
    for (text, evidence) in cases {
        write(dir.path(), "t.csv", text.into_bytes());
        let output = run(dir.path(), "evaluate @/r.toml --data @/t.csv --cv 2 --out @/out");
        assert_eq!(code(&output), 2, "{evidence:?}: {}", stderr(&output));
        for what in evidence {
            assert!(stderr(&output).contains(what), "{what}: {}", stderr(&output));
        }
        assert!(!dir.path().join("out").exists());
    }
    write(dir.path(), "t.csv", good.replace("rock", "samba").into_bytes());
    let output = run(dir.path(), "evaluate default --data @/t.csv --split all --out @/out");
    assert_eq!(code(&output), 2);
    for what in ["unknown genre `samba`", "row 3", "blues, classical"] {
        assert!(stderr(&output).contains(what), "{what}: {}", stderr(&output));
    }
    assert!(!dir.path().join("out").exists());
}

#[test]
fn similar_songs_come_first() {
    let dir = tempfile::tempdir().unwrap();
    clips(dir.path());
    write(dir.path(), "asked.wav", wav_i16(&noise(7.0, 9, 0.88), RATE, 1));
    assert_eq!(code(&run(dir.path(), "features @/genres --out @/f.csv")), 0);
    for distance in ["euclidean", "correlation"] {
        let output =
            run(dir.path(), &format!("similar @/asked.wav --in @/f.csv --distance {distance}"));
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let text = stdout(&output);
        assert_eq!(text.lines().count(), 3);
        assert!(text.lines().next().unwrap().contains("blues"), "{text}");
    }
    let output = run(dir.path(), "similar @/genres/blues/blues.00000.wav --in @/genres --top 1");
    assert!(stdout(&output).contains("blues.00001.wav"), "{}", stdout(&output));

    let text = fs::read_to_string(dir.path().join("f.csv")).unwrap();
    write(dir.path(), "bad.csv", text.replace("tempo", "pace").into_bytes());
    let bad = run(dir.path(), "similar @/asked.wav --in @/bad.csv");
    assert_eq!(code(&bad), 2);
    assert!(stderr(&bad).contains("column `tempo`"), "{}", stderr(&bad));
}

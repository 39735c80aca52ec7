//! Datasets made for the purpose, and the real ones when they are there.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::npy::{self, DType};

/// The folder of the real data, or none with a line that says so.
pub(crate) fn real(what: &str) -> Option<PathBuf> {
    let root = std::env::var_os("TAGGRAM_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let path = root.join("gtzan").join(what);
    if path.exists() {
        return Some(path);
    }
    println!("SKIPPED: {} is not there (set TAGGRAM_DATA)", path.display());
    None
}

fn write_npy(path: &Path, dtype: DType, shape: &[usize], values: &[f32]) {
    let mut file = fs::File::create(path).unwrap();
    npy::write(&mut file, dtype, shape, values).unwrap();
}

/// `genres` × `each` tracks as a two-column feature table, five songs an artist, with splits.
pub(crate) fn toy(folder: &Path, genres: &[&str], each: usize) -> Dataset {
    let mut table = String::from("filename,loud,bright,label\n");
    let mut artists = String::from("track,artist,title\n");
    let mut sides = [String::new(), String::new(), String::new()];
    for genre in genres {
        for i in 0..each {
            table += &format!("{genre}.{i:05}.wav,{i},{}.5,{genre}\n", i % 3);
            artists += &format!("{genre}.{i:05},{genre} artist {},x\n", i / 5);
            sides[i % 3] += &format!("{genre}.{i:05}\n");
        }
    }
    fs::create_dir_all(folder.join("splits")).unwrap();
    fs::create_dir_all(folder.join("annotations")).unwrap();
    fs::write(folder.join("table.csv"), table).unwrap();
    fs::write(folder.join("annotations/artist_title.csv"), artists).unwrap();
    for (side, list) in ["train", "valid", "test"].iter().zip(sides) {
        fs::write(folder.join(format!("splits/fault_filtered_{side}.txt")), list).unwrap();
    }
    Dataset::open(&folder.join("table.csv")).unwrap()
}

#[test]
fn a_feature_table_opens_with_its_artists_and_splits() {
    let folder = tempfile::tempdir().unwrap();
    let d = toy(folder.path(), &["blues", "rock"], 12);
    assert_eq!(d.genres, ["blues", "rock"]);
    assert_eq!(d.feature_names(), ["loud", "bright"]);
    let t = d.index_of("rock.00007").unwrap();
    assert_eq!(d.features(&d.tracks[t]).unwrap(), [7.0, 1.5]);
    assert_eq!(d.tracks[t].artist.as_deref(), Some("rock artist 1"));
    let split = d.split("fault-filtered").unwrap();
    assert_eq!((split.train.len(), split.valid.len(), split.test.len()), (8, 8, 8));
    // Songs 2, 5 and 8 of a genre share an artist with train songs; 11 is by the third artist.
    assert_eq!(d.shared_artist(&split).len(), 6);
    let strict: Vec<usize> = d.split("strict").unwrap().test;
    assert_eq!(strict, [11, 23]);
    assert!(d.split("nonsense").unwrap_err().to_string().contains("fault-filtered"));
}

#[test]
fn random_splits_are_stratified_and_repeat_with_their_seed() {
    let folder = tempfile::tempdir().unwrap();
    let d = toy(folder.path(), &["a", "b", "c"], 20);
    let split = d.split("random-song:70/10/20@3").unwrap();
    assert_eq!((split.train.len(), split.valid.len(), split.test.len()), (42, 6, 12));
    assert_eq!(split, d.split("random-song:70/10/20@3").unwrap());
    assert_ne!(split.test, d.split("random-song:70/10/20@4").unwrap().test);
    for genre in 0..3 {
        assert_eq!(split.test.iter().filter(|&&t| d.tracks[t].genre == genre).count(), 4);
    }
    assert!(d.split("random-song:70/x/20").unwrap_err().message.contains("no shares"));
    assert!(d.split("random-segment").unwrap_err().message.contains("whole song"));
    let segments = d.random_segments(&[0, 1, 20], &[10, 10, 10], Shares::default(), 1);
    assert_eq!((segments.train.len(), segments.valid.len(), segments.test.len()), (24, 3, 3));
}

#[test]
fn folds_keep_artists_together_and_genres_even() {
    let folder = tempfile::tempdir().unwrap();
    let d = toy(folder.path(), &["a", "b"], 50);
    let folds = d.k_fold(5, Group::Artist, 1).unwrap();
    let mut tested = vec![0; d.len()];
    for fold in &folds {
        assert_eq!(d.shared_artist(fold).len(), 0);
        assert_eq!(fold.train.len() + fold.test.len(), d.len());
        fold.test.iter().for_each(|&t| tested[t] += 1);
        for genre in 0..2 {
            assert_eq!(fold.test.iter().filter(|&&t| d.tracks[t].genre == genre).count(), 10);
        }
    }
    assert!(tested.iter().all(|&n| n == 1));
    assert!(d.k_fold(21, Group::Artist, 1).unwrap_err().message.contains("20 groups"));
}

#[test]
fn bad_tables_are_refused_with_row_and_column() {
    let cases = [
        ("name,label\na,b\n", "row 1, column `path`", "missing"),
        ("path,loud\na,1\n", "row 1, column `label`", "missing"),
        ("path,loud,label\na.wav,1,x\nb.wav,nan,x\n", "row 3, column `loud`", "`nan`"),
        ("path,loud,label\na.wav,1,x\nb.wav,,x\n", "row 3, column `loud`", "``"),
        ("path,loud,label\na.wav,1,x\na.wav,2,x\n", "row 3", "listed twice: it was in row 2"),
        ("path,label\na.wav,x\nb.wav,x\nc.wav,y\n", "row 4, column `label`", "`y`"),
        ("path,label\na.wav,x\nb.wav,\n", "row 3, column `label`", "empty"),
        (
            "path,label,sample_rate\na.wav,x,22050\nb.wav,x,44100\n",
            "row 3, column `sample_rate`",
            "44100",
        ),
        ("path,label\na.wav,x,1\n", "row 2", "3 fields"),
        ("path,label\n", "t.csv", "no rows"),
        ("", "t.csv", "empty"),
    ];
    for (text, place, evidence) in cases {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        fs::write(&path, text).unwrap();
        let error = Dataset::open(&path).expect_err(text).to_string();
        assert!(error.contains(place) && error.contains(evidence), "{text:?} gave: {error}");
    }
}

#[test]
fn an_unknown_genre_names_its_row() {
    let folder = tempfile::tempdir().unwrap();
    let mut d = toy(folder.path(), &["blues", "rock"], 6);
    let error = d.use_genres(&["blues".into(), "jazz".into()]).unwrap_err().to_string();
    assert!(error.contains("row 8") && error.contains("`rock`"), "{error}");
    d.use_genres(&["rock".into(), "jazz".into(), "blues".into()]).unwrap();
    assert_eq!((d.tracks[0].genre, d.tracks[6].genre), (2, 0));
}

#[test]
fn a_folder_of_genre_folders_opens() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["rock/rock.00001.wav", "rock/live/b.MP3", "jazz/a.flac", "jazz/notes.txt"] {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"").unwrap();
    }
    let d = Dataset::open(folder.path()).unwrap();
    let ids: Vec<&str> = d.tracks.iter().map(|t| t.id.as_str()).collect();
    assert_eq!(ids, ["jazz/a.flac", "rock/live/b.MP3", "rock.00001"]);
    assert_eq!(d.genre_counts(), [1, 2]);
}

#[test]
fn a_cache_gives_maps_time_first_and_refuses_other_front_ends() {
    let folder = tempfile::tempdir().unwrap();
    let array = folder.path().join("maps_u8.npy");
    let mut values = vec![0f32; 2 * 128 * 387];
    values[387 * 5 + 9] = 255.0; // track 0, band 5, column 9
    write_npy(&array, DType::U8, &[2, 128, 387], &values);
    fs::write(folder.path().join("maps_tracks.txt"), "rock.00000\njazz.00000\n").unwrap();
    let d = Dataset::open(folder.path()).unwrap();
    let mut front_end = d.cache().unwrap().recipe().front_end.clone();
    let map = d.feature_map(&d.tracks[0], &front_end).unwrap();
    assert_eq!((map.channels, map.frames, map.bands), (1, 387, 128));
    assert_eq!((map.frame(0, 9)[5], map.frame(0, 9)[4]), (0.0, -80.0));
    front_end.hop = 512;
    let error = d.feature_map(&d.tracks[0], &front_end).unwrap_err().to_string();
    assert!(error.contains("hop 1709") && error.contains("hop 512"), "{error}");

    write_npy(&array, DType::U8, &[2, 128, 40], &vec![0.0; 2 * 128 * 40]);
    assert!(Dataset::open(folder.path()).unwrap_err().message.contains("maps_u8.json"));
    fs::write(folder.path().join("maps_tracks.txt"), "rock.00000\n").unwrap();
    assert!(Dataset::open(folder.path()).unwrap_err().message.contains("names 1 tracks"));
}

#[test]
fn teachers_never_speak_of_test_songs() {
    let folder = tempfile::tempdir().unwrap();
    let d = toy(folder.path(), &["a", "b"], 9);
    let array = folder.path().join("teacher_f32.npy");
    let values: Vec<f32> = (0..18 * 2).map(|v| v as f32).collect();
    write_npy(&array, DType::F32, &[18, 2], &values);
    let ids: String = d.tracks.iter().map(|t| format!("{}\n", t.id)).collect();
    fs::write(folder.path().join("teacher_tracks.txt"), ids).unwrap();
    let teacher = Teacher::open(&array).unwrap();
    let mut split = d.split("fault-filtered").unwrap();
    split.train.push(split.test[0]); // a wrong split does not open the gate
    let soft = teacher.standardised(&d, &split).unwrap();
    assert_eq!((soft.len(), soft.width), (6, 2));
    let mut mean = 0.0;
    for t in 0..d.len() {
        let target = soft.get(&d.tracks[t].id);
        assert_eq!(target.is_some(), t % 9 % 3 == 0, "{}", d.tracks[t].id);
        mean += target.map_or(0.0, |v| v[0]);
    }
    assert!(mean.abs() < 1e-5);
    assert_eq!(teacher.probabilities(&d, &split).unwrap().get("a.00003").unwrap(), [6.0, 7.0]);
}

#[test]
fn a_teacher_without_values_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let array = folder.path().join("tags_f32.npy");
    write_npy(&array, DType::F32, &[2, 0], &[]);
    fs::write(folder.path().join("tags_rows.txt"), "a.00000\na.00001\n").unwrap();
    let message = Teacher::open(&array).unwrap_err().to_string();
    assert!(message.contains("tags_f32.npy") && message.contains("no"), "{message}");
}

/// A taggram of six patches heard in stretches of a third of the song: five of two patches each, each their mean, on the
/// scale of the whole songs' targets.
#[test]
fn taggrams_teach_stretch_by_stretch() {
    let folder = tempfile::tempdir().unwrap();
    let d = toy(folder.path(), &["a", "b"], 9);
    let array = folder.path().join("tags_f32.npy");
    write_npy(&array, DType::F32, &[8, 1], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 9.0, 9.0]);
    fs::write(folder.path().join("tags_rows.txt"), "a.00000\n".repeat(6) + &"a.00003\n".repeat(2))
        .unwrap();
    let teacher = Teacher::open(&array).unwrap();
    let split = d.split("fault-filtered").unwrap();
    let soft = teacher.probabilities(&d, &split).unwrap();
    assert_eq!(soft.get("a.00000").unwrap(), [2.5]);
    assert_eq!(soft.course("a.00000", 1.0 / 3.0).unwrap(), [0.5, 1.5, 2.5, 3.5, 4.5]);
    assert_eq!(soft.course("a.00000", 2.0).unwrap(), [2.5]);
    assert_eq!(soft.course("a.00000", 0.0).unwrap().len(), 6);
    assert_eq!(soft.course("b.00001", 0.5), None);
    let scaled = teacher.standardised(&d, &split).unwrap();
    let (mean, deviation) = ((2.5 + 9.0) / 2.0, (9.0 - 2.5) / 2.0);
    assert_eq!(scaled.course("a.00000", 0.3).unwrap()[0], (0.5 - mean) / deviation);
}

#[test]
fn gtzan_is_found_from_its_root() {
    let Some(root) = real("") else { return };
    let d = Dataset::open(&root).unwrap();
    assert_eq!((d.len(), d.genres.len()), (999, 10));
    assert_eq!(d.known_duplicates.len(), 14);
    let split = d.split("fault-filtered").unwrap();
    assert_eq!((split.train.len(), split.valid.len(), split.test.len()), (442, 197, 290));
    assert_eq!(split.absent, ["jazz.00054"], "the corrupt clip is a train song without a mel row");
    let strict = d.split("strict").unwrap();
    assert_eq!(strict.test.len(), 276);
    let dropped: Vec<&str> = split
        .test
        .iter()
        .filter(|t| !strict.test.contains(t))
        .map(|&t| d.tracks[t].id.as_str())
        .collect();
    let mut listed: Vec<String> = [58, 63, 69, 99].map(|n| format!("disco.{n:05}")).to_vec();
    listed.extend([26, 27, 88].map(|n| format!("metal.{n:05}")));
    listed.extend((34..=40).map(|n| format!("reggae.{n:05}")));
    assert_eq!(dropped, listed);
    for fold in d.k_fold(5, Group::Artist, 0).unwrap() {
        assert_eq!(d.shared_artist(&fold).len(), 0);
        assert!((160..=240).contains(&fold.test.len()), "{}", fold.test.len());
    }
    let map = d.feature_map(&d.tracks[0], &d.cache().unwrap().recipe().front_end).unwrap();
    assert_eq!((map.frames, map.bands), (387, 128));
    assert_eq!(map.data.iter().fold(f32::MIN, |m, &v| m.max(v)), 0.0);
}

#[test]
fn gtzan_taggrams_and_tables_open() {
    let Some(root) = real("") else { return };
    let d = Dataset::open(&root.join("taggrams")).unwrap();
    assert_eq!(d.len(), 733);
    let split = d.split("fault-filtered").unwrap();
    assert_eq!((split.train.len(), split.valid.len(), split.test.len()), (443, 0, 290));
    assert_eq!(split.absent.len(), 197);
    let patches = d.patches(&d.tracks[split.test[0]]).unwrap();
    assert_eq!((patches.count, patches.width), (28, 50));
    let soft = Teacher::open(&root.join("taggrams")).unwrap().probabilities(&d, &split).unwrap();
    assert_eq!((soft.len(), soft.width), (443, 50));
    let features = Dataset::open(&root.join("features_30_sec.csv")).unwrap();
    assert_eq!((features.len(), features.feature_names().len()), (1000, 57));
    let audio = Dataset::open(&root.join("audio")).unwrap();
    assert_eq!(audio.genre_counts(), [10; 10]);
    assert_eq!(audio.split("fault-filtered").unwrap().train.len(), {
        let list = fs::read_to_string(root.join("splits/fault_filtered_train.txt")).unwrap();
        list.lines().filter(|id| audio.index_of(id).is_some()).count()
    });
}

/// A tone of `seconds` at `rate` Hz as a 16-bit WAV file.
pub(crate) fn wav(path: &Path, rate: u32, samples: &[f32]) {
    let mut b = b"RIFF".to_vec();
    b.extend((36 + samples.len() as u32 * 2).to_le_bytes());
    b.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    b.extend(rate.to_le_bytes());
    b.extend((rate * 2).to_le_bytes());
    b.extend(b"\x02\0\x10\0data");
    b.extend((samples.len() as u32 * 2).to_le_bytes());
    for s in samples {
        b.extend(((s.clamp(-1.0, 1.0) * 32767.0).round() as i16).to_le_bytes());
    }
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, b).unwrap();
}

pub(crate) fn tone(rate: u32, seconds: f64, hz: f64) -> Vec<f32> {
    let n = (f64::from(rate) * seconds) as usize;
    (0..n)
        .map(|i| (0.5 * (std::f64::consts::TAU * hz * i as f64 / f64::from(rate)).sin()) as f32)
        .collect()
}

#[test]
fn extraction_writes_a_cache_that_opens_and_agrees() {
    let folder = tempfile::tempdir().unwrap();
    for (file, seconds, hz) in
        [("jazz/a.wav", 2.0, 440.0), ("rock/b.wav", 1.0, 220.0), ("rock/c.wav", 1.5, 880.0)]
    {
        wav(&folder.path().join("in").join(file), 22_050, &tone(22_050, seconds, hz));
    }
    fs::write(folder.path().join("in/rock/broken.wav"), b"no audio").unwrap();
    let audio = Dataset::open(&folder.path().join("in")).unwrap();
    let front_end = FrontEnd {
        sample_rate: 22_050,
        resampling: Default::default(),
        n_fft: 1024,
        hop: 512,
        map: taggram_features::Map::Mel { bands: 40, scale: taggram_features::Scale::Decibel },
    };
    let out = folder.path().join("out");
    let options = ExtractOptions { middle_s: None, jobs: 2 };
    let made = extract_cache(&audio, &front_end, &out, options, &|_| ()).unwrap();
    assert_eq!((made.ids.len(), made.failed.len()), (3, 1));
    assert!(made.failed[0].1.to_string().contains("broken.wav"), "{}", made.failed[0].1);
    let cache = Dataset::open(&out).unwrap();
    assert_eq!(cache.genres, ["jazz", "rock"]);
    for track in &cache.tracks {
        let original = &audio.tracks[audio.index_of(&track.id).unwrap()];
        let a = audio.feature_map(original, &front_end).unwrap();
        let b = cache.feature_map(track, &front_end).unwrap();
        assert_eq!((a.frames, a.bands), (b.frames, b.bands), "{}", track.id);
        let worst = a.data.iter().zip(&b.data).fold(0f32, |w, (x, y)| w.max((x - y).abs()));
        assert!(worst <= 0.05, "{}: {worst} dB", track.id);
    }
    let left: Vec<_> = fs::read_dir(&out).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

#[test]
fn gtzan_audio_gives_the_rows_of_the_mel_array() {
    let Some(root) = real("") else { return };
    let (audio, mel) = (Dataset::open(&root.join("audio")).unwrap(), Dataset::open(&root).unwrap());
    let cached = &mel.cache().unwrap().recipe().front_end;
    let fine = FrontEnd { hop: 512, ..cached.clone() };
    for id in ["blues.00000", "metal.00005"] {
        let a = audio.feature_map(&audio.tracks[audio.index_of(id).unwrap()], &fine).unwrap();
        let b = mel.feature_map(&mel.tracks[mel.index_of(id).unwrap()], cached).unwrap();
        let top = a.data.iter().fold(f32::MIN, |m, &v| m.max(v));
        let (mut sum, mut n) = (0f64, 0);
        for j in 0..b.frames {
            let t = ((j as f64 + 0.5) / b.frames as f64 * (a.frames - 1) as f64) as usize;
            // Which frames the array's makers kept is known to a frame only.
            let error = |t: usize| -> f64 {
                let pairs = a.frame(0, t).iter().zip(b.frame(0, j));
                pairs.map(|(x, y)| f64::from((x - top).max(-80.0) - y).abs()).sum()
            };
            sum += error(t).min(error(t.saturating_sub(1)));
            n += b.bands;
        }
        assert!(sum / n as f64 <= 0.1, "{id}: mean error {} dB", sum / n as f64);
    }
}

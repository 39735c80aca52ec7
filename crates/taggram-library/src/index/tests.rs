use half::f16;

use super::*;
use crate::Listening;

fn answer(i: usize) -> Answer {
    Answer {
        genre: Some(i % 10),
        confidence: 0.5,
        probabilities: (0..10).map(|g| f16::from_f32(g as f32 / 45.0)).collect(),
        embedding: (0..512).map(|x| f16::from_f32(((x * i) % 97) as f32 / 97.0)).collect(),
        length_s: Some(200.0),
        windows: 3,
        warnings: Vec::new(),
    }
}

fn fingerprint(i: usize) -> Fingerprint {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&(i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    Fingerprint(bytes)
}

fn filled(path: &Path, tracks: usize) -> Index {
    let index = Index::open(path).unwrap();
    let analyst = Analyst::new("default", Listening::Spread).unwrap();
    let analysis = index.analysis(&analyst).unwrap();
    index.db.execute_batch("BEGIN").unwrap();
    for i in 0..tracks {
        let audio = index.put_audio(analysis, fingerprint(i), &answer(i)).unwrap();
        let path =
            format!("/music/An artist of some renown/An album of some length/{i:05} A song.mp3");
        let stamp = Stamp { size: 5_000_000 + i as u64, mtime_ns: 1 << 60 };
        let facts = Facts { genres: vec!["Rock".into()], year: Some(1999) };
        index.put_file(path.as_ref(), stamp, analysis, &Row::Audio(audio), &facts).unwrap();
    }
    index.db.execute_batch("COMMIT").unwrap();
    index
}

#[test]
fn a_track_costs_less_than_three_kilobytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index.sqlite");
    let tracks = 2_000;
    let index = filled(&path, tracks);
    drop(index);
    let bytes = std::fs::metadata(&path).unwrap().len() as f64 / tracks as f64;
    assert!(bytes < 3_000.0, "{bytes} bytes a track with the longest embedding that is kept");
}

#[test]
fn what_is_written_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let index = filled(&dir.path().join("index.sqlite"), 30);
    let mut seen = Vec::new();
    let under = Path::new("/music/An artist of some renown");
    index
        .tracks::<LibraryError>(Some(under), true, |track| {
            seen.push(track);
            Ok(())
        })
        .unwrap();
    assert_eq!(seen.len(), 30);
    assert_eq!(seen[7].embedding, answer(7).embedding);
    assert_eq!(seen[7].genre, Some(7));
    assert_eq!(seen[7].tag_genre.as_deref(), Some("Rock"));
    let mut count = 0;
    let beside = Path::new("/music/An artist of some");
    index
        .tracks::<LibraryError>(Some(beside), false, |_| {
            count += 1;
            Ok(())
        })
        .unwrap();
    assert_eq!(count, 0, "a folder whose name begins alike is another folder");
}

#[test]
fn a_damaged_newer_or_foreign_index_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index.sqlite");
    drop(filled(&path, 500));
    let sound = std::fs::read(&path).unwrap();
    let refused = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let error = Index::open(&path).err().expect("it was opened");
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "a refused index was changed");
        error
    };
    let mut newer = sound.clone();
    // `user_version` lies at byte 60 of the header (SQLite's file format, §1.3).
    newer[60..64].copy_from_slice(&(SCHEMA as u32 + 1).to_be_bytes());
    let error = refused(&newer);
    assert_eq!(error.kind, ErrorKind::Newer, "{error}");

    let mut damaged = sound.clone();
    let half = damaged.len() / 2;
    damaged[half..half + 9_000].fill(0x5a);
    let error = refused(&damaged);
    assert_eq!(error.kind, ErrorKind::Corrupt, "{error}");
    assert!(error.message.contains("--rebuild"), "{error}");

    let error =
        refused(b"This is a letter to a friend, not a database at all, and long enough for one.");
    assert_eq!(error.kind, ErrorKind::Corrupt, "{error}");

    let mut foreign = sound.clone();
    foreign[68..72].copy_from_slice(&7u32.to_be_bytes());
    assert_eq!(refused(&foreign).kind, ErrorKind::Foreign);

    std::fs::write(&path, &damaged).unwrap();
    let (index, aside) = Index::rebuild(&path).unwrap();
    assert_eq!(std::fs::read(aside.unwrap()).unwrap(), damaged);
    assert!(index.known(Path::new("/")).unwrap().is_empty());
}

#[test]
fn a_rebuilt_or_pruned_index_forgets_only_what_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let mut index = filled(&dir.path().join("index.sqlite"), 10);
    let known = index.known(Path::new("/music")).unwrap();
    let ids: Vec<i64> = known.values().map(|k| k.id).take(4).collect();
    index.mark(&ids, true).unwrap();
    assert_eq!(index.forget_gone().unwrap(), 4);
    assert_eq!(index.known(Path::new("/")).unwrap().len(), 6);
    let audio: i64 = index.ask("SELECT count(*) FROM audio").unwrap();
    assert_eq!(audio, 6);
}

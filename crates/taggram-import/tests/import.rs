//! Wheels that are wrong in every way, built here, and the published one where it is at hand.

use std::{io::Write, path::Path};

use taggram_import::{ImportErrorKind, import};
use zip::{ZipWriter, write::SimpleFileOptions};

fn wheel(path: &Path, members: &[(&str, &[u8])]) {
    let mut zip = ZipWriter::new(std::fs::File::create(path).unwrap());
    for (name, bytes) in members {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
}

fn lists() -> String {
    let tags: Vec<String> = (0..50).map(|i| format!("'tag {i}'")).collect();
    ["MTT", "MSD"].map(|set| format!("{set}_LABELS = [{}]\n", tags.join(", "))).concat()
}

fn index_member(bytes: &[u8]) -> (&'static str, &[u8]) {
    ("musicnn/MSD_musicnn/.index", bytes)
}

/// An index that holds nothing but the footer and empty blocks.
fn empty_index() -> Vec<u8> {
    // An empty block: no entries, no restart points, uncompressed.
    let block = [0, 0, 0, 0, 0];
    let mut bytes = block.to_vec();
    // CRC-32C of five zero bytes, masked.
    bytes.extend(masked_crc(&block).to_le_bytes());
    let mut footer = vec![0, 4, 0, 4];
    footer.resize(40, 0);
    footer.extend(0xDB47_7524_8B80_FB57u64.to_le_bytes());
    bytes.extend(footer);
    bytes
}

/// The textbook CRC-32C, bit by bit.
fn masked_crc(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82F6_3B78 } else { crc >> 1 };
        }
    }
    (!crc).rotate_right(15).wrapping_add(0xA282_EAD8)
}

#[test]
fn wrong_wheels_are_refused_with_what_was_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("musicnn.whl");
    let lists = lists();
    let long = vec![b' '; 70_000];
    let index = empty_index();
    let licence = ("musicnn-0.1.0.dist-info/LICENSE.md", b"ISC".as_slice());
    let configuration = ("musicnn/configuration.py", lists.as_bytes());
    let data = ("musicnn/MSD_musicnn/.data-00000-of-00001", b"".as_slice());
    let mut cut = index.clone();
    cut.pop();
    let mut flipped = index.clone();
    flipped[2] = 1;
    for (members, problem, kind) in [
        (vec![], "configuration.py: is absent", ImportErrorKind::Malformed),
        (
            vec![("musicnn/configuration.py", long.as_slice())],
            "more than",
            ImportErrorKind::OverLimit,
        ),
        (vec![configuration], "LICENSE.md: is absent", ImportErrorKind::Malformed),
        (vec![configuration, licence], ".index: is absent", ImportErrorKind::Malformed),
        (vec![("musicnn/configuration.py", b"x"), licence], "no line", ImportErrorKind::Malformed),
        (
            vec![configuration, licence, data, index_member(b"short")],
            "5 bytes",
            ImportErrorKind::Malformed,
        ),
        (
            vec![configuration, licence, data, index_member(&cut)],
            "cut off",
            ImportErrorKind::Malformed,
        ),
        (
            vec![configuration, licence, data, index_member(&flipped)],
            "checksum",
            ImportErrorKind::Malformed,
        ),
        (
            vec![configuration, licence, data, index_member(&index)],
            "no header",
            ImportErrorKind::Malformed,
        ),
    ] {
        wheel(&path, &members);
        let error = import(&path).unwrap_err();
        assert!(error.to_string().contains(problem), "wanted {problem:?}, got: {error}");
        assert_eq!(error.kind, kind, "{error}");
    }
}

#[test]
fn files_that_are_no_wheels_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let error = import(dir.path()).unwrap_err();
    assert!(error.message.contains("not an unpacked musicnn wheel"), "{error}");
    let error = import(&dir.path().join("absent.whl")).unwrap_err();
    assert_eq!(error.kind, ImportErrorKind::Unreadable);
    let path = dir.path().join("text.whl");
    std::fs::write(&path, "not a zip archive").unwrap();
    let error = import(&path).unwrap_err();
    assert!(error.message.contains("zip archive"), "{error}");
}

#[test]
fn the_published_wheel_gives_four_models() {
    let Some(wheel) = std::env::var_os("TAGGRAM_MUSICNN_WHEEL") else {
        println!("SKIPPED: set TAGGRAM_MUSICNN_WHEEL to musicnn-0.1.0-py3-none-any.whl");
        return;
    };
    let wheel = Path::new(&wheel);
    let models = import(wheel).unwrap();
    let names: Vec<&str> = models.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(names, ["msd-musicnn", "mtt-musicnn", "msd-vgg", "mtt-vgg"]);
    for model in &models {
        model.network.check_weights(&model.weights).unwrap();
        assert_eq!(model.vocabulary.len(), 50);
        assert!(model.licence.contains("Permission to use, copy, modify"));
    }
    assert_eq!(models[0].vocabulary[..3], ["rock", "pop", "alternative"]);
    assert_eq!(models[1].vocabulary[..3], ["guitar", "classical", "slow"]);

    // The same wheel with a byte changed in a tensor, and cut off at several places.
    let bytes = std::fs::read(wheel).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("damaged.whl");
    for len in [0, 1, bytes.len() / 3, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..len]).unwrap();
        import(&path).unwrap_err();
    }
    let folder = dir.path().join("unpacked");
    zip::ZipArchive::new(std::fs::File::open(wheel).unwrap()).unwrap().extract(&folder).unwrap();
    let unpacked = import(&folder).unwrap();
    assert_eq!(unpacked[3].weights, models[3].weights);
    let data = folder.join("musicnn/MTT_vgg/.data-00000-of-00001");
    let whole = std::fs::read(&data).unwrap();
    std::fs::write(&data, &whole[..whole.len() / 2]).unwrap();
    let error = import(&folder).unwrap_err();
    assert!(error.message.contains("cut off"), "{error}");
    let mut changed = whole;
    for byte in &mut changed {
        *byte ^= 1;
    }
    std::fs::write(&data, changed).unwrap();
    let error = import(&folder).unwrap_err();
    assert!(error.message.contains("damaged"), "{error}");
}

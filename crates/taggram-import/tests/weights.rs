//! Weights of other programs: what PyTorch writes is read, what is hostile or damaged is refused.

use std::io::Write;
use std::path::{Path, PathBuf};

use taggram_import::{ImportErrorKind, read_weights};

/// The files that `data/make_weights.py` made with PyTorch.
fn made(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data")).join(name)
}

#[test]
fn what_pytorch_saves_is_read() {
    let plain = read_weights(&made("plain.pt")).unwrap();
    assert_eq!(plain["0.weight"].shape, [3, 2, 3, 3]);
    assert_eq!(plain["turned"].shape, [3, 2]);
    assert_eq!(plain["turned"].data, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    assert_eq!(plain["part"].data, [4.0, 5.0, 6.0, 7.0]);
    assert_eq!(plain["half"].data, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(plain["brain"].data, plain["half"].data);
    assert_eq!(plain["double"].data, [0.0, 1.0, 2.0, 3.0]);
    assert!(!plain.contains_key("1.num_batches_tracked"), "an integer is no weight");
    assert_eq!(read_weights(&made("same.safetensors")).unwrap(), plain);
    assert_eq!(read_weights(&made("checkpoint.pth")).unwrap(), plain);
    assert_eq!(read_weights(&made("parameter.pt")).unwrap()["w"].data, [1.0, 1.0]);
    let error = read_weights(&made("whole.pt")).unwrap_err();
    assert_eq!(error.kind, ImportErrorKind::Unsupported);
    assert!(error.message.contains("nothing is ever run"), "{error}");
    assert!(
        read_weights(&made("alone.pt")).unwrap_err().message.contains("no floating-point tensor")
    );

    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    // Every way of cutting or changing the file ends in an error or in weights, never in a panic.
    let bytes = std::fs::read(made("plain.pt")).unwrap();
    for cut in (0..bytes.len()).step_by(bytes.len() / 60) {
        std::fs::write(at("cut.pt"), &bytes[..cut]).unwrap();
        assert!(read_weights(&at("cut.pt")).is_err());
    }
    let mut state = 7u32;
    for _ in 0..400 {
        let mut changed = bytes.clone();
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let place = state as usize % changed.len();
        changed[place] ^= 1 << (state >> 29);
        std::fs::write(at("changed.pt"), &changed).unwrap();
        let _ = read_weights(&at("changed.pt"));
    }
}

#[test]
fn initialisers_of_onnx_are_read() {
    use taggram_model::{NetworkBuilder, Tensor, Weights};
    let network = NetworkBuilder::new("input", [1, 6, 6])
        .conv("conv1", 3, [3, 3])
        .batch_norm("bn1")
        .flatten()
        .dense("logits", 2)
        .build();
    let fill = |spec: taggram_model::WeightSpec| {
        let count: usize = spec.shape.iter().product();
        (spec.name, Tensor::new(spec.shape, (0..count).map(|i| i as f32 + 0.5).collect()))
    };
    let weights: Weights = network.weight_specs().unwrap().into_iter().map(fill).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.onnx");
    let bytes = taggram_model::onnx::to_onnx(&network, &weights).unwrap();
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(read_weights(&path).unwrap(), weights);
    for cut in (0..bytes.len()).step_by(bytes.len() / 40) {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        let _ = read_weights(&path);
    }
}

/// A PyTorch archive with this pickle.
fn archive(pickle: &[u8], path: &Path) {
    let mut zip = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
    let stored =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    zip.start_file("a/data.pkl", stored).unwrap();
    zip.write_all(pickle).unwrap();
    zip.start_file("a/data/0", stored).unwrap();
    zip.write_all(&1.5f32.to_le_bytes().repeat(4)).unwrap();
    zip.finish().unwrap();
}

#[test]
fn a_pickle_that_wants_to_run_something_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("evil.pt");
    let marker = folder.path().join("owned");
    let command = format!("touch {}", marker.display());
    let mut pickle = b"\x80\x02cos\nsystem\nX".to_vec();
    pickle.extend((command.len() as u32).to_le_bytes());
    pickle.extend(command.as_bytes());
    pickle.extend(b"\x85R.");
    archive(&pickle, &path);
    let error = read_weights(&path).unwrap_err();
    assert!(error.message.contains("`os.system`"), "{error}");
    assert!(!marker.exists());
    // A reference to itself, a tensor beyond its storage, an endless pickle, an unknown opcode.
    for (pickle, says) in [
        (&b"\x80\x02}q\x00h\x00."[..], "no floating-point tensor"),
        (b"\x80\x02h\x07.", "has not built"),
        (b"\x80\x02}", "cut off"),
        (b"\x80\x02i", "opcode"),
        (b"\x80\x02R.", "empty stack"),
    ] {
        archive(pickle, &path);
        let error = read_weights(&path).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn a_view_beyond_its_storage_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wide.pt");
    let tensor = |size: u8, stride: u8| {
        let mut p = b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n(".to_vec();
        p.extend(b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ");
        p.extend([b'K', 0, b'K', size, 0x85, b'K', stride, 0x85, 0x89]);
        p.extend(b"}tRs.");
        p
    };
    archive(&tensor(4, 1), &path);
    assert_eq!(read_weights(&path).unwrap()["w"].data, [1.5; 4]);
    for (size, stride) in [(5, 1), (4, 2), (200, 0)] {
        archive(&tensor(size, stride), &path);
        let error = read_weights(&path).unwrap_err();
        assert!(error.message.contains("beyond"), "{error}");
    }
}

#[test]
fn other_files_are_refused_with_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.bin");
    for bytes in [&b""[..], b"hello", b"\x80\x02}q\x00.", b"PK\x03\x04", &[0xff; 64]] {
        std::fs::write(&path, bytes).unwrap();
        let error = read_weights(&path).unwrap_err();
        assert!(error.to_string().contains("weights.bin"), "{error}");
    }
    assert_eq!(
        read_weights(&folder.path().join("absent")).unwrap_err().kind,
        ImportErrorKind::Unreadable
    );
}

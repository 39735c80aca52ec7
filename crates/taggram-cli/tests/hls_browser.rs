//! HLS in a real browser: hls.js plays what the origin serves, and the page that classifies in
//! WebAssembly classifies as the program does. Needs node, Chromium, ffmpeg, and the packages of
//! `tests/web/package.json`; the page needs `web/wasm/build.sh` done before.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::browser::{packages, root};
use common::hls::Origin;

/// Chords that change, and noise.
const CHORDS: &str = "aevalsrc=0.3*sin(2*PI*220*t)+0.2*sin(2*PI*(330+55*floor(t/2))*t)+0.1*random(0)|0.3*sin(2*PI*221*t):s=44100";

/// A song in a codec of ffmpeg's; `false` when there is no ffmpeg.
fn make(path: &Path, seconds: u32, codec: &str) -> bool {
    let source = format!("{CHORDS}:d={seconds}");
    let status = Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error", "-f", "lavfi", "-i", &source, "-c:a", codec])
        .arg(path)
        .status();
    match status {
        Ok(status) => {
            assert!(status.success(), "ffmpeg failed to make {}", path.display());
            true
        }
        Err(_) => false,
    }
}

/// Runs a script of `tests/web` against an origin.
fn node(modules: &Path, script: &str, arguments: &[&str]) {
    let output = Command::new("node")
        .arg(root().join("tests/web").join(script))
        .args(arguments)
        .env("TAGGRAM_NODE_MODULES", modules)
        .env("TAGGRAM", env!("CARGO_BIN_EXE_taggram"))
        .output()
        .unwrap();
    println!("{}", String::from_utf8_lossy(&output.stdout));
    println!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script} failed in the browser");
}

/// The packages, or `None` after saying why the test cannot run.
fn ready(what: &str) -> Option<PathBuf> {
    packages().map_err(|why| eprintln!("SKIPPED: {what}: {why}")).ok()
}

/// Every packaging from start to end, and a radio of each over several tracks.
#[test]
fn hls_js_plays_the_origin() {
    let Some(modules) = ready("hls.js") else { return };
    let folder = tempfile::tempdir().unwrap();
    // A radio plays tracks of one codec, so each kind is a library of its own.
    let kinds = [
        ("mp3", "libmp3lame", &["--mp3", "ts"][..]),
        ("mp3", "libmp3lame", &["--mp3", "packed"]),
        ("aac", "aac", &[]),
        ("m4a", "aac", &[]),
        ("flac", "flac", &[]),
        // Encoded anew, as AAC.
        ("ogg", "libvorbis", &[]),
    ];
    let mut origins = Vec::new();
    for (i, (ending, codec, more)) in kinds.into_iter().enumerate() {
        let library = folder.path().join(i.to_string());
        std::fs::create_dir(&library).unwrap();
        let made = make(&library.join(format!("a.{ending}")), 9, codec)
            && make(&library.join(format!("b.{ending}")), 5, codec);
        if !made {
            eprintln!("SKIPPED: hls.js: ffmpeg is not installed");
            return;
        }
        origins.push(Origin::of(&library, &[&["--segment", "2"], more].concat()));
    }
    let urls: Vec<&str> = origins.iter().map(|origin| origin.url.as_str()).collect();
    node(&modules, "hls.mjs", &urls);
}

#[test]
fn the_page_classifies_on_the_listeners_machine() {
    let Some(modules) = ready("the page in WebAssembly") else { return };
    let page = std::env::var_os("TAGGRAM_WASM_PAGE")
        .map_or_else(|| root().join("web/wasm/dist"), PathBuf::from);
    if !page.join("taggram_wasm_bg.wasm").is_file() {
        eprintln!("SKIPPED: the page in WebAssembly: {} is not built", page.display());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let kinds = [
        ("a.mp3", "libmp3lame"),
        ("b.aac", "aac"),
        ("c.m4a", "aac"),
        ("d.flac", "flac"),
        ("e.ogg", "libvorbis"),
    ];
    for (name, codec) in kinds {
        if !make(&folder.path().join(name), 12, codec) {
            eprintln!("SKIPPED: the page in WebAssembly: ffmpeg is not installed");
            return;
        }
    }
    let pictures = std::env::var_os("TAGGRAM_SCREENSHOTS")
        .map_or_else(|| folder.path().to_path_buf(), PathBuf::from);
    std::fs::create_dir_all(&pictures).unwrap();
    let page = page.to_str().unwrap();
    let origin = Origin::of(folder.path(), &["--segment", "3", "--page", page]);
    node(&modules, "hls-page.mjs", &[&origin.url, pictures.to_str().unwrap()]);
}

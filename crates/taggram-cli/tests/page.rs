//! The page in a real browser, driven by `tests/web/page.mjs`. Needs node, Chromium, and the
//! packages of `tests/web/package.json` (`npm install --prefix tests/web`, or TAGGRAM_NODE_MODULES).

mod common;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use common::browser::{packages, root};
use common::{song, wav_i16};
use taggram_model::{Artifact, Storage};

#[test]
fn the_page_works_in_a_browser() {
    let root = root();
    let modules = match packages() {
        Ok(modules) => modules,
        Err(why) => {
            eprintln!("SKIPPED: the page in a browser: {why}");
            return;
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("song.wav");
    std::fs::write(&file, wav_i16(&song(30.0, 22_050), 22_050, 1)).unwrap();
    // A second model, to compare with: the same one under another name.
    let mut twin = Artifact::read(taggram::DEFAULT_MODEL).unwrap();
    twin.description.name = "twin".into();
    let twin_file = folder.path().join("twin.safetensors");
    std::fs::write(&twin_file, twin.write(Storage::F16).unwrap()).unwrap();

    let mut server = Command::new(env!("CARGO_BIN_EXE_taggram"))
        .args(["serve", "--addr", "127.0.0.1:0", "--model", "default", "--model"])
        .arg(&twin_file)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stderr.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().rsplit("http://").next().unwrap().to_string();

    let pictures = std::env::var_os("TAGGRAM_SCREENSHOTS")
        .map_or_else(|| folder.path().to_path_buf(), PathBuf::from);
    std::fs::create_dir_all(&pictures).unwrap();
    let output = Command::new("node")
        .arg(root.join("tests/web/page.mjs"))
        .arg(format!("http://{address}/"))
        .arg(&file)
        .arg(&pictures)
        .env("TAGGRAM_NODE_MODULES", &modules)
        .output();
    let _ = server.kill();
    let _ = server.wait();
    let output = output.unwrap();
    println!("{}", String::from_utf8_lossy(&output.stdout));
    println!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "the page failed in the browser");
}

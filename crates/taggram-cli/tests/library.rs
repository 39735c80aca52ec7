//! `taggram scan`, `tag`, `export`, `stats` and `similar` as a person runs them.

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{song, stderr, stdout, wav_i16};

const RATE: u32 = 22_050;

/// A folder of music and an index beside it.
struct Library {
    dir: tempfile::TempDir,
}

/// A scan that may answer `unknown`.
const STRICT: &[&str] = &["--jobs=3"];

impl Library {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("music")).unwrap();
        Self { dir }
    }

    fn music(&self) -> PathBuf {
        self.dir.path().join("music")
    }

    fn index(&self) -> PathBuf {
        self.dir.path().join("index.sqlite")
    }

    /// A song that differs from every other number's.
    fn add(&self, name: &str, number: u32) -> PathBuf {
        let path = self.music().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let gain = 1.0 / (1.0 + number as f32);
        let samples: Vec<f32> = song(12.0, RATE).iter().map(|x| x * gain).collect();
        fs::write(&path, wav_i16(&samples, RATE, 1)).unwrap();
        path
    }

    fn command(&self, command: &str, more: &[&str]) -> Command {
        let mut run = Command::new(env!("CARGO_BIN_EXE_taggram"));
        run.arg(command).arg(self.music()).arg("--db").arg(self.index()).args(more);
        // The made songs are music of no genre.
        if command == "scan" && !more.contains(&STRICT[0]) {
            run.arg("--nearest");
        }
        run
    }

    fn run(&self, command: &str, more: &[&str]) -> Output {
        self.command(command, more).output().unwrap()
    }

    fn ok(&self, command: &str, more: &[&str]) -> Output {
        let output = self.run(command, more);
        assert_eq!(output.status.code(), Some(0), "{command}: {}", stderr(&output));
        output
    }

    /// What `taggram scan` says at its end.
    fn scan(&self) -> String {
        stderr(&self.ok("scan", &[]))
    }
}

#[test]
fn the_index_lies_in_the_users_data_folder_and_an_empty_variable_names_none() {
    let library = Library::new();
    library.add("a.wav", 0);
    for (variable, folder) in
        [("", "home/.local/share"), ("relative", "home/.local/share"), ("data", "data")]
    {
        let root = tempfile::tempdir().unwrap();
        let value = if variable == "data" { root.path().join("data") } else { variable.into() };
        let output = Command::new(env!("CARGO_BIN_EXE_taggram"))
            .arg("scan")
            .arg(library.music())
            .current_dir(root.path())
            .env("HOME", root.path().join("home"))
            .env("XDG_DATA_HOME", value)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let index = root.path().join(folder).join("taggram/library.sqlite");
        assert!(index.is_file(), "no {} with XDG_DATA_HOME={variable:?}", index.display());
    }
}

#[test]
fn only_what_is_new_is_listened_to() {
    let library = Library::new();
    let a = library.add("a.wav", 1);
    library.add("b/ü.wav", 2);
    library.add("b/c.wav", 3);
    let said = library.scan();
    assert!(said.contains("3 files · 3 heard"), "{said}");
    let said = library.scan();
    assert!(said.contains("3 files · 0 heard · 3 unchanged"), "{said}");

    // Moved, and tagged by someone else.
    let moved = library.music().join("b/moved.wav");
    let mut bytes = fs::read(&a).unwrap();
    fs::remove_file(&a).unwrap();
    bytes.extend(b"LIST\x12\0\0\0INFOIGNR\x05\0\0\0Jazz\0\0");
    fs::write(&moved, &bytes).unwrap();
    let said = library.scan();
    assert!(
        said.contains("0 heard · 1 recognised by their audio · 2 unchanged · 1 gone"),
        "{said}"
    );
    library.add("b/c.wav", 4);
    let said = library.scan();
    assert!(said.contains("1 heard"), "{said}");
    // Another way of listening is another answer.
    let said = stderr(&library.ok("scan", &["--thorough"]));
    assert!(said.contains("3 heard"), "{said}");

    let csv = stdout(&library.ok("export", &[]));
    assert_eq!(csv.lines().count(), 4, "{csv}");
    assert!(csv.contains("moved.wav") && csv.contains(",Jazz,"), "{csv}");
    let json = stdout(&library.ok("export", &["--format=json"]));
    for line in json.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        let scores = value["scores"].as_object().unwrap();
        let sum: f64 = scores.values().map(|v| v.as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 0.01, "{line}");
        assert!((value["length_s"].as_f64().unwrap() - 12.0).abs() < 0.01, "{line}");
    }
    let parquet = library.ok("export", &["--format=parquet"]).stdout;
    assert!(parquet.starts_with(b"PAR1") && parquet.ends_with(b"PAR1"));
    let folder = library.dir.path().join("playlists");
    library.ok("export", &["--playlists", folder.to_str().unwrap()]);
    let entries: usize = fs::read_dir(&folder)
        .unwrap()
        .map(|f| fs::read_to_string(f.unwrap().path()).unwrap())
        .map(|text| text.lines().filter(|l| l.starts_with('/')).count())
        .sum();
    assert_eq!(entries, 3);

    let page = library.dir.path().join("stats.html");
    let text = stdout(&library.ok("stats", &["--html", page.to_str().unwrap()]));
    assert!(
        text.starts_with("3 tracks") && text.contains("Genres") && text.contains("1 have a genre"),
        "{text}"
    );
    let page = fs::read_to_string(page).unwrap();
    assert!(page.matches("<svg").count() >= 3, "{page}");

    let near = Command::new(env!("CARGO_BIN_EXE_taggram"))
        .arg("similar")
        .arg(&moved)
        .arg("--db")
        .arg(library.index())
        .output()
        .unwrap();
    let near = stdout(&near);
    assert_eq!(near.lines().count(), 2, "{near}");
    assert!(near.contains("c.wav") && !near.contains("moved.wav"), "{near}");
}

#[test]
fn a_killed_scan_loses_only_what_was_in_flight() {
    let library = Library::new();
    for i in 0..40 {
        library.add(&format!("{i:02}.wav"), i);
    }
    let mut scan = library.command("scan", &["--jobs=2"]).stderr(Stdio::null()).spawn().unwrap();
    let rows = || {
        let output = library.run("export", &[]);
        stdout(&output).lines().count().saturating_sub(1)
    };
    let begun = Instant::now();
    while rows() < 5 && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(5));
    }
    scan.kill().unwrap();
    scan.wait().unwrap();
    let kept = rows();
    assert!(kept >= 5, "{kept} rows");
    let said = library.scan();
    let heard = format!("{} heard", 40 - kept);
    assert!(said.contains(&heard), "{kept} were kept, so \"{heard}\" was expected: {said}");
}

#[test]
fn bad_files_fail_alone_and_are_remembered() {
    use std::os::unix::ffi::OsStrExt;
    let library = Library::new();
    library.add("good.wav", 1);
    fs::write(library.music().join("text.mp3"), "no music, only words\n").unwrap();
    fs::write(library.music().join("empty.flac"), "").unwrap();
    std::os::unix::fs::symlink("nowhere", library.music().join("dangling.mp3")).unwrap();
    let odd = library.music().join(std::ffi::OsStr::from_bytes(b"caf\xe9.wav"));
    fs::copy(library.add("tmp.wav", 2), &odd).unwrap();
    fs::remove_file(library.music().join("tmp.wav")).unwrap();
    let output = library.run("scan", &[]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("2 heard") && said.contains("text.mp3: ") && said.contains("empty.flac"),
        "{said}"
    );
    let said = stderr(&library.run("scan", &[]));
    assert!(said.contains("2 failed before"), "{said}");
    let json = stdout(&library.ok("export", &["--format=json"]));
    assert_eq!(json.lines().count(), 2, "{json}");
    let playlist = library.ok("export", &["--format=m3u"]).stdout;
    assert!(
        playlist.windows(8).any(|w| w == b"caf\xe9.wav"),
        "the name in the playlist is not the file's"
    );

    // A folder that cannot be read hides its files; it does not make them gone.
    let page = library.music().join("page");
    fs::create_dir(&page).unwrap();
    fs::rename(&odd, page.join("odd.wav")).unwrap();
    library.run("scan", &["--prune"]);
    fs::remove_dir_all(&page).unwrap();
    let said = stderr(&library.run("scan", &[]));
    assert!(said.contains("1 gone"), "{said}");
    let said = stderr(&library.run("scan", &["--prune"]));
    assert!(said.contains("1 files that are no longer there were forgotten"), "{said}");
}

#[test]
fn files_in_motion_are_taken_up_when_they_rest() {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::atomic::{AtomicBool, Ordering};
    let library = Library::new();
    let growing = library.add("growing.wav", 1);
    let fleeting: Vec<PathBuf> =
        (0..12).map(|i| library.add(&format!("fleeting/{i:02}.wav"), 10 + i)).collect();
    let locked = library.add("locked.wav", 2);
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
    // Whoever may read everything has no locked files.
    let can_lock = fs::File::open(&locked).is_err();
    let rest = AtomicBool::new(false);
    let said = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = fs::OpenOptions::new().append(true).open(&growing).unwrap();
            let mut gone = fleeting.iter();
            while !rest.load(Ordering::Relaxed) {
                file.write_all(&[0; 64]).unwrap();
                std::thread::sleep(Duration::from_millis(1));
                if let Some(path) = gone.next_back() {
                    fs::remove_file(path).unwrap();
                }
            }
            gone.for_each(|path| fs::remove_file(path).unwrap());
        });
        let said = stderr(&library.run("scan", &[]));
        rest.store(true, Ordering::Relaxed);
        said
    });
    assert!(said.contains("changed while they were read"), "{said}");
    assert!(said.contains("growing.wav: it changed while it was read"), "{said}");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o644)).unwrap();
    let said = library.scan();
    let heard = if can_lock { "2 files · 2 heard" } else { "2 files · 1 heard" };
    assert!(said.contains(heard), "{said}");
    let csv = stdout(&library.ok("export", &[]));
    assert_eq!(csv.lines().count(), 3, "{csv}");
}

#[test]
fn a_damaged_index_is_rebuilt_only_on_request() {
    let library = Library::new();
    library.add("a.wav", 1);
    library.scan();
    let mut bytes = fs::read(library.index()).unwrap();
    bytes[100..].fill(0xa5);
    fs::write(library.index(), &bytes).unwrap();
    for command in ["scan", "export", "stats", "tag"] {
        let output = library.run(command, &[]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{command}: {said}");
        assert!(said.contains("damaged") && said.contains("--rebuild"), "{command}: {said}");
        assert_eq!(fs::read(library.index()).unwrap(), bytes);
    }
    let said = stderr(&library.ok("scan", &["--rebuild"]));
    assert!(said.contains("index.sqlite.damaged") && said.contains("1 heard"), "{said}");
    let said = stderr(&library.ok("scan", &["--rebuild"]));
    assert!(said.contains("1 unchanged"), "a sound index is not rebuilt: {said}");
}

#[test]
fn following_takes_up_what_comes() {
    let library = Library::new();
    library.add("a.wav", 1);
    let mut scan = library
        .command("scan", &["--watch"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(scan.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("following") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "it ended");
    }
    let made = library.dir.path().join("made.wav");
    fs::rename(library.add("b.wav", 2), &made).unwrap();
    fs::rename(&made, library.music().join("new.wav")).unwrap();
    let mut heard = BufReader::new(scan.stdout.take().unwrap());
    line.clear();
    heard.read_line(&mut line).unwrap();
    assert!(line.contains("new.wav") && line.contains('%'), "{line}");
    Command::new("kill").args(["-INT", &scan.id().to_string()]).status().unwrap();
    assert_eq!(scan.wait().unwrap().code(), Some(0));
    assert_eq!(stdout(&library.ok("export", &[])).lines().count(), 3);
}

/// The files that a test of tagging works on: made by ffmpeg in every form, with other tags; without ffmpeg
/// only WAV.
fn tagged_forms(library: &Library) -> Vec<PathBuf> {
    let source = library.add("plain.wav", 0);
    let mut files = vec![source.clone()];
    if Command::new("ffmpeg").arg("-version").output().is_err() {
        eprintln!("SKIPPED: tagging of compressed forms: there is no ffmpeg");
        return files;
    }
    for (name, more) in [
        ("a.mp3", &["-c:a", "libmp3lame"][..]),
        ("v23.mp3", &["-c:a", "libmp3lame", "-id3v2_version", "3", "-write_id3v1", "1"]),
        ("a.flac", &["-c:a", "flac"]),
        ("a.ogg", &["-c:a", "libvorbis"]),
        ("a.opus", &["-c:a", "libopus"]),
        ("a.m4a", &["-c:a", "aac"]),
        ("fast.m4a", &["-c:a", "aac", "-movflags", "faststart"]),
        ("a.aiff", &["-write_id3v2", "1"]),
        ("tagged.wav", &["-c:a", "pcm_s16le"]),
    ] {
        let path = library.music().join(name);
        let made = Command::new("ffmpeg")
            .args(["-v", "error", "-i"])
            .arg(&source)
            .args([
                "-metadata",
                "title=A títle",
                "-metadata",
                "artist=Someone",
                "-metadata",
                "date=1987",
            ])
            .args(more)
            .arg(&path)
            .output()
            .unwrap();
        assert!(made.status.success(), "{name}: {}", stderr(&made));
        files.push(path);
    }
    files
}

#[test]
fn tags_are_written_on_request_alone_and_taken_back_to_the_byte() {
    let library = Library::new();
    let files = tagged_forms(&library);
    library.scan();
    let originals: Vec<Vec<u8>> = files.iter().map(|f| fs::read(f).unwrap()).collect();
    let same = |what: &str| {
        for (file, original) in files.iter().zip(&originals) {
            assert!(fs::read(file).unwrap() == *original, "{what}: {} changed", file.display());
        }
    };
    let vocabulary = library.dir.path().join("words.toml");
    let genres = [
        "blues",
        "classical",
        "country",
        "disco",
        "hiphop",
        "jazz",
        "metal",
        "pop",
        "reggae",
        "rock",
    ];
    let words: String = genres.iter().map(|g| format!("{g} = \"My {g}\"\n")).collect();
    fs::write(&vocabulary, words).unwrap();
    let vocabulary = vocabulary.to_str().unwrap();
    let rules = ["--threshold=0", "--top=2", "--vocabulary", vocabulary];

    let dry = library.ok("tag", &rules);
    assert!(
        stdout(&dry).contains("+ My ") && stderr(&dry).contains("would be tagged"),
        "{}",
        stderr(&dry)
    );
    same("a dry run");
    let sure = library.ok("tag", &["--write", "--threshold=1"]);
    assert!(stderr(&sure).contains("0 tagged"), "{}", stderr(&sure));
    same("a threshold that nothing reaches");

    let output = library.ok("tag", &[&rules[..], &["--write"]].concat());
    let said = stderr(&output);
    assert!(said.contains(&format!("{} tagged", files.len())), "{said}\n{}", stdout(&output));
    for (file, original) in files.iter().zip(&originals) {
        assert!(fs::read(file).unwrap() != *original, "{} was not tagged", file.display());
    }
    // Not a byte of audio moved: nothing is listened to again, not even looked at.
    let said = library.scan();
    assert!(said.contains(&format!("0 heard · {} unchanged", files.len())), "{said}");
    let csv = stdout(&library.ok("export", &[]));
    assert_eq!(csv.matches("My ").count(), 2 * files.len(), "{csv}");
    if files.len() > 1 {
        for file in &files[1..] {
            let probe = Command::new("ffprobe")
                .args(["-v", "error", "-show_entries", "format_tags:stream_tags"])
                .arg(file)
                .output()
                .unwrap();
            let tags = stdout(&probe);
            assert!(tags.contains("My "), "{}: {tags}", file.display());
            assert!(
                tags.contains("A títle") && tags.contains("Someone"),
                "{}: {tags}",
                file.display()
            );
        }
    }
    let again = library.ok("tag", &[&rules[..], &["--write"]].concat());
    assert!(
        stderr(&again).contains("0 tagged"),
        "a genre that is there is not overwritten: {}",
        stderr(&again)
    );
    let other = library.ok("tag", &["--write", "--threshold=0", "--when=different"]);
    assert!(stderr(&other).contains(&format!("{} tagged", files.len())), "{}", stderr(&other));

    // Two runs, taken back one after the other.
    library.ok("tag", &["--undo"]);
    let undone = library.ok("tag", &["--undo"]);
    assert!(
        stderr(&undone).contains(&format!("{} restored · 0 left alone", files.len())),
        "{}",
        stderr(&undone)
    );
    same("undo");
    let said = library.scan();
    assert!(said.contains(&format!("{} unchanged", files.len())), "{said}");
}

#[test]
fn silence_has_no_genre_and_gets_none() {
    let library = Library::new();
    let path = library.music().join("silence.wav");
    fs::write(&path, wav_i16(&[0.0; 12 * RATE as usize], RATE, 1)).unwrap();
    library.ok("scan", STRICT);
    let csv = stdout(&library.ok("export", &[]));
    assert!(csv.contains("silence.wav,unknown,0,"), "{csv}");
    let said = stderr(&library.ok("tag", &["--write", "--threshold=0"]));
    assert!(said.contains("0 tagged"), "{said}");
}

#[test]
fn what_someone_else_changed_is_not_undone() {
    let library = Library::new();
    let path = library.add("a.wav", 1);
    library.scan();
    library.ok("tag", &["--write", "--threshold=0"]);
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend(b"LIST\x04\0\0\0INFO");
    fs::write(&path, &bytes).unwrap();
    let output = library.run("tag", &["--undo"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("changed after it was tagged"), "{}", stderr(&output));
    assert_eq!(fs::read(&path).unwrap(), bytes);
    // Nor is a file tagged that is not what was scanned.
    let output = library.run("tag", &["--write", "--threshold=0", "--when=always"]);
    assert!(stderr(&output).contains("changed since it was scanned"), "{}", stderr(&output));
}

#[test]
fn a_full_disk_leaves_the_original_and_no_rubbish() {
    let library = Library::new();
    let path = library.add("a.wav", 1);
    library.scan();
    let original = fs::read(&path).unwrap();
    // The shell limits the size of files that are written, as a full disk does.
    let line = format!(
        "trap '' XFSZ; ulimit -f 300; exec '{}' tag '{}' --db '{}' --write --threshold=0",
        env!("CARGO_BIN_EXE_taggram"),
        library.music().display(),
        library.index().display()
    );
    let output = Command::new("bash").args(["-c", &line]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("0 tagged") && stderr(&output).contains("1 failed"),
        "{}",
        stderr(&output)
    );
    assert_eq!(fs::read(&path).unwrap(), original);
    let left: Vec<_> =
        fs::read_dir(library.music()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["a.wav"]);
}

#[test]
fn read_only_and_linked_files_are_left_alone() {
    let library = Library::new();
    let path = library.add("a.wav", 1);
    let linked = library.add("b.wav", 2);
    fs::hard_link(&linked, library.dir.path().join("elsewhere.wav")).unwrap();
    library.scan();
    let mut permissions = fs::metadata(&path).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&path, permissions).unwrap();
    let output = library.run("tag", &["--write", "--threshold=0"]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("read-only") && said.contains("hard links") && said.contains("0 tagged"),
        "{said}"
    );
}

#[test]
fn real_clips_in_three_windows_say_what_all_of_them_says() {
    let Some(data) = common::real_data("three windows") else { return };
    let library = Library::new();
    for genre in ["blues", "jazz", "metal"] {
        let from = data.join("audio").join(genre);
        for clip in fs::read_dir(from).unwrap().take(3) {
            let clip: PathBuf = clip.unwrap().path();
            fs::copy(&clip, library.music().join(clip.file_name().unwrap())).unwrap();
        }
    }
    let genres = |more: &[&str]| -> Vec<String> {
        library.ok("scan", more);
        let csv = stdout(&library.ok("export", &[]));
        csv.lines().skip(1).map(|l| l.split(',').nth(1).unwrap().to_string()).collect()
    };
    let (spread, thorough) = (genres(&[]), genres(&["--thorough"]));
    let same = spread.iter().zip(&thorough).filter(|(a, b)| a == b).count();
    assert!(same >= 8, "{same} of 9: {spread:?} and {thorough:?}");
}

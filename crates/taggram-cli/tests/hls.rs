//! `taggram hls` as a person runs it: the program serves a folder, and the program hears it.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use common::hls::{Nginx, Origin, get};
use common::{song, stderr, stdout, taggram, wav_i16};
use serde_json::Value;

fn last_line(output: &std::process::Output) -> Value {
    let text = stdout(output);
    serde_json::from_str(text.lines().last().unwrap_or("")).unwrap_or_else(|e| {
        panic!("{e}: {text:?}, {}", stderr(output));
    })
}

/// A library of one song: as WAV, which the origin turns into FLAC, and as FLAC.
fn library() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let wav = folder.path().join("song.wav");
    fs::write(&wav, wav_i16(&song(40.0, 22_050), 22_050, 2)).unwrap();
    let output = taggram([
        "convert".as_ref(),
        wav.as_os_str(),
        "--out".as_ref(),
        folder.path().as_os_str(),
        "--to".as_ref(),
        "flac".as_ref(),
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    folder
}

#[test]
fn a_stream_gives_the_taggram_of_the_file() {
    let folder = library();
    let origin = Origin::of(folder.path(), &["--segment", "4", "--no-live"]);
    let tracks = origin.tracks();
    assert_eq!(tracks.len(), 2);
    for (name, url) in tracks {
        let from_file = folder.path().join("file.json");
        let song = folder.path().join(&name);
        let output =
            taggram(["show".as_ref(), song.as_os_str(), "--out".as_ref(), from_file.as_os_str()]);
        assert!(output.status.success(), "{}", stderr(&output));
        let from_stream = folder.path().join("stream.json");
        for more in [&[][..], &["--http2"][..], &["--connection", "each"][..]] {
            let out = ["--out", from_stream.to_str().unwrap(), "--format", "json"];
            let output = taggram(["hls", "listen", &url].iter().chain(&out).chain(more));
            assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
            // The made songs are music of no genre; nothing else is to be said.
            let said = stderr(&output);
            assert!(said.lines().all(|line| line.contains("unlike all music")), "{said}");
            let read = |path: &Path| -> Value {
                serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
            };
            let (a, b) = (read(&from_file), read(&from_stream));
            let rows = |v: &Value| -> Vec<f64> {
                let rows = v["taggram"]["probabilities"].as_array().unwrap();
                rows.iter().map(|x| x.as_f64().unwrap()).collect()
            };
            let (rows_a, rows_b) = (rows(&a), rows(&b));
            assert_eq!(rows_a.len(), rows_b.len(), "{name}");
            let worst = rows_a.iter().zip(&rows_b).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max);
            assert!(worst <= 1e-5, "{name}: taggrams differ by {worst}");
            assert_eq!(a["genre"], b["genre"]);
            // A line a window, then the record.
            let windows = a["windows"].as_u64().unwrap() as usize;
            assert_eq!(stdout(&output).lines().count(), windows + 1);
            let record = last_line(&output);
            assert_eq!(record["windows"], a["windows"]);
            assert_eq!(record["stream"]["stopped_early"], false);
        }
    }
}

#[test]
fn it_stops_when_it_has_heard_enough() {
    let folder = library();
    let origin = Origin::of(folder.path(), &["--segment", "2", "--no-live"]);
    let (_, url) = origin.tracks().remove(0);
    let all = last_line(&taggram(["hls", "listen", &url, "--format", "json"]));
    let few = last_line(&taggram(["hls", "listen", &url, "--format", "json", "--seconds", "13"]));
    assert_eq!(few["duration_s"], 13.0);
    assert_eq!(few["stream"]["stopped_early"], true);
    let bytes = |v: &Value| v["stream"]["bytes"].as_u64().unwrap();
    assert!(bytes(&few) < bytes(&all) * 2 / 3, "{} of {} bytes", bytes(&few), bytes(&all));
    let sure = ["hls", "listen", &url, "--format", "json", "--until", "confident:0.01"];
    let sure = last_line(&taggram(sure));
    assert_eq!(sure["windows"], 2);
    assert!(bytes(&sure) < bytes(&all) * 2 / 3);
    let output = taggram(["hls", "listen", &url, "--seconds", "13"]);
    let text = stdout(&output);
    assert!(text.lines().last().unwrap().starts_with(&url) && text.contains(" s  "), "{text}");
    assert!(stderr(&output).contains("stopped early"), "{}", stderr(&output));
}

#[test]
fn the_radio_is_heard() {
    let folder = library();
    let origin = Origin::of(folder.path(), &["--segment", "2"]);
    let url = format!("{}live/master.m3u8", origin.url);
    let output = taggram(["hls", "listen", &url, "--seconds", "8", "--format", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let record = last_line(&output);
    assert!(record["duration_s"].as_f64().unwrap() >= 7.9, "{record}");
    assert!(record["stream"]["duration_s"].is_null());
}

/// A server that answers each request, by its path, with what `answer` says, and closes the connection.
fn serve(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let Ok(mut socket) = socket else { return };
            let mut request = [0; 4096];
            let count = socket.read(&mut request).unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..count]).into_owned();
            let path = request.split(' ').nth(1).unwrap_or("").trim_start_matches('/');
            let _ = socket.write_all(&answer(path));
        }
    });
    url
}

/// A server that answers everything with these bytes.
fn answering(answer: Vec<u8>) -> String {
    serve(move |_| answer.clone())
}

#[test]
fn files_and_radios_are_heard_too() {
    let folder = library();
    let flac = fs::read(folder.path().join("song.flac")).unwrap();
    let file = taggram([
        "classify".as_ref(),
        folder.path().join("song.flac").as_os_str(),
        "--format=json".as_ref(),
    ]);
    let expected = last_line(&file);
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: audio/flac\r\nConnection: close\r\n\r\n";
    let url = answering([&head[..], &flac].concat());
    let heard = last_line(&taggram(["hls", "listen", &url, "--format", "json"]));
    assert_eq!((&heard["genre"], &heard["windows"]), (&expected["genre"], &expected["windows"]));
    // A radio with titles between the music, in SHOUTcast's old manner and in HTTP's.
    let mut body = Vec::new();
    for part in flac.chunks(8192) {
        body.extend_from_slice(part);
        if part.len() == 8192 {
            let mut title = b"StreamTitle='Chords in Three';".to_vec();
            title.resize(32, 0);
            body.push(2);
            body.extend(title);
        }
    }
    for status in ["HTTP/1.0 200 OK", "ICY 200 OK"] {
        let head = format!("{status}\r\nicy-name: Test FM\r\nicy-metaint: 8192\r\n\r\n");
        let url = answering([head.as_bytes(), &body].concat());
        let output = taggram(["hls", "listen", &url, "--format", "json"]);
        assert_eq!(output.status.code(), Some(0), "{status}: {}", stderr(&output));
        let heard = last_line(&output);
        assert_eq!(
            (&heard["genre"], &heard["windows"]),
            (&expected["genre"], &expected["windows"])
        );
        let said = stderr(&output);
        assert!(
            said.contains("Test FM") && said.contains("now playing: Chords in Three"),
            "{said}"
        );
    }
}

#[test]
fn what_cannot_be_heard_gets_a_sentence() {
    let url = answering(
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".into(),
    );
    let output = taggram(["hls", "listen", &url, "--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("404"), "{}", stderr(&output));
    assert!(last_line(&output)["error"].as_str().unwrap().contains("404"));
    let page = b"<html>no music here</html>".repeat(300);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", page.len());
    let url = answering([head.as_bytes(), &page].concat());
    let output = taggram(["hls", "listen", &url]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("not an audio file"), "{}", stderr(&output));
    for wrong in ["file:///etc/passwd", "song.mp3", "ftp://a/b"] {
        assert_eq!(taggram(["hls", "listen", wrong]).status.code(), Some(2), "{wrong}");
    }
    for wrong in [["--until", "sure"], ["--until", "confident:1.5"], ["--seconds", "0"]] {
        let output = taggram(["hls", "listen", "http://127.0.0.1:1/", wrong[0], wrong[1]]);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
    }
}

/// A stream that breaks off in the middle: the verdict so far, and exit status 1.
#[test]
fn a_stream_that_breaks_off_gives_the_verdict_so_far() {
    let folder = library();
    let flac = fs::read(folder.path().join("song.flac")).unwrap();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", flac.len());
    let url = answering([head.as_bytes(), &flac[..flac.len() / 2]].concat());
    let output = taggram(["hls", "listen", &url, "--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let record = last_line(&output);
    assert!(record["genre"].is_string() && record["windows"].as_u64().unwrap() >= 1, "{record}");
    assert!(stderr(&output).contains("broke off"), "{}", stderr(&output));
}

/// A song of `seconds` in a codec of ffmpeg's; `false`, and SKIPPED said, when there is no ffmpeg.
fn encode(path: &Path, seconds: u32, more: &[&str]) -> bool {
    let source = format!("aevalsrc=0.3*sin(2*PI*220*t)+0.1*random(0):s=44100:d={seconds}");
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error", "-f", "lavfi", "-i", &source])
        .args(more)
        .arg(path)
        .status();
    match output {
        Ok(status) => {
            assert!(status.success(), "ffmpeg failed to make {}", path.display());
            true
        }
        Err(_) => {
            println!("SKIPPED: ffmpeg is not installed");
            false
        }
    }
}

/// Certificates for this machine of an authority of our own, in `folder`; `false` without openssl.
fn certificates(folder: &Path) -> bool {
    fs::write(folder.join("names"), "subjectAltName=IP:127.0.0.1").unwrap();
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let authority = [
        "req",
        "-x509",
        "-days",
        "2",
        "-subj",
        "/CN=authority",
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
    ];
    let request = ["req", "-subj", "/CN=server", "-keyout", "key.pem", "-out", "request.pem"];
    let sign = [
        "x509",
        "-req",
        "-days",
        "2",
        "-in",
        "request.pem",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-extfile",
        "names",
        "-out",
        "cert.pem",
    ];
    let steps = [[&authority[..], &key].concat(), [&request[..], &key].concat(), sign.to_vec()];
    steps.iter().all(|step| {
        let output = Command::new("openssl").args(step).current_dir(folder).output();
        output.is_ok_and(|output| output.status.success())
    })
}

/// Over https, with the protocol agreed on: only where the certificate is one that the system trusts.
#[test]
fn encrypted_connections_are_heard() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list.m3u8");
    let hls = ["-c:a", "aac", "-f", "hls", "-hls_time", "4", "-hls_list_size", "0"];
    if !encode(&list, 25, &hls) {
        return;
    }
    let settings = "ssl_certificate cert.pem; ssl_certificate_key key.pem;";
    let nginx = certificates(folder.path())
        .then(|| Nginx::serve(folder.path(), "ssl http2", settings))
        .flatten();
    let Some(nginx) = nginx else {
        println!("SKIPPED: nginx or openssl is not installed");
        return;
    };
    let url = format!("https://127.0.0.1:{}/list.m3u8", nginx.port);
    let listen = |authorities: &Path| {
        Command::new(env!("CARGO_BIN_EXE_taggram"))
            .args(["hls", "listen", &url, "--format", "json"])
            .env("SSL_CERT_FILE", authorities)
            .output()
            .unwrap()
    };
    let output = listen(&folder.path().join("ca.pem"));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let record = last_line(&output);
    assert!(record["duration_s"].as_f64().unwrap() > 24.9, "{record}");
    let log = fs::read_to_string(folder.path().join("access.log")).unwrap();
    assert!(log.lines().count() >= 7 && log.lines().all(|l| l.contains("HTTP/2.0\" 200")), "{log}");
    // An authority that did not sign it.
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    assert!(certificates(&other));
    let output = listen(&other.join("ca.pem"));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("certificate"), "{}", stderr(&output));
}

/// An hour of music is neither cut nor sent in one piece.
#[cfg(target_os = "linux")]
#[test]
fn the_origin_holds_nothing_whole() {
    let folder = tempfile::tempdir().unwrap();
    let minute = folder.path().join("minute.mp3");
    if !encode(
        &minute,
        60,
        &["-c:a", "libmp3lame", "-b:a", "128k", "-write_xing", "0", "-id3v2_version", "0"],
    ) {
        return;
    }
    let frames = fs::read(&minute).unwrap();
    fs::remove_file(&minute).unwrap();
    let hour = frames.repeat(60);
    fs::write(folder.path().join("hour.mp3"), &hour).unwrap();
    let origin = Origin::of(folder.path(), &["--no-live"]);
    let peak_kib = || -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", origin.pid())).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let before = peak_kib();
    let (_, url) = origin.tracks().remove(0);
    let base = url.strip_suffix("master.m3u8").unwrap().to_owned();
    let list = String::from_utf8(get(&format!("{base}media.m3u8"))).unwrap();
    let mut bytes = 0;
    for segment in list.lines().filter(|l| l.ends_with(".ts")) {
        bytes += get(&format!("{base}{segment}")).len();
    }
    assert!(bytes > hour.len(), "{bytes} bytes of segments for {}", hour.len());
    let grown = peak_kib() - before;
    println!("{} KiB of music, memory grew by {grown} KiB from {before} KiB", hour.len() >> 10);
    assert!(grown < 16 << 10, "memory grew by {grown} KiB");
}

/// A server of a few files; everything else is not found.
fn serving(files: Vec<(String, Vec<u8>)>) -> String {
    serve(move |path| {
        let (status, body) = match files.iter().find(|(name, _)| *name == path) {
            Some((_, body)) => ("200 OK", &body[..]),
            None => ("404 Not Found", &[][..]),
        };
        let length = body.len();
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
        [head.as_bytes(), body].concat()
    })
}

/// Segments that are gone from the middle on: tried again, given up, and the verdict so far told.
#[test]
fn a_playlist_whose_segments_are_gone_gives_the_verdict_so_far() {
    let folder = library();
    let origin = Origin::of(folder.path(), &["--segment", "4", "--no-live"]);
    let (_, url) = origin.tracks().remove(0);
    let base = url.strip_suffix("master.m3u8").unwrap();
    let list = get(&format!("{base}media.m3u8"));
    let mut files = vec![("list.m3u8".to_owned(), list)];
    for name in ["init.mp4", "0.m4s", "1.m4s", "2.m4s", "3.m4s"] {
        files.push((name.to_owned(), get(&format!("{base}{name}"))));
    }
    let output =
        taggram(["hls", "listen", &format!("{}list.m3u8", serving(files)), "--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let record = last_line(&output);
    assert!(record["genre"].is_string(), "{record}");
    let heard = record["duration_s"].as_f64().unwrap();
    assert!((15.5..16.1).contains(&heard), "{record}");
    let said = stderr(&output);
    assert!(said.contains("404") && said.contains("segments in a row"), "{said}");
}

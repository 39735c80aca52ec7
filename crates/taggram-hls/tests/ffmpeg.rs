//! Parties nobody here wrote: ffmpeg plays what the origin serves, and our client hears what
//! ffmpeg segmented and nginx serves.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::*;
use taggram_audio::Limits;
use taggram_hls::client::ClientOptions;
use taggram_hls::segment::{CutOptions, Packaging, cut};

/// nginx over a folder, on a free port.
struct Nginx {
    process: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Nginx {
    fn serve(root: &Path) -> Option<Self> {
        let program = ["nginx", "/usr/sbin/nginx"]
            .into_iter()
            .find(|p| Command::new(p).arg("-v").output().is_ok())?;
        let port = std::net::TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?.port();
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().display();
        let config = format!(
            "daemon off; master_process off; pid {at}/pid; error_log {at}/error.log; events {{}}\n\
             http {{ access_log {at}/access.log; client_body_temp_path {at}/b; proxy_temp_path {at}/p;\n\
             fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s; gzip on; gzip_types *;\n\
             server {{ listen 127.0.0.1:{port}; root {}; }} }}",
            root.display()
        );
        std::fs::write(folder.path().join("conf"), config).unwrap();
        let process = Command::new(program)
            .args(["-p", folder.path().to_str()?, "-c", "conf", "-e"])
            .arg(folder.path().join("start.log"))
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        for _ in 0..100 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(Self { process, port, _folder: folder });
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("nginx did not start");
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Each way in which ffmpeg writes HLS of music, next to the same packets as one file.
struct Way {
    name: &'static str,
    encode: &'static [&'static str],
    hls: &'static [&'static str],
    /// A file with the same packets, whose samples are the expected ones.
    file: &'static str,
    tracks: &'static [&'static str],
}

const WAYS: &[Way] = &[
    Way {
        name: "AAC in TS",
        encode: &["-c:a", "aac"],
        hls: &["-f", "hls"],
        file: "same.aac",
        tracks: &[],
    },
    Way {
        name: "MP3 in TS",
        encode: &["-c:a", "libmp3lame"],
        hls: &["-f", "hls"],
        file: "same.mp3",
        tracks: &["-write_xing", "0"],
    },
    Way {
        name: "AAC in MP4",
        encode: &["-c:a", "aac"],
        hls: &["-f", "hls", "-hls_segment_type", "fmp4"],
        file: "same.m4a",
        tracks: &[],
    },
    Way {
        name: "FLAC in MP4",
        encode: &["-c:a", "flac"],
        hls: &["-f", "hls", "-hls_segment_type", "fmp4", "-strict", "-2"],
        file: "same.flac",
        tracks: &[],
    },
    Way {
        name: "one file by ranges",
        encode: &["-c:a", "aac"],
        hls: &["-f", "hls", "-hls_flags", "single_file"],
        file: "same.aac",
        tracks: &[],
    },
    Way {
        name: "packed AAC",
        encode: &["-c:a", "aac"],
        hls: &["-f", "segment", "-segment_format", "adts"],
        file: "same.aac",
        tracks: &[],
    },
    Way {
        name: "packed MP3",
        encode: &["-c:a", "libmp3lame"],
        hls: &["-f", "segment", "-segment_format", "mp3"],
        file: "same.mp3",
        tracks: &["-write_xing", "0"],
    },
];

fn hls(folder: &Path, source: &Path, more: &[&str]) -> PathBuf {
    let list = folder.join("list.m3u8");
    let mut arguments =
        vec!["-loglevel", "error", "-i", source.to_str().unwrap(), "-c", "copy", "-map", "0:a"];
    arguments.extend(more);
    let time = if more.contains(&"segment") { "-segment_time" } else { "-hls_time" };
    arguments.extend([time, "2"]);
    let part = folder.join("part%03d.bin");
    if more.contains(&"segment") {
        arguments.extend([
            "-segment_list",
            list.to_str().unwrap(),
            "-segment_list_type",
            "m3u8",
            part.to_str().unwrap(),
        ]);
    } else {
        arguments.extend([
            "-hls_list_size",
            "0",
            "-hls_playlist_type",
            "vod",
            list.to_str().unwrap(),
        ]);
    }
    ffmpeg(&arguments);
    list
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ffmpeg_segments_is_heard_to_the_sample() {
    if !has("ffmpeg") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let Some(nginx) = Nginx::serve(root.path()) else {
        println!("SKIPPED: nginx is not installed");
        return;
    };
    let model = taggram::model("default").unwrap();
    for (i, way) in WAYS.iter().enumerate() {
        let folder = root.path().join(i.to_string());
        std::fs::create_dir(&folder).unwrap();
        let source = folder.join("source.mkv");
        song(&source, 21, way.encode);
        let same = folder.join(way.file);
        let mut arguments =
            vec!["-loglevel", "error", "-i", source.to_str().unwrap(), "-c", "copy"];
        arguments.extend(way.tracks);
        arguments.push(same.to_str().unwrap());
        ffmpeg(&arguments);
        hls(&folder, &source, way.hls);
        let url = nginx.url(&format!("{i}/list.m3u8"));
        let heard = hear(&url, ClientOptions::default(), 99).await.unwrap();
        assert!(heard.end.is_none(), "{}: {:?}", way.name, heard.end);
        assert!(heard.notes.is_empty(), "{}: {:?}", way.name, heard.notes);
        assert!(heard.pieces >= 9, "{}: {} segments", way.name, heard.pieces);
        let expected = whole(&same);
        let len = heard.samples.len().min(expected.len());
        // The end of an MP4 is cut by its index, which a stream does not have.
        assert!(
            expected.len().abs_diff(heard.samples.len()) <= 1200,
            "{}: {} and {} samples",
            way.name,
            heard.samples.len(),
            expected.len()
        );
        let inner = len - 2000;
        assert_same(&heard.samples[..inner], &expected[..inner], way.name);
        // And so is the taggram.
        let row = |samples: &[f32]| {
            let mut listener = taggram::Listener::new(&model, false, 1).unwrap();
            listener.hear(samples).unwrap();
            listener.finish(taggram::Decide::Mean).unwrap().taggram
        };
        let (a, b) = (row(&heard.samples), row(&expected));
        let both = a.len().min(b.len()) * a.labels.len();
        assert!(both >= 2 * a.labels.len(), "{}: {} windows", way.name, a.len());
        let worst = a.probabilities[..both]
            .iter()
            .zip(&b.probabilities[..both])
            .map(|(x, y)| (x - y).abs())
            .fold(0.0, f32::max);
        assert!(worst <= 1e-5, "{}: taggrams differ by {worst}", way.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn encrypted_and_discontinuous_streams_of_ffmpeg() {
    if !has("ffmpeg") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let Some(nginx) = Nginx::serve(root.path()) else {
        println!("SKIPPED: nginx is not installed");
        return;
    };
    let folder = root.path();
    let (source, same) = (folder.join("source.mkv"), folder.join("same.aac"));
    song(&source, 11, &["-c:a", "aac"]);
    ffmpeg(&[
        "-loglevel",
        "error",
        "-i",
        source.to_str().unwrap(),
        "-c",
        "copy",
        same.to_str().unwrap(),
    ]);
    let expected = whole(&same);
    // Encrypted, with and without a vector of its own.
    std::fs::write(folder.join("key.bin"), [7u8; 16]).unwrap();
    let info = folder.join("key.info");
    for iv in ["", "000102030405060708090a0b0c0d0e0f\n"] {
        std::fs::write(&info, format!("key.bin\n{}/key.bin\n{iv}", folder.display())).unwrap();
        hls(folder, &source, &["-f", "hls", "-hls_key_info_file", info.to_str().unwrap()]);
        let text = std::fs::read_to_string(folder.join("list.m3u8")).unwrap();
        assert!(text.contains("METHOD=AES-128"), "{text}");
        let heard = hear(&nginx.url("list.m3u8"), ClientOptions::default(), 99).await.unwrap();
        assert!(heard.notes.is_empty() && heard.end.is_none(), "{:?}", heard.notes);
        assert_same(&heard.samples, &expected, "encrypted");
    }
    // The wrong key is said to be one.
    std::fs::write(folder.join("key.bin"), [8u8; 16]).unwrap();
    let heard = hear(&nginx.url("list.m3u8"), hasty(), 99).await.unwrap();
    assert!(heard.end.unwrap().to_string().contains("key"), "{:?}", heard.notes);
    // A second programme, of another codec and rate, appended behind a discontinuity.
    let other = folder.join("other.mkv");
    song(&other, 5, &["-c:a", "libmp3lame", "-ar", "48000"]);
    let list = hls(folder, &source, &["-f", "hls"]);
    let first = std::fs::read_to_string(&list).unwrap();
    let second = folder.join("second");
    std::fs::create_dir(&second).unwrap();
    let tail = std::fs::read_to_string(hls(&second, &other, &["-f", "hls"])).unwrap();
    let body: String = tail
        .lines()
        .filter(|l| l.starts_with("#EXTINF") || !l.starts_with('#'))
        .map(|l| if l.starts_with('#') { format!("{l}\n") } else { format!("second/{l}\n") })
        .collect();
    let joined =
        first.replace("#EXT-X-ENDLIST", &format!("#EXT-X-DISCONTINUITY\n{body}#EXT-X-ENDLIST"));
    std::fs::write(folder.join("joined.m3u8"), joined).unwrap();
    let heard = hear(&nginx.url("joined.m3u8"), ClientOptions::default(), 99).await.unwrap();
    assert!(heard.notes.is_empty() && heard.end.is_none(), "{:?}", heard.notes);
    assert_eq!(heard.discontinuities, 1);
    let seconds = heard.samples.len() as f64 / f64::from(RATE);
    assert!((15.9..16.3).contains(&seconds), "{seconds} s");
    assert_same(
        &heard.samples[..expected.len() - 100],
        &expected[..expected.len() - 100],
        "before it",
    );
}

/// ffmpeg plays each packaging of the origin from start to end without a word, and gets the music.
#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_plays_the_origin() {
    if !has("ffmpeg") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    song(&path("a.mp3"), 20, &["-c:a", "libmp3lame"]);
    song(&path("b.m4a"), 20, &["-c:a", "aac"]);
    song(&path("c.aac"), 20, &["-c:a", "aac"]);
    song(&path("d.flac"), 20, &["-c:a", "flac"]);
    song(&path("e.wav"), 20, &[]);
    song(&path("f.ogg"), 20, &["-c:a", "libvorbis"]);
    let (address, origin) = origin(root.path(), cut_options(4.0), false).await;
    for track in origin.library().tracks().to_vec() {
        let url = format!("http://{address}/t/{}/master.m3u8", track.id);
        let raw = path("out.f32");
        let out = raw.to_str().unwrap().to_owned();
        let said = tokio::task::spawn_blocking(move || {
            ffmpeg(&[
                "-loglevel",
                "warning",
                "-i",
                &url,
                "-f",
                "f32le",
                "-ac",
                "1",
                "-ar",
                "44100",
                &out,
            ])
        });
        assert_eq!(said.await.unwrap(), "", "{}", track.name);
        let seconds = std::fs::metadata(&raw).unwrap().len() as f64 / 4.0 / 44_100.0;
        assert!((19.9..20.2).contains(&seconds), "{}: {seconds} s", track.name);
    }
}

/// ffmpeg follows a radio of each kind across tracks in real time, without a word.
#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_plays_the_radio() {
    if !has("ffmpeg") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let kinds = [("mp3", "libmp3lame"), ("aac", "aac"), ("flac", "flac"), ("ogg", "libvorbis")];
    let mut heard = Vec::new();
    for (ending, codec) in kinds {
        let library = root.path().join(ending);
        std::fs::create_dir(&library).unwrap();
        for (name, seconds) in [("a", 3), ("b", 5)] {
            song(&library.join(format!("{name}.{ending}")), seconds, &["-c:a", codec]);
        }
        let (address, origin) = origin(&library, cut_options(2.0), true).await;
        let url = format!("http://{address}/live/master.m3u8");
        let said = tokio::task::spawn_blocking(move || {
            ffmpeg(&["-loglevel", "warning", "-i", &url, "-t", "20", "-f", "null", "-"])
        });
        heard.push((ending, said, origin));
    }
    for (ending, said, _origin) in heard {
        let said = said.await.unwrap();
        // ffmpeg 5.1 reads the init segment again whenever it reloads a live playlist, and complains of it: of
        // the live fMP4 playlists that it wrote itself, too.
        let of_ours: Vec<&str> = said
            .lines()
            .filter(|line| !line.contains("Found duplicated MOOV Atom. Skipped it"))
            .filter(|line| !line.contains("Last message repeated"))
            .collect();
        assert!(of_ours.is_empty(), "{ending}: {said}");
    }
}

/// Cutting is along frames: the segments put together are the frames of the file.
#[test]
fn segments_are_the_frames_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let options = CutOptions { segment_s: 0.1, mp3: Packaging::Packed, limits: Limits::default() };
    let track = cut(&golden("tone.mp3"), folder.path(), None, &options).unwrap();
    assert!(track.segments.len() >= 4 && !track.encoded);
    let mut joined = Vec::new();
    for i in 0..track.segments.len() {
        let bytes = std::fs::read(folder.path().join(format!("{i}.mp3"))).unwrap();
        // An ID3 tag of 73 bytes with the time precedes the frames.
        assert!(bytes.starts_with(b"ID3") && bytes[73] == 0xff);
        joined.extend_from_slice(&bytes[73..]);
    }
    let file = std::fs::read(golden("tone.mp3")).unwrap();
    assert!(file.windows(joined.len()).any(|w| w == joined), "not a run of the file's bytes");
}

//! `taggram submit` and `taggram worker` with a real nats-server, killed in the middle.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{song, stderr, stdout, wav_i16};

const RATE: u32 = 22_050;

/// Longest time that anything here may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A process that does not outlive its test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Process {
    /// As by `kill -9`.
    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    fn terminate(&self) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }

    /// Waits for its end; exit status and standard error.
    fn ended(mut self) -> (Option<i32>, String) {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                break status.code();
            }
            assert!(begun.elapsed() < PATIENCE, "the worker does not end");
            std::thread::sleep(Duration::from_millis(20));
        };
        let mut said = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (status, said)
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn is_there(program: &str, what: &str) -> bool {
    let there = Command::new(program)
        .arg("--help")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !there {
        eprintln!("SKIPPED: {what}: there is no {program}");
    }
    there
}

/// A broker with its store, music, and a place for the result.
struct Fleet {
    dir: tempfile::TempDir,
    port: u16,
    broker: Process,
    settings: Vec<(&'static str, String)>,
}

impl Fleet {
    /// `None`, and said, when there is no nats-server.
    fn new(test: &str) -> Option<Self> {
        if !is_there("nats-server", test) {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("music")).unwrap();
        let port = free_port();
        let broker = start_broker(dir.path(), port);
        Some(Self { dir, port, broker, settings: Vec::new() })
    }

    fn music(&self) -> PathBuf {
        self.dir.path().join("music")
    }

    /// `count` names, of which each eighth is another song.
    fn add(&self, count: usize) -> BTreeSet<String> {
        let songs: Vec<PathBuf> = (0..8.min(count))
            .map(|i| {
                let gain = 1.0 / (1.0 + i as f32);
                let samples: Vec<f32> = song(11.0, RATE).iter().map(|x| x * gain).collect();
                let path = self.dir.path().join(format!("song{i}.wav"));
                fs::write(&path, wav_i16(&samples, RATE, 1)).unwrap();
                path
            })
            .collect();
        let music = self.music().canonicalize().unwrap();
        (0..count)
            .map(|i| {
                let path = music.join(format!("{i:04} — a song.wav"));
                fs::hard_link(&songs[i % songs.len()], &path).unwrap();
                path.to_str().unwrap().to_string()
            })
            .collect()
    }

    fn command(&self, command: &str) -> Command {
        let mut run = Command::new(env!("CARGO_BIN_EXE_taggram"));
        run.arg(command).arg("--queue").arg(format!("nats://127.0.0.1:{}", self.port));
        run.envs(self.settings.clone());
        run
    }

    fn submit(&self, more: &[&str]) -> Output {
        let output = self.command("submit").args(more).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        output
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    fn worker(&self, more: &[&str]) -> Process {
        let mut run = self.command("worker");
        let given = |name: &str| more.iter().any(|m| m.starts_with(name));
        run.arg("--nearest").args(more);
        if !given("--patience") {
            run.arg("--patience=2");
        }
        if !given("--jobs") {
            run.arg("--jobs=1");
        }
        if !given("--out") {
            run.arg("--out").arg(self.out());
        }
        Process(run.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
    }

    fn parts(&self) -> Vec<PathBuf> {
        let folder = fs::read_dir(self.out().join("tracks"));
        let paths = folder.into_iter().flatten().map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_some_and(|e| e == "parquet")).collect()
    }

    fn status(&self) -> serde_json::Value {
        serde_json::from_str(&stdout(&self.submit(&["--status"]))).unwrap()
    }

    fn dead_letters(&self) -> Vec<serde_json::Value> {
        let lines = stdout(&self.submit(&["--dead-letters"]));
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn all_parts(&self) -> Vec<Vec<u8>> {
        self.parts().iter().map(|part| fs::read(part).unwrap()).collect()
    }
}

fn start_broker(dir: &Path, port: u16) -> Process {
    let broker = Command::new("nats-server")
        .args(["-js", "-a", "127.0.0.1", "-p", &port.to_string(), "-sd"])
        .arg(dir.join("broker"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let broker = Process(broker);
    until("the broker listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    broker
}

/// How often a track is in the result: as a value of a column, its length before it.
fn times(parts: &[Vec<u8>], track: &str) -> usize {
    let value = [&(track.len() as u32).to_le_bytes()[..], track.as_bytes()].concat();
    let count = |part: &Vec<u8>| part.windows(value.len()).filter(|w| *w == value).count();
    parts.iter().map(count).sum()
}

fn assert_each_once(parts: &[Vec<u8>], tracks: &BTreeSet<String>) {
    assert!(parts.iter().all(|part| part.starts_with(b"PAR1") && part.ends_with(b"PAR1")));
    let wrong: Vec<(&String, usize)> =
        tracks.iter().map(|t| (t, times(parts, t))).filter(|(_, n)| *n != 1).collect();
    assert!(wrong.is_empty(), "{} of {} are not there once: {wrong:?}", wrong.len(), tracks.len());
}

#[test]
fn every_track_once_though_workers_and_broker_are_killed() {
    let Some(mut fleet) = Fleet::new("workers and broker killed") else { return };
    let tracks = fleet.add(360);
    let music = fleet.music();
    let said = fleet.submit(&[music.to_str().unwrap(), "--batch=6"]);
    assert!(stderr(&said).contains("360 tracks in 60 jobs"), "{}", stderr(&said));
    // The same again changes nothing.
    let said = fleet.submit(&[music.to_str().unwrap(), "--batch=6"]);
    assert!(stderr(&said).contains("submitted to tracks before"), "{}", stderr(&said));

    let (mut a, mut b) = (fleet.worker(&[]), fleet.worker(&[]));
    until("a few parts", || fleet.parts().len() >= 4);
    a.kill();
    until("more parts", || fleet.parts().len() >= 10);
    fleet.broker.kill();
    std::thread::sleep(Duration::from_millis(700));
    fleet.broker = start_broker(fleet.dir.path(), fleet.port);
    a = fleet.worker(&[]);
    until("the broker is back", || fleet.parts().len() >= 20);
    // All at once.
    fleet.broker.kill();
    a.kill();
    b.kill();
    let halfway = fleet.parts().len();
    assert!(halfway < 60, "nothing is left to interrupt: {halfway} parts");
    fleet.broker = start_broker(fleet.dir.path(), fleet.port);
    // Jobs that were done come in again, and a listing that was half sent would.
    fleet.submit(&[music.to_str().unwrap(), "--batch=6", "--again"]);
    let (mut c, d) = (fleet.worker(&["--until-empty"]), fleet.worker(&["--until-empty"]));
    until("most parts", || fleet.parts().len() >= 40);
    c.kill();
    let (status, said) = d.ended();
    assert_eq!(status, Some(0), "{said}");

    assert_eq!(fleet.status(), serde_json::json!({"waiting": 0, "in_hand": 0, "dead_letters": 0}));
    assert_eq!(fleet.parts().len(), 60);
    assert_each_once(&fleet.all_parts(), &tracks);
    let rubbish = fs::read_dir(fleet.out().join("tracks")).unwrap().count() - 60;
    assert!(rubbish <= 4, "{rubbish} files of killed writers are left");
}

#[test]
fn poison_is_buried_with_its_error_and_the_rest_is_heard() {
    let Some(fleet) = Fleet::new("poison tracks") else { return };
    let tracks = fleet.add(5);
    let music = fleet.music().canonicalize().unwrap();
    let poison = |name: &str, bytes: &[u8]| {
        let path = music.join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_string()
    };
    let huge = {
        let path = poison("huge.wav", b"RIFF");
        fs::File::options().write(true).open(&path).unwrap().set_len(3 << 20).unwrap();
        path
    };
    let long = poison("long.wav", &wav_i16(&vec![0.1; 70 * 8000], 8000, 1));
    let expected = [
        (poison("text.mp3", b"Dear diary, this is no music at all."), "not-audio"),
        (poison("empty.mp3", b""), "too-short"),
        (music.join("gone.mp3").to_str().unwrap().to_string(), "unreadable"),
        (music.to_str().unwrap().to_string(), "unreadable"),
        ("s3://".to_string(), "unreadable"),
        (huge, "over-limit"),
        (long, "over-limit"),
    ];
    let listing = fleet.dir.path().join("tracks.txt");
    let lines: Vec<&str> =
        tracks.iter().map(String::as_str).chain(expected.iter().map(|e| e.0.as_str())).collect();
    fs::write(&listing, lines.join("\n")).unwrap();
    let said = fleet.submit(&[listing.to_str().unwrap(), "--batch=100"]);
    assert!(stderr(&said).contains("12 tracks in 1 jobs"), "{}", stderr(&said));
    let work = || {
        let worker =
            fleet.worker(&["--until-empty", "--max-size=2", "--max-length=1", "--thorough"]);
        let (status, said) = worker.ended();
        assert_eq!(status, Some(0), "{said}");
        said
    };
    let said = work();
    assert!(said.contains("5 tracks heard · 7 without an answer · 1 parts written"), "{said}");
    let letters = fleet.dead_letters();
    assert_eq!(letters.len(), expected.len(), "{letters:?}");
    for (track, kind) in &expected {
        let letter = letters.iter().find(|l| l["track"] == *track);
        let letter = letter.unwrap_or_else(|| panic!("no letter for {track}: {letters:?}"));
        assert_eq!(letter["kind"], *kind, "{letter}");
        assert!(letter["error"].as_str().unwrap().len() > 10, "{letter}");
    }
    let parts = fleet.all_parts();
    assert_each_once(&parts, &tracks);
    for (track, _) in &expected {
        assert_eq!(times(&parts, track), 0, "{track} is in the result");
    }
    // Done again, though by now one of them could be heard: the part has decided.
    poison("gone.mp3", &fs::read(tracks.first().unwrap()).unwrap());
    fleet.submit(&[listing.to_str().unwrap(), "--batch=100", "--again"]);
    let said = work();
    assert!(said.contains("0 tracks heard · 0 without an answer · 0 parts written"), "{said}");
    assert!(said.contains("1 jobs found done"), "{said}");
    assert_eq!(fleet.all_parts(), parts);
    assert_eq!(fleet.dead_letters(), letters);
}

#[test]
fn a_worker_that_is_told_to_end_leaves_nothing_behind() {
    let Some(fleet) = Fleet::new("drain on SIGTERM") else { return };
    let tracks = fleet.add(240);
    fleet.submit(&[fleet.music().to_str().unwrap(), "--batch=10"]);
    let worker = fleet.worker(&["--patience=60"]);
    until("the first part", || !fleet.parts().is_empty());
    worker.terminate();
    let (status, said) = worker.ended();
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("brought to an end") && !said.contains("given back"), "{said}");
    let parts = fleet.parts().len() as u64;
    assert!(said.contains(&format!("{} tracks heard", 10 * parts)), "{parts} parts: {said}");
    let status = fleet.status();
    // A job that came at the last moment was given back; brokers count it as in hand until they give it away again.
    let (waiting, in_hand) =
        (status["waiting"].as_u64().unwrap(), status["in_hand"].as_u64().unwrap());
    assert!(in_hand <= 1, "{status}");
    assert_eq!(waiting + in_hand, 24 - parts, "{status}");

    // Without time to finish, jobs are given back at once: nobody waits a minute for them.
    let worker = fleet.worker(&["--drain=0"]);
    until("one part more", || fleet.parts().len() as u64 > parts);
    worker.terminate();
    let (status, said) = worker.ended();
    assert_eq!(status, Some(0), "{said}");
    // Jobs that are done at that very moment are none to give back.
    assert!(said.contains("given back") || said.contains("brought to an end"), "{said}");
    let begun = Instant::now();
    let (status, said) = fleet.worker(&["--until-empty", "--jobs=2"]).ended();
    assert_eq!(status, Some(0), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(50), "it was waited for {:?}", begun.elapsed());
    assert_each_once(&fleet.all_parts(), &tracks);
}

#[test]
fn a_track_that_kills_its_workers_is_buried() {
    use async_nats::jetstream::{self, AckKind, consumer::pull};
    use futures_util::StreamExt;
    let Some(fleet) = Fleet::new("deadly tracks") else { return };
    let tracks = fleet.add(4);
    fleet.submit(&[fleet.music().to_str().unwrap()]);
    let job = taggram_fleet::Job { number: 0, tracks: tracks.iter().cloned().collect() };
    let address = format!("127.0.0.1:{}", fleet.port);
    // What three workers leave that died of the third track.
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let context = jetstream::new(async_nats::connect(address).await.unwrap());
        let notes = context.get_key_value("taggram-tracks").await.unwrap();
        let key = format!("tries.{}", job.id());
        notes.put(key, r#"{"2":3,"1":1}"#.into()).await.unwrap();
        let stream = context.get_stream("taggram-tracks-jobs").await.unwrap();
        let config = pull::Config {
            durable_name: Some("workers".into()),
            ack_wait: Duration::from_secs(2),
            ..Default::default()
        };
        let consumer = stream.create_consumer(config).await.unwrap();
        for _ in 0..2 {
            // A job that was refused comes again when the broker gets round to it.
            let batch = consumer.batch().max_messages(1).expires(Duration::from_secs(20));
            let mut jobs = batch.messages().await.unwrap();
            jobs.next().await.unwrap().unwrap().ack_with(AckKind::Nak(None)).await.unwrap();
            context.client().flush().await.unwrap();
        }
    });
    let (status, said) = fleet.worker(&["--until-empty"]).ended();
    assert_eq!(status, Some(0), "{said}");
    let letters = fleet.dead_letters();
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(letters[0]["track"], job.tracks[2]);
    assert_eq!(letters[0]["kind"], "deadly");
    assert!(letters[0]["error"].as_str().unwrap().contains("3 workers died"), "{letters:?}");
    let others = tracks.iter().filter(|t| **t != job.tracks[2]).cloned().collect();
    assert_each_once(&fleet.all_parts(), &others);
}

#[test]
fn a_run_is_one_listing_one_model_and_one_place() {
    let Some(fleet) = Fleet::new("runs that do not fit") else { return };
    fleet.add(3);
    let music = fleet.music();
    fleet.submit(&[music.to_str().unwrap()]);
    let (status, said) = fleet.worker(&["--until-empty"]).ended();
    assert_eq!(status, Some(0), "{said}");
    for (more, needed) in [(&["--thorough"][..], "full"), (&["--out=/tmp"], "file:///tmp")] {
        let (status, said) = fleet.worker(&[more, &["--until-empty"]].concat()).ended();
        assert_eq!(status, Some(2), "{said}");
        assert!(said.contains("another run") && said.contains(needed), "{said}");
    }
    fs::remove_file(fs::read_dir(&music).unwrap().next().unwrap().unwrap().path()).unwrap();
    let other = fleet.command("submit").arg(&music).output().unwrap();
    assert_eq!(other.status.code(), Some(2));
    assert!(stderr(&other).contains("another listing (3 tracks"), "{}", stderr(&other));
    fleet.submit(&[music.to_str().unwrap(), "--run=another"]);
    // Nobody answers there.
    let mut away = Command::new(env!("CARGO_BIN_EXE_taggram"));
    let port = free_port();
    let away = away.args(["submit", "--status", "--queue"]).arg(format!("nats://127.0.0.1:{port}"));
    let away = away.output().unwrap();
    assert_eq!(away.status.code(), Some(2));
    assert!(stderr(&away).contains("connecting to the broker failed"), "{}", stderr(&away));
}

/// One request to a server that closes the connection afterwards; the whole answer. The stand-in for a bucket wants a
/// signature and believes any.
fn http(port: u16, method: &str, path: &str, body: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {}\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

#[test]
fn from_bucket_to_bucket_with_metrics() {
    let moto = std::env::var("TAGGRAM_MOTO").unwrap_or_else(|_| "moto_server".to_string());
    if !is_there(&moto, "a bucket") {
        return;
    }
    let Some(mut fleet) = Fleet::new("a bucket") else { return };
    let store = free_port();
    let server = Command::new(&moto)
        .args(["-H", "127.0.0.1", "-p", &store.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _server = Process(server);
    until("the store listens", || TcpStream::connect(("127.0.0.1", store)).is_ok());
    fleet.settings = vec![
        ("AWS_ENDPOINT", format!("http://127.0.0.1:{store}")),
        ("AWS_ALLOW_HTTP", "true".to_string()),
        ("AWS_ACCESS_KEY_ID", "key".to_string()),
        ("AWS_SECRET_ACCESS_KEY", "secret".to_string()),
        ("AWS_REGION", "us-east-1".to_string()),
    ];
    http(store, "PUT", "/bucket", b"");
    let bytes = wav_i16(&song(11.0, RATE), RATE, 1);
    let tracks: BTreeSet<String> =
        (0..12).map(|i| format!("s3://bucket/music/{i:02}%20a%20song.wav")).collect();
    for track in &tracks {
        http(store, "PUT", track.strip_prefix("s3:/").unwrap(), &bytes);
    }
    http(store, "PUT", "/bucket/music/notes.txt", b"no music");
    http(store, "PUT", "/bucket/music/text.mp3", b"Dear diary, this is no music at all.");
    let said = fleet.submit(&["s3://bucket/music/", "--batch=4"]);
    assert!(stderr(&said).contains("13 tracks in 4 jobs"), "{}", stderr(&said));

    let port = free_port();
    let metrics = format!("--metrics=127.0.0.1:{port}");
    let worker = fleet.worker(&["--out=s3://bucket/out/", "--max-memory=1", &metrics]);
    until("all is done", || {
        let status = fleet.status();
        status["waiting"] == 0 && status["in_hand"] == 0
    });
    let counted = String::from_utf8_lossy(&http(port, "GET", "/metrics", b"")).into_owned();
    for needed in [
        "taggram_worker_tracks_heard_total 12",
        "taggram_worker_tracks_failed_total{kind=\"not-audio\"} 1",
        "taggram_worker_parts_written_total 4",
        "taggram_worker_jobs_total 4",
        "taggram_worker_listen_seconds_count 13",
    ] {
        assert!(counted.contains(needed), "{needed}: {counted}");
    }
    let healthy = String::from_utf8_lossy(&http(port, "GET", "/healthz", b"")).into_owned();
    assert!(healthy.contains(" 200 OK"), "{healthy}");
    worker.terminate();
    let (status, said) = worker.ended();
    assert_eq!(status, Some(0), "{said}");

    let list = http(store, "GET", "/bucket?list-type=2&prefix=out/tracks/", b"");
    let list = String::from_utf8_lossy(&list).into_owned();
    let parts: Vec<Vec<u8>> = list
        .split("<Key>")
        .skip(1)
        .map(|rest| {
            http(store, "GET", &format!("/bucket/{}", rest.split('<').next().unwrap()), b"")
        })
        .map(|answer| {
            let body = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
            answer[body..].to_vec()
        })
        .collect();
    assert_eq!(parts.len(), 4, "{list}");
    assert_each_once(&parts, &tracks);
    assert_eq!(fleet.dead_letters().len(), 1);
}

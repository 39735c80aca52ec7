//! What the tests share: an origin to ask, an ear to compare with, a server that misbehaves.
#![allow(dead_code)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use taggram_audio::{Limits, MonoSpec, ResamplingKind, read_mono};
use taggram_hls::client::{ClientOptions, Opened, open};
use taggram_hls::origin::{Library, Origin, OriginOptions, serve};
use taggram_hls::segment::{CutOptions, Packaging};
use taggram_hls::{HlsError, SegmentDecoder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Rate of all comparisons, Hz.
pub const RATE: u32 = 22_050;

pub fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/audio").join(name)
}

/// Whether a program is there; says SKIPPED when it is not.
pub fn has(program: &str) -> bool {
    let there = Command::new(program).arg("-version").output().is_ok();
    if !there {
        println!("SKIPPED: {program} is not installed");
    }
    there
}

/// Runs ffmpeg; a failure is one of the test.
pub fn ffmpeg(arguments: &[&str]) -> String {
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-hide_banner", "-y"])
        .args(arguments)
        .output()
        .expect("ffmpeg runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "ffmpeg {arguments:?}: {said}");
    said
}

/// Something like music, `seconds` long: chords that change, and noise.
pub fn song(path: &Path, seconds: u32, rest: &[&str]) {
    let source = format!(
        "aevalsrc=0.3*sin(2*PI*220*t)+0.2*sin(2*PI*(330+55*floor(t/2))*t)+0.1*random(0)|0.3*sin(2*PI*221*t)+0.1*random(1):s=44100:d={seconds}"
    );
    let mut arguments = vec!["-loglevel", "error", "-f", "lavfi", "-i", &source];
    arguments.extend(rest);
    let path = path.to_str().unwrap();
    arguments.push(path);
    ffmpeg(&arguments);
}

pub fn cut_options(segment_s: f64) -> CutOptions {
    CutOptions { segment_s, mp3: Packaging::Ts, limits: Limits::default() }
}

/// An origin of these files on a free port; it lives as long as the runtime.
pub async fn origin(root: &Path, cut: CutOptions, live: bool) -> (SocketAddr, Arc<Origin>) {
    origin_with(root, |options| OriginOptions { cut, live, ..options }).await
}

/// The same, with options made of the usual ones.
pub async fn origin_with(
    root: &Path,
    change: impl FnOnce(OriginOptions) -> OriginOptions,
) -> (SocketAddr, Arc<Origin>) {
    // The tests' own HTTP client wants it too.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(root).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    let (library, _) = Library::new(root, &files).unwrap();
    let options = change(OriginOptions {
        cut: cut_options(6.0),
        cache: None,
        cache_bytes: 1 << 30,
        live: false,
        page: None,
        connections: 1000,
        idle_s: 10.0,
    });
    let origin = Origin::new(library, options).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(origin.clone(), listener, std::future::pending()));
    (address, origin)
}

/// Quick to give up, for tests of giving up.
pub fn hasty() -> ClientOptions {
    ClientOptions {
        patience: Duration::from_millis(400),
        longest: Duration::from_secs(3),
        attempts: 3,
        pause: Duration::from_millis(10),
        ..ClientOptions::default()
    }
}

/// What was heard of a stream.
#[derive(Default)]
pub struct Heard {
    pub samples: Vec<f32>,
    pub pieces: usize,
    pub discontinuities: usize,
    pub notes: Vec<String>,
    pub end: Option<HlsError>,
    pub requests: u64,
}

/// Hears a stream to its end, or `most` segments of it.
pub async fn hear(url: &str, options: ClientOptions, most: usize) -> Result<Heard, HlsError> {
    let Opened::Hls(mut session) = open(url, options).await? else {
        panic!("{url} is no playlist");
    };
    let mut decoder = SegmentDecoder::new(RATE, ResamplingKind::SoxrHq, Limits::default());
    let mut heard = Heard::default();
    while heard.pieces < most {
        match session.next().await {
            Ok(Some(piece)) => {
                heard.pieces += 1;
                heard.discontinuities += usize::from(piece.discontinuity);
                if let Err(error) = decoder.push(&piece, &mut heard.samples) {
                    heard.notes.push(format!("segment {}: {error}", piece.sequence));
                }
            }
            Ok(None) => break,
            Err(error) => {
                heard.end = Some(error);
                break;
            }
        }
    }
    decoder.finish(&mut heard.samples)?;
    heard.notes.extend(session.take_notes());
    heard.notes.extend(decoder.warnings());
    heard.requests = session.fetcher().traffic().requests();
    Ok(heard)
}

/// The whole of a file at [`RATE`].
pub fn whole(path: &Path) -> Vec<f32> {
    read_mono(path, &MonoSpec::at(RATE)).unwrap().data
}

/// Fails unless two signals are as long and as good as equal.
pub fn assert_same(got: &[f32], expected: &[f32], what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}: number of samples");
    let worst = got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= 1e-6, "{what}: samples differ by up to {worst}");
}

/// What a server does when it is asked for something.
#[derive(Clone)]
pub enum Act {
    Body(Vec<u8>),
    /// With these headers, each ended.
    Headed(&'static str, Vec<u8>),
    Status(u16),
    /// To this address.
    Redirect(String),
    /// Headers, then nothing.
    Stall,
    /// The connection is cut without an answer.
    Reset,
    /// A length of so many bytes is promised.
    Short(Vec<u8>, usize),
    /// The first of these, each time one further; the last one stays.
    Turns(Vec<Act>),
}

/// Times and paths of requests.
pub type Log = Arc<Mutex<Vec<(Instant, String)>>>;

/// A server that does as it is told, and counts.
pub struct Hostile {
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
    pub requests: Arc<AtomicUsize>,
    /// When what was asked for.
    pub log: Log,
    acts: Arc<Mutex<HashMap<String, (Act, usize)>>>,
}

impl Hostile {
    pub async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let hostile = Self {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
            requests: Arc::default(),
            log: Log::default(),
            acts: Arc::default(),
        };
        let (connections, requests) = (hostile.connections.clone(), hostile.requests.clone());
        let (acts, log) = (hostile.acts.clone(), hostile.log.clone());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(answer(socket, acts.clone(), requests.clone(), log.clone()));
            }
        });
        hostile
    }

    pub fn on(&self, path: &str, act: Act) {
        self.acts.lock().unwrap().insert(path.to_owned(), (act, 0));
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// When a path was asked for.
    pub fn times_of(&self, path: &str) -> Vec<Instant> {
        let log = self.log.lock().unwrap();
        log.iter().filter(|(_, p)| p == path).map(|(time, _)| *time).collect()
    }

    pub fn asked(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

async fn answer(
    mut socket: TcpStream,
    acts: Arc<Mutex<HashMap<String, (Act, usize)>>>,
    requests: Arc<AtomicUsize>,
    log: Log,
) {
    let mut held = Vec::new();
    loop {
        while !held.windows(4).any(|w| w == b"\r\n\r\n") {
            let mut buffer = [0; 4096];
            match socket.read(&mut buffer).await {
                Ok(n) if n > 0 => held.extend_from_slice(&buffer[..n]),
                _ => return,
            }
        }
        let text = String::from_utf8_lossy(&held).into_owned();
        held.clear();
        requests.fetch_add(1, Ordering::Relaxed);
        let path = text.split(' ').nth(1).unwrap_or("/").to_owned();
        log.lock().unwrap().push((Instant::now(), path.clone()));
        let act = {
            let mut acts = acts.lock().unwrap();
            match acts.get_mut(&path) {
                Some((Act::Turns(turns), count)) => {
                    let act = turns[(*count).min(turns.len() - 1)].clone();
                    *count += 1;
                    act
                }
                Some((act, _)) => act.clone(),
                None => Act::Status(404),
            }
        };
        let head = |status: &str, length: usize, more: &str| {
            format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{more}\r\n").into_bytes()
        };
        let mut out = match act {
            Act::Body(body) => [head("200 OK", body.len(), ""), body].concat(),
            Act::Headed(more, body) => [head("200 OK", body.len(), more), body].concat(),
            Act::Status(code) => head(&format!("{code} As Told"), 0, ""),
            Act::Redirect(to) => head("302 Found", 0, &format!("Location: {to}\r\n")),
            Act::Stall => {
                let _ = socket.write_all(&head("200 OK", 1000, "")).await;
                tokio::time::sleep(Duration::from_secs(30)).await;
                return;
            }
            Act::Short(body, promised) => {
                let _ = socket.write_all(&[head("200 OK", promised, ""), body].concat()).await;
                return;
            }
            Act::Reset | Act::Turns(_) => {
                // Closing with a linger of zero sends RST instead of FIN.
                let _ = socket.set_zero_linger();
                return;
            }
        };
        if socket.write_all(&std::mem::take(&mut out)).await.is_err() {
            return;
        }
    }
}

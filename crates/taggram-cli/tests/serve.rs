//! The real service: the real binary on a real socket.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{song, wav_f32, wav_i16};

/// A running `taggram serve`, killed when dropped.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(options: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_taggram"))
            .args(["serve", "--addr", "127.0.0.1:0"])
            .args(options)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().rsplit("http://").next().unwrap().to_string();
        assert!(address.starts_with("127.0.0.1:"), "it says {line}");
        Self { child, address }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }

    /// Sends bytes as they are, and gives all that comes back until the connection closes.
    fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // A server that has said no may have closed before all was sent.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn terminate(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }

    /// Ends it as systemd would, and gives its exit status.
    fn stop(mut self) -> Option<i32> {
        self.terminate();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn post(path: &str, body: &[u8], more: &str) -> Vec<u8> {
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: audio/wav\r\nContent-Length: {}\r\n{more}\r\n",
        body.len()
    )
    .into_bytes();
    request.extend(body);
    request
}

const CLOSE: &str = "Connection: close\r\n";

fn status(answer: &str) -> u16 {
    answer.get(9..12).and_then(|s| s.parse().ok()).unwrap_or(0)
}

#[test]
fn the_answer_is_that_of_classify() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("upload");
    let file = wav_i16(&song(14.0, 22_050), 22_050, 2);
    std::fs::write(&path, &file).unwrap();
    let line =
        common::stdout(&common::taggram(["classify", "--format", "json", path.to_str().unwrap()]));
    let mut expected: serde_json::Value = serde_json::from_str(&line).unwrap();
    let answer = server.raw(&post("/v1/classify", &file, CLOSE));
    let mut said: serde_json::Value =
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    for record in [&mut expected, &mut said] {
        record["elapsed_ms"] = 0.into();
        record["path"] = "upload".into();
    }
    assert_eq!(said, expected);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_health_check_needs_no_other_program() {
    let server = Server::start(&[]);
    let check = |address: &str| common::taggram(["serve", "--check", address]).status.code();
    assert_eq!(check(&server.address), Some(0));
    let address = server.address.clone();
    server.stop();
    assert_eq!(check(&address), Some(1));
}

#[test]
fn slow_heads_and_bodies_are_given_up() {
    let server = Server::start(&["--timeout", "12"]);
    let start = Instant::now();
    let mut request = post("/v1/classify", &[0; 100], "");
    request.truncate(request.len() - 50);
    let answer = server.raw(&request);
    assert_eq!(status(&answer), 408, "{answer}");
    assert!(answer.contains("too_slow"));
    // A second is the longest pause of a body here; for a head it is ten.
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    assert_eq!(status(&server.raw(b"POST /v1/classify HTTP/1.1\r\nHost")), 0);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn strange_requests_get_strict_answers_and_harm_nobody() {
    let server = Server::start(&["--max-size", "4", "--timeout", "12"]);
    let good = wav_i16(&song(11.0, 22_050), 22_050, 1);
    let loud: Vec<f32> = song(11.0, 22_050).iter().map(|x| 8000.0 * x).collect();
    let truth = server.raw(&post("/v1/classify", &good, CLOSE));
    let genre = |answer: &str| answer.split("\"genre\":").nth(1).map(|s| s[..8].to_string());
    let mut long = good.clone();
    long.extend(b"GET /healthz HTTP/1.1\r\n\r\n");
    let many: String = (0..500).map(|i| format!("X{i}: y\r\n")).collect();
    let claims = {
        let mut file = good.clone();
        file[40..44].fill(0xff);
        file
    };
    let cases: Vec<(&str, Vec<u8>, &[u16])> = vec![
        ("claims hours", post("/v1/classify", &claims, CLOSE), &[200, 422]),
        ("8,000 times as loud", post("/v1/classify", &wav_f32(&loud, 22_050, 1), CLOSE), &[200]),
        ("half of it", post("/v1/classify", &good[..good.len() / 2], CLOSE), &[200]),
        ("too large", post("/v1/classify", &vec![1; 5 << 20], CLOSE), &[413]),
        ("many headers", post("/v1/classify", &good, &many), &[431]),
        (
            "a huge header",
            post("/v1/classify", b"", &format!("X: {}\r\n", "y".repeat(100_000))),
            &[431],
        ),
        ("two lengths", post("/v1/classify", b"abc", "Content-Length: 9\r\n"), &[400]),
        ("no HTTP", b"\x16\x03\x01\x02\x00hello".to_vec(), &[400, 0]),
        (
            "bad chunks",
            b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
                .to_vec(),
            &[400],
        ),
        (
            "a path",
            b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec(),
            &[404],
        ),
    ];
    for (what, request, allowed) in cases {
        let answer = server.raw(&request);
        assert!(allowed.contains(&status(&answer)), "{what}: {answer}");
        let after = server.raw(&post("/v1/classify", &good, CLOSE));
        assert_eq!((status(&after), genre(&after)), (200, genre(&truth)), "after {what}");
    }
    let counters = server.raw(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(counters.contains("taggram_panics_total 0"), "{counters}");
    assert!(!counters.contains("status=\"500\""), "{counters}");
}

/// Clients keep sending; SIGTERM comes; nobody who could send a whole request goes without an answer.
#[test]
fn every_accepted_request_is_answered_after_sigterm() {
    let server = Server::start(&[]);
    let file = wav_i16(&song(20.0, 44_100), 44_100, 1);
    let (stopped, answered, unanswered) =
        (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for client in 0..24 {
            let (server, file, stopped, answered, unanswered) =
                (&server, &file, &stopped, &answered, &unanswered);
            scope.spawn(move || {
                // Half of them keep their connection.
                let more = if client % 2 == 0 { "" } else { CLOSE };
                let request = post("/v1/classify", file, more);
                'connections: loop {
                    let Ok(mut stream) = TcpStream::connect(&server.address) else { return };
                    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
                    loop {
                        if stream.write_all(&request).is_err() {
                            // It was closed between two requests: this one was not accepted.
                            continue 'connections;
                        }
                        match read_answer(&mut stream) {
                            Some(answer) => {
                                assert_eq!(status(&answer), 200, "{answer}");
                                answered.fetch_add(1, Ordering::Relaxed);
                                if answer.to_ascii_lowercase().contains("connection: close") {
                                    break;
                                }
                            }
                            None => {
                                unanswered.fetch_add(1, Ordering::Relaxed);
                                break;
                            }
                        }
                    }
                    if stopped.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
        }
        // The signal comes in the middle of it, however slow the machine.
        let start = Instant::now();
        while answered.load(Ordering::Relaxed) < 30 && start.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(10));
        }
        stopped.store(true, Ordering::Relaxed);
        server.terminate();
    });
    println!("{} answered", answered.load(Ordering::Relaxed));
    assert_eq!(unanswered.load(Ordering::Relaxed), 0);
    assert_eq!(server.stop_after_drain(), Some(0));
}

impl Server {
    /// The exit status of a server that was told to stop before.
    fn stop_after_drain(mut self) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(start.elapsed() < Duration::from_secs(30), "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// One answer of a connection that may stay open; `None` when it was closed without one.
fn read_answer(stream: &mut TcpStream) -> Option<String> {
    let mut answer = Vec::new();
    let mut buffer = [0u8; 16384];
    loop {
        let count = stream.read(&mut buffer).ok().filter(|&n| n > 0)?;
        answer.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|l| {
                l.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok()
            });
            if body.len() >= length.unwrap_or(0) {
                return Some(text);
            }
        }
    }
}

/// One address has a song under way; its second is told 429, and let in when the first is done.
#[test]
fn a_client_over_its_share_is_told_to_wait() {
    let server = Server::start(&["--per-client", "1"]);
    let file = wav_i16(&song(3.0, 22_050), 22_050, 1);
    let request = post("/v1/classify", &file, CLOSE);
    let mut first = server.connect();
    first.write_all(&request[..request.len() / 2]).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    for path in ["/v1/classify", "/v1/classify?stream=true", "/"] {
        let start = Instant::now();
        let refused = server.raw(&post(path, &file, CLOSE));
        assert_eq!(status(&refused), 429, "{refused}");
        assert!(refused.to_ascii_lowercase().contains("retry-after: 1"), "{refused}");
        assert!(refused.contains("a song of yours is under way already"), "{refused}");
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    }
    first.write_all(&request[request.len() / 2..]).unwrap();
    assert_eq!(status(&read_answer(&mut first).unwrap()), 200);
    drop(first);
    assert_eq!(status(&server.raw(&request)), 200);
    let counters = server.raw(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(counters.contains("taggram_rejections_total{cause=\"too_many\"} 3"), "{counters}");
}

#[test]
fn an_address_in_use_is_told_and_so_is_a_missing_model() {
    let server = Server::start(&[]);
    let output = common::taggram(["serve", "--addr", &server.address]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        common::stderr(&output).contains("cannot be listened on"),
        "{}",
        common::stderr(&output)
    );
    let output = common::taggram(["serve", "--addr", "127.0.0.1:0", "--model", "nonesuch"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(common::stderr(&output).contains("nonesuch"));
}

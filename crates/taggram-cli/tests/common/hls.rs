//! The program as an origin of HLS.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// `taggram hls origin` on a free port.
pub struct Origin {
    process: Child,
    /// Its address, with a slash at the end.
    pub url: String,
}

impl Origin {
    /// Serves a folder.
    pub fn of(folder: &Path, more: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_taggram"))
            .args(["hls", "origin", "--addr", "127.0.0.1:0"])
            .args(more)
            .arg(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut url).unwrap();
        assert!(url.starts_with("http://127.0.0.1:"), "{url:?}");
        Self { process, url: url.trim_end().to_owned() }
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Names and addresses of the tracks.
    pub fn tracks(&self) -> Vec<(String, String)> {
        let index: Value =
            serde_json::from_slice(&get(&format!("{}index.json", self.url))).unwrap();
        let text = |v: &Value| v.as_str().unwrap().to_owned();
        let tracks = index["tracks"].as_array().unwrap();
        tracks
            .iter()
            .map(|t| {
                let path = text(&t["url"]);
                (text(&t["name"]), format!("{}{}", self.url, path.trim_start_matches('/')))
            })
            .collect()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The content behind an address of this machine.
pub fn get(url: &str) -> Vec<u8> {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut socket = std::net::TcpStream::connect(host).unwrap();
    write!(socket, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    let at = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    answer.split_off(at + 4)
}

/// nginx over a folder, on a free port of this machine.
pub struct Nginx {
    process: Child,
    /// The port.
    pub port: u16,
}

impl Nginx {
    /// Serves `root`, with more words after `listen` and more settings; writes `access.log` there.
    /// `None` when nginx is not installed or cannot do what the settings ask.
    pub fn serve(root: &Path, listen: &str, settings: &str) -> Option<Self> {
        let program = ["nginx", "/usr/sbin/nginx"]
            .into_iter()
            .find(|p| Command::new(p).arg("-v").output().is_ok())?;
        let port = std::net::TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?.port();
        let at = root.display();
        let config = format!(
            "daemon off; master_process off; pid {at}/pid; error_log {at}/error.log; events {{}}\n\
             http {{ access_log {at}/access.log; client_body_temp_path {at}/b; proxy_temp_path {at}/p;\n\
             fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;\n\
             server {{ listen 127.0.0.1:{port} {listen}; {settings} root {at}; }} }}"
        );
        std::fs::write(root.join("conf"), config).ok()?;
        let process = Command::new(program)
            .args(["-p", root.to_str()?, "-c", "conf", "-e"])
            .arg(root.join("start.log"))
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut nginx = Self { process, port };
        for _ in 0..200 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(nginx);
            }
            if nginx.process.try_wait().ok()?.is_some() {
                return None;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("nginx did not start");
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

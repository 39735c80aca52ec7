//! SHOUTcast's first version: HTTP but for the first line of the answer, which is `ICY 200 OK`.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use url::Url;

use super::address::Guard;
use crate::{ErrorKind, HlsError};

/// Most bytes of headers.
const HEADERS: usize = 16 << 10;

/// An answer in SHOUTcast's manner.
pub(super) struct Shoutcast {
    socket: TcpStream,
    headers: Vec<(String, String)>,
    /// Audio that came with the headers.
    first: Vec<u8>,
}

impl Shoutcast {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// Asks for a stream.
pub(super) async fn ask(
    guard: &Guard,
    url: &Url,
    patience: Duration,
) -> Result<Shoutcast, HlsError> {
    let refused = || HlsError::new(ErrorKind::Refused, "only plain http is spoken like this");
    guard.check(url)?;
    let host = url.host_str().filter(|_| url.scheme() == "http").ok_or_else(refused)?;
    let port = url.port_or_known_default().unwrap_or(80);
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let addresses = guard.lookup(name, port).await?;
    let work = async {
        let mut socket = TcpStream::connect(&addresses[..]).await?;
        let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
        let request = format!(
            "GET {path} HTTP/1.0\r\nHost: {host}:{port}\r\nUser-Agent: taggram\r\nIcy-MetaData: 1\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).await?;
        let mut held = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            if let Some(at) = held.windows(4).position(|w| w == b"\r\n\r\n") {
                let first = held.split_off(at + 4);
                return Ok((socket, held, first));
            }
            let count = socket.read(&mut buffer).await?;
            if count == 0 || held.len() > HEADERS {
                return Err(std::io::ErrorKind::InvalidData.into());
            }
            held.extend_from_slice(&buffer[..count]);
        }
    };
    let (socket, head, first) = match timeout(patience, work).await {
        Ok(result) => result.map_err(broken)?,
        Err(_) => return Err(HlsError::new(ErrorKind::Stalled, "the server does not answer")),
    };
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.lines();
    let status = lines.next().unwrap_or("");
    if !status.starts_with("ICY 200") {
        let status: String = status.chars().filter(|c| !c.is_control()).take(80).collect();
        return Err(HlsError::new(ErrorKind::Status, format!("the server answers {status}")));
    }
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()));
    let headers = headers.collect();
    Ok(Shoutcast { socket, headers, first })
}

/// The next bytes; `None` at the end.
pub(super) async fn next(
    answer: &mut Shoutcast,
    patience: Duration,
) -> Result<Option<Vec<u8>>, HlsError> {
    if !answer.first.is_empty() {
        return Ok(Some(std::mem::take(&mut answer.first)));
    }
    let mut buffer = vec![0; 16 << 10];
    match timeout(patience, answer.socket.read(&mut buffer)).await {
        Ok(Ok(0)) => Ok(None),
        Ok(Ok(count)) => {
            buffer.truncate(count);
            Ok(Some(buffer))
        }
        Ok(Err(e)) => Err(broken(e)),
        Err(_) => Err(HlsError::new(
            ErrorKind::Stalled,
            format!("nothing came for {} s", patience.as_secs_f64()),
        )),
    }
}

fn broken(e: std::io::Error) -> HlsError {
    HlsError::new(ErrorKind::Unreadable, format!("the connection failed: {e}"))
}

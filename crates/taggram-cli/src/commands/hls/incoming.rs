//! What comes over the network, fetched by its own thread so that listening and waiting overlap.

use std::io::{self, Read};
use std::sync::{Arc, Mutex};

use taggram_hls::client::{Chunk, ClientOptions, Opened, Plain, Session, Traffic, open};
use taggram_hls::{HlsError, Piece};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Pieces fetched ahead: enough to overlap, few enough that stopping early saves something.
const AHEAD: usize = 1;

/// What happened on the network.
pub enum Event {
    /// The stream is open: what it is, and its length in seconds if it has one.
    Open { what: Kind, duration_s: Option<f64>, traffic: Arc<Traffic> },
    /// A segment of HLS.
    Segment(Piece),
    /// Bytes of a file or radio.
    Bytes(Vec<u8>),
    /// Something a person should know.
    Note(String),
    /// The title of what is played now.
    Title(String),
    /// It is over; with an error if it did not end by itself.
    End(Option<HlsError>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Hls,
    Plain,
}

/// Fetches in the background until the receiver is dropped.
pub fn begin(
    runtime: &tokio::runtime::Runtime,
    url: &str,
    options: ClientOptions,
) -> Receiver<Event> {
    let (send, receive) = channel(AHEAD);
    let url = url.to_owned();
    runtime.spawn(async move {
        let end = match open(&url, options).await {
            Ok(Opened::Hls(session)) => segments(*session, &send).await,
            Ok(Opened::Plain(plain)) => bytes(*plain, &send).await,
            Err(error) => Err(error),
        };
        // Nobody hears it when the listener has had enough.
        let _ = send.send(Event::End(end.err())).await;
    });
    receive
}

async fn segments(mut session: Session, send: &Sender<Event>) -> Result<(), HlsError> {
    let traffic = session.fetcher().traffic().clone();
    let open = Event::Open { what: Kind::Hls, duration_s: session.duration_s(), traffic };
    let mut gone = send.send(open).await.is_err();
    while !gone {
        let next = tokio::select! {
            next = session.next() => next,
            () = send.closed() => return Ok(()),
        };
        for note in session.take_notes() {
            gone |= send.send(Event::Note(note)).await.is_err();
        }
        match next? {
            Some(piece) => gone |= send.send(Event::Segment(piece)).await.is_err(),
            None => break,
        }
    }
    Ok(())
}

async fn bytes(mut plain: Plain, send: &Sender<Event>) -> Result<(), HlsError> {
    let traffic = plain.fetcher().traffic().clone();
    let open = Event::Open { what: Kind::Plain, duration_s: None, traffic };
    let mut gone = send.send(open).await.is_err();
    let station = [("station", plain.station.clone()), ("its genre", plain.genre.clone())];
    for (what, text) in station {
        if let Some(text) = text {
            gone |= send.send(Event::Note(format!("{what}: {text}"))).await.is_err();
        }
    }
    while !gone {
        let chunks = tokio::select! {
            chunks = plain.next() => chunks?,
            () = send.closed() => return Ok(()),
        };
        if chunks.is_empty() {
            break;
        }
        for chunk in chunks {
            let event = match chunk {
                Chunk::Audio(bytes) => Event::Bytes(bytes),
                Chunk::Title(title) => Event::Title(title),
            };
            gone |= send.send(event).await.is_err();
        }
    }
    Ok(())
}

/// What a stream said beside its audio, for whoever reads the audio.
#[derive(Default)]
pub struct Aside {
    pub notes: Vec<String>,
    pub end: Option<HlsError>,
}

/// The bytes of a file or radio as something to read from.
pub struct Body {
    events: Receiver<Event>,
    rest: Vec<u8>,
    at: usize,
    aside: Arc<Mutex<Aside>>,
}

impl Body {
    pub fn new(events: Receiver<Event>) -> (Self, Arc<Mutex<Aside>>) {
        let aside = Arc::default();
        (Self { events, rest: Vec::new(), at: 0, aside: Arc::clone(&aside) }, aside)
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.rest.len() {
            let note = match self.events.blocking_recv() {
                Some(Event::Bytes(bytes)) => {
                    (self.rest, self.at) = (bytes, 0);
                    continue;
                }
                Some(Event::Title(title)) => format!("now playing: {title}"),
                Some(Event::Note(note)) => note,
                Some(Event::Open { .. } | Event::Segment(_)) => continue,
                Some(Event::End(error)) => {
                    if let Ok(mut aside) = self.aside.lock() {
                        aside.end = error;
                    }
                    return Ok(0);
                }
                None => return Ok(0),
            };
            if let Ok(mut aside) = self.aside.lock() {
                aside.notes.push(note);
            }
        }
        let count = buffer.len().min(self.rest.len() - self.at);
        buffer[..count].copy_from_slice(&self.rest[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

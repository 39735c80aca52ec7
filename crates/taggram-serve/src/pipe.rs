//! From a channel of chunks to a reader that may block: how a decoder reads what still arrives.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf, Bytes};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;

use crate::hear::Cancel;
use crate::problem::Problem;
use crate::turns::{SharedTurn, hold};

/// Why a body ended before its end, if it did.
#[derive(Clone, Default)]
pub(crate) struct Broken(Arc<Mutex<Option<Problem>>>);

impl Broken {
    pub fn set(&self, problem: Problem) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(problem);
    }

    pub fn get(&self) -> Option<Problem> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Reads chunks as they come; while there are none, the song gives up its turn.
pub(crate) struct Pipe {
    pub chunks: mpsc::Receiver<Bytes>,
    pub current: Bytes,
    pub turn: SharedTurn,
    pub broken: Broken,
    pub cancel: Cancel,
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            let chunk = match self.chunks.try_recv() {
                Ok(chunk) => Some(chunk),
                Err(TryRecvError::Disconnected) => None,
                Err(TryRecvError::Empty) => {
                    hold(&self.turn).pause();
                    let chunk = self.chunks.blocking_recv();
                    hold(&self.turn).resume();
                    chunk
                }
            };
            if self.cancel.is_set() {
                return Err(io::Error::other("nobody wants the answer any more"));
            }
            let Some(chunk) = chunk else {
                return match self.broken.get() {
                    Some(problem) => Err(io::Error::other(problem)),
                    None => Ok(0),
                };
            };
            self.current = chunk;
        }
        let count = self.current.len().min(buffer.len());
        self.current.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

//! The song in a request: a form with the field `audio`, or the body itself.

use std::pin::Pin;
use std::sync::Arc;

use axum::body::{Body, BodyDataStream};
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use futures_core::Stream;

use crate::Service;
use crate::budget::Share;
use crate::problem::{Code, Problem};

/// Parts of a form that are looked at for the song.
const MOST_PARTS: usize = 32;

/// Characters of a file name that are kept.
const LONGEST_NAME: usize = 200;

/// A song that arrives.
pub(crate) struct Upload {
    /// What the client calls it: the last part of a path, without anything that is not text.
    pub name: String,
    from: From,
    share: Share,
    reserved: u64,
    received: u64,
}

enum From {
    Body(BodyDataStream),
    Field(Box<multer::Field<'static>>),
}

impl Upload {
    /// Finds the song in a request.
    pub async fn open(service: &Arc<Service>, request: Request) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        refuse_encodings(&parts.headers)?;
        let announced = parts.headers.get(header::CONTENT_LENGTH);
        let reserved = announced
            .and_then(|n| n.to_str().ok()?.parse::<u64>().ok())
            .filter(|&n| n <= service.config.max_bytes)
            .unwrap_or(0);
        let share = service.memory.share(reserved).ok_or_else(no_memory)?;
        let content_type = match parts.headers.get(header::CONTENT_TYPE) {
            None => "application/octet-stream",
            Some(value) => value.to_str().map_err(|_| {
                Problem::new(Code::Malformed, "the content type is not written in ASCII")
            })?,
        };
        let essence =
            content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let (name, from) = if essence == "multipart/form-data" {
            let boundary = multer::parse_boundary(content_type).map_err(|e| {
                Problem::new(Code::Malformed, format!("the form's content type is wrong: {e}"))
            })?;
            let field = audio_field(body, boundary).await?;
            (plain_name(field.file_name().unwrap_or_default()), From::Field(Box::new(field)))
        } else if is_audio(&essence) {
            (plain_name(""), From::Body(body.into_data_stream()))
        } else {
            return Err(Problem::new(
                Code::NotAudio,
                "a song comes as multipart/form-data in the field `audio`, or as a body of type \
                 audio/* or application/octet-stream; this content type is another",
            ));
        };
        Ok(Self { name, from, share, reserved, received: 0 })
    }

    /// The next bytes; `None` at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Problem> {
        let chunk = match &mut self.from {
            From::Body(body) => {
                std::future::poll_fn(|context| Pin::new(&mut *body).poll_next(context))
                    .await
                    .transpose()
                    .map_err(|e| cause(e.into_inner()))?
            }
            From::Field(field) => field.chunk().await.map_err(form_problem)?,
        };
        let Some(chunk) = chunk else { return Ok(None) };
        self.received += chunk.len() as u64;
        // Beyond what the head announced, memory is taken as it is needed.
        if self.received > self.reserved {
            let more = self.received - self.reserved;
            if !self.share.grow(more) {
                return Err(no_memory());
            }
            self.reserved = self.received;
        }
        Ok(Some(chunk))
    }

    /// Waits for all of it. The share of the memory is to be held as long as the bytes.
    pub async fn all(mut self) -> Result<(String, Arc<[u8]>, Share), Problem> {
        let mut bytes = Vec::with_capacity(self.reserved as usize);
        while let Some(chunk) = self.chunk().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok((self.name, bytes.into(), self.share))
    }
}

fn no_memory() -> Problem {
    Problem::new(Code::Busy, "other songs fill the memory that is set aside; try again in a moment")
}

fn refuse_encodings(headers: &HeaderMap) -> Result<(), Problem> {
    let encoded = headers
        .get(header::CONTENT_ENCODING)
        .is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"));
    if encoded {
        return Err(Problem::new(Code::NotAudio, "compressed bodies are not taken: audio is"));
    }
    Ok(())
}

/// Content types of bodies that are looked into; what they are is told by their content.
fn is_audio(essence: &str) -> bool {
    essence.starts_with("audio/")
        || matches!(
            essence,
            "application/octet-stream" | "application/ogg" | "video/mp4" | "video/ogg"
        )
}

async fn audio_field(body: Body, boundary: String) -> Result<multer::Field<'static>, Problem> {
    let mut form = multer::Multipart::new(body.into_data_stream(), boundary);
    for _ in 0..MOST_PARTS {
        match form.next_field().await.map_err(form_problem)? {
            Some(field) if field.name() == Some("audio") => return Ok(field),
            Some(_) => {}
            None => {
                return Err(Problem::new(Code::Malformed, "the form has no field `audio`"));
            }
        }
    }
    Err(Problem::new(
        Code::Malformed,
        format!("none of the first {MOST_PARTS} parts of the form is called `audio`"),
    ))
}

fn form_problem(error: multer::Error) -> Problem {
    match error {
        multer::Error::StreamReadFailed(inner) => cause(inner),
        other => Problem::new(Code::Malformed, format!("the form is not well made: {other}")),
    }
}

/// The problem that ended a body, out of the wrappings of those who passed it on.
fn cause(error: Box<dyn std::error::Error + Send + Sync>) -> Problem {
    let mut current: Option<&(dyn std::error::Error + 'static)> = Some(error.as_ref());
    while let Some(e) = current {
        if let Some(problem) = e.downcast_ref::<Problem>() {
            return problem.clone();
        }
        current = e.source();
    }
    Problem::new(Code::Malformed, format!("the body could not be read: {error}"))
}

/// A file name without its folders and without what is not text.
fn plain_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let plain: String = last.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect();
    if plain.trim().is_empty() { "upload".to_string() } else { plain }
}

#[cfg(test)]
mod tests {
    use super::plain_name;

    #[test]
    fn names_are_names_and_not_paths() {
        for (given, kept) in [
            ("song.mp3", "song.mp3"),
            ("../../etc/passwd", "passwd"),
            ("C:\\music\\a.wav", "a.wav"),
            ("a\0b\r\n.mp3", "ab.mp3"),
            ("..", ".."),
            ("/", "upload"),
            ("", "upload"),
        ] {
            assert_eq!(plain_name(given), kept, "{given:?}");
        }
        assert_eq!(plain_name(&"ä".repeat(5000)).chars().count(), 200);
    }
}

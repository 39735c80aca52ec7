//! Reading the notes in a Parquet file's footer back: nothing else of the file is needed or read.

use super::{BINARY, LIST, MAGIC, NOTES, STRUCT};

/// Structures within structures that are followed; a footer has five.
const DEEPEST: usize = 16;

/// Keys and texts that [`write_noted`](super::write_noted) put into a file, given its last bytes: at least the
/// footer and the eight bytes after it. `None` when that is not the end of a Parquet file, or not all of its footer.
pub fn notes(tail: &[u8]) -> Option<Vec<(String, String)>> {
    let body = tail.strip_suffix(MAGIC)?;
    let (body, length) = body.split_at_checked(body.len().checked_sub(4)?)?;
    let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
    let mut at = Cursor(body.get(body.len().checked_sub(length)?..)?);
    let mut last = 0;
    let mut notes = Vec::new();
    while let Some((id, kind)) = at.field(&mut last)? {
        if (id, kind) != (NOTES, LIST) {
            at.skip(kind, 0)?;
            continue;
        }
        let (count, element) = at.list()?;
        for _ in 0..count {
            notes.push(at.note(element)?);
        }
    }
    Some(notes)
}

/// What is left of the footer; Thrift's compact protocol.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn take(&mut self, count: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(count).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// Number and kind of the next field; `Some(None)` at the end of the structure.
    fn field(&mut self, last: &mut u8) -> Option<Option<(u8, u8)>> {
        let byte = self.byte()?;
        if byte == 0 {
            return Some(None);
        }
        let id = match byte >> 4 {
            // Far from the one before: written in full, zigzag.
            0 => u8::try_from(self.varint()? >> 1).ok()?,
            distance => last.checked_add(distance)?,
        };
        *last = id;
        Some(Some((id, byte & 0x0f)))
    }

    fn list(&mut self) -> Option<(u64, u8)> {
        let byte = self.byte()?;
        let count = if byte >> 4 == 15 { self.varint()? } else { u64::from(byte >> 4) };
        Some((count, byte & 0x0f))
    }

    fn text(&mut self) -> Option<String> {
        let length = self.varint()?;
        Some(String::from_utf8_lossy(self.take(length)?).into_owned())
    }

    /// A structure of a key and a text.
    fn note(&mut self, kind: u8) -> Option<(String, String)> {
        if kind != STRUCT {
            return None;
        }
        let mut last = 0;
        let (mut key, mut text) = (String::new(), String::new());
        while let Some((id, kind)) = self.field(&mut last)? {
            match (id, kind) {
                (1, BINARY) => key = self.text()?,
                (2, BINARY) => text = self.text()?,
                _ => self.skip(kind, 0)?,
            }
        }
        Some((key, text))
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        if depth > DEEPEST {
            return None;
        }
        match kind {
            // Truth and falsehood are kinds of their own, without a value.
            1 | 2 => {}
            3 => {
                self.byte()?;
            }
            4..=6 => {
                self.varint()?;
            }
            7 => {
                self.take(8)?;
            }
            BINARY => {
                let length = self.varint()?;
                self.take(length)?;
            }
            LIST => {
                let (count, kind) = self.list()?;
                for _ in 0..count {
                    // In a list a truth value takes a byte, so no element takes none.
                    if kind <= 2 { self.byte().map(drop)? } else { self.skip(kind, depth + 1)? }
                }
            }
            STRUCT => {
                let mut last = 0;
                while let Some((_, kind)) = self.field(&mut last)? {
                    self.skip(kind, depth + 1)?;
                }
            }
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Column, Values, write, write_noted};
    use super::*;

    fn table(rows: usize, notes: &[(&str, &str)]) -> Vec<u8> {
        let column = |name: &str, values| Column { name: name.into(), values };
        let columns = [
            column("a", Values::Text(vec!["x".into(); rows])),
            column("b", Values::Number(vec![1.0; rows])),
        ];
        let mut bytes = Vec::new();
        write_noted(&mut bytes, &columns, notes).unwrap();
        bytes
    }

    #[test]
    fn notes_come_back_from_the_tail_alone() {
        let long = "ü".repeat(5000);
        let pairs = [("taggram.job", "00000001"), ("taggram.failures", long.as_str())];
        for rows in [0, 1, 3000] {
            let bytes = table(rows, &pairs);
            let length = u32::from_le_bytes(bytes[bytes.len() - 8..][..4].try_into().unwrap());
            let tail = &bytes[bytes.len() - 8 - length as usize..];
            let read = notes(tail).unwrap();
            let read: Vec<_> = read.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            assert_eq!(read, pairs);
            assert_eq!(notes(&bytes).unwrap().len(), 2);
            assert!(notes(&tail[1..]).is_none());
        }
        let mut plain = Vec::new();
        write(&mut plain, &[]).unwrap();
        assert!(notes(&plain).unwrap().is_empty());
        assert!(notes(b"PAR1").is_none());
    }

    #[test]
    fn whatever_the_footer_is_there_is_an_end() {
        let good = table(2, &[("k", "v")]);
        for at in 0..good.len() {
            for value in [0, 0x19, 0x7f, 0xf9, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                notes(&bad);
            }
        }
    }
}

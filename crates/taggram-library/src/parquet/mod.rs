//! Parquet files, as far as tables of features and answers need them: one row group, plain encoding, no
//! compression, every value present. Layout after the Apache Parquet format specification
//! (`parquet.thrift`); the footer is in Thrift's compact protocol.

mod notes;

pub use notes::notes;

use std::io::{self, Write};

const MAGIC: &[u8; 4] = b"PAR1";
/// Values in a page: a page's size must fit 31 bits.
const PAGE: usize = 1 << 16;

/// The values of one column.
pub enum Values {
    /// UTF-8 text.
    Text(Vec<String>),
    /// 64-bit floating point.
    Number(Vec<f64>),
    /// 32-bit floating point.
    Float(Vec<f32>),
    /// Any bytes: a vector of numbers, say.
    Bytes(Vec<Vec<u8>>),
}

/// A named column.
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its values, one a row.
    pub values: Values,
}

impl Column {
    fn len(&self) -> usize {
        match &self.values {
            Values::Text(values) => values.len(),
            Values::Number(values) => values.len(),
            Values::Float(values) => values.len(),
            Values::Bytes(values) => values.len(),
        }
    }

    /// Parquet's number of the physical type: FLOAT, DOUBLE or BYTE_ARRAY.
    fn kind(&self) -> i64 {
        match self.values {
            Values::Float(_) => 4,
            Values::Number(_) => 5,
            Values::Text(_) | Values::Bytes(_) => 6,
        }
    }

    /// A range of values in plain encoding.
    fn plain(&self, range: std::ops::Range<usize>) -> Vec<u8> {
        let mut bytes = Vec::new();
        match &self.values {
            Values::Text(values) => {
                for value in &values[range] {
                    bytes.extend((value.len() as u32).to_le_bytes());
                    bytes.extend(value.as_bytes());
                }
            }
            Values::Number(values) => {
                values[range].iter().for_each(|value| bytes.extend(value.to_le_bytes()));
            }
            Values::Float(values) => {
                values[range].iter().for_each(|value| bytes.extend(value.to_le_bytes()));
            }
            Values::Bytes(values) => {
                for value in &values[range] {
                    bytes.extend((value.len() as u32).to_le_bytes());
                    bytes.extend(value);
                }
            }
        }
        bytes
    }
}

/// Writes columns of equal length as one file.
///
/// # Errors
/// What the sink reports; columns of different lengths.
pub fn write(sink: &mut impl Write, columns: &[Column]) -> io::Result<()> {
    write_noted(sink, columns, &[])
}

/// [`write()`], with notes (a key and its text) in the footer, which data tools show as the file's metadata and
/// [`notes()`] reads back.
///
/// # Errors
/// As [`write()`].
pub fn write_noted(
    sink: &mut impl Write,
    columns: &[Column],
    notes: &[(&str, &str)],
) -> io::Result<()> {
    let rows = columns.first().map_or(0, Column::len);
    if columns.iter().any(|c| c.len() != rows) {
        return Err(io::Error::other("the columns of a table differ in length, which is a bug"));
    }
    sink.write_all(MAGIC)?;
    let mut at = MAGIC.len() as i64;
    let mut chunks = Vec::with_capacity(columns.len());
    for column in columns {
        let start = at;
        for first in (0..rows).step_by(PAGE) {
            let count = PAGE.min(rows - first);
            let data = column.plain(first..first + count);
            let mut header = Thrift::default();
            page_header(&mut header, data.len() as i64, count as i64);
            sink.write_all(&header.bytes)?;
            sink.write_all(&data)?;
            at += (header.bytes.len() + data.len()) as i64;
        }
        chunks.push((start, at - start));
    }
    let footer = footer(columns, &chunks, rows as i64, notes);
    sink.write_all(&footer)?;
    sink.write_all(&(footer.len() as u32).to_le_bytes())?;
    sink.write_all(MAGIC)
}

fn page_header(out: &mut Thrift, size: i64, values: i64) {
    const RLE: i64 = 3;
    out.i32(1, 0); // a data page
    out.i32(2, size);
    out.i32(3, size);
    out.begin(5);
    out.i32(1, values);
    out.i32(2, 0); // plain
    out.i32(3, RLE); // of definition levels, of which required columns have none
    out.i32(4, RLE);
    out.end();
    out.end();
}

/// `FileMetaData`; `chunks` has where each column starts and how many bytes it takes.
fn footer(columns: &[Column], chunks: &[(i64, i64)], rows: i64, notes: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Thrift::default();
    out.i32(1, 1); // version
    out.list(2, columns.len() + 1, STRUCT);
    out.element();
    out.text(4, "table");
    out.i32(5, columns.len() as i64);
    out.end();
    for column in columns {
        out.element();
        out.i32(1, column.kind());
        out.i32(3, 0); // required
        out.text(4, &column.name);
        if matches!(column.values, Values::Text(_)) {
            out.i32(6, 0); // UTF-8
        }
        out.end();
    }
    out.i64(3, rows);
    // A table without rows has no row group: readers would look for pages in it.
    out.list(4, usize::from(rows > 0), STRUCT);
    if rows > 0 {
        row_group(&mut out, columns, chunks, rows);
    }
    if !notes.is_empty() {
        out.list(NOTES, notes.len(), STRUCT);
        for (key, text) in notes {
            out.element();
            out.text(1, key);
            out.text(2, text);
            out.end();
        }
    }
    out.text(6, concat!("taggram ", env!("CARGO_PKG_VERSION")));
    out.end();
    out.bytes
}

fn row_group(out: &mut Thrift, columns: &[Column], chunks: &[(i64, i64)], rows: i64) {
    out.element();
    out.list(1, columns.len(), STRUCT);
    for (column, &(start, size)) in columns.iter().zip(chunks) {
        out.element();
        out.i64(2, start);
        out.begin(3);
        out.i32(1, column.kind());
        out.list(2, 1, I32);
        out.varint(0); // plain
        out.list(3, 1, BINARY);
        out.string(&column.name);
        out.i32(4, 0); // not compressed
        out.i64(5, rows);
        out.i64(6, size);
        out.i64(7, size);
        out.i64(9, start);
        out.end();
        out.end();
    }
    out.i64(2, chunks.iter().map(|c| c.1).sum());
    out.i64(3, rows);
    out.end();
}

/// The field of `FileMetaData` that holds keys and their values.
const NOTES: u8 = 5;

const I32: u8 = 5;
const I64: u8 = 6;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

/// Thrift's compact protocol. A field is told by its distance from the one before it in its structure.
#[derive(Default)]
struct Thrift {
    bytes: Vec<u8>,
    last: u8,
    outer: Vec<u8>,
}

impl Thrift {
    fn field(&mut self, id: u8, kind: u8) {
        self.bytes.push((id - self.last) << 4 | kind);
        self.last = id;
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    fn zigzag(&mut self, value: i64) {
        self.varint((value << 1 ^ value >> 63) as u64);
    }

    fn i32(&mut self, id: u8, value: i64) {
        self.field(id, I32);
        self.zigzag(value);
    }

    fn i64(&mut self, id: u8, value: i64) {
        self.field(id, I64);
        self.zigzag(value);
    }

    fn string(&mut self, text: &str) {
        self.varint(text.len() as u64);
        self.bytes.extend(text.as_bytes());
    }

    fn text(&mut self, id: u8, text: &str) {
        self.field(id, BINARY);
        self.string(text);
    }

    fn list(&mut self, id: u8, count: usize, kind: u8) {
        self.field(id, LIST);
        if count < 15 {
            self.bytes.push((count as u8) << 4 | kind);
        } else {
            self.bytes.push(0xf0 | kind);
            self.varint(count as u64);
        }
    }

    /// Begins a structure that is an element of a list.
    fn element(&mut self) {
        self.outer.push(self.last);
        self.last = 0;
    }

    /// Begins a structure that is a field.
    fn begin(&mut self, id: u8) {
        self.field(id, STRUCT);
        self.element();
    }

    fn end(&mut self) {
        self.bytes.push(0);
        self.last = self.outer.pop().unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_table_byte_by_byte() {
        let columns = [
            Column { name: "a".into(), values: Values::Text(vec!["xy".into()]) },
            Column { name: "b".into(), values: Values::Number(vec![1.5]) },
        ];
        let mut bytes = Vec::new();
        write(&mut bytes, &columns).unwrap();
        let mut expected = b"PAR1".to_vec();
        expected.extend(b"\x15\x00\x15\x0c\x15\x0c\x2c\x15\x02\x15\x00\x15\x06\x15\x06\x00\x00");
        expected.extend(b"\x02\0\0\0xy");
        expected.extend(b"\x15\x00\x15\x10\x15\x10\x2c\x15\x02\x15\x00\x15\x06\x15\x06\x00\x00");
        expected.extend(1.5f64.to_le_bytes());
        assert_eq!(bytes[..expected.len()], expected);
        let length = u32::from_le_bytes(bytes[bytes.len() - 8..][..4].try_into().unwrap()) as usize;
        assert_eq!(bytes.len(), expected.len() + length + 8);
        assert_eq!(&bytes[bytes.len() - 4..], b"PAR1");
        let uneven = [
            Column { name: "a".into(), values: Values::Text(vec![]) },
            Column { name: "b".into(), values: Values::Number(vec![1.5]) },
        ];
        assert!(write(&mut Vec::new(), &uneven[1..]).is_ok());
        assert!(write(&mut Vec::new(), &uneven).is_err());
    }
}

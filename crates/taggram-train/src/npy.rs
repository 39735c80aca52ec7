//! NumPy's `.npy` files: one array of numbers, little-endian, C order.
//!
//! Layout after NumPy Enhancement Proposal 1: the magic `\x93NUMPY`, a version, the length of
//! a header, the header — a Python dictionary literal with exactly `descr`,
//! `fortran_order` and `shape` — and then the values. The header is parsed by hand and every
//! number of it is checked against the length of the file before memory is asked for.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use half::f16;

use crate::dataset::error::{ErrorKind, Result, fault, io, malformed};

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// Longest header that is read, bytes. NumPy writes 118 for ordinary arrays.
const MAX_HEADER: usize = 64 * 1024;
/// Most axes of an array.
const MAX_AXES: usize = 8;
/// Most bytes that one read may take into memory.
const MAX_READ: usize = 16 << 30;

/// Type of the values, all little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DType {
    /// Unsigned byte, `|u1`.
    U8,
    /// Half precision, `<f2`.
    F16,
    /// Single precision, `<f4`.
    F32,
    /// Double precision, `<f8`.
    F64,
}

impl DType {
    /// Bytes a value.
    pub fn size(self) -> usize {
        match self {
            DType::U8 => 1,
            DType::F16 => 2,
            DType::F32 => 4,
            DType::F64 => 8,
        }
    }

    /// NumPy's name, e.g. `<f4`.
    pub fn descr(self) -> &'static str {
        match self {
            DType::U8 => "|u1",
            DType::F16 => "<f2",
            DType::F32 => "<f4",
            DType::F64 => "<f8",
        }
    }
}

/// An open `.npy` file of which any range of values can be read; shared between threads.
#[derive(Debug)]
pub struct NpyFile {
    path: PathBuf,
    dtype: DType,
    shape: Vec<usize>,
    offset: u64,
    file: Mutex<File>,
}

impl NpyFile {
    /// Opens a file and checks that its header is true of its length.
    ///
    /// # Errors
    /// Not a `.npy` file, Fortran order, another type than u8, f16, f32, f64, a shape that the
    /// file does not hold.
    pub fn open(path: &Path) -> Result<Self> {
        let mut file = File::open(path).map_err(|e| io(path, "open it", &e))?;
        let length = file.metadata().map_err(|e| io(path, "read its size", &e))?.len();
        let short = |e: &std::io::Error| {
            malformed(path, format!("not a .npy array: its header is cut off ({e})"))
        };
        let mut start = [0u8; 8];
        file.read_exact(&mut start).map_err(|e| short(&e))?;
        if &start[..6] != MAGIC {
            return Err(malformed(
                path,
                format!(
                    "not a .npy array: it begins with {:02x?}, not with \\x93NUMPY",
                    &start[..6]
                ),
            ));
        }
        let header_length = match start[6] {
            1 => {
                let mut bytes = [0u8; 2];
                file.read_exact(&mut bytes).map_err(|e| short(&e))?;
                usize::from(u16::from_le_bytes(bytes))
            }
            2 | 3 => {
                let mut bytes = [0u8; 4];
                file.read_exact(&mut bytes).map_err(|e| short(&e))?;
                u32::from_le_bytes(bytes) as usize
            }
            version => {
                return Err(fault(
                    path,
                    ErrorKind::Unsupported,
                    format!(".npy version {version} is not known; versions 1 to 3 are read"),
                ));
            }
        };
        if header_length > MAX_HEADER {
            return Err(fault(
                path,
                ErrorKind::OverLimit,
                format!("its header claims {header_length} bytes; at most {MAX_HEADER} are read"),
            ));
        }
        let mut header = vec![0u8; header_length];
        file.read_exact(&mut header).map_err(|e| short(&e))?;
        let (dtype, shape) =
            parse_header(&header).map_err(|(kind, message)| fault(path, kind, message))?;
        let offset = file.stream_position().map_err(|e| io(path, "read it", &e))?;
        let needed = shape
            .iter()
            .try_fold(dtype.size() as u64, |n, &axis| n.checked_mul(axis as u64))
            .ok_or_else(|| malformed(path, format!("a shape of {shape:?} is beyond any file")))?;
        if needed != length - offset {
            return Err(malformed(
                path,
                format!(
                    "its shape {shape:?} of {} needs {needed} bytes of data; the file has {}",
                    dtype.descr(),
                    length - offset
                ),
            ));
        }
        Ok(Self { path: path.to_path_buf(), dtype, shape, offset, file: Mutex::new(file) })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Type of the stored values.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Length of every axis, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `count` values from value `start` on, counted through the whole array, as f32
    /// (f64 is rounded).
    ///
    /// # Errors
    /// A range beyond the array or over 16 GiB, or a failure to read.
    pub fn read_f32(&self, start: usize, count: usize) -> Result<Vec<f32>> {
        let bytes = self.read_bytes(start, count)?;
        Ok(match self.dtype {
            DType::U8 => bytes.iter().map(|&b| f32::from(b)).collect(),
            DType::F16 => {
                bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
            }
            DType::F32 => bytes
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect(),
            DType::F64 => bytes
                .chunks_exact(8)
                .map(|b| {
                    f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]) as f32
                })
                .collect(),
        })
    }

    /// Every value as f32.
    ///
    /// # Errors
    /// As [`Self::read_f32`].
    pub fn read_all_f32(&self) -> Result<Vec<f32>> {
        self.read_f32(0, self.len())
    }

    /// The stored bytes of `count` values from value `start` on.
    ///
    /// # Errors
    /// As [`Self::read_f32`].
    pub fn read_bytes(&self, start: usize, count: usize) -> Result<Vec<u8>> {
        let within = start.checked_add(count).is_some_and(|end| end <= self.len());
        if !within {
            return Err(fault(
                &self.path,
                ErrorKind::Unsupported,
                format!(
                    "values {start} to {start}+{count} were asked of an array of {}",
                    self.len()
                ),
            ));
        }
        let size = count * self.dtype.size();
        if size > MAX_READ {
            return Err(fault(
                &self.path,
                ErrorKind::OverLimit,
                format!("{size} bytes at once are over the limit of {MAX_READ}"),
            ));
        }
        let mut bytes = vec![0u8; size];
        let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        file.seek(SeekFrom::Start(self.offset + (start * self.dtype.size()) as u64))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(|e| io(&self.path, "read its values", &e))?;
        Ok(bytes)
    }
}

/// The bytes before the values: magic, version 1, and a header padded so that the values
/// start at a multiple of 64.
pub fn header(dtype: DType, shape: &[usize]) -> Vec<u8> {
    let mut axes: String = shape.iter().map(|n| format!("{n}, ")).collect();
    if shape.len() > 1 {
        axes.truncate(axes.len() - 2);
    }
    let mut text = format!(
        "{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}",
        dtype.descr(),
        axes.trim_end()
    );
    let unpadded = MAGIC.len() + 4 + text.len() + 1;
    text.extend(std::iter::repeat_n(' ', unpadded.next_multiple_of(64) - unpadded));
    text.push('\n');
    let mut out = MAGIC.to_vec();
    out.extend([1, 0]);
    out.extend((text.len() as u16).to_le_bytes());
    out.extend(text.as_bytes());
    out
}

/// Writes an array to `out`, converting the values to `dtype` (u8 rounds and clamps to 0…255).
///
/// # Panics
/// When the shape does not hold exactly `values.len()` values: a bug of the caller.
///
/// # Errors
/// When writing fails.
pub fn write(
    out: &mut impl Write,
    dtype: DType,
    shape: &[usize],
    values: &[f32],
) -> std::io::Result<()> {
    assert_eq!(shape.iter().product::<usize>(), values.len(), "shape {shape:?} and values differ");
    out.write_all(&header(dtype, shape))?;
    out.write_all(&encode(dtype, values))
}

/// Values as the bytes of a `.npy` array.
pub fn encode(dtype: DType, values: &[f32]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(values.len() * dtype.size());
    for &v in values {
        match dtype {
            DType::U8 => bytes.push(v.round().clamp(0.0, 255.0) as u8),
            DType::F16 => bytes.extend(f16::from_f32(v).to_le_bytes()),
            DType::F32 => bytes.extend(v.to_le_bytes()),
            DType::F64 => bytes.extend(f64::from(v).to_le_bytes()),
        }
    }
    bytes
}

type HeaderError = (ErrorKind, String);

fn parse_header(bytes: &[u8]) -> std::result::Result<(DType, Vec<usize>), HeaderError> {
    let broken = |m: String| (ErrorKind::Malformed, m);
    let text =
        std::str::from_utf8(bytes).map_err(|_| broken("its .npy header is not text".into()))?;
    let inner = text
        .trim()
        .strip_prefix('{')
        .and_then(|t| t.strip_suffix('}'))
        .ok_or_else(|| broken(format!("its .npy header is no dictionary: {}", quote(text))))?;
    let descr = value_of(inner, "descr").and_then(|v| {
        let v = v.trim_start();
        let mark = v.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        v[1..].split(mark).next()
    });
    let dtype = match descr {
        Some("|u1" | "u1" | "<u1") => DType::U8,
        Some("<f2") => DType::F16,
        Some("<f4") => DType::F32,
        Some("<f8") => DType::F64,
        Some(other) => {
            return Err((
                ErrorKind::Unsupported,
                format!("values of type `{}` are not read; u1, <f2, <f4 and <f8 are", quote(other)),
            ));
        }
        None => return Err(broken("its .npy header names no type (`descr`)".into())),
    };
    match value_of(inner, "fortran_order").map(str::trim_start) {
        Some(v) if v.starts_with("False") => {}
        Some(v) if v.starts_with("True") => {
            return Err((
                ErrorKind::Unsupported,
                "it is in Fortran order; save it with numpy.ascontiguousarray first".into(),
            ));
        }
        _ => return Err(broken("its .npy header does not say `fortran_order`".into())),
    }
    let shape = value_of(inner, "shape")
        .and_then(|v| v.trim_start().strip_prefix('('))
        .and_then(|v| v.split_once(')'))
        .ok_or_else(|| broken("its .npy header names no `shape`".into()))?
        .0;
    let mut axes = Vec::new();
    for axis in shape.split(',').map(str::trim).filter(|a| !a.is_empty()) {
        let axis = axis
            .parse()
            .map_err(|_| broken(format!("`{}` is no length of an axis", quote(axis))))?;
        axes.push(axis);
    }
    if axes.len() > MAX_AXES {
        return Err((
            ErrorKind::OverLimit,
            format!("it has {} axes; at most {MAX_AXES} are read", axes.len()),
        ));
    }
    Ok((dtype, axes))
}

/// What follows `'key':` in a dictionary literal.
fn value_of<'a>(inner: &'a str, key: &str) -> Option<&'a str> {
    [format!("'{key}'"), format!("\"{key}\"")].iter().find_map(|quoted| {
        let after = &inner[inner.find(quoted.as_str())? + quoted.len()..];
        after.trim_start().strip_prefix(':')
    })
}

/// A short, printable excerpt for a message.
fn quote(text: &str) -> String {
    text.chars().take(60).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        std::fs::write(&path, bytes).unwrap();
        (folder, path)
    }

    #[test]
    fn what_is_written_is_read_back() {
        let values = [0.0, 1.0, 2.5, 250.0, 3.0, 7.0];
        for dtype in [DType::U8, DType::F16, DType::F32, DType::F64] {
            let mut bytes = Vec::new();
            write(&mut bytes, dtype, &[2, 3], &values).unwrap();
            let (_folder, path) = file(&bytes);
            let npy = NpyFile::open(&path).unwrap();
            assert_eq!((npy.dtype(), npy.shape()), (dtype, &[2, 3][..]));
            let expected: Vec<f32> =
                values.iter().map(|v| if dtype == DType::U8 { v.round() } else { *v }).collect();
            assert_eq!(npy.read_all_f32().unwrap(), expected);
            assert_eq!(npy.read_f32(3, 2).unwrap(), expected[3..5]);
            assert_eq!(npy.read_f32(5, 2).unwrap_err().kind, ErrorKind::Unsupported);
        }
    }

    #[test]
    fn headers_are_those_of_numpy() {
        // numpy.lib.format writes exactly this for zeros((3,), 'f4').
        let h = header(DType::F32, &[3]);
        assert_eq!(h.len(), 128);
        assert!(h[10..].starts_with(b"{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }"));
        let h = header(DType::U8, &[2, 3]);
        assert!(
            h[10..].starts_with(b"{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }")
        );
    }

    #[test]
    fn hostile_headers_are_refused() {
        let with = |text: &str| {
            let mut b = MAGIC.to_vec();
            b.extend([1, 0]);
            b.extend((text.len() as u16).to_le_bytes());
            b.extend(text.as_bytes());
            b.extend([0; 16]);
            b
        };
        let cases: Vec<(Vec<u8>, ErrorKind)> = vec![
            (b"".to_vec(), ErrorKind::Malformed),
            (b"RIFF....WAVE".to_vec(), ErrorKind::Malformed),
            (
                with("{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }")[..40].to_vec(),
                ErrorKind::Malformed,
            ),
            (
                with("{'descr': '<f4', 'fortran_order': False, 'shape': (5,), }"),
                ErrorKind::Malformed,
            ),
            (
                with("{'descr': '<f4', 'fortran_order': True, 'shape': (4,), }"),
                ErrorKind::Unsupported,
            ),
            (
                with("{'descr': '>f4', 'fortran_order': False, 'shape': (4,), }"),
                ErrorKind::Unsupported,
            ),
            (
                with("{'descr': '|O', 'fortran_order': False, 'shape': (4,), }"),
                ErrorKind::Unsupported,
            ),
            (
                with("{'descr': '<f4', 'fortran_order': False, 'shape': (-4,), }"),
                ErrorKind::Malformed,
            ),
            (
                with(
                    "{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999999, 9999999999999), }",
                ),
                ErrorKind::Malformed,
            ),
            (
                with("{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,4), }"),
                ErrorKind::OverLimit,
            ),
            (with("{'shape': (4,)}"), ErrorKind::Malformed),
            (with("__import__('os')"), ErrorKind::Malformed),
        ];
        for (i, (bytes, kind)) in cases.iter().enumerate() {
            let (_folder, path) = file(bytes);
            let error = NpyFile::open(&path).unwrap_err();
            assert_eq!(error.kind, *kind, "case {i}: {error}");
        }
        let (_folder, path) =
            file(&with("{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }"));
        assert_eq!(NpyFile::open(&path).unwrap().len(), 4);
    }
}

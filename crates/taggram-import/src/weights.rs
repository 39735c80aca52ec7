//! Weights from elsewhere, by their names: `.safetensors`, PyTorch's `.pt`, ONNX.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use taggram_model::{Tensor, Weights};
use zip::ZipArchive;

use crate::error::{ImportError, ImportErrorKind};
use crate::pickle::{self, Strided};
use crate::proto::{Value, fields, varint};

/// Largest file of weights that is read: VGG16 with its 1000 classes has 553 MB.
const MAX_FILE: u64 = 2 << 30;

/// Reads the floating-point tensors of a file by their names, as float32. What it is is seen from its first bytes.
///
/// # Errors
/// A file that cannot be read, is none of these, is damaged, larger than 2 GiB, or holds no such tensor.
pub fn read_weights(path: &Path) -> Result<Weights, ImportError> {
    let place = path.display().to_string();
    let bytes = read_limited(path, &place)?;
    // A zip starts with its magic number, safetensors with the length of a JSON header; ONNX is a bare
    // protocol-buffers message.
    let weights = if bytes.starts_with(b"PK\x03\x04") {
        pytorch(&bytes, &place)?
    } else if bytes.get(8) == Some(&b'{') {
        safetensors(&bytes, &place)?
    } else if let Some(weights) = onnx(&bytes) {
        weights?
    } else {
        return Err(ImportError::new(
            place,
            ImportErrorKind::Unsupported,
            "is neither safetensors, nor PyTorch's zip format (since 1.6), nor ONNX",
        ));
    };
    if weights.is_empty() {
        return Err(ImportError::malformed(place, "holds no floating-point tensor"));
    }
    Ok(weights)
}

fn read_limited(path: &Path, place: &str) -> Result<Vec<u8>, ImportError> {
    let unreadable = |e: std::io::Error| {
        ImportError::new(place, ImportErrorKind::Unreadable, format!("cannot be read ({e})"))
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(ImportError::new(
            place,
            ImportErrorKind::OverLimit,
            format!("has more than the {MAX_FILE} bytes that are read"),
        ));
    }
    Ok(bytes)
}

fn safetensors(bytes: &[u8], place: &str) -> Result<Weights, ImportError> {
    let tensors = SafeTensors::deserialize(bytes)
        .map_err(|e| ImportError::malformed(place, format!("is damaged ({e})")))?;
    let mut weights = Weights::new();
    for (name, view) in tensors.iter() {
        let kind = match view.dtype() {
            Dtype::F32 => Float::F32,
            Dtype::F64 => Float::F64,
            Dtype::F16 => Float::F16,
            Dtype::BF16 => Float::Bf16,
            // Counters of batches and the like.
            _ => continue,
        };
        weights.insert(name.to_string(), Tensor::new(view.shape(), floats(view.data(), kind)));
    }
    Ok(weights)
}

/// PyTorch's zip: `NAME/data.pkl` says which tensors there are, `NAME/data/KEY` holds their values.
fn pytorch(bytes: &[u8], place: &str) -> Result<Weights, ImportError> {
    let damaged = |e: zip::result::ZipError| {
        ImportError::malformed(place, format!("is a damaged zip archive ({e})"))
    };
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(damaged)?;
    let pickle = archive
        .file_names()
        .filter_map(|name| name.ok().map(|n| n.into_owned()))
        .find(|n| n.ends_with("/data.pkl"));
    let Some(pickle) = pickle else {
        return Err(ImportError::new(
            place,
            ImportErrorKind::Unsupported,
            "is a zip archive without PyTorch's `data.pkl`",
        ));
    };
    let folder = pickle.trim_end_matches("data.pkl").to_string();
    let mut left = MAX_FILE;
    let mut read = |name: &str| -> Result<Vec<u8>, ImportError> {
        let member = format!("{place}: {name}");
        let file = archive
            .by_name(name)
            .map_err(|e| ImportError::malformed(&member, format!("cannot be read ({e})")))?;
        let mut bytes = Vec::new();
        file.take(left + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| ImportError::malformed(&member, format!("cannot be read ({e})")))?;
        left = left.checked_sub(bytes.len() as u64).ok_or_else(|| {
            let message = format!("unpacks to more than the {MAX_FILE} bytes that are read");
            ImportError::new(place, ImportErrorKind::OverLimit, message)
        })?;
        Ok(bytes)
    };
    let tensors = pickle::state_dict(&read(&pickle)?).map_err(|e| {
        ImportError::new(format!("{place}: {pickle}"), ImportErrorKind::Unsupported, e)
    })?;
    let byte_order = format!("{folder}byteorder");
    if read(&byte_order).is_ok_and(|order| order.starts_with(b"big")) {
        return Err(ImportError::new(place, ImportErrorKind::Unsupported, "is big-endian"));
    }
    let mut storages: HashMap<String, Vec<f32>> = HashMap::new();
    let mut weights = Weights::new();
    for (name, tensor) in tensors {
        let Some(float) = tensor.storage.float else { continue };
        let key = tensor.storage.key.clone();
        let values = match storages.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let bytes = read(&format!("{folder}data/{}", tensor.storage.key))?;
                new.insert(floats(&bytes, float))
            }
        };
        let data = view(values, &tensor).ok_or_else(|| {
            let message = format!(
                "tensor `{name}` of shape {:?} reaches beyond the {} values of its storage",
                tensor.shape,
                values.len()
            );
            ImportError::malformed(place, message)
        })?;
        weights.insert(name, Tensor::new(tensor.shape, data));
    }
    Ok(weights)
}

/// The values of a view in order; none when it leaves its storage, or repeats it beyond its own size.
fn view(values: &[f32], tensor: &Strided) -> Option<Vec<f32>> {
    let count = tensor.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
    if count > values.len() {
        return None;
    }
    let mut places = vec![tensor.offset];
    for (&size, &step) in tensor.shape.iter().zip(&tensor.stride) {
        let mut next = Vec::with_capacity(places.len().checked_mul(size)?);
        for place in places {
            for i in 0..size {
                next.push(place.checked_add(i.checked_mul(step)?)?);
            }
        }
        places = next;
    }
    places.into_iter().map(|place| values.get(place).copied()).collect()
}

/// The initialisers of an ONNX model's graph; none when this is no such model.
fn onnx(bytes: &[u8]) -> Option<Result<Weights, ImportError>> {
    let graph = fields(bytes)?.into_iter().find_map(|(number, value)| match value {
        Value::Bytes(graph) if number == 7 => Some(graph),
        _ => None,
    })?;
    let mut weights = Weights::new();
    for (number, value) in fields(graph)? {
        let Value::Bytes(tensor) = value else { continue };
        if number != 5 {
            continue;
        }
        let (name, tensor) = match initialiser(tensor) {
            Ok(Some(found)) => found,
            Ok(None) => continue,
            Err(message) => return Some(Err(ImportError::malformed("ONNX initialiser", message))),
        };
        weights.insert(name, tensor);
    }
    Some(Ok(weights))
}

/// An ONNX `TensorProto` of floats; none of other kinds.
fn initialiser(bytes: &[u8]) -> Result<Option<(String, Tensor)>, String> {
    let (mut shape, mut kind, mut name) = (Vec::new(), 0, String::new());
    let (mut raw, mut listed, mut external): (&[u8], Vec<f32>, bool) = (&[], Vec::new(), false);
    for (number, value) in fields(bytes).ok_or("is damaged")? {
        match (number, value) {
            (1, Value::Varint(size)) => shape.push(size as usize),
            (1, Value::Bytes(mut packed)) => {
                while !packed.is_empty() {
                    shape.push(varint(&mut packed).ok_or("has damaged sizes")? as usize);
                }
            }
            (2, Value::Varint(found)) => kind = found,
            (4, Value::Bytes(packed)) => listed.extend(floats(packed, Float::F32)),
            (4, Value::Fixed32(bits)) => listed.push(f32::from_bits(bits)),
            (8, Value::Bytes(text)) => name = String::from_utf8_lossy(text).into_owned(),
            (9, Value::Bytes(data)) => raw = data,
            (14, Value::Varint(place)) => external = place != 0,
            _ => {}
        }
    }
    let kind = match kind {
        1 => Float::F32,
        10 => Float::F16,
        11 => Float::F64,
        16 => Float::Bf16,
        _ => return Ok(None),
    };
    if external {
        return Err(format!("`{name}` lies in another file; save the model as one file"));
    }
    let data = if raw.is_empty() { listed } else { floats(raw, kind) };
    let count = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    if count != Some(data.len()) {
        return Err(format!("`{name}` has shape {shape:?} and {} values", data.len()));
    }
    Ok(Some((name, Tensor::new(shape, data))))
}

/// Floating-point formats that weights are stored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Float {
    F16,
    Bf16,
    F32,
    F64,
}

/// Little-endian values as float32; a last partial one is left out.
pub(crate) fn floats(bytes: &[u8], kind: Float) -> Vec<f32> {
    let two = |b: &[u8]| u16::from_le_bytes([b[0], b[1]]);
    match kind {
        Float::F16 => {
            bytes.chunks_exact(2).map(|b| half::f16::from_bits(two(b)).to_f32()).collect()
        }
        Float::Bf16 => {
            bytes.chunks_exact(2).map(|b| half::bf16::from_bits(two(b)).to_f32()).collect()
        }
        Float::F32 => {
            bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
        }
        Float::F64 => bytes
            .chunks_exact(8)
            .map(|b| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]) as f32)
            .collect(),
    }
}

//! TensorFlow's "tensor bundle" (V2 checkpoint): a sorted table of descriptions, `.index`, and
//! the tensors one after the other, `.data-00000-of-00001`. The messages are those of
//! TensorFlow's `tensor_bundle.proto`, `tensor_shape.proto` and `types.proto`.

use std::collections::BTreeMap;

use taggram_model::Tensor;

use crate::{
    crc32c,
    proto::{Value, fields},
    table,
};

/// `DT_FLOAT` of `types.proto`.
const FLOAT: u64 = 1;
/// Most axes a tensor may have.
const MAX_RANK: usize = 6;

/// A checkpoint: what is in it, and the bytes to take it from.
pub struct Bundle<'a> {
    entries: BTreeMap<String, Entry>,
    data: &'a [u8],
}

/// `BundleEntryProto`.
#[derive(Clone, Debug, Default, PartialEq)]
struct Entry {
    dtype: u64,
    shape: Vec<u64>,
    shard: u64,
    offset: u64,
    size: u64,
    checksum: u32,
    sliced: bool,
}

impl<'a> Bundle<'a> {
    /// Reads the index; tensors are read when asked for.
    ///
    /// # Errors
    /// A sentence about what is damaged or not supported in the index.
    pub fn new(index: &[u8], data: &'a [u8]) -> Result<Self, String> {
        let mut entries = BTreeMap::new();
        let mut has_header = false;
        for (key, value) in table::entries(index)? {
            if key.is_empty() {
                check_header(value)?;
                has_header = true;
                continue;
            }
            let name = String::from_utf8(key).map_err(|_| "a tensor's name is not UTF-8")?;
            let entry = entry(value).ok_or_else(|| format!("the entry of {name:?} is damaged"))?;
            entries.insert(name, entry);
        }
        if !has_header {
            return Err("has no header entry: not the index of a checkpoint".into());
        }
        Ok(Self { entries, data })
    }

    /// The named tensor, in TensorFlow's layout, after its checksum was verified.
    ///
    /// # Errors
    /// A sentence: the tensor is absent, has another shape than `shape`, is not 32-bit
    /// floating point, lies outside the data, or is damaged.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor, String> {
        let entry = self
            .entries
            .get(name)
            .ok_or_else(|| format!("has no tensor {name:?} of shape {shape:?}"))?;
        if entry.dtype != FLOAT {
            return Err(format!("{name:?} has data type {}; 32-bit float is {FLOAT}", entry.dtype));
        }
        if entry.shard != 0 || entry.sliced {
            return Err(format!("{name:?} is split over several places, which is not supported"));
        }
        if !entry.shape.iter().eq(shape.iter().map(|&n| n as u64).collect::<Vec<_>>().iter()) {
            return Err(format!("{name:?} has shape {:?}, not {shape:?}", entry.shape));
        }
        let len = 4 * shape.iter().product::<usize>();
        if entry.size != len as u64 {
            return Err(format!("{name:?} has {} bytes; its shape needs {len}", entry.size));
        }
        let bytes = usize::try_from(entry.offset)
            .ok()
            .and_then(|offset| self.data.get(offset..)?.get(..len))
            .ok_or_else(|| {
                format!(
                    "{name:?} ends at byte {} of the data, which has {}: cut off",
                    entry.offset.saturating_add(entry.size),
                    self.data.len()
                )
            })?;
        let computed = crc32c::masked(&[bytes]);
        if computed != entry.checksum {
            return Err(format!(
                "{name:?} has the checksum {computed:#010x}, the index says {:#010x}: damaged",
                entry.checksum
            ));
        }
        let data = bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        Ok(Tensor::new(shape, data))
    }
}

/// `BundleHeaderProto`: one data file, little-endian.
fn check_header(header: &[u8]) -> Result<(), String> {
    let fields = fields(header).ok_or("the header entry is damaged")?;
    for (number, value) in fields {
        match (number, value) {
            (1, Value::Varint(shards)) if shards != 1 => {
                return Err(format!("the checkpoint is spread over {shards} data files, not 1"));
            }
            (2, Value::Varint(order)) if order != 0 => {
                return Err("the checkpoint is big-endian, which is not supported".into());
            }
            _ => {}
        }
    }
    Ok(())
}

fn entry(value: &[u8]) -> Option<Entry> {
    let mut entry = Entry::default();
    for field in fields(value)? {
        match field {
            (1, Value::Varint(n)) => entry.dtype = n,
            (2, Value::Bytes(shape)) => entry.shape = shape_of(shape)?,
            (3, Value::Varint(n)) => entry.shard = n,
            (4, Value::Varint(n)) => entry.offset = n,
            (5, Value::Varint(n)) => entry.size = n,
            (6, Value::Fixed32(n)) => entry.checksum = n,
            (7, _) => entry.sliced = true,
            _ => {}
        }
    }
    Some(entry)
}

/// `TensorShapeProto`: field 2 repeats a message whose field 1 is the length of an axis.
fn shape_of(message: &[u8]) -> Option<Vec<u64>> {
    let mut shape = Vec::new();
    for field in fields(message)? {
        if let (2, Value::Bytes(axis)) = field {
            let len = fields(axis)?.into_iter().find_map(|f| match f {
                (1, Value::Varint(n)) => Some(n),
                _ => None,
            });
            shape.push(len.unwrap_or(0));
        }
    }
    (shape.len() <= MAX_RANK).then_some(shape)
}

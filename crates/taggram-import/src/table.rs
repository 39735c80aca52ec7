//! The sorted table that a checkpoint's `.index` is: LevelDB's `doc/table_format.md`, as
//! TensorFlow writes it.
//!
//! Data blocks, a meta-index, an index of the data blocks, and a footer of 48 bytes that says
//! where the indices are. A block holds entries whose keys share a prefix with the one before,
//! then an array of restart points, then one byte for the compression and a masked CRC-32C.

use crate::{crc32c, proto::varint};

const FOOTER: usize = 48;
const MAGIC: u64 = 0xDB47_7524_8B80_FB57;
/// Blocks hold a few kilobytes; the checkpoints of musicnn have one or two.
const MAX_ENTRIES: usize = 100_000;
/// Longest key. Names of TensorFlow variables have some dozens of characters.
const MAX_KEY: usize = 4096;

/// Keys with their values, in the order of the table.
pub type Entries<'a> = Vec<(Vec<u8>, &'a [u8])>;

/// All `(key, value)` pairs of a table in the order of the keys.
///
/// # Errors
/// A sentence about what is damaged, or that a block is compressed.
pub fn entries(table: &[u8]) -> Result<Entries<'_>, String> {
    let footer_at = table.len().checked_sub(FOOTER).ok_or_else(|| {
        format!("has {} bytes; an index has at least the {FOOTER} of its footer", table.len())
    })?;
    let (blocks, mut footer) = table.split_at(footer_at);
    let magic = footer.last_chunk::<8>().map_or(0, |m| u64::from_le_bytes(*m));
    if magic != MAGIC {
        return Err(format!(
            "ends with {magic:#018x}, not with the {MAGIC:#018x} of a checkpoint index: cut off, or another kind of file"
        ));
    }
    let damaged = || "the footer is damaged".to_string();
    handle(&mut footer).ok_or_else(damaged)?;
    let index = block(blocks, handle(&mut footer).ok_or_else(damaged)?)?;

    let mut all = Vec::new();
    for (_, mut place) in block_entries(index)? {
        let place = handle(&mut place).ok_or("the index of blocks is damaged")?;
        all.extend(block_entries(block(blocks, place)?)?);
        if all.len() > MAX_ENTRIES {
            return Err(format!("holds more than {MAX_ENTRIES} entries"));
        }
    }
    if let Some(pair) = all.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
        return Err(format!(
            "the key {:?} comes after {:?}: the table is not sorted",
            String::from_utf8_lossy(&pair[1].0),
            String::from_utf8_lossy(&pair[0].0)
        ));
    }
    Ok(all)
}

/// Offset and length of a block.
fn handle(bytes: &mut &[u8]) -> Option<(usize, usize)> {
    let offset = usize::try_from(varint(bytes)?).ok()?;
    Some((offset, usize::try_from(varint(bytes)?).ok()?))
}

/// The contents of a block after its checksum was verified.
fn block(blocks: &[u8], (offset, len): (usize, usize)) -> Result<&[u8], String> {
    let outside = || {
        format!(
            "a block of {len} bytes at {offset} lies outside the table's {} bytes",
            blocks.len()
        )
    };
    let tail = blocks.get(offset..).ok_or_else(outside)?;
    let (contents, trailer) = tail.split_at_checked(len).ok_or_else(outside)?;
    let (trailer, _) = trailer.split_first_chunk::<5>().ok_or_else(outside)?;
    let [compression, checksum @ ..] = *trailer;
    let stored = u32::from_le_bytes(checksum);
    let computed = crc32c::masked(&[contents, &[compression]]);
    if stored != computed {
        return Err(format!(
            "the block at {offset} has the checksum {computed:#010x}, the table says {stored:#010x}: damaged"
        ));
    }
    match compression {
        0 => Ok(contents),
        1 => Err("a block is compressed with Snappy, which is not supported".into()),
        n => Err(format!("a block has the unknown compression {n}")),
    }
}

fn block_entries(block: &[u8]) -> Result<Entries<'_>, String> {
    let damaged = || "a block is damaged".to_string();
    let (rest, restarts) = block.split_last_chunk::<4>().ok_or_else(damaged)?;
    let restarts = usize::try_from(u32::from_le_bytes(*restarts)).map_err(|_| damaged())?;
    let end =
        restarts.checked_mul(4).and_then(|n| rest.len().checked_sub(n)).ok_or_else(damaged)?;
    let mut rest = &rest[..end];
    let mut entries = Vec::new();
    let mut key = Vec::new();
    while !rest.is_empty() {
        let mut number = || varint(&mut rest).and_then(|n| usize::try_from(n).ok());
        let (Some(shared), Some(unshared), Some(len)) = (number(), number(), number()) else {
            return Err(damaged());
        };
        let (suffix, tail) = rest.split_at_checked(unshared).ok_or_else(damaged)?;
        let (value, tail) = tail.split_at_checked(len).ok_or_else(damaged)?;
        if shared > key.len() || shared + unshared > MAX_KEY {
            return Err(damaged());
        }
        key.truncate(shared);
        key.extend_from_slice(suffix);
        entries.push((key.clone(), value));
        if entries.len() > MAX_ENTRIES {
            return Err(format!("holds more than {MAX_ENTRIES} entries"));
        }
        rest = tail;
    }
    Ok(entries)
}

//! How one version of a file is made from another: pieces to copy, and the bytes in between.
//!
//! Tagging leaves nearly all bytes of a file alone but moves them, so the way back costs about as
//! much room as the old tags, not as the file.

use std::collections::HashMap;

use crate::{ErrorKind, LibraryError};

/// Bytes that must agree before a piece is looked for further.
const BLOCK: usize = 512;

/// A shorter piece costs more to describe than to store.
const SHORTEST: usize = 64;

/// Multiplier of the rolling hash; any large odd number does.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// What makes `target` from `source`.
pub(super) fn make(source: &[u8], target: &[u8]) -> Vec<u8> {
    let mut blocks: HashMap<u64, usize> = HashMap::with_capacity(source.len() / BLOCK);
    for (i, block) in source.chunks_exact(BLOCK).enumerate() {
        blocks.entry(hash(block)).or_insert(i * BLOCK);
    }
    // FACTOR to the power BLOCK − 1: what the byte that leaves the hash was multiplied by.
    let leaving = (1..BLOCK).fold(1u64, |power, _| power.wrapping_mul(FACTOR));
    let mut out = (target.len() as u64).to_le_bytes().to_vec();
    let (mut literal, mut at) = (0, 0);
    let mut rolling = None;
    // Where the last piece went on in the source: it often goes on after a small change.
    let mut expected = 0;
    while at < target.len() {
        let mut found =
            agree(&source[expected.min(source.len())..], &target[at..], BLOCK).then_some(expected);
        if found.is_none() && at + BLOCK <= target.len() {
            let value = match rolling {
                Some((place, value)) if place + 1 == at => {
                    roll(value, target[place], target[place + BLOCK], leaving)
                }
                _ => hash(&target[at..at + BLOCK]),
            };
            rolling = Some((at, value));
            found = blocks
                .get(&value)
                .copied()
                .filter(|&from| source[from..from + BLOCK] == target[at..at + BLOCK]);
        }
        let Some(from) = found else {
            at += 1;
            expected += 1;
            continue;
        };
        let back = source[..from]
            .iter()
            .rev()
            .zip(target[literal..at].iter().rev())
            .take_while(|(a, b)| a == b)
            .count();
        let (from, start) = (from - back, at - back);
        let length =
            source[from..].iter().zip(&target[start..]).take_while(|(a, b)| a == b).count();
        if length < SHORTEST {
            at += 1;
            expected += 1;
            continue;
        }
        step(&mut out, &target[literal..start], from, length);
        at = start + length;
        literal = at;
        expected = from + length;
        rolling = None;
    }
    step(&mut out, &target[literal..], 0, 0);
    out
}

/// Makes the target again.
///
/// # Errors
/// When the delta does not belong to `source`.
pub(super) fn apply(source: &[u8], delta: &[u8]) -> Result<Vec<u8>, LibraryError> {
    let bad = || LibraryError::new(ErrorKind::Corrupt, "an entry of the undo journal is damaged");
    let number = |at: usize| -> Option<usize> {
        let bytes = delta.get(at..at + 8)?.try_into().ok()?;
        usize::try_from(u64::from_le_bytes(bytes)).ok()
    };
    let total = number(0).ok_or_else(bad)?;
    let mut out = Vec::with_capacity(total.min(source.len() + delta.len()));
    let mut at = 8;
    while at < delta.len() {
        let header = (number(at), number(at + 8), number(at + 16));
        let (Some(literal), Some(from), Some(length)) = header else { return Err(bad()) };
        at += 24;
        let end = at.checked_add(literal).ok_or_else(bad)?;
        out.extend_from_slice(delta.get(at..end).ok_or_else(bad)?);
        at = end;
        let end = from.checked_add(length).ok_or_else(bad)?;
        out.extend_from_slice(source.get(from..end).ok_or_else(bad)?);
    }
    if out.len() == total { Ok(out) } else { Err(bad()) }
}

/// Literal bytes, then a piece of the source.
fn step(out: &mut Vec<u8>, literal: &[u8], from: usize, length: usize) {
    for number in [literal.len(), from, length] {
        out.extend((number as u64).to_le_bytes());
    }
    out.extend_from_slice(literal);
}

fn agree(a: &[u8], b: &[u8], at_least: usize) -> bool {
    let n = at_least.min(b.len());
    n >= SHORTEST && a.len() >= n && a[..n] == b[..n]
}

fn hash(block: &[u8]) -> u64 {
    block.iter().fold(0u64, |h, &b| h.wrapping_mul(FACTOR).wrapping_add(u64::from(b) + 1))
}

fn roll(value: u64, out: u8, new: u8, leaving: u64) -> u64 {
    value
        .wrapping_sub((u64::from(out) + 1).wrapping_mul(leaving))
        .wrapping_mul(FACTOR)
        .wrapping_add(u64::from(new) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize, mut state: u32) -> Vec<u8> {
        (0..length)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect()
    }

    fn check(source: &[u8], target: &[u8], at_most: usize) {
        let delta = make(source, target);
        assert_eq!(apply(source, &delta).unwrap(), target);
        assert!(delta.len() <= at_most, "{} bytes of delta, {at_most} allowed", delta.len());
    }

    #[test]
    fn what_tagging_does_costs_about_the_old_tags() {
        let audio = noise(300_000, 1);
        let (old, new) = (noise(2_000, 2), noise(3_333, 3));
        check(&[&new[..], &audio].concat(), &[&old[..], &audio].concat(), 2_200);
        check(&[&audio[..], &new].concat(), &[&audio[..], &old].concat(), 2_200);
        check(&audio, &[&old[..], &audio].concat(), 2_200);
        check(&[&new[..], &audio].concat(), &audio, 200);
        // An Ogg file whose pages were renumbered: eight bytes change every 4 KB.
        let mut paged = audio.clone();
        paged.iter_mut().enumerate().filter(|(i, _)| i % 4_327 < 8).for_each(|(_, b)| *b ^= 0x55);
        check(&paged, &audio, 70 * (24 + 16) + 500);
    }

    #[test]
    fn any_two_files() {
        let (a, b) = (noise(5_000, 4), noise(7_000, 5));
        for (source, target) in
            [(&a[..], &b[..]), (&[][..], &b[..]), (&a[..], &[][..]), (&a[..], &a[..100])]
        {
            check(source, target, target.len() + 100);
        }
        let zeros = vec![0; 100_000];
        check(&zeros, &zeros[..70_000], 200);
    }

    #[test]
    fn a_damaged_delta_is_refused() {
        let (a, b) = (noise(5_000, 4), noise(700, 5));
        let delta = make(&a, &b);
        for cut in [0, 7, 20, delta.len() - 1] {
            assert!(apply(&a, &delta[..cut]).is_err(), "cut at {cut}");
        }
        let mut huge = delta.clone();
        huge[8..16].fill(0xff);
        assert!(apply(&a, &huge).is_err());
    }
}

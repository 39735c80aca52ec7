//! A section of a song: so many patches that what is shared between them fits the memory.

use std::ops::Range;

/// Most frames of a section's shared results, and most values of its temporal layer (32 MB).
const MAX_FRAMES: usize = 4096;
const MAX_VALUES: usize = 8 << 20;

/// Patches that are computed together. Frames count from the start of the section.
#[derive(Debug)]
pub(super) struct Section {
    /// First frame of the section in the song.
    pub at: usize,
    /// Number of frames.
    pub frames: usize,
    /// Length of a patch, frames.
    pub patch: usize,
    /// First frame of each patch.
    pub starts: Vec<usize>,
    /// Number in the song of the first patch.
    pub first: usize,
    /// Most patches that a frame is in.
    pub slots: usize,
    hop: usize,
}

impl Section {
    /// Cuts `count` patches of `patch` frames every `hop` into sections of about the same length;
    /// their temporal layer has `columns` columns.
    pub fn cut(count: usize, patch: usize, hop: usize, columns: usize) -> Vec<Self> {
        let slots = patch.div_ceil(hop).min(count).max(1);
        let frames = MAX_FRAMES.min(MAX_VALUES / (slots * columns)).max(patch);
        let most = 1 + (frames - patch) / hop;
        // Sections of about the same length.
        let sections = count.div_ceil(most).max(1);
        (0..sections)
            .map(|i| {
                let (first, end) = (i * count / sections, (i + 1) * count / sections);
                Self {
                    at: first * hop,
                    frames: (end - first - 1) * hop + patch,
                    patch,
                    starts: (0..end - first).map(|p| p * hop).collect(),
                    first,
                    slots,
                    hop,
                }
            })
            .collect()
    }

    /// The patches that frame `t` is in.
    pub fn patches_at(&self, t: usize) -> Range<usize> {
        let first = (t + 1).saturating_sub(self.patch).div_ceil(self.hop);
        let end = (t / self.hop + 1).min(self.starts.len());
        first.min(end)..end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_hold_every_patch_once_and_know_which_frames_are_in_it() {
        for (count, patch, hop) in
            [(1, 187, 61), (28, 187, 61), (700, 187, 61), (300, 187, 1), (9, 20, 50)]
        {
            let sections = Section::cut(count, patch, hop, 156);
            let mut next = 0;
            for section in &sections {
                assert_eq!((section.first, section.at), (next, next * hop));
                next += section.starts.len();
                for t in 0..section.frames {
                    let expected: Vec<usize> = (0..section.starts.len())
                        .filter(|p| (section.starts[*p]..section.starts[*p] + patch).contains(&t))
                        .collect();
                    assert_eq!(section.patches_at(t).collect::<Vec<_>>(), expected);
                    assert!(expected.len() <= section.slots);
                }
            }
            assert_eq!(next, count);
        }
    }
}

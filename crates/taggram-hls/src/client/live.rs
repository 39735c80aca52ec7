//! Following a media playlist: which segments come next, when to look again, when to give up.

use std::time::Duration;

use crate::playlist::{Media, Segment};

/// Where we are in a playlist that may change.
#[derive(Debug, Default)]
pub(super) struct Follower {
    /// Number of the segment that comes next; `None` before the first look.
    next: Option<u64>,
    last_end: u64,
    first_uri: String,
    /// Segments were missed, or the numbers began afresh: what follows does not join.
    pub broken: bool,
}

/// What a look at a playlist brought.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Look {
    /// New segments with their numbers.
    pub segments: Vec<(u64, Segment)>,
    /// Something a person should know.
    pub note: Option<String>,
    /// There was something new in it, whether or not it is wanted.
    pub moved: bool,
}

impl Follower {
    /// Looks at a playlist that was fetched.
    pub fn look(&mut self, media: &Media) -> Look {
        let end = media.sequence + media.segments.len() as u64;
        let first_uri = media.segments.first().map_or("", |s| s.uri.as_str());
        let moved = end != self.last_end || self.first_uri != first_uri;
        let mut note = None;
        let next = match self.next {
            None => start(media),
            // A server that was restarted counts from the beginning.
            Some(next) if end < next && moved => {
                note = Some(format!(
                    "the numbers of the segments went back from {next} to {}: the server began anew",
                    media.sequence
                ));
                self.broken = true;
                start(media)
            }
            Some(next) if next < media.sequence => {
                note = Some(format!(
                    "{} segments were missed: the playlist moved on without us",
                    media.sequence - next
                ));
                self.broken = true;
                media.sequence
            }
            Some(next) => next,
        };
        let numbered = (media.sequence..).zip(&media.segments);
        let segments: Vec<_> =
            numbered.filter(|(n, _)| *n >= next).map(|(n, s)| (n, s.clone())).collect();
        self.next = Some(end.max(next));
        (self.last_end, self.first_uri) = (end, first_uri.to_owned());
        Look { segments, note, moved }
    }
}

/// Number of the segment to begin with: the first one of what is complete; of a live stream one
/// that begins three target durations before the end or earlier (RFC 8216 §6.3.3).
fn start(media: &Media) -> u64 {
    if media.ended || media.kind.as_deref() == Some("VOD") {
        return media.sequence;
    }
    let wanted_s = 3.0 * media.target_s as f64;
    let mut left_s = 0.0;
    let behind = media.segments.iter().rev().take_while(|s| {
        let enough = left_s >= wanted_s;
        left_s += s.duration_s;
        !enough
    });
    media.sequence + (media.segments.len() - behind.count()) as u64
}

/// How long after the last look the next one is due (RFC 8216 §6.3.4).
pub(super) fn pause(media: &Media, moved: bool) -> Duration {
    // A server that says 0 would be asked without end.
    let target = Duration::from_secs(media.target_s.clamp(1, 60));
    if moved { target } else { target / 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn media(sequence: u64, count: usize, ended: bool) -> Media {
        let segments = (0..count as u64).map(|i| Segment {
            uri: format!("{}.ts", sequence + i),
            duration_s: 4.0,
            ..Segment::default()
        });
        Media { target_s: 4, sequence, ended, segments: segments.collect(), ..Media::default() }
    }

    fn numbers(look: &Look) -> Vec<u64> {
        look.segments.iter().map(|(n, _)| *n).collect()
    }

    #[test]
    fn what_is_complete_is_heard_from_its_start() {
        assert_eq!(numbers(&Follower::default().look(&media(5, 3, true))), [5, 6, 7]);
    }

    #[test]
    fn live_begins_three_targets_before_the_end() {
        assert_eq!(numbers(&Follower::default().look(&media(100, 6, false))), [103, 104, 105]);
        assert_eq!(numbers(&Follower::default().look(&media(100, 2, false))), [100, 101]);
    }

    #[test]
    fn each_segment_comes_once() {
        let mut follower = Follower::default();
        follower.look(&media(100, 6, false));
        let same = follower.look(&media(100, 6, false));
        assert!(!same.moved && same.segments.is_empty());
        let next = follower.look(&media(102, 6, false));
        assert!(next.moved && next.note.is_none());
        assert_eq!(numbers(&next), [106, 107]);
    }

    #[test]
    fn gaps_and_new_beginnings_are_noticed() {
        let mut follower = Follower::default();
        follower.look(&media(100, 6, false));
        let gap = follower.look(&media(110, 3, false));
        assert_eq!(numbers(&gap), [110, 111, 112]);
        assert!(gap.note.unwrap().contains("4 segments were missed") && follower.broken);
        let anew = follower.look(&media(0, 6, false));
        assert_eq!(numbers(&anew), [3, 4, 5]);
        assert!(anew.note.unwrap().contains("began anew"));
    }
}

//! Any bytes as a playlist: an error in one sentence, or a playlist that is the same when it is
//! written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use taggram_hls::playlist::{Playlist, PlaylistLimits, parse};

fuzz_target!(|data: &[u8]| {
    let limits = PlaylistLimits { bytes: 1 << 16, line: 1 << 12, entries: 1000 };
    let Ok(Playlist::Media(mut media)) = parse(data, &limits) else { return };
    // What this program does not write: keys, ranges and gaps. Durations keep six places.
    media.version = media.version.max(3);
    for segment in &mut media.segments {
        (segment.key, segment.range, segment.gap) = (None, None, false);
        segment.duration_s = (segment.duration_s * 1e3).round() / 1e3;
        segment.map = None;
    }
    let text = media.to_string();
    let wide = PlaylistLimits { bytes: 1 << 20, line: 1 << 13, entries: 2000 };
    let again = parse(text.as_bytes(), &wide).expect("what is written can be read");
    assert_eq!(again, Playlist::Media(media));
});

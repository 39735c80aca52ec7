//! Any bytes as segments — MPEG-TS, packed audio, MP4 — cut anywhere: no panic, no hang, and only
//! finite samples.
#![no_main]

use libfuzzer_sys::fuzz_target;
use taggram_audio::{Limits, ResamplingKind};
use taggram_hls::ts::TsDemuxer;
use taggram_hls::{ErrorKind, Piece, SegmentDecoder};

fuzz_target!(|data: &[u8]| {
    // The demuxer alone first: most bytes fail before a decoder is reached.
    let mut demuxer = TsDemuxer::default();
    let mut total = 0;
    for part in data.chunks(500) {
        let _ = demuxer.push(part, &mut |bytes| total += bytes.len());
    }
    demuxer.end_of_segment();
    assert!(total <= data.len());

    let mut limits = Limits::upload();
    limits.max_seconds = 20.0;
    let mut decoder = SegmentDecoder::new(22_050, ResamplingKind::SoxrHq, limits);
    let mut samples = Vec::new();
    let (cut, rest) = data.split_first().map_or((1, data), |(c, rest)| (usize::from(*c), rest));
    let (first, second) = rest.split_at(rest.len() * cut / 256);
    for (i, part) in [first, second].into_iter().enumerate() {
        let piece = Piece { data: part.to_vec(), discontinuity: i == 1, ..Piece::default() };
        if let Err(error) = decoder.push(&piece, &mut samples) {
            assert_ne!(error.kind, ErrorKind::Bug, "{error}");
        }
    }
    let _ = decoder.finish(&mut samples);
    assert!(samples.iter().all(|x| x.is_finite()));
});

//! What the fuzz targets do for hours, for a second: bytes that are nearly a playlist or a
//! segment. No panic, only finite samples.

mod common;

use common::golden;
use taggram_audio::{Limits, ResamplingKind};
use taggram_hls::playlist::{PlaylistLimits, parse};
use taggram_hls::segment::{CutOptions, Packaging, cut};
use taggram_hls::{ErrorKind, Piece, SegmentDecoder};

/// xorshift64*, the same numbers in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % below.max(1)
    }

    /// Flips, cuts out, doubles or overwrites a few places.
    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.next(4) {
            if bytes.is_empty() {
                return;
            }
            let at = self.next(bytes.len());
            let to = (at + self.next(40)).min(bytes.len());
            match self.next(5) {
                0 => bytes[at] ^= 1 << self.next(8),
                1 => bytes[at] = [0, 0xff, 0x7f, 0x80, b'"', b'\n'][self.next(6)],
                2 => drop(bytes.drain(at..to)),
                3 => {
                    let part = bytes[at..to].to_vec();
                    bytes.splice(at..at, part);
                }
                _ => bytes.truncate(at),
            }
        }
    }
}

#[test]
fn nearly_playlists() {
    let whole = b"#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:6\n#EXT-X-MEDIA-SEQUENCE:3\n\
        #EXT-X-KEY:METHOD=AES-128,URI=\"k\",IV=0x1234\n#EXT-X-MAP:URI=\"i\",BYTERANGE=\"9@9\"\n\
        #EXT-X-BYTERANGE:100@200\n#EXTINF:5.9,\na.ts\n#EXT-X-BYTERANGE:7\n#EXT-X-DISCONTINUITY\n\
        #EXTINF:6,t\na.ts\n#EXT-X-ENDLIST\n#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=\"a,b\"\nx\n";
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for from in 0..20_000 {
        let mut bytes = whole.to_vec();
        // Half of them are a media playlist alone, which is valid before it is changed.
        if from % 2 == 0 {
            bytes.truncate(bytes.len() - 51);
        }
        numbers.mutate(&mut bytes);
        let _ = parse(&bytes, &PlaylistLimits { bytes: 4096, line: 256, entries: 100 });
    }
}

#[test]
fn nearly_segments() {
    let mut numbers = Numbers(0x1234_5678_9abc_def1);
    let limits = Limits::upload();
    for (name, mp3) in [
        ("tone.mp3", Packaging::Ts),
        ("tone22.mp3", Packaging::Packed),
        ("tone.aac", Packaging::Ts),
        ("tone.m4a", Packaging::Ts),
        ("tone.oga", Packaging::Ts),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let options = CutOptions { segment_s: 0.15, mp3, limits: limits.clone() };
        let track = cut(&golden(name), folder.path(), None, &options).unwrap();
        let read = |file: &str| std::fs::read(folder.path().join(file)).unwrap();
        let init = track.init.as_ref().map(|_| read("init.mp4"));
        let segments: Vec<_> = (0..track.segments.len().min(2))
            .map(|i| read(&format!("{i}.{}", track.extension)))
            .collect();
        for _ in 0..150 {
            let mut decoder = SegmentDecoder::new(22_050, ResamplingKind::SoxrHq, limits.clone());
            let mut samples = Vec::new();
            let mut init = init.clone();
            if let Some(init) = &mut init
                && numbers.next(4) == 0
            {
                numbers.mutate(init);
            }
            for segment in &segments {
                let mut data = segment.clone();
                numbers.mutate(&mut data);
                let init = init.as_deref().map(Into::into);
                let piece = Piece { data, init, ..Piece::default() };
                if let Err(error) = decoder.push(&piece, &mut samples) {
                    assert_ne!(error.kind, ErrorKind::Bug, "{name}: {error}");
                }
            }
            let _ = decoder.finish(&mut samples);
            assert!(samples.iter().all(|x| x.is_finite()));
        }
    }
}

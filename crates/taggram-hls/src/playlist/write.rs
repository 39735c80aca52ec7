//! Writing a playlist.

use std::fmt;

use super::{Master, Media};

impl fmt::Display for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "#EXTM3U\n#EXT-X-VERSION:{}", self.version.max(1))?;
        writeln!(f, "#EXT-X-INDEPENDENT-SEGMENTS")?;
        for v in &self.variants {
            write!(f, "#EXT-X-STREAM-INF:BANDWIDTH={}", v.bandwidth)?;
            if let Some(mean) = v.average_bandwidth {
                write!(f, ",AVERAGE-BANDWIDTH={mean}")?;
            }
            if let Some(codecs) = &v.codecs {
                write!(f, ",CODECS=\"{codecs}\"")?;
            }
            writeln!(f, "\n{}", v.uri)?;
        }
        Ok(())
    }
}

impl fmt::Display for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "#EXTM3U\n#EXT-X-VERSION:{}", self.version.max(3))?;
        writeln!(f, "#EXT-X-TARGETDURATION:{}", self.target_s)?;
        writeln!(f, "#EXT-X-MEDIA-SEQUENCE:{}", self.sequence)?;
        if self.discontinuity_sequence > 0 || self.segments.iter().any(|s| s.discontinuity) {
            writeln!(f, "#EXT-X-DISCONTINUITY-SEQUENCE:{}", self.discontinuity_sequence)?;
        }
        if let Some(kind) = &self.kind {
            writeln!(f, "#EXT-X-PLAYLIST-TYPE:{kind}")?;
        }
        writeln!(f, "#EXT-X-INDEPENDENT-SEGMENTS")?;
        if let Some(trim) = &self.trim {
            write!(f, "#EXT-X-TAGGRAM-TRIM:RATE={},SKIP={}", trim.rate, trim.skip)?;
            if let Some(keep) = trim.keep {
                write!(f, ",KEEP={keep}")?;
            }
            writeln!(f)?;
        }
        let mut map = None;
        for segment in &self.segments {
            if segment.discontinuity {
                writeln!(f, "#EXT-X-DISCONTINUITY")?;
            }
            if segment.map != map {
                if let Some(map) = &segment.map {
                    writeln!(f, "#EXT-X-MAP:URI=\"{}\"", map.uri)?;
                }
                map.clone_from(&segment.map);
            }
            writeln!(f, "#EXTINF:{:.6},\n{}", segment.duration_s, segment.uri)?;
        }
        if self.ended {
            writeln!(f, "#EXT-X-ENDLIST")?;
        }
        Ok(())
    }
}

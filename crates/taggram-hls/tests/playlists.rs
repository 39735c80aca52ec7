//! Playlists: what RFC 8216 makes a client refuse, and what the public parsers' test suites hold.

use std::path::{Path, PathBuf};
use std::process::Command;

use taggram_hls::playlist::{Playlist, PlaylistLimits, parse};

fn read(text: &str) -> Result<Playlist, String> {
    parse(text.as_bytes(), &PlaylistLimits::default()).map_err(|e| e.to_string())
}

/// A media playlist with these lines.
fn media(lines: &str) -> Result<taggram_hls::playlist::Media, String> {
    match read(&format!("#EXTM3U\n#EXT-X-TARGETDURATION:10\n{lines}\n"))? {
        Playlist::Media(media) => Ok(media),
        Playlist::Master(_) => Err("a master playlist".into()),
    }
}

#[test]
fn what_is_refused_and_where() {
    for (text, said) in [
        ("", "not #EXTM3U"),
        ("#EXTINF:1,\na\n", "not #EXTM3U"),
        ("\u{feff}#EXTM3U\n", "byte order mark"),
        ("#EXTM3U\n#EXTINF:1,\na\n", "EXT-X-TARGETDURATION"),
        ("#EXTM3U\n#EXT-X-TARGETDURATION:1\na.ts\n", "line 3: no #EXTINF"),
        ("#EXTM3U\n#EXT-X-TARGETDURATION:-1\n", "line 2"),
        ("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-TARGETDURATION:1\n", "given twice"),
        ("#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-VERSION:3\n", "given twice"),
        ("#EXTM3U\n#EXT-X-VERSION:99\n", "version 99"),
        ("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-STREAM-INF:BANDWIDTH=1\na\n", "cannot be both"),
        ("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n", "no address follows"),
        ("#EXTM3U\n#EXT-X-STREAM-INF:CODECS=\"mp4a.40.2\"\na\n", "no BANDWIDTH"),
        ("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,BANDWIDTH=2\na\n", "given twice"),
        ("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=\"1\"\na\n", "must not be in quotes"),
        ("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=x\na\n", "must be in quotes"),
        ("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=\"x\na\n", "closing quote"),
        ("#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,NAME=\"a\"\n", "no GROUP-ID"),
        ("#EXTM3U\n#EXT-X-MEDIA:TYPE=SMELL,GROUP-ID=\"a\",NAME=\"a\"\n", "unknown TYPE"),
    ] {
        let error = read(text).expect_err(text);
        assert!(error.contains(said), "{text:?} gives {error:?}, without {said:?}");
    }
    for (lines, said) in [
        ("#EXTINF:-1,\na", "no number of seconds"),
        ("#EXTINF:1e3,\na", "no number of seconds"),
        ("#EXTINF:nan,\na", "no number of seconds"),
        ("#EXTINF:999999999,\na", "no number of seconds"),
        ("#EXT-X-PLAYLIST-TYPE:LIVE", "neither VOD nor EVENT"),
        ("#EXTINF:1,\na\n#EXT-X-MEDIA-SEQUENCE:3", "must precede"),
        ("#EXTINF:1,\na\n#EXT-X-DISCONTINUITY-SEQUENCE:3", "must precede"),
        ("#EXT-X-DISCONTINUITY\n#EXT-X-DISCONTINUITY-SEQUENCE:3", "follows a discontinuity"),
        ("#EXT-X-BYTERANGE:100\n#EXTINF:1,\na", "no offset"),
        ("#EXT-X-BYTERANGE:1@0\n#EXTINF:1,\na\n#EXT-X-BYTERANGE:1\n#EXTINF:1,\nb", "no offset"),
        ("#EXT-X-BYTERANGE:9@18446744073709551615\n#EXTINF:1,\na", "2^64"),
        ("#EXT-X-KEY:URI=\"k\"", "no METHOD"),
        ("#EXT-X-KEY:METHOD=AES-128", "no URI"),
        ("#EXT-X-KEY:METHOD=NONE,URI=\"k\"", "METHOD NONE"),
        ("#EXT-X-KEY:METHOD=AES-128,URI=\"k\",IV=12", "128 bits"),
        ("#EXT-X-MAP:BYTERANGE=\"1@0\"", "no URI"),
        ("#EXTINF:1,\n{$base}/a", "variables"),
        ("#EXTINF:1,\na\u{7}b", "control character"),
    ] {
        let error = media(lines).expect_err(lines);
        assert!(error.contains(said), "{lines:?} gives {error:?}, without {said:?}");
    }
}

#[test]
fn what_is_understood() {
    let m = media(
        "#EXT-X-MEDIA-SEQUENCE:7\r\n# a comment\r\n#EXT-X-FROM-THE-FUTURE:x\n\n#EXT-X-MAP:URI=\"i.mp4\",BYTERANGE=\"10@5\"\n\
         #EXT-X-KEY:METHOD=AES-128,URI=\"k,1\",IV=0xFF\n#EXT-X-BYTERANGE:10@20\n#EXTINF:9.5,title\na b.ts\n\
         #EXT-X-BYTERANGE:5\n#EXT-X-DISCONTINUITY\n#EXTINF:3\na b.ts\n#EXT-X-KEY:METHOD=NONE\n#EXT-X-GAP\n#EXTINF:3,\nc.ts\n#EXT-X-ENDLIST",
    )
    .unwrap();
    assert!(m.ended && m.sequence == 7 && m.segments.len() == 3);
    let [a, b, c] = &m.segments[..] else { unreachable!() };
    assert_eq!((a.duration_s, a.uri.as_str()), (9.5, "a b.ts"));
    assert_eq!(b.range.map(|r| (r.offset, r.length)), Some((30, 5)));
    assert!(b.discontinuity && !a.discontinuity && c.gap && c.key.is_none());
    let key = a.key.as_ref().unwrap();
    assert_eq!((key.uri.as_str(), key.iv.unwrap()[15]), ("k,1", 0xff));
    assert_eq!(a.map.as_ref().unwrap().range.map(|r| (r.offset, r.length)), Some((5, 10)));
}

#[test]
fn what_is_written_is_read() {
    let m = media(
        "#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-DISCONTINUITY-SEQUENCE:2\n#EXT-X-PLAYLIST-TYPE:EVENT\n\
         #EXT-X-TAGGRAM-TRIM:RATE=44100,SKIP=1105,KEEP=99\n#EXT-X-MAP:URI=\"i.mp4\"\n#EXTINF:1.5,\na\n\
         #EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"j.mp4\"\n#EXTINF:2,\nb\n#EXT-X-ENDLIST",
    )
    .unwrap();
    let written = taggram_hls::playlist::Media { version: 7, ..m };
    assert_eq!(read(&written.to_string()), Ok(Playlist::Media(written)));
}

#[test]
fn limits_hold() {
    let limits = PlaylistLimits { bytes: 1000, line: 50, entries: 5 };
    let base = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n";
    for more in ["x".repeat(2000), format!("#{}", "x".repeat(60)), "#EXTINF:1,\na\n".repeat(7)] {
        assert!(parse(format!("{base}{more}").as_bytes(), &limits).is_err());
    }
}

/// Where cargo keeps the source of a crate that the tests use.
fn source_of(name: &str) -> Option<PathBuf> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .ok()?;
    let all: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    let package = all["packages"].as_array()?.iter().find(|p| p["name"] == name)?;
    Path::new(package["manifest_path"].as_str()?).parent().map(Path::to_owned)
}

/// Reads every playlist in `folder`: those in `refused` must be refused with these words, all
/// others read, as a master playlist where `is_master` says so.
fn samples(folder: &Path, refused: &[(&str, &str)], is_master: impl Fn(&str, &str) -> bool) {
    let (mut count, mut wrong) = (0, Vec::new());
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|e| e != "m3u8") {
            continue;
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let bytes = std::fs::read(&path).unwrap();
        let ours = parse(&bytes, &PlaylistLimits::default());
        let refused = refused.iter().find(|(n, _)| *n == name);
        match (ours, refused) {
            (Ok(playlist), None) => {
                let master = matches!(playlist, Playlist::Master(_));
                if master != is_master(&name, &String::from_utf8_lossy(&bytes)) {
                    wrong.push(format!("{name} is taken for a playlist of the other kind"));
                }
            }
            (Err(error), Some((_, said))) if error.to_string().contains(said) => {}
            (Ok(_), Some((_, said))) => wrong.push(format!("{name} was to be refused: {said}")),
            (Err(error), _) => wrong.push(format!("{name}: {error}")),
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count >= 20, "{count} playlists");
    println!("{count} playlists of {}", folder.display());
}

/// The sample playlists that come with the parser m3u8-rs. All but one are valid.
#[test]
fn the_samples_of_m3u8_rs() {
    let folder = source_of("m3u8-rs").map(|f| f.join("sample-playlists"));
    let Some(folder) = folder.filter(|f| f.is_dir()) else {
        println!("SKIPPED: the sample playlists of m3u8-rs are not there");
        return;
    };
    // RFC 8216 §4.3.3.1: a media playlist MUST have a target duration.
    let refused = [("media-playlist-with-cues.m3u8", "EXT-X-TARGETDURATION")];
    samples(&folder, &refused, |name, _| name.starts_with("master"));
}

/// The playlists in the test suite of m3u8-parser, which is video.js's: found with the packages
/// for the tests in a browser. What breaks RFC 8216 is refused for the rule that it breaks.
#[test]
fn the_samples_of_m3u8_parser() {
    let modules = std::env::var_os("TAGGRAM_NODE_MODULES").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/web/node_modules"),
        PathBuf::from,
    );
    let folder = modules.join("m3u8-parser/test/fixtures/integration");
    if !folder.is_dir() {
        println!("SKIPPED: the samples of m3u8-parser are not at {}", folder.display());
        return;
    }
    samples(&folder, M3U8_PARSER, |_, text| text.contains("#EXT-X-STREAM-INF"));
}

/// Samples of m3u8-parser that break a rule of RFC 8216.
const M3U8_PARSER: &[(&str, &str)] = &[
    // §4.1: the first line is #EXTM3U.
    ("empty.m3u8", "not #EXTM3U"),
    ("manifestNoExtM3u.m3u8", "not #EXTM3U"),
    ("master.m3u8", "not #EXTM3U"),
    ("start.m3u8", "not #EXTM3U"),
    ("streamInfInvalid.m3u8", "not #EXTM3U"),
    // §4.3.3.1: a target duration, once, a decimal integer.
    ("headerOnly.m3u8", "EXT-X-TARGETDURATION"),
    ("invalidTargetDuration.m3u8", "no whole number"),
    ("manifestExtTTargetdurationNegative.m3u8", "no whole number"),
    ("multipleTargetDurations.m3u8", "line 2: no #EXTINF"),
    // §4.3.3.2: a media sequence number is a decimal integer, and is given once (§4.3.3).
    ("emptyMediaSequence.m3u8", "no whole number"),
    ("invalidMediaSequence.m3u8", "no whole number"),
    ("negativeMediaSequence.m3u8", "no whole number"),
    ("twoMediaSequences.m3u8", "given twice"),
    // §4.3.3.5: EVENT or VOD.
    ("emptyPlaylistType.m3u8", "neither VOD nor EVENT"),
    ("extXPlaylistTypeInvalidPlaylist.m3u8", "neither VOD nor EVENT"),
    ("invalidPlaylistType.m3u8", "neither VOD nor EVENT"),
    // §4.3.2.1: EXTINF is REQUIRED for each segment.
    ("extinf.m3u8", "no number of seconds"),
    ("liveMissingSegmentDuration.m3u8", "no #EXTINF"),
    ("missingExtinf.m3u8", "no #EXTINF"),
    ("missingSegmentDuration.m3u8", "no #EXTINF"),
    // §4.3.2.2: numbers, and the first range of a resource says where it begins.
    ("byteRange.m3u8", "no offset"),
    ("llhls-byte-range.m3u8", "no whole number"),
    // §4.3.1.2: the version is an integer.
    ("versionInvalid.m3u8", "no whole number"),
    // §4.3.3: tags of both kinds.
    ("emptyTargetDuration.m3u8", "line 2"),
];

/// The playlists in the test suite of hls_m3u8 that follow the examples of RFC 8216 §8, and its
/// invalid ones: both parsers agree on each.
#[test]
fn the_tests_of_hls_m3u8() {
    let Some(folder) = source_of("hls_m3u8").map(|f| f.join("tests")) else {
        println!("SKIPPED: the tests of hls_m3u8 are not there");
        return;
    };
    let mut count = 0;
    for file in ["rfc8216.rs", "media_playlist.rs", "master_playlist.rs"] {
        let Ok(source) = std::fs::read_to_string(folder.join(file)) else { continue };
        for text in playlists_in(&source) {
            count += 1;
            let theirs = hls_m3u8::MediaPlaylist::try_from(text.as_str()).is_ok()
                || hls_m3u8::MasterPlaylist::try_from(text.as_str()).is_ok();
            let ours = read(&text);
            assert!(ours.is_ok() || !theirs, "{file}: {ours:?} for\n{text}");
        }
    }
    println!("{count} playlists");
    assert!(count >= 10, "{count} playlists");
}

/// The playlists written as string literals, whole or line by line in `concat!`.
fn playlists_in(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    for block in source.split("concat!(").skip(1) {
        let mut text = String::new();
        let mut rest = block;
        while let Some(literal) = rest.trim_start().strip_prefix('"') {
            let mut escaped = false;
            let mut end = literal.len();
            for (i, c) in literal.char_indices() {
                match c {
                    _ if escaped => {
                        text.push(match c {
                            'n' => '\n',
                            'r' => '\r',
                            other => other,
                        });
                        escaped = false;
                    }
                    '\\' => escaped = true,
                    '"' => {
                        end = i + 1;
                        break;
                    }
                    other => text.push(other),
                }
            }
            rest = literal[end..].trim_start().strip_prefix(',').unwrap_or("");
        }
        if text.starts_with("#EXTM3U") {
            found.push(text);
        }
    }
    found
}

//! What a client does when all goes well: the cheapest way, one connection, looks when they are due.

mod common;

use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::*;
use taggram_hls::ErrorKind;
use taggram_hls::client::ClientOptions;
use taggram_hls::segment::cut;

/// The segments of a tone as MPEG-TS.
fn transport() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let track = cut(&golden("tone.mp3"), folder.path(), None, &cut_options(0.1)).unwrap();
    assert!(track.segments.len() > 3);
    let read = |i: usize| std::fs::read(folder.path().join(format!("{i}.ts"))).unwrap();
    (0..track.segments.len()).map(read).collect()
}

fn body(text: &str) -> Act {
    Act::Body(text.as_bytes().to_vec())
}

/// Of many ways to hear the same the cheapest is taken: sound without a picture, few bits.
#[tokio::test(flavor = "multi_thread")]
async fn the_cheapest_rendition_is_heard() {
    let server = Hostile::new().await;
    let tone = std::fs::read(golden("tone.mp3")).unwrap();
    server.on("/deep/er/tone.mp3", Act::Body(tone));
    // Addresses relative to the playlist that names them.
    let media = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.4,\n../er/tone.mp3\n#EXT-X-ENDLIST\n";
    let film = "#EXT-X-STREAM-INF:BANDWIDTH=10,RESOLUTION=320x240,CODECS=\"avc1.4d001f,mp4a.40.2\"\nfilm.m3u8\n";
    let sound = "#EXT-X-STREAM-INF:BANDWIDTH=64000,CODECS=\"mp4a.40.2\"\nsound.m3u8\n";
    let better = "#EXT-X-STREAM-INF:BANDWIDTH=256000,CODECS=\"mp4a.40.2\"\nbetter.m3u8\n";
    let group = "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"other\",URI=\"other.m3u8\"\n\
        #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"main\",DEFAULT=YES,URI=\"main.m3u8\"\n\
        #EXT-X-STREAM-INF:BANDWIDTH=20,RESOLUTION=1x1,AUDIO=\"a\"\nfilm.m3u8\n";
    for (master, expected) in [
        (format!("{film}{better}{sound}"), "sound"),
        (format!("{better}{film}"), "better"),
        (film.to_owned(), "film"),
        (format!("{group}{better}"), "main"),
    ] {
        let names = ["film", "sound", "better", "main", "other"];
        for name in names {
            server.on(&format!("/deep/er/{name}.m3u8"), body(media));
        }
        server.on("/deep/er/master.m3u8", Act::Body(format!("#EXTM3U\n{master}").into_bytes()));
        server.log.lock().unwrap().clear();
        let url = server.url("/deep/er/master.m3u8");
        let heard = hear(&url, ClientOptions::default(), 9).await.unwrap();
        assert!(heard.end.is_none() && heard.pieces == 1, "{:?}", heard.end);
        for name in names {
            let asked = server.times_of(&format!("/deep/er/{name}.m3u8")).len();
            assert_eq!(asked, usize::from(name == expected), "{name} of {master}");
        }
        // One that cannot be had is replaced by the next.
        server.on(&format!("/deep/er/{expected}.m3u8"), Act::Status(403));
        let heard = hear(&url, ClientOptions::default(), 9).await;
        assert_eq!(heard.is_ok(), master != film, "{master}");
    }
}

/// However many requests a stream takes, there is one connection; over HTTP/2 as well.
#[tokio::test(flavor = "multi_thread")]
async fn one_connection_is_enough() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(golden("tone.mp3"), folder.path().join("a.mp3")).unwrap();
    let (address, origin) = origin(folder.path(), cut_options(0.05), false).await;
    let url = format!("http://{address}/t/{}/master.m3u8", origin.library().tracks()[0].id);
    let connections = || origin.stats().to_json()["connections"].as_u64().unwrap();
    for (persistent, http2) in [(true, false), (true, true), (false, false)] {
        let before = connections();
        let options = ClientOptions { persistent, http2, ..ClientOptions::default() };
        let heard = hear(&url, options, 99).await.unwrap();
        assert!(heard.end.is_none() && heard.requests >= 8, "{} requests", heard.requests);
        let expected = if persistent { 1 } else { heard.requests };
        assert_eq!(connections() - before, expected, "http2: {http2}");
    }
}

/// RFC 8216 §6.3.4: after one target duration where the playlist changed, after half of one where
/// it did not.
#[tokio::test(flavor = "multi_thread")]
async fn a_live_playlist_is_looked_at_when_it_is_due() {
    let server = Hostile::new().await;
    let tone = std::fs::read(golden("tone.mp3")).unwrap();
    let list = |first: usize| {
        let mut text = format!("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:{first}\n");
        for i in first..first + 4 {
            server.on(&format!("/{i}.mp3"), Act::Body(tone.clone()));
            text += &format!("#EXTINF:1,\n{i}.mp3\n");
        }
        body(&text)
    };
    // Changed, changed, the same, the same, changed.
    server.on("/live.m3u8", Act::Turns(vec![list(0), list(1), list(1), list(1), list(2)]));
    // Three of the four that are there at first, then one of each change.
    let heard = hear(&server.url("/live.m3u8"), ClientOptions::default(), 5).await.unwrap();
    assert!(heard.end.is_none() && heard.notes.is_empty(), "{:?} {:?}", heard.end, heard.notes);
    let times = server.times_of("/live.m3u8");
    let gaps: Vec<f64> = times.windows(2).map(|w| (w[1] - w[0]).as_secs_f64()).collect();
    assert_eq!(gaps.len(), 4, "{gaps:?}");
    for (gap, due) in gaps.iter().zip([1.0, 1.0, 0.5, 0.5]) {
        // Never early; late as much as a busy machine is.
        assert!((due - 0.01..due + 0.4).contains(gap), "{gaps:?}");
    }
    assert_eq!(server.times_of("/0.mp3").len(), 0, "three target durations from the end is enough");
    for i in 1..=5 {
        assert_eq!(server.times_of(&format!("/{i}.mp3")).len(), 1, "segment {i}");
    }
}

/// A clock that jumps is noticed, and what is heard is what comes.
#[tokio::test(flavor = "multi_thread")]
async fn clocks_may_jump() {
    let server = Hostile::new().await;
    let segments = transport();
    let mut order: Vec<usize> = (0..segments.len()).collect();
    let mut heard = Vec::new();
    for _ in 0..2 {
        let mut text = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n".to_owned();
        for i in &order {
            server.on(&format!("/{i}.ts"), Act::Body(segments[*i].clone()));
            text += &format!("#EXTINF:0.1,\n{i}.ts\n");
        }
        server.on("/a.m3u8", Act::Body((text + "#EXT-X-ENDLIST\n").into_bytes()));
        let one = hear(&server.url("/a.m3u8"), ClientOptions::default(), 99).await.unwrap();
        assert!(one.end.is_none());
        heard.push(one);
        // The second half first: the clock goes back on the way.
        order.rotate_left(segments.len() / 2);
    }
    assert!(heard[0].notes.is_empty(), "{:?}", heard[0].notes);
    assert_eq!(heard[1].samples.len(), heard[0].samples.len());
    assert!(
        heard[1].notes.iter().any(|n| n.contains("1 jumps of its clock")),
        "{:?}",
        heard[1].notes
    );
}

/// A little gzip that is a lot of text ends at the limit for text.
#[tokio::test(flavor = "multi_thread")]
async fn a_packed_bomb_does_not_go_off() {
    let server = Hostile::new().await;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n").unwrap();
    for _ in 0..200 {
        packed.write_all(&vec![b'\n'; 1 << 20]).unwrap();
    }
    let packed = packed.finish().unwrap();
    assert!(packed.len() < 1 << 20);
    let act = Act::Headed("Content-Encoding: gzip\r\n", packed);
    server.on("/bomb.m3u8", act.clone());
    let error = hear(&server.url("/bomb.m3u8"), hasty(), 9).await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::OverLimit, "{error}");
    // And as a segment.
    server.on("/0.mp3", act);
    server.on(
        "/a.m3u8",
        body("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n0.mp3\n#EXT-X-ENDLIST\n"),
    );
    let heard = hear(&server.url("/a.m3u8"), hasty(), 9).await.unwrap();
    assert!(heard.notes.iter().any(|n| n.contains("larger")), "{:?}", heard.notes);
}

/// Parts of one resource, from a server that knows no ranges and from one that gives too little.
#[tokio::test(flavor = "multi_thread")]
async fn ranges_of_servers_that_do_not_know_them() {
    let server = Hostile::new().await;
    let tone = std::fs::read(golden("tone.mp3")).unwrap();
    let third = tone.len() / 3;
    let text = format!(
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-BYTERANGE:{third}@0\n#EXTINF:0.1,\na.mp3\n\
         #EXT-X-BYTERANGE:{third}\n#EXTINF:0.1,\na.mp3\n#EXT-X-BYTERANGE:{}\n#EXTINF:0.1,\na.mp3\n#EXT-X-ENDLIST\n",
        tone.len() - 2 * third
    );
    server.on("/a.m3u8", body(&text));
    server.on("/a.mp3", Act::Body(tone.clone()));
    let heard = hear(&server.url("/a.m3u8"), hasty(), 9).await.unwrap();
    assert!(heard.end.is_none() && heard.notes.is_empty(), "{:?}", heard.notes);
    server.on(
        "/b.m3u8",
        body("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.mp3\n#EXT-X-ENDLIST\n"),
    );
    let all = hear(&server.url("/b.m3u8"), hasty(), 9).await.unwrap();
    assert_same(&heard.samples, &all.samples, "by ranges");
    server.on("/a.mp3", Act::Body(tone[..third + 10].to_vec()));
    let heard = hear(&server.url("/a.m3u8"), hasty(), 9).await.unwrap();
    let notes = heard.notes.join("\n");
    assert!(notes.contains("10 of the") && heard.pieces == 1, "{notes}");
}

/// What is said not to be there is not asked for.
#[tokio::test(flavor = "multi_thread")]
async fn gaps_are_left_out() {
    let server = Hostile::new().await;
    let tone = std::fs::read(golden("tone.mp3")).unwrap();
    server.on("/0.mp3", Act::Body(tone.clone()));
    server.on("/2.mp3", Act::Body(tone));
    server.on(
        "/a.m3u8",
        body("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n0.mp3\n#EXT-X-GAP\n#EXTINF:1,\n1.mp3\n#EXTINF:1,\n2.mp3\n#EXT-X-ENDLIST\n"),
    );
    let heard = hear(&server.url("/a.m3u8"), hasty(), 9).await.unwrap();
    assert_eq!((heard.pieces, heard.discontinuities), (2, 1));
    assert!(server.times_of("/1.mp3").is_empty());
    assert!(heard.notes.iter().any(|n| n.contains("gap")), "{:?}", heard.notes);
}

/// Whoever waits for a stalled server does not wait for ever, and comes back later and later.
#[tokio::test(flavor = "multi_thread")]
async fn repetitions_are_spaced_and_end() {
    let server = Hostile::new().await;
    server.on("/0.mp3", Act::Status(503));
    server.on(
        "/a.m3u8",
        body("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n0.mp3\n#EXT-X-ENDLIST\n"),
    );
    let options = ClientOptions { attempts: 4, pause: Duration::from_millis(100), ..hasty() };
    let heard = hear(&server.url("/a.m3u8"), options, 9).await.unwrap();
    assert!(heard.notes.iter().any(|n| n.contains("after 4 attempts")), "{:?}", heard.notes);
    let times = server.times_of("/0.mp3");
    let gaps: Vec<f64> = times.windows(2).map(|w| (w[1] - w[0]).as_secs_f64()).collect();
    assert_eq!(gaps.len(), 3);
    // Each pause is twice the one before, give or take a quarter.
    for (gap, pause) in gaps.iter().zip([0.1, 0.2, 0.4]) {
        assert!((0.75 * pause..1.25 * pause + 0.3).contains(gap), "{gaps:?}");
    }
    assert_eq!(server.connections.load(Ordering::Relaxed), 1, "answers were read to their ends");
}

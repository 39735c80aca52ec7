//! A server that misbehaves: each fault ends in the music that could be had, or in a sentence.

mod common;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use common::*;
use taggram_hls::ErrorKind;
use taggram_hls::client::ClientOptions;

/// A server with three segments of MP3 of which the middle one does what `act` says.
async fn with_fault(act: Option<Act>) -> (Hostile, Vec<f32>) {
    let hostile = Hostile::new().await;
    let bytes = std::fs::read(golden("tone.mp3")).unwrap();
    let cut = [bytes.len() / 3, 2 * bytes.len() / 3];
    let parts = [&bytes[..cut[0]], &bytes[cut[0]..cut[1]], &bytes[cut[1]..]];
    let mut text = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n".to_owned();
    for (i, part) in parts.iter().enumerate() {
        text += &format!("#EXTINF:0.13,\n{i}.mp3\n");
        hostile.on(&format!("/{i}.mp3"), Act::Body(part.to_vec()));
    }
    text += "#EXT-X-ENDLIST\n";
    hostile.on("/a.m3u8", Act::Body(text.into_bytes()));
    let all = hear(&hostile.url("/a.m3u8"), hasty(), 9).await.unwrap();
    assert!(all.end.is_none() && all.notes.is_empty(), "{:?}", all.notes);
    if let Some(act) = act {
        hostile.on("/1.mp3", act);
    }
    (hostile, all.samples)
}

fn middle() -> Vec<u8> {
    let bytes = std::fs::read(golden("tone.mp3")).unwrap();
    bytes[bytes.len() / 3..2 * bytes.len() / 3].to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_that_passes_costs_nothing() {
    for fault in [
        Act::Status(404),
        Act::Status(503),
        Act::Reset,
        Act::Stall,
        Act::Short(middle()[..100].to_vec(), middle().len()),
    ] {
        let turns = Act::Turns(vec![fault, Act::Body(middle())]);
        let (hostile, expected) = with_fault(Some(turns)).await;
        let heard = hear(&hostile.url("/a.m3u8"), hasty(), 9).await.unwrap();
        assert!(heard.end.is_none());
        assert_same(&heard.samples, &expected, "after a repetition");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_that_stays_costs_its_segment() {
    for (fault, said) in [
        (Act::Status(404), "404"),
        (Act::Status(403), "403"),
        (Act::Reset, "segment 1"),
        (Act::Stall, "nothing came"),
        (Act::Short(middle(), 100_000), "broke off"),
        (Act::Body(Vec::new()), "empty"),
        (Act::Body(vec![0; 40 << 20]), "larger"),
    ] {
        let (hostile, expected) = with_fault(Some(fault)).await;
        let start = Instant::now();
        let heard = hear(&hostile.url("/a.m3u8"), hasty(), 9).await.unwrap();
        assert!(heard.end.is_none(), "{:?}", heard.end);
        assert_eq!(heard.pieces, 2);
        assert!(heard.samples.len() < expected.len() && heard.samples.len() > 1000);
        assert!(heard.notes.iter().any(|n| n.contains(said)), "{said}: {:?}", heard.notes);
        assert!(start.elapsed() < Duration::from_secs(8));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_nothing_can_be_had_it_says_so() {
    let hostile = Hostile::new().await;
    let segments: String = (0..50).map(|i| format!("#EXTINF:1,\n{i}.ts\n")).collect();
    let text = format!("#EXTM3U\n#EXT-X-TARGETDURATION:1\n{segments}#EXT-X-ENDLIST\n");
    hostile.on("/a.m3u8", Act::Body(text.into_bytes()));
    let heard = hear(&hostile.url("/a.m3u8"), hasty(), 99).await.unwrap();
    let end = heard.end.unwrap();
    assert_eq!(end.kind, ErrorKind::Status);
    assert!(end.to_string().contains("3 segments in a row"), "{end}");
    assert!(hostile.asked() < 15, "{} requests", hostile.asked());
}

#[tokio::test(flavor = "multi_thread")]
async fn other_bytes_midway_are_left_out() {
    for other in [b"<html>not found</html>".repeat(50), vec![0x47; 5000], vec![0xff; 5000]] {
        let (hostile, _) = with_fault(Some(Act::Body(other))).await;
        let heard = hear(&hostile.url("/a.m3u8"), hasty(), 9).await.unwrap();
        assert!(heard.end.is_none());
        assert!(!heard.notes.is_empty());
        assert!(heard.samples.len() > 1000);
    }
    // Another format, well formed, is heard.
    let aac = std::fs::read(golden("tone.aac")).unwrap();
    let (hostile, expected) = with_fault(Some(Act::Body(aac))).await;
    let heard = hear(&hostile.url("/a.m3u8"), hasty(), 9).await.unwrap();
    assert!(heard.samples.len() > expected.len() / 2, "{:?}", heard.notes);
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_end() {
    let (hostile, expected) = with_fault(None).await;
    // A few are followed, and addresses are relative to where they lead.
    hostile.on("/old/b.m3u8", Act::Redirect("/x.m3u8".into()));
    hostile.on("/x.m3u8", Act::Redirect("a.m3u8".into()));
    let heard = hear(&hostile.url("/old/b.m3u8"), hasty(), 9).await.unwrap();
    assert_same(&heard.samples, &expected, "behind redirects");
    hostile.on("/loop", Act::Redirect("/loop".into()));
    let error = hear(&hostile.url("/loop"), hasty(), 9).await.err().unwrap();
    assert!(error.to_string().contains("redirects more than 5 times"), "{error}");
    for (to, said) in [
        ("file:///etc/passwd", "only http"),
        ("ftp://127.0.0.1/", "only http"),
        ("http://", "no address"),
    ] {
        hostile.on("/away", Act::Redirect(to.into()));
        let error = hear(&hostile.url("/away"), hasty(), 9).await.err().unwrap();
        assert!(error.to_string().contains(said), "{to}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_doors_of_this_machine_stay_closed() {
    let (hostile, expected) = with_fault(None).await;
    let victim = Hostile::new().await;
    victim.on("/1.mp3", Act::Body(middle()));
    // By redirect, by playlist, by key.
    hostile.on("/1.mp3", Act::Redirect(victim.url("/1.mp3")));
    let heard = hear(&hostile.url("/a.m3u8"), hasty(), 9).await.unwrap();
    assert_eq!(heard.end.unwrap().kind, ErrorKind::Refused);
    let key = format!("#EXT-X-KEY:METHOD=AES-128,URI=\"{}\"", victim.url("/1.mp3"));
    for line in [victim.url("/1.mp3"), format!("http://localhost:{}/1.mp3", victim.address.port())]
    {
        for before in ["", &key] {
            let text = format!(
                "#EXTM3U\n#EXT-X-TARGETDURATION:1\n{before}\n#EXTINF:1,\n{line}\n#EXT-X-ENDLIST\n"
            );
            hostile.on("/b.m3u8", Act::Body(text.into_bytes()));
            let heard = hear(&hostile.url("/b.m3u8"), hasty(), 9).await.unwrap();
            assert_eq!(heard.end.unwrap().kind, ErrorKind::Refused);
        }
    }
    assert_eq!(victim.connections.load(Ordering::Relaxed), 0);
    // Unless it is permitted.
    let open = ClientOptions { allow_private: true, ..hasty() };
    let heard = hear(&hostile.url("/a.m3u8"), open, 9).await.unwrap();
    assert_same(&heard.samples, &expected, "with permission");
}

#[tokio::test(flavor = "multi_thread")]
async fn playlists_that_are_traps() {
    let hostile = Hostile::new().await;
    let master = |uri: &str| {
        Act::Body(format!("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{uri}\n").into_bytes())
    };
    hostile.on("/self.m3u8", master("self.m3u8"));
    let error = hear(&hostile.url("/self.m3u8"), hasty(), 9).await.err().unwrap();
    assert!(error.to_string().contains("names a master playlist"), "{error}");
    // Thousands of variants of which none is there: a few are tried.
    let many: String =
        (0..5000).map(|i| format!("#EXT-X-STREAM-INF:BANDWIDTH={i}\n{i}.m3u8\n")).collect();
    hostile.on("/many.m3u8", Act::Body(format!("#EXTM3U\n{many}").into_bytes()));
    let before = hostile.asked();
    assert!(hear(&hostile.url("/many.m3u8"), hasty(), 9).await.is_err());
    assert!(hostile.asked() - before < 20);
    let bomb = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n".iter().copied();
    let bomb: Vec<u8> = bomb.chain(b"#EXTINF:1,\na\n".repeat(1 << 20)).collect();
    hostile.on("/bomb.m3u8", Act::Body(bomb));
    let error = hear(&hostile.url("/bomb.m3u8"), hasty(), 9).await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::OverLimit);
    hostile.on("/none.m3u8", Act::Body(b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-ENDLIST".into()));
    assert!(hear(&hostile.url("/none.m3u8"), hasty(), 9).await.is_err());
    hostile.on("/drm.m3u8", Act::Body(
        b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"k\"\n#EXTINF:1,\na\n#EXT-X-ENDLIST".into(),
    ));
    let heard = hear(&hostile.url("/drm.m3u8"), hasty(), 9).await.unwrap();
    assert!(heard.end.unwrap().to_string().contains("SAMPLE-AES"));
}

/// A live playlist, six segments long, that begins at `sequence`.
fn live(sequence: usize) -> Act {
    let mut text = format!("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:{sequence}\n");
    for i in sequence..sequence + 6 {
        text += &format!("#EXTINF:1,\n{}.mp3\n", i % 3);
    }
    Act::Body(text.into_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_stream_that_stands_still_ends() {
    let (hostile, _) = with_fault(None).await;
    hostile.on("/live.m3u8", Act::Turns(vec![live(0), live(1), live(2)]));
    let options = ClientOptions { standstill: 3, ..hasty() };
    let start = Instant::now();
    let heard = hear(&hostile.url("/live.m3u8"), options, 99).await.unwrap();
    let end = heard.end.unwrap();
    assert_eq!(end.kind, ErrorKind::Stalled, "{end}");
    assert!(end.to_string().contains("nothing new"), "{end}");
    // Three of the first look, one of each that moved; and what was heard stays.
    assert_eq!(heard.pieces, 5);
    assert!(heard.samples.len() > 1000);
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_stream_that_hiccups_goes_on() {
    let (hostile, _) = with_fault(None).await;
    let broken = Act::Body(b"<html>".to_vec());
    let turns = vec![live(5), broken, Act::Status(500), live(9), live(0), live(1)];
    hostile.on("/live.m3u8", Act::Turns(turns));
    let options = ClientOptions { standstill: 3, attempts: 1, ..hasty() };
    let heard = hear(&hostile.url("/live.m3u8"), options, 9).await.unwrap();
    let notes = heard.notes.join("\n");
    assert!(notes.contains("could not be read again"), "{notes}");
    assert!(notes.contains("began anew"), "{notes}");
    assert!(heard.pieces >= 9, "{} pieces, {notes}", heard.pieces);
}

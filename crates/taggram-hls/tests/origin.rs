//! The origin, heard by our own client and by a plain HTTP client.

mod common;

use std::time::Duration;

use common::*;
use taggram_hls::client::ClientOptions;
use taggram_hls::origin::OriginOptions;
use taggram_hls::playlist::{Playlist, PlaylistLimits, parse};
use taggram_hls::segment::Packaging;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// Every track in `root`, as the origin's index names it: name and address.
async fn tracks(address: std::net::SocketAddr) -> Vec<(String, String)> {
    let text = reqwest::get(format!("http://{address}/index.json")).await.unwrap();
    let index: serde_json::Value = serde_json::from_str(&text.text().await.unwrap()).unwrap();
    let tracks = index["tracks"].as_array().unwrap();
    let text = |v: &serde_json::Value| v.as_str().unwrap().to_owned();
    tracks
        .iter()
        .map(|t| (text(&t["name"]), format!("http://{address}{}", text(&t["url"]))))
        .collect()
}

/// Streaming gives the samples of the file: to the last bit where nothing is encoded anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let exact = [
        "tone.mp3",
        "tone22.mp3",
        "tone.aac",
        "tone.m4a",
        "tone.wav",
        "tone.aiff",
        "tone.alac.m4a",
        "tone.oga",
    ];
    for name in exact.iter().chain(&["tone.ogg", "tone.opus", "tone.51.opus"]) {
        std::fs::copy(golden(name), folder.path().join(name)).unwrap();
    }
    for mp3 in [Packaging::Ts, Packaging::Packed] {
        let options = taggram_hls::segment::CutOptions { mp3, ..cut_options(0.1) };
        let (address, _origin) = origin(folder.path(), options, false).await;
        let found = tracks(address).await;
        assert_eq!(found.len(), 11);
        for (name, url) in found {
            let heard = hear(&url, ClientOptions::default(), usize::MAX).await.unwrap();
            assert!(heard.end.is_none(), "{name}: {:?}", heard.end);
            assert!(heard.notes.is_empty(), "{name}: {:?}", heard.notes);
            let expected = whole(&golden(&name));
            if exact.contains(&name.as_str()) {
                assert_same(&heard.samples, &expected, &name);
            } else {
                // Through an encoder: as long, and as loud.
                assert_eq!(heard.samples.len(), expected.len(), "{name}");
                let power = |x: &[f32]| x.iter().map(|x| x * x).sum::<f32>() / x.len() as f32;
                let ratio = power(&heard.samples) / power(&expected);
                assert!((0.8..1.25).contains(&ratio), "{name}: loudness changed by {ratio}");
            }
        }
    }
}

/// What RFC 8216 asks of a playlist and its segments.
#[tokio::test(flavor = "multi_thread")]
async fn playlists_keep_their_promises() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(golden("tone.mp3"), folder.path().join("a.mp3")).unwrap();
    std::fs::copy(golden("tone.m4a"), folder.path().join("b.m4a")).unwrap();
    let (address, _origin) = origin(folder.path(), cut_options(0.1), false).await;
    let client = reqwest::Client::new();
    for (name, url) in tracks(address).await {
        let answer = client.get(&url).send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "application/vnd.apple.mpegurl");
        let bytes = answer.bytes().await.unwrap();
        let limits = PlaylistLimits::default();
        let Playlist::Master(master) = parse(&bytes, &limits).unwrap() else { panic!() };
        let base = url.rsplit_once('/').unwrap().0;
        let media_url = format!("{base}/{}", master.variants[0].uri);
        let text = client.get(&media_url).send().await.unwrap().text().await.unwrap();
        assert!(m3u8_rs::parse_media_playlist_res(text.as_bytes()).is_ok(), "{text}");
        assert!(hls_m3u8::MediaPlaylist::try_from(text.as_str()).is_ok(), "{text}");
        let Playlist::Media(media) = parse(text.as_bytes(), &limits).unwrap() else { panic!() };
        assert!(media.ended && media.segments.len() > 2, "{name}: {text}");
        assert_eq!(media.version, if name.ends_with("m4a") { 7 } else { 3 });
        let mut peak = 0f64;
        for segment in &media.segments {
            assert!(segment.duration_s.round() as u64 <= media.target_s);
            let answer = client.get(format!("{base}/{}", segment.uri)).send().await.unwrap();
            assert!(answer.headers()["cache-control"].to_str().unwrap().contains("immutable"));
            let length = answer.bytes().await.unwrap().len();
            peak = peak.max(length as f64 * 8.0 / segment.duration_s.max(0.5));
        }
        assert!(master.variants[0].bandwidth as f64 >= peak);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http_as_caches_and_players_want_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(golden("tone.mp3"), folder.path().join("a.mp3")).unwrap();
    let (address, origin) = origin(folder.path(), cut_options(0.2), false).await;
    let id = origin.library().tracks()[0].id.clone();
    let base = format!("http://{address}/t/{id}");
    let client = reqwest::Client::builder().gzip(false).build().unwrap();
    let get = |path: &str, headers: &[(&'static str, &str)]| {
        let mut request = client.get(format!("{base}/{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send()
    };
    let whole = get("0.ts", &[]).await.unwrap();
    assert_eq!(whole.headers()["content-type"], "video/mp2t");
    assert_eq!(whole.headers()["access-control-allow-origin"], "*");
    let tag = whole.headers()["etag"].to_str().unwrap().to_owned();
    let whole = whole.bytes().await.unwrap();
    let part = get("0.ts", &[("range", "bytes=188-375")]).await.unwrap();
    assert_eq!(part.status(), 206);
    assert_eq!(part.headers()["content-range"], format!("bytes 188-375/{}", whole.len()));
    assert_eq!(part.bytes().await.unwrap(), whole[188..376]);
    assert_eq!(get("0.ts", &[("range", "bytes=999999999-")]).await.unwrap().status(), 416);
    let other = get("0.ts", &[("range", "bytes=0-9"), ("if-range", "\"other\"")]).await.unwrap();
    assert_eq!(other.status(), 200);
    assert_eq!(get("0.ts", &[("if-none-match", &tag)]).await.unwrap().status(), 304);
    let head = client.head(format!("{base}/0.ts")).send().await.unwrap();
    assert_eq!(head.headers()["content-length"], whole.len().to_string());
    let packed = get("media.m3u8", &[("accept-encoding", "br, gzip")]).await.unwrap();
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    assert!(packed.bytes().await.unwrap().starts_with(b"\x1f\x8b"));
    let options = client.request(reqwest::Method::OPTIONS, format!("{base}/0.ts"));
    assert_eq!(options.send().await.unwrap().status(), 204);
    assert_eq!(client.post(format!("{base}/0.ts")).send().await.unwrap().status(), 405);
    for absent in [
        "99.ts",
        "00.ts",
        "+0.ts",
        "0.aac",
        "-1.ts",
        "init.mp4",
        "..%2f..%2fetc%2fpasswd",
        "0.ts%00",
        "source.flac",
        "%2e%2e",
        "18446744073709551616.ts",
    ] {
        assert_eq!(get(absent, &[]).await.unwrap().status(), 404, "{absent}");
    }
    for absent in ["/etc/passwd", "/t/0123456789abcdef/0.ts", "/t/..%2f..%2fa.mp3/x", "/r/x/0.ts"] {
        let url = format!("http://{address}{absent}");
        assert_eq!(reqwest::get(url).await.unwrap().status(), 404, "{absent}");
    }
    // HTTP/2 on the same port.
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let answer = client.get(format!("{base}/0.ts")).send().await.unwrap();
    assert_eq!(answer.version(), reqwest::Version::HTTP_2);
    assert_eq!(answer.bytes().await.unwrap(), whole);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn links_out_of_the_library_are_not_served() {
    let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let secret = outside.path().join("secret.mp3");
    std::fs::copy(golden("tone.mp3"), &secret).unwrap();
    std::fs::copy(golden("tone.mp3"), folder.path().join("a.mp3")).unwrap();
    std::os::unix::fs::symlink(&secret, folder.path().join("link.mp3")).unwrap();
    let (address, origin) = origin(folder.path(), cut_options(1.0), false).await;
    let names: Vec<_> = tracks(address).await.into_iter().map(|t| t.0).collect();
    assert_eq!(names, ["a.mp3"]);
    // A file that becomes a link later is not followed either.
    std::fs::remove_file(folder.path().join("a.mp3")).unwrap();
    std::os::unix::fs::symlink(&secret, folder.path().join("a.mp3")).unwrap();
    let id = &origin.library().tracks()[0].id;
    let answer = reqwest::get(format!("http://{address}/t/{id}/media.m3u8")).await.unwrap();
    assert_eq!(answer.status(), 404);
}

/// A radio of short tracks: the client hears it go from track to track.
#[tokio::test(flavor = "multi_thread")]
async fn the_radio_moves_on() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.aac", "b.aac"] {
        std::fs::copy(golden("tone.aac"), folder.path().join(name)).unwrap();
    }
    std::fs::copy(golden("tone.m4a"), folder.path().join("c.m4a")).unwrap();
    let (address, _origin) = origin(folder.path(), cut_options(1.0), true).await;
    let url = format!("http://{address}/live/master.m3u8");
    let heard =
        tokio::time::timeout(Duration::from_secs(20), hear(&url, ClientOptions::default(), 12));
    let heard = heard.await.expect("the radio goes on").unwrap();
    assert!(heard.end.is_none(), "{:?}", heard.end);
    assert!(heard.notes.is_empty(), "{:?}", heard.notes);
    // Each track is one segment here, and each follows another one.
    assert_eq!((heard.pieces, heard.discontinuities), (12, 11));
    // Numbers go up by what left the window, and every discontinuity that left is counted.
    let limits = PlaylistLimits::default();
    let text = reqwest::get(format!("http://{address}/live/media.m3u8")).await.unwrap();
    let Ok(Playlist::Media(media)) = parse(&text.bytes().await.unwrap(), &limits) else { panic!() };
    assert!(!media.ended && media.sequence > 0);
    assert_eq!(media.discontinuity_sequence, media.sequence - 1);
    assert!(media.duration_s() >= 3.0 * media.target_s as f64);
}

/// As players look at it again and again: what RFC 8216 §6.2 asks of a live playlist.
#[tokio::test(flavor = "multi_thread")]
async fn the_window_slides_as_the_rfc_asks() {
    let folder = tempfile::tempdir().unwrap();
    // FLAC, which has an initialisation.
    for name in ["a.oga", "b.oga", "c.oga"] {
        std::fs::copy(golden("tone.oga"), folder.path().join(name)).unwrap();
    }
    let (address, _origin) = origin(folder.path(), cut_options(0.2), true).await;
    let client = reqwest::Client::new();
    let url = |name: &str| format!("http://{address}/live/{name}");
    let look = || async {
        let text = client.get(url("media.m3u8")).send().await.unwrap().bytes().await.unwrap();
        match parse(&text, &PlaylistLimits::default()).unwrap() {
            Playlist::Media(media) => media,
            Playlist::Master(_) => panic!("a master playlist"),
        }
    };
    let first = look().await;
    let mut last = first.clone();
    let mut removed = Vec::new();
    for _ in 0..25 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = look().await;
        assert_eq!(now.target_s, last.target_s, "the target duration must not change");
        assert!(!now.ended && now.sequence >= last.sequence);
        let gone = (now.sequence - last.sequence) as usize;
        assert!(gone <= last.segments.len(), "a player that looks often misses nothing");
        // What stays is the same, and what left is counted.
        let kept = last.segments.len() - gone;
        assert_eq!(last.segments[gone..], now.segments[..kept]);
        let left = last.segments[..gone].iter().filter(|s| s.discontinuity).count() as u64;
        assert_eq!(now.discontinuity_sequence, last.discontinuity_sequence + left);
        assert!(now.duration_s() >= 3.0 * now.target_s as f64);
        removed.extend(last.segments[..gone].iter().cloned());
        last = now;
    }
    assert!(removed.len() > 10, "only {} segments left the window", removed.len());
    // What left is still to be had by those who are late, with what belongs to it; and whatever is
    // listed is whole.
    for segment in removed.iter().chain(&last.segments) {
        for name in [&segment.uri, &segment.map.as_ref().unwrap().uri] {
            let answer = client.get(url(name)).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{name}");
            assert_eq!(answer.headers()["content-type"], "audio/mp4");
            assert!(!answer.bytes().await.unwrap().is_empty());
        }
    }
    for absent in ["0.m4s", "init.mp4", "..%2f..%2fx", "999-00000000.m4s"] {
        assert_eq!(client.get(url(absent)).send().await.unwrap().status(), 404, "{absent}");
    }
}

/// However many ask at once, a track is cut once.
#[tokio::test(flavor = "multi_thread")]
async fn a_track_is_cut_once() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::copy(golden("tone.wav"), folder.path().join("a.wav")).unwrap();
    let options = |o: OriginOptions| OriginOptions { cache: Some(cache.path().into()), ..o };
    let (address, origin) = origin_with(folder.path(), options).await;
    let url = format!("http://{address}/t/{}/media.m3u8", origin.library().tracks()[0].id);
    let asked: Vec<_> = (0..50).map(|_| tokio::spawn(reqwest::get(url.clone()))).collect();
    let mut tags = Vec::new();
    for answer in asked {
        let answer = answer.await.unwrap().unwrap();
        assert_eq!(answer.status(), 200);
        tags.push(answer.headers()["etag"].clone());
    }
    assert!(tags.iter().all(|tag| *tag == tags[0]));
    let run = std::fs::read_dir(cache.path()).unwrap().next().unwrap().unwrap().path();
    assert_eq!(std::fs::read_dir(run).unwrap().count(), 1, "folders of segments");
}

/// Waits until a connection is closed by the other side.
async fn is_closed(socket: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_secs(10), socket.read_to_end(&mut rest)).await.is_ok()
}

/// Thousands of idle connections and half requests: everyone else is served meanwhile, and they
/// are closed in the end.
#[tokio::test(flavor = "multi_thread")]
async fn idlers_do_not_keep_others_out() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(golden("tone.mp3"), folder.path().join("a.mp3")).unwrap();
    // With room for all of them, and without: then the idlest make room.
    for (room, idle_s, crowd) in [(4000, 4.0, 2500), (200, 60.0, 400)] {
        let options = |o: OriginOptions| OriginOptions { connections: room, idle_s, ..o };
        let (address, origin) = origin_with(folder.path(), options).await;
        let mut idle = Vec::new();
        for i in 0..crowd {
            let Ok(mut socket) = TcpStream::connect(address).await else {
                println!("SKIPPED: this system lets no {crowd} connections be opened");
                return;
            };
            if i % 2 == 0 {
                let _ = socket.write_all(b"GET /index.json HTTP/1.1\r\nHos").await;
            }
            idle.push(socket);
        }
        let start = std::time::Instant::now();
        let answer = reqwest::get(format!("http://{address}/index.json"));
        let answer = tokio::time::timeout(Duration::from_secs(25), answer).await;
        assert!(answer.expect("the crowd keeps others out").unwrap().status().is_success());
        println!("served after {:?} in a crowd of {crowd} with room for {room}", start.elapsed());
        let open = || origin.stats().to_json()["open"].as_u64().unwrap() as usize;
        assert!(open() <= room);
        if room > crowd {
            for socket in &mut idle {
                assert!(is_closed(socket).await, "an idle connection stayed open");
            }
        }
    }
}

/// A reader that does not read is let go, and costs no memory worth mentioning while it is there.
#[tokio::test(flavor = "multi_thread")]
async fn readers_that_do_not_read_are_let_go() {
    let folder = tempfile::tempdir().unwrap();
    // Noise, which FLAC cannot make smaller: one segment of more than this machine's sockets hold.
    let mut wav = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x02\0".to_vec();
    let mut noise = 1u64;
    let length: u32 = 40 * 44_100 * 4;
    for word in [44_100u32, 44_100 * 4, 0x10_0004] {
        wav.extend(word.to_le_bytes());
    }
    wav.extend(b"data");
    wav.extend(length.to_le_bytes());
    wav[4..8].copy_from_slice(&(36 + length).to_le_bytes());
    for _ in 0..length / 2 {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        wav.extend(((noise >> 48) as u16).to_le_bytes());
    }
    std::fs::write(folder.path().join("a.wav"), wav).unwrap();
    let options = |o: OriginOptions| OriginOptions { idle_s: 1.0, cut: cut_options(3000.0), ..o };
    let (address, origin) = origin_with(folder.path(), options).await;
    let path = format!("/t/{}/0.m4s", origin.library().tracks()[0].id);
    let url = format!("http://{address}{path}");
    let whole = reqwest::get(&url).await.unwrap().bytes().await.unwrap();
    assert!(whole.len() > 6 << 20, "{} bytes", whole.len());
    let mut slow = Vec::new();
    for _ in 0..20 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut socket = socket.connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        slow.push(socket);
    }
    // Everyone else hears the whole meanwhile.
    assert_eq!(reqwest::get(&url).await.unwrap().bytes().await.unwrap(), whole);
    let open = || origin.stats().to_json()["open"].as_u64().unwrap();
    let start = std::time::Instant::now();
    while open() > 5 {
        assert!(start.elapsed() < Duration::from_secs(10), "{} are still there", open());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop(slow);
}

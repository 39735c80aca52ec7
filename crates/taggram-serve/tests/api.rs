//! The API without a network: right answers, and for everything else the right problem.

mod common;

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Request, StatusCode};
use common::{ask, form, get, raw, ready, send, slow_body, song, wav};
use http_body_util::BodyExt;
use serde_json::Value;
use taggram_serve::Config;

/// What the library says of the same bytes.
fn truth(bytes: &[u8], how: &taggram::Listen) -> Value {
    let model = taggram::model("default").unwrap();
    let heard = taggram::listen(&model, taggram::Source::Bytes(bytes.into()), how).unwrap();
    let record = taggram::Record::heard("a.wav", &model, &heard, usize::MAX).with_taggram(&heard);
    // Through text, as the answer comes: a number there is the shortest that means it.
    let text = serde_json::to_string(&record).unwrap();
    let mut record: Value = serde_json::from_str(&text).unwrap();
    record.as_object_mut().unwrap().remove("elapsed_ms");
    record
}

fn without_time(mut record: Value) -> Value {
    let object = record.as_object_mut().unwrap();
    assert!(object.remove("elapsed_ms").unwrap().as_f64().unwrap() > 0.0);
    record
}

#[tokio::test]
async fn a_form_and_a_body_get_the_answer_of_the_command() {
    let (router, file) = (ready(Config::default()), song(25.0));
    let expected = truth(&file, &taggram::Listen::default());
    let answer =
        ask(&router, form("/v1/classify?taggram=true", "audio", "x/../a.wav", &file)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(without_time(answer.json()), expected);

    let answer = ask(&router, raw("/v1/classify?top=2", "audio/wav", file.clone())).await;
    let mut plain = answer.json();
    assert_eq!(plain["scores"].as_object().unwrap().len(), 2);
    assert!(plain.get("taggram").is_none() && plain.get("spectrogram").is_none());
    assert_eq!(plain["genre"], expected["genre"]);
    plain["path"] = "a.wav".into();

    let how = taggram::Listen {
        excerpt: "middle:12".parse().unwrap(),
        decide: taggram::Decide::Majority,
        ..Default::default()
    };
    let query = "/v1/classify?excerpt=middle:12&decide=majority&taggram=true&model=default";
    let answer = ask(&router, form(query, "audio", "a.wav", &file)).await;
    assert_eq!(without_time(answer.json()), truth(&file, &how));
}

#[tokio::test]
async fn pictures_and_spectrograms() {
    let (router, file) = (ready(Config::default()), song(12.0));
    for (format, kind, begins) in
        [("svg", "image/svg+xml", &b"<svg"[..]), ("png", "image/png", b"\x89PNG")]
    {
        let path = format!("/v1/classify?format={format}&theme=dark");
        let answer = ask(&router, form(&path, "audio", "a.wav", &file)).await;
        assert_eq!(
            (answer.status, answer.headers["content-type"].to_str().unwrap()),
            (StatusCode::OK, kind)
        );
        let found = answer.body.windows(begins.len()).take(200).any(|w| w == begins);
        assert!(found, "{format} begins with {:?}", &answer.body[..20]);
    }
    let answer = ask(&router, form("/v1/classify?spectrogram=true", "audio", "a.wav", &file)).await;
    let levels = &answer.json()["spectrogram"];
    let bytes = levels["frames"].as_u64().unwrap() * levels["bands"].as_u64().unwrap();
    assert_eq!(levels["levels"].as_str().unwrap().len() as u64, bytes.div_ceil(3) * 4);
}

#[tokio::test]
async fn every_problem_has_its_status_and_a_sentence() {
    let config = Config { max_bytes: 3 << 20, max_seconds: 40.0, ..Config::default() };
    let (router, file) = (ready(config), song(11.0));
    let good = |path: &str| form(path, "audio", "a.wav", &file);
    let unfinished = "--XX\r\nContent-Disposition: form-data; name=\"audio\"\r\n\r\nRIFF";
    let many: String = (0..5000)
        .map(|i| format!("--XX\r\nContent-Disposition: form-data; name=\"f{i}\"\r\n\r\nx\r\n"))
        .collect();
    let multipart = "multipart/form-data; boundary=XX";
    let cases: Vec<(&str, Request<Body>, u16, &str)> = vec![
        ("no such field", form("/v1/classify", "sound", "a", &file), 400, "malformed"),
        ("wrong option", good("/v1/classify?top=0"), 400, "malformed"),
        ("unknown option", good("/v1/classify?topp=1"), 400, "malformed"),
        ("wrong excerpt", good("/v1/classify?excerpt=middle:x"), 400, "malformed"),
        ("stream of pictures", good("/v1/classify?stream=true&format=png"), 400, "malformed"),
        ("no such model", good("/v1/classify?model=..%2F..%2Fetc"), 400, "no_model"),
        ("no boundary", raw("/v1/classify", "multipart/form-data", vec![1]), 400, "malformed"),
        ("unfinished form", raw("/v1/classify", multipart, unfinished.into()), 400, "malformed"),
        ("many parts", raw("/v1/classify", multipart, many.into()), 400, "malformed"),
        ("too many bytes", raw("/v1/classify", "audio/wav", vec![1; 4 << 20]), 413, "too_large"),
        ("too many seconds", raw("/v1/classify", "audio/wav", song(45.0)), 413, "too_large"),
        ("text", raw("/v1/classify", "audio/mpeg", b"la la la, a song".to_vec()), 415, "not_audio"),
        (
            "picture",
            raw("/v1/classify", "audio/wav", b"\x89PNG\r\n\x1a\n0000".to_vec()),
            415,
            "not_audio",
        ),
        ("wrong type", raw("/v1/classify", "application/json", b"{}".to_vec()), 415, "not_audio"),
        ("no samples", raw("/v1/classify", "audio/wav", wav(22_050, &[])), 422, "too_short"),
        ("nothing", raw("/v1/classify", "audio/wav", vec![]), 422, "too_short"),
        ("0 Hz", raw("/v1/classify", "audio/wav", wav(0, &[1; 4000])), 422, "undecodable"),
        ("no such address", raw("/v2/classify", "audio/wav", vec![1]), 404, "not_found"),
        ("wrong method", raw("/v1/models", "audio/wav", vec![1]), 405, "wrong_method"),
    ];
    for (what, request, status, code) in cases {
        let answer = ask(&router, request).await;
        assert_eq!(answer.status.as_u16(), status, "{what}: {}", answer.text());
        assert_eq!(answer.headers["content-type"], "application/problem+json", "{what}");
        let problem = answer.json();
        println!("{what}: {}", problem["detail"]);
        assert_eq!(
            (problem["status"].as_u64(), problem["code"].as_str()),
            (Some(status.into()), Some(code)),
            "{what}"
        );
        assert!(problem["detail"].as_str().unwrap().len() > 10, "{what}");
    }
    // And it still works.
    assert_eq!(ask(&router, good("/v1/classify")).await.status, StatusCode::OK);
}

/// The events of a finished stream.
fn events(text: &str) -> Vec<(String, Value)> {
    text.split_terminator("\n\n")
        .map(|event| {
            let (kind, data) = event.split_once('\n').unwrap();
            let data = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
            (kind.strip_prefix("event: ").unwrap().to_string(), data)
        })
        .collect()
}

#[tokio::test]
async fn a_stream_ends_with_the_answer_of_the_whole() {
    let (router, file) = (ready(Config::default()), song(25.0));
    let request = form("/v1/classify?stream=true&taggram=true", "audio", "a.wav", &file);
    let answer = ask(&router, request).await;
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    let mut events = events(&answer.text());
    let (last, result) = events.pop().unwrap();
    let expected = truth(&file, &taggram::Listen::default());
    assert_eq!((last.as_str(), &without_time(result)), ("result", &expected));
    assert_eq!(events.remove(0).0, "start");
    assert!(events.iter().all(|(kind, _)| kind == "window") && events.len() >= 3);
    let first: Vec<f64> = serde_json::from_value(events[0].1["probabilities"].clone()).unwrap();
    let labels = expected["taggram"]["labels"].as_array().unwrap().len();
    let whole: Vec<f64> =
        serde_json::from_value(expected["taggram"]["probabilities"].clone()).unwrap();
    assert_eq!(first, whole[..labels]);
    assert!(events[0].1["verdict"]["genre"].is_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_answers_while_the_song_arrives_and_says_when_it_breaks_off() {
    let router = ready(Config { idle: Duration::from_millis(300), ..Config::default() });
    let file = song(30.0);
    let (chunks, body) = slow_body();
    let request = Request::post("/v1/classify?stream=true")
        .header("content-type", "audio/wav")
        .header("transfer-encoding", "chunked")
        .body(body)
        .unwrap();
    chunks.send(file[..file.len() / 2].to_vec()).await.unwrap();
    let mut body = send(&router, request).await.into_body();
    let mut seen = String::new();
    while !seen.contains("event: window") {
        let frame = body.frame().await.expect("a window before the rest is sent").unwrap();
        seen.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
    // Nothing more comes: it is too slow, and said to be.
    while let Some(frame) = body.frame().await {
        seen.push_str(std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap());
    }
    let (last, problem) = events(&seen).pop().unwrap();
    assert_eq!(
        (last.as_str(), problem["code"].as_str()),
        ("problem", Some("too_slow")),
        "{problem}"
    );
    drop(chunks);

    // What is known at once has an honest status.
    let answer =
        ask(&router, raw("/v1/classify?stream=true", "audio/wav", b"hello world".to_vec())).await;
    assert_eq!((answer.status.as_u16(), answer.json()["code"].as_str()), (415, Some("not_audio")));
}

#[tokio::test]
async fn slow_bodies_end() {
    let config = Config {
        idle: Duration::from_millis(150),
        receive: Duration::from_millis(400),
        ..Config::default()
    };
    let router = ready(config);
    // Silence, and then a drip that never pauses for long.
    for drip in [false, true] {
        let (chunks, body) = slow_body();
        let request = Request::post("/v1/classify")
            .header("content-type", "audio/wav")
            .header("content-length", 100_000)
            .body(body)
            .unwrap();
        let sending = tokio::spawn(async move {
            while drip && chunks.send(vec![0; 10]).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            tokio::time::sleep(Duration::from_secs(3)).await;
        });
        let start = Instant::now();
        let answer = ask(&router, request).await;
        assert_eq!(answer.status.as_u16(), 408, "{}", answer.text());
        assert!(start.elapsed() < Duration::from_secs(2));
        sending.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_refuses_at_once_and_recovers() {
    let router = ready(Config { queue: 1, idle: Duration::from_secs(30), ..Config::default() });
    let file = song(12.0);
    let (chunks, body) = slow_body();
    let first = Request::post("/v1/classify?stream=true")
        .header("content-type", "audio/wav")
        .header("transfer-encoding", "chunked")
        .body(body)
        .unwrap();
    let other = router.clone();
    let running = tokio::spawn(async move { ask(&other, first).await });
    chunks.send(file[..file.len() / 2].to_vec()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;

    for path in ["/v1/classify", "/v1/classify?stream=true"] {
        let start = Instant::now();
        let answer = ask(&router, form(path, "audio", "a.wav", &file)).await;
        assert_eq!(answer.status.as_u16(), 503, "{}", answer.text());
        assert!(answer.headers.contains_key("retry-after"));
        assert!(start.elapsed() < Duration::from_millis(50), "{:?}", start.elapsed());
    }
    chunks.send(file[file.len() / 2..].to_vec()).await.unwrap();
    drop(chunks);
    let answer = running.await.unwrap();
    assert!(answer.text().contains("event: result"), "{}", answer.text());
    assert_eq!(ask(&router, form("/v1/classify", "audio", "a", &file)).await.status.as_u16(), 200);
}

#[tokio::test]
async fn memory_for_bodies_is_bounded() {
    let router = ready(Config { max_memory: 100_000, ..Config::default() });
    let answer = ask(&router, form("/v1/classify", "audio", "a.wav", &song(12.0))).await;
    assert_eq!(answer.status.as_u16(), 503, "{}", answer.text());
    assert_eq!(
        ask(&router, raw("/v1/classify", "audio/wav", song(2.0))).await.status.as_u16(),
        200
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waiting_is_no_work() {
    let router = ready(Config::default());
    let request = form("/v1/classify", "audio", "a.wav", &song(600.0));
    let left = tokio::time::timeout(Duration::from_millis(30), send(&router, request)).await;
    assert!(left.is_err(), "ten minutes were heard in 30 ms");
    let start = Instant::now();
    loop {
        let counters = get(&router, "/metrics").await.text();
        if counters.contains("taggram_queue_songs 0")
            && counters.contains("taggram_cancelled_total 1")
        {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(5), "{counters}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn the_original_request_gets_the_original_answer() {
    let router = ready(Config::default());
    let answer = ask(&router, form("/", "audio", "a.wav", &song(12.0))).await.json();
    let expected = truth(&song(12.0), &taggram::Listen::default());
    assert_eq!((&answer["status"], &answer["message"]), (&"success".into(), &expected["genre"]));
    assert!(answer["duration"].as_f64().unwrap() > 0.0 && answer.as_object().unwrap().len() == 3);
    let answer = ask(&router, form("/", "audio", "a.wav", b"no music")).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["status"]), (415, &"failed".into()));
}

#[tokio::test]
async fn keys_and_origins() {
    let config = Config { api_key: Some("sesame".into()), ..Config::default() };
    let router = ready(config);
    for (shown, status) in [
        (None, 401),
        (Some("Bearer sesam"), 401),
        (Some("Bearer sesamf"), 401),
        (Some("Basic sesame"), 401),
        (Some("Bearer sesame"), 200),
        (Some("bearer  sesame"), 200),
    ] {
        for request in [
            Request::get("/v1/models").body(Body::empty()).unwrap(),
            form("/", "audio", "a", &song(2.0)),
        ] {
            let mut request = request;
            if let Some(shown) = shown {
                request.headers_mut().insert("authorization", shown.parse().unwrap());
            }
            assert_eq!(ask(&router, request).await.status.as_u16(), status, "{shown:?}");
        }
    }
    for open in ["/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/chart.js"] {
        assert_eq!(get(&router, open).await.status.as_u16(), 200, "{open}");
    }

    let from = |router: axum::Router| async move {
        let request = Request::get("/v1/models").header("origin", "https://a.example");
        ask(&router, request.body(Body::empty()).unwrap()).await.headers
    };
    assert!(!from(ready(Config::default())).await.contains_key("access-control-allow-origin"));
    let allowing = Config { cors: vec!["https://a.example".into()], ..Config::default() };
    assert_eq!(from(ready(allowing)).await["access-control-allow-origin"], "https://a.example");
    let other = Config { cors: vec!["https://b.example".into()], ..Config::default() };
    assert!(!from(ready(other)).await.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn the_service_describes_itself() {
    let service = common::service(Config::default());
    let router = taggram_serve::router(service.clone());
    let models = get(&router, "/v1/models").await.json();
    assert_eq!(
        (models[0]["name"].as_str(), models[0]["default"].as_bool()),
        (Some("default"), Some(true))
    );

    let document = get(&router, "/openapi.json").await.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    for path in ["/", "/v1/classify", "/v1/models", "/healthz", "/readyz", "/metrics"] {
        assert!(paths.contains(&&path.to_string()), "{path} is not described");
    }

    ask(&router, form("/v1/classify", "audio", "a.wav", &song(12.0))).await;
    ask(&router, raw("/v1/classify", "audio/wav", b"not music".to_vec())).await;
    let counters = get(&router, "/metrics").await.text();
    for line in [
        "taggram_requests_total{method=\"POST\",route=\"/v1/classify\",status=\"200\"} 1",
        "taggram_rejections_total{cause=\"not_audio\"} 1",
        "taggram_audio_seconds_total 12",
        "taggram_stage_seconds_count{stage=\"decode\"} 1",
        "taggram_queue_songs 0",
        "taggram_body_bytes_held 0",
    ] {
        assert!(counters.contains(line), "{line} is not in\n{counters}");
    }

    assert_eq!(get(&router, "/readyz").await.status.as_u16(), 200);
    service.stop();
    let answer = get(&router, "/readyz").await;
    assert_eq!(
        (answer.status.as_u16(), &answer.headers["connection"]),
        (503, &"close".parse().unwrap())
    );
}

#[tokio::test]
async fn the_page_loads_nothing_from_elsewhere() {
    let router = ready(Config::default());
    for path in ["/", "/style.css", "/chart.js", "/app.js", "/record.js", "/icon.svg"] {
        let answer = get(&router, path).await;
        assert_eq!(answer.status.as_u16(), 200, "{path}");
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        let text = answer.text().replace("http://www.w3.org/2000/svg", "");
        assert!(!text.contains("http://") && !text.contains("https://"), "{path} names an address");
        let again = Request::get(path).header("if-none-match", &answer.headers["etag"]);
        assert_eq!(ask(&router, again.body(Body::empty()).unwrap()).await.status.as_u16(), 304);
    }
    let index = get(&router, "/").await.text();
    assert!(!index.contains("<style") && !index.contains(" style=") && !index.contains(" onclick"));
}

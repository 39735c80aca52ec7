//! Every chart, with good, hostile and missing data.

use taggram_plot::*;

fn names(n: usize) -> Vec<String> {
    (0..n).map(|i| format!("label {i}")).collect()
}

/// Labels that would break a careless writer: markup, quotes, controls, a direction
/// override, right-to-left text, an emoji, and a very long one.
fn hostile() -> Vec<String> {
    [
        "<b>&\"'</b>",
        "a\u{0}b\u{1b}\n\tc\u{ffff}",
        "\u{202e}gnp.exe",
        "רגאיי",
        "🎸 rock",
        &"x".repeat(5000),
    ]
    .map(String::from)
    .to_vec()
}

fn all_charts(labels: &[String], fill: f64) -> Vec<(&'static str, Result<Chart, PlotError>)> {
    let n = labels.len();
    let title = labels.first().cloned().unwrap_or_default();
    let series: Vec<Series> = labels
        .iter()
        .map(|l| Series {
            name: l.clone(),
            points: vec![(0.0, fill), (1.0, fill * 0.5)],
            ..Default::default()
        })
        .collect();
    let bars =
        BarSeries { name: title.clone(), values: vec![fill; n], intervals: vec![(fill, fill); n] };
    let bin =
        ReliabilityBin { low: 0.0, high: 1.0, confidence: fill, accuracy: fill, count: n as u64 };
    let probabilities = vec![fill as f32; 3 * n];
    let levels = vec![fill as f32; 40];
    vec![
        ("lines", line_chart(&LineChart { title: title.clone(), series, ..Default::default() })),
        (
            "bars",
            bar_chart(&BarChart {
                title: title.clone(),
                labels: labels.to_vec(),
                series: vec![bars],
                decimals: Some(2),
                ..Default::default()
            }),
        ),
        (
            "heatmap",
            heatmap(&Heatmap {
                title: title.clone(),
                rows: labels.to_vec(),
                columns: labels.to_vec(),
                values: vec![fill as f32; n * n],
                decimals: Some(1),
                ..Default::default()
            }),
        ),
        (
            "confusion",
            confusion_matrix(labels, &vec![if fill > 0.0 { 3 } else { 0 }; n * n], &title),
        ),
        (
            "reliability",
            reliability(&Reliability {
                title: title.clone(),
                bins: vec![bin],
                ece: Some(fill),
                ..Default::default()
            }),
        ),
        (
            "taggram",
            taggram(&TaggramPicture {
                title: &title,
                verdict: &title,
                subtitle: &title,
                labels,
                probabilities: &probabilities,
                starts_s: &[0.0, 1.0, 2.5],
                window_s: 3.0,
                spectrogram: Some(Spectrogram {
                    levels_db: &levels,
                    frames: 10,
                    bands: 4,
                    seconds: 6.0,
                }),
                theme: Theme::Dark,
            }),
        ),
    ]
}

fn text_of(chart: &Chart) -> String {
    let document = roxmltree::Document::parse(chart.svg()).expect("SVG is XML");
    document.descendants().filter_map(|n| n.text()).collect::<Vec<_>>().join("|")
}

#[test]
fn every_chart_is_xml_and_paints_whatever_the_labels_and_numbers() {
    for labels in [names(10), hostile(), names(1), Vec::new()] {
        for fill in [0.7, 0.0, -1e30, f64::NAN, f64::INFINITY] {
            for (kind, chart) in all_charts(&labels, fill) {
                let chart = chart.unwrap_or_else(|e| panic!("{kind} with {fill}: {e}"));
                let text = text_of(&chart);
                assert!(!text.contains('\u{202e}') && !chart.svg().contains("NaN"), "{kind}");
                let png = chart.png(0.5).unwrap_or_else(|e| panic!("{kind} with {fill}: {e}"));
                assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n", "{kind}");
            }
        }
    }
}

#[test]
fn markup_in_labels_stays_text() {
    for (kind, chart) in all_charts(&hostile(), 0.5) {
        let chart = chart.unwrap();
        assert!(!chart.svg().contains("<b>"), "{kind}");
        assert!(text_of(&chart).contains("<b>&\"'</b>"), "{kind}: {}", text_of(&chart));
    }
}

#[test]
fn missing_data_is_said_in_the_picture() {
    for (kind, chart) in all_charts(&[], f64::NAN) {
        assert!(text_of(&chart.unwrap()).contains("No "), "{kind}");
    }
    let labels = names(3);
    for (kind, chart) in all_charts(&labels, f64::NAN) {
        // A taggram of unknown numbers still has its times and labels.
        if kind != "taggram" {
            assert!(text_of(&chart.unwrap()).contains("No "), "{kind}");
        }
    }
}

#[test]
fn contradictions_are_errors_in_sentences() {
    let labels = names(10);
    let errors = [
        confusion_matrix(&labels, &[1; 9], "t").unwrap_err(),
        heatmap(&Heatmap {
            rows: labels.clone(),
            columns: labels.clone(),
            values: vec![0.0; 7],
            ..Default::default()
        })
        .unwrap_err(),
        heatmap(&Heatmap {
            rows: labels.clone(),
            columns: labels.clone(),
            values: vec![0.0; 100],
            range: Some((1.0, 1.0)),
            ..Default::default()
        })
        .unwrap_err(),
        bar_chart(&BarChart {
            labels: labels.clone(),
            series: vec![BarSeries { values: vec![1.0], ..Default::default() }],
            ..Default::default()
        })
        .unwrap_err(),
        line_chart(&LineChart {
            series: vec![Series { points: vec![(0.0, 1.0), (1.0, 2.0)], ..Default::default() }],
            x_range: Some((3.0, f64::NAN)),
            ..Default::default()
        })
        .unwrap_err(),
        reliability(&Reliability {
            bins: vec![ReliabilityBin { low: 0.5, high: 0.4, ..Default::default() }],
            ..Default::default()
        })
        .unwrap_err(),
        taggram(&TaggramPicture {
            labels: &labels,
            probabilities: &[0.5; 9],
            starts_s: &[0.0],
            window_s: 3.0,
            ..Default::default()
        })
        .unwrap_err(),
        taggram(&TaggramPicture {
            labels: &labels,
            probabilities: &[0.5; 20],
            starts_s: &[1.0, 1.0],
            window_s: 3.0,
            ..Default::default()
        })
        .unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind, PlotErrorKind::Malformed);
        let message = error.to_string();
        assert!(message.ends_with('.') && message.chars().any(|c| c.is_ascii_digit()), "{message}");
    }
    let many = names(300);
    assert_eq!(
        confusion_matrix(&many, &vec![1; 90_000], "t").unwrap_err().kind,
        PlotErrorKind::OverLimit
    );
}

#[test]
fn the_same_numbers_give_the_same_bytes() {
    let (first, second) = (all_charts(&names(10), 0.3), all_charts(&names(10), 0.3));
    for ((kind, a), (_, b)) in first.into_iter().zip(second) {
        let (a, b) = (a.unwrap(), b.unwrap());
        assert_eq!(a.svg(), b.svg(), "{kind}");
        assert_eq!(a.png(1.0).unwrap(), b.png(1.0).unwrap(), "{kind}");
    }
}

#[test]
fn rows_are_sorted_by_mean_probability() {
    let labels = ["low", "high", "middle"].map(String::from).to_vec();
    let chart = taggram(&TaggramPicture {
        labels: &labels,
        probabilities: &[0.1, 0.6, 0.3, 0.0, 0.8, 0.2],
        starts_s: &[0.0, 1.0],
        window_s: 3.0,
        ..Default::default()
    })
    .unwrap();
    let text = text_of(&chart);
    let place = |word: &str| text.find(word).unwrap();
    assert!(place("|high|") < place("|middle|") && place("|middle|") < place("|low|"), "{text}");
    assert!(text.contains("70.0 %") && text.contains("25.0 %") && text.contains("5.0 %"), "{text}");
}

#[test]
fn ten_hours_stay_small() {
    let patches = 36_885;
    let starts: Vec<f64> = (0..patches).map(|i| i as f64 * 0.976).collect();
    let chart = taggram(&TaggramPicture {
        labels: &names(10),
        probabilities: &vec![0.1; patches * 10],
        starts_s: &starts,
        window_s: 3.0,
        spectrogram: Some(Spectrogram {
            levels_db: &vec![-20.0; 200_000 * 8],
            frames: 200_000,
            bands: 8,
            seconds: 36_000.0,
        }),
        ..Default::default()
    })
    .unwrap();
    assert!(chart.svg().len() < 300_000, "{} bytes", chart.svg().len());
    assert!(text_of(&chart).contains("5:00:00"));
}

#[test]
fn text_is_painted_without_system_fonts() {
    // The only dark pixels of this picture are its words.
    let words = confusion_matrix(&[], &[], "A headline").unwrap();
    let blank = confusion_matrix(&[], &[], "").unwrap();
    let dark = |chart: &Chart| {
        let png = chart.png(1.0).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        pixels.chunks_exact(3).filter(|p| p[0] < 80).count()
    };
    assert!(dark(&words) > dark(&blank) + 200, "{} {}", dark(&words), dark(&blank));
}

#[test]
fn files_are_written_by_extension_and_whole() {
    let folder = tempfile::tempdir().unwrap();
    let chart = confusion_matrix(&names(2), &[3, 1, 0, 4], "t").unwrap();
    for name in ["a.svg", "b.PNG"] {
        chart.save(&folder.path().join(name)).unwrap();
    }
    assert_eq!(std::fs::read_to_string(folder.path().join("a.svg")).unwrap(), chart.svg());
    let error = chart.save(&folder.path().join("c.gif")).unwrap_err();
    assert_eq!(error.kind, PlotErrorKind::Unsupported);
    assert!(error.to_string().contains("c.gif") && error.to_string().contains(".png"), "{error}");
    let error = chart.save(&folder.path().join("absent/d.svg")).unwrap_err();
    assert_eq!(error.kind, PlotErrorKind::Io);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "no leftovers");
    assert_eq!(chart.png(f32::NAN).unwrap_err().kind, PlotErrorKind::OverLimit);
    assert_eq!(chart.png(1e6).unwrap_err().kind, PlotErrorKind::OverLimit);
}

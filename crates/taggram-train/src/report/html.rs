//! One page that a person can open: no scripts, no links, light and dark.

use taggram_plot::{Chart, Theme};

use super::charts;
use super::{Comparison, ReportInfo};
use crate::dataset::error::Result;
use crate::evaluate::Evaluation;
use crate::metrics::{Interval, Metrics};

const STYLE: &str = "
:root { color-scheme: light dark; --page: #fff; --ink: #1b2027; --quiet: #5c6670; --line: #dfe4e9; --soft: #f6f8fa; }
@media (prefers-color-scheme: dark) { :root { --page: #14171c; --ink: #eceff2; --quiet: #9aa5b0; --line: #2b3139; --soft: #1b1f26; } }
body { font: 16px/1.55 system-ui, sans-serif; background: var(--page); color: var(--ink); max-width: 62rem; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.7rem; margin: 0 0 .2rem; } h2 { margin: 2.8rem 0 .6rem; border-bottom: 1px solid var(--line); } h3 { margin: 2rem 0 .4rem; }
p.quiet, td.quiet, figcaption { color: var(--quiet); } figcaption { font-size: .9rem; }
.big { font-size: 2.6rem; font-weight: 650; line-height: 1.1; }
table { border-collapse: collapse; margin: .8rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .28rem .8rem .28rem 0; border-bottom: 1px solid var(--line); text-align: right; } th:first-child, td:first-child { text-align: left; }
td.text, th.text { text-align: left; }
pre { background: var(--soft); border: 1px solid var(--line); border-radius: 6px; padding: .7rem .9rem; overflow-x: auto; white-space: pre-wrap; word-break: break-word; }
figure { margin: 1.2rem 0; } figure svg { max-width: 100%; height: auto; } .warn { border-left: 4px solid #c05621; padding-left: .8rem; }
.dark { display: none; } @media (prefers-color-scheme: dark) { .dark { display: block; } .light { display: none; } }
";

/// The page of a report.
pub(super) fn report(info: &ReportInfo, evaluations: &[Evaluation]) -> Result<String> {
    let first = &evaluations[0];
    let m = &first.metrics;
    let mut body = format!(
        "<h1>{}</h1>\n<p class=\"quiet\">How well it tells {} genres, under {}.</p>\n<p class=\"big\">{}</p>\n\
         <p>of {} songs were given their genre under <b>{}</b>; the 95&nbsp;% interval is {}, and one song is {:.2} points.</p>\n",
        escape(&first.model),
        first.genres.len(),
        escape(&evaluations.iter().map(|e| e.protocol.as_str()).collect::<Vec<_>>().join(", ")),
        percent(m.accuracy),
        m.songs,
        escape(&first.protocol),
        interval(m.accuracy_interval),
        100.0 / m.songs.max(1) as f64,
    );
    body += &overview(evaluations);
    body += &made(info);
    for e in evaluations {
        body += &protocol(e)?;
    }
    body += DEFINITIONS;
    Ok(page(&format!("{} · report", first.model), &body))
}

type Figure = fn(&Metrics) -> String;

fn overview(evaluations: &[Evaluation]) -> String {
    let rows: [(&str, Figure); 13] = [
        ("songs", |m| m.songs.to_string()),
        ("accuracy", |m| percent(m.accuracy)),
        ("95 % interval (Wilson)", |m| interval(m.accuracy_interval)),
        ("genre among the first three", |m| percent(m.top3)),
        ("macro precision / recall", |m| {
            format!("{:.3} / {:.3}", m.macro_average.precision, m.macro_average.recall)
        }),
        ("macro F1", |m| with(m.macro_average.f1, m.macro_f1_interval)),
        ("weighted precision / recall", |m| {
            format!("{:.3} / {:.3}", m.weighted_average.precision, m.weighted_average.recall)
        }),
        ("weighted F1", |m| format!("{:.3}", m.weighted_average.f1)),
        ("mean average precision", |m| {
            with(m.mean_average_precision, m.mean_average_precision_interval)
        }),
        ("ROC-AUC, macro", |m| with(m.roc_auc, m.roc_auc_interval)),
        ("expected calibration error", |m| {
            let chance = m.calibration_error_by_chance;
            format!(
                "{:.3} (by chance {:.3}, {:.3}–{:.3})",
                m.expected_calibration_error, chance.mean, chance.range.low, chance.range.high
            )
        }),
        ("log loss", |m| format!("{:.3}", m.log_loss)),
        ("Brier score", |m| format!("{:.3}", m.brier)),
    ];
    let mut table = String::from("<table>\n<tr><th></th>");
    for e in evaluations {
        table += &format!("<th>{}</th>", escape(&e.protocol));
    }
    table += "</tr>\n";
    for (name, figure) in rows {
        table += &format!("<tr><td>{name}</td>");
        for e in evaluations {
            table += &format!("<td>{}</td>", escape(&figure(&e.metrics)));
        }
        table += "</tr>\n";
    }
    table += "<tr><td>most confused</td>";
    for e in evaluations {
        table += &format!("<td>{}</td>", escape(&confused(e)));
    }
    table + "</tr>\n</table>\n"
}

fn confused(e: &Evaluation) -> String {
    worst(&e.metrics).map_or("nothing".into(), |(truth, answer, n)| {
        format!("{} → {} ({n})", e.genres[truth], e.genres[answer])
    })
}

fn worst(m: &Metrics) -> Option<(usize, usize, u64)> {
    let mut found = None;
    for (truth, row) in m.confusion.counts.iter().enumerate() {
        for (answer, &n) in row.iter().enumerate() {
            if truth != answer && n > found.map_or(0, |(_, _, most)| most) {
                found = Some((truth, answer, n));
            }
        }
    }
    found
}

fn made(info: &ReportInfo) -> String {
    let mut html = String::from("<h2>How this was made</h2>\n");
    if !info.command.is_empty() {
        html += &format!("<pre>{}</pre>\n", escape(&info.command));
    }
    html += "<table>\n";
    for (name, value) in [("dataset", &info.dataset), ("model", &info.model_hash)] {
        if !value.is_empty() {
            html += &format!("<tr><td>{name}</td><td class=\"text\">{}</td></tr>\n", escape(value));
        }
    }
    html += "</table>\n";
    for note in &info.notes {
        html += &format!("<p>{}</p>\n", escape(note));
    }
    html
}

fn protocol(e: &Evaluation) -> Result<String> {
    let m = &e.metrics;
    let mut html = format!(
        "<h2>{}</h2>\n<p>{} songs. {}</p>\n",
        escape(&e.protocol),
        m.songs,
        meaning(&e.protocol)
    );
    if !e.failed.is_empty() {
        html += &format!(
            "<p class=\"warn\">{} songs could not be classified and are in no figure. The first: {}, {}</p>\n",
            e.failed.len(),
            escape(&e.failed[0].id),
            escape(&e.failed[0].reason)
        );
    }
    if !e.absent.is_empty() {
        html += &format!(
            "<p class=\"warn\">{} songs of the split are not in this dataset: {}.</p>\n",
            e.absent.len(),
            escape(&e.absent.iter().take(8).cloned().collect::<Vec<_>>().join(", "))
        );
    }
    html += &figure(
        |t| charts::confusion(e, t),
        "Rows are what the songs are, columns what they were taken for.",
    )?;
    html += "<h3>Genres</h3>\n<table>\n<tr><th>genre</th><th>songs</th><th>precision</th><th>recall</th><th>F1</th><th>average precision</th><th>ROC-AUC</th></tr>\n";
    for s in &m.genres {
        let known = |v: Option<f64>| v.map_or("–".into(), |v| format!("{v:.3}"));
        html += &format!(
            "<tr><td>{}</td><td>{}</td><td>{:.3}</td><td>{:.3}</td><td>{:.3}</td><td>{}</td><td>{}</td></tr>\n",
            escape(&s.genre),
            s.support,
            s.precision,
            s.recall,
            s.f1,
            known(s.average_precision),
            known(s.roc_auc)
        );
    }
    html += "</table>\n";
    html += &figure(
        |t| charts::genres(e, t),
        "In brackets: the number of songs. With 30 songs a genre, one song is 0.03.",
    )?;
    html += &figure(
        |t| charts::calibration(e, t),
        "Songs by how sure the model was, in 15 bins of equal width, against how often it was right.",
    )?;
    html += &figure(
        |t| charts::roc(e, t),
        "How many songs of a genre are found, at the price of how many others.",
    )?;
    html += &figure(
        |t| charts::precision_recall(e, t),
        "How many of the songs given a genre have it, as more of them are found.",
    )?;
    Ok(html)
}

fn meaning(protocol: &str) -> &'static str {
    match protocol.split([':', '@', ' ']).next().unwrap_or_default() {
        "fault-filtered" => "Songs by a published list without repetitions and distorted clips.",
        "strict" => "As fault-filtered, without the test songs whose artist is also in train.",
        "random-song" => {
            "Songs at random: artists, and copies of one recording, may be on both sides."
        }
        "random-segment" => {
            "<b>Leaky</b>: windows of one song are on both sides. Only to be compared with figures made the same way; says little about unknown songs."
        }
        "artist-grouped" => {
            "Cross-validation: each song is tested once, no artist is on both sides."
        }
        "song-grouped" => {
            "Cross-validation: each song is tested once; artists may be on both sides."
        }
        _ => "",
    }
}

const DEFINITIONS: &str = "<h2>What the figures mean</h2>
<p>One row is one song. <b>Accuracy</b>: share of songs whose most probable genre is theirs, with Wilson's 95&nbsp;% interval. \
<b>Macro</b> averages count each genre alike, <b>weighted</b> ones each song. <b>Mean average precision</b> and <b>ROC-AUC</b>: each genre \
against the rest, then the mean over genres. Intervals beside them: 1,000 bootstrap resamples of the songs. \
<b>Expected calibration error</b>: the gap between confidence and accuracy, 15 bins of equal width; <b>by chance</b> is what probabilities that mean \
exactly what they say show on as many songs (mean and 95&nbsp;% range of 1,000 drawings). \
<b>Log loss</b>: mean of &minus;ln p(true genre). <b>Brier score</b>: squared distance of the probabilities from the truth, 0 to 2.</p>
";

/// The page of a comparison.
pub(super) fn comparison(c: &Comparison) -> Result<String> {
    let mut body = String::from(
        "<h1>Models side by side</h1>\n<p class=\"quiet\">McNemar's exact test asks, on the same songs, whether a difference could be luck: below 0.05 it hardly is.</p>\n",
    );
    for p in &c.protocols {
        body += &format!(
            "<h2>{}</h2>\n<table>\n<tr><th>model</th><th>songs</th><th>accuracy</th><th>95 % interval</th><th>top 3</th><th>macro F1</th><th>mAP</th><th>ROC-AUC</th><th>ECE</th><th>log loss</th></tr>\n",
            escape(&p.protocol)
        );
        for r in &p.rows {
            body += &format!(
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{:.3}</td><td>{:.3}</td><td>{:.3}</td><td>{:.3}</td><td>{:.3}</td></tr>\n",
                escape(&r.name),
                r.songs,
                percent(r.accuracy),
                interval(r.accuracy_interval),
                percent(r.top3),
                r.macro_f1,
                r.mean_average_precision,
                r.roc_auc,
                r.expected_calibration_error,
                r.log_loss
            );
        }
        body += "</table>\n";
        let labels: Vec<String> = p.rows.iter().map(|r| r.name.clone()).collect();
        let values: Vec<f64> = p.rows.iter().map(|r| r.accuracy).collect();
        let intervals: Vec<(f64, f64)> =
            p.rows.iter().map(|r| (r.accuracy_interval.low, r.accuracy_interval.high)).collect();
        body += &figure(
            |t| charts::accuracies(labels.clone(), values.clone(), intervals.clone(), t),
            "Overlapping intervals do not mean that models are equal: the test below compares them song by song.",
        )?;
        if !p.tests.is_empty() {
            body += "<table>\n<tr><th>first</th><th class=\"text\">second</th><th>songs</th><th>only the first right</th><th>only the second right</th><th>p</th></tr>\n";
            for t in &p.tests {
                body += &format!(
                    "<tr><td>{}</td><td class=\"text\">{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
                    escape(&t.first),
                    escape(&t.second),
                    t.test.songs,
                    t.test.only_first,
                    t.test.only_second,
                    super::compare::p_text(t.test.p_value).trim_start_matches("= ")
                );
            }
            body += "</table>\n";
        }
    }
    Ok(page("Models side by side", &body))
}

fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n",
        escape(title)
    )
}

/// A chart in both themes, of which the reader's is shown.
fn figure(chart: impl Fn(Theme) -> Result<Chart>, caption: &str) -> Result<String> {
    let (light, dark) = (chart(Theme::Light)?, chart(Theme::Dark)?);
    Ok(format!(
        "<figure><div class=\"light\">{}</div><div class=\"dark\">{}</div><figcaption>{}</figcaption></figure>\n",
        inline(light.svg()),
        inline(dark.svg()),
        escape(caption)
    ))
}

/// An SVG document as an element: without the XML declaration.
fn inline(svg: &str) -> &str {
    svg.find("<svg").map_or(svg, |start| &svg[start..])
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

pub(super) fn interval(i: Interval) -> String {
    format!("{:.1}–{:.1} %", i.low * 100.0, i.high * 100.0)
}

fn with(value: f64, i: Interval) -> String {
    format!("{value:.3} ({:.3}–{:.3})", i.low, i.high)
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            c => out.push(c),
        }
    }
    out
}

//! `taggram stats`: what a library is made of, as text or as a page with charts.

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use taggram_library::stats::{STEPS, Stats};
use taggram_plot::{BarChart, BarSeries, Heatmap, PlotError, Theme, bar_chart, heatmap};
use taggram_train::files::write_whole;

use super::library::{Where, optional_root};
use crate::Outcome;

/// Width of the longest bar in text, characters.
const BAR: usize = 40;
/// Folders that are shown.
const FOLDERS: usize = 25;

#[derive(Debug, Args)]
pub struct StatsArguments {
    /// Folder of music that was scanned [default: all that the index has]
    #[arg(value_name = "LIBRARY")]
    pub library: Option<PathBuf>,
    #[command(flatten)]
    pub index: Where,
    /// Also write a page with charts
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

pub fn run(arguments: &StatsArguments) -> anyhow::Result<Outcome> {
    let index = arguments.index.existing()?;
    let root = optional_root(arguments.library.as_ref())?;
    let stats = Stats::of(&index, root.as_deref())?;
    let title = arguments
        .library
        .as_ref()
        .map_or_else(|| "The library".to_string(), |path| path.display().to_string());
    std::io::stdout().lock().write_all(text(&stats).as_bytes())?;
    if let Some(path) = &arguments.html {
        let page = page(&title, &stats)?;
        write_whole(path, |file| file.write_all(page.as_bytes()))?;
        println!("{}", path.display());
    }
    Ok(Outcome::Done)
}

/// The headline in words.
fn sum(stats: &Stats) -> String {
    let mut said = format!("{} tracks, {:.1} hours", stats.tracks, stats.hours);
    if stats.failed > 0 {
        let _ = write!(said, ", {} files without an answer", stats.failed);
    }
    if stats.tagged > 0 {
        let _ = write!(
            said,
            "; {} have a genre in their tags, {} of them the one heard",
            stats.tagged, stats.agreeing
        );
    }
    said
}

fn text(stats: &Stats) -> String {
    let mut out = format!("{}\n", sum(stats));
    let mut table = |title: &str, rows: &[(String, usize)]| {
        let most = rows.iter().map(|r| r.1).max().unwrap_or(0).max(1);
        let width = rows.iter().map(|r| r.0.chars().count()).max().unwrap_or(0);
        let _ = writeln!(out, "\n{title}");
        for (name, count) in rows {
            let bar = "█".repeat((count * BAR).div_ceil(most));
            let _ = writeln!(out, "  {name:<width$}  {count:>7}  {bar}");
        }
    };
    table("Genres", &stats.genres);
    let total = |counts: &[usize]| counts.iter().sum::<usize>();
    let folders: Vec<(String, usize)> =
        stats.folders.iter().take(FOLDERS).map(|(n, c)| (n.clone(), total(c))).collect();
    table("Folders", &folders);
    if !stats.decades.is_empty() {
        let decades: Vec<(String, usize)> =
            stats.decades.iter().map(|(d, c)| (format!("{d}s"), total(c))).collect();
        table("Decades", &decades);
    }
    let confidence: Vec<(String, usize)> =
        (0..STEPS).map(|i| (step(i), stats.confidence[i])).collect();
    table("Confidence", &confidence);
    out
}

fn step(i: usize) -> String {
    format!("{}–{} %", 10 * i, 10 * (i + 1))
}

fn bars(title: &str, rows: Vec<(String, usize)>) -> Result<String, PlotError> {
    let (labels, values) = rows.into_iter().map(|(name, n)| (name, n as f64)).unzip();
    let series = vec![BarSeries { values, ..BarSeries::default() }];
    let chart = BarChart {
        title: title.into(),
        x_label: "tracks".into(),
        labels,
        series,
        decimals: Some(0),
        theme: Theme::Light,
        ..BarChart::default()
    };
    Ok(bar_chart(&chart)?.svg().to_string())
}

/// Share of each genre in every row, percent.
fn map(
    title: &str,
    genres: &[String],
    rows: &[(String, &Vec<usize>)],
) -> Result<String, PlotError> {
    let values: Vec<f32> = rows
        .iter()
        .flat_map(|(_, counts)| {
            let total = counts.iter().sum::<usize>().max(1) as f32;
            counts.iter().map(move |&n| 100.0 * n as f32 / total)
        })
        .collect();
    let rows: Vec<String> =
        rows.iter().map(|(name, c)| format!("{name} ({})", c.iter().sum::<usize>())).collect();
    let chart = Heatmap {
        title: title.into(),
        rows,
        columns: genres.to_vec(),
        values,
        decimals: Some(0),
        theme: Theme::Light,
        ..Heatmap::default()
    };
    Ok(heatmap(&chart)?.svg().to_string())
}

fn page(title: &str, stats: &Stats) -> Result<String, PlotError> {
    let genres: Vec<String> = stats.genres.iter().map(|g| g.0.clone()).collect();
    let mut charts = vec![bars("Genres", stats.genres.clone())?];
    let folders: Vec<(String, &Vec<usize>)> =
        stats.folders.iter().take(FOLDERS).map(|(name, counts)| (name.clone(), counts)).collect();
    if !genres.is_empty() && !folders.is_empty() {
        charts.push(map("Genres over folders, % of the folder", &genres, &folders)?);
    }
    let decades: Vec<(String, &Vec<usize>)> =
        stats.decades.iter().map(|(decade, counts)| (format!("{decade}s"), counts)).collect();
    if !decades.is_empty() {
        charts.push(map("Genres over decades, % of the decade", &genres, &decades)?);
    }
    let confidence = (0..STEPS).map(|i| (step(i), stats.confidence[i])).collect();
    charts.push(bars("Confidence", confidence)?);
    let charts: String = charts.iter().map(|svg| format!("<figure>{svg}</figure>\n")).collect();
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{0}</title>\n\
         <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:960px;margin:2em auto;padding:0 1em}}\
         figure{{margin:2em 0}}svg{{max-width:100%;height:auto}}</style>\n\
         <h1>{0}</h1>\n<p>{1}</p>\n{charts}</html>\n",
        escape(title),
        escape(&sum(stats)),
    ))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

//! `taggram show`: the taggram of one file as a picture or a table.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context;
use taggram::{Heard, Listen, Model, Record, Source};
use taggram_plot::{Spectrogram, TaggramPicture};
use taggram_train::files::write_whole;

use crate::Outcome;
use crate::args::Show;

pub fn run(arguments: &Show) -> anyhow::Result<Outcome> {
    let form = Form::of(&arguments.out)?;
    let model = taggram::model(&arguments.hearing.model)?;
    let how = Listen {
        excerpt: arguments.hearing.listening.excerpt,
        decide: arguments.hearing.listening.decide.into(),
        keep_map: form.is_picture(),
        ..Listen::default()
    };
    let heard = match taggram::listen(&model, Source::Path(arguments.file.clone()), &how) {
        Ok(heard) => heard,
        Err(error) => {
            eprintln!("taggram: {}: {error}", arguments.file.display());
            return Ok(Outcome::SomeFailed);
        }
    };
    for warning in &heard.warnings {
        eprintln!("taggram: {}: {warning}", arguments.file.display());
    }
    save(&arguments.out, form, &arguments.file, &model, &heard)?;
    println!("{}", arguments.out.display());
    Ok(Outcome::Done)
}

/// Form of a taggram that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Picture,
    Json,
    Csv,
}

impl Form {
    /// By the ending of the file's name.
    pub fn of(out: &Path) -> anyhow::Result<Self> {
        let ending = out.extension().and_then(|e| e.to_str()).unwrap_or_default();
        Ok(match ending.to_ascii_lowercase().as_str() {
            "png" | "svg" => Self::Picture,
            "json" => Self::Json,
            "csv" => Self::Csv,
            _ => anyhow::bail!(
                "{}: the ending must be .png, .svg, .json or .csv to tell the form",
                out.display()
            ),
        })
    }

    pub fn is_picture(self) -> bool {
        self == Self::Picture
    }
}

/// Writes what was heard of `file` (a path or an address) to `out`.
pub fn save(
    out: &Path,
    form: Form,
    file: &Path,
    model: &Model,
    heard: &Heard,
) -> anyhow::Result<()> {
    match form {
        Form::Json => write(out, &json(file, model, heard)?),
        Form::Csv => write(out, &csv(heard)?),
        Form::Picture => picture(file, model, heard)?
            .save(out)
            .with_context(|| format!("{} could not be written", out.display())),
    }
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    write_whole(path, |file| file.write_all(text.as_bytes()))
        .with_context(|| format!("{} could not be written", path.display()))
}

/// The record of the song with its taggram under `taggram`.
fn json(file: &Path, model: &Model, heard: &Heard) -> anyhow::Result<String> {
    let record = Record::heard(&file.to_string_lossy(), model, heard, usize::MAX);
    Ok(serde_json::to_string_pretty(&record.with_taggram(heard))? + "\n")
}

/// A row a window: its start, and the probability of each genre.
fn csv(heard: &Heard) -> anyhow::Result<String> {
    let taggram = &heard.taggram;
    let mut text = format!("start_s,end_s,{}\n", taggram.labels.join(","));
    for (i, &start) in taggram.starts_s.iter().enumerate() {
        write!(text, "{start:.3},{:.3}", start + taggram.patch_s)?;
        for p in taggram.patch(i) {
            write!(text, ",{p:.6}")?;
        }
        text.push('\n');
    }
    Ok(text)
}

fn picture(file: &Path, model: &Model, heard: &Heard) -> anyhow::Result<taggram_plot::Chart> {
    let name = file.file_name().map(|n| n.to_string_lossy()).unwrap_or_default();
    let said = &heard.verdict;
    let (verdict, subtitle) =
        taggram_plot::headlines(&said.genre, said.confidence, &said.scores, model.name());
    let spectrogram = heard.map.as_ref().map(|map| Spectrogram {
        levels_db: &map.data[..map.frames * map.bands],
        frames: map.frames,
        bands: map.bands,
        seconds: heard.duration_s,
    });
    Ok(taggram_plot::taggram(&TaggramPicture {
        title: &name,
        verdict: &verdict,
        subtitle: &subtitle,
        labels: &heard.taggram.labels,
        probabilities: &heard.taggram.probabilities,
        starts_s: &heard.taggram.starts_s,
        window_s: heard.taggram.patch_s,
        spectrogram,
        ..TaggramPicture::default()
    })?)
}

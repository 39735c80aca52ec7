//! `taggram tags`: what a tagging network says of music over time, or what any of its layers holds.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::{Args, ValueEnum};
use serde_json::json;
use taggram::{Decide, Excerpt, Heard, Listen, Model, Source};
use taggram_train::files::write_whole;
use taggram_train::npy::{self, DType};

use crate::Outcome;
use crate::work::{in_order, processors, progress_bar};
use taggram_library::{self as files, Found};

/// Tags that text names for a file unless told otherwise.
const TOP: usize = 10;

#[derive(Debug, Args)]
pub struct Tags {
    /// Audio files, and folders to search for them
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Model: a name (`taggram model list`) or a .safetensors file
    #[arg(long, value_name = "NAME|FILE", default_value = "msd-musicnn")]
    model: String,
    /// Tags to name for each file, the strongest first [default: 10 in text, all in json]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    top: Option<u16>,
    /// Distance between the starts of two windows [default: the model's, 0.976 for musicnn]
    #[arg(long, value_name = "SECONDS", value_parser = positive)]
    hop: Option<f64>,
    /// Give the values of this layer instead of the tags, e.g. max_pool, mean_pool, penultimate,
    /// timbral, temporal, cnn1, cnn2, cnn3 (`taggram model info` lists them)
    #[arg(long, value_name = "LAYER")]
    features: Option<String>,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t = Form::Text)]
    format: Form,
    /// Where to write it [default: standard output]; npy needs it, and for several files writes a list beside it
    /// that names the file of each row: X.npy and X_rows.txt, which `taggram train` and `evaluate` read
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Files to work on at once [default: one a processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Part of each song to listen to: full, or middle:SECONDS
    #[arg(long, value_name = "PART", default_value = "full", value_parser = crate::args::excerpt)]
    excerpt: Excerpt,
}

/// Form of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Lines for people: the means over the song
    Text,
    /// One JSON object a line: the means and the course over time
    Json,
    /// A table with a row a window
    Csv,
    /// An array of 32-bit floats, [window, tag], the windows of all files one after the other
    Npy,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() && seconds > 0.0 => Ok(seconds),
        _ => Err("not a number of seconds above 0".into()),
    }
}

pub fn run(arguments: &Tags) -> anyhow::Result<Outcome> {
    let model = model(arguments)?;
    let files = files::find(&arguments.paths);
    if files.is_empty() {
        bail!("there is no audio file in {}", files::display(&arguments.paths));
    }
    let Some(path) = &arguments.out else {
        if arguments.format == Form::Npy {
            bail!("npy is no text for a terminal: --out FILE says where to write it");
        }
        return write(arguments, &model, &files, &mut io::stdout().lock(), &mut |_, _| ());
    };
    // A file is written at the end and whole, or not at all.
    let (mut text, mut rows, mut stems) = (Vec::new(), Rows::default(), BTreeSet::new());
    let mut twice = None;
    let outcome = write(arguments, &model, &files, &mut text, &mut |path, heard| {
        if arguments.format == Form::Npy {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            rows.add(&stem, heard);
            if !stems.insert(stem) {
                twice = Some(path.to_path_buf());
            }
        }
    })?;
    if let Some(path) = twice {
        bail!(
            "{}: another file has the same name, and rows are told apart by the names of their files",
            path.display()
        );
    }
    match arguments.format {
        Form::Npy if rows.files == 0 => {}
        Form::Npy => rows.write(path, model.labels().len())?,
        _ if text.is_empty() => {}
        _ => write_whole(path, |file| file.write_all(&text))?,
    }
    Ok(outcome)
}

/// What goes into an array: the windows of all files, and the file of each.
#[derive(Default)]
struct Rows {
    files: usize,
    values: Vec<f32>,
    names: String,
}

impl Rows {
    fn add(&mut self, name: &str, heard: &Heard) {
        self.files += 1;
        self.values.extend_from_slice(&heard.taggram.probabilities);
        for _ in 0..heard.taggram.len() {
            self.names.push_str(name);
            self.names.push('\n');
        }
    }

    fn write(&self, path: &Path, width: usize) -> anyhow::Result<()> {
        let shape = [self.values.len() / width.max(1), width];
        write_whole(path, |file| npy::write(file, DType::F32, &shape, &self.values))?;
        if self.files > 1 {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            let list = path.with_file_name(format!("{stem}_rows.txt"));
            write_whole(&list, |file| file.write_all(self.names.as_bytes()))?;
        }
        Ok(())
    }
}

/// Listens to all files and writes what the format says of each, in their order; `also` is told too.
fn write(
    arguments: &Tags,
    model: &Model,
    files: &[Found],
    out: &mut dyn Write,
    also: &mut dyn FnMut(&Path, &Heard),
) -> anyhow::Result<Outcome> {
    let jobs = arguments.jobs.map_or_else(processors, usize::from);
    let how = Listen {
        excerpt: arguments.excerpt,
        decide: Decide::Mean,
        // Several files are worked on at once, or one by all.
        threads: jobs.div_ceil(files.len()),
        ..Listen::default()
    };
    if arguments.format == Form::Csv {
        let labels: Vec<String> = model.labels().iter().map(|l| crate::output::cell(l)).collect();
        writeln!(out, "path,start_s,end_s,{}", labels.join(","))?;
    }
    let bar = progress_bar(files.len());
    let mut failed = 0usize;
    let listen = |found: &Found| match found {
        Ok(path) => {
            let heard = taggram::listen(model, Source::Path(path.clone()), &how);
            (path.clone(), heard)
        }
        Err((path, why)) => {
            (path.clone(), Err(taggram::Error::new(taggram::ErrorKind::Unreadable, why.clone())))
        }
    };
    in_order(files, jobs.min(files.len()), listen, |(path, heard)| {
        bar.inc(1);
        let name = path.to_string_lossy();
        match heard {
            Ok(heard) => {
                for warning in &heard.warnings {
                    bar.suspend(|| eprintln!("taggram: {name}: {warning}"));
                }
                also(&path, &heard);
                bar.suspend(|| print(out, arguments, &name, model, &heard))?;
            }
            Err(error) => {
                failed += 1;
                bar.suspend(|| eprintln!("taggram: {name}: {error}"));
                if arguments.format == Form::Json {
                    let record =
                        json!({ "path": name, "model": model.name(), "error": error.to_string() });
                    writeln!(out, "{record}")?;
                }
            }
        }
        Ok(())
    })?;
    bar.finish_and_clear();
    Ok(if failed == 0 { Outcome::Done } else { Outcome::SomeFailed })
}

/// The model that was asked for, read at the layer and as often as was asked for.
fn model(arguments: &Tags) -> anyhow::Result<Model> {
    let artifact = taggram::artifact(&arguments.model)?;
    let model = match &arguments.features {
        Some(layer) => Model::layer_of(artifact, layer)?,
        None => Model::from_artifact(artifact)?,
    };
    let Some(seconds) = arguments.hop else { return Ok(model) };
    let frames = (seconds * model.front_end().frame_rate()).round().max(1.0) as usize;
    Ok(model.with_hop(frames)?)
}

fn print(
    out: &mut dyn Write,
    arguments: &Tags,
    name: &str,
    model: &Model,
    heard: &Heard,
) -> io::Result<()> {
    let taggram = &heard.taggram;
    let mut means = heard.verdict.scores.clone();
    means.sort_by(|a, b| b.1.total_cmp(&a.1));
    let named = |default: usize| arguments.top.map_or(default, usize::from).min(means.len());
    match arguments.format {
        Form::Text => {
            // Tags are probabilities; the values of other layers are not.
            let shown = means[..named(TOP)].iter().map(|(tag, x)| {
                if arguments.features.is_none() {
                    format!("{tag} {:.0} %", 100.0 * x)
                } else {
                    format!("{tag} {x:.4}")
                }
            });
            writeln!(out, "{name}  {}", shown.collect::<Vec<_>>().join(" · "))?;
        }
        Form::Json => {
            let count = named(means.len());
            let tags: serde_json::Map<String, serde_json::Value> =
                means.into_iter().take(count).map(|(tag, mean)| (tag, json!(mean))).collect();
            let rows: Vec<&[f32]> = (0..taggram.len()).map(|i| taggram.patch(i)).collect();
            let mut record = json!({
                "path": name,
                "tags": tags,
                "duration_s": (heard.duration_s * 1e3).round() / 1e3,
                "windows": taggram.len(),
                "window_s": taggram.patch_s,
                "starts_s": taggram.starts_s,
                "labels": taggram.labels,
                "taggram": rows,
                "model": model.name(),
                "elapsed_ms": (heard.elapsed_ms * 1e2).round() / 1e2,
            });
            if !heard.warnings.is_empty() {
                record["warnings"] = json!(heard.warnings);
            }
            writeln!(out, "{record}")?;
        }
        Form::Csv => {
            let name = crate::output::cell(name);
            let mut line = String::new();
            for (i, start) in taggram.starts_s.iter().enumerate() {
                line.clear();
                // Writing to a string does not fail.
                let _ = write!(line, "{name},{start:.3},{:.3}", start + taggram.patch_s);
                for value in taggram.patch(i) {
                    let _ = write!(line, ",{value:.6}");
                }
                writeln!(out, "{line}")?;
            }
        }
        // Written when all files are known.
        Form::Npy => {}
    }
    out.flush()
}

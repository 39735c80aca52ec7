//! `taggram model`: the models that are there, and bringing in published ones.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use taggram_import::ImportedModel;
use taggram_model::artifact::FORMAT;
use taggram_model::onnx::to_onnx_with;
use taggram_model::{Answer, Artifact, Body, Calibration, Description, Over, Storage};
use taggram_train::dataset::Dataset;
use taggram_train::files::write_whole;

use crate::Outcome;

#[derive(Debug, Args)]
pub struct Model {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Install the networks of the Python package musicnn from its wheel: pip download --no-deps musicnn==0.1.0
    Import {
        /// The wheel musicnn-0.1.0-py3-none-any.whl, or the folder it was unpacked to
        #[arg(value_name = "WHEEL|FOLDER")]
        from: PathBuf,
    },
    /// List the models that are there
    List,
    /// Tell everything about a model
    Info {
        /// A name from the list, or a .safetensors file
        #[arg(value_name = "NAME|FILE")]
        name: String,
    },
    /// Write the network of a model for other programs; labels and front-end go along as metadata
    Export {
        /// A name from the list, or a .safetensors file
        #[arg(value_name = "NAME|FILE")]
        name: String,
        /// File to write
        #[arg(long, value_name = "FILE.onnx")]
        out: PathBuf,
    },
    /// Learn anew what a trained network calls `unknown`; the network itself stays as it is
    Remember {
        /// A name from the list, or a .safetensors file
        #[arg(value_name = "NAME|FILE")]
        name: String,
        /// Dataset that it was trained on
        #[arg(long, value_name = "DATASET")]
        data: PathBuf,
        /// Sounds that are no music (a feature cache or a folder of audio) [default: those of its recipe]
        #[arg(long, value_name = "SOUNDS")]
        strange: Option<String>,
        /// Where the model is written
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Remove an installed model
    Remove {
        /// A name from the list
        name: String,
    },
}

pub fn run(arguments: &Model) -> anyhow::Result<Outcome> {
    match &arguments.action {
        Action::Import { from } => import(from)?,
        Action::List => list()?,
        Action::Info { name } => info(name)?,
        Action::Export { name, out } => export(name, out)?,
        Action::Remember { name, data, strange, out } => {
            remember(name, data, strange.as_deref(), out)?;
        }
        Action::Remove { name } => remove(name)?,
    }
    Ok(Outcome::Done)
}

fn folder() -> anyhow::Result<PathBuf> {
    taggram::model_folder()
        .context("there is no home folder for models: set TAGGRAM_MODELS to a folder")
}

/// Reads all, then writes all, then names all: whatever fails before leaves the folder as it was.
fn import(from: &Path) -> anyhow::Result<()> {
    let folder = folder()?;
    let mut files = Vec::new();
    for model in taggram_import::import(from)? {
        let name = model.name.clone();
        files.push((name, artifact(model).write(Storage::F32)?));
    }
    fs::create_dir_all(&folder)
        .with_context(|| format!("the folder {} could not be made", folder.display()))?;
    let installed = install(&folder, &files).with_context(|| {
        format!("{} could not be written; nothing was installed", folder.display())
    })?;
    for path in installed {
        println!("{}", path.display());
    }
    Ok(())
}

/// Writes every file under a name for the time being and renames them when the last is on the
/// disk. After an error nothing new is there.
fn install(folder: &Path, files: &[(String, Vec<u8>)]) -> std::io::Result<Vec<PathBuf>> {
    let part = |name: &str| folder.join(format!(".{name}.part"));
    let whole = |name: &str| folder.join(format!("{name}.safetensors"));
    let mut new = Vec::new();
    let done = (|| {
        for (name, bytes) in files {
            let mut file = fs::File::create(part(name))?;
            file.write_all(bytes)?;
            file.sync_all()?;
        }
        for (name, _) in files {
            let (path, was_there) = (whole(name), whole(name).exists());
            fs::rename(part(name), &path)?;
            if !was_there {
                new.push(path);
            }
        }
        Ok(files.iter().map(|(name, _)| whole(name)).collect())
    })();
    if done.is_err() {
        // The error that is reported is the first; what cannot be removed adds nothing to it.
        for path in files.iter().map(|(name, _)| part(name)).chain(new) {
            let _ = fs::remove_file(path);
        }
    }
    done
}

fn artifact(model: ImportedModel) -> Artifact {
    let description = Description {
        format: FORMAT,
        about: format!("{} tags, each 0…1: {}.", model.vocabulary.len(), model.source),
        name: model.name,
        licence: model.licence,
        labels: model.vocabulary,
        answer: Answer::Tags,
        body: Body::Network {
            front_end: model.front_end,
            windows: model.windows,
            network: model.network,
            quantisation: None,
        },
        calibration: Calibration::default(),
        recipe: model.source,
        metrics: Default::default(),
    };
    Artifact { description, weights: model.weights }
}

fn list() -> anyhow::Result<()> {
    let names = taggram::installed();
    let width = names.iter().map(String::len).max().unwrap_or(0);
    let mut out = std::io::stdout().lock();
    for name in &names {
        let about = match taggram::artifact(name) {
            Ok(artifact) => match missing(&artifact) {
                Some(base) => {
                    format!("{} (needs {base}, not installed)", artifact.description.about)
                }
                None => artifact.description.about,
            },
            Err(error) => format!("cannot be used: {error}"),
        };
        writeln!(out, "{name:<width$}  {about}")?;
    }
    Ok(())
}

/// The model that a head sits on, when it is not there.
fn missing(artifact: &Artifact) -> Option<&str> {
    match &artifact.description.body {
        Body::Head { base, .. } if !taggram::installed().contains(base) => Some(base),
        _ => None,
    }
}

fn info(name: &str) -> anyhow::Result<()> {
    let artifact = taggram::artifact(name)?;
    let d = &artifact.description;
    let mut out = std::io::stdout().lock();
    let mut line = |key: &str, value: &str| writeln!(out, "{key:<12} {value}");
    line("name", &d.name)?;
    line("about", &d.about)?;
    line("fingerprint", &taggram::fingerprint(name)?)?;
    match &d.body {
        Body::Network { front_end, windows, network, quantisation } => {
            let rate = front_end.frame_rate();
            line(
                "input",
                &format!(
                    "{} Hz, windows of {:.2} s every {:.2} s, {} × {} bands",
                    front_end.sample_rate,
                    windows.frames as f64 / rate,
                    windows.hop as f64 / rate,
                    windows.frames,
                    front_end.bands()
                ),
            )?;
            line("parameters", &network.parameters()?.to_string())?;
            line(
                "work",
                &format!(
                    "{:.1} million multiply–accumulates a window",
                    network.macs()? as f64 / 1e6
                ),
            )?;
            if let Some(quantisation) = quantisation {
                let ranges = quantisation.ranges.len();
                line("arithmetic", &format!("integers, with the ranges of {ranges} values"))?;
            }
            let layers: Vec<&str> = network.nodes.iter().map(|n| n.name.as_str()).collect();
            line("layers", &layers.join(", "))?;
        }
        Body::Head { base, layer, over, .. } => {
            let what = match over {
                Over::Patch => "each window",
                Over::Song => "statistics of the windows of a song",
            };
            line("input", &format!("layer {layer} of {base}, {what}"))?;
            if let Some(base) = missing(&artifact) {
                line("needs", &format!("{base}, which is not installed"))?;
            }
        }
        Body::Descriptors { set, sample_rate, segment_s, .. } => {
            let part =
                segment_s.map_or_else(|| "the whole clip".into(), |s| format!("segments of {s} s"));
            line("input", &format!("descriptors {set} of {part} at {sample_rate} Hz"))?;
        }
    }
    line("temperature", &format!("{:.3}", d.calibration.temperature))?;
    line("labels", &d.labels.join(", "))?;
    for (key, value) in &d.metrics {
        line("measured", &format!("{key} = {value:.4}"))?;
    }
    writeln!(out, "\nrecipe\n{}\n\nlicence\n{}", d.recipe.trim_end(), d.licence.trim_end())?;
    Ok(())
}

/// The network with its weights as an ONNX file. Its input is a batch of patches as the front-end and the
/// windows (in the metadata) make them; its first output has a value a label.
fn export(name: &str, out: &Path) -> anyhow::Result<()> {
    let artifact = taggram::artifact(name)?;
    let d = &artifact.description;
    let Body::Network { front_end, windows, network, .. } = &d.body else {
        bail!(
            "{name} is no network but a classifier on what another model says: there is nothing for ONNX in it"
        );
    };
    let notes = [
        ("labels", serde_json::to_string(&d.labels)?),
        ("front_end", serde_json::to_string(front_end)?),
        ("windows", serde_json::to_string(windows)?),
        ("answer", serde_json::to_string(&d.answer)?),
        ("temperature", d.calibration.temperature.to_string()),
        ("about", d.about.clone()),
        ("licence", d.licence.clone()),
    ];
    let notes: Vec<(&str, &str)> = notes.iter().map(|(key, text)| (*key, text.as_str())).collect();
    let bytes = to_onnx_with(network, &artifact.weights, &notes)?;
    write_whole(out, |file| file.write_all(&bytes))?;
    println!("{}", out.display());
    Ok(())
}

fn remember(name: &str, data: &Path, strange: Option<&str>, out: &Path) -> anyhow::Result<()> {
    let mut artifact = taggram::artifact(name)?;
    let mut dataset = Dataset::open(data)?;
    dataset.use_genres(&artifact.description.labels)?;
    taggram_train::train::remember(&mut artifact, &dataset, strange, &mut |n| eprintln!("{n}"))?;
    let bytes = artifact.write(Storage::F16)?;
    write_whole(out, |file| file.write_all(&bytes))?;
    println!("{}", out.display());
    Ok(())
}

fn remove(name: &str) -> anyhow::Result<()> {
    let plain = !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    let path = folder()?.join(format!("{name}.safetensors"));
    if !plain || !path.is_file() {
        bail!(
            "there is no installed model \"{name}\" to remove; there are {} (the first two are part of the program)",
            taggram::installed().join(", ")
        );
    }
    fs::remove_file(&path).with_context(|| format!("{} could not be removed", path.display()))?;
    println!("{}", path.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_in_the_middle_leaves_nothing_new() {
        let dir = tempfile::tempdir().unwrap();
        // A folder stands where the second model would go, so that its renaming fails.
        let in_the_way = dir.path().join("b.safetensors");
        fs::create_dir_all(in_the_way.join("full")).unwrap();
        let files = [("a".to_string(), vec![1]), ("b".to_string(), vec![2])];
        assert!(install(dir.path(), &files).is_err());
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(left, [in_the_way]);
    }
}

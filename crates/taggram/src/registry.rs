//! Where models come from: the one compiled in, the user's model folder, a file.

use std::path::{Path, PathBuf};

use taggram_model::Artifact;

use crate::model::read_artifact;
use crate::{Error, ErrorKind, Model};

/// The model that is compiled into the program, as the bytes of its file.
pub const DEFAULT_MODEL: &[u8] = include_bytes!("../models/default.safetensors");

/// Name of the model that is compiled in.
pub const DEFAULT_NAME: &str = "default";

/// The head on musicnn's tags that is compiled in, as the bytes of its file.
const MUSICNN_HEAD: &[u8] = include_bytes!("../models/musicnn.safetensors");

/// Name of that head: it works once musicnn's weights are imported.
const MUSICNN_NAME: &str = "musicnn";

/// What brings in the weights of musicnn.
pub(crate) const IMPORT: &str = "Two commands fix it:\n  \
     pip download --no-deps musicnn==0.1.0\n  \
     taggram model import musicnn-0.1.0-py3-none-any.whl";

/// Names of the models that the wheel of musicnn holds.
const IMPORTED: [&str; 4] = ["msd-musicnn", "mtt-musicnn", "msd-vgg", "mtt-vgg"];

/// Loads a model: `default`, `musicnn`, a name in the model folder, or the path of a `.safetensors` file.
///
/// # Errors
/// [`ErrorKind::NoModel`] when there is none of that name, with what there is.
pub fn model(name: &str) -> Result<Model, Error> {
    Model::from_artifact(artifact(name)?)
}

/// Loads the artifact of a model, by the same names as [`model()`].
///
/// # Errors
/// As [`model()`].
pub fn artifact(name: &str) -> Result<Artifact, Error> {
    match name {
        DEFAULT_NAME => Ok(Artifact::read(DEFAULT_MODEL)?),
        MUSICNN_NAME => Ok(Artifact::read(MUSICNN_HEAD)?),
        _ => read_artifact(&find(name)?),
    }
}

/// The folder of installed models: `$TAGGRAM_MODELS`, else `taggram/models` in the user's data folder.
pub fn model_folder() -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os("TAGGRAM_MODELS") {
        return Some(folder.into());
    }
    Some(data_folder()?.join("models"))
}

/// Where what a user keeps lies: `taggram` in `$XDG_DATA_HOME`, else in `%LOCALAPPDATA%` (Windows), else in `~/.local/share`.
/// Variables that are empty or hold a relative path count as unset, as the XDG base directory specification asks.
pub fn data_folder() -> Option<PathBuf> {
    let named =
        |name| std::env::var_os(name).map(PathBuf::from).filter(|folder| folder.is_absolute());
    let data = named("XDG_DATA_HOME")
        .or_else(|| named("LOCALAPPDATA"))
        .or_else(|| Some(std::env::home_dir()?.join(".local").join("share")))?;
    Some(data.join("taggram"))
}

/// Names of the models that can be used: the built-in ones, then those in the model folder, sorted.
pub fn installed() -> Vec<String> {
    let mut names: Vec<String> = model_folder()
        .and_then(|folder| std::fs::read_dir(folder).ok())
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let path = entry.path();
            let is_model = path.extension().is_some_and(|e| e == "safetensors");
            is_model.then(|| path.file_stem().map(|s| s.to_string_lossy().into_owned())).flatten()
        })
        .collect();
    names.sort();
    names.splice(0..0, [DEFAULT_NAME.to_string(), MUSICNN_NAME.to_string()]);
    names
}

fn find(name: &str) -> Result<PathBuf, Error> {
    let as_path = Path::new(name);
    if as_path.is_file() {
        return Ok(as_path.to_path_buf());
    }
    let is_plain = !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        && !name.starts_with('.');
    let installed_path = model_folder().map(|f| f.join(format!("{name}.safetensors")));
    match installed_path {
        Some(path) if is_plain && path.is_file() => Ok(path),
        _ if IMPORTED.contains(&name) => Err(Error::new(
            ErrorKind::NoModel,
            format!("the weights of {name} are not installed. {IMPORT}"),
        )),
        _ => Err(Error::new(
            ErrorKind::NoModel,
            format!(
                "there is no model \"{name}\": no file of that name, and the installed models are {}",
                installed().join(", ")
            ),
        )),
    }
}

/// What tells one model file from another: the CRC-32 of its bytes and their number, `1f2e3d4c-381216`.
///
/// # Errors
/// As [`model()`].
pub fn fingerprint(name: &str) -> Result<String, Error> {
    let bytes = match name {
        DEFAULT_NAME => DEFAULT_MODEL.to_vec(),
        MUSICNN_NAME => MUSICNN_HEAD.to_vec(),
        _ => {
            let path = find(name)?;
            std::fs::read(&path).map_err(|e| Error::unreadable(&path, &e))?
        }
    };
    Ok(format!("{:08x}-{}", crc32fast::hash(&bytes), bytes.len()))
}

//! `taggram export`: the index as a table or as playlists.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use taggram_library::Index;
use taggram_library::export::{Form, Selection, export};
use taggram_library::stats::Stats;
use taggram_train::files::write_whole;

use super::library::{Where, optional_root};
use super::tag::probability;
use crate::Outcome;

#[derive(Debug, Args)]
pub struct Export {
    /// Folder of music that was scanned [default: all that the index has]
    #[arg(value_name = "LIBRARY")]
    pub library: Option<PathBuf>,
    #[command(flatten)]
    pub index: Where,
    /// Form of the export
    #[arg(long, value_enum, default_value_t = ExportForm::Csv)]
    pub format: ExportForm,
    /// Only tracks of this genre
    #[arg(long, value_name = "NAME")]
    pub genre: Option<String>,
    /// Only tracks at least this sure, 0…1
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = probability)]
    pub confidence: f32,
    /// File to write [default: standard output]
    #[arg(long, value_name = "FILE", conflicts_with = "playlists")]
    pub out: Option<PathBuf>,
    /// Folder for one playlist a genre
    #[arg(long, value_name = "DIR", conflicts_with_all = ["format", "genre"])]
    pub playlists: Option<PathBuf>,
}

/// Form of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportForm {
    /// A table, a column a genre
    Csv,
    /// One JSON object a line
    Json,
    /// A table for data tools, with embeddings
    Parquet,
    /// A playlist
    M3u,
}

impl From<ExportForm> for Form {
    fn from(form: ExportForm) -> Self {
        match form {
            ExportForm::Csv => Self::Csv,
            ExportForm::Json => Self::Json,
            ExportForm::Parquet => Self::Parquet,
            ExportForm::M3u => Self::M3u,
        }
    }
}

pub fn run(arguments: &Export) -> anyhow::Result<Outcome> {
    let index = arguments.index.existing()?;
    let root = optional_root(arguments.library.as_ref())?;
    let selection = Selection { genre: arguments.genre.clone(), confidence: arguments.confidence };
    if let Some(folder) = &arguments.playlists {
        return playlists(&index, root.as_deref(), &selection, folder);
    }
    let form = arguments.format.into();
    let count = match &arguments.out {
        Some(path) => {
            let mut count = 0;
            write_whole(path, |file| {
                count = export(&index, root.as_deref(), &selection, form, file)
                    .map_err(std::io::Error::other)?;
                Ok(())
            })?;
            println!("{}", path.display());
            count
        }
        None => {
            let mut out = BufWriter::new(std::io::stdout().lock());
            let count = export(&index, root.as_deref(), &selection, form, &mut out)?;
            out.flush()?;
            count
        }
    };
    eprintln!("{count} tracks");
    Ok(Outcome::Done)
}

/// A playlist for each genre that the library has.
fn playlists(
    index: &Index,
    root: Option<&Path>,
    selection: &Selection,
    folder: &Path,
) -> anyhow::Result<Outcome> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("the folder {} could not be made", folder.display()))?;
    for (genre, _) in Stats::of(index, root)?.genres {
        let safe = |c: char| if c.is_alphanumeric() || "-_ ".contains(c) { c } else { '_' };
        let name: String = genre.chars().map(safe).collect();
        let path = folder.join(format!("{name}.m3u8"));
        let selection = Selection { genre: Some(genre), ..selection.clone() };
        write_whole(&path, |file| {
            export(index, root, &selection, Form::M3u, file).map_err(std::io::Error::other)?;
            Ok(())
        })?;
        println!("{}", path.display());
    }
    Ok(Outcome::Done)
}

//! What the commands on an index share: where it lies, and what a folder is called in it.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use taggram_library::{ErrorKind, Index};

/// Which index.
#[derive(Args, Clone, Debug)]
pub struct Where {
    /// Index file [default: taggram/library.sqlite in your data folder]
    #[arg(long, value_name = "FILE")]
    pub db: Option<PathBuf>,
}

impl Where {
    pub fn path(&self) -> anyhow::Result<PathBuf> {
        self.db
            .clone()
            .or_else(Index::default_path)
            .context("there is no data folder to keep the index in; name one with --db FILE")
    }

    /// The index, which must be there.
    pub fn existing(&self) -> anyhow::Result<Index> {
        Ok(Index::existing(&self.path()?)?)
    }
}

/// A folder or file as the index knows it: from the root, without links. It need not be there any more.
pub fn root(path: &Path) -> anyhow::Result<PathBuf> {
    match path.canonicalize() {
        Ok(path) => Ok(path),
        Err(_) => {
            std::path::absolute(path).with_context(|| format!("{} is no path", path.display()))
        }
    }
}

/// Each of them, or nothing for "everywhere".
pub fn optional_root(path: Option<&PathBuf>) -> anyhow::Result<Option<PathBuf>> {
    path.map(|path| root(path)).transpose()
}

/// Whether the index refuses to be used until a person decides.
pub fn is_damaged(error: &taggram_library::LibraryError) -> bool {
    error.kind == ErrorKind::Corrupt
}

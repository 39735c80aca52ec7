//! `taggram compare`: reports side by side.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use taggram_train::report::compare;

use crate::Outcome;

#[derive(Debug, Args)]
pub struct Compare {
    /// Folders that `taggram evaluate` wrote, two or more
    #[arg(required = true, num_args = 2.., value_name = "REPORT")]
    pub reports: Vec<PathBuf>,
    /// Folder for the comparison as a page, JSON and text
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

pub fn run(arguments: &Compare) -> anyhow::Result<Outcome> {
    let folders: Vec<&Path> = arguments.reports.iter().map(PathBuf::as_path).collect();
    let comparison = compare(&folders)?;
    if let Some(out) = &arguments.out {
        comparison.save(out)?;
    }
    std::io::stdout().lock().write_all(comparison.to_text().as_bytes())?;
    Ok(Outcome::Done)
}

//! What tests in a real browser need.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The top of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Where the packages are, or why they cannot be used.
pub fn packages() -> Result<PathBuf, String> {
    let chromium = std::env::var("TAGGRAM_CHROMIUM").unwrap_or("/usr/bin/chromium".into());
    for program in ["node", &chromium] {
        let runs = Command::new(program).arg("--version").stdout(Stdio::null()).status();
        if !runs.is_ok_and(|status| status.success()) {
            return Err(format!("{program} does not run"));
        }
    }
    let modules = std::env::var_os("TAGGRAM_NODE_MODULES")
        .map_or_else(|| root().join("tests/web/node_modules"), PathBuf::from);
    for package in ["playwright-core", "hls.js"] {
        if !modules.join(package).is_dir() {
            return Err(format!("{package} is not in {}", modules.display()));
        }
    }
    Ok(modules)
}

//! Files that are whole whenever they are there.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;

use crate::error::TrainError;

/// Writes beside `path`, makes sure it is on the disk, and renames: a full disk or a crash leaves
/// what was there before.
///
/// # Errors
/// When the disk refuses; nothing is left behind then.
pub fn write_whole(
    path: &Path,
    content: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>,
) -> Result<(), TrainError> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".part");
    let part = path.with_file_name(name);
    let written = (|| {
        let mut file = BufWriter::new(File::create(&part)?);
        content(&mut file)?;
        file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&part, path)
    })();
    written.map_err(|e| {
        // The error that is reported is the first; a part that cannot be removed adds nothing.
        let _ = fs::remove_file(&part);
        TrainError::io(path, &e)
    })
}

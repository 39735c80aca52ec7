//! Where the package's files come from: a wheel (a zip archive) or an unpacked folder. Only
//! members asked for by name are read, each up to a limit, and nothing is written anywhere.

use std::{
    fs::File,
    io::{BufReader, Read},
    path::{Path, PathBuf},
};

use zip::{ZipArchive, result::ZipError};

use crate::error::{ImportError, ImportErrorKind};

/// Largest wheel, bytes; musicnn's has 21 MB.
const MAX_WHEEL: u64 = 256 << 20;

/// The `musicnn` package, opened.
pub enum Source {
    /// A wheel: the archive and the path it was opened from.
    Wheel(Box<ZipArchive<BufReader<File>>>, PathBuf),
    /// The folder that holds `musicnn` and its `.dist-info`.
    Folder(PathBuf),
}

impl Source {
    /// Opens a wheel, a folder a wheel was unpacked to, or the package's own folder.
    pub fn open(path: &Path) -> Result<Self, ImportError> {
        let shown = path.display().to_string();
        let unreadable = |e: std::io::Error| {
            let message = format!("cannot be read ({e})");
            ImportError::new(&shown, ImportErrorKind::Unreadable, message)
        };
        let metadata = path.metadata().map_err(unreadable)?;
        if metadata.is_dir() {
            if path.join("musicnn/configuration.py").is_file() {
                return Ok(Self::Folder(path.into()));
            }
            if path.join("configuration.py").is_file() && path.ends_with("musicnn") {
                return Ok(Self::Folder(path.join("..")));
            }
            return Err(ImportError::malformed(
                shown,
                "the folder holds no `musicnn/configuration.py`: it is not an unpacked musicnn wheel",
            ));
        }
        if metadata.len() > MAX_WHEEL {
            return Err(ImportError::new(
                shown,
                ImportErrorKind::OverLimit,
                format!("has {} bytes; a wheel may have {MAX_WHEEL}", metadata.len()),
            ));
        }
        let file = BufReader::new(File::open(path).map_err(unreadable)?);
        let archive = ZipArchive::new(file).map_err(|e| {
            ImportError::malformed(
                &shown,
                format!("is no wheel (zip archive), or is cut off ({e})"),
            )
        })?;
        Ok(Self::Wheel(Box::new(archive), path.into()))
    }

    /// How to name a member in a message.
    pub fn place(&self, member: &str) -> String {
        match self {
            Self::Wheel(_, path) => format!("{}: {member}", path.display()),
            Self::Folder(path) => path.join(member).display().to_string(),
        }
    }

    /// The bytes of `member`, of which there may be `limit`.
    pub fn read(&mut self, member: &str, limit: u64) -> Result<Vec<u8>, ImportError> {
        let place = self.place(member);
        let absent = "is absent: this is not musicnn 0.1.0";
        let mut bytes = Vec::new();
        // One byte beyond the limit tells that there is more; what the archive declares is
        // not believed.
        let result = match self {
            Self::Wheel(archive, _) => match archive.by_name(member) {
                Ok(file) => file.take(limit + 1).read_to_end(&mut bytes),
                Err(ZipError::FileNotFound) => return Err(ImportError::malformed(place, absent)),
                Err(ZipError::UnsupportedArchive(e)) => {
                    return Err(ImportError::new(place, ImportErrorKind::Unsupported, e));
                }
                Err(e) => return Err(ImportError::malformed(place, format!("is damaged ({e})"))),
            },
            Self::Folder(folder) => {
                let path = folder.join(member);
                if !path.is_file() {
                    return Err(ImportError::malformed(place, absent));
                }
                File::open(path).and_then(|f| f.take(limit + 1).read_to_end(&mut bytes))
            }
        };
        result.map_err(|e| ImportError::malformed(&place, format!("cannot be read ({e})")))?;
        if bytes.len() as u64 > limit {
            let message = format!("has more than the {limit} bytes that are read");
            return Err(ImportError::new(place, ImportErrorKind::OverLimit, message));
        }
        Ok(bytes)
    }

    /// [`Self::read`] for text.
    pub fn read_text(&mut self, member: &str, limit: u64) -> Result<String, ImportError> {
        String::from_utf8(self.read(member, limit)?)
            .map_err(|_| ImportError::malformed(self.place(member), "is not UTF-8 text"))
    }
}

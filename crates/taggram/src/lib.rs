//! **taggram**: a song in, its genre out.
//!
//! ```no_run
//! # fn main() -> Result<(), taggram::Error> {
//! let model = taggram::model("default")?;
//! let heard = taggram::listen(&model, taggram::Source::Path("song.mp3".into()), &taggram::Listen::default())?;
//! println!("{} ({:.0} %)", heard.verdict.genre, 100.0 * heard.verdict.confidence);
//! # Ok(())
//! # }
//! ```
//!
//! [`listen()`] is the whole path; [`Listener`] is the same path fed in chunks.

mod error;
mod listen;
mod listener;
mod model;
mod network;
mod overview;
mod record;
mod registry;

pub use error::{Error, ErrorKind};
pub use listen::{Heard, Listen, listen, listen_while};
pub use listener::{Ending, Listener};
pub use model::{Model, UNKNOWN};
pub use record::Record;
pub use registry::{
    DEFAULT_MODEL, DEFAULT_NAME, artifact, data_folder, fingerprint, installed, model, model_folder,
};

pub use taggram_audio::{Excerpt, Limits, Source};
pub use taggram_features::FeatureMap;
pub use taggram_model::{Decide, Taggram, Verdict};

//! Models made smaller and faster: what `taggram compress` does.
//!
//! - [`quantize()`]: integer arithmetic after training, with ranges found on calibration songs;
//! - [`prune()`]: weights or whole filters taken away step by step, the rest tuned in between; or filters that make
//!   nothing but a constant taken out, without songs or tuning;
//! - [`distill()`]: a small student that learns what one or several models say.
//!
//! Each is a recipe: a TOML file whose `method` says which, and whose numbers are stored in the
//! model that it makes.

mod dead;
mod distill;
mod prune;
mod quantize;
mod ranges;
mod surgery;
mod tune;

#[cfg(test)]
mod tests;

use std::path::Path;

use serde::{Deserialize, Serialize};
use taggram_model::{Artifact, Storage};

use crate::error::{ErrorKind, TrainError};

pub use dead::{Layer, take_out};
pub use distill::{Distill, distill, student};
pub use prune::{Prune, Take, prune};
pub use quantize::{Arithmetic, Quantize, quantize};
pub use ranges::{RangeBy, RangeFinder};
pub use surgery::shrink;

/// What is to be done to a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "snake_case")]
pub enum CompressRecipe {
    /// Smaller numbers.
    Quantize(Quantize),
    /// Fewer numbers.
    Prune(Prune),
    /// A smaller network.
    Distill(Distill),
}

impl CompressRecipe {
    /// Reads a recipe from TOML text; `place` (a file name) appears in errors.
    ///
    /// # Errors
    /// An unknown or missing key, or a number outside its range.
    pub fn parse(text: &str, place: &str) -> Result<Self, TrainError> {
        let recipe: Self = toml::from_str(text)
            .map_err(|e| TrainError::malformed(place, e.to_string().trim_end().to_string()))?;
        match &recipe {
            Self::Quantize(r) => r.check(place)?,
            Self::Prune(r) => r.check(place)?,
            Self::Distill(_) => {}
        }
        Ok(recipe)
    }

    /// Reads a recipe file.
    ///
    /// # Errors
    /// A file that cannot be read, and those of [`Self::parse`].
    pub fn load(path: &Path) -> Result<Self, TrainError> {
        let text = std::fs::read_to_string(path).map_err(|e| TrainError::io(path, &e))?;
        Self::parse(&text, &path.display().to_string())
    }

    /// The recipe of a method with its usual numbers.
    ///
    /// # Errors
    /// A name that is no method.
    pub fn usual(method: &str) -> Result<Self, TrainError> {
        Ok(match method {
            "quantize" => Self::Quantize(Quantize::default()),
            "prune" => Self::Prune(Prune::default()),
            "distill" => Self::Distill(Distill::default()),
            other => {
                return Err(TrainError::malformed(
                    "method",
                    format!("`{other}` is none of quantize, prune and distill"),
                ));
            }
        })
    }
}

/// A model made smaller, and how its weights are to be stored.
pub struct Compressed {
    /// The model.
    pub artifact: Artifact,
    /// How it is written.
    pub storage: Storage,
}

/// Notes in a model what was done to it, in its recipe as comments: the recipe it was trained by
/// can still be read.
fn sign(artifact: &mut Artifact, recipe: &CompressRecipe, did: &str) -> Result<(), TrainError> {
    let failed = |e: toml::ser::Error| TrainError::malformed("recipe", e.to_string());
    let text = match recipe {
        // Of its other numbers none was used.
        CompressRecipe::Prune(Prune { take: Take::Dead, below, .. }) => {
            format!("method = \"prune\"\ntake = \"dead\"\nbelow = {below:e}\n")
        }
        _ => toml::to_string(recipe).map_err(failed)?,
    };
    let d = &mut artifact.description;
    d.about = format!("{} {did}", d.about.trim_end());
    d.recipe.push_str("\n# compressed by:\n");
    for line in text.lines() {
        d.recipe.push_str(&format!("# {line}\n"));
    }
    Ok(())
}

/// The error of a model that a method can do nothing for.
fn cannot(artifact: &Artifact, why: impl Into<String>) -> TrainError {
    TrainError::new(artifact.description.name.clone(), ErrorKind::Unsupported, why)
}

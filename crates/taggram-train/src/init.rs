//! Weights that a training begins with.

use std::path::Path;

use taggram_model::{Body, Weights};

use crate::error::{ErrorKind, TrainError};

/// The weights that `[fit] init` names: those of an installed model, or of a file.
///
/// # Errors
/// A name that is neither, a model without a network, a file that cannot be read.
pub fn weights(name: &str) -> Result<Weights, TrainError> {
    let fail = |message: String| {
        TrainError::new(format!("[fit] init = \"{name}\""), ErrorKind::Unsupported, message)
    };
    let path = Path::new(name);
    if path.extension().is_some() || path.exists() {
        return taggram_import::read_weights(path).map_err(|e| fail(e.to_string()));
    }
    let artifact = taggram::artifact(name).map_err(|e| fail(e.to_string()))?;
    match artifact.description.body {
        Body::Network { .. } => Ok(artifact.weights),
        _ => Err(fail("this model has no network of its own, so no layers to begin with".into())),
    }
}

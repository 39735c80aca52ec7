//! The native half of the Python package: the facade's calls, without the interpreter's lock held
//! while they compute. What Python programs see is in `taggram/*.py`.

mod audio;
mod describe;
mod error;
mod model;

use pyo3::prelude::*;

/// `taggram._native`: see `taggram/_native.pyi`.
#[pymodule(gil_used = false)]
mod _native {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::describe::{describe, describe_frames};
    #[pymodule_export]
    use super::model::Model;
    #[pymodule_export]
    use super::{installed, model_folder, version};

    #[pymodule_init]
    fn init(_module: &Bound<'_, PyModule>) -> PyResult<()> {
        Ok(())
    }
}

/// Names of the models that can be named.
#[pyfunction]
fn installed() -> Vec<String> {
    taggram::installed()
}

/// Where installed models are looked for.
#[pyfunction]
fn model_folder() -> Option<std::path::PathBuf> {
    taggram::model_folder()
}

/// The version of the package.
#[pyfunction]
fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

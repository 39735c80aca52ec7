//! Descriptors: librosa's numbers of a clip, and of each of its frames.

use numpy::IntoPyArray;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use taggram::{Error, ErrorKind, Source};
use taggram_audio::{AudioReader, Limits, MonoSpec, MonoStream};
use taggram_features::FeatureSet;
use taggram_features::descriptors::HOP;

use crate::audio::source;
use crate::error::{Trouble, raise, unlocked};

/// Longest clip described as a whole, seconds: its spectra are all in memory.
const LONGEST_S: f64 = 3600.0;

/// The descriptors of a clip: name → value, in the order of the set, and warnings.
#[pyfunction]
pub fn describe<'py>(
    audio: &Bound<'py, PyAny>,
    set: &str,
    rate: u32,
) -> PyResult<(Bound<'py, PyDict>, Vec<String>)> {
    let set = known(audio.py(), set)?;
    let (values, warnings) = of_samples(audio, rate, |all| Ok(set.compute(all, rate)?))?;
    let out = PyDict::new(audio.py());
    for (name, value) in set.columns().into_iter().zip(values) {
        out.set_item(name, value)?;
    }
    Ok((out, warnings))
}

/// The descriptors of every frame: the starts of the frames, seconds, under `time_s`, then name → values.
#[pyfunction]
pub fn describe_frames<'py>(
    audio: &Bound<'py, PyAny>,
    set: &str,
    rate: u32,
) -> PyResult<(Bound<'py, PyDict>, Vec<String>)> {
    let py = audio.py();
    let set = known(py, set)?;
    let (series, warnings) = of_samples(audio, rate, |all| Ok(set.frames(all, rate)?))?;
    let count = series.iter().map(|s| s.values.len()).min().unwrap_or(0);
    let times: Vec<f64> = (0..count).map(|i| (i * HOP) as f64 / f64::from(rate)).collect();
    let out = PyDict::new(py);
    out.set_item("time_s", times.into_pyarray(py))?;
    for mut one in series {
        one.values.truncate(count);
        out.set_item(one.name, one.values.into_pyarray(py))?;
    }
    Ok((out, warnings))
}

fn known(py: Python<'_>, name: &str) -> PyResult<FeatureSet> {
    FeatureSet::from_name(name).ok_or_else(|| {
        let message =
            format!("there is no feature set \"{name}\": known are gtzan57, system3 and all");
        raise(py, &Error::new(ErrorKind::Unsupported, message))
    })
}

/// What `compute` makes of all samples of a clip at `rate` Hz, with the interpreter's lock released, and warnings.
fn of_samples<T: Send>(
    audio: &Bound<'_, PyAny>,
    rate: u32,
    compute: impl FnOnce(&[f32]) -> Result<T, Trouble> + Send,
) -> PyResult<(T, Vec<String>)> {
    let song = source(audio)?;
    unlocked(audio.py(), || {
        let (samples, warnings) = samples(song, rate)?;
        Ok((compute(&samples)?, warnings))
    })
}

/// All samples of a clip at `rate` Hz, mono, and what a person should know of them.
fn samples(song: Source, rate: u32) -> Result<(Vec<f32>, Vec<String>), Trouble> {
    let mut limits = Limits::default();
    limits.max_seconds = LONGEST_S;
    let reader = AudioReader::from_source(song, &limits)?;
    let mut stream = MonoStream::new(reader, &MonoSpec { limits, ..MonoSpec::at(rate) })?;
    let data = stream.read_to_end()?.data;
    let warnings = stream.warnings().map(String::from).collect();
    Ok((data, warnings))
}

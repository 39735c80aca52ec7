//! What Python hands over as audio: a path, the bytes of a file, or an array of samples.

use std::io::Cursor;
use std::path::PathBuf;
use std::sync::Arc;

use numpy::{PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use taggram::{Error, ErrorKind, Source};
use taggram_audio::encode::{WavFormat, WavWriter};

use crate::error::raise;

/// A source from `bytes`, from `(samples, sample_rate)` with float32 samples `[sample, channel]`, or from a
/// path.
///
/// Samples go on as a WAV file of 32-bit floats in memory. So they are mixed down, resampled and bounded by
/// the one path that files take, and give the same answer to the last bit.
pub fn source(audio: &Bound<'_, PyAny>) -> PyResult<Source> {
    if let Ok(bytes) = audio.cast::<PyBytes>() {
        return Ok(Source::Bytes(bytes.as_bytes().into()));
    }
    if let Ok((samples, rate)) = audio.extract::<(PyReadonlyArray2<'_, f32>, u32)>() {
        let channels = samples.shape()[1];
        let values = samples.as_slice().map_err(|e| invalid(audio.py(), e.to_string()))?;
        return Ok(Source::Bytes(wav(audio.py(), values, channels, rate)?));
    }
    Ok(Source::Path(audio.extract::<PathBuf>()?))
}

/// A WAV file of these samples.
fn wav(py: Python<'_>, values: &[f32], channels: usize, rate: u32) -> PyResult<Arc<[u8]>> {
    let size = 64 + size_of_val(values);
    let written =
        WavWriter::new(Cursor::new(Vec::with_capacity(size)), rate, channels, WavFormat::Float32)
            .and_then(|mut writer| {
                writer.write(values)?;
                writer.finish()
            });
    let whole = written
        .map_err(|e| raise(py, &Error::new(ErrorKind::OverLimit, format!("this array: {e}"))))?;
    Ok(whole.into_inner().into())
}

fn invalid(py: Python<'_>, message: String) -> PyErr {
    raise(py, &Error::new(ErrorKind::Malformed, message))
}

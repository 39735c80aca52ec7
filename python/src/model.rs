//! A model, and what it heard.

use std::sync::Arc;
use std::time::{Duration, Instant};

use numpy::{IntoPyArray, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use taggram::{Decide, Error, ErrorKind, Excerpt, Listen, listen_while};

use crate::audio::source;
use crate::error::{Trouble, raise, unlocked};

/// How often a long song looks whether Ctrl-C was pressed.
const LOOK: Duration = Duration::from_millis(100);

/// Most windows that are spread over a song: enough for the longest.
const MOST_PIECES: usize = 10_000;

/// A model that is ready to listen; shared between threads.
#[pyclass(frozen, module = "taggram._native")]
pub struct Model(Arc<taggram::Model>);

#[pymethods]
impl Model {
    #[new]
    fn new(py: Python<'_>, name: String, nearest: bool) -> PyResult<Self> {
        let model = unlocked(py, || {
            let model = taggram::model(&name)?;
            Ok(if nearest { model.naming_the_nearest() } else { model })
        })?;
        Ok(Self(Arc::new(model)))
    }

    /// Short name of the model.
    #[getter]
    fn name(&self) -> &str {
        self.0.name()
    }

    /// The vocabulary, in the order of the taggram's columns.
    #[getter]
    fn labels(&self) -> Vec<String> {
        self.0.labels().to_vec()
    }

    /// Rate that audio is resampled to, Hz.
    #[getter]
    fn sample_rate(&self) -> u32 {
        self.0.sample_rate()
    }

    /// Length of a window, seconds.
    #[getter]
    fn patch_s(&self) -> f64 {
        self.0.patch_s()
    }

    /// Whether it names genres; else its labels are tags.
    #[getter]
    fn names_genres(&self) -> bool {
        self.0.description().answer == taggram_model::Answer::Genres
    }

    /// Listens: a dictionary of what was heard.
    fn listen<'py>(
        &self,
        audio: &Bound<'py, PyAny>,
        excerpt: &str,
        vote: &str,
        threads: usize,
    ) -> PyResult<Bound<'py, PyDict>> {
        let py = audio.py();
        let wrong = |message: String| raise(py, &Error::new(ErrorKind::Unsupported, message));
        let how = Listen {
            excerpt: self.excerpt(excerpt).map_err(wrong)?,
            decide: match vote {
                "mean" => Decide::Mean,
                "majority" => Decide::Majority,
                _ => return Err(wrong(format!("vote \"{vote}\" is neither mean nor majority"))),
            },
            threads: threads.clamp(1, 256),
            ..Listen::default()
        };
        let song = source(audio)?;
        let model = &self.0;
        let heard = unlocked(py, || {
            let mut looked = Instant::now();
            let mut stopped = None;
            let heard = listen_while(model, song, &how, |_| {
                if looked.elapsed() < LOOK {
                    return Ok(());
                }
                looked = Instant::now();
                // Only the main thread of Python gets its signals; others pass through.
                Python::attach(|py| py.check_signals()).map_err(|signal| {
                    stopped = Some(signal);
                    Error::new(ErrorKind::Cancelled, "stopped by a signal")
                })
            });
            match stopped {
                Some(signal) => Err(Trouble::Python(signal)),
                None => Ok(heard?),
            }
        })?;
        let mut scores = heard.verdict.scores;
        scores.sort_by(|a, b| b.1.total_cmp(&a.1));
        let (rows, columns) = (heard.taggram.len(), heard.taggram.labels.len());
        let ranked = PyDict::new(py);
        for (label, score) in scores {
            ranked.set_item(label, score)?;
        }
        let out = PyDict::new(py);
        out.set_item("genre", heard.verdict.genre)?;
        out.set_item("confidence", heard.verdict.confidence)?;
        out.set_item("scores", ranked)?;
        let probabilities = heard.taggram.probabilities.into_pyarray(py);
        out.set_item("taggram", probabilities.reshape([rows, columns])?)?;
        out.set_item("labels", heard.taggram.labels)?;
        out.set_item("starts_s", heard.taggram.starts_s.into_pyarray(py))?;
        out.set_item("patch_s", heard.taggram.patch_s)?;
        out.set_item("embedding", heard.embedding.into_pyarray(py))?;
        out.set_item("duration_s", heard.duration_s)?;
        out.set_item("warnings", heard.warnings)?;
        out.set_item("elapsed_ms", heard.elapsed_ms)?;
        Ok(out)
    }
}

impl Model {
    /// `full`, `middle:SECONDS`, or `spread:WINDOWS`, as `taggram scan` listens with three.
    fn excerpt(&self, text: &str) -> Result<Excerpt, String> {
        let Some(pieces) = text.strip_prefix("spread:") else {
            return text.parse().map_err(|why| format!("excerpt \"{text}\" is {why}"));
        };
        match pieces.parse::<usize>() {
            Ok(pieces @ 1..=MOST_PIECES) => {
                Ok(Excerpt::Spread { pieces, seconds: self.0.patch_s() })
            }
            _ => Err(format!("excerpt \"{text}\" is not spread over 1 to {MOST_PIECES} windows")),
        }
    }
}

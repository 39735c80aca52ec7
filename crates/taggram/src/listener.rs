//! The path of [`listen()`](crate::listen()) fed in chunks: an upload, a stream, a microphone.

use taggram_features::FeatureMap;
use taggram_model::kernels::elementwise::softmax;
use taggram_model::statistics::song_row;
use taggram_model::{Answer, Decide, Over, Taggram, Verdict, decide};

use crate::model::UNKNOWN;
use crate::network::RowStream;
use crate::{Error, ErrorKind, Model};

/// Samples whose largest magnitude stays below this are called silence: −80 dB of full scale.
const SILENCE: f32 = 1e-4;

/// Patches on either side that a song-level head looks at for the answer at one time.
const NEIGHBOURS: usize = 4;

/// Hears a song chunk by chunk. Chunks of any size give exactly the taggram of the whole.
pub struct Listener<'m> {
    model: &'m Model,
    rows: RowStream<'m>,
    taggram: Taggram,
    /// What the network said of every patch, kept for a head that looks at the whole song.
    said: Vec<f32>,
    /// Sum over the patches of the penultimate layer's values.
    embedding: Vec<f64>,
    peak: f32,
}

/// What is known once the song is over.
pub struct Ending {
    /// How the answer unfolds.
    pub taggram: Taggram,
    /// The answer; `None` when nothing was heard.
    pub verdict: Option<Verdict>,
    /// The mean over the patches of what enters the network's last layer: near vectors sound
    /// alike. As long as [`Model::embedding`](crate::Model::embedding) says; empty when nothing was heard.
    pub embedding: Vec<f32>,
    /// The feature map if it was kept.
    pub map: Option<FeatureMap>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

impl<'m> Listener<'m> {
    /// Ready to hear samples at the model's rate. `keep_map` keeps the feature map, for a picture;
    /// `threads` is how many a network may use that can (musicnn).
    ///
    /// # Errors
    /// When the model's recipe cannot be followed.
    pub fn new(model: &'m Model, keep_map: bool, threads: usize) -> Result<Self, Error> {
        Ok(Self {
            model,
            rows: model.network().stream(keep_map, threads)?,
            taggram: Taggram {
                labels: model.labels().to_vec(),
                patch_s: model.patch_s(),
                ..Taggram::default()
            },
            said: Vec::new(),
            embedding: vec![0.0; model.embedding()],
            peak: 0.0,
        })
    }

    /// Hears mono samples at the model's rate, −1…1. Returns how many patches were completed.
    ///
    /// # Errors
    /// When the network fails, which is a bug.
    pub fn hear(&mut self, samples: &[f32]) -> Result<usize, Error> {
        self.peak = samples.iter().fold(self.peak, |peak, x| peak.max(x.abs()));
        self.rows.push(samples)?;
        self.take_rows()
    }

    /// Hears frames that the model's front-end made before (a feature cache), in place of samples.
    ///
    /// # Errors
    /// When the map is of another front-end.
    pub fn hear_map(&mut self, map: &FeatureMap) -> Result<usize, Error> {
        self.peak = 1.0;
        self.rows.push_map(map)?;
        self.take_rows()
    }

    /// Hears what the network said of patches (published taggrams), in place of samples: when
    /// each starts, s, and `[patch, width]`.
    ///
    /// # Errors
    /// When the rows are not as wide as what the network says.
    pub fn hear_rows(&mut self, starts_s: Vec<f64>, rows: Vec<f32>) -> Result<usize, Error> {
        let width = self.model.network().width();
        if rows.len() != starts_s.len() * width {
            return Err(Error::new(
                ErrorKind::Malformed,
                format!("{} values are not {} rows of {width}", rows.len(), starts_s.len()),
            ));
        }
        self.peak = 1.0;
        self.embedding.clear();
        self.answer(starts_s, rows)
    }

    /// The next samples are not the continuation of those before but another piece of the song,
    /// which begins `start_s` seconds into it: no patch spans both. Returns how many patches were
    /// completed.
    ///
    /// # Errors
    /// When the network fails, which is a bug.
    pub fn leap(&mut self, start_s: f64) -> Result<usize, Error> {
        self.rows.leap(start_s)?;
        self.take_rows()
    }

    /// What has been heard so far.
    pub fn taggram(&self) -> &Taggram {
        &self.taggram
    }

    /// The answer so far; `None` before the first patch.
    ///
    /// # Errors
    /// When the classifier fails, which is a bug.
    pub fn verdict(&self, how: Decide) -> Result<Option<Verdict>, Error> {
        let calibration = self.model.calibration();
        let mut verdict = decide(&self.taggram, how, calibration);
        if let (Some(verdict), Some(head), Decide::Mean) = (&mut verdict, self.model.head(), how)
            && head.over == Over::Song
        {
            let mut scores = self.whole_song(&self.said)?;
            calibration.apply(&mut scores);
            *verdict = Verdict::from_scores(&self.taggram.labels, scores);
        }
        Ok(verdict)
    }

    /// Hears the end.
    ///
    /// # Errors
    /// When the network fails, which is a bug.
    pub fn finish(mut self, how: Decide) -> Result<Ending, Error> {
        self.rows.finish()?;
        self.take_rows()?;
        let mut verdict = self.verdict(how)?;
        let mut warnings = Vec::new();
        let silent = self.peak < SILENCE;
        if silent && verdict.is_some() {
            warnings.push(format!(
                "silence: no sample is louder than {SILENCE} of full scale, so the answer means nothing"
            ));
        }
        if self.rows.padded() {
            warnings.push(format!(
                "shorter than the {:.1} s that the model looks at: it was repeated to fill them",
                self.taggram.patch_s
            ));
        }
        let patches = self.taggram.len() as f64;
        let embedding: Vec<f32> = match self.taggram.len() {
            0 => Vec::new(),
            _ => self.embedding.iter().map(|sum| (sum / patches) as f32).collect(),
        };
        if let Some(verdict) = &mut verdict {
            let stranger = !embedding.is_empty() && self.model.is_stranger(&embedding);
            if stranger && !silent {
                warnings.push(format!(
                    "unlike all music that the model has learnt; the nearest genre is {}",
                    verdict.genre
                ));
            }
            if stranger || silent && self.model.refuses_silence() {
                verdict.genre = UNKNOWN.to_string();
                verdict.confidence = 0.0;
            }
        }
        let map = self.rows.into_map();
        Ok(Ending { taggram: self.taggram, verdict, embedding, map, warnings })
    }

    /// Turns what the network has said into probabilities.
    fn take_rows(&mut self) -> Result<usize, Error> {
        let (starts, rows, beside) = self.rows.take();
        for row in beside.chunks_exact(self.embedding.len().max(1)) {
            self.embedding.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
        }
        self.answer(starts, rows)
    }

    fn answer(&mut self, starts: Vec<f64>, mut rows: Vec<f32>) -> Result<usize, Error> {
        let count = starts.len();
        if count == 0 {
            return Ok(0);
        }
        self.taggram.starts_s.extend(starts);
        match self.model.head() {
            None => {
                if self.model.description().answer == Answer::Genres {
                    softmax(&mut rows, self.taggram.labels.len());
                }
                self.taggram.probabilities.extend_from_slice(&rows);
            }
            Some(head) if head.over == Over::Patch => {
                let rows = head.pipeline.predict_rows(&rows).map_err(bug)?;
                self.taggram.probabilities.extend_from_slice(&rows);
            }
            Some(_) => {
                self.said.extend_from_slice(&rows);
                self.unfold(count)?;
            }
        }
        Ok(count)
    }

    /// A song-level head at every patch: what it would say of the patches around it. The last
    /// patches are looked at again when their neighbours have come.
    fn unfold(&mut self, new: usize) -> Result<(), Error> {
        let width = self.model.network().width();
        let patches = self.said.len() / width;
        let from = (patches - new).saturating_sub(NEIGHBOURS);
        self.taggram.probabilities.truncate(from * self.taggram.labels.len());
        for i in from..patches {
            let near = i.saturating_sub(NEIGHBOURS)..(i + NEIGHBOURS + 1).min(patches);
            let scores = self.whole_song(&self.said[near.start * width..near.end * width])?;
            self.taggram.probabilities.extend(scores);
        }
        Ok(())
    }

    /// The head's answer for a song of these rows.
    fn whole_song(&self, rows: &[f32]) -> Result<Vec<f32>, Error> {
        let head = self.model.head().ok_or_else(|| bug("the model has no head"))?;
        head.pipeline.predict_proba(&song_row(rows, self.model.network().width())).map_err(bug)
    }
}

fn bug(error: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Bug, error.to_string())
}

//! What the page's worker calls: segments of a stream in, the taggram as it unfolds out.
//!
//! The same decoder, front-end and network as in the program; answers are JSON texts.

use std::sync::Arc;

use serde_json::{Value, json};
use taggram::{Decide, Limits, Listener, Model, Verdict};
use taggram_hls::playlist::Trim;
use taggram_hls::{Piece, SegmentDecoder};
use wasm_bindgen::prelude::{JsError, wasm_bindgen};

/// Hears one stream.
#[wasm_bindgen]
pub struct Classifier {
    model: &'static Model,
    listener: Option<Listener<'static>>,
    decoder: SegmentDecoder,
    init: Option<Arc<[u8]>>,
    trim: Option<Trim>,
    discontinuity: bool,
    samples: Vec<f32>,
    heard: u64,
    /// Windows that were told.
    told: usize,
}

#[wasm_bindgen]
impl Classifier {
    /// With the model that is compiled in, or the bytes of a model file.
    #[wasm_bindgen(constructor)]
    pub fn new(artifact: Option<Vec<u8>>) -> Result<Classifier, JsError> {
        let bytes = artifact.as_deref().unwrap_or(taggram::DEFAULT_MODEL);
        // A worker lives as long as its model, and has one.
        let model: &'static Model = Box::leak(Box::new(Model::from_bytes(bytes)?));
        let limits = Limits::upload();
        Ok(Self {
            model,
            listener: Some(Listener::new(model, false, 1)?),
            decoder: SegmentDecoder::new(model.sample_rate(), model.resampling(), limits),
            init: None,
            trim: None,
            discontinuity: false,
            samples: Vec::new(),
            heard: 0,
            told: 0,
        })
    }

    /// The model: its name, its labels, the length of a window in seconds.
    pub fn about(&self) -> String {
        let patch_s = self.listener.as_ref().map_or(0.0, |l| l.taggram().patch_s);
        json!({
            "model": self.model.name(),
            "labels": self.model.labels(),
            "patch_s": patch_s,
            "simd": cfg!(target_feature = "simd128"),
        })
        .to_string()
    }

    /// What belongs to all segments that follow: the initialisation of fragmented MP4.
    pub fn set_init(&mut self, bytes: &[u8]) {
        self.init = Some(bytes.into());
    }

    /// What of the decoded frames is music, where the playlist says so. Before the first segment.
    pub fn set_trim(&mut self, rate: u32, skip: f64, keep: Option<f64>) {
        // JavaScript's whole numbers go to 2^53; the conversion saturates.
        self.trim = Some(Trim { rate, skip: skip as u64, keep: keep.map(|k| k as u64) });
    }

    /// The next segment does not join the one before.
    pub fn set_discontinuity(&mut self) {
        self.discontinuity = self.heard > 0;
    }

    /// Hears a segment, decrypted. Gives the new windows and the verdict so far.
    pub fn push(&mut self, segment: Vec<u8>) -> Result<String, JsError> {
        let piece = Piece {
            data: segment,
            init: self.init.clone(),
            discontinuity: std::mem::take(&mut self.discontinuity),
            trim: self.trim,
            ..Piece::default()
        };
        self.samples.clear();
        let result = self.decoder.push(&piece, &mut self.samples);
        self.hear()?;
        let note = result.err().map(|e| e.to_string());
        self.told_so_far(note)
    }

    /// Hears the end.
    pub fn finish(&mut self) -> Result<String, JsError> {
        self.samples.clear();
        let note = self.decoder.finish(&mut self.samples).err().map(|e| e.to_string());
        self.hear()?;
        let Some(listener) = self.listener.take() else {
            return Err(JsError::new("the stream was finished before"));
        };
        let ending = listener.finish(Decide::Mean)?;
        let windows = rows(&ending.taggram, self.told);
        self.told = ending.taggram.len();
        let mut warnings = self.decoder.warnings();
        warnings.extend(ending.warnings);
        warnings.extend(note);
        Ok(json!({
            "windows": windows,
            "verdict": ending.verdict.as_ref().map(verdict),
            "heard_s": self.seconds(),
            "warnings": warnings,
        })
        .to_string())
    }

    fn seconds(&self) -> f64 {
        self.heard as f64 / f64::from(self.model.sample_rate())
    }

    fn hear(&mut self) -> Result<(), JsError> {
        self.heard += self.samples.len() as u64;
        match &mut self.listener {
            Some(listener) => listener.hear(&self.samples).map(|_| ()).map_err(JsError::from),
            None => Err(JsError::new("the stream was finished before")),
        }
    }

    fn told_so_far(&mut self, note: Option<String>) -> Result<String, JsError> {
        let Some(listener) = &self.listener else {
            return Err(JsError::new("the stream was finished before"));
        };
        // A head that looks at neighbours may still change the last windows a little; what is
        // told is what is known now.
        let windows = rows(listener.taggram(), self.told);
        self.told = listener.taggram().len();
        let answer = listener.verdict(Decide::Mean)?;
        Ok(json!({
            "windows": windows,
            "verdict": answer.as_ref().map(verdict),
            "heard_s": self.seconds(),
            "note": note,
        })
        .to_string())
    }
}

/// The windows from `first` on: start and probabilities.
fn rows(taggram: &taggram::Taggram, first: usize) -> Vec<Value> {
    (first..taggram.len())
        .map(|i| json!({ "start_s": taggram.starts_s[i], "probabilities": taggram.patch(i) }))
        .collect()
}

fn verdict(verdict: &Verdict) -> Value {
    json!({
        "genre": verdict.genre,
        "confidence": verdict.confidence,
        "scores": verdict.scores.iter().map(|(label, p)| json!([label, p])).collect::<Vec<_>>(),
    })
}

//! What may be asked of an answer: the query of `/v1/classify`.

use serde::{Deserialize, Serialize};
use taggram::{Decide, Excerpt};
use utoipa::{IntoParams, ToSchema};

use crate::problem::{Code, Problem};

/// How to listen to a song, and what to say of it.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct Options {
    /// Genres to name, the most probable first; all when absent.
    #[param(minimum = 1, maximum = 1000)]
    pub top: Option<u16>,
    /// Part of the song to listen to: `full`, or `middle:SECONDS`.
    #[param(pattern = "^(full|middle:[1-9][0-9]{0,3})$", example = "middle:7")]
    pub excerpt: Option<String>,
    /// How the windows of a song agree on its genre.
    #[param(inline)]
    pub decide: Option<DecideBy>,
    /// Name of the model; the first of `/v1/models` when absent.
    pub model: Option<String>,
    /// Whether to tell how the answer unfolds, window by window.
    pub taggram: Option<bool>,
    /// Whether to give the spectrogram too, small enough for a screen.
    pub spectrogram: Option<bool>,
    /// Whether to answer with server-sent events while the song still arrives.
    pub stream: Option<bool>,
    /// Form of the answer.
    #[param(inline)]
    pub format: Option<Format>,
    /// Colours of a picture.
    #[param(inline)]
    pub theme: Option<Theme>,
}

/// How windows agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DecideBy {
    /// Mean of the windows' probabilities.
    #[default]
    Mean,
    /// Each window votes.
    Majority,
}

/// Form of the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// The record as JSON.
    #[default]
    Json,
    /// A picture of the taggram as SVG.
    Svg,
    /// A picture of the taggram as PNG.
    Png,
}

/// Colours of a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Theme {
    /// Dark ink on white.
    #[default]
    Light,
    /// Light ink on near-black.
    Dark,
}

impl Options {
    /// The part of the song to listen to.
    pub(crate) fn excerpt(&self) -> Result<Excerpt, Problem> {
        self.excerpt.as_deref().map_or(Ok(Excerpt::Full), |text| {
            text.parse().map_err(|e| Problem::new(Code::Malformed, format!("`excerpt` is {e}")))
        })
    }

    /// How windows agree.
    pub(crate) fn decide(&self) -> Decide {
        match self.decide.unwrap_or_default() {
            DecideBy::Mean => Decide::Mean,
            DecideBy::Majority => Decide::Majority,
        }
    }

    /// How many genres to name.
    pub(crate) fn top(&self) -> usize {
        self.top.map_or(usize::MAX, usize::from)
    }

    /// Whether a feature map is needed for the answer.
    pub(crate) fn needs_map(&self) -> bool {
        self.spectrogram.unwrap_or(false) || self.format.unwrap_or_default() != Format::Json
    }

    /// Refuses what makes no sense, before anything is read.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        self.excerpt()?;
        if self.top.is_some_and(|top| !(1..=1000).contains(&top)) {
            return Err(Problem::new(Code::Malformed, "`top` is not between 1 and 1000"));
        }
        let streams = self.stream.unwrap_or(false);
        if streams && self.format.unwrap_or_default() != Format::Json {
            return Err(Problem::new(
                Code::Malformed,
                "a stream answers with events: `format` must be json",
            ));
        }
        Ok(())
    }
}

//! Feature sets: which descriptors of a clip make its row in a table, and in which order.

use std::cell::OnceCell;

use crate::descriptors::{Spectra, cepstrum, pitch, rhythm, separation, shape, time};
use crate::error::FeatureError;
use crate::map::FeatureMap;
use crate::summary::{Statistic, summarise};

/// A named choice of descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeatureSet {
    /// The 57 columns of the widely used GTZAN table `features_30_sec.csv`, between `length` and
    /// `label`: means and variances, and the tempo.
    Gtzan57,
    /// Zero-crossing rate, spectral centroid, spectral roll-off, 13 MFCC and 12 chroma classes.
    System3,
    /// Every descriptor of this crate.
    All,
}

/// Means and population variances: what a set is summarised by unless told otherwise.
pub const MEAN_AND_VARIANCE: [Statistic; 2] = [Statistic::Mean, Statistic::Variance];

/// A descriptor over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Column name, such as `mfcc1`.
    pub name: String,
    /// Its values, `[frame]`; see its family in [`crate::descriptors`] for unit and range.
    pub values: Vec<f32>,
}

/// Cepstral coefficients of the sets other than System 3's.
const COEFFICIENTS: usize = 20;

impl FeatureSet {
    /// The set of this name (`gtzan57`, `system3`, `all`), or `None`.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Gtzan57, Self::System3, Self::All].into_iter().find(|set| set.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gtzan57 => "gtzan57",
            Self::System3 => "system3",
            Self::All => "all",
        }
    }

    /// Names of the columns with mean and variance, in order.
    pub fn columns(self) -> Vec<String> {
        self.columns_with(&MEAN_AND_VARIANCE)
    }

    /// Names of the columns with these statistics, in order: `<series>_<statistic>`.
    pub fn columns_with(self, statistics: &[Statistic]) -> Vec<String> {
        let mut out = Vec::new();
        for family in self.families() {
            for name in family.names() {
                if family.is_number() {
                    out.push(name);
                } else {
                    out.extend(statistics.iter().map(|s| format!("{name}_{}", s.name())));
                }
            }
        }
        out
    }

    /// The row of a clip (mono samples, −1…1, at `sample_rate` Hz) with mean and variance; as long
    /// as [`FeatureSet::columns`].
    ///
    /// # Errors
    /// Those of [`Spectra::new`]; for [`FeatureSet::All`] also `TooShort` below 9 frames (4,096
    /// samples) and `Unsupported` at or below 12,800 Hz.
    pub fn compute(self, samples: &[f32], sample_rate: u32) -> Result<Vec<f64>, FeatureError> {
        self.compute_with(samples, sample_rate, &MEAN_AND_VARIANCE)
    }

    /// The row of a clip with these statistics; as long as [`FeatureSet::columns_with`].
    ///
    /// # Errors
    /// As [`FeatureSet::compute`].
    pub fn compute_with(
        self,
        samples: &[f32],
        sample_rate: u32,
        statistics: &[Statistic],
    ) -> Result<Vec<f64>, FeatureError> {
        let clip = Clip::new(samples, sample_rate)?;
        let mut row = Vec::new();
        for family in self.families() {
            match family.values(&clip)? {
                Values::Frames(series) | Values::Pooled(series) => {
                    row.extend(series.iter().flat_map(|values| summarise(values, statistics)));
                }
                Values::Number(value) => row.push(value),
            }
        }
        Ok(row)
    }

    /// The series of a clip with one value a frame (2,048 samples every 512). What has no value a
    /// frame is left out: tempo, the samples of the harmonic and percussive parts, and the chroma
    /// that [`FeatureSet::Gtzan57`] pools over the classes.
    ///
    /// # Errors
    /// As [`FeatureSet::compute`].
    pub fn frames(self, samples: &[f32], sample_rate: u32) -> Result<Vec<Series>, FeatureError> {
        let clip = Clip::new(samples, sample_rate)?;
        let mut out = Vec::new();
        for family in self.families().iter().filter(|f| f.is_by_frame()) {
            if let Values::Frames(series) = family.values(&clip)? {
                out.extend(
                    family
                        .names()
                        .into_iter()
                        .zip(series)
                        .map(|(name, values)| Series { name, values }),
                );
            }
        }
        Ok(out)
    }

    fn families(self) -> &'static [Family] {
        use Family::*;
        match self {
            Self::Gtzan57 => &[
                ChromaPooled,
                Rms,
                Centroid,
                Bandwidth,
                Rolloff,
                ZeroCrossings,
                Separated,
                Tempo,
                Mfcc(COEFFICIENTS),
            ],
            Self::System3 => &[ZeroCrossings, Centroid, Rolloff, Mfcc(13), Chroma],
            Self::All => &[
                Chroma,
                Tonnetz,
                Rms,
                Centroid,
                Bandwidth,
                Rolloff,
                Flatness,
                Contrast,
                ZeroCrossings,
                Onsets,
                Separated,
                Tempo,
                BeatCount,
                Mfcc(COEFFICIENTS),
                MfccDelta(COEFFICIENTS),
            ],
        }
    }
}

/// Columns that are computed together.
#[derive(Clone, Copy)]
enum Family {
    Chroma,
    ChromaPooled,
    Tonnetz,
    Rms,
    Centroid,
    Bandwidth,
    Rolloff,
    Flatness,
    Contrast,
    ZeroCrossings,
    Onsets,
    Separated,
    Tempo,
    BeatCount,
    Mfcc(usize),
    MfccDelta(usize),
}

/// What a family is of one clip.
enum Values {
    /// A value a frame, for each name.
    Frames(Vec<Vec<f32>>),
    /// Values to be summarised that are not one a frame, for each name.
    Pooled(Vec<Vec<f32>>),
    /// One number a clip.
    Number(f64),
}

impl Family {
    fn names(self) -> Vec<String> {
        let one = |name: &str| vec![name.to_string()];
        let many = |name: &str, count: usize| (1..=count).map(|i| format!("{name}{i}")).collect();
        match self {
            Self::Chroma => many("chroma", 12),
            Self::ChromaPooled => one("chroma_stft"),
            Self::Tonnetz => many("tonnetz", 6),
            Self::Rms => one("rms"),
            Self::Centroid => one("spectral_centroid"),
            Self::Bandwidth => one("spectral_bandwidth"),
            Self::Rolloff => one("rolloff"),
            Self::Flatness => one("spectral_flatness"),
            Self::Contrast => many("spectral_contrast", shape::CONTRAST_BANDS),
            Self::ZeroCrossings => one("zero_crossing_rate"),
            Self::Onsets => one("onset_strength"),
            // The published table's own spellings.
            Self::Separated => vec!["harmony".into(), "perceptr".into()],
            Self::Tempo => one("tempo"),
            Self::BeatCount => one("beat_count"),
            Self::Mfcc(count) => many("mfcc", count),
            Self::MfccDelta(count) => many("mfcc_delta", count),
        }
    }

    fn is_number(self) -> bool {
        matches!(self, Self::Tempo | Self::BeatCount)
    }

    fn is_by_frame(self) -> bool {
        !self.is_number() && !matches!(self, Self::Separated | Self::ChromaPooled)
    }

    fn values(self, clip: &Clip) -> Result<Values, FeatureError> {
        let spectra = &clip.spectra;
        let frames = |values: Vec<f32>| Values::Frames(vec![values]);
        Ok(match self {
            Self::Chroma => Values::Frames(bands(clip.chroma())),
            Self::ChromaPooled => Values::Pooled(vec![clip.chroma().data.clone()]),
            Self::Tonnetz => Values::Frames(bands(&pitch::tonnetz(clip.chroma()))),
            Self::Rms => frames(time::rms(spectra)),
            Self::Centroid => frames(clip.centre().centroid.clone()),
            Self::Bandwidth => frames(clip.centre().bandwidth.clone()),
            Self::Rolloff => frames(shape::rolloff(spectra)),
            Self::Flatness => frames(shape::flatness(spectra)),
            Self::Contrast => Values::Frames(bands(&shape::contrast(spectra)?)),
            Self::ZeroCrossings => frames(time::zero_crossing_rate(clip.samples)),
            Self::Onsets => frames(clip.onsets().to_vec()),
            Self::Separated => {
                let parts = separation::separate(spectra);
                Values::Pooled(vec![parts.harmonic, parts.percussive])
            }
            Self::Tempo => Values::Number(clip.beats().tempo),
            Self::BeatCount => Values::Number(clip.beats().frames.len() as f64),
            Self::Mfcc(count) => Values::Frames(bands(&cepstrum::mfcc(clip.mel_decibel(), count)?)),
            Self::MfccDelta(count) => Values::Frames(bands(&cepstrum::delta(&cepstrum::mfcc(
                clip.mel_decibel(),
                count,
            )?)?)),
        })
    }
}

/// The columns of a one-channel map, each `[frame]`.
fn bands(map: &FeatureMap) -> Vec<Vec<f32>> {
    (0..map.bands)
        .map(|band| map.data.iter().skip(band).step_by(map.bands).copied().collect())
        .collect()
}

/// A clip and what several families need of it, computed once.
struct Clip<'a> {
    samples: &'a [f32],
    spectra: Spectra<'a>,
    chroma: OnceCell<FeatureMap>,
    centre: OnceCell<shape::Centre>,
    mel_decibel: OnceCell<FeatureMap>,
    onsets: OnceCell<Vec<f32>>,
    beats: OnceCell<rhythm::Beats>,
}

impl<'a> Clip<'a> {
    fn new(samples: &'a [f32], sample_rate: u32) -> Result<Self, FeatureError> {
        Ok(Self {
            samples,
            spectra: Spectra::new(samples, sample_rate)?,
            chroma: OnceCell::new(),
            centre: OnceCell::new(),
            mel_decibel: OnceCell::new(),
            onsets: OnceCell::new(),
            beats: OnceCell::new(),
        })
    }

    fn chroma(&self) -> &FeatureMap {
        self.chroma.get_or_init(|| pitch::chroma(&self.spectra))
    }

    fn centre(&self) -> &shape::Centre {
        self.centre.get_or_init(|| shape::centre(&self.spectra))
    }

    fn mel_decibel(&self) -> &FeatureMap {
        self.mel_decibel.get_or_init(|| cepstrum::mel_decibel(&self.spectra))
    }

    fn onsets(&self) -> &[f32] {
        self.onsets.get_or_init(|| rhythm::onset_strength(self.mel_decibel()))
    }

    fn beats(&self) -> &rhythm::Beats {
        self.beats.get_or_init(|| rhythm::beat_track(self.onsets(), self.spectra.sample_rate()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_columns_agree() {
        let samples: Vec<f32> =
            (0..30_000).map(|i| ((i * i % 1013) as f32 / 1013.0) - 0.5).collect();
        for set in [FeatureSet::Gtzan57, FeatureSet::System3, FeatureSet::All] {
            assert_eq!(FeatureSet::from_name(set.name()), Some(set));
            let row = set.compute(&samples, 22_050).unwrap();
            assert_eq!(row.len(), set.columns().len());
            assert!(row.iter().all(|x| x.is_finite()));
            let frames = set.frames(&samples, 22_050).unwrap();
            assert!(frames.iter().all(|series| series.values.len() == 59));
            let columns = set.columns_with(&[Statistic::Percentile(10.0)]);
            assert_eq!(
                columns.len(),
                set.compute_with(&samples, 22_050, &[Statistic::Median]).unwrap().len()
            );
            assert!(frames.iter().all(|series| columns.contains(&format!("{}_p10", series.name))));
        }
        assert_eq!(FeatureSet::Gtzan57.columns().len(), 57);
        assert_eq!(FeatureSet::System3.columns().len(), 56);
    }

    #[test]
    fn what_cannot_be_described_is_refused() {
        let error =
            |samples: &[f32], rate| FeatureSet::All.compute(samples, rate).unwrap_err().to_string();
        assert_eq!(error(&[], 22_050), "samples: none found, at least 1 is needed");
        assert_eq!(
            error(&[0.0, f32::NAN], 22_050),
            "samples: sample 1 is NaN, a finite number is needed"
        );
        assert_eq!(error(&[0.0; 100], 22_050), "delta: 1 frames found, a slope needs 9");
        assert_eq!(
            error(&[0.0; 100], 500),
            "sample_rate: 500 Hz asked for, 1000 to 768000 are possible"
        );
    }

    #[test]
    fn shortest_and_silent_clips_have_rows() {
        for samples in [&[0.0f32; 1][..], &[0.3; 1], &[0.0; 5_000], &[0.1; 700]] {
            let row = FeatureSet::Gtzan57.compute(samples, 22_050).unwrap();
            assert!(row.iter().all(|x| x.is_finite()), "{row:?}");
        }
    }
}

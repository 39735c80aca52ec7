//! A classifier of a table of features: learnt from the train side of a split, asked about the test side.

use std::path::Path;

use super::SongClassifier;
use crate::classifiers::{ClassifierRecipe, Rows, train};
use crate::dataset::error::{ErrorKind, Result, TrainError, fault, io};
use crate::dataset::{Dataset, Group, Track};
use taggram_model::classifier::Pipeline;

/// A trained pipeline under the name of its recipe.
pub struct TableClassifier {
    name: String,
    pipeline: Pipeline,
}

impl TableClassifier {
    /// Learns from the rows of the `tracks` of a table. Inner splits (probabilities of support vector
    /// machines) keep the songs of an artist together.
    ///
    /// # Errors
    /// A dataset that is no table of features; those of [`train`].
    pub fn fit(
        name: &str,
        recipe: &ClassifierRecipe,
        dataset: &Dataset,
        tracks: &[usize],
        seed: u64,
    ) -> Result<Self> {
        let mut rows = Rows { columns: dataset.feature_names().len(), ..Rows::default() };
        for &t in tracks {
            let track = &dataset.tracks[t];
            rows.data.extend(dataset.features(track)?.iter().map(|&v| v as f32));
            rows.labels.push(track.genre);
        }
        let mut group_of = vec![0; dataset.len()];
        for (number, group) in dataset.groups(tracks, Group::Artist).into_iter().enumerate() {
            group.into_iter().for_each(|t| group_of[t] = number);
        }
        rows.groups = tracks.iter().map(|&t| group_of[t]).collect();
        let pipeline = train(recipe, &rows, &dataset.genres, seed)?;
        Ok(Self { name: name.to_string(), pipeline })
    }

    /// What was learnt.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }
}

impl SongClassifier for TableClassifier {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn genres(&self) -> &[String] {
        self.pipeline.classes()
    }

    fn predict(&self, dataset: &Dataset, track: &Track) -> Result<Vec<f64>> {
        let row: Vec<f32> = dataset.features(track)?.iter().map(|&v| v as f32).collect();
        let probabilities = self
            .pipeline
            .predict_proba(&row)
            .map_err(|e| TrainError::new(track.id.clone(), ErrorKind::Bug, e.to_string()))?;
        Ok(probabilities.into_iter().map(f64::from).collect())
    }
}

/// Reads a recipe for a table: a [`ClassifierRecipe`] with `[input] kind = "table"`.
///
/// # Errors
/// A file that cannot be read, is no such recipe, or takes another input.
pub fn table_recipe(path: &Path) -> Result<ClassifierRecipe> {
    let text = std::fs::read_to_string(path).map_err(|e| io(path, "read the recipe", &e))?;
    let malformed = |e: toml::de::Error| fault(path, ErrorKind::Malformed, e.to_string());
    let mut recipe: toml::Table = text.parse().map_err(malformed)?;
    // The split and the seed are the evaluation's own.
    recipe.remove("data");
    let input = recipe.remove("input");
    let kind = input.as_ref().and_then(|i| i.get("kind")).and_then(toml::Value::as_str);
    if kind != Some("table") {
        return Err(fault(
            path,
            ErrorKind::Unsupported,
            format!(
                "the recipe takes {}; only a classifier of a table (`[input]` with `kind = \"table\"`) can be learnt within an evaluation",
                kind.map_or("no `[input]`".to_string(), |k| format!("the input `{k}`"))
            ),
        ));
    }
    toml::Value::Table(recipe).try_into().map_err(malformed)
}

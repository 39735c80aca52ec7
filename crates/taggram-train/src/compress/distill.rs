//! A student that learns what models say.
//!
//! The student is a recipe for training like any other; a teacher is a line of its
//! `[data.teachers]`: stored vectors, or `model:NAME`, which is asked about every song. What this
//! adds is the model that is to be compressed, as one more teacher.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use taggram_model::{Answer, Artifact, Storage};

use super::{CompressRecipe, Compressed, sign};
use crate::dataset::Dataset;
use crate::error::TrainError;
use crate::fit::{Progress, RunOptions};
use crate::loss::TeacherLoss;
use crate::recipe::{Recipe, Unlabelled};

/// The usual student, which is no larger than the default model.
const STUDENT: &str = include_str!("student.toml");

/// The `distill` recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Distill {
    /// The student's recipe, a file; empty for the usual one.
    pub student: PathBuf,
    /// How much the model's answers count beside the labels.
    pub weight: f32,
    /// Above 1 the smaller probabilities of genres count more.
    pub temperature: f32,
    /// Songs without labels to learn from too: a feature cache or any folder of audio, relative to
    /// the working folder; empty for none.
    pub unlabelled: String,
    /// Passes over the songs; 0 for the student's own number.
    pub epochs: usize,
}

impl Default for Distill {
    fn default() -> Self {
        Self {
            student: PathBuf::new(),
            weight: 2.0,
            temperature: 2.0,
            unlabelled: String::new(),
            epochs: 0,
        }
    }
}

/// The recipe of the student that learns from the model `teacher` (a name or a file).
///
/// # Errors
/// A student that cannot be read or learns from a teacher of the name `whole` already.
pub fn student(artifact: &Artifact, teacher: &str, recipe: &Distill) -> Result<Recipe, TrainError> {
    let mut student = if recipe.student == Path::new("") {
        Recipe::parse(STUDENT, "the usual student")?
    } else {
        Recipe::load(&recipe.student)?
    };
    let loss = match artifact.description.answer {
        Answer::Genres => {
            TeacherLoss::Kl { weight: recipe.weight, temperature: recipe.temperature }
        }
        Answer::Tags => TeacherLoss::Bce { weight: recipe.weight },
    };
    if student.loss.teachers.insert("whole".into(), loss).is_some() {
        let message = "there is a teacher of this name already; it is that of the model itself";
        return Err(TrainError::malformed("[loss.teachers.whole]", message));
    }
    student.data.teachers.insert("whole".into(), format!("model:{teacher}"));
    if !recipe.unlabelled.is_empty() {
        let teachers = student.data.teachers.iter();
        let teachers = teachers.filter(|(_, source)| source.starts_with("model:"));
        student.data.unlabelled = Some(Unlabelled {
            songs: recipe.unlabelled.clone(),
            teachers: teachers.map(|(name, source)| (name.clone(), source.clone())).collect(),
            patches_per_clip: 1,
        });
    }
    if recipe.epochs > 0 {
        student.fit.epochs = recipe.epochs;
    }
    student.check()?;
    Ok(student)
}

/// Trains the student of `recipe` on `dataset`, taught by the model `teacher` among others.
///
/// # Errors
/// Those of [`student`] and of [`crate::train::train`].
#[allow(clippy::too_many_arguments)]
pub fn distill(
    artifact: &Artifact,
    teacher: &str,
    name: &str,
    dataset: &Dataset,
    recipe: &Distill,
    options: &RunOptions,
    progress: &mut (dyn Progress + Send),
    notice: &mut dyn FnMut(&str),
) -> Result<Compressed, TrainError> {
    let student = student(artifact, teacher, recipe)?;
    let made = crate::train::train(name, &student, dataset, options, progress, notice)?;
    let mut artifact = made.artifact;
    let did = format!("Taught by {teacher}.");
    sign(&mut artifact, &CompressRecipe::Distill(recipe.clone()), &did)?;
    Ok(Compressed { artifact, storage: Storage::F16 })
}

//! Checkpoints: all that is needed to continue a run exactly. One safetensors file, replaced
//! after each epoch by writing beside it and renaming, so that a full disk or a crash leaves the last one.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, View, serialize};
use serde::{Deserialize, Serialize};
use taggram_model::{Tensor, Weights};

use crate::curves::EpochRecord;
use crate::error::TrainError;
use crate::files::write_whole;

/// State of a run after a whole epoch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checkpoint {
    /// Weights and running statistics.
    pub weights: Weights,
    /// Their moving average, when one is kept.
    pub average: Option<Weights>,
    /// Weights of the best epoch so far.
    pub best: Option<Weights>,
    /// Optimiser arrays, `first/<weight>` and `second/<weight>`.
    pub optimiser: Weights,
    /// The rest.
    pub progress: RunProgress,
}

/// How far a run has come. Random numbers follow from seed and position, so there is no other state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunProgress {
    /// What this run is: recipe, network, classes and songs. Another run's checkpoint is refused.
    pub fingerprint: String,
    /// Updates made.
    pub updates: u64,
    /// The finished epochs.
    pub history: Vec<EpochRecord>,
    /// The best of them, 1 = the first; 0 for none yet.
    pub best_epoch: usize,
}

const KEY: &str = "taggram_checkpoint";

impl Checkpoint {
    /// Writes to `path`, whole or not at all.
    ///
    /// # Errors
    /// A file that cannot be written: what was there before is still there.
    pub fn save(&self, path: &Path) -> Result<(), TrainError> {
        let mut tensors: Vec<(String, &Tensor)> = Vec::new();
        let empty = Weights::new();
        let parts = [
            ("weights", &self.weights),
            ("average", self.average.as_ref().unwrap_or(&empty)),
            ("best", self.best.as_ref().unwrap_or(&empty)),
            ("optimiser", &self.optimiser),
        ];
        for (part, weights) in parts {
            tensors.extend(weights.iter().map(|(name, tensor)| (format!("{part}/{name}"), tensor)));
        }
        let progress = serde_json::to_string(&self.progress)
            .map_err(|e| TrainError::malformed("checkpoint", e.to_string()))?;
        let metadata = HashMap::from([(KEY.to_string(), progress)]);
        let views = tensors.iter().map(|(name, tensor)| (name.as_str(), Floats(tensor)));
        let bytes = serialize(views, Some(metadata))
            .map_err(|e| TrainError::malformed("checkpoint", e.to_string()))?;
        write_whole(path, |file| file.write_all(&bytes))
    }

    /// Reads a checkpoint.
    ///
    /// # Errors
    /// A file that cannot be read or is not a checkpoint.
    pub fn load(path: &Path) -> Result<Self, TrainError> {
        let place = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|e| TrainError::io(path, &e))?;
        let malformed = |what: String| {
            TrainError::malformed(
                place.clone(),
                format!("is not a whole checkpoint of a training: {what}"),
            )
        };
        let (_, header) =
            SafeTensors::read_metadata(&bytes).map_err(|e| malformed(e.to_string()))?;
        let progress = header
            .metadata()
            .as_ref()
            .and_then(|m| m.get(KEY))
            .ok_or_else(|| malformed(format!("it has no `{KEY}`")))?;
        let progress = serde_json::from_str(progress).map_err(|e| malformed(e.to_string()))?;
        let mut parts: BTreeMap<&str, Weights> = BTreeMap::new();
        let file = SafeTensors::deserialize(&bytes).map_err(|e| malformed(e.to_string()))?;
        for (name, view) in file.iter() {
            let known = name.split_once('/').and_then(|(part, name)| {
                ["weights", "average", "best", "optimiser"]
                    .into_iter()
                    .find(|p| *p == part)
                    .map(|p| (p, name))
            });
            let (Some((part, key)), Dtype::F32) = (known, view.dtype()) else {
                return Err(malformed(format!("tensor `{name}` does not belong into one")));
            };
            let data = view
                .data()
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect();
            parts
                .entry(part)
                .or_default()
                .insert(key.into(), Tensor::new(view.shape().to_vec(), data));
        }
        Ok(Self {
            weights: parts.remove("weights").unwrap_or_default(),
            average: parts.remove("average"),
            best: parts.remove("best"),
            optimiser: parts.remove("optimiser").unwrap_or_default(),
            progress,
        })
    }
}

/// A tensor as safetensors wants to see it.
struct Floats<'a>(&'a Tensor);

impl View for Floats<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }
    fn shape(&self) -> &[usize] {
        &self.0.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.0.data.iter().flat_map(|v| v.to_le_bytes()).collect())
    }
    fn data_len(&self) -> usize {
        self.0.data.len() * 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        let weights = Weights::from([(
            "a.weight".into(),
            Tensor::new([2, 2], vec![1.0, -2.5, 3.0, f32::MIN_POSITIVE]),
        )]);
        Checkpoint {
            best: Some(weights.clone()),
            optimiser: Weights::from([("first/a.weight".into(), Tensor::zeros([4]))]),
            weights,
            average: None,
            progress: RunProgress {
                fingerprint: "f".into(),
                updates: 9,
                history: Vec::new(),
                best_epoch: 1,
            },
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("last.safetensors");
        checkpoint().save(&path).unwrap();
        assert_eq!(Checkpoint::load(&path).unwrap(), checkpoint());
    }

    #[test]
    fn damaged_files_are_refused_and_a_failed_write_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("last.safetensors");
        checkpoint().save(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        for cut in [0, 7, 40, bytes.len() - 1] {
            let broken = folder.path().join("broken");
            std::fs::write(&broken, &bytes[..cut]).unwrap();
            let error = Checkpoint::load(&broken).unwrap_err().to_string();
            assert!(error.contains("not a whole checkpoint"), "{error}");
        }
        // A folder where the new file should go fails as a full disk does.
        std::fs::create_dir(folder.path().join("last.safetensors.part")).unwrap();
        assert!(checkpoint().save(&path).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("last.safetensors");
        checkpoint().save(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        // What is written to this device fails for lack of space.
        let part = folder.path().join("last.safetensors.part");
        std::os::unix::fs::symlink("/dev/full", &part).unwrap();
        let error = checkpoint().save(&path).unwrap_err().to_string();
        assert!(error.contains("last.safetensors") && error.contains("space"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        assert!(!part.exists());
    }
}

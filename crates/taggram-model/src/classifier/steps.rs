//! What happens to a row before it is classified.

/// Probabilities nearer to 0 or 1 than this count as this near: beyond it a network's answers are noise.
const LEAST: f32 = 1e-4;

/// ln(p / (1 − p)) of a probability, between −9.2 and 9.2; values outside 0…1 count as the nearer of the two.
///
/// On this scale a tag that is ten times as improbable is as far away as one that is ten times as probable.
pub fn log_odds(probability: f32) -> f32 {
    let p = probability.clamp(0.0, 1.0);
    ((p + LEAST) / (1.0 - p + LEAST)).ln()
}

/// Brings every column to mean 0 and deviation 1, as scikit-learn's `StandardScaler`.
#[derive(Clone, Debug, PartialEq)]
pub struct Scaler {
    /// Mean of each column.
    pub mean: Vec<f32>,
    /// Deviation of each column (divisor n); 1 where it is 0.
    pub deviation: Vec<f32>,
}

impl Scaler {
    /// The scaled row.
    pub fn apply(&self, row: &[f32]) -> Vec<f32> {
        row.iter().zip(&self.mean).zip(&self.deviation).map(|((x, m), s)| (x - m) / s).collect()
    }
}

/// Principal components: the directions in which the training rows vary most.
#[derive(Clone, Debug, PartialEq)]
pub struct Pca {
    /// Mean of each column.
    pub mean: Vec<f32>,
    /// `[component, column]`, strongest first; divided by the component's deviation where
    /// the output is whitened.
    pub components: Vec<f32>,
}

impl Pca {
    /// Number of components.
    pub fn outputs(&self) -> usize {
        self.components.len() / self.mean.len().max(1)
    }

    /// The row's place along each component.
    pub fn apply(&self, row: &[f32]) -> Vec<f32> {
        let centred: Vec<f64> =
            row.iter().zip(&self.mean).map(|(x, m)| f64::from(*x) - f64::from(*m)).collect();
        self.components
            .chunks_exact(self.mean.len())
            .map(|c| c.iter().zip(&centred).map(|(c, x)| f64::from(*c) * x).sum::<f64>() as f32)
            .collect()
    }
}

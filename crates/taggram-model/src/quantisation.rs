//! What integer arithmetic needs to know of a network beyond its weights: the ranges of its values.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::kernels::int8::Params;
use crate::network::Network;
use crate::shapes::NetworkError;

/// Ranges of values, found on calibration data. A value without a range stays a float, and so does
/// what reads it: that is how layers are left out of integer arithmetic.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantisation {
    /// `[low, high]` of inputs and nodes, by name.
    pub ranges: BTreeMap<String, [f32; 2]>,
    /// For musicnn's whole-song path: the largest absolute value of each of the 96 numbers of a
    /// frame's spectrum ([`crate::musicnn`]).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spectrum: Vec<f32>,
}

impl Quantisation {
    /// How bytes stand for the values of `name`, if it has a range.
    pub fn params(&self, name: &str) -> Option<Params> {
        self.ranges.get(name).and_then(|range| Params::new(*range))
    }

    /// Holds the ranges against the network.
    ///
    /// # Errors
    /// A range of something the network does not have, or one that is no range.
    pub fn check(&self, network: &Network) -> Result<(), NetworkError> {
        let known = |name: &str| {
            network.inputs.iter().any(|i| i.name == name)
                || network.nodes.iter().any(|n| n.name == name)
        };
        for (name, range) in &self.ranges {
            let place = || format!("range of `{name}`");
            if !known(name) {
                return Err(NetworkError::malformed(
                    place(),
                    "the network has no node or input of this name",
                ));
            }
            if !range.iter().all(|v| v.is_finite()) || Params::new(*range).is_none() {
                return Err(NetworkError::malformed(
                    place(),
                    format!("{range:?} is no range of numbers"),
                ));
            }
        }
        let sound = |v: &f32| v.is_finite() && *v > 0.0;
        if !self.spectrum.iter().all(sound) || ![0, 96].contains(&self.spectrum.len()) {
            return Err(NetworkError::malformed(
                "quantisation",
                format!(
                    "the spectrum has {} limits, which must be none or 96 numbers above 0",
                    self.spectrum.len()
                ),
            ));
        }
        Ok(())
    }
}

//! The networks of the published systems and our own, each a function from sizes to a description.

pub mod compact;
pub mod musicnn;
pub mod vgg_musicnn;

use serde::{Deserialize, Serialize};

use crate::{Network, NetworkBuilder};

pub use compact::Compact;
pub use musicnn::{MusicnnSize, musicnn};
pub use vgg_musicnn::vgg_musicnn;

/// Which network, with its sizes: the `[model]` table of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "architecture", rename_all = "kebab-case")]
pub enum Architecture {
    /// The network of the default model.
    Compact(Compact),
}

/// What a network answers: the genres, and while training whatever teachers it imitates.
#[derive(Clone, Debug, PartialEq)]
pub struct Heads {
    /// Number of genres; their logits are the output `logits`.
    pub classes: usize,
    /// Further outputs by name and size, each a dense layer on the last layer before `logits`.
    pub auxiliary: Vec<(String, usize)>,
}

impl Heads {
    /// Ends a network in its heads: dense layers side by side on the last node.
    pub fn append(&self, builder: NetworkBuilder) -> Network {
        let trunk = builder.last().to_string();
        let mut builder = builder.dense("logits", self.classes);
        let mut outputs = vec!["logits"];
        for (name, size) in &self.auxiliary {
            builder = builder.at(&trunk).dense(name, *size);
            outputs.push(name);
        }
        builder.build_with(&outputs)
    }
}

impl Architecture {
    /// The network for patches of shape `[channel, time, band]`.
    pub fn build(&self, input: [usize; 3], heads: &Heads) -> Network {
        match self {
            Self::Compact(sizes) => sizes.build(input, heads),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compact_is_compact() {
        let sizes =
            Compact { stem: 16, blocks: vec![40, 80], columns: 192, embedding: 128, dropout: 0.2 };
        let heads = Heads { classes: 10, auxiliary: vec![("tags".into(), 50)] };
        let network = Architecture::Compact(sizes).build([1, 128, 128], &heads);
        let shapes = network.shapes().unwrap();
        assert_eq!(shapes["logits"], [10]);
        assert_eq!(shapes["tags"], [50]);
        // Five patches in 30 s: the whole clip stays below 0.3 GMAC.
        let lean = network.with_outputs(&["logits"]).unwrap();
        assert!(5 * lean.macs().unwrap() < 300_000_000, "{} MAC", lean.macs().unwrap());
    }
}

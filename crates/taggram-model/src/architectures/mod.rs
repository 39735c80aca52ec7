//! The networks of the published systems and our own, each a function from sizes to a description.

pub mod chunk_cnn;
pub mod compact;
pub mod crnn;
pub mod musicnn;
pub mod plain_cnn;
pub mod resnet18;
pub mod series;
pub mod vgg16;
pub mod vgg_musicnn;

use serde::{Deserialize, Serialize};

use crate::{Network, NetworkBuilder};

pub use chunk_cnn::ChunkCnn;
pub use compact::Compact;
pub use crnn::Crnn;
pub use musicnn::{MusicnnSize, MusicnnTrunk, Temporal, Timbral, musicnn};
pub use plain_cnn::PlainCnn;
pub use resnet18::Resnet18;
pub use series::{Lstm, Multimodal};
pub use vgg_musicnn::vgg_musicnn;
pub use vgg16::Vgg16;

/// Which network, with its sizes: the `[model]` table of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "architecture", rename_all = "kebab-case")]
pub enum Architecture {
    /// The network of the default model.
    Compact(Compact),
    /// System 0.
    Vgg16(Vgg16),
    /// System 1.
    ChunkCnn(ChunkCnn),
    /// System 1's outlook.
    Crnn(Crnn),
    /// System 2's picture network.
    Resnet18(Resnet18),
    /// System 2's network on a series.
    Lstm(Lstm),
    /// System 2's picture and series together.
    Multimodal(Multimodal),
    /// System 2's network on MFCC segments and System 3's on mel frames.
    PlainCnn(PlainCnn),
    /// System 4.
    Musicnn(MusicnnTrunk),
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
            Self::Vgg16(sizes) => sizes.build(input, heads),
            Self::ChunkCnn(sizes) => sizes.build(input, heads),
            Self::Crnn(sizes) => sizes.build(input, heads),
            Self::Resnet18(sizes) => sizes.build(input, heads),
            Self::Lstm(sizes) => sizes.build(input, heads),
            Self::Multimodal(sizes) => sizes.build(input, heads),
            Self::PlainCnn(sizes) => sizes.build(input, heads),
            Self::Musicnn(sizes) => sizes.build(input, heads),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;

//! Networks as data, the engine that runs them, model artifacts, and the answers they give.
pub mod architectures;
pub mod artifact;
pub mod builder;
pub mod classifier;
pub mod engine;
pub mod familiarity;
pub mod kernels;
pub mod musicnn;
pub mod network;
pub mod onnx;
pub mod shapes;
pub mod statistics;
pub mod taggram;
pub mod tensor;
pub mod verdict;

pub use artifact::{
    Answer, Artifact, ArtifactError, ArtifactErrorKind, Body, Description, Over, Storage,
};
pub use builder::NetworkBuilder;
pub use engine::Engine;
pub use familiarity::Familiarity;
pub use network::{Activation, Input, Network, Node, Op, PoolKind};
pub use shapes::{Init, NetworkError, NetworkErrorKind, WeightSpec};
pub use taggram::Taggram;
pub use tensor::{Tensor, Weights};
pub use verdict::{Calibration, Decide, Verdict, decide};

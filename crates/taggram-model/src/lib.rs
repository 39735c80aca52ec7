//! Networks as data, the engine that runs them, model artifacts, and the answers they give.
pub mod network;
pub mod tensor;

pub use network::{Activation, Input, Network, Node, Op, PoolKind};
pub use tensor::{Tensor, Weights};

//! Networks as data, the engine that runs them, model artifacts, and the answers they give.
pub mod builder;
pub mod network;
pub mod shapes;
pub mod tensor;

pub use builder::NetworkBuilder;
pub use network::{Activation, Input, Network, Node, Op, PoolKind};
pub use shapes::{Init, NetworkError, NetworkErrorKind, WeightSpec};
pub use tensor::{Tensor, Weights};

//! Datasets, training and evaluation: everything that teaches a network or a classifier, and
//! everything that says how good it is. Nothing that only listens needs this crate.
pub mod dataset;
pub mod error;
pub mod evaluate;
pub mod grad;
pub mod metrics;
pub mod npy;
pub mod report;
pub mod rng;

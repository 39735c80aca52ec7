//! Datasets, training and evaluation: everything that teaches a network or a classifier, and
//! everything that says how good it is. Nothing that only listens needs this crate.
pub mod augment;
pub mod checkpoint;
pub mod classifiers;
pub mod compress;
pub mod curves;
pub mod dataset;
pub mod error;
pub mod evaluate;
pub mod familiarity;
pub mod files;
pub mod fit;
pub mod grad;
mod init;
pub mod loss;
pub mod metrics;
pub mod npy;
pub mod optim;
pub mod recipe;
pub mod report;
pub mod rng;
pub mod schedule;
pub mod segments;
pub mod train;
pub mod train_classifier;

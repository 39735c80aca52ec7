//! One file a command: each turns what was typed into calls of the library.

mod classify;
pub mod compare;
pub mod compress;
pub mod convert;
pub mod dataset;
mod evaluate;
pub mod evaluate_recipe;
pub mod export;
pub mod features;
pub mod hls;
pub mod library;
pub mod model;
pub mod scan;
pub mod serve;
mod show;
pub mod similar;
pub mod stats;
pub mod submit;
pub mod tag;
pub mod tags;
pub mod train;
pub mod worker;

use crate::Outcome;
use crate::args::Command;

pub fn run(command: Command) -> anyhow::Result<Outcome> {
    match command {
        Command::Classify(arguments) => classify::run(&arguments),
        Command::Show(arguments) => show::run(&arguments),
        Command::Train(arguments) => train::run(&arguments),
        Command::Compress(arguments) => compress::run(&arguments),
        Command::Tags(arguments) => tags::run(&arguments),
        Command::Model(arguments) => model::run(&arguments),
        Command::Evaluate(arguments) => evaluate::run(&arguments),
        Command::Compare(arguments) => compare::run(&arguments),
        Command::Features(arguments) => features::run(&arguments),
        Command::Similar(arguments) => similar::run(&arguments),
        Command::Dataset(arguments) => dataset::run(&arguments),
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Convert(arguments) => convert::run(&arguments),
        Command::Scan(arguments) => scan::run(&arguments),
        Command::Tag(arguments) => tag::run(&arguments),
        Command::Export(arguments) => export::run(&arguments),
        Command::Stats(arguments) => stats::run(&arguments),
        Command::Submit(arguments) => submit::run(&arguments),
        Command::Worker(arguments) => worker::run(&arguments),
        Command::Hls(arguments) => hls::run(&arguments),
    }
}

//! One file a command: each turns what was typed into calls of the library.

mod classify;
mod evaluate;
mod show;
mod train;

use crate::Outcome;
use crate::args::Command;

pub fn run(command: Command) -> anyhow::Result<Outcome> {
    match command {
        Command::Classify(arguments) => classify::run(&arguments),
        Command::Show(arguments) => show::run(&arguments),
        Command::Train(arguments) => train::run(&arguments),
        Command::Evaluate(arguments) => evaluate::run(&arguments),
    }
}

//! The binary `taggram`: arguments in, calls of the library, output out.

mod args;
mod commands;

mod output;

mod work;

use std::process::ExitCode;

use clap::Parser;

/// Everything was done.
const DONE: u8 = 0;
/// Some file failed; the others are done.
const SOME_FAILED: u8 = 1;
/// Wrong usage, no model, or nothing could be begun.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments = args::Arguments::parse();
    match commands::run(arguments.command) {
        Ok(Outcome::Done) => ExitCode::from(DONE),
        Ok(Outcome::SomeFailed) => ExitCode::from(SOME_FAILED),
        Err(error) if is_broken_pipe(&error) => ExitCode::from(DONE),
        Err(error) => {
            eprintln!("taggram: {error:#}");
            ExitCode::from(USAGE)
        }
    }
}

/// How a command that could be begun has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    SomeFailed,
}

/// The reader of our output has gone (`taggram … | head`): nothing more to say, and no fault.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

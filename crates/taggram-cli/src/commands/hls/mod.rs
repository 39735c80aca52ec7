//! `taggram hls`: music over HTTP Live Streaming, served and heard.

mod incoming;
mod listen;
mod origin;

use clap::{Args, Subcommand};

use crate::Outcome;

#[derive(Debug, Args)]
pub struct HlsArguments {
    #[command(subcommand)]
    command: HlsCommand,
}

#[derive(Debug, Subcommand)]
enum HlsCommand {
    /// Serve a folder of music as HLS, track by track and as a radio
    Origin(origin::Serve),
    /// Classify a stream while it comes: HLS, a file over HTTP, Internet radio
    Listen(listen::Hear),
}

pub fn run(arguments: &HlsArguments) -> anyhow::Result<Outcome> {
    match &arguments.command {
        HlsCommand::Origin(arguments) => origin::run(arguments),
        HlsCommand::Listen(arguments) => listen::run(arguments),
    }
}

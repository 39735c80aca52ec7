//! `taggram submit`: a listing of tracks as jobs for workers, and how they stand.

use std::io::{BufReader, Write, stdin, stdout};
use std::path::Path;

use clap::Args;
use taggram_fleet::{
    FleetError, Listing, Queue, Run, Stores, Submission, dead_letters, status, submit,
};

use crate::Outcome;

/// Which broker, and which run.
#[derive(Args, Clone, Debug)]
pub struct Broker {
    /// NATS with JetStream: nats://[USER:PASSWORD@]HOST[:PORT], or tls://; several are separated by commas
    #[arg(long, value_name = "URL", env = "TAGGRAM_QUEUE", hide_env_values = true)]
    pub queue: String,
    /// Name of the run: what is submitted together and becomes one result
    #[arg(long, value_name = "NAME", default_value = "tracks")]
    pub run: Run,
    /// Servers that keep each stream, when this command makes it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=5))]
    pub replicas: u8,
}

/// Arguments of `taggram submit`.
#[derive(Args, Debug)]
pub struct Submit {
    /// Tracks: a text file with one path or address a line, `-` for standard input, a folder, or an
    /// address in a store such as s3://bucket/prefix/, whose audio is listed
    #[arg(value_name = "LISTING", required_unless_present_any = ["status", "dead_letters"])]
    listing: Option<String>,
    #[command(flatten)]
    broker: Broker,
    /// Tracks in a job, and in a part of the result
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u16).range(1..=16384))]
    batch: u16,
    /// Send all jobs again, for a broker that lost some; what is done is not done again
    #[arg(long)]
    again: bool,
    /// Only tell how the run stands, as one JSON object
    #[arg(long, conflicts_with_all = ["listing", "dead_letters"])]
    status: bool,
    /// Only write the dead letters, one JSON object a line: tracks without an answer, and why
    #[arg(long, conflicts_with = "listing")]
    dead_letters: bool,
}

pub fn run(arguments: &Submit) -> anyhow::Result<Outcome> {
    taggram_fleet::run(async {
        let broker = &arguments.broker;
        let queue = Queue::open(&broker.queue, &broker.run, broker.replicas.into()).await?;
        if arguments.status {
            return say(&status(&queue).await?);
        }
        if arguments.dead_letters {
            return dead_letters(&queue, |letter| say(&letter)).await;
        }
        let name = arguments.listing.as_deref().unwrap_or("-");
        let listing = if name == "-" {
            Listing::of_lines(BufReader::new(stdin()), "standard input")?
        } else if name.contains("://") {
            Listing::of_store(name, &Stores::default()).await?
        } else {
            Listing::of_path(Path::new(name))?
        };
        let repeated = match listing.repeated() {
            0 => String::new(),
            n => format!(" ({n} lines named one of them again)"),
        };
        let how = Submission { batch: arguments.batch.into(), again: arguments.again };
        let submitted = submit(&queue, listing, how).await?;
        let run = broker.run.name();
        if submitted.jobs == 0 {
            eprintln!(
                "{} tracks{repeated}: all were submitted to {run} before; --again sends them once more",
                submitted.tracks
            );
        } else {
            eprintln!("{} tracks{repeated} in {} jobs of {run}", submitted.tracks, submitted.jobs);
        }
        Ok(())
    })?;
    Ok(Outcome::Done)
}

/// A line of JSON. Whoever reads may have seen enough.
fn say(value: &impl serde::Serialize) -> Result<(), FleetError> {
    let text = serde_json::to_string(value).unwrap_or_default();
    if writeln!(stdout(), "{text}").is_err() {
        std::process::exit(0);
    }
    Ok(())
}

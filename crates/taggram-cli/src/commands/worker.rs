//! `taggram worker`: one of many that do the jobs of a run.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use taggram_fleet::{Options, Out, Queue, Stores, work};
use taggram_library::{Analyst, Listening};

use super::submit::Broker;
use crate::Outcome;
use crate::work::{processors, stop_on_signal};

/// Arguments of `taggram worker`.
#[derive(Args, Debug)]
pub struct Worker {
    #[command(flatten)]
    broker: Broker,
    /// Where the result goes: a folder, file:///folder or s3://bucket/prefix (gs, az, https alike). Its parts
    /// are NAME/part-….parquet
    #[arg(long, value_name = "URL")]
    out: String,
    /// Model: a name (`taggram model list`) or a .safetensors file
    #[arg(long, value_name = "NAME|FILE", default_value = taggram::DEFAULT_NAME)]
    model: String,
    /// Listen to all of each track, not to three windows spread over it
    #[arg(long)]
    thorough: bool,
    /// Name the nearest genre even of tracks that the model does not know
    #[arg(long)]
    nearest: bool,
    /// Tracks to listen to at once [default: one a processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// Largest track, MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=65536))]
    max_size: u32,
    /// Longest track, minutes of decoded audio
    #[arg(long, value_name = "MINUTES", default_value_t = 1440, value_parser = clap::value_parser!(u16).range(1..=1440))]
    max_length: u16,
    /// Memory for tracks that came over a network and wait, MiB
    #[arg(long, value_name = "MIB", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=65536))]
    max_memory: u32,
    /// Address on which to serve Prometheus metrics; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT")]
    metrics: Option<SocketAddr>,
    /// A job whose worker is silent for so long is given to another, seconds (the first worker of a run decides)
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=3600))]
    patience: u16,
    /// After SIGTERM, longest time to finish the jobs in hand, seconds; then others get them
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(0..=3600))]
    drain: u16,
    /// End when nothing is left to do and no other worker has a job
    #[arg(long)]
    until_empty: bool,
}

pub fn run(arguments: &Worker) -> anyhow::Result<Outcome> {
    let listening = if arguments.thorough { Listening::Thorough } else { Listening::Spread };
    let mut limits = taggram::Limits::default();
    limits.max_bytes = u64::from(arguments.max_size) << 20;
    limits.max_seconds = f64::from(arguments.max_length) * 60.0;
    let mut analyst = Analyst::new(&arguments.model, listening)?.with_limits(limits);
    if arguments.nearest {
        analyst = analyst.naming_the_nearest();
    }
    let options = Options {
        jobs: arguments.jobs.map_or_else(processors, usize::from),
        max_memory: u64::from(arguments.max_memory) << 20,
        patience: Duration::from_secs(arguments.patience.into()),
        drain: Duration::from_secs(arguments.drain.into()),
        until_empty: arguments.until_empty,
        metrics: arguments.metrics,
    };
    let stop = stop_on_signal("finishing the jobs in hand. Once more to quit at once")?;
    let broker = &arguments.broker;
    let done = taggram_fleet::run(async {
        let stores = Stores::default();
        let out = Out::open(&arguments.out, &broker.run, &stores)?;
        let queue = Queue::open(&broker.queue, &broker.run, broker.replicas.into()).await?;
        let tell = Arc::new(|line: &str| eprintln!("taggram: {line}"));
        work(queue, out, analyst, stores, &options, stop, tell).await
    })?;
    let mut said = vec![
        format!("{} tracks heard", done.heard),
        format!("{} without an answer", done.failed),
        format!("{} parts written", done.written),
    ];
    for (count, what) in
        [(done.found_done, "jobs found done"), (done.given_back, "jobs given back")]
    {
        if count > 0 {
            said.push(format!("{count} {what}"));
        }
    }
    eprintln!("{}", said.join(" · "));
    Ok(Outcome::Done)
}

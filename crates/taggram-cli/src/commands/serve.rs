//! `taggram serve`: the service and its page.

use std::io::Write;
use std::time::Duration;

use clap::Args;
use taggram_serve::{Config, Service};

use crate::Outcome;

/// Arguments of `taggram serve`.
#[derive(Args, Debug)]
pub struct Serve {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:5000")]
    addr: String,
    /// Only ask the service at this address whether it lives (exit status 0 or 1): for health checks
    #[arg(long, value_name = "HOST:PORT")]
    check: Option<String>,
    /// Models that answer, the first where a request names none: a name (`taggram model list`) or a .safetensors file
    #[arg(long, value_name = "NAME|FILE", default_value = taggram::DEFAULT_NAME)]
    model: Vec<String>,
    /// Songs to listen to at once [default: one a processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// Songs that may wait or be listened to; one more is told 503 at once
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..=8192))]
    queue: u16,
    /// Songs that one address may have under way; one more is told 429 at once [default: no bound]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=8192))]
    per_client: Option<u16>,
    /// Largest body, MiB
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096))]
    max_size: u16,
    /// Longest song, minutes of decoded audio
    #[arg(long, value_name = "MINUTES", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=1440))]
    max_length: u16,
    /// Memory for the bodies of all songs together, MiB
    #[arg(long, value_name = "MIB", default_value_t = 192, value_parser = clap::value_parser!(u32).range(1..=65536))]
    max_memory: u32,
    /// Longest time to wait for a body, seconds; a pause within it may last a twelfth of that
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u16).range(1..=3600))]
    timeout: u16,
    /// After SIGTERM, longest time to finish what was begun, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=3600))]
    drain: u16,
    /// Key that clients must show (Authorization: Bearer KEY)
    #[arg(long, value_name = "KEY", env = "TAGGRAM_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
    /// Origin whose pages may use the service from a browser, such as https://example.org; `*` for all
    #[arg(long, value_name = "ORIGIN")]
    cors: Vec<String>,
}

pub fn run(arguments: &Serve) -> anyhow::Result<Outcome> {
    if let Some(address) = &arguments.check {
        return Ok(match taggram_serve::check(address) {
            Ok(()) => Outcome::Done,
            Err(error) => {
                eprintln!("taggram: {address}: {error}");
                Outcome::SomeFailed
            }
        });
    }
    let key = arguments.api_key.clone().filter(|key| !key.is_empty());
    let defaults = Config::default();
    let receive = Duration::from_secs(arguments.timeout.into());
    let config = Config {
        cores: arguments.jobs.map_or(defaults.cores, usize::from),
        queue: arguments.queue.into(),
        per_client: arguments.per_client.map(usize::from),
        streams: defaults.streams.min(arguments.queue.into()),
        max_bytes: u64::from(arguments.max_size) << 20,
        max_seconds: f64::from(arguments.max_length) * 60.0,
        max_memory: u64::from(arguments.max_memory) << 20,
        receive,
        idle: receive / 12,
        drain: Duration::from_secs(arguments.drain.into()),
        api_key: key,
        cors: arguments.cors.clone(),
        ..defaults
    };
    let models =
        arguments.model.iter().map(|name| taggram::model(name)).collect::<Result<_, _>>()?;
    let service = Service::new(models, config)?;
    taggram_serve::run(&arguments.addr, service, |address| {
        tell(&format!("listening on http://{address}"));
    })?;
    tell("every request that was accepted is answered");
    Ok(Outcome::Done)
}

/// A line for whoever watches; a service goes on when nobody does.
fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "taggram: {line}");
}

//! `taggram hls origin`: a folder of music as HLS.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};
use taggram::Limits;
use taggram_hls::origin::{Library, Origin, OriginOptions, serve};
use taggram_hls::segment::{CutOptions, Packaging};
use taggram_library as files;

use crate::{Outcome, work};

#[derive(Debug, Args)]
pub struct Serve {
    /// Folder of music
    #[arg(value_name = "LIBRARY")]
    library: PathBuf,
    /// Address and port to serve at; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    addr: String,
    /// Longest segment in seconds
    #[arg(long, value_name = "SECONDS", default_value = "6", value_parser = seconds)]
    segment: f64,
    /// What MP3 is put in
    #[arg(long, value_enum, default_value_t = Mp3In::Ts)]
    mp3: Mp3In,
    /// Folder for segments while the program runs [default: the system's temporary folder]
    #[arg(long, value_name = "FOLDER")]
    cache: Option<PathBuf>,
    /// Most MiB of segments to keep
    #[arg(long, value_name = "MIB", default_value_t = 4096)]
    cache_mib: u64,
    /// Do not serve the radio at /live/master.m3u8
    #[arg(long)]
    no_live: bool,
    /// Folder with a page to serve at /
    #[arg(long, value_name = "FOLDER")]
    page: Option<PathBuf>,
    /// Most connections at once
    #[arg(long, value_name = "N", default_value_t = 8192,
          value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// Close connections on which nothing moves for as many seconds
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    idle: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mp3In {
    /// MPEG-TS, which every player takes
    Ts,
    /// Its own frames behind a timestamp: less to send, not for every player
    Packed,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.5..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("not a number of seconds from 0.5 to 3600".into()),
    }
}

pub fn run(arguments: &Serve) -> anyhow::Result<Outcome> {
    let mut found = Vec::new();
    for file in files::find(std::slice::from_ref(&arguments.library)) {
        match file {
            Ok(path) => found.push(path),
            Err((path, why)) => eprintln!("taggram: {}: {why}", path.display()),
        }
    }
    let (library, left_out) = Library::new(&arguments.library, &found)?;
    for error in left_out {
        eprintln!("taggram: {error}");
    }
    if library.tracks().is_empty() {
        anyhow::bail!("there is no audio file in {}", arguments.library.display());
    }
    let options = OriginOptions {
        cut: CutOptions {
            segment_s: arguments.segment,
            mp3: match arguments.mp3 {
                Mp3In::Ts => Packaging::Ts,
                Mp3In::Packed => Packaging::Packed,
            },
            limits: Limits::default(),
        },
        cache: arguments.cache.clone(),
        cache_bytes: arguments.cache_mib << 20,
        live: !arguments.no_live,
        page: arguments.page.clone(),
        connections: arguments.connections as usize,
        idle_s: arguments.idle,
    };
    let origin = Origin::new(library, options)?;
    open_files(arguments.connections);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(work::processors())
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(&arguments.addr)
            .await
            .with_context(|| format!("{} cannot be listened at", arguments.addr))?;
        // The address is the result: a program that starts this one reads it.
        println!("http://{}/", listener.local_addr()?);
        eprintln!(
            "taggram: {} tracks, listed at /index.json{}; Ctrl-C ends",
            origin.library().tracks().len(),
            if arguments.no_live { "" } else { "; the radio is at /live/master.m3u8" }
        );
        serve(origin.clone(), listener, stopped()).await?;
        eprintln!("taggram: {}", origin.stats().to_json());
        anyhow::Ok(())
    })?;
    Ok(Outcome::Done)
}

/// Each connection is an open file, and systems let a program open about a thousand unless it asks.
fn open_files(connections: u32) {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let wanted = 2 * u64::from(connections) + 64;
        let limit = getrlimit(Resource::Nofile);
        let allowed = limit.maximum.map_or(wanted, |most| most.min(wanted));
        if limit.current.is_some_and(|now| now < allowed) {
            let new = Rlimit { current: Some(allowed), maximum: limit.maximum };
            // Without it there is room for fewer, which is not worth failing for.
            let _ = setrlimit(Resource::Nofile, new);
        }
    }
    #[cfg(not(unix))]
    let _ = connections;
}

/// Comes when the program is asked to end: Ctrl-C, or what service managers send.
async fn stopped() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    // Without a way to hear of it there is nothing to wait for but the end of the process.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

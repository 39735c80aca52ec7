//! `taggram convert`: any audio in, WAV or FLAC out; sample-exact where nothing is resampled.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use taggram_audio::encode::{FlacWriter, WavFormat, WavWriter};
use taggram_audio::{AudioError, AudioReader, Limits, Resampler, ResamplingKind};
use taggram_train::files::write_whole;

use crate::Outcome;
use crate::work::{in_order, processors, progress_bar};
use taggram_library as files;

#[derive(Debug, Args)]
pub struct Convert {
    /// Audio files, and folders to search for them
    #[arg(required = true, value_name = "IN")]
    pub paths: Vec<PathBuf>,
    /// Folder for the results; the folders below each IN are kept
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Form of the results
    #[arg(long, value_enum, default_value_t = To::Wav)]
    pub to: To,
    /// Sample rate of the results, Hz [default: each file's own]
    #[arg(long, value_name = "HZ", value_parser = clap::value_parser!(u32).range(1000..=768_000))]
    pub rate: Option<u32>,
    /// Average the channels
    #[arg(long)]
    pub mono: bool,
    /// Write over what is there already
    #[arg(long)]
    pub force: bool,
    /// Files to work on at once [default: one a processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
}

/// Form of the results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum To {
    /// 16 or 24 bits where the source has integers, else 32-bit floats
    Wav,
    /// 16 or 24 bits
    Flac,
}

/// A file and where its conversion goes, or why it cannot be converted.
struct Job {
    source: PathBuf,
    target: Result<PathBuf, String>,
}

pub fn run(arguments: &Convert) -> anyhow::Result<Outcome> {
    let plan = plan(arguments);
    if plan.is_empty() {
        anyhow::bail!("there is no audio file in {}", files::display(&arguments.paths));
    }
    let jobs = arguments.jobs.map_or_else(processors, usize::from).min(plan.len());
    let bar = progress_bar(plan.len());
    let mut failed = 0usize;
    in_order(
        &plan,
        jobs,
        |job| {
            let done = catch_unwind(AssertUnwindSafe(|| convert(job, arguments)));
            (job, done.unwrap_or_else(|_| Err("a bug: its conversion panicked".into())))
        },
        |(job, done)| {
            bar.inc(1);
            let say = |what: &str| {
                bar.suspend(|| eprintln!("taggram: {}: {what}", job.source.display()));
            };
            match done {
                Ok(warnings) => warnings.iter().for_each(|w| say(w)),
                Err(why) => {
                    failed += 1;
                    say(&why);
                }
            }
            Ok(())
        },
    )?;
    bar.finish_and_clear();
    if failed > 0 && plan.len() > 1 {
        eprintln!("taggram: {failed} of {} failed", plan.len());
    }
    Ok(if failed == 0 { Outcome::Done } else { Outcome::SomeFailed })
}

fn plan(arguments: &Convert) -> Vec<Job> {
    let ending = if arguments.to == To::Wav { "wav" } else { "flac" };
    let mut plan: Vec<Job> = Vec::new();
    let mut taken: HashMap<PathBuf, PathBuf> = HashMap::new();
    for typed in &arguments.paths {
        for found in files::find(std::slice::from_ref(typed)) {
            let (source, mut target) = match found {
                Err((path, why)) => (path, Err(why)),
                Ok(path) => {
                    let below = path.strip_prefix(typed).ok().filter(|p| p.file_name().is_some());
                    let below = below.map_or_else(
                        || path.file_name().map(PathBuf::from).unwrap_or_default(),
                        Path::to_path_buf,
                    );
                    let target = Ok(arguments.out.join(below).with_extension(ending));
                    (path, target)
                }
            };
            if let Ok(path) = &target {
                let before = taken.get(path).map(|other| other.display().to_string());
                match before {
                    Some(other) => {
                        target = Err(format!("{} is what {other} becomes already", path.display()));
                    }
                    None => drop(taken.insert(path.clone(), source.clone())),
                }
            }
            plan.push(Job { source, target });
        }
    }
    plan
}

/// Converts one file and gives what should be known of it.
fn convert(job: &Job, how: &Convert) -> Result<Vec<String>, String> {
    let target = job.target.as_ref().map_err(Clone::clone)?;
    if target.exists() {
        let same =
            matches!((target.canonicalize(), job.source.canonicalize()), (Ok(a), Ok(b)) if a == b);
        if same {
            return Err(format!("{} is the source itself", target.display()));
        }
        if !how.force {
            return Err(format!("{} exists already; --force writes over it", target.display()));
        }
    }
    let place = format!("{}: ", job.source.display());
    let plain = |e: AudioError| {
        let text = e.to_string();
        text.strip_prefix(&place).map(String::from).unwrap_or(text)
    };
    let depth = depth(&job.source).map_err(plain)?;
    let mut reader = AudioReader::open(&job.source, &Limits::default()).map_err(plain)?;
    if let Some(folder) = target.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|e| format!("the folder {} could not be made: {e}", folder.display()))?;
    }
    let mut unreadable = None;
    let written = write_whole(target, |file| {
        copy(&mut reader, file, how, depth).map_err(|e| match e {
            Fault::Audio(e) => {
                unreadable = Some(plain(e));
                io::Error::other("the source could not be read")
            }
            Fault::Sink(e) => e,
        })
    });
    match (unreadable, written) {
        (Some(why), _) => Err(why),
        (None, Err(e)) => Err(e.to_string()),
        (None, Ok(())) => {
            let mut warnings = reader.warnings().to_vec();
            if how.to == To::Flac && depth == WavFormat::Float32 {
                warnings
                    .push("its samples are no 16- or 24-bit integers: rounded to 24 bits".into());
            }
            Ok(warnings)
        }
    }
}

/// The smallest form that holds every sample of a source as it is.
fn depth(source: &Path) -> Result<WavFormat, AudioError> {
    let mut reader = AudioReader::open(source, &Limits::default())?;
    let codec = reader.format().codec.clone();
    let is = |names: &[&str]| names.iter().any(|n| codec.starts_with(n));
    if is(&["pcm_s16", "pcm_u8", "pcm_s8", "pcm_alaw", "pcm_mulaw"]) {
        return Ok(WavFormat::Int16);
    }
    if is(&["pcm_s24"]) {
        return Ok(WavFormat::Int24);
    }
    if !is(&["flac", "alac", "pcm_u16", "pcm_u24"]) {
        return Ok(WavFormat::Float32);
    }
    // These codecs hold integers of a size that only the samples themselves tell for sure.
    let mut depth = WavFormat::Int16;
    while let Some(block) = reader.next_block_channels()? {
        let whole = |bits: i32| {
            let scale = f64::from(1u32 << (bits - 1));
            block.iter().all(|&x| (f64::from(x) * scale).fract() == 0.0)
        };
        if depth == WavFormat::Int16 && !whole(16) {
            depth = WavFormat::Int24;
        }
        if depth == WavFormat::Int24 && !whole(24) {
            return Ok(WavFormat::Float32);
        }
    }
    Ok(depth)
}

enum Fault {
    Audio(AudioError),
    Sink(io::Error),
}

impl From<io::Error> for Fault {
    fn from(e: io::Error) -> Self {
        Self::Sink(e)
    }
}

/// Where a conversion is written.
type Sink<'f> = &'f mut BufWriter<File>;

enum Writer<'f> {
    Wav(WavWriter<Sink<'f>>),
    Flac(Box<FlacWriter<Sink<'f>>>),
}

fn copy(
    reader: &mut AudioReader,
    file: Sink<'_>,
    how: &Convert,
    depth: WavFormat,
) -> Result<(), Fault> {
    let native = reader.format().sample_rate;
    let rate = how.rate.unwrap_or(native);
    let channels = if how.mono { 1 } else { reader.format().channels };
    let mut writer = match how.to {
        To::Wav => Writer::Wav(WavWriter::new(file, rate, channels, depth)?),
        To::Flac => {
            let bits = if depth == WavFormat::Int16 { 16 } else { 24 };
            Writer::Flac(Box::new(FlacWriter::new(file, rate, channels, bits)?))
        }
    };
    let mut write = |samples: &[f32]| match &mut writer {
        Writer::Wav(w) => w.write(samples),
        Writer::Flac(w) => w.write(samples),
    };
    let mut resamplers: Vec<Resampler> =
        (0..channels).map(|_| Resampler::new(native, rate, ResamplingKind::default())).collect();
    let mut planes = vec![Vec::new(); channels];
    let mut input = Vec::new();
    loop {
        let block = if how.mono { reader.next_block() } else { reader.next_block_channels() };
        let Some(block) = block.map_err(Fault::Audio)? else { break };
        if native == rate {
            write(block)?;
            continue;
        }
        for (c, (resampler, plane)) in resamplers.iter_mut().zip(&mut planes).enumerate() {
            input.clear();
            input.extend(block.iter().skip(c).step_by(channels));
            resampler.push(&input, plane);
        }
        write(&interleave(&mut planes))?;
    }
    if native != rate {
        resamplers.iter_mut().zip(&mut planes).for_each(|(r, plane)| r.finish(plane));
        write(&interleave(&mut planes))?;
    }
    match writer {
        Writer::Wav(w) => drop(w.finish()?),
        Writer::Flac(w) => drop(w.finish()?),
    }
    Ok(())
}

/// Empties the planes, which are equally long, into `[frame, channel]`.
fn interleave(planes: &mut [Vec<f32>]) -> Vec<f32> {
    let frames = planes.iter().map(Vec::len).min().unwrap_or(0);
    let out = (0..frames).flat_map(|i| planes.iter().map(move |p| p[i])).collect();
    planes.iter_mut().for_each(Vec::clear);
    out
}

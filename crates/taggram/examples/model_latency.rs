//! Time of models on one thread, side by side: half a minute of feature map (noise, the same for
//! all) from its first patch to the verdict, and for classifiers of descriptors one row.
//!
//! `model_latency ROUNDS MODEL…` runs the models in turn, round by round, and prints for each its
//! name, the fastest and the median time in milliseconds, and its file's bytes.

use std::error::Error;
use std::time::Instant;

use taggram::{Decide, Listener, Model};
use taggram_features::FeatureMap;
use taggram_model::classifier::Pipeline;
use taggram_model::{Artifact, Body};

enum Subject {
    Hears(Box<Model>, FeatureMap),
    Row(Box<Pipeline>, Vec<f32>),
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [rounds, files @ ..] = arguments.as_slice() else {
        return Err("usage: model_latency ROUNDS MODEL…".into());
    };
    let subjects =
        files.iter().map(|f| subject(taggram::artifact(f)?)).collect::<Result<Vec<_>, _>>()?;
    let mut times = vec![Vec::new(); files.len()];
    // The first round is not counted: memory is made in it.
    for round in 0..=rounds.parse::<usize>()? {
        for (subject, times) in subjects.iter().zip(&mut times) {
            let before = Instant::now();
            run(subject)?;
            if round > 0 {
                times.push(before.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    for (file, times) in files.iter().zip(&mut times) {
        times.sort_by(f64::total_cmp);
        let bytes = std::fs::metadata(file).map_or(0, |m| m.len());
        println!("{file} {:.3} {:.3} {bytes}", times[0], times[times.len() / 2]);
    }
    Ok(())
}

fn subject(artifact: Artifact) -> Result<Subject, Box<dyn Error>> {
    if let Body::Descriptors { classifier, .. } = &artifact.description.body {
        let pipeline = artifact.pipeline(classifier)?;
        let row = noise(pipeline.inputs(), 1.0);
        return Ok(Subject::Row(Box::new(pipeline), row));
    }
    let model = Model::from_artifact(artifact)?;
    let front_end = model.front_end();
    let (channels, bands) = (front_end.channels(), front_end.bands());
    let frames = (30.0 * front_end.frame_rate()) as usize;
    let map = FeatureMap::new(channels, frames, bands, noise(channels * frames * bands, 3.0));
    Ok(Subject::Hears(Box::new(model), map))
}

fn run(subject: &Subject) -> Result<(), Box<dyn Error>> {
    match subject {
        Subject::Hears(model, map) => {
            let mut listener = Listener::new(model, false, 1)?;
            listener.hear_map(map)?;
            listener.finish(Decide::Mean)?;
        }
        Subject::Row(pipeline, row) => {
            pipeline.predict_proba(row)?;
        }
    }
    Ok(())
}

/// Numbers between 0 and `most` (xorshift).
fn noise(len: usize, most: f32) -> Vec<f32> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 24) as f32 * most
        })
        .collect()
}

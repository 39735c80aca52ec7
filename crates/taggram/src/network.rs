//! A network with its front-end: samples in, a row of values a patch out.

use taggram_features::{
    FeatureFrames, FeatureMap, FrontEnd, MapStream, PatchStream, Patches, Windows,
};
use taggram_model::musicnn::MusicnnRunner;
use taggram_model::{Artifact, Body, Engine, Network};

use crate::overview::Overview;
use crate::{Error, ErrorKind};

/// Patches that are given to the engine at once. More would not be faster, only larger.
const BATCH: usize = 8;

/// Frames that musicnn's whole-song path takes at once, one minute: long enough that what
/// neighbouring sections compute twice (two thirds of a patch) does not matter.
const SECTION: usize = 3750;

/// A network that is ready to run, read at one of its layers.
pub(crate) struct NetworkRunner {
    pub front_end: FrontEnd,
    pub windows: Windows,
    runs: Runs,
    width: usize,
    /// Number of values of the penultimate layer, 0 when it is not read.
    embedding: usize,
}

/// Which implementation runs it.
enum Runs {
    /// Any network, patch by patch, and the value that is read beside the rows.
    Patches(Engine, Option<String>),
    /// musicnn, a section of a song at a time.
    Musicnn(Box<MusicnnRunner>, MusicnnLayer),
}

/// What the whole-song path of musicnn gives.
#[derive(Clone, Copy)]
enum MusicnnLayer {
    Tags,
    MaxPool,
    MeanPool,
    Penultimate,
}

impl NetworkRunner {
    /// The network of `artifact`, read at `layer`, or at its answer when that is `None`.
    pub fn new(artifact: &Artifact, layer: Option<&str>) -> Result<Self, Error> {
        let Body::Network { front_end, windows, network, .. } = &artifact.description.body else {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("{} has no network of its own to read", artifact.description.name),
            ));
        };
        let layer = layer.unwrap_or(&network.outputs[0]);
        let shapes = network.shapes()?;
        let shape = shapes.get(layer).ok_or_else(|| {
            let layers = network.nodes.iter().map(|n| n.name.as_str()).collect::<Vec<_>>();
            Error::new(
                ErrorKind::Unsupported,
                format!(
                    "{} has no layer {layer}; it has {}",
                    artifact.description.name,
                    layers.join(", ")
                ),
            )
        })?;
        let runs = runs(artifact, network, layer)?;
        let embedding = match &runs {
            Runs::Patches(_, Some(beside)) => {
                shapes.get(beside.as_str()).map_or(0, |shape| shape.iter().product())
            }
            Runs::Patches(_, None) | Runs::Musicnn(_, MusicnnLayer::Penultimate) => 0,
            Runs::Musicnn(runner, _) => runner.units(),
        };
        Ok(Self {
            front_end: front_end.clone(),
            windows: windows.clone(),
            runs,
            width: shape.iter().product(),
            embedding,
        })
    }

    /// Number of values of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of values of the penultimate layer, which are read beside the rows; 0 when not.
    pub fn embedding(&self) -> usize {
        self.embedding
    }

    /// Rows from samples as they come.
    pub fn stream(&self, keep_map: bool, threads: usize) -> Result<RowStream<'_>, Error> {
        let (channels, bands) = (self.front_end.channels(), self.front_end.bands());
        Ok(RowStream {
            runner: self,
            frames_of: self.front_end.stream()?,
            patches_of: self.windows.stream(&self.front_end)?,
            frames: FeatureFrames::new(channels, bands),
            patches: Patches::new(&self.windows, &self.front_end),
            first: 0,
            begins_s: 0.0,
            overview: keep_map.then(|| Overview::new(channels, bands)),
            threads,
            starts: Vec::new(),
            rows: Vec::new(),
            beside: Vec::new(),
            padded: false,
        })
    }
}

fn runs(artifact: &Artifact, network: &Network, layer: &str) -> Result<Runs, Error> {
    let musicnn_layer = match layer {
        "tags" => Some(MusicnnLayer::Tags),
        "max_pool" => Some(MusicnnLayer::MaxPool),
        "mean_pool" => Some(MusicnnLayer::MeanPool),
        "penultimate" => Some(MusicnnLayer::Penultimate),
        _ => None,
    };
    if let Some(layer) = musicnn_layer
        && let Ok(runner) = match artifact.quantisation() {
            Some(found) => MusicnnRunner::quantised(network, &artifact.weights, found),
            None => MusicnnRunner::new(network, &artifact.weights),
        }
    {
        return Ok(Runs::Musicnn(Box::new(runner), layer));
    }
    // The layer itself may be the penultimate one: then nobody asks for it twice.
    let beside = network.penultimate().filter(|&beside| beside != layer).map(str::to_string);
    let outputs: Vec<&str> = [layer].into_iter().chain(beside.as_deref()).collect();
    let network = network.with_outputs(&outputs)?;
    let weights = network
        .weight_specs()?
        .into_iter()
        .filter_map(|spec| artifact.weights.get_key_value(&spec.name))
        .map(|(name, tensor)| (name.clone(), tensor.clone()))
        .collect();
    let engine = match artifact.quantisation() {
        Some(quantisation) => Engine::quantised(&network, &weights, quantisation)?,
        None => Engine::new(&network, &weights)?,
    };
    Ok(Runs::Patches(engine, beside))
}

/// Turns samples into rows, chunk by chunk; chunks of any size give the same rows.
pub(crate) struct RowStream<'m> {
    runner: &'m NetworkRunner,
    frames_of: MapStream,
    patches_of: PatchStream,
    frames: FeatureFrames,
    patches: Patches,
    /// Number in the piece of the first frame in `frames`.
    first: usize,
    /// Where the piece begins in the song, seconds.
    begins_s: f64,
    overview: Option<Overview>,
    threads: usize,
    /// Start in seconds of each patch that has not been taken.
    starts: Vec<f64>,
    /// Rows that have not been taken, `[patch, width]`.
    rows: Vec<f32>,
    /// Values of the penultimate layer that have not been taken, `[patch, embedding]`.
    beside: Vec<f32>,
    padded: bool,
}

impl RowStream<'_> {
    /// Takes mono samples at the front-end's rate.
    pub fn push(&mut self, samples: &[f32]) -> Result<(), Error> {
        let held = self.frames.data.len();
        self.frames_of.push(samples, &mut self.frames);
        self.look(held);
        self.run(false)
    }

    /// Takes frames that were made before, in place of samples.
    pub fn push_map(&mut self, map: &FeatureMap) -> Result<(), Error> {
        let (channels, bands) = (self.runner.front_end.channels(), self.runner.front_end.bands());
        if (map.channels, map.bands) != (channels, bands) {
            return Err(Error::new(
                ErrorKind::Malformed,
                format!(
                    "the map has {} channels of {} bands; the model takes {channels} of {bands}",
                    map.channels, map.bands
                ),
            ));
        }
        let held = self.frames.data.len();
        for frame in 0..map.frames {
            for channel in 0..channels {
                self.frames.data.extend_from_slice(map.frame(channel, frame));
            }
        }
        self.look(held);
        self.run(false)
    }

    /// Takes the end.
    pub fn finish(&mut self) -> Result<(), Error> {
        let held = self.frames.data.len();
        self.frames_of.finish(&mut self.frames);
        self.look(held);
        self.run(true)
    }

    /// Ends a piece of the song; the next samples begin another one at `begins_s` seconds.
    pub fn leap(&mut self, begins_s: f64) -> Result<(), Error> {
        self.finish()?;
        self.frames.clear();
        self.first = 0;
        self.begins_s = begins_s;
        Ok(())
    }

    /// The rows since the last call: the time of each patch's start in seconds, `[patch, width]`,
    /// and the penultimate layer's values, `[patch, embedding]`.
    pub fn take(&mut self) -> (Vec<f64>, Vec<f32>, Vec<f32>) {
        let take = std::mem::take::<Vec<f32>>;
        (std::mem::take(&mut self.starts), take(&mut self.rows), take(&mut self.beside))
    }

    /// Start of a frame of this piece, seconds in the song.
    fn second(&self, frame: usize) -> f64 {
        self.begins_s + frame as f64 / self.runner.front_end.frame_rate()
    }

    /// Whether the song was shorter than a patch and was repeated to fill one.
    pub fn padded(&self) -> bool {
        self.padded
    }

    /// The feature map, if it was to be kept.
    pub fn into_map(self) -> Option<FeatureMap> {
        self.overview.map(Overview::into_map)
    }

    /// Keeps the new frames, those after the first `held` values, for the picture.
    fn look(&mut self, held: usize) {
        if let Some(overview) = &mut self.overview {
            overview.push(&self.frames.data[held..]);
        }
    }

    fn run(&mut self, end: bool) -> Result<(), Error> {
        match &self.runner.runs {
            Runs::Patches(engine, _) => {
                self.patches_of.push(&self.frames, &mut self.patches);
                self.frames.clear();
                if end {
                    self.patches_of.finish(&mut self.patches);
                }
                self.run_patches(engine)
            }
            Runs::Musicnn(runner, layer) => self.run_section(runner, *layer, end),
        }
    }

    fn run_patches(&mut self, engine: &Engine) -> Result<(), Error> {
        let (count, patch_len) = (self.patches.count, self.patches.patch_len());
        for first in (0..count).step_by(BATCH) {
            let batch = BATCH.min(count - first);
            let input = &self.patches.data[first * patch_len..(first + batch) * patch_len];
            let outputs = engine.run(&[input], batch)?;
            self.rows.extend_from_slice(&outputs[0].data);
            if let Some(beside) = outputs.get(1) {
                self.beside.extend_from_slice(&beside.data);
            }
        }
        let starts: Vec<f64> = self.patches.starts.iter().map(|&s| self.second(s)).collect();
        self.starts.extend(starts);
        self.padded |= self.patches.padded;
        self.patches.clear();
        Ok(())
    }

    /// Runs the frames at hand when they are a section, or all that is left at the end.
    fn run_section(
        &mut self,
        runner: &MusicnnRunner,
        layer: MusicnnLayer,
        end: bool,
    ) -> Result<(), Error> {
        let windows = &self.runner.windows;
        let frames = self.frames.frames();
        let song_goes_on = self.first > 0;
        if frames == 0 || (end && song_goes_on && frames < windows.frames) {
            return Ok(());
        }
        if !end && frames < SECTION + windows.frames {
            return Ok(());
        }
        let map = std::mem::replace(
            &mut self.frames,
            FeatureFrames::new(self.runner.front_end.channels(), self.runner.front_end.bands()),
        )
        .into_map();
        let output = runner.run(&map, windows, self.threads)?;
        let (values, beside) = match layer {
            MusicnnLayer::Tags => (output.tags, output.penultimate),
            MusicnnLayer::MaxPool => (output.max_pool, output.penultimate),
            MusicnnLayer::MeanPool => (output.mean_pool, output.penultimate),
            MusicnnLayer::Penultimate => (output.penultimate, Vec::new()),
        };
        let starts: Vec<f64> =
            output.starts.iter().map(|start| self.second(self.first + start)).collect();
        self.starts.extend(starts);
        self.rows.extend_from_slice(&values);
        self.beside.extend_from_slice(&beside);
        self.padded |= output.padded;
        // The next section begins at the first patch that did not fit into this one.
        let done = output.starts.len() * windows.hop;
        self.first += done;
        self.frames.data = map.data.get(done * map.bands..).unwrap_or_default().to_vec();
        Ok(())
    }
}

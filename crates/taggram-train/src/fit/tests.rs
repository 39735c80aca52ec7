//! Training as a whole, on songs made of simple patterns.

use std::sync::atomic::Ordering;

use super::*;
use crate::recipe::Recipe;
use crate::recipe::tests::SMALL;
use crate::rng::Rng;

/// Three genres: energy in the low, middle or high bands, on noise.
fn songs(count: usize, address: u64) -> Vec<Clip> {
    let song = |i: usize| {
        let mut rng = Rng::at(&[address, i as u64]);
        let label = i % 3;
        let frames = 20 + rng.below(15);
        let value = |j: usize, rng: &mut Rng| {
            let band = j % 16;
            -40.0 + 6.0 * rng.normal() + if band / 5 == label { 12.0 } else { 0.0 }
        };
        let map =
            FeatureMap::new(1, frames, 16, (0..frames * 16).map(|j| value(j, &mut rng)).collect());
        let tags: Vec<f32> = (0..4).map(|t| if t == label { 0.9 } else { 0.1 }).collect();
        Clip {
            id: format!("song {i}"),
            label,
            map,
            starts: Vec::new(),
            targets: BTreeMap::from([("tags".into(), SoftTarget::new(tags, 4))]),
        }
    };
    (0..count).map(song).collect()
}

fn data() -> Data {
    Data {
        train: songs(24, 1),
        valid: songs(9, 2),
        classes: ["low", "middle", "high"].map(String::from).to_vec(),
        unlabelled: Vec::new(),
    }
}

fn recipe() -> Recipe {
    Recipe::parse(SMALL, "small").unwrap()
}

fn network(recipe: &Recipe, data: &Data) -> Network {
    recipe.network(data.classes.len(), &teacher_sizes(&data.train).unwrap()).unwrap()
}

fn run(recipe: &Recipe, data: &Data, options: &RunOptions) -> Result<Trained, TrainError> {
    fit(&network(recipe, data), data, recipe, options, &mut Quiet)
}

/// The labels of songs without genres mean nothing; their soft targets are learnt.
#[test]
fn songs_without_genres_teach_by_their_soft_targets_alone() {
    let (recipe, mut labelled) = (recipe(), data());
    let plain = run(&recipe, &labelled, &RunOptions::default()).unwrap();
    labelled.unlabelled = songs(12, 3);
    let with = run(&recipe, &labelled, &RunOptions::default()).unwrap();
    assert_ne!(plain.weights, with.weights, "what the teacher said of them was learnt");
    for clip in &mut labelled.unlabelled {
        clip.label = 0;
    }
    let relabelled = run(&recipe, &labelled, &RunOptions::default()).unwrap();
    assert_eq!(timeless(&relabelled), timeless(&with), "labels were not");
    for clip in &mut labelled.unlabelled {
        let turned: Vec<f32> = clip.targets["tags"].at(0.0).iter().map(|t| 1.0 - t).collect();
        clip.targets.insert("tags".into(), SoftTarget::new(turned, 4));
    }
    let turned = run(&recipe, &labelled, &RunOptions::default()).unwrap();
    assert_ne!(turned.weights, with.weights);
}

/// A patch learns what is said of its own stretch: with the same thing said everywhere it makes no difference that it
/// is said of stretches; with different things it does.
#[test]
fn patches_learn_what_is_said_of_their_stretch() {
    let target = SoftTarget::new(vec![0.0, 1.0, 10.0, 11.0, 20.0, 21.0], 2);
    assert_eq!((target.at(0.0), target.at(0.4)), (&[0.0, 1.0][..], &[10.0, 11.0][..]));
    assert_eq!((target.at(0.8), target.at(1.0)), (&[20.0, 21.0][..], &[20.0, 21.0][..]));
    let (recipe, whole) = (recipe(), data());
    let plain = run(&recipe, &whole, &RunOptions::default()).unwrap();
    let mut stretches = whole.clone();
    for clip in &mut stretches.train {
        let said = clip.targets["tags"].at(0.0).repeat(3);
        clip.targets.insert("tags".into(), SoftTarget::new(said, 4));
    }
    let same = run(&recipe, &stretches, &RunOptions::default()).unwrap();
    assert_eq!(same.weights, plain.weights);
    for clip in &mut stretches.train {
        let said = [clip.targets["tags"].at(0.0), &[0.5; 4]].concat();
        clip.targets.insert("tags".into(), SoftTarget::new(said, 4));
    }
    let other = run(&recipe, &stretches, &RunOptions::default()).unwrap();
    assert_ne!(other.weights, plain.weights);
}

/// The history without what depends on the clock.
fn timeless(trained: &Trained) -> (Weights, usize, Vec<EpochRecord>) {
    let record =
        |r: &EpochRecord| EpochRecord { samples_per_second: 0.0, seconds: 0.0, ..r.clone() };
    (trained.weights.clone(), trained.best_epoch, trained.history.iter().map(record).collect())
}

#[test]
fn simple_songs_are_learnt_and_only_the_genres_remain() {
    let mut recipe = recipe();
    recipe.fit.epochs = 12;
    let trained = run(&recipe, &data(), &RunOptions::default()).unwrap();
    let best = &trained.history[trained.best_epoch - 1];
    assert!(best.valid_accuracy.unwrap() > 0.85, "{best:?}");
    assert_eq!(trained.network.outputs, ["logits"]);
    trained.network.check_weights(&trained.weights).unwrap();
    assert!(!trained.weights.keys().any(|k| k.starts_with("tags")));
}

#[test]
fn threads_do_not_matter_but_the_seed_does() {
    let recipe = recipe();
    let with = |recipe: &Recipe, threads| {
        timeless(&run(recipe, &data(), &RunOptions { threads, ..RunOptions::default() }).unwrap())
    };
    let one = with(&recipe, 1);
    assert_eq!(one, with(&recipe, 3));
    let mut other = recipe;
    other.fit.seed = 8;
    assert_ne!(one.0, with(&other, 1).0);
}

/// Sets the stop flag when an epoch is over and the next one is under way.
struct StopAfter(usize, Arc<AtomicBool>);

impl Progress for StopAfter {
    fn step(&mut self, report: &StepReport) {
        if report.epoch > self.0 {
            self.1.store(true, Ordering::Relaxed);
        }
    }
}

#[test]
fn two_epochs_and_two_more_are_four() {
    let (recipe, data) = (recipe(), data());
    let folder = tempfile::tempdir().unwrap();
    let mut options =
        RunOptions { folder: Some(folder.path().into()), resume: true, ..RunOptions::default() };
    let whole = run(&recipe, &data, &RunOptions::default()).unwrap();

    let network = network(&recipe, &data);
    let stopped =
        fit(&network, &data, &recipe, &options, &mut StopAfter(2, options.stop.clone())).unwrap();
    assert_eq!((stopped.ended, stopped.history.len()), (Ended::Stopped, 2));
    options.stop = Arc::default();
    let continued = run(&recipe, &data, &options).unwrap();
    assert_eq!(timeless(&continued), timeless(&whole));
    assert_eq!(continued.ended, Ended::Finished);
    let table = std::fs::read_to_string(folder.path().join("curves.csv")).unwrap();
    assert_eq!(table.lines().count(), 5, "{table}");
    assert!(folder.path().join("curves.png").exists());

    // Another recipe must not continue it.
    let mut other = recipe.clone();
    other.augment.gain_db = 1.0;
    let error = run(&other, &data, &options).unwrap_err().to_string();
    assert!(error.contains("another recipe"), "{error}");
}

#[cfg(not(feature = "libtorch"))]
#[test]
fn libtorch_is_refused_where_it_is_not_built_in() {
    let options = RunOptions { backend: Backend::Libtorch, ..RunOptions::default() };
    let error = run(&recipe(), &data(), &options).unwrap_err().to_string();
    assert!(error.contains("built without it") && error.contains("docs/gpu.md"), "{error}");
}

#[cfg(feature = "libtorch")]
#[test]
fn libtorch_trains_alike_and_goes_on_where_the_other_stopped() {
    let (recipe, data) = (recipe(), data());
    let own = run(&recipe, &data, &RunOptions::default()).unwrap();
    let close = |found: &Trained, what: &str| {
        assert_eq!(found.history.len(), own.history.len());
        for (a, b) in found.history.iter().zip(&own.history) {
            let apart = (a.train_loss - b.train_loss).abs();
            assert!(apart < 1e-3 * b.train_loss, "{what}: {a:?}, own {b:?}");
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let mut options = RunOptions {
        folder: Some(folder.path().into()),
        resume: true,
        backend: Backend::Libtorch,
        ..RunOptions::default()
    };
    let whole = run(&recipe, &data, &RunOptions { folder: None, resume: false, ..options.clone() });
    close(&whole.unwrap(), "libtorch");
    // Half by each.
    let network = network(&recipe, &data);
    fit(&network, &data, &recipe, &options, &mut StopAfter(2, options.stop.clone())).unwrap();
    options = RunOptions { stop: Arc::default(), backend: Backend::Own, ..options };
    close(&run(&recipe, &data, &options).unwrap(), "two epochs by each");
}

#[test]
fn a_diverging_run_says_where_and_keeps_the_last_good_epoch() {
    let (mut recipe, mut data) = (recipe(), data());
    recipe.fit.epochs = 3;
    recipe.augment.mix_alpha = 0.0;
    let folder = tempfile::tempdir().unwrap();
    let options =
        RunOptions { folder: Some(folder.path().into()), resume: true, ..RunOptions::default() };
    let error = {
        let mut broken = recipe.clone();
        broken.optimiser = crate::optim::Optimiser::Sgd {
            learning_rate: 1e30,
            momentum: 0.0,
            weight_decay: 0.0,
            clip_norm: 0.0,
        };
        run(&broken, &data, &options).unwrap_err().to_string()
    };
    assert!(error.starts_with("epoch 1, update") && error.contains("became"), "{error}");
    assert!(!folder.path().join(CHECKPOINT).exists());
    data.train[3].map.data[5] = f32::NAN;
    let error = run(&recipe, &data, &options).unwrap_err().to_string();
    assert!(error.contains("song 3"), "{error}");
}

#[test]
fn a_loss_that_breaks_later_leaves_the_checkpoint() {
    let (mut recipe, data) = (recipe(), data());
    recipe.schedule = crate::schedule::Schedule::Constant;
    recipe.fit.average = 0.0;
    let folder = tempfile::tempdir().unwrap();
    let options =
        RunOptions { folder: Some(folder.path().into()), resume: true, ..RunOptions::default() };
    let network = network(&recipe, &data);
    let stopped =
        fit(&network, &data, &recipe, &options, &mut StopAfter(1, options.stop.clone())).unwrap();
    assert_eq!(stopped.history.len(), 1);
    let path = folder.path().join(CHECKPOINT);
    let mut checkpoint = Checkpoint::load(&path).unwrap();
    checkpoint.weights.get_mut("logits.bias").unwrap().data[0] = f32::INFINITY;
    checkpoint.save(&path).unwrap();
    let before = std::fs::read(&path).unwrap();
    let options = RunOptions { stop: Arc::default(), ..options };
    let error = run(&recipe, &data, &options).unwrap_err().to_string();
    assert!(
        error.contains("epoch 2, update 1") && error.contains("checkpoint of epoch 1"),
        "{error}"
    );
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn unfit_data_is_refused_with_a_sentence() {
    let recipe = recipe();
    let check = |change: &dyn Fn(&mut Data), words: &[&str]| {
        let mut data = data();
        let network = network(&recipe, &data);
        change(&mut data);
        let error = fit(&network, &data, &recipe, &RunOptions::default(), &mut Quiet)
            .unwrap_err()
            .to_string();
        assert!(words.iter().all(|w| error.contains(w)), "{error}");
    };
    check(&|d| d.train.retain(|c| c.label != 1), &["genre middle", "no train song"]);
    check(&|d| d.train[2].map.bands = 8, &["song 2", "8 bands", "16 bands"]);
    check(&|d| d.train.iter_mut().for_each(|c| c.targets.clear()), &["loss.teachers.tags"]);
    check(&|d| d.classes.push("more".into()), &["4 genres"]);
    check(&|d| d.valid[0].label = 7, &["song 0", "number 7"]);
}

#[test]
fn patience_ends_a_run_that_does_not_improve() {
    let mut recipe = recipe();
    recipe.fit.epochs = 50;
    recipe.fit.patience = 2;
    recipe.optimiser = crate::optim::Optimiser::Sgd {
        learning_rate: 1e-12,
        momentum: 0.0,
        weight_decay: 0.0,
        clip_norm: 0.0,
    };
    recipe.fit.average = 0.0;
    recipe.fit.select = Select::Accuracy;
    let trained = run(&recipe, &data(), &RunOptions::default()).unwrap();
    assert_eq!(trained.ended, Ended::Patience);
    assert_eq!(trained.history.len(), trained.best_epoch + 2);
}

#[test]
fn only_the_given_starts_are_seen() {
    // Frames from 12 on would betray the genre; all that may be looked at are the first 12.
    let mut data = data();
    for clip in data.train.iter_mut().chain(&mut data.valid) {
        let bands = clip.map.bands;
        let (seen, rest) = clip.map.data.split_at_mut(12 * bands);
        seen.fill(-40.0);
        rest.iter_mut().step_by(3).for_each(|v| *v += 5.0);
        clip.starts = vec![0];
    }
    let mut recipe = recipe();
    recipe.augment = crate::augment::Augment::default();
    let trained = run(&recipe, &data, &RunOptions::default()).unwrap();
    // Nothing to see: chance, and certainty of nothing.
    assert!(trained.history.last().unwrap().train_log_loss > 1.0);
    data.valid[0].starts = vec![1];
    let error = run(&recipe, &data, &RunOptions::default()).unwrap_err().to_string();
    assert!(error.contains("no window starts"), "{error}");
}

#[test]
fn training_begins_with_given_weights_and_keeps_the_frozen_ones() {
    let (mut recipe, data) = (recipe(), data());
    let first = run(&recipe, &data, &RunOptions::default()).unwrap();
    let mut start = first.weights.clone();
    // A head for other labels is left out, and made anew.
    start.insert("logits.weight".into(), Tensor::zeros([50, 8]));
    let options = RunOptions { start: Some(start.clone()), ..RunOptions::default() };
    recipe.fit.init = Some("given".into());
    recipe.fit.freeze = vec!["stem".into()];
    recipe.fit.average = 0.0;
    let second = run(&recipe, &data, &options).unwrap();
    for name in ["stem.weight", "stem_bn.weight", "stem_bn.running_mean", "stem_bn.running_var"] {
        assert_eq!(second.weights[name], first.weights[name], "{name}");
    }
    assert_ne!(second.weights["block1.weight"], first.weights["block1.weight"]);
    assert_eq!(second.weights["logits.weight"].shape, [3, 8]);

    recipe.fit.freeze = vec!["logits".into()];
    let error = run(&recipe, &data, &options).unwrap_err().to_string();
    assert!(error.contains("logits.weight") && error.contains("random"), "{error}");
    recipe.fit.freeze = vec!["stam".into()];
    assert!(run(&recipe, &data, &options).unwrap_err().to_string().contains("stam"));
    recipe.fit.freeze.clear();
    let alien = RunOptions {
        start: Some(Weights::from([("conv1.weight".into(), Tensor::zeros([2, 2]))])),
        ..RunOptions::default()
    };
    let error = run(&recipe, &data, &alien).unwrap_err().to_string();
    assert!(error.contains("conv1.weight") && error.contains("stem.weight"), "{error}");
}

#[test]
fn the_width_of_embeddings_is_known_before_any_is_made() {
    let (recipe, data) = (recipe(), data());
    let trained = run(&recipe, &data, &RunOptions::default()).unwrap();
    let embedder =
        crate::familiarity::Embedder::new(&trained.network, &trained.weights, &recipe.windows);
    let embedder = embedder.unwrap().unwrap();
    assert_eq!(embedder.embedding(&data.train[0].map).unwrap().len(), embedder.width());
}

//! Every recipe of a network in `recipes/` can be read and makes a network for ten genres.

use std::collections::BTreeMap;

use taggram_model::architectures::Architecture;
use taggram_train::recipe::Recipe;
use taggram_train::train_classifier::HeadRecipe;

#[test]
fn every_recipe_makes_its_network() {
    // Parameters that SYSTEMS.md gives, where the number of genres is the source's.
    let published =
        BTreeMap::from([("system0-vgg16", 16_814_666), ("system2-mfcc-cnn-3s", 2_855_818)]);
    let mut met = Vec::new();
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../recipes")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        // Classifiers and ways of compressing have no network of their own.
        if name.starts_with("compress-") || HeadRecipe::load(&path).unwrap().is_some() {
            continue;
        }
        let recipe = Recipe::load(&path).unwrap();
        let teachers = match recipe.model {
            Architecture::Compact(_) => {
                BTreeMap::from([("tags".into(), 50), ("transfer".into(), 160)])
            }
            _ => BTreeMap::new(),
        };
        let network = recipe.network(10, &teachers).unwrap_or_else(|e| panic!("{name}: {e}"));
        if let Some(parameters) = published.get(name.as_str()) {
            assert_eq!(network.parameters().unwrap(), *parameters, "{name}");
        }
        met.push(name);
    }
    for needed in [
        "system0-vgg16",
        "system0-vgg16-chroma",
        "system1-cnn",
        "system1-crnn",
        "system2-resnet18-wave",
        "system2-resnet18-zcr",
        "system2-resnet18-mel",
        "system2-resnet18-mfcc",
        "system2-lstm",
        "system2-multimodal",
        "system2-mfcc-cnn-3s",
        "system2-mfcc-cnn-6s",
        "system2-mfcc-cnn-9s",
        "system3-cnn",
        "system4-musicnn",
        "system4-musicnn-finetune",
    ] {
        assert!(met.iter().any(|name| name == needed), "{needed} is not among {met:?}");
    }
}

/// Weights of torchvision's `resnet18` and `vgg16` (`[fit] init`) are named and shaped as ours, all but the answer.
#[test]
fn published_weights_find_their_places() {
    let mut resnet: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut conv_and_norm = |conv: String, norm: String, shape: [usize; 4]| {
        for part in ["weight", "bias", "running_mean", "running_var"] {
            resnet.insert(format!("{norm}.{part}"), vec![shape[0]]);
        }
        resnet.insert(format!("{conv}.weight"), shape.to_vec());
    };
    conv_and_norm("conv1".into(), "bn1".into(), [64, 3, 7, 7]);
    for (stage, from, to) in [(1, 64, 64), (2, 64, 128), (3, 128, 256), (4, 256, 512)] {
        for (block, first) in [(0, from), (1, to)] {
            let name = |part: &str| format!("layer{stage}.{block}.{part}");
            conv_and_norm(name("conv1"), name("bn1"), [to, first, 3, 3]);
            conv_and_norm(name("conv2"), name("bn2"), [to, to, 3, 3]);
            if first != to {
                conv_and_norm(name("downsample.0"), name("downsample.1"), [to, first, 1, 1]);
            }
        }
    }
    let numbers = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28];
    let sizes = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512];
    let mut vgg = BTreeMap::new();
    for (pair, number) in sizes.windows(2).zip(numbers) {
        vgg.insert(format!("features.{number}.weight"), vec![pair[1], pair[0], 3, 3]);
        vgg.insert(format!("features.{number}.bias"), vec![pair[1]]);
    }
    for (recipe, published, own) in [
        ("system2-resnet18-mel", resnet, &["logits."][..]),
        ("system0-vgg16", vgg, &["dense.", "logits."]),
    ] {
        let path = format!("{}/../../recipes/{recipe}.toml", env!("CARGO_MANIFEST_DIR"));
        let recipe = Recipe::load(path.as_ref()).unwrap();
        let network = recipe.network(10, &BTreeMap::new()).unwrap();
        let ours: BTreeMap<String, Vec<usize>> = network
            .weight_specs()
            .unwrap()
            .into_iter()
            .filter(|spec| !own.iter().any(|prefix| spec.name.starts_with(prefix)))
            .map(|spec| (spec.name, spec.shape))
            .collect();
        assert_eq!(ours, published);
    }
}

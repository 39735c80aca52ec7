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

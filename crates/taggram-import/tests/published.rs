//! From audio to tags against the published taggrams of `MSD_musicnn`, on the clips for which
//! there are both.

use std::{collections::BTreeMap, fs, path::PathBuf};

use taggram_audio::{MonoSpec, ResamplingKind, read_mono};
use taggram_features::Resampling;
use taggram_import::import;
use taggram_model::musicnn::MusicnnRunner;

#[test]
fn tags_from_audio_agree_with_the_published_taggrams() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let data = std::env::var_os("TAGGRAM_DATA").map_or(root.join("../shared/data"), PathBuf::from);
    let Some(wheel) = std::env::var_os("TAGGRAM_MUSICNN_WHEEL") else {
        println!("SKIPPED: set TAGGRAM_MUSICNN_WHEEL to musicnn-0.1.0-py3-none-any.whl");
        return;
    };
    let gtzan = data.join("gtzan");
    if !gtzan.is_dir() {
        println!("SKIPPED: {} does not exist; set TAGGRAM_DATA", gtzan.display());
        return;
    }
    let models = import(wheel.as_ref()).unwrap();
    let model = &models[0];
    let runner = MusicnnRunner::new(&model.network, &model.weights).unwrap();

    let mut published: BTreeMap<String, Vec<f32>> = BTreeMap::new();
    for part in ["train", "test"] {
        let stem = format!("taggrams/musicnn_msd_{part}");
        let rows = fs::read_to_string(gtzan.join(format!("{stem}_rows.txt"))).unwrap();
        let bytes = fs::read(gtzan.join(format!("{stem}_f32.npy"))).unwrap();
        let values = &bytes[10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]))..];
        let (values, _) = values.as_chunks::<4>();
        for (row, name) in rows.lines().enumerate() {
            let tags = values[row * 50..(row + 1) * 50].iter().map(|b| f32::from_le_bytes(*b));
            published.entry(name.into()).or_default().extend(tags);
        }
    }
    // The published taggrams were resampled as resampy does, and so does the recipe. With soxr's
    // filter, whose band ends elsewhere, they agree on average only.
    assert_eq!(model.front_end.resampling, Resampling::KaiserBest);
    for (resampling, limit) in [(ResamplingKind::KaiserBest, 0.03), (ResamplingKind::SoxrHq, 0.2)] {
        let (mut sum, mut count, mut worst, mut clips) = (0.0, 0, 0.0f32, 0);
        for (name, expected) in &published {
            let genre = name.split('.').next().unwrap_or_default();
            let path = gtzan.join(format!("audio/{genre}/{name}.flac"));
            if !path.exists() {
                continue;
            }
            let spec = MonoSpec { resampling, ..MonoSpec::at(model.front_end.sample_rate) };
            let samples = read_mono(&path, &spec).unwrap();
            let map = model.front_end.map(&samples.data).unwrap();
            let tags = runner.run(&map, &model.windows, 2).unwrap().tags;
            assert_eq!(tags.len(), expected.len(), "{name}");
            for (a, b) in tags.iter().zip(expected) {
                sum += f64::from((a - b).abs());
                worst = worst.max((a - b).abs());
            }
            count += tags.len();
            clips += 1;
        }
        let mean = sum / f64::from(u32::try_from(count).unwrap());
        println!("{resampling:?}: {clips} clips, mean difference {mean:.6}, worst {worst:.4}");
        assert_eq!(clips, 44);
        assert!(mean <= 0.003, "mean difference {mean}");
        assert!(worst <= limit, "worst difference {worst}");
    }
}

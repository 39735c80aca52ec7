//! The real clips, where they are at hand.

mod common;

use std::path::{Path, PathBuf};

use taggram_audio::{AudioReader, Excerpt, Limits, MonoSpec, read_mono};

fn clips() -> Option<Vec<PathBuf>> {
    let root = std::env::var_os("TAGGRAM_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let folder = root.join("gtzan/audio");
    let Ok(genres) = std::fs::read_dir(&folder) else {
        println!("SKIPPED: no real clips at {}", folder.display());
        return None;
    };
    let mut clips: Vec<PathBuf> = genres
        .filter_map(|genre| std::fs::read_dir(genre.ok()?.path()).ok())
        .flatten()
        .filter_map(|clip| Some(clip.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "flac"))
        .collect();
    clips.sort();
    Some(clips)
}

#[test]
fn the_clips_decode() {
    let Some(clips) = clips() else { return };
    assert_eq!(clips.len(), 100);
    for clip in &clips {
        let mut reader = AudioReader::open(clip, &Limits::default()).unwrap();
        assert_eq!((reader.format().sample_rate, reader.format().channels), (22_050, 1));
        let mut samples = 0;
        while let Some(block) = reader.next_block().unwrap() {
            samples += block.len();
        }
        assert!(samples as f64 >= 29.9 * 22_050.0, "{}: {samples} samples", clip.display());
        assert!(reader.warnings().is_empty(), "{}: {:?}", clip.display(), reader.warnings());
    }
    // An excerpt is the same samples.
    let whole = read_mono(&clips[0], &MonoSpec::at(22_050)).unwrap();
    let spec = MonoSpec {
        excerpt: Excerpt::Range { start_s: 10.0, seconds: 5.0 },
        ..MonoSpec::at(22_050)
    };
    let part = read_mono(&clips[0], &spec).unwrap();
    assert!(part.data == whole.data[220_500..330_750]);
}

//! Chunked = whole, bit for bit, for maps and for patches.
use proptest::prelude::*;
use taggram_features::{
    FeatureFrames, FeatureMap, FrontEnd, Map, Normalise, Patches, Resampling, Scale, Windows,
};

fn front_end(n_fft: usize, hop: usize, map: Map) -> FrontEnd {
    FrontEnd { sample_rate: 22_050, resampling: Resampling::SoxrHq, n_fft, hop, map }
}

fn maps() -> impl Strategy<Value = Map> {
    prop_oneof![
        (
            1usize..40,
            prop_oneof![
                Just(Scale::Power),
                Just(Scale::Decibel),
                Just(Scale::Log10Half { multiply: 10_000.0 })
            ]
        )
            .prop_map(|(bands, scale)| Map::Mel { bands, scale }),
        (1usize..40).prop_map(|bands| Map::MelChroma { bands, scale: Scale::Decibel }),
        (1usize..20, any::<bool>()).prop_map(|(count, rms)| Map::Mfcc { count, rms }),
        (1usize..40).prop_map(|count| Map::MelMfcc { bands: 40, count }),
        (1usize..20, 20usize..50).prop_map(|(count, rows)| Map::MfccPlot { count, rows }),
        (2usize..50).prop_map(|rows| Map::WavePlot { rows }),
        (2usize..50).prop_map(|rows| Map::ZeroCrossingPlot { rows }),
    ]
}

fn normalisations() -> impl Strategy<Value = Normalise> {
    prop_oneof![
        Just(Normalise::None),
        Just(Normalise::PatchZScore { top_db: 60.0, quiet_bands: 0 }),
        Just(Normalise::PatchZScore { top_db: 60.0, quiet_bands: 3 }),
        Just(Normalise::ClipUnit { top_db: 80.0 }),
        Just(Normalise::BandZScore),
    ]
}

fn noise(samples: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state as f32 / 2.0f32.powi(31) - 1.0
    };
    (0..samples).map(|_| next()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn samples_in_chunks_give_the_map_and_the_patches_of_the_whole(
        map in maps(),
        normalise in normalisations(),
        (half, hop) in (8usize..300, 1usize..900),
        (frames, patch_hop) in (1usize..20, 1usize..30),
        samples in 0usize..40_000,
        chunks in prop::collection::vec(1usize..20_000, 1..12),
        seed in any::<u32>(),
    ) {
        let hop = hop.max(samples / 500);
        let front_end = front_end(2 * half, hop, map);
        if let Normalise::PatchZScore { quiet_bands, .. } = normalise {
            prop_assume!(quiet_bands < front_end.bands());
        }
        let windows = Windows { frames, hop: patch_hop, normalise };
        let signal = noise(samples, seed);

        let whole = front_end.map(&signal).unwrap();
        prop_assert_eq!(whole.frames, if samples == 0 { 0 } else { 1 + samples / hop });

        let mut stream = front_end.stream().unwrap();
        let mut patch_stream = windows.stream(&front_end).unwrap();
        let mut all = FeatureFrames::new(front_end.channels(), front_end.bands());
        let mut some = all.clone();
        let mut patches = Patches::new(&windows, &front_end);
        let (mut rest, mut sizes) = (&signal[..], chunks.iter().cycle());
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
            rest = after;
            stream.push(chunk, &mut some);
            patch_stream.push(&some, &mut patches);
            all.data.append(&mut some.data);
        }
        stream.finish(&mut some);
        patch_stream.push(&some, &mut patches);
        patch_stream.finish(&mut patches);
        all.data.append(&mut some.data);
        prop_assert_eq!(&all.into_map(), &whole);

        if whole.frames > 0 {
            let cut = windows.cut(&whole).unwrap();
            prop_assert_eq!(&patches, &cut);
            prop_assert!(cut.data.iter().all(|x| x.is_finite()));
            let expected = if whole.frames < frames { 1 } else { 1 + (whole.frames - frames) / patch_hop };
            prop_assert_eq!(cut.count, expected);
            prop_assert_eq!(cut.padded, whole.frames < frames);
            prop_assert!(cut.starts.iter().enumerate().all(|(i, &start)| start == i * patch_hop));
        } else {
            prop_assert_eq!(patches.count, 0);
        }
    }
}

#[test]
fn a_stream_can_be_used_again() {
    let front_end = front_end(512, 200, Map::Mel { bands: 20, scale: Scale::Decibel });
    let windows = Windows { frames: 10, hop: 25, normalise: Normalise::ClipUnit { top_db: 80.0 } };
    let (mut stream, mut cutter) =
        (front_end.stream().unwrap(), windows.stream(&front_end).unwrap());
    let mut results = Vec::new();
    for _ in 0..2 {
        let mut frames = FeatureFrames::new(1, 20);
        let mut patches = Patches::new(&windows, &front_end);
        stream.push(&noise(7_777, 5), &mut frames);
        stream.finish(&mut frames);
        cutter.push(&frames, &mut patches);
        cutter.finish(&mut patches);
        results.push((frames, patches));
    }
    assert_eq!(results[0], results[1]);
}

#[test]
fn a_stream_of_hours_holds_ten_minutes() {
    // One frame a second: a clip is 600 frames.
    let mut front_end = front_end(16, 1, Map::Mel { bands: 1, scale: Scale::Decibel });
    front_end.sample_rate = 1_000;
    front_end.hop = 1_000;
    let windows = Windows { frames: 7, hop: 5, normalise: Normalise::ClipUnit { top_db: 80.0 } };
    let mut cutter = windows.stream(&front_end).unwrap();
    let mut patches = Patches::new(&windows, &front_end);
    let mut frames = FeatureFrames::new(1, 1);
    for second in 0..2_000 {
        // Each ten minutes are 10 dB louder than those before.
        frames.data = vec![(second / 600) as f32 * 10.0 - (second % 7) as f32];
        cutter.push(&frames, &mut patches);
        if second == 598 {
            assert_eq!(patches.count, 0, "held until the clip is full");
        }
        if second == 599 {
            assert_eq!(patches.count, 119);
        }
    }
    cutter.finish(&mut patches);
    assert_eq!(patches.count, 1 + (2_000 - 7) / 5);
    assert!(patches.starts.iter().enumerate().all(|(i, &s)| s == 5 * i));
    assert!(patches.data.iter().all(|x| (0.0..=1.0).contains(x)));
    assert_eq!(patches.patch(0)[0], 1.0);
}

#[test]
fn silence_becomes_zeros() {
    for map in [
        Map::Mel { bands: 30, scale: Scale::Decibel },
        Map::MelChroma { bands: 30, scale: Scale::Decibel },
        Map::Mfcc { count: 13, rms: true },
    ] {
        let map = front_end(512, 256, map).map(&vec![0.0; 20_000]).unwrap();
        for normalise in [
            Normalise::PatchZScore { top_db: 80.0, quiet_bands: 0 },
            Normalise::ClipUnit { top_db: 80.0 },
            Normalise::BandZScore,
        ] {
            // Silent cepstral coefficients differ from each other: a patch of them is not constant.
            if map.bands == 14 && normalise != Normalise::BandZScore {
                continue;
            }
            let patches = Windows { frames: 16, hop: 16, normalise }.cut(&map).unwrap();
            assert!(patches.data.iter().all(|&x| x == 0.0), "{normalise:?} of {} bands", map.bands);
        }
    }
}

#[test]
fn normalised_patches_have_the_promised_moments() {
    let data: Vec<f32> = noise(2 * 50 * 8, 3).iter().map(|x| x * 60.0 - 30.0).collect();
    let map = FeatureMap::new(2, 50, 8, data);
    let cut = |normalise| Windows { frames: 25, hop: 25, normalise }.cut(&map).unwrap();
    let moments = |values: &[f32]| {
        let n = values.len() as f64;
        let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
        (mean, (values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n).sqrt())
    };
    for channel in cut(Normalise::PatchZScore { top_db: 40.0, quiet_bands: 0 }).data.chunks(25 * 8)
    {
        let (mean, deviation) = moments(channel);
        assert!(mean.abs() < 1e-6 && (deviation - 1.0).abs() < 1e-6);
        let lowest = channel.iter().fold(f32::MAX, |a, &b| a.min(b));
        assert!(
            channel.iter().filter(|&&x| x == lowest).count() > 1,
            "values below the floor are raised to it"
        );
    }
    for channel in cut(Normalise::BandZScore).data.chunks(25 * 8) {
        for band in 0..8 {
            let values: Vec<f32> = channel.iter().skip(band).step_by(8).copied().collect();
            let (mean, deviation) = moments(&values);
            assert!(mean.abs() < 1e-6 && (deviation - 1.0).abs() < 1e-6);
        }
    }
    let unit = cut(Normalise::ClipUnit { top_db: 80.0 });
    assert!(unit.data.iter().all(|x| (0.0..=1.0).contains(x)));
    for channel in 0..2 {
        let max = unit
            .data
            .chunks(25 * 8)
            .skip(channel)
            .step_by(2)
            .flatten()
            .fold(0.0f32, |a, &b| a.max(b));
        assert_eq!(max, 1.0, "the clip's maximum is 1 in channel {channel}");
    }
}

#[test]
fn impossible_recipes_are_refused_with_a_sentence() {
    let mel = |bands| Map::Mel { bands, scale: Scale::Decibel };
    let cases = [
        (
            front_end(15, 4, mel(10)),
            "front-end n_fft: 15 samples asked for, 16 to 65536 are possible",
        ),
        (
            front_end(17, 4, mel(10)),
            "front-end n_fft: 17 samples asked for, an even number is needed",
        ),
        (
            front_end(1 << 17, 4, mel(10)),
            "front-end n_fft: 131072 samples asked for, 16 to 65536 are possible",
        ),
        (
            front_end(512, 0, mel(10)),
            "front-end hop: 0 samples asked for, 1 to 1048576 are possible",
        ),
        (
            front_end(512, 10, mel(0)),
            "front-end bands: 0 mel bands asked for, 1 to 1024 are possible",
        ),
        (
            front_end(512, 10, Map::Mfcc { count: 129, rms: false }),
            "front-end count: 129 coefficients asked for, 1 to 128 are possible",
        ),
        (
            front_end(512, 10, Map::MelMfcc { bands: 12, count: 13 }),
            "front-end count: 13 coefficients asked for, 1 to 12 are possible",
        ),
        (
            front_end(512, 10, Map::MfccPlot { count: 13, rows: 12 }),
            "front-end rows: 12 rows asked for, 13 to 1024 are possible",
        ),
        (
            front_end(512, 10, Map::WavePlot { rows: 1 }),
            "front-end rows: 1 rows asked for, 2 to 1024 are possible",
        ),
        (
            front_end(512, 10, Map::ZeroCrossingPlot { rows: 2000 }),
            "front-end rows: 2000 rows asked for, 2 to 1024 are possible",
        ),
        (
            front_end(
                512,
                10,
                Map::Mel { bands: 4, scale: Scale::Log10Half { multiply: f32::NAN } },
            ),
            "front-end multiply: a factor of NaN before the logarithm, a positive number is needed",
        ),
    ];
    for (recipe, expected) in cases {
        assert_eq!(recipe.check().unwrap_err().to_string(), expected);
        assert!(recipe.map(&[0.0; 10]).is_err());
    }
    let windows = Windows { frames: 3, hop: 0, normalise: Normalise::None };
    assert_eq!(
        windows.check(5).unwrap_err().to_string(),
        "windows hop: 0 frames asked for, 1 to 1048576 are possible"
    );
    let normalise = Normalise::PatchZScore { top_db: 60.0, quiet_bands: 5 };
    assert_eq!(
        Windows { frames: 3, hop: 1, normalise }.check(5).unwrap_err().to_string(),
        "windows quiet_bands: 5 quiet bands of 5, one at least must be heard"
    );
    let windows = Windows { frames: 3, hop: 1, normalise: Normalise::None };
    assert_eq!(
        windows.cut(&FeatureMap::new(1, 0, 5, vec![])).unwrap_err().to_string(),
        "windows: no frames to cut patches from, 1 is needed"
    );
}

#[test]
fn a_tone_lands_in_the_band_around_it() {
    let recipe = front_end(2048, 512, Map::Mel { bands: 128, scale: Scale::Power });
    for hz in [110.0f64, 440.0, 1000.0, 3520.0, 9000.0] {
        let tone: Vec<f32> = (0..22_050)
            .map(|i| (std::f64::consts::TAU * hz * f64::from(i) / 22_050.0).sin() as f32)
            .collect();
        let map = recipe.map(&tone).unwrap();
        let frame = map.frame(0, 20);
        let loudest = frame.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
        let top = taggram_features::mel::hz_to_mel(11_025.0);
        let nearest = taggram_features::mel::hz_to_mel(hz) / top * 129.0 - 1.0;
        assert!(
            (loudest as f64 - nearest).abs() <= 1.0,
            "{hz} Hz is loudest in band {loudest}, not {nearest:.2}"
        );
    }
}

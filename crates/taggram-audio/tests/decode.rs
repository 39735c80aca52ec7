//! Every format, against what was encoded or against ffmpeg's decoding.

mod common;

use std::io::Cursor;

use common::{agreement, au, decode, drain, golden, golden_f32, to_f32, tone, wav, wav16, worst};
use taggram_audio::encode::{FlacWriter, WavFormat, WavWriter};
use taggram_audio::{AudioReader, Excerpt, Limits, MonoSpec, MonoStream, read_mono};

/// What `name` is expected to be: container, codec, channels, rate.
const FILES: [(&str, &str, &str, usize, u32); 12] = [
    ("tone.wav", "wav", "pcm_s24le", 2, 44_100),
    ("tone.aiff", "aiff", "pcm_s16be", 2, 44_100),
    ("tone.oga", "ogg", "flac", 2, 44_100),
    ("tone.alac.m4a", "mp4", "alac", 2, 44_100),
    ("tone.mp3", "mp3", "mp3", 2, 44_100),
    // MPEG-2: its encoder delay is longer than a packet.
    ("tone22.mp3", "mp3", "mp3", 1, 22_050),
    ("tone.ogg", "ogg", "vorbis", 2, 44_100),
    ("tone.opus", "ogg", "opus", 2, 48_000),
    ("tone.51.opus", "ogg", "opus", 6, 48_000),
    ("tone.m4a", "mp4", "aac", 2, 44_100),
    ("tone.aac", "adts", "aac", 2, 44_100),
    ("tone.flac", "flac", "flac", 2, 44_100),
];

/// A golden file, or the FLAC of the same tone, which our own writer makes.
fn file(name: &str) -> Vec<u8> {
    if name == "tone.flac" {
        flac(&to_f32(&tone(0.35)), 44_100, 2, 16)
    } else {
        std::fs::read(golden(name)).unwrap()
    }
}

fn flac(samples: &[f32], rate: u32, channels: usize, bits: u32) -> Vec<u8> {
    let mut writer = FlacWriter::new(Cursor::new(Vec::new()), rate, channels, bits).unwrap();
    // In odd pieces, as blocks of a decoder come.
    for piece in samples.chunks(channels * 1001) {
        writer.write(piece).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn formats_are_recognised_by_content() {
    for (name, container, codec, channels, rate) in FILES {
        let (reader, samples) = decode(&file(name)).unwrap();
        let format = reader.format();
        let found =
            (format.container.as_str(), format.codec.as_str(), format.channels, format.sample_rate);
        assert_eq!(found, (container, codec, channels, rate), "{name}");
        assert!(reader.warnings().is_empty(), "{name}: {:?}", reader.warnings());
        let seconds = samples.len() as f64 / channels as f64 / f64::from(rate);
        println!("{name}: {seconds:.4} s, header {:?}", format.duration_s);
        if let Some(claimed) = format.duration_s
            && container != "adts"
        {
            assert!(
                (claimed - seconds).abs() < 0.03,
                "{name}: {claimed} s promised, {seconds} s found"
            );
        }
    }
}

#[test]
fn lossless_formats_are_exact() {
    let want = to_f32(&tone(0.35));
    for name in ["tone.wav", "tone.aiff", "tone.oga", "tone.alac.m4a", "tone.flac"] {
        let (_, have) = decode(&file(name)).unwrap();
        assert!(have.len() >= 2 * 2000, "{name} has {} samples", have.len());
        assert!(have[..] == want[..have.len()], "{name} differs");
    }
    assert_eq!(decode(&file("tone.flac")).unwrap().1.len(), want.len());
}

#[test]
fn lossy_formats_agree_with_ffmpeg_in_step() {
    for (name, least) in
        [("mp3", 90.0), ("ogg", 90.0), ("opus", 90.0), ("m4a", 90.0), ("aac", 90.0)]
    {
        let (reader, samples) = decode(&file(&format!("tone.{name}"))).unwrap();
        let left: Vec<f32> = samples.iter().step_by(reader.format().channels).copied().collect();
        let db = agreement(&golden_f32(&format!("tone_{name}.raw")), &left[6000..8000]);
        println!("{name}: {db:.1} dB, {} frames", left.len());
        assert!(db > least, "{name}: {db:.1} dB");
    }
    // The delay of the encoder is gone: the tone is where it was put.
    let want = to_f32(&tone(0.35));
    for name in ["tone.mp3", "tone.m4a", "tone.ogg"] {
        let (_, have) = decode(&file(name)).unwrap();
        let db = agreement(&want[8000..16_000], &have[8000..16_000]);
        assert!(db > 25.0, "{name} is out of step: {db:.1} dB");
    }
}

#[test]
fn seeking_lands_on_the_sample() {
    for (name, _, _, channels, rate) in FILES {
        let bytes = file(name);
        let (_, all) = decode(&bytes).unwrap();
        let frames = all.len() / channels;
        let mut reader = AudioReader::from_bytes(bytes, &Limits::default()).unwrap();
        for part in [0.9, 0.0, 0.5, 0.51, 0.2] {
            let frame = (frames as f64 * part) as usize;
            let reached = reader.seek(frame as f64 / f64::from(rate)).unwrap();
            assert!((reached * f64::from(rate) - frame as f64).abs() < 0.01, "{name}: {reached}");
            let rest = drain(&mut reader).unwrap();
            assert_eq!(rest.len(), all.len() - frame * channels, "{name} from {part}");
            let off = worst(&all[frame * channels..], &rest);
            // AAC fills in noise from a generator that starts afresh.
            let most = if ["tone.m4a", "tone.aac"].contains(&name) { 1e-3 } else { 1e-6 };
            assert!(off <= most, "{name} from {part}: off by {off}");
        }
        let error = reader.seek(1e4).unwrap_err().to_string();
        assert!(error.contains("the audio ends"), "{name}: {error}");
    }
}

#[test]
fn au_in_every_coding() {
    let pcm = tone(0.02);
    let want = to_f32(&pcm);
    let bytes = |f: &dyn Fn(i16) -> Vec<u8>| pcm.iter().flat_map(|&x| f(x)).collect::<Vec<u8>>();
    let value = |x: i16| f64::from(x) / 32768.0;
    let cases: [(u32, Vec<u8>, f32); 6] = [
        (2, bytes(&|x| vec![(x >> 8) as u8]), 1.0 / 128.0),
        (3, bytes(&|x| x.to_be_bytes().to_vec()), 0.0),
        (4, bytes(&|x| (i32::from(x) << 16).to_be_bytes()[..3].to_vec()), 0.0),
        (5, bytes(&|x| (i32::from(x) << 16).to_be_bytes().to_vec()), 0.0),
        (6, bytes(&|x| (value(x) as f32).to_be_bytes().to_vec()), 0.0),
        (7, bytes(&|x| value(x).to_be_bytes().to_vec()), 0.0),
    ];
    for (encoding, samples, most) in cases {
        // The size may be unknown (−1).
        for size in [samples.len() as u32, u32::MAX] {
            let (reader, have) = decode(&au(encoding, 44_100, 2, size, &samples)).unwrap();
            assert_eq!(reader.format().container, "au");
            assert!(reader.warnings().is_empty());
            assert!(worst(&want, &have) <= most, "AU encoding {encoding}");
        }
    }
    // The other way round, and a companding one: silence is nearly silence.
    let mut swapped = au(3, 44_100, 2, u32::MAX, &bytes(&|x| x.to_le_bytes().to_vec()));
    swapped[..24].as_chunks_mut::<4>().0.iter_mut().for_each(|word| word.reverse());
    assert!(decode(&swapped).unwrap().1 == want);
    let (reader, quiet) = decode(&au(1, 8000, 1, u32::MAX, &[0xff; 800])).unwrap();
    assert_eq!((reader.format().sample_rate, quiet.len()), (8000, 800));
    assert!(quiet.iter().all(|x| *x == 0.0));
}

#[test]
fn he_aac_comes_at_its_full_rate() {
    let wave = |f: f32, i: usize| 0.3 * (i as f32 * f * std::f32::consts::TAU / 44_100.0).sin();
    let left: Vec<f32> = (0..44_100).map(|i| wave(440.0, i)).collect();
    let right: Vec<f32> = (0..44_100).map(|i| wave(880.0, i)).collect();
    let options = syom::EncodeOptions::adts().with_bitrate_bps(48_000);
    for options in [options.clone().with_he(true), options.with_he_v2(true)] {
        let file = syom::encode_with(&[&left[..], &right[..]], 44_100, &options).unwrap();
        let (reader, samples) = decode(&file).unwrap();
        let format = reader.format();
        println!("{format:?}, {} frames, {:?}", samples.len() / 2, reader.warnings());
        assert_eq!(
            (format.codec.as_str(), format.sample_rate, format.channels),
            ("he-aac", 44_100, 2)
        );
        let frames = samples.len() / 2;
        assert!(frames.abs_diff(44_100) < 6000, "{frames} frames");
        // Twice 440 Hz is 880 zero crossings a second, whatever the phase.
        let crossings = samples.chunks(2).map(|f| f[0] > 0.0).collect::<Vec<_>>();
        let count = crossings[8000..30_050].windows(2).filter(|w| w[0] != w[1]).count();
        assert!(count.abs_diff(440) < 6, "{count} crossings in half a second");
    }
}

#[test]
fn channels_are_averaged_before_resampling() {
    let pcm: Vec<i16> =
        (0..8000).flat_map(|i| [1000 + (i % 7) as i16, -200, 64, 32, 8, 4, 2, 10]).collect();
    let mut reader = AudioReader::from_bytes(wav16(192_000, 8, &pcm), &Limits::default()).unwrap();
    assert_eq!((reader.format().channels, reader.format().sample_rate), (8, 192_000));
    let mut mono = Vec::new();
    while let Some(block) = reader.next_block().unwrap() {
        mono.extend_from_slice(block);
    }
    let want: Vec<f32> = pcm
        .chunks(8)
        .map(|frame| frame.iter().map(|&x| f64::from(x)).sum::<f64>() as f32 / 8.0 / 32768.0)
        .collect();
    assert!(worst(&want, &mono) < 1e-7);
}

#[test]
fn a_file_at_the_right_rate_is_untouched() {
    let pcm: Vec<i16> = tone(0.5).into_iter().step_by(2).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("not-an-mp3.mp3");
    std::fs::write(&path, wav16(22_050, 1, &pcm)).unwrap();
    let samples = read_mono(&path, &MonoSpec::at(22_050)).unwrap();
    assert!(samples.data == to_f32(&pcm) && samples.sample_rate == 22_050);
}

#[test]
fn excerpts_are_cut_to_the_sample() {
    let pcm: Vec<i16> = (0..100_000).map(|i| (i % 30_000) as i16).collect();
    let want = to_f32(&pcm);
    let file = wav16(10_000, 1, &pcm);
    let read = |excerpt, stream: bool| {
        let limits = Limits::default();
        let reader = if stream {
            AudioReader::from_read(Box::new(Cursor::new(file.clone())), &limits)
        } else {
            AudioReader::from_bytes(file.clone(), &limits)
        };
        let spec = MonoSpec { excerpt, ..MonoSpec::at(10_000) };
        MonoStream::new(reader.unwrap(), &spec)?.read_to_end()
    };
    for stream in [false, true] {
        let middle = read(Excerpt::Middle { seconds: 4.0 }, stream).unwrap();
        assert!(middle.data == want[30_000..70_000], "middle, stream {stream}");
        let range = read(Excerpt::Range { start_s: 9.5, seconds: 3.0 }, stream).unwrap();
        assert!(range.data == want[95_000..], "range, stream {stream}");
        let all = read(Excerpt::Middle { seconds: 11.0 }, stream).unwrap();
        assert!(all.data == want);
        assert!(read(Excerpt::Range { start_s: 11.0, seconds: 3.0 }, stream).is_err());
        assert!(read(Excerpt::Middle { seconds: f64::NAN }, stream).is_err());
    }
}

#[test]
fn streams_give_what_files_give() {
    for (name, ..) in FILES {
        let bytes = file(name);
        let (_, want) = decode(&bytes).unwrap();
        let mut reader = AudioReader::from_read(Box::new(Cursor::new(bytes)), &Limits::default())
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(drain(&mut reader).unwrap() == want, "{name}");
    }
    // A WAV from a pipe does not know its length.
    let pcm = tone(0.1);
    let bytes: Vec<u8> = pcm.iter().flat_map(|x| x.to_le_bytes()).collect();
    for size in [u32::MAX, u32::MAX - 36, 0x7fff_f000] {
        let file = wav(1, 16, 44_100, 2, size, &bytes);
        let mut reader =
            AudioReader::from_read(Box::new(Cursor::new(file.clone())), &Limits::default())
                .unwrap_or_else(|e| panic!("size {size}: {e}"));
        assert!(drain(&mut reader).unwrap() == to_f32(&pcm), "size {size} from a stream");
        assert!(decode(&file).unwrap().1 == to_f32(&pcm), "size {size} from memory");
    }
}

#[test]
fn writers_are_exact() {
    let pcm = to_f32(&tone(0.2));
    let fine: Vec<f32> =
        (0..20_000).map(|i| ((i * 7919) % 16_777_216 - 8_388_608) as f32 / 8_388_608.0).collect();
    for (format, bits, samples) in [
        (WavFormat::Int16, 16, &pcm),
        (WavFormat::Int24, 24, &fine),
        (WavFormat::Float32, 24, &fine),
    ] {
        let mut writer = WavWriter::new(Cursor::new(Vec::new()), 44_100, 2, format).unwrap();
        samples.chunks(999).for_each(|piece| writer.write(piece).unwrap());
        let (reader, have) = decode(&writer.finish().unwrap().into_inner()).unwrap();
        assert!(have == *samples && reader.warnings().is_empty(), "WAV {format:?}");
        let (reader, have) = decode(&flac(samples, 44_100, 2, bits)).unwrap();
        assert!(have == *samples && reader.warnings().is_empty(), "FLAC of {bits} bits");
    }
    for (rate, channels) in [(8000, 1), (11_025, 3), (22_050, 8), (96_000, 2)] {
        let samples: Vec<f32> = pcm[..channels * 700].to_vec();
        let (reader, have) = decode(&flac(&samples, rate, channels, 16)).unwrap();
        assert_eq!((reader.format().sample_rate, reader.format().channels), (rate, channels));
        assert!(have == samples, "FLAC {rate} Hz, {channels} channels");
    }
}

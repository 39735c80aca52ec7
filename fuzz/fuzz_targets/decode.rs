//! Any bytes, decoded to the end within small limits: no panic, no hang, only finite samples.
//! A crash found here becomes a small file in `tests/golden/audio` and a test.
#![no_main]

use libfuzzer_sys::fuzz_target;
use taggram_audio::{AudioReader, ErrorKind, Limits};

fuzz_target!(|data: &[u8]| {
    let mut limits = Limits::upload();
    limits.max_seconds = 20.0;
    let result = AudioReader::from_bytes(data, &limits).and_then(|mut reader| {
        while let Some(block) = reader.next_block()? {
            assert!(block.iter().all(|x| x.is_finite()));
        }
        reader.seek(0.5)
    });
    if let Err(error) = result {
        // The reader turns a decoder's panic into this kind; for the fuzzer it is a find.
        assert_ne!(error.kind, ErrorKind::Bug, "{error}");
    }
});

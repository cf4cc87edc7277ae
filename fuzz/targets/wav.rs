//! Audio files of clients.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = solo_audio::wav::inspect(data);
    let _ = solo_audio::wav::read_speech(data);
});

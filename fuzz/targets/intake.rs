//! Audio as clients send it: at any rate, with any number of channels, however the bytes are cut, the same samples come out.
#![no_main]

use libfuzzer_sys::fuzz_target;
use solo_audio::{Intake, SampleRate};

fn hear(rate: SampleRate, channels: u16, bytes: &[u8], size: usize) -> Vec<i16> {
    let mut intake = Intake::new(rate, channels);
    let mut samples: Vec<i16> = bytes.chunks(size).flat_map(|piece| intake.push(piece)).collect();
    samples.extend(intake.flush());
    samples
}

fuzz_target!(|input: (u32, u16, u8, &[u8])| {
    let (hz, channels, size, bytes) = input;
    let Ok(rate) = SampleRate::new(hz) else { return };
    let whole = hear(rate, channels, bytes, bytes.len().max(1));
    assert_eq!(whole, hear(rate, channels, bytes, usize::from(size) + 1));
    let instants = bytes.len() / (2 * usize::from(channels.max(1)));
    let wanted = instants as u64 * 16_000 / u64::from(hz);
    assert!(
        (whole.len() as u64).abs_diff(wanted) <= 1,
        "{instants} instants at {hz} Hz gave {} samples",
        whole.len()
    );
});

//! A synthetic voice from a loudspeaker, in a synthetic room, with another voice before the microphone.

use super::*;
use crate::{level, pcm};

const RATE: usize = SampleRate::SPEECH.hz() as usize;

/// Noise that is the same in every run, −1.0 to 1.0.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f32 / (1_u64 << 30) as f32 - 1.0
    }
}

/// Something like speech: harmonics of a gliding pitch and some breath, four syllables a second, each of its own colour
/// and height, with a pause now and then. The echo canceller knows no words; it knows spectra that change.
fn voice(seed: u64, pitch_hz: f32, seconds: usize) -> Vec<f32> {
    let mut noise = Noise(seed);
    let mut phase = 0.0_f32;
    let mut out = Vec::with_capacity(seconds * RATE);
    while out.len() < seconds * RATE {
        let (loud, colour, glide) = (noise.next(), 2.0 + 10.0 * noise.next().abs(), 0.3 * noise.next());
        let height = if loud < -0.6 { 0.0 } else { 0.3 + 0.7 * loud.abs() };
        for n in 0..RATE / 4 {
            let along = n as f32 / (RATE / 4) as f32;
            phase = (phase + pitch_hz * (1.0 + glide * along) / RATE as f32).fract();
            let tone = (1..=24)
                .map(|k| k as f32)
                .map(|k| (std::f32::consts::TAU * k * phase).sin() / (1.0 + (k - colour).abs()))
                .sum::<f32>();
            let envelope = height * (std::f32::consts::PI * along).sin();
            out.push(0.06 * envelope * (tone + 0.2 * noise.next()));
        }
    }
    out
}

/// What a microphone hears of a loudspeaker: `delay_ms` later, quieter, and with 200 ms of reverberation.
fn echo_of(played: &[f32], delay_ms: usize) -> Vec<f32> {
    let mut noise = Noise(7);
    let taps = RATE / 5;
    let mut room: Vec<f32> = (0..taps)
        .map(|n| 0.1 * noise.next() * 10_f32.powf(-3.0 * n as f32 / taps as f32))
        .collect();
    room[0] = 0.3;
    let mut heard = vec![0.0; played.len() + taps + delay_ms * RATE / 1000];
    for (n, sample) in played.iter().enumerate() {
        let from = n + delay_ms * RATE / 1000;
        for (to, tap) in heard[from..from + taps].iter_mut().zip(&room) {
            *to += sample * tap;
        }
    }
    heard.truncate(played.len());
    heard
}

fn sum(left: &[f32], right: &[f32]) -> Vec<f32> {
    left.iter().zip(right).map(|(l, r)| l + r).collect()
}

/// Plays and captures side by side, in pieces of these lengths, and gives what is left.
fn through(
    canceller: &mut EchoCanceller,
    played: &[f32],
    captured: &[f32],
    mut lengths: impl Iterator<Item = usize>,
) -> Clean {
    let (played, captured) = (pcm::to_i16(played), pcm::to_i16(captured));
    let (mut at, mut clean) = (0, Clean::default());
    while at < captured.len() {
        let end = captured.len().min(at + lengths.next().unwrap());
        canceller.played(&played[at..end]);
        extend(&mut clean, canceller.capture(&captured[at..end]));
        at = end;
    }
    clean
}

fn extend(clean: &mut Clean, more: Clean) {
    clean.strict.extend(more.strict);
    clean.gentle.extend(more.gentle);
}

fn frames() -> impl Iterator<Item = usize> {
    std::iter::repeat(FRAME)
}

/// How much quieter the second is, in dB, between two seconds of both.
fn attenuation(before: &[f32], after: &[i16], from: usize, to: usize) -> f32 {
    let span = from * RATE..to * RATE;
    level::rms_dbfs(&before[span.clone()]) - level::rms_dbfs_i16(&after[span])
}

/// Normalised cross-correlation.
fn likeness(left: &[i16], right: &[i16]) -> f64 {
    let product = |a: &[i16], b: &[i16]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    product(left, right) / (product(left, left) * product(right, right)).sqrt()
}

#[test]
fn an_echo_alone_is_taken_out_whatever_its_delay() {
    let played = voice(1, 110.0, 8);
    for delay_ms in [15, 60, 180, 450] {
        let heard = echo_of(&played, delay_ms);
        let clean = through(&mut EchoCanceller::new(), &played, &heard, frames());
        let taken = attenuation(&heard, &clean.strict, 3, 8);
        assert!(taken >= 20.0, "{delay_ms} ms: {taken:.1} dB");
        let taken = attenuation(&heard, &clean.gentle, 3, 8);
        assert!(taken >= 20.0, "gently, {delay_ms} ms: {taken:.1} dB");
    }
}

#[test]
fn a_voice_over_the_echo_survives_and_the_echo_does_not_come_back() {
    let (played, heard) = (voice(1, 110.0, 12), echo_of(&voice(1, 110.0, 12), 60));
    let mut speaking = vec![0.0; 4 * RATE];
    // 8 dB above the echo: somebody who speaks to the device, not to the next room.
    speaking.extend(voice(2, 190.0, 4));
    speaking.resize(12 * RATE, 0.0);
    let alone = level::rms_dbfs(&speaking[4 * RATE..8 * RATE]) - level::rms_dbfs(&heard[4 * RATE..8 * RATE]);
    let speaking: Vec<f32> = speaking.iter().map(|s| s * level::gain(8.0 - alone)).collect();

    let clean = through(&mut EchoCanceller::new(), &played, &sum(&heard, &speaking), frames());
    // The yardstick has gone through the same filters, without anything being played.
    let wanted = through(&mut EchoCanceller::new(), &[0.0; 12 * RATE], &speaking, frames());

    let span = 4 * RATE..8 * RATE;
    let wanted = &wanted.strict[span.clone()];
    let left = |clean: &[i16], least: f64| {
        let lost = level::rms_dbfs_i16(wanted) - level::rms_dbfs_i16(&clean[span.clone()]);
        assert!((-1.0..6.0).contains(&lost), "the voice lost {lost:.1} dB");
        let alike = likeness(wanted, &clean[span.clone()]);
        assert!(alike > least, "only {alike:.2} of the voice is left");
        let taken = attenuation(&heard, clean, 9, 12);
        assert!(taken >= 20.0, "afterwards: {taken:.1} dB");
        alike
    };
    let (strict, gentle) = (left(&clean.strict, 0.8), left(&clean.gentle, 0.8));
    assert!(
        gentle > strict,
        "who reads the words has no more of them: {gentle:.3}, {strict:.3}"
    );
}

#[test]
fn a_voice_alone_comes_out_as_it_went_in_8_ms_later() {
    let speaking = voice(3, 170.0, 4);
    let clean = EchoCanceller::new().capture(&pcm::to_i16(&speaking));
    for clean in [clean.strict, clean.gentle] {
        let change = attenuation(&speaking, &clean, 0, 4);
        assert!(change.abs() < 1.0, "{change:.1} dB");
    }
    // A click says what the delay is; a voice is turned a little by the filter below 100 Hz.
    let mut click = vec![0_i16; RATE];
    click[RATE / 2] = 10_000;
    let clean = EchoCanceller::new().capture(&click);
    for clean in [clean.strict, clean.gentle] {
        let loudest = (0..clean.len()).max_by_key(|n| clean[*n].unsigned_abs()).unwrap();
        assert_eq!(loudest, RATE / 2 + EchoCanceller::DELAY_SAMPLES);
    }
}

#[test]
fn silence_stays_silence() {
    // AEC3 fills what it takes out with noise as loud as the room's; in digital silence that is the last bit.
    let still = |clean: &[i16]| clean.len() == 3 * RATE && clean.iter().all(|sample| sample.unsigned_abs() <= 3);
    let quiet = |clean: &Clean| still(&clean.strict) && still(&clean.gentle);
    let mut canceller = EchoCanceller::new();
    assert!(quiet(&canceller.capture(&vec![0; 3 * RATE])));
    // While something is played that the microphone does not hear (a headset), too.
    canceller.played(&pcm::to_i16(&voice(1, 110.0, 3)));
    assert!(quiet(&canceller.capture(&vec![0; 3 * RATE])));
}

#[test]
fn the_lengths_of_the_pieces_make_no_difference() {
    let played = voice(1, 110.0, 4);
    let heard = sum(&echo_of(&played, 40), &voice(2, 190.0, 4));
    let wanted = through(&mut EchoCanceller::new(), &played, &heard, frames());
    for lengths in [
        vec![1, 2, 3],
        vec![137, 480, 33],
        vec![341],
        vec![1_600, 7],
        vec![4_096],
    ] {
        let clean = through(
            &mut EchoCanceller::new(),
            &played,
            &heard,
            lengths.iter().copied().cycle(),
        );
        assert!(clean == wanted, "{lengths:?}");
    }
}

#[test]
fn speech_that_is_handed_over_seconds_ahead_meets_its_echo() {
    let played = voice(1, 110.0, 6);
    let heard = echo_of(&played, 40);
    let wanted = through(&mut EchoCanceller::new(), &played, &heard, frames());
    let mut canceller = EchoCanceller::new();
    canceller.played(&pcm::to_i16(&played[..5 * RATE]));
    let mut clean = canceller.capture(&pcm::to_i16(&heard[..RATE]));
    canceller.played(&pcm::to_i16(&played[5 * RATE..]));
    extend(&mut clean, canceller.capture(&pcm::to_i16(&heard[RATE..])));
    assert!(clean == wanted);
}

#[test]
fn what_a_stopped_loudspeaker_never_played_is_forgotten() {
    let (first, second) = (voice(1, 110.0, 6), voice(4, 130.0, 6));
    let mut heard = echo_of(&first, 40);
    heard.truncate(3 * RATE);
    heard.extend(vec![0.0; RATE]);
    heard.extend(echo_of(&second, 40));
    let left = |stop: bool| {
        let mut canceller = EchoCanceller::new();
        canceller.played(&pcm::to_i16(&first));
        let mut clean = canceller.capture(&pcm::to_i16(&heard[..3 * RATE]));
        if stop {
            canceller.stopped();
        }
        extend(&mut clean, canceller.capture(&pcm::to_i16(&heard[3 * RATE..4 * RATE])));
        extend(
            &mut clean,
            through(&mut canceller, &second, &heard[4 * RATE..], frames()),
        );
        attenuation(&heard, &clean.strict, 6, 10)
    };
    let (told, untold) = (left(true), left(false));
    assert!(told >= 20.0, "{told:.1} dB");
    assert!(
        untold < 10.0,
        "the test proves nothing: {untold:.1} dB without being told"
    );
}

#[test]
fn after_a_reset_it_is_as_new() {
    let played = voice(1, 110.0, 3);
    let heard = echo_of(&played, 40);
    let mut canceller = EchoCanceller::new();
    let wanted = through(&mut canceller, &played, &heard, frames());
    canceller.played(&[5_000; 700]);
    canceller.capture(&[-300; 77]);
    canceller.reset();
    assert!(through(&mut canceller, &played, &heard, frames()) == wanted);
}

#[test]
fn a_stream_of_captured_sound_that_stands_still_costs_a_bounded_amount_of_memory() {
    let mut canceller = EchoCanceller::new();
    for _ in 0..700 {
        canceller.played(&[1; RATE]);
    }
    assert_eq!(canceller.played.len(), LONGEST_QUEUE);
}

/// A voice makes minutes of speech in seconds: what does not wait here is heard as somebody else's.
#[test]
fn a_reply_of_three_minutes_waits_as_a_whole() {
    let mut canceller = EchoCanceller::new();
    for _ in 0..180 {
        canceller.played(&[1; RATE]);
    }
    assert_eq!(canceller.played.len(), LEAD + 180 * RATE);
}

//! Sound in which nobody speaks, for what must stay silent: 16 kHz mono, the same for the same seed on every machine of one
//! kind. Levels are those of a room that a microphone hears; [`amplified`] makes them others.
//!
//! The kinds fall in two: textures that go on evenly (`textures.rs`), and rooms in which things happen at random moments
//! (`happenings.rs`), which are harder on detectors, because an onset after silence looks like the beginning of a word.

mod happenings;
mod random;
mod textures;

use std::time::Duration;

pub use random::Random;

/// Samples a second.
pub const RATE: usize = 16_000;

/// A kind of sound without speech.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Noise {
    /// Digital silence.
    Silence,
    /// The noise of a microphone in a quiet room: ±1 or 2 units.
    Floor,
    /// Equal power at every frequency, −34 dBFS.
    White,
    /// Equal power in every octave, −34 dBFS.
    Pink,
    /// Falling by 6 dB an octave, −30 dBFS.
    Brown,
    /// 50 Hz mains with its harmonics, −34 dBFS.
    Hum,
    /// A fan: rushing air that beats, and its motor's tone, −34 dBFS.
    Fan,
    /// Rain on a window: thousands of drops a second.
    Rain,
    /// Chords and a melody with attack, decay and vibrato, −26 dBFS.
    Music,
    /// A drum machine.
    Drums,
    /// Typing on a keyboard, with pauses.
    Keyboard,
    /// Somebody breathes near the microphone.
    Breathing,
    /// Somebody coughs.
    Coughs,
    /// Doors fall shut, far and near.
    Doors,
    /// Cutlery and dishes: short ringing tones.
    Dishes,
    /// A telephone rings, a microwave beeps, a siren passes.
    Alarms,
}

impl Noise {
    /// All kinds.
    pub const ALL: [Self; 16] = [
        Self::Silence,
        Self::Floor,
        Self::White,
        Self::Pink,
        Self::Brown,
        Self::Hum,
        Self::Fan,
        Self::Rain,
        Self::Music,
        Self::Drums,
        Self::Keyboard,
        Self::Breathing,
        Self::Coughs,
        Self::Doors,
        Self::Dishes,
        Self::Alarms,
    ];

    /// Its name: "keyboard".
    pub fn name(self) -> &'static str {
        match self {
            Self::Silence => "silence",
            Self::Floor => "floor",
            Self::White => "white",
            Self::Pink => "pink",
            Self::Brown => "brown",
            Self::Hum => "hum",
            Self::Fan => "fan",
            Self::Rain => "rain",
            Self::Music => "music",
            Self::Drums => "drums",
            Self::Keyboard => "keyboard",
            Self::Breathing => "breathing",
            Self::Coughs => "coughs",
            Self::Doors => "doors",
            Self::Dishes => "dishes",
            Self::Alarms => "alarms",
        }
    }

    /// That much of it.
    pub fn samples(self, duration: Duration, seed: u64) -> Vec<i16> {
        let length = samples_of(duration);
        // Two kinds with one seed share nothing.
        let random = &mut Random::new(seed ^ (self as u64 + 1).wrapping_mul(0xD6E8_FEB8_6659_FD93));
        match self {
            Self::Silence => vec![0; length],
            Self::Floor => (0..length).map(|_| random.normal().round() as i16).collect(),
            Self::White => at_dbfs(&textures::white(length, random), -34.0),
            Self::Pink => at_dbfs(&textures::pink(length, random), -34.0),
            Self::Brown => at_dbfs(&textures::brown(length, random), -30.0),
            Self::Hum => at_dbfs(&textures::hum(length, random), -34.0),
            Self::Fan => at_dbfs(&textures::fan(length, random), -34.0),
            Self::Rain => at_dbfs(&textures::rain(length, random), -36.0),
            Self::Music => at_dbfs(&happenings::music(length, random), -26.0),
            Self::Drums => pcm(&happenings::drums(length, random)),
            Self::Keyboard => pcm(&happenings::keyboard(length, random)),
            Self::Breathing => pcm(&happenings::breathing(length, random)),
            Self::Coughs => pcm(&happenings::coughs(length, random)),
            Self::Doors => pcm(&happenings::doors(length, random)),
            Self::Dishes => pcm(&happenings::dishes(length, random)),
            Self::Alarms => pcm(&happenings::alarms(length, random)),
        }
    }
}

/// `duration` of what no mouth makes (all kinds but coughs: recognition writes "oh" for one) in equal parts, one after another:
/// silence first, then what is heard in rooms.
pub fn medley(duration: Duration, seed: u64) -> Vec<i16> {
    let kinds = Noise::ALL.into_iter().filter(|noise| *noise != Noise::Coughs);
    let part = duration / kinds.clone().count() as u32;
    let mut samples: Vec<i16> = kinds.flat_map(|noise| noise.samples(part, seed)).collect();
    // What rounding took is silence.
    samples.resize(samples_of(duration), 0);
    samples
}

/// Samples, so many decibels louder, clipped as a converter clips them.
pub fn amplified(samples: &[i16], decibels: f32) -> Vec<i16> {
    let gain = 10f32.powf(decibels / 20.0);
    samples
        .iter()
        .map(|&sample| (f32::from(sample) * gain).round() as i16)
        .collect()
}

/// Root mean square of samples, where 1.0 is full scale.
pub fn rms(samples: &[f32]) -> f32 {
    let power: f64 = samples.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    (power / samples.len().max(1) as f64).sqrt() as f32
}

/// White noise of unit power; −1.0 to 1.0 is no limit of it.
pub fn white(length: usize, random: &mut Random) -> Vec<f32> {
    textures::white(length, random)
}

/// Pink noise; its power is no particular one.
pub fn pink(length: usize, random: &mut Random) -> Vec<f32> {
    textures::pink(length, random)
}

fn samples_of(duration: Duration) -> usize {
    (duration.as_secs_f64() * RATE as f64).round() as usize
}

/// Scaled to a root mean square.
fn at_dbfs(samples: &[f32], decibels: f32) -> Vec<i16> {
    let gain = 10f32.powf(decibels / 20.0) / rms(samples).max(f32::MIN_POSITIVE);
    samples.iter().map(|&x| (x * gain * 32_767.0).round() as i16).collect()
}

/// Full scale is 1.0.
fn pcm(samples: &[f32]) -> Vec<i16> {
    samples.iter().map(|&x| (x * 32_767.0).round() as i16).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECONDS: Duration = Duration::from_secs(5);

    #[test]
    fn a_seed_gives_the_same_sound_and_another_seed_another() {
        for noise in Noise::ALL {
            let once = noise.samples(SECONDS, 7);
            assert_eq!(once.len(), 80_000, "{}", noise.name());
            assert_eq!(once, noise.samples(SECONDS, 7), "{}", noise.name());
            if noise != Noise::Silence {
                assert_ne!(once, noise.samples(SECONDS, 8), "{}", noise.name());
            }
        }
    }

    #[test]
    fn sounds_are_heard_and_not_clipped() {
        for noise in Noise::ALL.into_iter().filter(|noise| *noise != Noise::Silence) {
            let samples = noise.samples(Duration::from_secs(20), 1);
            let peak = samples.iter().map(|sample| sample.unsigned_abs()).max().unwrap();
            let clipped = samples.iter().filter(|sample| sample.unsigned_abs() >= 32_767).count();
            assert_eq!(clipped, 0, "{}", noise.name());
            let floor = if noise == Noise::Floor { 2 } else { 300 };
            assert!(peak > floor, "{}: {peak}", noise.name());
        }
    }

    /// Mean power of the difference of neighbours against that of the samples: 2 for white noise, near 0 for low tones.
    fn brightness(samples: &[i16]) -> f64 {
        let square = |x: f64| x * x;
        let steps: f64 = samples
            .windows(2)
            .map(|pair| square(f64::from(pair[1]) - f64::from(pair[0])))
            .sum();
        steps / samples.iter().map(|&x| square(f64::from(x))).sum::<f64>()
    }

    #[test]
    fn colours_of_noise_are_those_of_their_spectra() {
        let of = |noise: Noise| brightness(&noise.samples(SECONDS, 3));
        let (white, pink, brown, hum) = (of(Noise::White), of(Noise::Pink), of(Noise::Brown), of(Noise::Hum));
        assert!((1.9..2.1).contains(&white), "{white}");
        assert!(
            pink < white / 2.0 && brown < pink / 4.0 && hum < pink,
            "{white} {pink} {brown} {hum}"
        );
    }

    #[test]
    fn a_medley_is_as_long_as_it_should_be() {
        assert_eq!(medley(Duration::from_millis(15_001), 1).len(), 240_016);
        assert_eq!(amplified(&[100, -100, 30_000], 20.0), [1_000, -1_000, i16::MAX]);
    }
}

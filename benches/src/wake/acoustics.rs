//! What a room, a distance and noise make of speech. Full scale is 1.0; everything follows from the [`Random`] that is given.

use solo_audio::{SampleRate, resample_i16};
use solo_testkit::noise::{Random, rms};

use super::RATE;

/// A room, by the time in which its sound falls by 60 dB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// No room: the microphone at the mouth.
    Dry,
    /// 0.2 s: a study with curtains.
    Small,
    /// 0.4 s: a living room.
    Living,
    /// 0.7 s: a kitchen with tiles.
    Tiled,
}

impl Room {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Dry, Self::Small, Self::Living, Self::Tiled];

    /// Its name: "living".
    pub fn name(self) -> &'static str {
        match self {
            Self::Dry => "dry",
            Self::Small => "small",
            Self::Living => "living",
            Self::Tiled => "tiled",
        }
    }

    fn seconds(self) -> f32 {
        match self {
            Self::Dry => 0.0,
            Self::Small => 0.2,
            Self::Living => 0.4,
            Self::Tiled => 0.7,
        }
    }

    /// Speech as it is heard in it, as long as it was. The impulse response is velvet noise (Karjalainen and Järveläinen
    /// 2007): the direct sound, and after it sparse pulses of random sign that decay, which sound as dense noise does and
    /// cost a hundredth.
    pub fn hear(self, speech: &[f32], random: &mut Random) -> Vec<f32> {
        if self == Self::Dry {
            return speech.to_vec();
        }
        let mut out = vec![0.0; speech.len()];
        for (at, gain) in self.pulses(random) {
            for (out, x) in out.iter_mut().skip(at).zip(speech) {
                *out += gain * x;
            }
        }
        out
    }

    /// Its impulse response: when each pulse comes, in samples, and how strong it is. The direct sound comes first.
    pub fn pulses(self, random: &mut Random) -> Vec<(usize, f32)> {
        let length = (self.seconds() * RATE as f32) as usize;
        // 800 pulses a second, each at a random place of its own span.
        let span = RATE / 800;
        let mut pulses = vec![(0, 1.0)];
        for begin in (80..length).step_by(span) {
            let at = begin + random.below(span);
            // 60 dB over the length; the first reflections are half as strong as the direct sound.
            let fall = 10f32.powf(-3.0 * at as f32 / length as f32);
            let sign = if random.bits() & 1 == 0 { 1.0 } else { -1.0 };
            pulses.push((at, 0.25 * sign * fall));
        }
        pulses
    }
}

/// Another speaker: pitch and formants `factor` times as high, and as much faster.
pub fn shifted(speech: &[i16], factor: f32) -> Vec<i16> {
    // Played at another rate: whole numbers of Hz are fine enough.
    let Ok(from) = SampleRate::new((RATE as f32 * factor) as u32) else {
        return speech.to_vec();
    };
    resample_i16(speech, from, SampleRate::SPEECH)
}

/// From the first to the last 10 ms that are less than 32 dB below the loudest: a keyword ends in a faint "s".
pub fn sounding(speech: &[i16]) -> std::ops::Range<usize> {
    let power = |frame: &[i16]| frame.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>() / frame.len() as f64;
    let powers: Vec<f64> = speech.chunks(160).map(power).collect();
    let loudest = powers.iter().copied().fold(0.0, f64::max);
    let loud = |power: &f64| *power > 0.0 && *power >= loudest / 1_600.0;
    let first = powers.iter().position(loud).unwrap_or(0);
    let last = powers.iter().rposition(loud).unwrap_or(0);
    first * 160..((last + 1) * 160).min(speech.len())
}

/// Speech with noise under it: the speech's power where it sounds is `snr` dB above the noise's, and lies at `level` dBFS.
/// The noise is repeated where it is shorter.
pub fn mixed(speech: &[f32], sounding: std::ops::Range<usize>, noise: Option<(&[f32], f32)>, level: f32) -> Vec<i16> {
    let loudness = rms(&speech[sounding]).max(1e-9);
    let gain = 10f32.powf(level / 20.0) / loudness;
    let mut out: Vec<f32> = speech.iter().map(|x| x * gain).collect();
    if let Some((noise, snr)) = noise {
        let under = 10f32.powf((level - snr) / 20.0) / rms(noise).max(1e-9);
        for (out, x) in out.iter_mut().zip(noise.iter().cycle()) {
            *out += x * under;
        }
    }
    solo_audio::pcm::to_i16(&out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_lies_as_far_below_as_it_should() {
        let mut random = Random::new(1);
        let speech: Vec<f32> = (0..16_000).map(|i| 0.3 * (i as f32 * 0.2).sin()).collect();
        let noise = solo_testkit::noise::white(16_000, &mut random);
        let clean = solo_audio::pcm::to_f32(&mixed(&speech, 0..16_000, None, -20.0));
        let noisy = solo_audio::pcm::to_f32(&mixed(&speech, 0..16_000, Some((&noise, 10.0)), -20.0));
        let rest: Vec<f32> = noisy.iter().zip(&clean).map(|(a, b)| a - b).collect();
        assert!((rms(&clean) - 0.1).abs() < 0.001, "{}", rms(&clean));
        assert!((rms(&clean) / rms(&rest) - 3.162).abs() < 0.05);
    }

    #[test]
    fn a_room_goes_on_sounding_and_is_the_same_for_a_seed() {
        let mut click = vec![0.0; 16_000];
        click[100] = 1.0;
        let heard = Room::Living.hear(&click, &mut Random::new(5));
        assert_eq!(heard, Room::Living.hear(&click, &mut Random::new(5)));
        assert_eq!(heard[100], 1.0);
        assert!(rms(&heard[180..2_000]) > 10.0 * rms(&heard[4_000..6_600]));
        assert!(heard[7_000..].iter().all(|x| *x == 0.0));
    }

    #[test]
    fn sound_begins_and_ends() {
        let speech = [vec![1; 1_600], vec![8_000; 3_200], vec![1; 1_600]].concat();
        assert_eq!(sounding(&speech), 1_600..4_800);
        let length = shifted(&speech, 1.25).len();
        assert!((5_000..5_250).contains(&length), "{length}");
    }
}

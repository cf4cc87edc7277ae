//! Makes speech of what a microphone captures: one channel at 16,000 Hz, without what the loudspeaker played.
//!
//! Both sides come at rates of their own and are resampled in the same way, so that neither gains on the other.

use solo_audio::{Clean, EchoCanceller, NoiseSuppressor, Resampler, SampleRate, level, pcm};

use super::Heard;

/// A piece of speech.
#[derive(Debug, Clone, PartialEq)]
pub struct Speech {
    /// Samples at [`SampleRate::SPEECH`]; `gentle` is empty where no echo is taken out.
    pub samples: Clean,
    /// How loud they are, in dBFS.
    pub level_dbfs: f32,
}

/// The way from a microphone's samples to speech.
pub struct Ears {
    captured: Resampler,
    played: Option<(Resampler, EchoCanceller)>,
    noise: Option<(NoiseSuppressor, NoiseSuppressor)>,
}

impl Ears {
    /// Ears for a microphone of one rate. With a loudspeaker's rate its echo is taken out.
    pub fn new(microphone: SampleRate, loudspeaker: Option<SampleRate>) -> Self {
        Self {
            captured: Resampler::new(microphone, SampleRate::SPEECH),
            played: loudspeaker.map(|rate| (Resampler::new(rate, SampleRate::SPEECH), EchoCanceller::new())),
            noise: None,
        }
    }

    /// Takes steady noise out of what is heard.
    pub fn suppressing_noise(self) -> Self {
        Self {
            noise: Some(Default::default()),
            ..self
        }
    }

    /// Takes what a device tells; gives speech when there is some.
    pub fn hear(&mut self, heard: &Heard) -> Option<Speech> {
        match (heard, &mut self.played) {
            (Heard::Captured(samples), played) => {
                let samples = pcm::to_i16(&self.captured.push(samples));
                let samples = match played {
                    Some((_, canceller)) => canceller.capture(&samples),
                    None => Clean {
                        strict: samples,
                        gentle: Vec::new(),
                    },
                };
                let samples = match &mut self.noise {
                    Some((strict, gentle)) => Clean {
                        strict: strict.suppress(&samples.strict),
                        gentle: gentle.suppress(&samples.gentle),
                    },
                    None => samples,
                };
                let level_dbfs = level::rms_dbfs_i16(&samples.strict);
                (!samples.strict.is_empty()).then_some(Speech { samples, level_dbfs })
            }
            (Heard::Played(samples), Some((resampler, canceller))) => {
                canceller.played(&pcm::to_i16(&resampler.push(samples)));
                None
            }
            (Heard::Silent, Some((resampler, canceller))) => {
                canceller.played(&resampler.flush_i16());
                None
            }
            (Heard::Played(_) | Heard::Silent | Heard::Lost(..), _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A buzz whose height changes eight times a second.
    fn buzz(rate: SampleRate, seconds: u32) -> Vec<f32> {
        let hz = rate.hz() as f32;
        (0..seconds * rate.hz())
            .map(|n| n as f32 / hz)
            .map(|t| {
                let step = (t * 8.0).floor();
                let pitch = 120.0 + 35.0 * ((step * 2.399).sin() + 1.0);
                (0.2 + 0.8 * (step * 1.7).sin().abs())
                    * (1..12)
                        .map(|k| (std::f32::consts::TAU * k as f32 * pitch * t).sin() / k as f32)
                        .sum::<f32>()
                    * 0.1
            })
            .collect()
    }

    #[test]
    fn what_the_loudspeaker_plays_at_its_rate_is_not_heard_at_the_microphones() {
        let (microphone, loudspeaker) = (SampleRate::new(44_100).unwrap(), SampleRate::new(48_000).unwrap());
        let (captured, played) = (buzz(microphone, 6), buzz(loudspeaker, 6));
        let level = |reference: Option<SampleRate>| {
            let mut ears = Ears::new(microphone, reference);
            let mut speech = Vec::new();
            // 100 ms late and at half its height, in the pieces of two devices.
            let late = [vec![0.0; 4_410], captured.iter().map(|s| 0.5 * s).collect()].concat();
            for (played, captured) in played.chunks(960).zip(late.chunks(882)) {
                ears.hear(&Heard::Played(played.to_vec()));
                speech.extend(ears.hear(&Heard::Captured(captured.to_vec())).map(|s| s.samples.strict));
            }
            let speech = speech.concat();
            level::rms_dbfs_i16(&speech[3 * 16_000..])
        };
        let (with, without) = (level(Some(loudspeaker)), level(None));
        assert!(without - with >= 20.0, "{without:.1} dBFS became {with:.1}");
    }

    #[test]
    fn speech_has_its_level() {
        let rate = SampleRate::new(48_000).unwrap();
        let mut ears = Ears::new(rate, None);
        let speech = ears.hear(&Heard::Captured(vec![0.1; 48_000])).unwrap();
        assert!((speech.level_dbfs + 20.0).abs() < 0.5, "{}", speech.level_dbfs);
        assert!((15_000..=16_000).contains(&speech.samples.strict.len()));
        assert_eq!(ears.hear(&Heard::Captured(vec![])), None);
    }
}

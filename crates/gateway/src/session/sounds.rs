//! Sounds that are no reply: the chime after a wake word, and the recorded "sorry".
//!
//! "Sorry" must be heard exactly when nothing can be synthesised, so it is a recording that is part of the program.

use std::f32::consts::TAU;

use solo_audio::{SampleRate, WavError, pcm, resample_i16, wav};

/// The sounds of all conversations.
pub(crate) struct Sounds {
    sorry: Vec<i16>,
    sorry_rate: SampleRate,
}

impl Sounds {
    /// Decodes the recording.
    ///
    /// # Errors
    /// When it is damaged.
    pub(crate) fn load() -> Result<Self, WavError> {
        let recorded = wav::read(include_bytes!("../../assets/sorry.wav"))?;
        Ok(Self {
            sorry: recorded.mono_i16(),
            sorry_rate: recorded.sample_rate,
        })
    }

    /// "Sorry", as s16le at `rate`.
    pub(crate) fn sorry(&self, rate: SampleRate) -> Vec<u8> {
        pcm::to_s16le(&resample_i16(&self.sorry, self.sorry_rate, rate))
    }

    /// Two soft rising notes, 180 ms, as s16le at `rate`.
    pub(crate) fn chime(&self, rate: SampleRate) -> Vec<u8> {
        let note = |hz: f32| {
            let samples = rate.samples_in_ms(90);
            (0..samples).map(move |n| {
                let at = n as f32 / samples as f32;
                // Rises in the first tenth, then fades: no click at either end.
                let loudness = (at * 10.0).min(1.0) * (1.0 - at);
                (TAU * hz * n as f32 / rate.hz() as f32).sin() * loudness * 0.25
            })
        };
        let samples: Vec<f32> = note(659.3).chain(note(880.0)).collect();
        pcm::to_s16le(&pcm::to_i16(&samples))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sounds_are_there_at_any_rate() {
        let sounds = Sounds::load().unwrap();
        for hz in [8_000, 22_050, 48_000] {
            let rate = SampleRate::new(hz).unwrap();
            let sorry = pcm::from_s16le(&sounds.sorry(rate)).unwrap();
            assert!(rate.ms_of(sorry.len() as u64) > 300, "a word takes longer");
            assert!(sorry.iter().any(|sample| sample.abs() > 1000), "it can be heard");
            assert!((179..=180).contains(&rate.ms_of(sounds.chime(rate).len() as u64 / 2)));
        }
    }
}

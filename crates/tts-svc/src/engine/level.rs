//! How loud a voice is: one gain for all it says, found once.
//!
//! Piper scales each sentence to full range, which needs the whole sentence and makes "Yes." as loud as a shout. Here the
//! gain is set when the voice is loaded, from something it says, so that the first samples can leave before the last are
//! made and all voices sound equally loud. What still goes beyond is bent, not clipped.

/// Root mean square of speech, pauses left out, after the gain.
const TARGET_RMS: f32 = 0.14;
/// Quieter samples are pauses.
const PAUSE: f32 = 0.01;
/// Up to here samples are left as they are.
const KNEE: f32 = 0.8;
/// A voice that is quieter than this is not amplified to noise.
const MOST_GAIN: f32 = 12.0;

/// The gain of one voice.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Level(f32);

impl Level {
    /// Leaves samples as they are.
    pub(super) const UNITY: Self = Self(1.0);

    /// The gain that makes speech like `sample` as loud as speech should be.
    pub(super) fn of_speech(sample: &[f32]) -> Self {
        let (count, squares) = sample
            .iter()
            .filter(|sample| sample.abs() > PAUSE)
            .fold((0_u32, 0.0_f32), |(count, squares), sample| {
                (count + 1, squares + sample * sample)
            });
        if count == 0 {
            return Self::UNITY;
        }
        let rms = (squares / count as f32).sqrt();
        Self((TARGET_RMS / rms).min(MOST_GAIN))
    }

    /// Brings samples to the voice's level, in place.
    pub(super) fn apply(self, samples: &mut [f32]) {
        for sample in samples {
            *sample = bent(*sample * self.0);
        }
    }
}

/// Above [`KNEE`] the louder, the less is added; never beyond full scale.
fn bent(sample: f32) -> f32 {
    let size = sample.abs();
    if size <= KNEE {
        sample
    } else {
        let room = 1.0 - KNEE;
        (KNEE + room * ((size - KNEE) / room).tanh()).copysign(sample)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_and_loud_voices_become_equally_loud() {
        for size in [0.03_f32, 0.2, 0.7] {
            // Speech with pauses: the pauses do not count.
            let mut samples: Vec<f32> = (0..1000).map(|at| if at % 2 == 0 { size } else { 0.0 }).collect();
            Level::of_speech(&samples).apply(&mut samples);
            assert!((samples[0] - TARGET_RMS).abs() < 1e-4, "{size}: {}", samples[0]);
        }
    }

    #[test]
    fn silence_is_left_alone_and_noise_is_not_blown_up() {
        assert_eq!(Level::of_speech(&[0.0; 10]), Level::UNITY);
        assert_eq!(Level::of_speech(&[0.0101; 10]), Level(MOST_GAIN));
    }

    #[test]
    fn peaks_bend_below_full_scale_and_keep_their_order() {
        let mut samples = [0.5, -0.8, 0.9, -1.5, 40.0];
        Level::UNITY.apply(&mut samples);
        assert_eq!(samples[..2], [0.5, -0.8]);
        assert!(samples[2] > 0.8 && samples[2] < 0.9);
        assert!(samples[3] < -0.9 && samples[3] >= -1.0 && samples[4] <= 1.0);
    }
}

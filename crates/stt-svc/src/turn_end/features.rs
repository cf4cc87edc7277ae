//! What Smart Turn was trained on: Whisper's spectrogram of the last 8 s, brought to zero mean and unit variance before.

use crate::spectrogram::{HOP, Spectrogram};

/// Samples that are looked at: 8 s at 16,000 Hz.
pub(crate) const SAMPLES: usize = 128_000;
/// Rows.
pub(super) const MELS: usize = 80;
/// Columns.
pub(super) const FRAMES: usize = SAMPLES / HOP;

/// Makes them.
pub(super) struct Features(Spectrogram);

impl Features {
    pub(super) fn new() -> Self {
        Self(Spectrogram::new(MELS))
    }

    /// Those of the last 8 s of `samples` (16,000 Hz), with silence in front where there are fewer: [`MELS`] rows of [`FRAMES`],
    /// row after row.
    pub(super) fn of(&self, samples: &[i16]) -> Vec<f32> {
        self.0.log_mel(&normalised(samples))
    }
}

/// The last 8 s with zero mean and unit variance, the silence in front included.
fn normalised(samples: &[i16]) -> Vec<f32> {
    let recent = &samples[samples.len().saturating_sub(SAMPLES)..];
    let mut window = vec![0.0_f32; SAMPLES];
    for (out, sample) in window[SAMPLES - recent.len()..].iter_mut().zip(recent) {
        *out = f32::from(*sample) / 32_768.0;
    }
    let count = SAMPLES as f64;
    let mean = window.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    let variance = window.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
    let scale = 1.0 / (variance + 1e-7).sqrt();
    for x in &mut window {
        *x = ((f64::from(*x) - mean) * scale) as f32;
    }
    window
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_is_bright_in_its_own_row() {
        // 1,000 Hz is where Slaney's scale bends: mel 15 of about 45, so about row 27 of 80.
        let tone: Vec<i16> = (0..SAMPLES)
            .map(|n| ((2.0 * std::f64::consts::PI * 1_000.0 * n as f64 / 16_000.0).sin() * 8_000.0) as i16)
            .collect();
        let features = Features::new().of(&tone);
        assert_eq!(features.len(), MELS * FRAMES);
        let value = |mel: usize| features[mel * FRAMES + FRAMES / 2];
        let brightest = (0..MELS).max_by(|a, b| value(*a).total_cmp(&value(*b))).unwrap();
        assert!((25..=28).contains(&brightest), "row {brightest}");
        assert!(value(brightest) - value(70) > 1.0);
    }

    #[test]
    fn only_the_last_eight_seconds_count_and_less_is_filled_up_in_front() {
        let features = Features::new();
        let tail: Vec<i16> = (0..SAMPLES).map(|n| (n * 7919 % 20_011) as i16).collect();
        let long = [vec![12_345; 5_000], tail.clone()].concat();
        assert_eq!(features.of(&long), features.of(&tail));
        let short = features.of(&tail[SAMPLES - 16_000..]);
        let column = |frame: usize| (0..MELS).map(|mel| short[mel * FRAMES + frame]).collect::<Vec<_>>();
        assert_eq!(column(10), column(100), "silence in front");
        assert_ne!(column(10), column(FRAMES - 10));
        assert!(features.of(&[]).iter().all(|value| value.is_finite()));
    }
}

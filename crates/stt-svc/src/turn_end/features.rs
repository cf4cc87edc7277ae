//! Whisper's log-mel spectrogram, as transformers' `WhisperFeatureExtractor` makes it: what Smart Turn was trained on.
//!
//! Zero mean and unit variance over the whole window; Hann windows of 400 samples every 160, centred, with the edges
//! mirrored; power; 80 Slaney filters; log10 with a floor 8 below the highest value; scaled to about −1 to 1. The last of
//! the 801 frames is dropped.

use std::sync::Arc;

use realfft::{RealFftPlanner, RealToComplex};
use solo_audio::mel;

/// Samples that are looked at: 8 s at 16,000 Hz.
pub(crate) const SAMPLES: usize = 128_000;
/// Rows.
pub(super) const MELS: usize = 80;
/// Columns.
pub(super) const FRAMES: usize = SAMPLES / HOP;

const WINDOW: usize = 400;
const HOP: usize = 160;
const BINS: usize = WINDOW / 2 + 1;
/// Powers below this count as this.
const FLOOR: f32 = 1e-10;
/// How far below the highest value the others may lie, in powers of ten.
const RANGE: f32 = 8.0;

/// Makes spectrograms.
pub(super) struct Features {
    fft: Arc<dyn RealToComplex<f32>>,
    hann: Vec<f32>,
    /// The filters, each with the first bin that it touches; the rest of its row is zero.
    filters: Vec<(usize, Vec<f32>)>,
}

impl Features {
    pub(super) fn new() -> Self {
        let hann = (0..WINDOW)
            .map(|n| (0.5 - 0.5 * (2.0 * std::f64::consts::PI * n as f64 / WINDOW as f64).cos()) as f32)
            .collect();
        let filters = mel::filter_bank(MELS, 16_000, WINDOW)
            .chunks(BINS)
            .map(|row| {
                let first = row.iter().position(|weight| *weight > 0.0).unwrap_or(0);
                let last = row.iter().rposition(|weight| *weight > 0.0).unwrap_or(0);
                (first, row[first..=last].to_vec())
            })
            .collect();
        Self {
            fft: RealFftPlanner::new().plan_fft_forward(WINDOW),
            hann,
            filters,
        }
    }

    /// The spectrogram of the last 8 s of `samples` (16,000 Hz), with silence in front where there are fewer: [`MELS`] rows
    /// of [`FRAMES`], row after row.
    pub(super) fn of(&self, samples: &[i16]) -> Vec<f32> {
        let padded = mirrored(&normalised(samples));
        let mut windowed = self.fft.make_input_vec();
        let mut spectrum = self.fft.make_output_vec();
        let mut scratch = self.fft.make_scratch_vec();
        let mut features = vec![0.0; MELS * FRAMES];
        let mut highest = f32::MIN;
        for frame in 0..FRAMES {
            let samples = &padded[frame * HOP..frame * HOP + WINDOW];
            for ((out, sample), weight) in windowed.iter_mut().zip(samples).zip(&self.hann) {
                *out = sample * weight;
            }
            self.fft
                .process_with_scratch(&mut windowed, &mut spectrum, &mut scratch)
                .expect("the buffers are the plan's own");
            for (mel, (first, weights)) in self.filters.iter().enumerate() {
                let power: f32 = spectrum[*first..]
                    .iter()
                    .zip(weights)
                    .map(|(bin, weight)| bin.norm_sqr() * weight)
                    .sum();
                let log = power.max(FLOOR).log10();
                highest = highest.max(log);
                features[mel * FRAMES + frame] = log;
            }
        }
        for value in &mut features {
            *value = (value.max(highest - RANGE) + 4.0) / 4.0;
        }
        features
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

/// Half a window more on both sides, mirrored at the edges.
fn mirrored(samples: &[f32]) -> Vec<f32> {
    let half = WINDOW / 2;
    let front = samples[1..=half].iter().rev();
    let back = samples[SAMPLES - 1 - half..SAMPLES - 1].iter().rev();
    front.chain(samples).chain(back).copied().collect()
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

//! Whisper's log-mel spectrogram, as transformers' `WhisperFeatureExtractor` makes it.
//!
//! Hann windows of 400 samples every 160, centred, with the edges mirrored; power; Slaney filters; log10 with a floor 8 below the
//! highest value; scaled to about −1 to 1. The last frame is dropped.

use std::sync::Arc;

use realfft::{RealFftPlanner, RealToComplex};
use solo_audio::mel;

/// Samples from one column to the next: 10 ms.
pub(crate) const HOP: usize = 160;

const WINDOW: usize = 400;
const BINS: usize = WINDOW / 2 + 1;
/// Powers below this count as this.
const FLOOR: f32 = 1e-10;
/// How far below the highest value the others may lie, in powers of ten.
const RANGE: f32 = 8.0;

/// Makes spectrograms.
pub(crate) struct Spectrogram {
    fft: Arc<dyn RealToComplex<f32>>,
    hann: Vec<f32>,
    /// The filters, each with the first bin that it touches; the rest of its row is zero.
    filters: Vec<(usize, Vec<f32>)>,
}

impl Spectrogram {
    /// Of so many rows.
    pub(crate) fn new(mels: usize) -> Self {
        let hann = (0..WINDOW)
            .map(|n| (0.5 - 0.5 * (2.0 * std::f64::consts::PI * n as f64 / WINDOW as f64).cos()) as f32)
            .collect();
        let filters = mel::filter_bank(mels, 16_000, WINDOW)
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

    /// The spectrogram of at least 201 `samples` (16,000 Hz, −1.0 to 1.0), a column for every [`HOP`] of them: row after row.
    pub(crate) fn log_mel(&self, samples: &[f32]) -> Vec<f32> {
        let frames = samples.len() / HOP;
        let padded = mirrored(samples);
        let mut windowed = self.fft.make_input_vec();
        let mut spectrum = self.fft.make_output_vec();
        let mut scratch = self.fft.make_scratch_vec();
        let mut features = vec![0.0; self.filters.len() * frames];
        let mut highest = f32::MIN;
        for frame in 0..frames {
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
                features[mel * frames + frame] = log;
            }
        }
        for value in &mut features {
            *value = (value.max(highest - RANGE) + 4.0) / 4.0;
        }
        features
    }
}

/// Half a window more on both sides, mirrored at the edges.
fn mirrored(samples: &[f32]) -> Vec<f32> {
    let half = WINDOW / 2;
    let front = samples[1..=half].iter().rev();
    let back = samples[samples.len() - 1 - half..samples.len() - 1].iter().rev();
    front.chain(samples).chain(back).copied().collect()
}

//! Takes steady noise out of what a microphone hears: a fan, a car, the hiss of a cheap preamplifier.
//!
//! The work is done by WebRTC's noise suppressor, as ported to Rust by the crate sonora. It takes about 12 dB of what is
//! always there and leaves what changes. It stands behind an [`crate::EchoCanceller`], which wants what it hears untouched.
//!
//! Solo leaves it off unless somebody asks: what it takes from quiet speech costs more words than the noise did, because
//! Whisper was trained on noise. It helps whoever listens to what is recorded, and keywords beside a loud fan.

use sonora::config::{NoiseSuppression, NoiseSuppressionLevel};
use sonora::{AudioProcessing, Config, StreamConfig};

use crate::{Framer, SampleRate};

/// Samples of a frame: 10 ms.
const FRAME: usize = 160;

/// Suppresses the noise of one stream of one channel at [`SampleRate::SPEECH`].
///
/// ```
/// # use solo_audio::NoiseSuppressor;
/// let mut suppressor = NoiseSuppressor::new();
/// let quiet = suppressor.suppress(&[7; 250]);
/// assert_eq!(quiet.len(), 160); // whole frames of 10 ms; the rest comes with the next call
/// ```
pub struct NoiseSuppressor {
    processing: AudioProcessing,
    framer: Framer<i16>,
}

impl NoiseSuppressor {
    /// How much later a sample comes out than it went in, besides waiting for its frame of 10 ms: 6 ms.
    pub const DELAY_SAMPLES: usize = 96;

    /// A suppressor that has heard nothing; it knows the noise after about a second.
    pub fn new() -> Self {
        let format = StreamConfig::new(SampleRate::SPEECH.hz(), 1);
        let level = NoiseSuppressionLevel::Moderate;
        let config = Config {
            noise_suppression: Some(NoiseSuppression {
                level,
                ..NoiseSuppression::default()
            }),
            ..Config::default()
        };
        Self {
            processing: AudioProcessing::builder()
                .config(config)
                .capture_config(format)
                .render_config(format)
                .build(),
            framer: Framer::new(FRAME),
        }
    }

    /// Takes samples and gives back all whole frames, so between none and as many samples as went in plus 159. They come
    /// [`NoiseSuppressor::DELAY_SAMPLES`] late.
    pub fn suppress(&mut self, samples: &[i16]) -> Vec<i16> {
        self.framer.push(samples);
        let mut quiet = Vec::with_capacity(self.framer.pending());
        while let Some(frame) = self.framer.next_frame() {
            let at = quiet.len();
            quiet.resize(at + FRAME, 0);
            self.processing
                .process_capture_i16(&frame.samples, &mut quiet[at..])
                .expect("a frame of 10 ms is what it was built for");
        }
        quiet
    }
}

impl Default for NoiseSuppressor {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for NoiseSuppressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NoiseSuppressor")
            .field("waiting", &self.framer.pending())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::level;

    const RATE: usize = SampleRate::SPEECH.hz() as usize;

    /// Noise of this height, the same in every run.
    fn hiss(height: i64, length: usize) -> Vec<i16> {
        let mut state = 5_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            ((state >> 33) as i64 % (2 * height)) - height
        };
        (0..length).map(|_| next() as i16).collect()
    }

    #[test]
    fn steady_noise_fades_and_what_changes_stays() {
        let noise = hiss(600, 6 * RATE);
        // Tones of a quarter of a second with pauses, as syllables are, in the last two seconds.
        let tone = |n: usize| {
            let sounding = n >= 4 * RATE && (n / (RATE / 4)).is_multiple_of(2);
            let height = if sounding { 6_000.0 } else { 0.0 };
            (height * (std::f32::consts::TAU * 440.0 * n as f32 / RATE as f32).sin()) as i16
        };
        let heard: Vec<i16> = noise.iter().enumerate().map(|(n, x)| x + tone(n)).collect();
        let mut suppressor = NoiseSuppressor::new();
        let quiet: Vec<i16> = heard.chunks(333).flat_map(|piece| suppressor.suppress(piece)).collect();
        assert_eq!(quiet.len(), heard.len() / FRAME * FRAME);
        let change =
            |from: usize, to: usize| level::rms_dbfs_i16(&quiet[from..to]) - level::rms_dbfs_i16(&heard[from..to]);
        let noise = change(2 * RATE, 4 * RATE);
        assert!(noise < -8.0, "the noise lost {noise:.1} dB");
        let sounds = change(4 * RATE, 6 * RATE - FRAME);
        assert!(sounds > -3.0, "the tones lost {sounds:.1} dB");
    }

    #[test]
    fn a_sample_comes_out_6_ms_later() {
        let mut click = vec![0_i16; RATE];
        click[RATE / 2] = 20_000;
        let quiet = NoiseSuppressor::new().suppress(&click);
        let loudest = (0..quiet.len()).max_by_key(|n| quiet[*n].unsigned_abs()).unwrap();
        assert_eq!(loudest, RATE / 2 + NoiseSuppressor::DELAY_SAMPLES);
    }
}

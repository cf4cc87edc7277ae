//! The mel filter bank of Whisper and its kin: Slaney's scale and normalisation, as in librosa.
//!
//! Computed in f64 and rounded once, operation for operation as NumPy does it, because the digest of a model file that
//! carries it depends on each bit.

/// Slaney's scale is linear below this many mels (1 kHz) and logarithmic above.
const KNEE_MELS: f64 = 15.0;
const KNEE_HZ: f64 = 1_000.0;

/// Triangular filters for power spectra of `window` samples: `mels` rows of `window / 2 + 1` weights, each row normalised
/// by its width in hertz. Row after row.
pub fn filter_bank(mels: usize, sample_rate_hz: usize, window: usize) -> Vec<f32> {
    let bins = window / 2 + 1;
    let step_hz = 1.0 / (window as f64 * (1.0 / sample_rate_hz as f64));
    let bin_hz: Vec<f64> = (0..bins).map(|bin| bin as f64 * step_hz).collect();
    let edges = edges_hz(mels, sample_rate_hz as f64 / 2.0);

    let mut bank = Vec::with_capacity(mels * bins);
    for filter in edges.windows(3) {
        let [low, centre, high] = [filter[0], filter[1], filter[2]];
        let norm = 2.0 / (high - low);
        for &hz in &bin_hz {
            let rising = -(low - hz) / (centre - low);
            let falling = (high - hz) / (high - centre);
            let weight = rising.min(falling);
            // Not `max(0.0)`: the very first weight is a negative zero, and stays one.
            let weight = if weight < 0.0 { 0.0 } else { weight };
            bank.push((weight * norm) as f32);
        }
    }
    bank
}

/// `mels + 2` frequencies, evenly spaced on the mel scale from 0 to `highest_hz`.
fn edges_hz(mels: usize, highest_hz: f64) -> Vec<f64> {
    let log_step = 6.4_f64.ln() / 27.0;
    let highest = KNEE_MELS + (highest_hz / KNEE_HZ).ln() / log_step;
    let last = mels + 1;
    let step = highest / last as f64;
    let hz = |mel: f64| {
        if mel >= KNEE_MELS {
            KNEE_HZ * (log_step * (mel - KNEE_MELS)).exp()
        } else {
            200.0 / 3.0 * mel
        }
    };
    (0..=last)
        .map(|i| hz(if i == last { highest } else { i as f64 * step }))
        .collect()
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn the_bank_is_whispers_to_the_bit() {
        let bytes: Vec<u8> = filter_bank(80, 16_000, 400)
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        assert_eq!(bytes.len(), 80 * 201 * 4);
        // Cut out of whisper.cpp's model file.
        assert_eq!(
            hex::encode(Sha256::digest(bytes)),
            "2150c30cbbeb6029f52002ffa666c1c72d83dbf53f463cb8462052055806e891"
        );
    }

    #[test]
    fn every_filter_peaks_between_its_neighbours() {
        let bank = filter_bank(80, 16_000, 400);
        let peaks: Vec<usize> = bank
            .chunks(201)
            .map(|row| (0..201).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap())
            .collect();
        assert!(peaks.is_sorted());
        assert!(bank.iter().all(|weight| *weight >= 0.0));
    }
}

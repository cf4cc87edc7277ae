//! How loud: root mean square and peak, in decibels relative to full scale (dBFS).
//!
//! 0 dBFS is a square wave at full scale, so a full-scale sine reads −3.01 dBFS. Silence reads [`SILENCE_DBFS`] and not
//! −∞, so that a level can be averaged, plotted and written as JSON.

use crate::pcm;

/// What silence, and an empty slice, read: −120 dBFS, below one bit of 16.
pub const SILENCE_DBFS: f32 = -120.0;

/// Root mean square level of samples in −1.0 to 1.0, in dBFS; never below [`SILENCE_DBFS`].
pub fn rms_dbfs(samples: &[f32]) -> f32 {
    from_mean_square(
        samples.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>(),
        samples.len(),
    )
}

/// Root mean square level of 16-bit samples, in dBFS; never below [`SILENCE_DBFS`].
pub fn rms_dbfs_i16(samples: &[i16]) -> f32 {
    from_mean_square(
        samples
            .iter()
            .map(|s| f64::from(pcm::sample_to_f32(*s)).powi(2))
            .sum::<f64>(),
        samples.len(),
    )
}

/// Highest magnitude of samples in −1.0 to 1.0, in dBFS; never below [`SILENCE_DBFS`].
pub fn peak_dbfs(samples: &[f32]) -> f32 {
    decibels(f64::from(
        samples.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs())),
    ))
}

/// The factor by which samples are multiplied to make them `decibels` louder (quieter below 0).
pub fn gain(decibels: f32) -> f32 {
    10.0_f32.powf(decibels / 20.0)
}

fn from_mean_square(sum: f64, count: usize) -> f32 {
    if count == 0 {
        SILENCE_DBFS
    } else {
        decibels((sum / count as f64).sqrt())
    }
}

fn decibels(amplitude: f64) -> f32 {
    // `max` also turns the NaN of a NaN sample into silence.
    (20.0 * amplitude.log10()).max(f64::from(SILENCE_DBFS)) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_levels() {
        let sine: Vec<f32> = (0..16_000)
            .map(|n| (n as f32 * std::f32::consts::TAU * 440.0 / 16_000.0).sin())
            .collect();
        assert!((rms_dbfs(&sine) + 3.01).abs() < 0.01);
        assert!((rms_dbfs(&sine.iter().map(|s| s * gain(-20.0)).collect::<Vec<_>>()) + 23.01).abs() < 0.01);
        assert!(rms_dbfs_i16(&[i16::MIN; 64]).abs() < 0.001);
        assert!((peak_dbfs(&[0.0, -0.5, 0.25]) + 6.02).abs() < 0.01);
    }

    #[test]
    fn silence_has_a_floor() {
        assert_eq!(rms_dbfs(&[]), SILENCE_DBFS);
        assert_eq!(rms_dbfs(&[0.0; 100]), SILENCE_DBFS);
        assert_eq!(rms_dbfs_i16(&[0; 100]), SILENCE_DBFS);
        assert_eq!(peak_dbfs(&[f32::NAN]), SILENCE_DBFS);
    }
}

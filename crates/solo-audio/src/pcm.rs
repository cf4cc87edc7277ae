//! Pulse-code modulation: the conversions between bytes on the wire and samples in memory.
//!
//! `i16` → `f32` divides by 32,768, so that it is exact and −1.0 can be reached; the way back multiplies by the same
//! and saturates. `i16` → `f32` → `i16` gives every sample back.

/// Bytes that cannot be whole samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{bytes} bytes are no whole number of 16-bit samples: an even number is wanted")]
pub struct OddBytes {
    /// How many bytes there were.
    pub bytes: usize,
}

/// Interleaved samples that do not fill their last instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{samples} interleaved samples cannot be shared out to {channels} channels")]
pub struct UnevenChannels {
    /// How many samples there were, all channels together.
    pub samples: usize,
    /// How many channels were claimed.
    pub channels: u16,
}

const FULL_SCALE: f32 = 32_768.0;

/// Reads signed 16-bit little-endian samples.
///
/// # Errors
/// When the number of bytes is odd.
pub fn from_s16le(bytes: &[u8]) -> Result<Vec<i16>, OddBytes> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(OddBytes { bytes: bytes.len() });
    }
    Ok(pairs.iter().map(|pair| i16::from_le_bytes(*pair)).collect())
}

/// Writes samples as signed 16-bit little-endian; two bytes a sample.
pub fn to_s16le(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

/// One `i16` sample as `f32`, −1.0 to just below 1.0.
pub fn sample_to_f32(sample: i16) -> f32 {
    f32::from(sample) / FULL_SCALE
}

/// One `f32` sample as `i16`; what is beyond full scale is clipped, what is no number is silence.
pub fn sample_to_i16(sample: f32) -> i16 {
    // A float cast saturates and turns NaN into 0, which is the clipping that is wanted.
    (sample * FULL_SCALE).round() as i16
}

/// Samples as `f32`, −1.0 to just below 1.0.
pub fn to_f32(samples: &[i16]) -> Vec<f32> {
    samples.iter().copied().map(sample_to_f32).collect()
}

/// Samples as `i16`, clipped at full scale.
pub fn to_i16(samples: &[f32]) -> Vec<i16> {
    samples.iter().copied().map(sample_to_i16).collect()
}

/// Interleaved channels to one: the mean of each instant. One channel comes back as it is.
///
/// # Errors
/// When `channels` is 0 or the samples do not fill the last instant.
pub fn downmix(interleaved: &[f32], channels: u16) -> Result<Vec<f32>, UnevenChannels> {
    let width = usize::from(channels);
    if width == 0 || !interleaved.len().is_multiple_of(width) {
        return Err(UnevenChannels {
            samples: interleaved.len(),
            channels,
        });
    }
    if width == 1 {
        return Ok(interleaved.to_vec());
    }
    Ok(interleaved
        .chunks_exact(width)
        .map(|instant| instant.iter().sum::<f32>() / width as f32)
        .collect())
}

/// [`downmix`] for `i16`; the mean is rounded toward zero.
///
/// # Errors
/// When `channels` is 0 or the samples do not fill the last instant.
pub fn downmix_i16(interleaved: &[i16], channels: u16) -> Result<Vec<i16>, UnevenChannels> {
    let width = usize::from(channels);
    if width == 0 || !interleaved.len().is_multiple_of(width) {
        return Err(UnevenChannels {
            samples: interleaved.len(),
            channels,
        });
    }
    let mean = |instant: &[i16]| (instant.iter().map(|sample| i64::from(*sample)).sum::<i64>() / width as i64) as i16;
    Ok(interleaved.chunks_exact(width).map(mean).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn odd_bytes_are_an_error() {
        assert_eq!(from_s16le(&[1, 2, 3]), Err(OddBytes { bytes: 3 }));
        assert_eq!(from_s16le(&[]), Ok(vec![]));
        assert_eq!(from_s16le(&[0x01, 0x80]), Ok(vec![-32_767]));
    }

    #[test]
    fn floats_beyond_full_scale_are_clipped_and_nan_is_silence() {
        assert_eq!(
            to_i16(&[1.0, 2.0, -1.0, -9.0, f32::NAN, f32::INFINITY]),
            [32_767, 32_767, -32_768, -32_768, 0, 32_767]
        );
    }

    #[test]
    fn channels_must_come_out_even() {
        assert_eq!(downmix(&[0.5, -0.5, 1.0, 0.0], 2), Ok(vec![0.0, 0.5]));
        assert_eq!(
            downmix(&[0.5, -0.5, 1.0], 2),
            Err(UnevenChannels {
                samples: 3,
                channels: 2
            })
        );
        assert_eq!(
            downmix(&[0.5], 0),
            Err(UnevenChannels {
                samples: 1,
                channels: 0
            })
        );
        assert_eq!(
            downmix_i16(&[i16::MIN, i16::MIN, i16::MAX, i16::MAX], 2),
            Ok(vec![i16::MIN, i16::MAX])
        );
    }

    proptest! {
        #[test]
        fn bytes_and_floats_give_every_sample_back(samples in prop::collection::vec(any::<i16>(), 0..500)) {
            prop_assert_eq!(&from_s16le(&to_s16le(&samples)).unwrap(), &samples);
            prop_assert_eq!(&to_i16(&to_f32(&samples)), &samples);
            prop_assert!(to_f32(&samples).iter().all(|sample| (-1.0..1.0).contains(sample)));
        }

        #[test]
        fn equal_channels_downmix_to_themselves(samples in prop::collection::vec(any::<i16>(), 0..200), channels in 1u16..=8) {
            let interleaved: Vec<i16> = samples.iter().flat_map(|sample| vec![*sample; usize::from(channels)]).collect();
            prop_assert_eq!(&downmix_i16(&interleaved, channels).unwrap(), &samples);
        }
    }
}

//! Rows of numbers out of any storage type and into another, by candle's own quantisers.

use std::borrow::Cow;

use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{Device, Tensor};
use half::{bf16, f16};
use solo_models::gguf::TensorKind;

use super::QuantizeError;

/// candle's name for a type; none where it has none.
pub(super) fn dtype(kind: TensorKind) -> Option<GgmlDType> {
    Some(match kind.name {
        "F32" => GgmlDType::F32,
        "F16" => GgmlDType::F16,
        "BF16" => GgmlDType::BF16,
        "Q4_0" => GgmlDType::Q4_0,
        "Q4_1" => GgmlDType::Q4_1,
        "Q5_0" => GgmlDType::Q5_0,
        "Q5_1" => GgmlDType::Q5_1,
        "Q8_0" => GgmlDType::Q8_0,
        "Q2_K" => GgmlDType::Q2K,
        "Q3_K" => GgmlDType::Q3K,
        "Q4_K" => GgmlDType::Q4K,
        "Q5_K" => GgmlDType::Q5K,
        "Q6_K" => GgmlDType::Q6K,
        _ => return None,
    })
}

/// Rows of `width` numbers, as 32-bit floats.
pub(super) fn decode(name: &str, kind: TensorKind, bytes: &[u8], width: usize) -> Result<Vec<f32>, QuantizeError> {
    let numbers: Vec<f32> = match kind.name {
        "F32" => words(bytes).map(f32::from_le_bytes).collect(),
        "F16" => words(bytes).map(|word| f16::from_le_bytes(word).to_f32()).collect(),
        "BF16" => words(bytes).map(|word| bf16::from_le_bytes(word).to_f32()).collect(),
        _ => {
            let unknown = || QuantizeError::UnknownType {
                tensor: name.to_owned(),
                kind: kind.name,
            };
            let dtype = dtype(kind).ok_or_else(unknown)?;
            let rows = bytes.len() as u64 / kind.bytes * kind.block / width as u64;
            let decoded = QStorage::from_data(Cow::Borrowed(bytes), &Device::Cpu, dtype)
                .and_then(|storage| QTensor::new(storage, (rows as usize, width)))
                .and_then(|tensor| tensor.dequantize(&Device::Cpu)?.flatten_all()?.to_vec1());
            decoded.map_err(|error| computing(name, error))?
        }
    };
    match numbers.iter().position(|number| !number.is_finite()) {
        None => Ok(numbers),
        Some(_) => Err(QuantizeError::NotFinite {
            tensor: name.to_owned(),
        }),
    }
}

/// The bytes of rows of `width` numbers in another type.
pub(super) fn encode(name: &str, kind: TensorKind, numbers: Vec<f32>, width: usize) -> Result<Vec<u8>, QuantizeError> {
    match kind.name {
        "F32" => return Ok(numbers.iter().flat_map(|number| number.to_le_bytes()).collect()),
        "BF16" => {
            return Ok(numbers
                .iter()
                .flat_map(|&number| bf16::from_f32(number).to_le_bytes())
                .collect());
        }
        "F16" => {
            if numbers.iter().any(|&number| !f16::from_f32(number).is_finite()) {
                return Err(QuantizeError::TooLarge {
                    tensor: name.to_owned(),
                });
            }
            return Ok(numbers
                .iter()
                .flat_map(|&number| f16::from_f32(number).to_le_bytes())
                .collect());
        }
        _ => {}
    }
    let unknown = || QuantizeError::UnknownType {
        tensor: name.to_owned(),
        kind: kind.name,
    };
    let dtype = dtype(kind).ok_or_else(unknown)?;
    let rows = numbers.len() / width;
    let quantised = Tensor::from_vec(numbers, (rows, width), &Device::Cpu)
        .and_then(|tensor| QTensor::quantize(&tensor, dtype))
        .and_then(|tensor| tensor.data().map(Cow::into_owned));
    quantised.map_err(|error| computing(name, error))
}

fn words<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> + '_ {
    bytes.as_chunks::<N>().0.iter().copied()
}

fn computing(tensor: &str, cause: candle_core::Error) -> QuantizeError {
    QuantizeError::Computing {
        tensor: tensor.to_owned(),
        cause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(name: &str) -> TensorKind {
        TensorKind::from_name(name).unwrap()
    }

    /// Numbers come back as near as the type's bits allow.
    #[test]
    fn every_type_comes_back() {
        let numbers: Vec<f32> = (0..1024).map(|i| ((i * 37 % 101) as f32 / 50.0) - 1.0).collect();
        for (name, tolerance) in [
            ("F32", 0.0),
            ("F16", 1e-3),
            ("BF16", 1e-2),
            ("Q8_0", 1e-2),
            ("Q6_K", 0.05),
            ("Q5_K", 0.08),
            ("Q5_1", 0.08),
            ("Q5_0", 0.1),
            ("Q4_K", 0.15),
            ("Q4_1", 0.15),
            ("Q4_0", 0.2),
            ("Q3_K", 0.4),
            ("Q2_K", 0.6),
        ] {
            let kind = kind(name);
            let bytes = encode("x", kind, numbers.clone(), 512).unwrap();
            assert_eq!(bytes.len() as u64, 1024 / kind.block * kind.bytes, "{name}");
            let back = decode("x", kind, &bytes, 512).unwrap();
            let worst = numbers
                .iter()
                .zip(&back)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max);
            assert!(worst <= tolerance, "{name}: {worst}");
        }
    }

    #[test]
    fn what_cannot_be_said_is_refused() {
        let large = encode("x", kind("F16"), vec![1e6; 4], 4).unwrap_err();
        assert!(large.to_string().contains("f16"), "{large}");
        let odd = decode("x", TensorKind::F32, &f32::NAN.to_le_bytes(), 1).unwrap_err();
        assert!(odd.to_string().contains("not finite"), "{odd}");
        assert!(decode("x", kind("IQ4_XS"), &[0; 136], 256).is_err());
    }
}

//! Tensors out of a checked GGUF file, each with the shape that the model needs.

use std::borrow::Cow;
use std::fs::File;
use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QMatMul, QStorage, QTensor, gguf_file};
use candle_core::{Device, Module, Result as CandleResult, Shape, Tensor};

use super::super::EngineError;
use super::{failed, unsupported};
use crate::catalogue::ModelFile;
use crate::gguf::{Header, TensorInfo};

/// A model file whose tensors are read one by one.
pub(super) struct Weights<'a> {
    pub(super) file: &'a ModelFile,
    pub(super) device: Device,
    reader: File,
}

impl<'a> Weights<'a> {
    pub(super) fn open(file: &'a ModelFile, device: Device) -> Result<Self, EngineError> {
        let reader = File::open(&file.path).map_err(failed("opening the file"))?;
        Ok(Self { file, device, reader })
    }

    pub(super) fn header(&self) -> &'a Header {
        &self.file.header
    }

    /// A tensor of `shape` (rows first), as it is stored; `None` where the file has none of that name.
    pub(super) fn quantised(&mut self, name: &str, shape: &[usize]) -> Result<Option<QTensor>, EngineError> {
        let Some(info) = self.header().tensor(name) else {
            return Ok(None);
        };
        let found: Vec<u64> = info.dimensions.iter().rev().copied().collect();
        if !found.iter().copied().eq(shape.iter().map(|&size| size as u64)) {
            return Err(unsupported(format!(
                "tensor `{name}` has shape {found:?}; {shape:?} is wanted"
            )));
        }
        let described = gguf_file::TensorInfo {
            ggml_dtype: dtype(info)?,
            shape: Shape::from(shape.to_vec()),
            offset: info.offset,
        };
        let tensor = described.read(&mut self.reader, self.file.header.data_offset, &self.device);
        tensor.map(Some).map_err(failed("reading a tensor"))
    }

    /// A tensor of `shape` that must be there.
    pub(super) fn required(&mut self, name: &str, shape: &[usize]) -> Result<QTensor, EngineError> {
        let tensor = self.quantised(name, shape)?;
        tensor.ok_or_else(|| unsupported(format!("tensor `{name}` is missing")))
    }

    /// Numbers in full precision; `None` where the file has none of that name.
    pub(super) fn vector(&mut self, name: &str, length: usize) -> Result<Option<Tensor>, EngineError> {
        let Some(tensor) = self.quantised(name, &[length])? else {
            return Ok(None);
        };
        tensor
            .dequantize(&self.device)
            .map(Some)
            .map_err(failed("unpacking a tensor"))
    }

    /// A linear layer `name`, from `inputs` to `outputs` numbers, with a bias where the file has one.
    pub(super) fn linear(&mut self, name: &str, inputs: usize, outputs: usize) -> Result<Linear, EngineError> {
        let weight = self.required(&format!("{name}.weight"), &[outputs, inputs])?;
        let bias = self.vector(&format!("{name}.bias"), outputs)?;
        Linear::new(Arc::new(weight), bias)
    }

    /// The weights of a root-mean-square norm over `width` numbers.
    pub(super) fn norm(&mut self, name: &str, width: usize) -> Result<Tensor, EngineError> {
        let name = format!("{name}.weight");
        self.vector(&name, width)?
            .ok_or_else(|| unsupported(format!("tensor `{name}` is missing")))
    }
}

/// A linear layer over quantised weights.
pub(super) struct Linear {
    weight: QMatMul,
    bias: Option<Tensor>,
}

impl Linear {
    pub(super) fn new(weight: Arc<QTensor>, bias: Option<Tensor>) -> Result<Self, EngineError> {
        let widened = widen(&weight).map_err(failed("preparing a layer"))?;
        let weight = QMatMul::from_arc(widened.map_or(weight, Arc::new)).map_err(failed("preparing a layer"))?;
        Ok(Self { weight, bias })
    }

    /// `[tokens, inputs]` to `[tokens, outputs]`.
    pub(super) fn forward(&self, input: &Tensor) -> CandleResult<Tensor> {
        let output = self.weight.forward(input)?;
        match &self.bias {
            Some(bias) => output.broadcast_add(bias),
            None => Ok(output),
        }
    }
}

/// Q5_0 as Q8_0, on the processor. candle multiplies Q5_0 number by number and Q8_0 with vector instructions; a block of
/// five-bit integers and its scale is the same block in eight bits, so nothing is lost but half as much memory again.
fn widen(weight: &QTensor) -> CandleResult<Option<QTensor>> {
    const HALF: usize = 16;
    if weight.dtype() != GgmlDType::Q5_0 || !weight.device().is_cpu() {
        return Ok(None);
    }
    let data = weight.data()?;
    let mut widened = Vec::with_capacity(data.len() / 22 * 34);
    // A block: scale (f16), the 32 high bits, the low nibbles of numbers 0 to 15 and 16 to 31.
    for block in data.chunks_exact(22) {
        let (high, low) = (
            u32::from_le_bytes([block[2], block[3], block[4], block[5]]),
            &block[6..],
        );
        let number = |nibble: u8, index: usize| (nibble | (((high >> index) & 1) as u8) << 4).wrapping_sub(16);
        widened.extend_from_slice(&block[..2]);
        widened.extend((0..HALF).map(|index| number(low[index] & 0x0F, index)));
        widened.extend((0..HALF).map(|index| number(low[index] >> 4, HALF + index)));
    }
    let storage = QStorage::from_data(Cow::Owned(widened), &Device::Cpu, GgmlDType::Q8_0)?;
    QTensor::new(storage, weight.shape().clone()).map(Some)
}

/// candle's name for a storage type.
fn dtype(info: &TensorInfo) -> Result<GgmlDType, EngineError> {
    Ok(match info.kind.name {
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
        other => {
            return Err(unsupported(format!(
                "tensor `{}` is stored as {other}: use llama-cpp",
                info.name
            )));
        }
    })
}

//! Tensors out of a checked GGUF file, which stays mapped: what is used as it is stored is never copied.

use std::borrow::Cow;
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{Device, Result as CandleResult};
use memmap2::Mmap;
#[cfg(unix)]
use memmap2::UncheckedAdvice;

use super::{EngineError, failed, unsupported};
use crate::catalogue::ModelFile;
use crate::gguf::{Header, TensorInfo};

/// A mapped model file.
pub(super) struct Weights<'a> {
    pub(super) file: &'a ModelFile,
    map: Arc<Mmap>,
}

/// A matrix or a vector as it lies in the file.
#[derive(Clone)]
pub(super) struct Stored {
    map: Arc<Mmap>,
    range: Range<usize>,
    pub(super) dtype: GgmlDType,
    /// Rows; 1 for a vector.
    pub(super) rows: usize,
    /// Numbers of a row.
    pub(super) columns: usize,
}

impl<'a> Weights<'a> {
    /// Maps a file.
    pub(super) fn open(file: &'a ModelFile) -> Result<Self, EngineError> {
        let handle = File::open(&file.path).map_err(failed("opening the file"))?;
        // SAFETY: model files are put in place by renaming and never written in place. Whoever shortens one under a running
        // service ends that service, as with llama.cpp; no other memory is at risk.
        let map = unsafe { Mmap::map(&handle) }.map_err(failed("mapping the file"))?;
        let map = Arc::new(map);
        Ok(Self { file, map })
    }

    /// Lets go of what has been read: it comes back from the file where it is needed again.
    pub(super) fn release(&self) {
        // SAFETY: the map is shared and read-only, so its pages hold what the file holds, before and after.
        #[cfg(unix)]
        if let Err(error) = unsafe { self.map.unchecked_advise(UncheckedAdvice::DontNeed) } {
            tracing::debug!(%error, "the system keeps the pages of the model's file");
        }
    }

    pub(super) fn header(&self) -> &'a Header {
        &self.file.header
    }

    /// A matrix of `rows` × `columns`; `None` where the file has none of that name.
    pub(super) fn matrix(&self, name: &str, rows: usize, columns: usize) -> Result<Option<Stored>, EngineError> {
        self.stored(name, &[rows, columns])
    }

    /// A matrix that must be there.
    pub(super) fn required(&self, name: &str, rows: usize, columns: usize) -> Result<Stored, EngineError> {
        let found = self.matrix(name, rows, columns)?;
        found.ok_or_else(|| missing(name))
    }

    /// Numbers in full precision; `None` where the file has none of that name.
    pub(super) fn vector(&self, name: &str, length: usize) -> Result<Option<Vec<f32>>, EngineError> {
        let stored = self.stored(name, &[length])?;
        stored.map(|stored| stored.numbers(0, 1)).transpose()
    }

    /// The weights of a norm over `width` numbers.
    pub(super) fn norm(&self, name: &str, width: usize) -> Result<Vec<f32>, EngineError> {
        let name = format!("{name}.weight");
        self.vector(&name, width)?.ok_or_else(|| missing(&name))
    }

    fn stored(&self, name: &str, shape: &[usize]) -> Result<Option<Stored>, EngineError> {
        let Some(info) = self.header().tensor(name) else {
            return Ok(None);
        };
        let found: Vec<u64> = info.dimensions.iter().rev().copied().collect();
        if !found.iter().copied().eq(shape.iter().map(|&size| size as u64)) {
            return Err(unsupported(format!(
                "tensor `{name}` has shape {found:?}; {shape:?} is wanted"
            )));
        }
        // The header was held against the file's length, but the file may have been replaced since.
        let start = self.file.header.data_offset.checked_add(info.offset);
        let range = start.and_then(|start| {
            let end = start.checked_add(info.bytes)?;
            Some(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
        });
        let range = range
            .filter(|range| range.end <= self.map.len())
            .ok_or_else(|| unsupported(format!("tensor `{name}` lies beyond the end of the file")))?;
        let (&columns, rows) = match shape {
            [columns] => (columns, 1),
            [rows, columns, ..] => (columns, *rows),
            [] => return Err(missing(name)),
        };
        Ok(Some(Stored {
            map: Arc::clone(&self.map),
            range,
            dtype: dtype(info)?,
            rows,
            columns,
        }))
    }
}

impl Stored {
    /// A matrix of these bytes, for tests.
    #[cfg(test)]
    #[allow(clippy::unwrap_used)]
    pub(super) fn of_bytes(bytes: &[u8], dtype: GgmlDType, rows: usize, columns: usize) -> Self {
        let mut map = memmap2::MmapMut::map_anon(bytes.len()).unwrap();
        map.copy_from_slice(bytes);
        Self {
            map: Arc::new(map.make_read_only().unwrap()),
            range: 0..bytes.len(),
            dtype,
            rows,
            columns,
        }
    }

    /// The bytes of all rows.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.map[self.range.clone()]
    }

    /// Bytes of a row.
    pub(super) fn row_bytes(&self) -> usize {
        self.columns / self.dtype.block_size() * self.dtype.type_size()
    }

    /// Rows of it, as a tensor of candle's.
    pub(super) fn tensor(&self, first: usize, rows: usize, device: &Device) -> CandleResult<QTensor> {
        let bytes = &self.bytes()[first * self.row_bytes()..][..rows * self.row_bytes()];
        // candle wants bytes aligned as their type is; a file may put them anywhere.
        let bytes = Cow::Owned(bytes.to_vec());
        let storage = QStorage::from_data(bytes, device, self.dtype)?;
        QTensor::new(storage, (rows, self.columns))
    }

    /// Rows of it, in full precision.
    pub(super) fn numbers(&self, first: usize, rows: usize) -> Result<Vec<f32>, EngineError> {
        let unpack = || {
            let tensor = self.tensor(first, rows, &Device::Cpu)?;
            tensor.dequantize(&Device::Cpu)?.flatten_all()?.to_vec1()
        };
        unpack().map_err(failed("unpacking a tensor"))
    }
}

fn missing(name: &str) -> EngineError {
    unsupported(format!("tensor `{name}` is missing"))
}

/// True where more than half of the bytes are numbers that are not quantised.
pub(super) fn mostly_floats(header: &Header) -> bool {
    let float = |tensor: &TensorInfo| matches!(tensor.kind.name, "F32" | "F16" | "BF16");
    let bytes = |wanted: bool| {
        let tensors = header.tensors.iter().filter(|tensor| float(tensor) == wanted);
        tensors.map(|tensor| tensor.bytes).fold(0, u64::saturating_add)
    };
    bytes(true) > bytes(false)
}

/// candle's name for a storage type.
pub(super) fn dtype(info: &TensorInfo) -> Result<GgmlDType, EngineError> {
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

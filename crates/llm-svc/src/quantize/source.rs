//! What is quantised: metadata, and tensors in mapped files.

use std::borrow::Cow;
use std::fs::File;
use std::path::Path;

use memmap2::Mmap;
use solo_models::gguf::{Facts, Header, HeaderWriter, TensorKind};

use super::{QuantizeError, io, mix, safetensors};

/// A model that is being read.
pub(super) struct Source {
    /// Its metadata, without what says how it is quantised.
    pub(super) metadata: HeaderWriter,
    /// Its tensors, in the order in which they are written.
    pub(super) tensors: Vec<Input>,
    /// What the choice of types depends on.
    pub(super) model: mix::Model,
    /// True when it comes from another format, so that its types are not GGUF's choice.
    pub(super) converted: bool,
    pub(super) maps: Vec<Mmap>,
}

/// A tensor of the input.
pub(super) struct Input {
    /// Name in the result.
    pub(super) name: String,
    pub(super) kind: TensorKind,
    /// As ggml orders them: elements of a row first.
    pub(super) dimensions: Vec<u64>,
    pub(super) bytes: usize,
    pub(super) data: Data,
    /// The rows of each of so many heads are interleaved: first and second half by turns.
    pub(super) interleave: Option<usize>,
}

/// Where a tensor's bytes are.
pub(super) enum Data {
    /// In a mapped file.
    Mapped {
        /// Which.
        map: usize,
        /// Its first byte there.
        start: usize,
    },
    /// Here.
    Own(Vec<u8>),
}

impl Input {
    /// Numbers in a row. The rows of an interleaved vector are its numbers.
    pub(super) fn row(&self) -> usize {
        match (self.dimensions.as_slice(), self.interleave) {
            ([_], Some(_)) => 1,
            (dimensions, _) => dimensions.first().map_or(1, |&row| row as usize),
        }
    }

    /// Number of rows.
    pub(super) fn rows(&self) -> usize {
        // Shapes were held against the bytes that are there: their product fits.
        let elements: u64 = self.dimensions.iter().product();
        elements as usize / self.row().max(1)
    }
}

impl Source {
    pub(super) fn open(path: &Path) -> Result<Self, QuantizeError> {
        if path.is_dir() {
            safetensors::open(path)
        } else {
            gguf(path)
        }
    }

    /// A tensor's bytes.
    pub(super) fn data<'a>(&'a self, input: &'a Input) -> &'a [u8] {
        match &input.data {
            Data::Mapped { map, start } => &self.maps[*map][*start..start + input.bytes],
            Data::Own(bytes) => bytes,
        }
    }

    /// The bytes of some of its rows, in the result's order.
    pub(super) fn take_rows<'a>(&'a self, input: &'a Input, first: usize, count: usize) -> Cow<'a, [u8]> {
        let data = self.data(input);
        let stride = data.len() / input.rows().max(1);
        let Some(heads) = input.interleave else {
            return Cow::Borrowed(&data[first * stride..(first + count) * stride]);
        };
        let mut bytes = Vec::with_capacity(count * stride);
        for row in first..first + count {
            let from = interleaved(row, input.rows() / heads);
            bytes.extend_from_slice(&data[from * stride..(from + 1) * stride]);
        }
        Cow::Owned(bytes)
    }
}

/// The row of the input that becomes `row`, where heads are `height` rows high. Hugging Face rotates the first half of a
/// head against the second, llama.cpp (for llama) each number against its neighbour.
fn interleaved(row: usize, height: usize) -> usize {
    let (head, within) = (row / height, row % height);
    head * height + within % 2 * (height / 2) + within / 2
}

fn gguf(path: &Path) -> Result<Source, QuantizeError> {
    let wrong = |reason| QuantizeError::Gguf {
        path: path.to_owned(),
        reason,
    };
    let header = Header::open(path).map_err(wrong)?;
    let facts = Facts::of(&header).map_err(wrong)?;
    if header.uint("split.count").is_some_and(|count| count > 1) {
        let reason = "it is one part of several: join them with llama.cpp's `llama-gguf-split --merge` first".into();
        return Err(QuantizeError::Folder {
            path: path.to_owned(),
            reason,
        });
    }
    let map = map(path)?;
    let mut metadata = HeaderWriter::new();
    for (key, extent) in header.extents() {
        // These are said anew, or were true of the old file only.
        let stale = ["general.file_type", "general.quantization_version", "general.alignment"];
        if !stale.contains(&key.as_str()) && !key.starts_with("quantize.") && !key.starts_with("split.") {
            let value = map.get(extent.start as usize..extent.end as usize);
            metadata.raw(key, value.ok_or_else(|| changed(path))?);
        }
    }
    let mut tensors = Vec::new();
    for tensor in &header.tensors {
        let start = (header.data_offset + tensor.offset) as usize;
        let bytes = tensor.bytes as usize;
        if map.get(start..start + bytes).is_none() {
            return Err(changed(path));
        }
        tensors.push(Input {
            name: tensor.name.clone(),
            kind: tensor.kind,
            dimensions: tensor.dimensions.clone(),
            bytes,
            data: Data::Mapped { map: 0, start },
            interleave: None,
        });
    }
    let experts = header
        .uint(&format!("{}.expert_count", facts.architecture))
        .unwrap_or(0);
    let heads = facts
        .attention
        .map_or(1, |attention| attention.heads / attention.kv_heads.max(1));
    let model = model(
        &tensors,
        &facts.architecture,
        facts.blocks.into(),
        heads.into(),
        experts,
    );
    Ok(Source {
        metadata,
        tensors,
        model,
        converted: false,
        maps: vec![map],
    })
}

/// What the choice of types depends on.
pub(super) fn model(tensors: &[Input], architecture: &str, blocks: u64, per_head: u64, experts: u64) -> mix::Model {
    let value = |input: &&Input| {
        ["attn_v.weight", "attn_qkv.weight", "attn_kv_b.weight"]
            .iter()
            .any(|n| input.name.contains(n))
    };
    mix::Model {
        blocks,
        value_tensors: tensors.iter().filter(value).count() as u64,
        heads_per_kv_head: per_head,
        experts,
        tied: !tensors.iter().any(|input| input.name == "output.weight"),
        seventy: architecture == "llama" && blocks == 80,
    }
}

/// Maps a file.
pub(super) fn map(path: &Path) -> Result<Mmap, QuantizeError> {
    let file = File::open(path).map_err(io(path))?;
    // SAFETY: a file that another process cuts short while it is mapped ends this one with SIGBUS. That is the price of
    // not reading models into memory; llama.cpp pays it, too. `quantize` is a process of its own.
    unsafe { Mmap::map(&file) }.map_err(io(path))
}

fn changed(path: &Path) -> QuantizeError {
    io(path)(std::io::Error::other("it changed while it was read"))
}

#[cfg(test)]
mod tests {
    use super::interleaved;

    /// `w.reshape(heads, 2, height / 2, …).swapaxes(1, 2)`, as llama.cpp's convert script has it.
    #[test]
    fn rows_are_interleaved_as_the_convert_script_does() {
        let order: Vec<usize> = (0..12).map(|row| interleaved(row, 6)).collect();
        assert_eq!(order, [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]);
    }
}

//! GGUF headers, read with distrust.
//!
//! Everything that the engines will believe about a model file stands in its header, and llama.cpp ends the process where
//! a header lies (its assertions abort). So every file passes through here first: each count is held against the bytes
//! that are left before anything is allocated, each tensor against the length of the file, and what assertions in
//! llama.cpp rely on is asked for by name ([`Facts`]). [`Header::read`] takes any reader and is made to be fuzzed: whatever
//! the bytes, it answers or refuses, in memory bounded by [`MAX_HEADER_BYTES`].
//!
//! The format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>, versions 2 and 3, little-endian.

mod facts;
mod kind;
mod source;
mod value;
mod write;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufReader, Read};
use std::ops::Range;
use std::path::Path;

pub use facts::{Attention, Facts};
pub use kind::{TensorKind, file_type_name};
use source::Source;
pub use value::{Array, Scalars, Texts, Value};
pub use write::HeaderWriter;

/// The longest header that is read. The largest vocabularies in use need about 20 MB.
pub const MAX_HEADER_BYTES: u64 = 256 << 20;
/// The most metadata entries and the most tensors.
const MAX_ENTRIES: u64 = 1 << 16;
/// ggml keeps names of tensors in 64 bytes, the last of them zero.
const MAX_TENSOR_NAME: u64 = 63;
/// ggml's tensors have at most this many dimensions.
const MAX_DIMENSIONS: u32 = 4;
/// Where nothing else is said, tensors start at multiples of this.
const DEFAULT_ALIGNMENT: u64 = 32;

/// Why a file is no model that can be trusted.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Io(std::io::Error),
    /// It is something else.
    #[error("it does not begin with \"GGUF\"")]
    NotGguf,
    /// It is written in another version of the format.
    #[error("it is GGUF version {0}; versions 2 and 3 are read")]
    Version(u32),
    /// It was written for another kind of machine.
    #[error("it is big-endian; only little-endian files are read")]
    BigEndian,
    /// It ends too early.
    #[error("it is cut short: {what} needs {needs} bytes, {left} are left")]
    CutShort {
        /// What the file ends in.
        what: String,
        /// Bytes that it needs.
        needs: u64,
        /// Bytes that are left.
        left: u64,
    },
    /// It says something that cannot be.
    #[error("its header is wrong: {0}")]
    Wrong(String),
}

/// A tensor, as the header describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Name, for instance "blk.0.attn_q.weight".
    pub name: String,
    /// How its elements are stored.
    pub kind: TensorKind,
    /// Dimensions as ggml orders them: elements of a row first.
    pub dimensions: Vec<u64>,
    /// Where its bytes begin, counted from [`Header::data_offset`].
    pub offset: u64,
    /// Its bytes.
    pub bytes: u64,
}

/// What a file says about itself.
#[derive(Debug, Clone)]
pub struct Header {
    /// Metadata by key.
    metadata: HashMap<String, Value>,
    /// Where each metadata value stands in the file, its kind included, in the file's order.
    extents: Vec<(String, Range<u64>)>,
    /// Tensors, in the file's order.
    pub tensors: Vec<TensorInfo>,
    /// Where the tensors' bytes begin in the file.
    pub data_offset: u64,
    /// Length of the file, in bytes.
    pub file_bytes: u64,
}

impl Header {
    /// Reads the header of a file.
    ///
    /// # Errors
    /// [`GgufError`] says what is wrong with it.
    pub fn open(path: &Path) -> Result<Self, GgufError> {
        let file = File::open(path).map_err(GgufError::Io)?;
        let length = file.metadata().map_err(GgufError::Io)?.len();
        Self::read(BufReader::with_capacity(1 << 20, file), length)
    }

    /// Reads a header from the beginning of a file that is `file_bytes` long.
    ///
    /// # Errors
    /// [`GgufError`] says what is wrong with it.
    pub fn read(reader: impl Read, file_bytes: u64) -> Result<Self, GgufError> {
        let mut source = Source::new(reader, file_bytes);
        if &source.array::<4>("its magic number")? != b"GGUF" {
            return Err(GgufError::NotGguf);
        }
        match source.u32("its version")? {
            2 | 3 => {}
            version if version.swap_bytes() <= 3 => return Err(GgufError::BigEndian),
            version => return Err(GgufError::Version(version)),
        }
        // A tensor takes at least 25 bytes of header, a metadata entry 13.
        let tensor_count = source.count("tensors", MAX_ENTRIES, 25)?;
        let entry_count = source.count("metadata entries", MAX_ENTRIES, 13)?;
        let (mut metadata, mut extents) = (HashMap::new(), Vec::new());
        for index in 0..entry_count {
            let key = source.text("a metadata key", 1 << 16)?;
            if key.is_empty() {
                return Err(GgufError::Wrong(format!("metadata key {index} is empty")));
            }
            let start = source.position();
            let value = Value::read(&mut source, &key)?;
            extents.push((key.clone(), start..source.position()));
            if metadata.insert(key.clone(), value).is_some() {
                return Err(GgufError::Wrong(format!("metadata key `{key}` occurs twice")));
            }
        }
        let mut header = Self {
            metadata,
            extents,
            tensors: Vec::new(),
            data_offset: 0,
            file_bytes,
        };
        let alignment = header.alignment()?;
        let mut names = HashSet::new();
        for _ in 0..tensor_count {
            let tensor = TensorInfo::read(&mut source, alignment)?;
            if !names.insert(tensor.name.clone()) {
                return Err(GgufError::Wrong(format!("tensor `{}` occurs twice", tensor.name)));
            }
            header.tensors.push(tensor);
        }
        header.data_offset = source.position().next_multiple_of(alignment);
        header.check_extents()?;
        Ok(header)
    }

    /// The keys in the file's order, each with where its value stands in the file: the number of its kind, then the value.
    /// Whoever copies a header copies these bytes, so that a value keeps its width.
    pub fn extents(&self) -> &[(String, Range<u64>)] {
        &self.extents
    }

    /// A metadata value.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.metadata.get(key)
    }

    /// A text; `None` where there is none of that name and kind.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_text()
    }

    /// A number that is not negative; `None` where there is none of that name and kind.
    pub fn uint(&self, key: &str) -> Option<u64> {
        self.get(key)?.as_uint()
    }

    /// A floating-point number; `None` where there is none of that name and kind.
    pub fn float(&self, key: &str) -> Option<f64> {
        self.get(key)?.as_float()
    }

    /// A truth value; `None` where there is none of that name and kind.
    pub fn flag(&self, key: &str) -> Option<bool> {
        self.get(key)?.as_flag()
    }

    /// An array of texts; `None` where there is none of that name and kind.
    pub fn texts(&self, key: &str) -> Option<&Texts> {
        match self.get(key)? {
            Value::Array(Array::Texts(texts)) => Some(texts),
            _ => None,
        }
    }

    /// A tensor by name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    fn alignment(&self) -> Result<u64, GgufError> {
        let Some(value) = self.get("general.alignment") else {
            return Ok(DEFAULT_ALIGNMENT);
        };
        match value.as_uint() {
            Some(alignment) if alignment.is_power_of_two() && alignment <= 1 << 20 => Ok(alignment),
            _ => Err(GgufError::Wrong(
                "general.alignment is no power of two up to 1048576".into(),
            )),
        }
    }

    /// Every tensor must lie inside the file: engines map the file and would read past its end.
    fn check_extents(&self) -> Result<(), GgufError> {
        let left = self.file_bytes.saturating_sub(self.data_offset);
        for tensor in &self.tensors {
            let needs = tensor
                .offset
                .checked_add(tensor.bytes)
                .ok_or_else(|| tensor.wrong("lies out of reach"))?;
            if needs > left {
                return Err(GgufError::CutShort {
                    what: format!("tensor `{}`", tensor.name),
                    needs,
                    left,
                });
            }
        }
        Ok(())
    }
}

impl TensorInfo {
    fn read(source: &mut Source<impl Read>, alignment: u64) -> Result<Self, GgufError> {
        let name = source.text("a tensor's name", MAX_TENSOR_NAME)?;
        let mut tensor = Self {
            name,
            kind: TensorKind::F32,
            dimensions: Vec::new(),
            offset: 0,
            bytes: 0,
        };
        let rank = source.u32("a tensor's rank")?;
        if rank == 0 || rank > MAX_DIMENSIONS {
            return Err(tensor.wrong(&format!("has {rank} dimensions; 1 to {MAX_DIMENSIONS} are possible")));
        }
        for _ in 0..rank {
            tensor.dimensions.push(source.u64("a tensor's shape")?);
        }
        let code = source.u32("a tensor's type")?;
        tensor.kind = TensorKind::from_code(code).ok_or_else(|| tensor.wrong(&format!("is of unknown type {code}")))?;
        tensor.offset = source.u64("a tensor's offset")?;
        tensor.bytes = tensor.measure()?;
        if !tensor.offset.is_multiple_of(alignment) {
            return Err(tensor.wrong(&format!("starts at {}, no multiple of {alignment}", tensor.offset)));
        }
        Ok(tensor)
    }

    /// Number of elements. Cannot overflow: [`TensorInfo::measure`] refused what would.
    pub fn elements(&self) -> u64 {
        self.dimensions.iter().product()
    }

    /// Bytes that the shape and the type need.
    fn measure(&self) -> Result<u64, GgufError> {
        let row = self.dimensions.first().copied().unwrap_or(0);
        if row == 0 || self.dimensions.contains(&0) || !row.is_multiple_of(self.kind.block) {
            let (shape, block) = (&self.dimensions, self.kind.block);
            return Err(self.wrong(&format!(
                "has shape {shape:?}; rows of {} come in {block}s",
                self.kind.name
            )));
        }
        let elements = self
            .dimensions
            .iter()
            .try_fold(1_u64, |product, &n| product.checked_mul(n));
        elements
            .filter(|&elements| i64::try_from(elements).is_ok())
            .and_then(|elements| (elements / self.kind.block).checked_mul(self.kind.bytes))
            .ok_or_else(|| self.wrong("is too large to count"))
    }

    fn wrong(&self, what: &str) -> GgufError {
        GgufError::Wrong(format!("tensor `{}` {what}", self.name))
    }
}

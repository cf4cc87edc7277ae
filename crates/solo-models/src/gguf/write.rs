//! Writes headers. Only the header: whoever writes a model streams the tensors' bytes behind it, one after another, each
//! beginning at a multiple of [`HeaderWriter::ALIGNMENT`].

use super::{DEFAULT_ALIGNMENT, TensorInfo, TensorKind};

/// A header in the making.
#[derive(Debug, Clone, Default)]
pub struct HeaderWriter {
    entries: u64,
    metadata: Vec<u8>,
    tensors: Vec<TensorInfo>,
    /// Where the next tensor begins.
    next: u64,
}

impl HeaderWriter {
    /// Tensors start at multiples of this, in bytes.
    pub const ALIGNMENT: u64 = DEFAULT_ALIGNMENT;

    /// A header without anything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value that is already encoded: the number of its kind, then the value, as [`super::Header::extents`] finds
    /// them in another file.
    pub fn raw(&mut self, key: &str, kind_and_value: &[u8]) {
        self.entries += 1;
        push_text(&mut self.metadata, key.as_bytes());
        self.metadata.extend_from_slice(kind_and_value);
    }

    /// Adds a text.
    pub fn text(&mut self, key: &str, text: &str) {
        let mut value = kind(8);
        push_text(&mut value, text.as_bytes());
        self.raw(key, &value);
    }

    /// Adds an unsigned integer of 32 bits.
    pub fn u32(&mut self, key: &str, number: u32) {
        self.raw(key, &[kind(4), number.to_le_bytes().to_vec()].concat());
    }

    /// Adds a floating-point number of 32 bits.
    pub fn f32(&mut self, key: &str, number: f32) {
        self.raw(key, &[kind(6), number.to_le_bytes().to_vec()].concat());
    }

    /// Adds a truth value.
    pub fn flag(&mut self, key: &str, flag: bool) {
        self.raw(key, &[kind(7), vec![u8::from(flag)]].concat());
    }

    /// Adds an array of texts.
    pub fn texts<T: AsRef<str>>(&mut self, key: &str, texts: &[T]) {
        let mut value = array(8, texts.len());
        for text in texts {
            push_text(&mut value, text.as_ref().as_bytes());
        }
        self.raw(key, &value);
    }

    /// Adds an array of signed integers of 32 bits.
    pub fn i32s(&mut self, key: &str, numbers: &[i32]) {
        let mut value = array(5, numbers.len());
        value.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        self.raw(key, &value);
    }

    /// Adds an array of floating-point numbers of 32 bits.
    pub fn f32s(&mut self, key: &str, numbers: &[f32]) {
        let mut value = array(6, numbers.len());
        value.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        self.raw(key, &value);
    }

    /// Describes the next tensor; dimensions as ggml orders them, elements of a row first. It lies behind the one before.
    ///
    /// # Errors
    /// [`super::GgufError::Wrong`] when the shape does not go with the kind.
    pub fn tensor(&mut self, name: &str, kind: TensorKind, dimensions: &[u64]) -> Result<(), super::GgufError> {
        let mut tensor = TensorInfo {
            name: name.to_owned(),
            kind,
            dimensions: dimensions.to_vec(),
            offset: self.next,
            bytes: 0,
        };
        tensor.bytes = tensor.measure()?;
        self.next = (self.next.checked_add(tensor.bytes))
            .and_then(|end| end.checked_next_multiple_of(Self::ALIGNMENT))
            .ok_or_else(|| tensor.wrong("lies out of reach"))?;
        self.tensors.push(tensor);
        Ok(())
    }

    /// The tensors so far, in order.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The header's bytes, padded so that tensors may follow.
    pub fn finish(&self) -> Vec<u8> {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend((self.tensors.len() as u64).to_le_bytes());
        bytes.extend(self.entries.to_le_bytes());
        bytes.extend_from_slice(&self.metadata);
        for tensor in &self.tensors {
            push_text(&mut bytes, tensor.name.as_bytes());
            bytes.extend((tensor.dimensions.len() as u32).to_le_bytes());
            for dimension in &tensor.dimensions {
                bytes.extend(dimension.to_le_bytes());
            }
            bytes.extend(tensor.kind.code.to_le_bytes());
            bytes.extend(tensor.offset.to_le_bytes());
        }
        let padded = bytes.len().next_multiple_of(Self::ALIGNMENT as usize);
        bytes.resize(padded, 0);
        bytes
    }
}

fn kind(code: u32) -> Vec<u8> {
    code.to_le_bytes().to_vec()
}

fn array(code: u32, count: usize) -> Vec<u8> {
    [kind(9), kind(code), (count as u64).to_le_bytes().to_vec()].concat()
}

fn push_text(bytes: &mut Vec<u8>, text: &[u8]) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend_from_slice(text);
}

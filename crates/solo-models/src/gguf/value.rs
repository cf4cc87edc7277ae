//! Metadata values. Arrays stay as compact as in the file: a vocabulary is one buffer, not 150,000 allocations.

use std::io::Read;

use super::source::Source;
use super::{GgufError, MAX_HEADER_BYTES};

/// The longest text outside an array: chat templates reach some 100 kB.
const MAX_TEXT: u64 = 16 << 20;
/// The most elements of an array.
const MAX_ELEMENTS: u64 = 1 << 24;

/// A metadata value; integers and floats of every width are one kind each.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// An unsigned integer.
    Uint(u64),
    /// A signed integer.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// A truth value.
    Flag(bool),
    /// A text.
    Text(String),
    /// An array.
    Array(Array),
}

/// An array of one kind of values.
#[derive(Debug, Clone, PartialEq)]
pub enum Array {
    /// Numbers or truth values, as they stand in the file.
    Scalars(Scalars),
    /// Texts.
    Texts(Texts),
}

/// Numbers or truth values, as they stand in the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Scalars {
    code: u32,
    bytes: Vec<u8>,
}

/// Texts in one buffer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Texts {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Value {
    pub(super) fn read(source: &mut Source<impl Read>, key: &str) -> Result<Self, GgufError> {
        let what = format!("the value of `{key}`");
        let code = source.u32(&what)?;
        match code {
            8 => source.text(&what, MAX_TEXT).map(Self::Text),
            9 => Array::read(source, key, &what).map(Self::Array),
            _ => {
                let width = width(code).ok_or_else(|| unknown(key, code))?;
                let mut bytes = Vec::with_capacity(8);
                source.append(width, &mut bytes, &what)?;
                Ok(scalar(code, &bytes))
            }
        }
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is a whole one and not negative.
    pub fn as_uint(&self) -> Option<u64> {
        match *self {
            Self::Uint(value) => Some(value),
            Self::Int(value) => u64::try_from(value).ok(),
            _ => None,
        }
    }

    /// The number, if it is a floating-point one.
    pub fn as_float(&self) -> Option<f64> {
        match *self {
            Self::Float(value) => Some(value),
            _ => None,
        }
    }

    /// The truth value, if it is one.
    pub fn as_flag(&self) -> Option<bool> {
        match *self {
            Self::Flag(value) => Some(value),
            _ => None,
        }
    }

    /// The whole numbers of this value: one, or an array's.
    pub fn uints(&self) -> Option<Vec<u64>> {
        match self {
            Self::Array(Array::Scalars(scalars)) => scalars.values().map(|value| value.as_uint()).collect(),
            _ => self.as_uint().map(|value| vec![value]),
        }
    }
}

impl Array {
    fn read(source: &mut Source<impl Read>, key: &str, what: &str) -> Result<Self, GgufError> {
        let code = source.u32(what)?;
        if code == 8 {
            let count = source.count(&format!("texts in `{key}`"), MAX_ELEMENTS, 8)?;
            return Texts::read(source, count, what).map(Self::Texts);
        }
        // An array of arrays has no width: llama.cpp refuses it, too.
        let width = width(code).ok_or_else(|| unknown(key, code))?;
        let count = source.count(&format!("numbers in `{key}`"), MAX_ELEMENTS, width)?;
        let mut bytes = Vec::new();
        source.append(count * width, &mut bytes, what)?;
        Ok(Self::Scalars(Scalars { code, bytes }))
    }
}

impl Scalars {
    /// The values, in order.
    pub fn values(&self) -> impl Iterator<Item = Value> + '_ {
        // Its width is at least 1: it was read with it.
        let width = width(self.code).unwrap_or(1) as usize;
        self.bytes.chunks_exact(width).map(|bytes| scalar(self.code, bytes))
    }
}

impl Texts {
    fn read(source: &mut Source<impl Read>, count: u64, what: &str) -> Result<Self, GgufError> {
        let mut texts = Self::default();
        for _ in 0..count {
            let length = source.u64(what)?;
            source.append(length, &mut texts.bytes, what)?;
            texts.ends.push(
                u32::try_from(texts.bytes.len())
                    .map_err(|_| GgufError::Wrong(format!("{what} is longer than {MAX_HEADER_BYTES} bytes")))?,
            );
        }
        Ok(texts)
    }

    /// Number of texts.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// A text by its number. Files hold bytes, not always UTF-8.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)? as usize;
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        Some(&self.bytes[start..end])
    }

    /// All texts, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

/// Bytes of a scalar.
fn width(code: u32) -> Option<u64> {
    match code {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

/// Decodes a scalar of the right width.
fn scalar(code: u32, bytes: &[u8]) -> Value {
    let mut wide = [0; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    let bits = u64::from_le_bytes(wide);
    match code {
        1 => Value::Int((bits as i8).into()),
        3 => Value::Int((bits as i16).into()),
        5 => Value::Int((bits as i32).into()),
        6 => Value::Float(f32::from_bits(bits as u32).into()),
        7 => Value::Flag(bits != 0),
        11 => Value::Int(bits as i64),
        12 => Value::Float(f64::from_bits(bits)),
        _ => Value::Uint(bits),
    }
}

fn unknown(key: &str, code: u32) -> GgufError {
    GgufError::Wrong(format!("`{key}` is of unknown kind {code}"))
}

//! CTranslate2's `model.bin`: a version, the specification's name, its revision, then tensors, then aliases.
//!
//! Tensors are slices of the input; nothing is copied and nothing is allocated by a count that the file states, so a
//! hostile count ends in "ends too early".

use std::collections::HashMap;

use super::ConversionError;

/// The versions of the format that are laid out as read here (6 since CTranslate2 2.0).
const VERSION: u32 = 6;

/// The element type of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    F32,
    F16,
    /// A signed integer of so many bytes: scalars, or quantised weights.
    Int(usize),
}

impl Element {
    fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::F32),
            1 => Some(Self::Int(1)),
            2 => Some(Self::Int(2)),
            3 => Some(Self::Int(4)),
            4 => Some(Self::F16),
            _ => None,
        }
    }

    /// Bytes an element.
    fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
            Self::Int(size) => size,
        }
    }
}

/// A tensor, row-major, little-endian; its bytes fit its shape.
#[derive(Debug, Clone)]
pub(super) struct Tensor<'a> {
    pub(super) name: &'a str,
    pub(super) shape: Vec<usize>,
    pub(super) element: Element,
    pub(super) bytes: &'a [u8],
}

impl<'a> Tensor<'a> {
    /// The size along an axis.
    pub(super) fn dim(&self, axis: usize, expected: &'static str) -> Result<usize, ConversionError> {
        self.shape.get(axis).copied().ok_or_else(|| self.misshapen(expected))
    }

    /// The tensor, if its weights are not quantised.
    pub(super) fn floats(&self) -> Result<Tensor<'a>, ConversionError> {
        match self.element {
            Element::F16 | Element::F32 => Ok(self.clone()),
            Element::Int(_) => Err(ConversionError::Quantised(self.name.to_owned())),
        }
    }

    /// The one positive integer it holds.
    pub(super) fn scalar(&self) -> Result<usize, ConversionError> {
        let value = match (self.element, self.bytes) {
            (Element::Int(1), &[a]) => i64::from(a as i8),
            (Element::Int(2), &[a, b]) => i64::from(i16::from_le_bytes([a, b])),
            (Element::Int(4), &[a, b, c, d]) => i64::from(i32::from_le_bytes([a, b, c, d])),
            _ => return Err(self.misshapen("one integer")),
        };
        usize::try_from(value).map_err(|_| self.misshapen("one positive integer"))
    }

    /// Cuts it along its first axis into equal parts.
    pub(super) fn split(&self, parts: usize) -> Result<Vec<Tensor<'a>>, ConversionError> {
        let rows = self.dim(0, "rows")?;
        if rows == 0 || !rows.is_multiple_of(parts) {
            return Err(self.misshapen("rows that can be divided evenly"));
        }
        let mut shape = self.shape.clone();
        shape[0] = rows / parts;
        let size = self.bytes.len() / parts;
        if size == 0 {
            return Err(self.misshapen("at least one column"));
        }
        Ok(self
            .bytes
            .chunks_exact(size)
            .map(|bytes| Tensor {
                shape: shape.clone(),
                bytes,
                ..self.clone()
            })
            .collect())
    }

    /// True when every element is zero, of either sign.
    pub(super) fn is_zero(&self) -> bool {
        let size = self.element.size();
        // The sign is the highest bit of the last byte.
        self.bytes
            .chunks_exact(size)
            .all(|e| e[..size - 1].iter().all(|b| *b == 0) && e[size - 1] & 0x7f == 0)
    }

    fn misshapen(&self, expected: &'static str) -> ConversionError {
        ConversionError::Shape {
            name: self.name.to_owned(),
            shape: self.shape.clone(),
            expected,
        }
    }
}

/// The tensors of a model by name.
#[derive(Debug)]
pub(super) struct Weights<'a> {
    tensors: HashMap<&'a str, Tensor<'a>>,
}

impl<'a> Weights<'a> {
    pub(super) fn get(&self, name: &str) -> Result<&Tensor<'a>, ConversionError> {
        self.tensors
            .get(name)
            .ok_or_else(|| ConversionError::MissingTensor(name.to_owned()))
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().copied()
    }
}

/// Reads a whole `model.bin`.
pub(super) fn read(input: &[u8]) -> Result<Weights<'_>, ConversionError> {
    let mut cursor = Cursor { input, offset: 0 };
    if cursor.u32()? != VERSION {
        return Err(ConversionError::Malformed {
            what: "a format version other than 6",
            offset: 0,
        });
    }
    cursor.string()?;
    cursor.u32()?;
    let count = cursor.u32()?;
    let mut tensors = HashMap::new();
    for _ in 0..count {
        let tensor = cursor.tensor()?;
        tensors.insert(tensor.name, tensor);
    }
    let aliases = cursor.u32()?;
    for _ in 0..aliases {
        let alias = cursor.string()?;
        let target = cursor.string()?;
        let tensor: Tensor = match tensors.get(target) {
            Some(tensor) => tensor.clone(),
            None => return Err(ConversionError::MissingTensor(target.to_owned())),
        };
        tensors.insert(alias, tensor);
    }
    Ok(Weights { tensors })
}

struct Cursor<'a> {
    input: &'a [u8],
    offset: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], ConversionError> {
        let end = self.offset.checked_add(n);
        let bytes = end
            .and_then(|end| self.input.get(self.offset..end))
            .ok_or_else(|| self.malformed("an early end"))?;
        self.offset += n;
        Ok(bytes)
    }

    fn u8(&mut self) -> Result<u8, ConversionError> {
        Ok(self.take(1)?[0])
    }

    fn u16(&mut self) -> Result<u16, ConversionError> {
        let bytes = self.take(2)?;
        Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&mut self) -> Result<u32, ConversionError> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn size(&mut self) -> Result<usize, ConversionError> {
        let value = self.u32()?;
        usize::try_from(value).map_err(|_| self.malformed("a size beyond this machine"))
    }

    /// A length with the closing zero, the characters, the zero.
    fn string(&mut self) -> Result<&'a str, ConversionError> {
        let length = usize::from(self.u16()?);
        let bytes = self.take(length)?;
        let text = bytes
            .strip_suffix(&[0])
            .ok_or_else(|| self.malformed("a name that is not closed"))?;
        std::str::from_utf8(text).map_err(|_| self.malformed("a name that is no text"))
    }

    fn tensor(&mut self) -> Result<Tensor<'a>, ConversionError> {
        let name = self.string()?;
        let rank = self.u8()?;
        let mut shape = Vec::new();
        for _ in 0..rank {
            shape.push(self.size()?);
        }
        let code = self.u8()?;
        let element = Element::from_code(code).ok_or_else(|| self.malformed("an unknown element type"))?;
        let length = self.size()?;
        let elements = shape
            .iter()
            .try_fold(1_usize, |product, &size| product.checked_mul(size));
        if elements.and_then(|elements| elements.checked_mul(element.size())) != Some(length) {
            return Err(self.malformed("a tensor whose size does not fit its shape"));
        }
        Ok(Tensor {
            name,
            shape,
            element,
            bytes: self.take(length)?,
        })
    }

    fn malformed(&self, what: &'static str) -> ConversionError {
        ConversionError::Malformed {
            what,
            offset: self.offset,
        }
    }
}

//! Arrow batches to rows and back: column access with the store's errors, and builders of the columns that several
//! tables share.

use std::str::FromStr;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int64Type, UInt32Type, UInt64Type};
use arrow_array::{Array, ArrayRef, FixedSizeListArray, Float32Array, RecordBatch};
use arrow_schema::SchemaRef;
use jiff::Timestamp;
use uuid::Uuid;

use super::schema;
use crate::store::StoreError;

/// A row of a batch.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    batch: &'a RecordBatch,
    index: usize,
}

/// All rows of some batches.
pub(super) fn rows(batches: &[RecordBatch]) -> impl Iterator<Item = Row<'_>> {
    batches
        .iter()
        .flat_map(|batch| (0..batch.num_rows()).map(move |index| Row { batch, index }))
}

impl<'a> Row<'a> {
    fn column<T>(self, name: &str, get: impl FnOnce(&'a ArrayRef) -> Option<T>) -> Result<T, StoreError> {
        self.batch
            .column_by_name(name)
            .and_then(get)
            .ok_or_else(|| corrupt(format!("column {name} is missing or of another type")))
    }

    /// A text.
    pub(super) fn text(self, name: &str) -> Result<&'a str, StoreError> {
        self.column(name, |column| Some(column.as_string_opt::<i32>()?.value(self.index)))
    }

    /// A text in a column of long ones.
    pub(super) fn long_text(self, name: &str) -> Result<&'a str, StoreError> {
        self.column(name, |column| Some(column.as_string_opt::<i64>()?.value(self.index)))
    }

    /// A text that was written with `Display`.
    pub(super) fn parsed<T: FromStr>(self, name: &str) -> Result<T, StoreError> {
        let text = self.text(name)?;
        text.parse()
            .map_err(|_| corrupt(format!("column {name} holds `{}`", text.escape_debug())))
    }

    /// An identifier.
    pub(super) fn id(self, name: &str) -> Result<Uuid, StoreError> {
        self.parsed(name)
    }

    /// A number.
    pub(super) fn number(self, name: &str) -> Result<u32, StoreError> {
        self.column(name, |column| {
            Some(column.as_primitive_opt::<UInt32Type>()?.value(self.index))
        })
    }

    /// A large number.
    pub(super) fn large(self, name: &str) -> Result<u64, StoreError> {
        self.column(name, |column| {
            Some(column.as_primitive_opt::<UInt64Type>()?.value(self.index))
        })
    }

    /// A fraction.
    pub(super) fn fraction(self, name: &str) -> Result<f32, StoreError> {
        self.column(name, |column| {
            Some(column.as_primitive_opt::<Float32Type>()?.value(self.index))
        })
    }

    /// A time that may be unset.
    pub(super) fn maybe_time(self, name: &str) -> Result<Option<Timestamp>, StoreError> {
        let column = self.column(name, |column| column.as_primitive_opt::<Int64Type>())?;
        if column.is_null(self.index) {
            return Ok(None);
        }
        Timestamp::from_microsecond(column.value(self.index))
            .map(Some)
            .map_err(|error| corrupt(format!("column {name} holds no time: {error}")))
    }

    /// A time.
    pub(super) fn time(self, name: &str) -> Result<Timestamp, StoreError> {
        self.maybe_time(name)?
            .ok_or_else(|| corrupt(format!("column {name} is unset")))
    }

    /// A vector.
    pub(super) fn vector(self) -> Result<Vec<f32>, StoreError> {
        let list = self.column("vector", |column| {
            Some(column.as_fixed_size_list_opt()?.value(self.index))
        })?;
        let values = list
            .as_primitive_opt::<Float32Type>()
            .ok_or_else(|| corrupt("a vector has other parts".into()))?;
        Ok(values.values().to_vec())
    }
}

/// What a row should not have been.
pub(super) fn corrupt(problem: String) -> StoreError {
    StoreError::Corrupt { problem }
}

/// A batch of a table's columns, in its schema's order.
pub(super) fn batch(schema: SchemaRef, columns: Vec<ArrayRef>) -> Result<RecordBatch, StoreError> {
    RecordBatch::try_new(schema, columns).map_err(|error| StoreError::Backend {
        doing: "laid out rows",
        source: error.into(),
    })
}

/// A vector column.
pub(super) fn vectors<'a>(
    vectors: impl IntoIterator<Item = &'a [f32]>,
    dimension: usize,
) -> Result<ArrayRef, StoreError> {
    let mut values = Vec::new();
    for vector in vectors {
        if vector.len() != dimension {
            return Err(corrupt(format!(
                "a vector of {} components instead of {dimension}",
                vector.len()
            )));
        }
        values.extend_from_slice(vector);
    }
    let size = i32::try_from(dimension).map_err(|error| corrupt(error.to_string()))?;
    FixedSizeListArray::try_new(schema::component(), size, Arc::new(Float32Array::from(values)), None)
        .map(|list| Arc::new(list) as ArrayRef)
        .map_err(|error| StoreError::Backend {
            doing: "laid out vectors",
            source: error.into(),
        })
}

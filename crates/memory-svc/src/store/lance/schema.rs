//! The tables' columns. A change here is a new [`VERSION`] and a migration.
//!
//! Identifiers are UUIDs in text, lower case; times are microseconds since 1970 (UTC); "ordered" identifiers are UUIDv7,
//! so their order is that of their making.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};

/// Version of these tables.
pub(super) const VERSION: u32 = 1;

fn schema(fields: Vec<Field>) -> SchemaRef {
    Arc::new(Schema::new(fields))
}

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, false)
}

fn number(name: &str) -> Field {
    Field::new(name, DataType::UInt32, false)
}

fn large(name: &str) -> Field {
    Field::new(name, DataType::UInt64, false)
}

fn time(name: &str) -> Field {
    Field::new(name, DataType::Int64, false)
}

fn maybe_time(name: &str) -> Field {
    Field::new(name, DataType::Int64, true)
}

/// The field inside a vector column.
pub(super) fn component() -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Float32, true))
}

fn vector(dimension: usize) -> Field {
    // Dimensions are a few thousand at most.
    let dimension = i32::try_from(dimension).unwrap_or(i32::MAX);
    Field::new("vector", DataType::FixedSizeList(component(), dimension), false)
}

/// What the store is: one row.
pub(super) fn meta() -> SchemaRef {
    schema(vec![
        number("schema_version"),
        text("model"),
        number("dimension"),
        text("made_by"),
        time("created_at"),
    ])
}

/// `id` is ordered; (`principal`, `collection`, `uri`) is unique and the key; `generation` names the chunks that belong to it.
pub(super) fn documents() -> SchemaRef {
    schema(vec![
        text("id"),
        text("principal"),
        text("collection"),
        text("uri"),
        text("title"),
        text("media_type"),
        number("version"),
        text("generation"),
        number("chunks"),
        large("bytes"),
        large("text_bytes"),
        text("content_sha256"),
        text("metadata"),
        time("created_at"),
        time("updated_at"),
    ])
}

/// `ordinal` counts from 0 in a generation; `start..end` are bytes of the extracted text and `text` is those bytes, blanks
/// included. URI, title and time are the document's, so that a hit needs no second look-up.
pub(super) fn chunks(dimension: usize) -> SchemaRef {
    schema(vec![
        text("id"),
        text("principal"),
        text("collection"),
        text("document"),
        text("generation"),
        number("ordinal"),
        text("uri"),
        text("title"),
        text("heading"),
        number("page"),
        large("start"),
        large("end"),
        // Blanks can make one as long as a document, and many together longer than 2 GiB.
        Field::new("text", DataType::LargeUtf8, false),
        time("created_at"),
        vector(dimension),
    ])
}

/// A row is a version of a fact; `row` is ordered and unique; `ended_at` is set once it was superseded or retracted.
pub(super) fn facts(dimension: usize) -> SchemaRef {
    schema(vec![
        text("row"),
        text("id"),
        text("principal"),
        text("collection"),
        text("text"),
        Field::new("confidence", DataType::Float32, false),
        maybe_time("valid_from"),
        maybe_time("valid_to"),
        text("provenance"),
        text("dialogue"),
        number("version"),
        time("created_at"),
        maybe_time("ended_at"),
        vector(dimension),
    ])
}

/// `id` is unique; `path` is absolute, as a `file:` URL.
pub(super) fn watches() -> SchemaRef {
    schema(vec![
        text("id"),
        text("principal"),
        text("collection"),
        text("path"),
        time("created_at"),
    ])
}

/// (`principal`, `name`) is unique.
pub(super) fn collections() -> SchemaRef {
    schema(vec![
        text("principal"),
        text("name"),
        text("description"),
        time("created_at"),
    ])
}

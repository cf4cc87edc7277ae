//! `solo.memory.v1` to this service's types and back: nothing else knows both.

mod answer;
mod exchange;
mod reembed;
mod request;

pub use answer::{collection, document, fact, found, passage_response, progress, taken, watch};
pub use exchange::{export_piece, export_progress, exported, import_progress, imported};
pub use reembed::{embedding, reembedding};
pub use request::{description, document_filter, fact_change, ids, passage, search, selector, upload};

//! Contract ↔ domain: the only place that knows both.

mod answer;
mod request;

pub(crate) use answer::{listen_output, models, transcribe_output};
pub(crate) use request::{listen_config, listen_input, piece, transcribe_config};

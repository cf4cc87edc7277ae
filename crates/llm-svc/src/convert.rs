//! Messages of `solo.llm.v1` to the service's own terms and back: nothing else knows both.

mod answer;
mod request;

pub(crate) use answer::{answered, count, loading, model};
pub(crate) use request::{client, generation, input, stay, tools};

//! llm-svc's tests. `model_…` need real weights and run with `--ignored`; the rest brings its own tiny models.

#![allow(clippy::unwrap_used)] // Helpers outside `#[test]` functions may fail a test, too.

mod config;
mod engines;
mod grpc;
mod hostile;
mod lifecycle;
mod model;
mod refusals;
mod scripted;
mod templates;
mod tiny;

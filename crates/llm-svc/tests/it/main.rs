//! llm-svc's tests. `model_…` need real weights and run with `--ignored`; the rest brings its own tiny models.

#![allow(clippy::unwrap_used)] // Helpers outside `#[test]` functions may fail a test, too.

mod config;
#[cfg(feature = "cuda")]
mod cuda;
mod drive;
mod engines;
mod fastest;
mod grpc;
mod lifecycle;
mod model;
mod placement;
mod quantize;
mod refusals;
mod remote;
mod scripted;
mod serving;
mod steps;
mod templates;
mod tiny;

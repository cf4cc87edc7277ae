//! Integration tests of wake-svc: over gRPC with a detector that needs no weights, and (`model_…`) with the real one.

#![allow(clippy::unwrap_used, reason = "a test panics where something is wrong")]

mod detect;
mod fake;
mod model;
#[cfg(target_os = "linux")]
mod porcupine;
mod refusals;

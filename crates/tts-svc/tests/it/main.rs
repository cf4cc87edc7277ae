//! Integration tests of tts-svc: over gRPC with a voice that needs no weights, and (`model_…`) with the real one.

#![allow(clippy::unwrap_used, reason = "a test panics where something is wrong")]

mod fake;
mod model;
mod refusals;
mod speech;

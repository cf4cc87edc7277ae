//! stt-svc from outside: a real server on a free port, a scripted engine behind it; and, in `model`, real weights.

#![allow(clippy::unwrap_used)]

mod boot;
mod listen;
mod model;
mod scripted;
mod talk;
mod transcribe;
mod wer;

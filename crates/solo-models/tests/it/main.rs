//! The manifest holds together, a missing model names its remedy, and headers that lie are refused.

#![allow(clippy::unwrap_used)] // Helpers outside `#[test]` functions may fail a test, too.

mod fit;
mod gguf;
mod locate;
mod manifest;
mod model;
mod shapes;
mod verify;

//! memory-svc, tested through its gRPC border over a real LanceDB in a temporary folder; only the engines are made up,
//! except in `model.rs` and `cuda.rs`.

// As in the library: LanceDB's futures are deep.
#![recursion_limit = "256"]
#![allow(clippy::unwrap_used)]

mod collections;
mod cross_encoder;
#[cfg(feature = "cuda")]
mod cuda;
mod device;
mod documents;
mod durability;
mod engine;
mod exchange;
mod facts;
mod fifty;
mod isolation;
mod limits;
mod model;
mod pair;
mod pdf_damage;
#[path = "../../../solo-documents/src/tests/pdf_fixture.rs"]
mod pdf_fixture;
mod reading;
mod reembed;
mod rerank;
mod retention;
#[cfg(feature = "s3")]
mod s3;
mod search;
mod shared;
#[cfg(target_os = "linux")]
mod shared_watch;
mod startup;
mod support;
mod two_users;
mod upkeep;
#[cfg(target_os = "linux")]
mod watch;

//! memory-svc, tested through its gRPC border over a real LanceDB in a temporary folder; only the embedding engine is
//! made up, except in `model.rs`.

// As in the library: LanceDB's futures are deep.
#![recursion_limit = "256"]
#![allow(clippy::unwrap_used)]

mod collections;
mod documents;
mod durability;
mod engine;
mod facts;
mod fifty;
mod isolation;
mod limits;
mod model;
mod pdf_fixture;
mod reading;
mod search;
mod startup;
mod support;
mod two_users;
mod upkeep;
#[cfg(target_os = "linux")]
mod watch;

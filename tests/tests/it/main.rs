//! Whole turns over spawned binaries, with real weights. All are `#[ignore]`d because they need models and minutes:
//! `cargo make test-models` runs them, one after another, and so does CI.

// A test that cannot go on should stop where it is.
#![allow(clippy::unwrap_used)]

mod bad_input;
mod compose;
mod conversation;
mod faults;
mod foreign_clients;
mod memory;
mod offline;
mod service_graph;
mod turns;
mod ways_to_send;
mod wyoming;

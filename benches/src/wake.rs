//! Wake words under measurement: what `cargo make bench-wake` is made of.
//!
//! [`speech`] has Solo's own voices say keywords and other things, [`acoustics`] puts what they say into rooms and noise,
//! [`corpus`] plans and writes the recordings that `solo wake bench` reads, [`service`] runs the services, and [`table`] turns
//! what the command reports into the tables of docs/benchmarks.md.

pub mod acoustics;
pub mod corpus;
pub mod service;
pub mod speech;
pub mod table;

/// Samples a second of everything here.
pub const RATE: usize = 16_000;

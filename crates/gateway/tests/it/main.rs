//! The gateway against fakes of all services: every edge, every fault.

// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used)]

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod environment;
mod events;
mod faults;
mod forward;
mod http;
mod rest;
mod spoken;
mod typed;
mod websocket;
mod world;
mod wyoming;
mod wyoming_client;
mod wyoming_faults;

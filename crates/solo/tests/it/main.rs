//! The command line from outside: the real `solo` binary, fake services, a fake gateway.

// What a test prepares may fail loudly, in helpers as in the tests themselves.
#![allow(clippy::unwrap_used)]

mod cli;
mod conversation;
#[cfg(target_os = "linux")]
mod devices;
#[cfg(target_os = "linux")]
mod hotkey;
#[cfg(unix)]
mod quantize;
mod raw;
#[cfg(target_os = "linux")]
mod runner;
mod sandbox;
mod show;

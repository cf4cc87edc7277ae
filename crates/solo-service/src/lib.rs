//! How any of Solo's services runs. It knows no domain: a service brings a [`Definition`], a typed configuration and a
//! `build` function, and this library gives it a command line, layered configuration, telemetry, health, reflection,
//! status, events, a drain with a deadline, clients of other services, and the thread its engine lives on.
//!
//! A tour, in the order of a process's life: [`main`] (`app.rs`) settles what libraries read from the `environment`, reads
//! [`config`], installs telemetry and calls
//! `server.rs`, which binds, answers [`health`] and [`status`], builds the service in its [`Context`], serves, and drains.
//! [`worker`] is where engines run; [`client`] is how one service calls another; [`error`] is the one vocabulary of
//! failures, and [`problem`] its HTTP dress; [`request`] is what travels beside a message; [`testing`] runs a service in
//! a test.

#![warn(missing_docs)]

mod app;
pub mod client;
pub mod config;
pub mod cpu;
mod environment;
pub mod error;
pub mod events;
pub mod gpu;
pub mod health;
pub mod memory;
pub mod net;
pub mod parent;
mod probe;
pub mod problem;
pub mod request;
mod server;
mod service;
pub mod status;
mod telemetry;
pub mod testing;
mod tls;
pub mod worker;

pub use app::{Extra, main, main_with};
pub use client::{Upstream, UpstreamError, UpstreamStream};
pub use config::{Faults, GlobalConfig, ServiceConfig};
pub use error::{ErrorCode, IntoStatus, ServiceError};
pub use events::EventPublisher;
pub use health::Health;
pub use request::{Priority, RequestContext};
pub use service::{Context, Definition, Service, StartupError, exit};
pub use status::StatusBoard;
pub use tokio_util::sync::CancellationToken;
pub use worker::{CancelOnDrop, CancelToken, Cancelled, Emit, JobStream, Worker, WorkerError};

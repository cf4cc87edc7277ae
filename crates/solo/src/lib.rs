//! The command line of Solo, and its process runner.
//!
//! A tour: [`cli`] is what can be typed; `commands/` has one file for each thing a person does; [`runner`] is `solo up` and
//! what talks to it; [`models`] fetches models. Below them: [`settings`] and [`sections`] (configuration), [`connection`]
//! and [`session`] (services over gRPC), [`turn`] (a turn and its JSON), [`terminal`] (what people see) and [`failure`]
//! (how a command ends badly). No service is linked here: everything goes over the wire or through a binary.

pub mod audio;
pub mod cli;
pub mod commands;
pub mod connection;
pub mod failure;
pub mod log_file;
pub mod models;
#[cfg(unix)]
pub mod runner;
pub mod sections;
pub mod services;
pub mod session;
pub mod settings;
pub mod terminal;
pub mod turn;

use std::process::ExitCode;

use clap::Parser;

use cli::Cli;
use failure::Failure;

/// The whole of `main`: parse, run, report.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // A closed pipe (`solo --help | head`) is no reason to complain.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return terminal::report(&Failure::failed(format!("no asynchronous runtime: {error}"))).into(),
    };
    let code = match runtime.block_on(commands::run(cli)) {
        Ok(code) => code,
        Err(failure) => terminal::report(&failure).into(),
    };
    // A thread that waits for a line of a terminal cannot be joined.
    runtime.shutdown_background();
    code
}

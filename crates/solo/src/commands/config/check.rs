//! Each service checks its own section: `stt-svc check-config` knows types and ranges, which nobody else does.

use std::path::Path;
use std::process::Stdio;

use futures::future::join_all;
use serde::Serialize;
use solo_service::config::Inputs;
use tokio::process::Command;

use crate::failure::Failure;
use crate::services::{self, Service};

/// What one service said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// The service.
    pub service: &'static str,
    /// True when it would start with this configuration.
    pub ok: bool,
    /// What it said.
    pub message: String,
}

/// Lets all services check a file, and `[global]` with it.
///
/// # Errors
/// When the folder of the binaries cannot be found. A binary that is not there is a check that failed.
pub async fn check_binaries(inputs: &Inputs, file: Option<&Path>) -> Result<Vec<Checked>, Failure> {
    Ok(join_all(services::ALL.iter().map(|service| check(service, inputs, file))).await)
}

/// Lets one service check a file.
pub(super) async fn check(service: &'static Service, inputs: &Inputs, file: Option<&Path>) -> Checked {
    let binary = match services::binary(service) {
        Ok(binary) => binary,
        Err(failure) => {
            return Checked {
                service: service.name,
                ok: false,
                message: failure.message,
            };
        }
    };
    let mut command = Command::new(&binary);
    command.arg("check-config").stdin(Stdio::null());
    if let Some(file) = file {
        command.arg("--config").arg(file);
    }
    for (key, value) in &inputs.flags {
        command.arg("--set").arg(format!("{key}={value}"));
    }
    match command.output().await {
        Ok(output) => {
            let said = if output.status.success() {
                output.stdout
            } else {
                output.stderr
            };
            let text = String::from_utf8_lossy(&said);
            let message = text.trim().trim_start_matches("error: ").to_owned();
            Checked {
                service: service.name,
                ok: output.status.success(),
                message,
            }
        }
        Err(error) => Checked {
            service: service.name,
            ok: false,
            message: format!("{} cannot be run: {error}", binary.display()),
        },
    }
}

//! `solo restart SERVICE`: the running turn finishes, then the service starts again; returns when it serves.

use std::time::Duration;

use crate::failure::Failure;
use crate::runner::control::{self, Request};
use crate::runner::display;
use crate::services::Service;
use crate::settings::Settings;
use crate::terminal;

/// What the answer may take beyond the deadline that the runner itself keeps.
const SLACK: Duration = Duration::from_secs(3);

/// Restarts a service of the running Solo.
pub async fn run(settings: &Settings, service: &Service, timeout: u64) -> Result<(), Failure> {
    let timeout = Duration::from_secs(timeout);
    let timeout_ms = u64::try_from(timeout.as_millis()).ok();
    let request = Request::Restart {
        service: service.name.into(),
        timeout_ms,
    };
    let answer = control::ask(&settings.global.data_dir, &request, timeout + SLACK).await?;
    let rows = answer.ok_or_else(control::not_running)?;
    match (settings.json, rows.first()) {
        (true, row) => terminal::json(&row),
        (false, _) => terminal::line(display::table(&rows)),
    }
}

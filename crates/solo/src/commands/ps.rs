//! `solo ps`: the services as the runner sees them.

use std::time::Duration;

use crate::failure::Failure;
use crate::runner::control::{self, Request};
use crate::runner::display;
use crate::settings::Settings;
use crate::terminal;

const TIMEOUT: Duration = Duration::from_secs(5);

/// Prints the table; without a runner it is empty, and that is an answer, not a failure.
pub async fn run(settings: &Settings) -> Result<(), Failure> {
    let rows = control::ask(&settings.global.data_dir, &Request::Ps {}, TIMEOUT).await?;
    if settings.json {
        return terminal::json(&rows.unwrap_or_default());
    }
    match rows {
        Some(rows) => terminal::line(display::table(&rows)),
        None => terminal::line("Solo is not running: start it with `solo up`"),
    }
}

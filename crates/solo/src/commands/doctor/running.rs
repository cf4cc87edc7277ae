//! Ports and services: whether Solo could start, or whether what has started is well.

use super::Finding;
use crate::failure::Failure;
use crate::settings::Settings;

/// The runner and its services; without one, whether the ports are free.
#[cfg(unix)]
pub(super) async fn all(settings: &Settings) -> Result<Vec<Finding>, Failure> {
    use std::time::Duration;

    use crate::runner::board::State;
    use crate::runner::control::{self, Request};
    use crate::runner::lock::Lock;
    use crate::runner::plan::Plan;

    const TIMEOUT: Duration = Duration::from_secs(5);
    let data_dir = &settings.global.data_dir;
    let Some(holder) = Lock::holder(data_dir) else {
        let ports = match Plan::new(settings, &[]).and_then(|plan| plan.ports_are_free()) {
            Ok(()) => Finding::good("ports", "free"),
            Err(failure) => Finding::bad("ports", failure.message, failure.help.unwrap_or_default()),
        };
        return Ok(vec![
            ports,
            Finding::idle("services", "Solo is not running", "start it with `solo up`"),
        ]);
    };
    let runner = holder.map_or_else(|| "the runner".to_owned(), |pid| format!("the runner, process {pid},"));
    let rows = match control::ask(data_dir, &Request::Ps {}, TIMEOUT).await {
        Ok(Some(rows)) => rows,
        Ok(None) => {
            return Ok(vec![Finding::bad(
                "services",
                format!("{runner} has no control socket"),
                "it is starting or stopping; if that lasts, kill it",
            )]);
        }
        Err(failure) => {
            return Ok(vec![Finding::bad(
                "services",
                failure.message,
                failure.help.unwrap_or_default(),
            )]);
        }
    };
    let faults: Vec<Finding> = rows
        .iter()
        .filter(|row| row.state != State::Serving)
        .map(|row| {
            let name = &row.service;
            let help = format!("`solo logs {name}` may say why; `solo restart {name}` tries again");
            Finding::bad("services", format!("{name} is {}", row.state.as_str()), help)
        })
        .collect();
    Ok(if faults.is_empty() {
        vec![Finding::good("services", format!("{} serving, ports ours", rows.len()))]
    } else {
        faults
    })
}

/// There is no runner on this system.
#[cfg(not(unix))]
pub(super) async fn all(_: &Settings) -> Result<Vec<Finding>, Failure> {
    Ok(vec![Finding::idle(
        "services",
        "not looked at: the runner does not run on this system",
        "run Solo inside WSL",
    )])
}

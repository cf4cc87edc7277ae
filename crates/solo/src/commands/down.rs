//! `solo down`: everything stops, gateway first.

use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::runner::control::{self, Request};
use crate::runner::lock::Lock;
use crate::settings::Settings;
use crate::terminal;

/// What a runner may take beyond twice the drain deadline (the gateway drains first, then the others).
const SLACK: Duration = Duration::from_secs(15);
/// What its process may take to end after its last answer.
const LAST: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(10);

/// Stops the runner of this data folder and waits until it is gone. Without one there is nothing to do, and that is well.
pub async fn run(settings: &Settings) -> Result<(), Failure> {
    let data_dir = &settings.global.data_dir;
    let timeout = settings.global.drain * 2 + SLACK;
    let was_running = control::ask(data_dir, &Request::Down {}, timeout).await?.is_some();
    let ended = Instant::now();
    while Lock::holder(data_dir).is_some() {
        if ended.elapsed() > LAST {
            let who = Lock::holder(data_dir)
                .flatten()
                .map_or_else(String::new, |pid| format!(" (process {pid})"));
            return Err(Failure::failed(format!("the runner{who} does not end"))
                .help("kill that process: the services end with it"));
        }
        tokio::time::sleep(PAUSE).await;
    }
    match (settings.json, was_running) {
        (true, _) => terminal::json(&serde_json::json!({"stopped": was_running})),
        (false, true) => terminal::line("Solo has stopped"),
        (false, false) => terminal::line("Solo was not running"),
    }
}

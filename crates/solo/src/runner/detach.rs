//! `solo up --detach`: the runner in a session of its own, and the wait until it has an outcome to report.

use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};

use super::board::Row;
use super::control::{self, Request};
use super::process;
use crate::failure::{Exit, Failure};
use crate::log_file;

/// Pause between two looks for the runner's socket.
const PAUSE: Duration = Duration::from_millis(20);
/// A log longer than this is begun anew at the next start, in bytes.
const LOG_CAP: u64 = 1024 * 1024;
/// Lines of the runner's log that are shown when it fails before it can be asked.
const SHOWN: usize = 12;
/// What the runner may take beyond its own deadline to answer.
const SLACK: Duration = Duration::from_secs(15);

/// Starts a runner in the background and waits until all services are SERVING.
///
/// # Errors
/// What the runner found, as it would have said it in the foreground.
pub async fn start(data_dir: &Path, arguments: &[OsString], timeout: Duration) -> Result<Vec<Row>, Failure> {
    let log = log_file::path(data_dir, "runner");
    let cannot = |e: std::io::Error| Failure::failed(format!("cannot start the runner: {e}"));
    std::fs::create_dir_all(log_file::folder(data_dir)).map_err(cannot)?;
    if std::fs::metadata(&log).is_ok_and(|file| file.len() > LOG_CAP) {
        std::fs::remove_file(&log).map_err(cannot)?;
    }
    let position = std::fs::metadata(&log).map_or(0, |file| file.len());
    let mut runner = process::start_in_background(arguments, &log).map_err(cannot)?;
    let deadline = Instant::now() + timeout + SLACK;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match control::ask(data_dir, &Request::Wait {}, left).await {
            Ok(Some(rows)) => return Ok(rows),
            Ok(None) => {}
            Err(failure) => {
                // It stops what it had started; when this returns, another start finds the folder free.
                let patience = Instant::now() + SLACK;
                while runner.try_wait().map_err(cannot)?.is_none() && Instant::now() < patience {
                    tokio::time::sleep(PAUSE).await;
                }
                return Err(failure);
            }
        }
        if let Some(status) = runner.try_wait().map_err(cannot)? {
            let exit = match status.code() {
                Some(64) => Exit::Configuration,
                Some(66) => Exit::MissingModel,
                Some(69) => Exit::Unavailable,
                _ => Exit::Failed,
            };
            let (lines, _) = log_file::since(&log, position).map_err(cannot)?;
            let shown = lines[lines.len().saturating_sub(SHOWN)..].join("\n    | ");
            let ended = process::describe(status);
            return Err(Failure::new(exit, format!("the runner {ended}\n    | {shown}"))
                .help("`solo up` in the foreground shows more; `solo logs runner` is its log"));
        }
        if left.is_zero() {
            return Err(
                Failure::new(Exit::Unavailable, "the runner in the background does not answer")
                    .help("`solo logs runner` is its log; `solo down` stops it"),
            );
        }
        tokio::time::sleep(PAUSE).await;
    }
}

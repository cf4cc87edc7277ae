//! `solo up`: the runner in the foreground, or with `--detach` in the background.

use crate::failure::Failure;
use crate::services::{self, Service};
use crate::settings::Settings;

/// What `solo up` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Return when all services are serving; they go on in the background
    #[arg(long, short)]
    pub detach: bool,
    /// Only these services, as in `--only stt,tts`
    #[arg(long, value_name = "SERVICE", value_delimiter = ',', value_parser = services::parse)]
    pub only: Vec<&'static Service>,
    /// Seconds that the start may take
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub timeout: u64,
}

/// Runs or starts the runner.
#[cfg(unix)]
pub async fn run(settings: &Settings, arguments: &Arguments) -> Result<(), Failure> {
    use std::ffi::OsString;
    use std::time::{Duration, Instant};

    use crate::runner::plan::Plan;
    use crate::runner::{self, detach, display};
    use crate::terminal;

    let timeout = Duration::from_secs(arguments.timeout);
    if !arguments.detach {
        return runner::run(settings, &arguments.only, timeout).await;
    }
    let begun = Instant::now();
    // Looked at here too, so that what is wrong is said in this terminal. The runner's lock comes first: with a runner
    // there, its own ports would be found taken.
    drop(runner::lock::Lock::acquire(&settings.global.data_dir)?);
    let plan = Plan::new(settings, &arguments.only)?;
    plan.check_ports()?;
    let mut again: Vec<OsString> = vec!["up".into(), "--timeout".into(), arguments.timeout.to_string().into()];
    if !arguments.only.is_empty() {
        let names: Vec<&str> = arguments.only.iter().map(|service| service.name).collect();
        again.extend(["--only".into(), names.join(",").into()]);
    }
    if let Some(file) = &settings.inputs.file {
        again.extend(["--config".into(), file.into()]);
    }
    for (key, value) in &settings.flags {
        again.extend(["--set".into(), format!("{key}={value}").into()]);
    }
    let rows = detach::start(&settings.global.data_dir, &again, timeout).await?;
    if settings.json {
        return terminal::json(&rows);
    }
    for remark in plan.remarks() {
        terminal::line(remark)?;
    }
    terminal::line(display::table(&rows))?;
    terminal::line(runner::ready(settings, &plan, begun.elapsed()))
}

/// Runs or starts the runner.
#[cfg(not(unix))]
pub async fn run(_: &Settings, _: &Arguments) -> Result<(), Failure> {
    Err(unsupported())
}

/// What the runner's commands say where it does not run yet.
#[cfg(not(unix))]
pub fn unsupported() -> Failure {
    Failure::failed("the process runner does not run on this system: it needs Unix process groups and sockets")
        .help("run Solo inside WSL, or with `docker compose up`")
}

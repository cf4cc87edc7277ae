//! The process runner: `solo up`, and what talks to it.
//!
//! One runner a data folder ([`lock`]). It starts the seven services at once, each supervised by a task of its own
//! ([`unit`]) that writes what it knows on a [`board`]; the table ([`display`]), the control socket ([`control`]) and the
//! wait for the start to settle ([`supervisor`]) all watch that board. Services die with the runner through a pipe
//! ([`process`]), so a runner that is killed leaves nothing behind.

pub mod board;
pub mod control;
pub mod crashes;
pub mod detach;
pub mod display;
pub mod lock;
pub mod memory;
pub mod output;
pub mod plan;
pub mod probe;
pub mod process;
pub mod signals;
pub mod supervisor;
pub mod trouble;
pub mod unit;

use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::services::Service;
use crate::settings::Settings;
use crate::terminal::{self, GOOD, paint};

use control::Control;
use display::Display;
use lock::Lock;
use plan::Plan;
use signals::Signals;
use supervisor::Supervisor;

/// How long a start or a restart may take unless somebody says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Runs the services in the foreground until a signal or `solo down`.
pub async fn run(settings: &Settings, only: &[&'static Service], timeout: Duration) -> Result<(), Failure> {
    let begun = Instant::now();
    let data_dir = &settings.global.data_dir;
    let _lock = Lock::acquire(data_dir)?;
    let plan = Plan::new(settings, only)?;
    plan.check_ports()?;
    let mut signals = Signals::new()?;
    let control = Control::bind(data_dir)?;
    let supervisor = Supervisor::start(&plan, data_dir, settings.global.drain)?;
    let handle = supervisor.handle.clone();
    let answering = tokio::spawn(control.serve(handle.clone()));
    for remark in plan.remarks() {
        let _ = terminal::event(remark);
    }
    let display = Display::follow(&handle.board);
    let outcome = tokio::select! {
        outcome = handle.settle(timeout) => outcome,
        () = signals.next() => Err(interrupted()),
        () = handle.stop.cancelled() => Err(interrupted()),
    };
    if outcome.is_ok() {
        display.all_serving().await;
        // A closed output does not end the services.
        let _ = terminal::event(ready(settings, &plan, begun.elapsed()));
    }
    handle.outcome.send_replace(Some(outcome.clone()));
    if outcome.is_ok() {
        tokio::select! {
            () = signals.next() => {}
            () = handle.stop.cancelled() => {}
        }
        let _ = terminal::event("stopping; running turns may finish (Ctrl-C again: at once)");
    }
    supervisor.stop(signals.next()).await;
    display.end().await;
    // Its last answers are out when this returns.
    let _ = answering.await;
    outcome
}

/// "Solo is ready: …".
pub fn ready(settings: &Settings, plan: &Plan, took: Duration) -> String {
    let count = plan.services.len();
    let mut text = format!(
        "{} {count} services serve after {:.1} s",
        paint(GOOD, "Solo is ready:"),
        took.as_secs_f64()
    );
    if let Some(page) = settings
        .page()
        .filter(|_| plan.services.iter().any(|p| p.service.name == crate::services::GATEWAY))
    {
        text.push_str(&format!("; open {page} or type `solo chat`"));
    }
    text
}

fn interrupted() -> Failure {
    Failure::failed("stopped before all services were serving")
}

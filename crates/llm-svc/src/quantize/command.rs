//! `llm-svc quantize IN OUT --type T`: prints a JSON object a line on standard output, for `solo quantize` to show.
//!
//! `{"progress": {"done", "total", "tensor"}}`, `{"checking": true}`, and at the end `{"done": {…}}` or
//! `{"failed": {"message", "interrupted"}}`. Ctrl-C, SIGTERM and a reader that goes away stop it; nothing is left behind.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::{Value, json};
use solo_service::Extra;

use super::{Event, Order, QuantizeError, TARGETS, Target};

/// Time between two lines of progress.
const PACE: Duration = Duration::from_millis(100);
/// What a shell says of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// The command for [`solo_service::main_with`].
pub fn command() -> Extra {
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    let flag = |name: &'static str, help: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    let path = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .required(true)
            .value_parser(value_parser!(PathBuf))
            .help(help)
    };
    let command = Command::new("quantize")
        .about("Makes a GGUF file of another, or of a folder of safetensors (`solo quantize` shows it)")
        .arg(path("IN", "GGUF file, or folder of safetensors"))
        .arg(path("OUT", "GGUF file to make"))
        .arg(
            Arg::new("type")
                .long("type")
                .required(true)
                .value_parser(names)
                .help("How weights are stored"),
        )
        .arg(flag("force", "Replace OUT if it is there"))
        .arg(flag("allow-requantize", "Take weights that were already quantised"));
    Extra { command, run }
}

fn run(arguments: &ArgMatches) -> ExitCode {
    let path = |name: &str| arguments.get_one::<PathBuf>(name).cloned().unwrap_or_default();
    let target = arguments
        .get_one::<String>("type")
        .and_then(|name| Target::from_name(name));
    // clap has let nothing else through.
    let Some(target) = target else { return ExitCode::from(2) };
    let order = Order {
        input: path("IN"),
        output: path("OUT"),
        target,
        force: arguments.get_flag("force"),
        allow_requantize: arguments.get_flag("allow-requantize"),
    };
    let stop = Arc::new(AtomicBool::new(false));
    if let Err(error) = stop_on_signal(Arc::clone(&stop)) {
        return end(&Err(QuantizeError::Check(format!(
            "signals cannot be waited for: {error}"
        ))));
    }
    let last = Mutex::new(None::<Instant>);
    let told = |event: Event<'_>| {
        let line = match event {
            Event::Tensor { name, done, total } => {
                let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                if done < total && last.is_some_and(|last| last.elapsed() < PACE) {
                    return !stop.load(Ordering::Relaxed);
                }
                *last = Some(Instant::now());
                json!({"progress": {"done": done, "total": total, "tensor": name}})
            }
            Event::Checking => json!({"checking": true}),
        };
        say(&line) && !stop.load(Ordering::Relaxed)
    };
    let made = super::run(&order, &told)
        .and_then(|report| serde_json::to_value(&report).map_err(|error| QuantizeError::Check(error.to_string())));
    end(&made)
}

fn end(made: &Result<Value, QuantizeError>) -> ExitCode {
    let (line, code) = match made {
        Ok(report) => (json!({"done": report}), ExitCode::SUCCESS),
        Err(error) => {
            let interrupted = matches!(error, QuantizeError::Interrupted);
            let line = json!({"failed": {"message": error.to_string(), "interrupted": interrupted}});
            (line, ExitCode::from(if interrupted { INTERRUPTED } else { 1 }))
        }
    };
    say(&line);
    code
}

/// Prints a line; false when nobody reads it.
fn say(line: &Value) -> bool {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).is_ok()
}

/// Ctrl-C and SIGTERM set the flag. Twice is no more than once: what is under way ends within a moment.
fn stop_on_signal(stop: Arc<AtomicBool>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    #[cfg(unix)]
    let (mut interrupt, mut terminate) = {
        use tokio::signal::unix::{SignalKind, signal};
        let _entered = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            loop {
                #[cfg(unix)]
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                #[cfg(not(unix))]
                let _ = tokio::signal::ctrl_c().await;
                stop.store(true, Ordering::Relaxed);
            }
        });
    })?;
    Ok(())
}

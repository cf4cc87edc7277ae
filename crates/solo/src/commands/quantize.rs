//! `solo quantize IN OUT --type T`: shows what `llm-svc quantize` does. The libraries that know tensors live there.

use std::path::PathBuf;
use std::process::Stdio;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::failure::Failure;
use crate::services;
use crate::settings::Settings;
use crate::terminal::{self, FAINT, GOOD, WARN, human_bytes, paint};

const BAR: &str = "{bar:24} {decimal_bytes:>9}/{decimal_total_bytes:9} {eta:>4} {wide_msg:.dim}";
/// The types that can be asked for, as llm-svc knows them.
const TYPES: [&str; 15] = [
    "f32", "f16", "bf16", "q8_0", "q6_k", "q5_k_m", "q5_k_s", "q5_1", "q5_0", "q4_k_m", "q4_k_s", "q4_1", "q4_0",
    "q3_k_m", "q2_k",
];

/// What `solo quantize` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A GGUF file, or a folder of safetensors as Hugging Face lays it out (llama or qwen2)
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// The GGUF file to make
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// How weights are stored; q4_k_m is the usual choice, q8_0 loses next to nothing
    #[arg(long = "type", value_name = "TYPE", value_parser = TYPES, ignore_case = true)]
    kind: String,
    /// Replace OUT if it is there
    #[arg(long)]
    force: bool,
    /// Take weights that were already quantised, though they lose twice
    #[arg(long)]
    allow_requantize: bool,
}

/// Runs it.
pub async fn run(settings: &Settings, arguments: &Arguments) -> Result<(), Failure> {
    let service = services::parse("llm-svc").map_err(Failure::failed)?;
    let mut command = Command::new(services::binary(service)?);
    command
        .arg("quantize")
        .args(["--type", &arguments.kind.to_lowercase()])
        .args(arguments.force.then_some("--force"))
        .args(arguments.allow_requantize.then_some("--allow-requantize"))
        // A name that begins with a dash is a name.
        .arg("--")
        .args([&arguments.input, &arguments.output])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = command
        .spawn()
        .map_err(|error| Failure::failed(format!("{} cannot be started: {error}", service.name)))?;
    let said = watch(&mut child).await?;
    let status = child
        .wait()
        .await
        .map_err(|error| Failure::failed(format!("{}: {error}", service.name)))?;
    match said {
        Some(Said::Done(report)) if status.success() => show(settings, &report),
        Some(Said::Failed(message)) => Err(Failure::failed(message)),
        // What it had to say stands on standard error: another version of it, or its end by a signal.
        _ => Err(
            Failure::failed(format!("{} ended without a result ({status})", service.name))
                .help("a file called OUT.part may be left; rebuild Solo if its binaries are of different versions"),
        ),
    }
}

/// The last word.
enum Said {
    Done(Value),
    Failed(String),
}

/// Shows what happens until the other side has closed its output.
async fn watch(child: &mut Child) -> Result<Option<Said>, Failure> {
    let Some(out) = child.stdout.take() else {
        return Err(Failure::failed("llm-svc: its output cannot be read"));
    };
    let mut lines = BufReader::new(out).lines();
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template(BAR) {
        bar.set_style(style.progress_chars("━╸ "));
    }
    let mut said = None;
    let mut interrupts = signals()?;
    loop {
        let line = tokio::select! {
            line = lines.next_line() => line,
            () = interrupts.next() => {
                bar.set_message("stopping");
                interrupt(child);
                continue;
            }
        };
        let line = line.map_err(|error| Failure::failed(format!("llm-svc: its output cannot be read: {error}")))?;
        let Some(line) = line else { break };
        let Ok(event) = serde_json::from_str::<Value>(&line) else {
            terminal::remark(line);
            continue;
        };
        if let Some(progress) = event.get("progress") {
            let number = |key: &str| progress.get(key).and_then(Value::as_u64).unwrap_or(0);
            bar.set_length(number("total"));
            bar.set_position(number("done"));
            bar.set_message(
                progress
                    .get("tensor")
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned(),
            );
        } else if event.get("checking").is_some() {
            bar.set_message("checking: loading it");
            bar.tick();
        } else if let Some(report) = event.get("done") {
            said = Some(Said::Done(report.clone()));
        } else if let Some(failed) = event.get("failed") {
            let message = failed.get("message").and_then(Value::as_str).unwrap_or_default();
            said = Some(Said::Failed(message.to_owned()));
        }
    }
    bar.finish_and_clear();
    Ok(said)
}

fn show(settings: &Settings, report: &Value) -> Result<(), Failure> {
    if settings.json {
        return terminal::json(report);
    }
    let number = |value: &Value, key: &str| value.get(key).and_then(Value::as_u64).unwrap_or(0);
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    terminal::line(format_args!(
        "{} {}, {} instead of {}, checked, {:.1} s",
        paint(GOOD, text(report, "output")),
        text(report, "type"),
        human_bytes(number(report, "output_bytes")),
        human_bytes(number(report, "input_bytes")),
        report.get("seconds").and_then(Value::as_f64).unwrap_or(0.0),
    ))?;
    for (name, share) in report.get("types").and_then(Value::as_object).into_iter().flatten() {
        let (tensors, bytes) = (number(share, "tensors"), human_bytes(number(share, "bytes")));
        terminal::line(paint(
            FAINT,
            format_args!("  {name:<6} {bytes:>9}  in {tensors} tensors"),
        ))?;
    }
    for fallback in report.get("fallbacks").and_then(Value::as_array).into_iter().flatten() {
        let (tensors, row) = (number(fallback, "tensors"), number(fallback, "row"));
        let (wanted, used) = (text(fallback, "wanted"), text(fallback, "used"));
        terminal::line(paint(
            WARN,
            format_args!(
                "  {tensors} tensors are {used} instead of {wanted}: its blocks do not divide their rows of {row}"
            ),
        ))?;
    }
    Ok(())
}

/// Ctrl-C and SIGTERM, which the other side must hear of: it tidies up.
struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
fn signals() -> Result<Signals, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let wait = |kind| signal(kind).map_err(|error| Failure::failed(format!("signals cannot be waited for: {error}")));
    Ok(Signals {
        interrupt: wait(SignalKind::interrupt())?,
        terminate: wait(SignalKind::terminate())?,
    })
}

#[cfg(not(unix))]
fn signals() -> Result<Signals, Failure> {
    Ok(Signals {})
}

impl Signals {
    #[cfg(unix)]
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    #[cfg(not(unix))]
    async fn next(&mut self) {
        // A console's Ctrl-C reaches the other side by itself.
        let _ = tokio::signal::ctrl_c().await;
    }
}

#[cfg(unix)]
fn interrupt(child: &Child) {
    let pid = child
        .id()
        .and_then(|pid| i32::try_from(pid).ok())
        .and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended meanwhile.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
    }
}

#[cfg(not(unix))]
fn interrupt(_: &Child) {}

#[cfg(test)]
mod tests {
    use super::*;

    /// The types that can be asked for are those that llm-svc has; it is not linked here, so its text is read.
    #[test]
    fn the_types_are_llm_svcs() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../llm-svc/src/quantize/mix.rs");
        let text = std::fs::read_to_string(file).unwrap();
        let known: Vec<&str> = text
            .split("    target(\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .collect();
        assert_eq!(known, TYPES);
    }
}

//! `solo logs`: what services have logged. Reads the files, so it works when nothing runs.

use std::path::PathBuf;
use std::time::Duration;

use anstyle::{AnsiColor, Style};

use crate::failure::Failure;
use crate::log_file;
use crate::services;
use crate::settings::Settings;
use crate::terminal::{self, paint};

/// Pause between two looks at the files when following.
const PAUSE: Duration = Duration::from_millis(100);
/// Colours of the services' names, in the order of the table.
const COLOURS: [AnsiColor; 6] = [
    AnsiColor::Cyan,
    AnsiColor::Green,
    AnsiColor::Yellow,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::BrightCyan,
];

/// What `solo logs` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A service, for instance stt-svc or just stt; `runner` for the runner in the background. Without: all
    #[arg(value_name = "SERVICE", value_parser = source)]
    pub service: Option<&'static str>,
    /// Go on showing what is logged
    #[arg(long, short)]
    pub follow: bool,
    /// Lines to show of each service
    #[arg(long, short = 'n', value_name = "LINES", default_value_t = 50)]
    pub lines: usize,
}

const RUNNER: &str = "runner";

fn source(name: &str) -> Result<&'static str, String> {
    if name == RUNNER {
        Ok(RUNNER)
    } else {
        services::parse(name).map(|service| service.name)
    }
}

/// One log that is shown.
struct Source {
    name: &'static str,
    path: PathBuf,
    position: u64,
}

/// Prints the last lines, in the order of their times, and then what comes.
pub async fn run(settings: &Settings, arguments: &Arguments) -> Result<(), Failure> {
    let names: Vec<&'static str> = match arguments.service {
        Some(name) => vec![name],
        None => services::ALL
            .iter()
            .map(|service| service.name)
            .chain([RUNNER])
            .collect(),
    };
    let mut sources: Vec<Source> = names
        .into_iter()
        .map(|name| Source {
            name,
            path: log_file::path(&settings.global.data_dir, name),
            position: 0,
        })
        .collect();
    let mut lines = Vec::new();
    for source in &mut sources {
        let (tail, position) = log_file::tail(&source.path, arguments.lines).map_err(|e| unreadable(source, &e))?;
        source.position = position;
        lines.push((source.name, tail));
    }
    if lines.iter().all(|(_, lines)| lines.is_empty()) && !arguments.follow {
        terminal::remark(format_args!(
            "nothing is logged in {}",
            log_file::folder(&settings.global.data_dir).display()
        ));
    }
    let named = sources.len() > 1;
    for (name, line) in merge(lines) {
        show(settings, name, &line, named)?;
    }
    if !arguments.follow {
        return Ok(());
    }
    loop {
        for source in &mut sources {
            let (lines, position) =
                log_file::since(&source.path, source.position).map_err(|e| unreadable(source, &e))?;
            source.position = position;
            for line in lines {
                show(settings, source.name, &line, named)?;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn show(settings: &Settings, name: &str, line: &str, named: bool) -> Result<(), Failure> {
    if settings.json {
        return terminal::json(&serde_json::json!({"service": name, "line": line}));
    }
    if !named {
        return terminal::line(line);
    }
    let place = services::ALL
        .iter()
        .position(|service| service.name == name)
        .unwrap_or(0);
    let style: Style = COLOURS[place % COLOURS.len()].on_default();
    terminal::line(format_args!("{} {line}", paint(style, format_args!("{name:<10} |"))))
}

/// Lines of several logs in the order of the times that they begin with. A line without one stays behind the line before.
fn merge(logs: Vec<(&'static str, Vec<String>)>) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    for (name, log) in logs {
        let mut time = String::new();
        for line in log {
            if let Some(own) = time_of(&line) {
                time = own;
            }
            lines.push((time.clone(), name, line));
        }
    }
    lines.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    lines.into_iter().map(|(_, name, line)| (name, line)).collect()
}

/// The RFC 3339 time (UTC) that a line begins with or, as JSON, carries; such times sort as text.
fn time_of(line: &str) -> Option<String> {
    let json = line
        .strip_prefix('{')
        .and_then(|rest| rest.split_once("\"timestamp\":\""))
        .map(|(_, rest)| rest);
    let text = json.unwrap_or(line);
    let end = text.find([' ', '"']).unwrap_or(text.len());
    let time = text.get(..end)?;
    let bytes = time.as_bytes();
    let looks_right = bytes.len() >= 20 && bytes[4] == b'-' && bytes[10] == b'T' && bytes[bytes.len() - 1] == b'Z';
    looks_right.then(|| time.trim_end_matches('Z').to_owned())
}

fn unreadable(source: &Source, error: &std::io::Error) -> Failure {
    Failure::failed(format!("the log {} cannot be read: {error}", source.path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_merged_by_time_and_continuations_stay() {
        let log = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        let merged = merge(vec![
            (
                "stt-svc",
                log(&[
                    "2026-11-23T06:00:01.5Z INFO a",
                    "  because",
                    "2026-11-23T06:00:03Z INFO d",
                ]),
            ),
            (
                "tts-svc",
                log(&[r#"{"timestamp":"2026-11-23T06:00:02.1Z","level":"INFO"}"#]),
            ),
        ]);
        let order: Vec<&str> = merged.iter().map(|(_, line)| line.as_str()).collect();
        assert_eq!(order[0], "2026-11-23T06:00:01.5Z INFO a");
        assert_eq!(order[1], "  because");
        assert!(order[2].contains("06:00:02.1Z"));
        assert!(order[3].ends_with("INFO d"));
    }

    #[test]
    fn only_times_are_times() {
        assert_eq!(time_of("error: no such key"), None);
        assert_eq!(
            time_of("2026-11-23T06:00:01.5Z  INFO x").as_deref(),
            Some("2026-11-23T06:00:01.5")
        );
    }
}

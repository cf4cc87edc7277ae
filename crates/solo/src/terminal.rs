//! What people and programs see: standard output with colours that vanish in pipes, JSON lines, and errors with their
//! remedy.
//!
//! Everything is written through here because a closed pipe (`solo logs | head`) must end a command quietly: `println!`
//! panics there, these functions return [`Failure::closed_output`].

use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::failure::{Exit, Failure};

/// Good news.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// Bad news.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// In between.
pub const WARN: Style = AnsiColor::Yellow.on_default();
/// Names and headings.
pub const STRONG: Style = Style::new().bold();
/// What one may skip.
pub const FAINT: Style = Style::new().dimmed();

/// `text` in a style. anstream drops the style where it cannot be shown or NO_COLOR is set.
pub fn paint(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// True when a person looks at standard output.
pub fn is_interactive() -> bool {
    std::io::stdout().is_terminal()
}

/// `text` with its colours, or without where they cannot be shown: for what does not go through anstream.
pub fn allowed(text: &str) -> String {
    match anstream::AutoStream::choice(&std::io::stdout()) {
        anstream::ColorChoice::Never => anstream::adapter::strip_str(text).to_string(),
        _ => text.to_owned(),
    }
}

/// Writes `text` as it is and flushes, for replies that stream.
pub fn write(text: impl Display) -> Result<(), Failure> {
    let mut out = anstream::stdout();
    write!(out, "{text}").and_then(|()| out.flush()).map_err(output_failed)
}

/// Writes a line.
pub fn line(text: impl Display) -> Result<(), Failure> {
    write(format_args!("{text}\n"))
}

/// Writes a line about something that happens now; where no person looks (a log), with the time.
pub fn event(text: impl Display) -> Result<(), Failure> {
    if is_interactive() {
        return line(text);
    }
    line(format_args!("{:.3} {text}", jiff::Timestamp::now()))
}

/// Writes bytes untouched (a WAV file to a pipe).
pub fn bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(output_failed)
}

/// Writes one JSON value on one line.
pub fn json<T: Serialize>(value: &T) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(|e| Failure::failed(format!("cannot write JSON: {e}")))?;
    line(text)
}

/// Writes a remark to standard error. Nobody listening there is no failure: there is nobody left to tell.
pub fn remark(text: impl Display) {
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// Prints a failure and gives its exit code.
pub fn report(failure: &Failure) -> Exit {
    if !failure.message.is_empty() {
        remark(explain(failure));
    }
    failure.exit
}

/// `error: …` and `  help: …`.
pub fn explain(failure: &Failure) -> String {
    let mut text = format!("{} {}", paint(BAD, "error:"), failure.message);
    for help in failure.help.iter().flat_map(|help| help.lines()) {
        text.push_str(&format!("\n  {} {help}", paint(GOOD, "help:")));
    }
    text
}

fn output_failed(error: std::io::Error) -> Failure {
    match error.kind() {
        ErrorKind::BrokenPipe => Failure::closed_output(),
        _ => Failure::failed(format!("cannot write to standard output: {error}")),
    }
}

/// Pads cells into columns two spaces apart; styles are no part of a cell's width, so they are applied after padding.
pub fn columns(rows: &[Vec<(String, Style)>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |i: usize| {
        rows.iter()
            .filter_map(|row| row.get(i))
            .map(|(cell, _)| cell.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..count).map(|i| width(i).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        for (i, (cell, style)) in row.iter().enumerate() {
            let last = i + 1 == row.len();
            let pad = if last { 0 } else { widths[i] - cell.chars().count() + 2 };
            text.push_str(&paint(*style, cell));
            text.push_str(&" ".repeat(pad));
        }
        text.push('\n');
    }
    text.pop();
    text
}

/// Bytes for people: "1.1 GB".
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1_000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1e3;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1e3;
        unit += 1;
    }
    if value < 9.95 {
        format!("{value:.1} {}", UNITS[unit])
    } else {
        format!("{value:.0} {}", UNITS[unit])
    }
}

/// A bar on standard error that shows how far something is, where a person looks.
pub fn bar(template: &str) -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("━╸ "));
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_the_style() {
        let cell = |text: &str, style| (text.to_owned(), style);
        let rows = [
            vec![cell("a", GOOD), cell("x", FAINT)],
            vec![cell("long", BAD), cell("y", FAINT)],
        ];
        let plain = anstream::adapter::strip_str(&columns(&rows)).to_string();
        assert_eq!(plain, "a     x\nlong  y");
    }

    #[test]
    fn every_line_of_help_is_marked() {
        let failure = Failure::failed("two models are missing").help("run a\nrun b");
        let plain = anstream::adapter::strip_str(&explain(&failure)).to_string();
        assert_eq!(plain, "error: two models are missing\n  help: run a\n  help: run b");
    }

    #[test]
    fn sizes_are_short() {
        assert_eq!(human_bytes(999), "999 B");
        assert_eq!(human_bytes(1_500), "1.5 kB");
        assert_eq!(human_bytes(310_000_000), "310 MB");
        assert_eq!(human_bytes(999_700_000), "1.0 GB");
        assert_eq!(human_bytes(3_000_000_000), "3.0 GB");
    }
}

//! What `solo up` shows while services start: a live table where a person looks, plain lines elsewhere.

use std::sync::Arc;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::board::{Board, Entry, Row, State};
use crate::terminal::{self, BAD, FAINT, GOOD, WARN, human_bytes, paint};

/// How long the table may take to catch up with the board.
const CATCH_UP: Duration = Duration::from_millis(500);

/// Follows a board until it is told to end.
pub struct Display {
    task: JoinHandle<()>,
    signs: Signs,
}

/// How the display and its owner keep in step.
#[derive(Clone, Default)]
struct Signs {
    /// Given once it shows all services serving.
    all_serving: Arc<Notify>,
    /// Cancelled when it is to show what there is and end.
    end: CancellationToken,
}

impl Display {
    /// Shows every change from now on.
    pub fn follow(board: &Board) -> Self {
        let signs = Signs::default();
        let board = board.watch();
        let task = if terminal::is_interactive() {
            tokio::spawn(live(board, signs.clone()))
        } else {
            tokio::spawn(lines(board, Vec::new(), signs.clone()))
        };
        Self { task, signs }
    }

    /// Waits until it shows all services serving, so that what is printed next stands below the table.
    pub async fn all_serving(&self) {
        let _ = tokio::time::timeout(CATCH_UP, self.signs.all_serving.notified()).await;
    }

    /// Shows the last changes and ends.
    pub async fn end(self) {
        self.signs.end.cancel();
        if let Err(error) = self.task.await {
            terminal::remark(format_args!("warning: the table broke: {error}"));
        }
    }
}

/// The table in place, then a line for every later change.
async fn live(mut board: watch::Receiver<Vec<Entry>>, signs: Signs) {
    let screen = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
    let style = |template| ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bars: Vec<ProgressBar> = (0..board.borrow().len())
        .map(|_| {
            let bar = screen.add(ProgressBar::new_spinner().with_style(style("{spinner:.dim} {wide_msg}")));
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        })
        .collect();
    loop {
        let entries = board.borrow_and_update().clone();
        for (bar, entry) in bars.iter().zip(&entries) {
            let text = table_line(entry);
            match mark(entry.state) {
                Some(mark) if !bar.is_finished() => {
                    bar.set_style(style("{wide_msg}"));
                    bar.finish_with_message(terminal::allowed(&format!("{mark} {text}")));
                }
                Some(mark) => bar.set_message(terminal::allowed(&format!("{mark} {text}"))),
                None => bar.set_message(terminal::allowed(&text)),
            }
        }
        if entries.iter().all(|entry| entry.state == State::Serving) {
            return lines(board, entries, signs).await;
        }
        if !changed(&mut board, &signs).await {
            return;
        }
    }
}

/// A line for every change; what was `shown` before is not told again.
async fn lines(mut board: watch::Receiver<Vec<Entry>>, mut shown: Vec<Entry>, signs: Signs) {
    loop {
        let entries = board.borrow_and_update().clone();
        for entry in &entries {
            let before = shown.iter().find(|old| old.service == entry.service);
            if let Some(text) = news(before, entry) {
                // A closed output does not end the services; whoever is left reads the logs.
                let _ = terminal::event(text);
            }
        }
        if entries.iter().all(|entry| entry.state == State::Serving) {
            signs.all_serving.notify_one();
        }
        let ending = signs.end.is_cancelled();
        shown = entries;
        if ending || !changed(&mut board, &signs).await {
            return;
        }
    }
}

/// Waits for a change, or for the sign to end: then what there is is shown once more. False when nothing can change.
async fn changed(board: &mut watch::Receiver<Vec<Entry>>, signs: &Signs) -> bool {
    tokio::select! {
        change = board.changed() => change.is_ok(),
        () = signs.end.cancelled() => board.has_changed().unwrap_or(false),
    }
}

/// A sentence about a change, where it is worth one.
fn news(before: Option<&Entry>, now: &Entry) -> Option<String> {
    let name = format!("{:<10}", now.service.name);
    let changed = before.map(|entry| entry.state) != Some(now.state);
    match now.state {
        State::Serving if changed => Some(format!("{name} {} {}", paint(GOOD, "serving"), facts(now))),
        State::Restarting if changed => Some(format!("{name} {}", paint(WARN, &now.note))),
        State::Failed if changed => Some(format!("{name} {} {}", paint(BAD, "failed:"), now.note)),
        State::NotServing if changed => Some(format!("{name} {}", paint(WARN, "is not serving any more"))),
        State::Stopped if changed && before.is_some() => Some(format!("{name} stopped")),
        _ => None,
    }
}

fn mark(state: State) -> Option<String> {
    match state {
        State::Serving => Some(paint(GOOD, "✓")),
        State::Failed => Some(paint(BAD, "✗")),
        _ => None,
    }
}

fn table_line(entry: &Entry) -> String {
    let state = paint(style(entry.state), format!("{:<12}", entry.state.as_str()));
    match entry.state {
        State::Serving => format!("{:<10}  {state}  {}", entry.service.name, facts(entry)),
        _ => format!("{:<10}  {state}  {}", entry.service.name, entry.note),
    }
}

/// "after 812 ms  whisper  whisper-base  310 MB": what is known of a service.
fn facts(entry: &Entry) -> String {
    let row = Row::from(entry);
    let mut facts = vec![
        row.ready_ms
            .map_or_else(|| format!("{:>8}", ""), |ms| format!("{ms:>5} ms")),
    ];
    facts.extend(row.engine);
    facts.extend(row.model);
    facts.extend(row.rss_bytes.map(human_bytes));
    paint(FAINT, facts.join("  "))
}

/// The table of `solo ps`, `solo up --detach` and `solo restart`.
pub fn table(rows: &[Row]) -> String {
    let head = [
        "SERVICE", "STATE", "PID", "RESTARTS", "READY", "ENGINE", "MODEL", "DEVICE", "MEMORY", "ADDRESS",
    ];
    let mut cells = vec![
        head.iter()
            .map(|text| ((*text).to_owned(), terminal::STRONG))
            .collect::<Vec<_>>(),
    ];
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
    for row in rows {
        let plain = anstyle::Style::new();
        cells.push(vec![
            (row.service.clone(), plain),
            (row.state.as_str().into(), style(row.state)),
            (row.pid.map_or_else(|| "-".into(), |pid| pid.to_string()), plain),
            (row.restarts.to_string(), plain),
            (row.ready_ms.map_or_else(|| "-".into(), |ms| format!("{ms} ms")), plain),
            (text(&row.engine), plain),
            (text(&row.model), plain),
            (text(&row.device), plain),
            (row.rss_bytes.map_or_else(|| "-".into(), human_bytes), plain),
            (row.address.clone(), FAINT),
        ]);
    }
    terminal::columns(&cells)
}

fn style(state: State) -> anstyle::Style {
    match state {
        State::Serving => GOOD,
        State::Failed => BAD,
        State::NotServing | State::Restarting => WARN,
        State::Starting | State::Draining | State::Stopped => FAINT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services;

    fn entry(state: State, note: &str) -> Entry {
        let stt = services::find("stt").unwrap();
        let board = Board::new([(stt, "127.0.0.1:50051".to_owned())]);
        board.update(stt, |entry| {
            (entry.state, entry.note) = (state, note.into());
            entry.ready = Some(Duration::from_millis(812));
        });
        board.entry(stt).unwrap()
    }

    fn plain(text: Option<String>) -> Option<String> {
        text.map(|text| anstream::adapter::strip_str(&text).to_string())
    }

    #[test]
    fn a_change_is_told_once() {
        let (starting, serving) = (entry(State::Starting, ""), entry(State::Serving, ""));
        assert_eq!(news(None, &starting), None);
        assert_eq!(
            plain(news(Some(&starting), &serving)).unwrap(),
            "stt-svc    serving   812 ms"
        );
        assert_eq!(news(Some(&serving), &serving), None);
        let crashed = entry(State::Restarting, "exited with code 1; starting it again in 200 ms");
        assert!(
            plain(news(Some(&serving), &crashed))
                .unwrap()
                .ends_with("starting it again in 200 ms")
        );
    }

    #[test]
    fn the_table_has_a_line_a_service() {
        let table = table(&[Row::from(&entry(State::Serving, ""))]);
        let plain = anstream::adapter::strip_str(&table).to_string();
        let lines: Vec<&str> = plain.lines().collect();
        assert!(lines[0].starts_with("SERVICE  STATE"), "{}", lines[0]);
        assert!(
            lines[1].starts_with("stt-svc  serving") && lines[1].ends_with("127.0.0.1:50051"),
            "{}",
            lines[1]
        );
    }
}

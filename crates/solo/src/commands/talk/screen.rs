//! A terminal on which finished lines stay, and one line at the bottom changes in place: how loud it is, what is going on,
//! and the words so far.

use unicode_width::UnicodeWidthChar;

use super::phase_name;
use crate::failure::Failure;
use crate::terminal::{self, BAD, FAINT, STRONG, paint};
use solo_proto::gateway::v1::TurnPhase;

/// Levels between which the meter moves, in dBFS: a quiet room and a loud voice.
const QUIET_DBFS: f32 = -60.0;
const LOUD_DBFS: f32 = -12.0;
/// Cells of the meter.
const CELLS: usize = 8;
/// Back to the first column, the line erased.
const ERASE: &str = "\r\x1b[2K";
/// Columns when the terminal does not say how many it has.
const COLUMNS: usize = 80;

/// What the line at the bottom says.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Status {
    /// How loud the microphone is, in dBFS; none: it is muted, gone, or not listened to.
    pub(super) level_dbfs: Option<f32>,
    /// What is going on.
    pub(super) phase: Option<TurnPhase>,
    /// The microphone is muted.
    pub(super) muted: bool,
    /// Words that will stay.
    pub(super) stable: String,
    /// Words that may change.
    pub(super) unstable: String,
}

/// The terminal.
#[derive(Default)]
pub(super) struct Screen {
    /// The line at the bottom, as it stands there.
    drawn: String,
    /// A line has been begun and not ended.
    open: bool,
}

impl Screen {
    /// Writes text that stays.
    pub(super) fn text(&mut self, text: &str) -> Result<(), Failure> {
        let erase = if self.drawn.is_empty() { "" } else { ERASE };
        self.drawn.clear();
        self.open = !text.ends_with('\n') && (self.open || !text.is_empty());
        terminal::write(format_args!("{erase}{text}"))
    }

    /// Makes room for text that does not come through here.
    pub(super) fn clear(&mut self) -> Result<(), Failure> {
        if self.drawn.is_empty() {
            return Ok(());
        }
        self.drawn.clear();
        terminal::write(ERASE)
    }

    /// Draws the line at the bottom, unless a reply is being written.
    pub(super) fn status(&mut self, status: &Status) -> Result<(), Failure> {
        let columns = crossterm::terminal::size().map_or(COLUMNS, |(columns, _)| usize::from(columns));
        let line = line_of(status, columns.saturating_sub(1));
        if self.open || line == self.drawn {
            return Ok(());
        }
        terminal::write(format_args!("{ERASE}{line}"))?;
        self.drawn = line;
        Ok(())
    }
}

/// "▕███     ▏ listening  what is the cap", no wider than this; of the words the last ones.
fn line_of(status: &Status, columns: usize) -> String {
    let (name, style) = if status.muted {
        ("muted", BAD)
    } else {
        (phase_name(status.phase), STRONG)
    };
    let meter = meter(status.level_dbfs);
    let taken = CELLS + 2 + 1 + name.len() + 2;
    let words = format!("{}{}", status.stable, status.unstable);
    let room = columns.saturating_sub(taken);
    let kept = tail(&words, room);
    // What is cut off at the front is taken from the stable words first.
    let unstable = tail(&status.unstable, room);
    let stable = kept.strip_suffix(unstable).unwrap_or(kept);
    format!(
        "{} {}  {stable}{}",
        paint(FAINT, meter),
        paint(style, name),
        paint(FAINT, unstable)
    )
}

fn meter(level_dbfs: Option<f32>) -> String {
    let share = level_dbfs.map_or(0.0, |level| (level - QUIET_DBFS) / (LOUD_DBFS - QUIET_DBFS));
    let eighths = (share.clamp(0.0, 1.0) * CELLS as f32 * 8.0).round() as usize;
    let cells: String = (0..CELLS)
        .map(|cell| match eighths.saturating_sub(8 * cell) {
            0 => ' ',
            1 => '▏',
            2 => '▎',
            3 => '▍',
            4 => '▌',
            5 => '▋',
            6 => '▊',
            7 => '▉',
            _ => '█',
        })
        .collect();
    format!("▕{cells}▏")
}

/// The end of a text that fits into so many columns.
fn tail(text: &str, columns: usize) -> &str {
    let mut width = 0;
    let mut start = text.len();
    for (at, letter) in text.char_indices().rev() {
        width += letter.width().unwrap_or(0);
        if width > columns {
            break;
        }
        start = at;
    }
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(status: &Status, columns: usize) -> String {
        anstream::adapter::strip_str(&line_of(status, columns)).to_string()
    }

    #[test]
    fn the_meter_moves_between_a_quiet_room_and_a_loud_voice() {
        assert_eq!(meter(None), "▕        ▏");
        assert_eq!(meter(Some(-120.0)), "▕        ▏");
        assert_eq!(meter(Some(-36.0)), "▕████    ▏");
        assert_eq!(meter(Some(0.0)), "▕████████▏");
        assert_eq!(meter(Some(-33.0)), "▕████▌   ▏");
    }

    #[test]
    fn the_last_words_fit_on_the_line() {
        let status = Status {
            level_dbfs: None,
            phase: Some(TurnPhase::Listening),
            muted: false,
            stable: "what is the capital ".into(),
            unstable: "of frants".into(),
        };
        assert_eq!(
            plain(&status, 80),
            "▕        ▏ listening  what is the capital of frants"
        );
        let narrow = plain(&status, 37);
        assert!(
            narrow.ends_with("capital of frants") || narrow.ends_with("ital of frants"),
            "{narrow}"
        );
        assert_eq!(narrow.chars().count(), 37);
        assert_eq!(plain(&status, 10), "▕        ▏ listening  ", "nothing is sliced amiss");
    }

    #[test]
    fn wide_letters_count_twice() {
        assert_eq!(tail("日本語", 4), "本語");
        assert_eq!(tail("日本語", 5), "本語");
        assert_eq!(tail("abc", 9), "abc");
        assert_eq!(tail("abc", 0), "");
    }
}

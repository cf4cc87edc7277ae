//! The keys of `solo talk` on a terminal, which is given back as it was found, whatever happens.
//!
//! Space and Enter talk: held where the terminal tells when a key is let go of (kitty's keyboard protocol), pressed once to
//! begin and once to end where it does not.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossterm::event::{
    Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, KeyboardEnhancementFlags, PopKeyboardEnhancementFlags,
    PushKeyboardEnhancementFlags,
};
use crossterm::{execute, terminal};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::failure::Failure;

/// How long the thread that waits for keys takes to notice that nobody wants them any more.
const NOTICE: Duration = Duration::from_millis(100);

/// What a key means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// The talk key, of which nobody tells when it is let go of: begins, and ends.
    Toggle,
    /// The talk key is held.
    Press,
    /// It was let go of.
    Release,
    /// Mute, or hear again.
    Mute,
    /// Stop the reply.
    Stop,
    /// The end.
    Quit,
}

/// Keys, from the terminal and from elsewhere.
pub(super) struct Keyboard {
    keys: UnboundedReceiver<Key>,
    sender: UnboundedSender<Key>,
    terminal: Option<Terminal>,
}

impl Keyboard {
    /// Takes over the terminal's keys, if a person sits there. `hold`: ask it to tell of releases.
    pub(super) fn open(hold: bool) -> Result<Self, Failure> {
        let (sender, keys) = mpsc::unbounded_channel();
        let person = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        let terminal = person.then(|| Terminal::take(hold, sender.clone())).transpose()?;
        Ok(Self { keys, sender, terminal })
    }

    /// For keys that come from elsewhere.
    pub(super) fn sender(&self) -> UnboundedSender<Key> {
        self.sender.clone()
    }

    /// True when the terminal's keys are read.
    pub(super) fn is_at_terminal(&self) -> bool {
        self.terminal.is_some()
    }

    /// True when the terminal tells of a key's release.
    pub(super) fn holds(&self) -> bool {
        self.terminal.as_ref().is_some_and(|terminal| terminal.enhanced)
    }

    /// The next key; waits for ever where there is no keyboard.
    pub(super) async fn next(&mut self) -> Key {
        match self.keys.recv().await {
            Some(key) => key,
            // This holds a sender, so the channel never ends.
            None => std::future::pending().await,
        }
    }
}

/// A terminal whose keys come at once and unseen.
struct Terminal {
    done: Arc<AtomicBool>,
    enhanced: bool,
}

impl Terminal {
    fn take(hold: bool, sender: UnboundedSender<Key>) -> Result<Self, Failure> {
        let failed = |e: std::io::Error| Failure::failed(format!("the terminal's keys cannot be read: {e}"));
        terminal::enable_raw_mode().map_err(failed)?;
        let mut taken = Self {
            done: Arc::default(),
            enhanced: false,
        };
        restore_on_panic();
        keep_line_ends().map_err(failed)?;
        // The terminal is asked, and may take its time to answer; only who holds a key needs to know.
        if hold && terminal::supports_keyboard_enhancement().unwrap_or(false) {
            let flags =
                KeyboardEnhancementFlags::DISAMBIGUATE_ESCAPE_CODES | KeyboardEnhancementFlags::REPORT_EVENT_TYPES;
            execute!(std::io::stdout(), PushKeyboardEnhancementFlags(flags)).map_err(failed)?;
            taken.enhanced = true;
        }
        let done = Arc::clone(&taken.done);
        let holds = taken.enhanced;
        std::thread::spawn(move || read(&done, holds, &sender));
        Ok(taken)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if self.enhanced {
            let _ = execute!(std::io::stdout(), PopKeyboardEnhancementFlags);
        }
        // What cannot be restored cannot be told either.
        let _ = terminal::disable_raw_mode();
    }
}

/// A panic's message must be readable, and the shell after it usable.
fn restore_on_panic() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let _ = terminal::disable_raw_mode();
        before(panic);
    }));
}

/// Raw mode also leaves out the carriage return at the end of a line, and everything that is written would have to put it
/// there. Only the keys are meant to be raw.
#[cfg(unix)]
fn keep_line_ends() -> std::io::Result<()> {
    use rustix::termios::{OptionalActions, OutputModes, tcgetattr, tcsetattr};
    let stdin = std::io::stdin();
    let mut attributes = tcgetattr(&stdin)?;
    attributes.output_modes |= OutputModes::OPOST | OutputModes::ONLCR;
    Ok(tcsetattr(&stdin, OptionalActions::Now, &attributes)?)
}

#[cfg(not(unix))]
fn keep_line_ends() -> std::io::Result<()> {
    Ok(())
}

fn read(done: &AtomicBool, holds: bool, sender: &UnboundedSender<Key>) {
    while !done.load(Ordering::Relaxed) {
        match crossterm::event::poll(NOTICE) {
            Ok(false) => {}
            Ok(true) => match crossterm::event::read() {
                Ok(Event::Key(event)) => {
                    if let Some(key) = meaning(&event, holds) {
                        // Nobody wants keys any more.
                        let _ = sender.send(key);
                    }
                }
                Ok(_) => {}
                Err(_) => break,
            },
            Err(_) => break,
        }
    }
    if !done.load(Ordering::Relaxed) {
        // The terminal went away, and with it whoever could say when to stop.
        let _ = sender.send(Key::Quit);
    }
}

/// What a key means, if anything.
fn meaning(event: &KeyEvent, holds: bool) -> Option<Key> {
    let talk = matches!(event.code, KeyCode::Char(' ') | KeyCode::Enter);
    match (event.kind, event.code) {
        (KeyEventKind::Press, _) if talk => Some(if holds { Key::Press } else { Key::Toggle }),
        (KeyEventKind::Release, _) if talk && holds => Some(Key::Release),
        (KeyEventKind::Release | KeyEventKind::Repeat, _) => None,
        (_, KeyCode::Char('c' | 'd')) if event.modifiers.contains(KeyModifiers::CONTROL) => Some(Key::Quit),
        (_, KeyCode::Char('q' | 'Q')) => Some(Key::Quit),
        (_, KeyCode::Char('m' | 'M')) => Some(Key::Mute),
        (_, KeyCode::Esc | KeyCode::Char('s' | 'S')) => Some(Key::Stop),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(code: KeyCode, modifiers: KeyModifiers) -> Option<Key> {
        meaning(&KeyEvent::new(code, modifiers), false)
    }

    #[test]
    fn keys_mean_what_the_help_says() {
        let plain = |code| press(code, KeyModifiers::NONE);
        assert_eq!(plain(KeyCode::Char(' ')), Some(Key::Toggle));
        assert_eq!(plain(KeyCode::Enter), Some(Key::Toggle));
        assert_eq!(plain(KeyCode::Char('m')), Some(Key::Mute));
        assert_eq!(plain(KeyCode::Esc), Some(Key::Stop));
        assert_eq!(plain(KeyCode::Char('q')), Some(Key::Quit));
        assert_eq!(plain(KeyCode::Char('c')), None);
        assert_eq!(press(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Key::Quit));
    }

    #[test]
    fn a_held_key_begins_once_and_ends_once() {
        let key = |code, kind, holds| meaning(&KeyEvent::new_with_kind(code, KeyModifiers::NONE, kind), holds);
        let space = KeyCode::Char(' ');
        assert_eq!(key(space, KeyEventKind::Press, true), Some(Key::Press));
        assert_eq!(key(space, KeyEventKind::Repeat, true), None);
        assert_eq!(key(space, KeyEventKind::Release, true), Some(Key::Release));
        // Some systems tell of releases without being asked.
        assert_eq!(key(space, KeyEventKind::Release, false), None);
        assert_eq!(key(KeyCode::Char('q'), KeyEventKind::Release, true), None);
    }
}

//! A key that talks wherever the keyboard's focus is (`--hot-key ctrl+alt+space`): held while one speaks.
//!
//! X11 only. Wayland lets no program listen to keys that are meant for others, and macOS and Windows deliver them to the message
//! loop of a window, which a command has not; there it is refused.

use tokio::sync::mpsc::UnboundedSender;

use super::keys::Key;
use crate::failure::{Exit, Failure};

/// A registered hot-key; dropped, it is everybody's again.
pub(super) struct HotKey {
    #[cfg(target_os = "linux")]
    _manager: global_hotkey::GlobalHotKeyManager,
}

impl HotKey {
    /// Tells of presses and releases of `keys`, as in "ctrl+alt+space".
    ///
    /// # Errors
    /// When they are no keys, when another program has them, or where there is no X11.
    #[cfg(target_os = "linux")]
    pub(super) fn listen(keys: &str, sender: UnboundedSender<Key>) -> Result<Self, Failure> {
        use global_hotkey::{GlobalHotKeyEvent, GlobalHotKeyManager, HotKeyState, hotkey};
        let parsed: hotkey::HotKey = keys.parse().map_err(|e| {
            Failure::new(Exit::Usage, format!("--hot-key {keys}: {e}")).help("for instance `--hot-key ctrl+alt+space`")
        })?;
        // Without a display nothing would ever be told, and the library says nothing of that.
        if std::env::var_os("DISPLAY").is_none_or(|display| display.is_empty()) {
            return Err(Failure::failed("--hot-key needs X11, and DISPLAY is not set")
                .help("in the terminal itself the space bar talks; Wayland has no hot-keys for programs"));
        }
        let failed = |e: global_hotkey::Error| {
            Failure::failed(format!("--hot-key {keys}: {e}")).help("another program may have it: choose other keys")
        };
        let manager = GlobalHotKeyManager::new().map_err(failed)?;
        GlobalHotKeyEvent::set_event_handler(Some(move |event: GlobalHotKeyEvent| {
            let key = match event.state() {
                HotKeyState::Pressed => Key::Press,
                HotKeyState::Released => Key::Release,
            };
            // Nobody wants keys any more.
            let _ = sender.send(key);
        }));
        manager.register(parsed).map_err(failed)?;
        Ok(Self { _manager: manager })
    }

    /// Refused: see above.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn listen(_: &str, _: UnboundedSender<Key>) -> Result<Self, Failure> {
        Err(Failure::new(Exit::Usage, "--hot-key works on X11 alone")
            .help("in the terminal itself the space bar talks"))
    }
}

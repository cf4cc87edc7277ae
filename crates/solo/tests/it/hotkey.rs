//! `talk --hot-key` on an X server without a screen. Xvfb and xdotool must be installed, so this is run with the tests of models.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::conversation::serve;
use crate::devices::{Ends, Sound, line_with, lines};
use crate::sandbox::Sandbox;

/// Longer than a keyboard waits before it repeats a key that is held.
const HELD: Duration = Duration::from_millis(1_500);

/// An X server with a keyboard and nothing to look at.
struct Display {
    _server: Ends,
    name: String,
}

impl Display {
    fn start() -> Self {
        let mut server: Child = Command::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0", "640x480x24", "-nolisten", "tcp"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Xvfb is installed (apt-get install xvfb)");
        let mut number = String::new();
        let mut out = BufReader::new(server.stdout.take().unwrap());
        out.read_line(&mut number).unwrap();
        let name = format!(":{}", number.trim());
        assert!(name.len() > 1, "Xvfb says which display it is");
        Self {
            _server: Ends(server),
            name,
        }
    }

    fn keys(&self, action: &str) {
        let status = Command::new("xdotool")
            .args([action, "ctrl+alt+space"])
            .env("DISPLAY", &self.name)
            .status()
            .expect("xdotool is installed (apt-get install xdotool)");
        assert!(status.success());
    }
}

#[test]
#[ignore = "needs pulseaudio, xvfb and xdotool"]
fn model_a_hot_key_talks_while_it_is_held() {
    let (sandbox, sound, display) = (Sandbox::new(), Sound::start(), Display::start());
    let _gateway = serve(&sandbox);
    let mut talk = sound.solo(&sandbox, &["talk", "--push-to-talk", "--hot-key", "ctrl+alt+space"]);
    talk.env("DISPLAY", &display.name);
    let mut talk = Ends(talk.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let lines = lines(&mut talk.0);
    line_with(&lines, "Hold the hot-key to talk");
    for _ in 0..2 {
        display.keys("keydown");
        let until = Instant::now() + HELD;
        while let Ok(line) = lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            assert!(!line.starts_with("you"), "it let go by itself: {line}");
        }
        display.keys("keyup");
        assert_eq!(line_with(&lines, "you "), "you   What colour is my bike?");
    }
}

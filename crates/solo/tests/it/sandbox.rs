//! A data folder, a configuration with free ports, and fake services under the seven names.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The sections in the order of `solo ps`, the gateway last.
pub const SECTIONS: [&str; 7] = ["wake", "stt", "tts", "llm", "memory", "agent", "gateway"];
/// How long anything may take that is waited for.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A Solo of its own. What it started is stopped with it.
pub struct Sandbox {
    folder: tempfile::TempDir,
    ports: Vec<u16>,
}

impl Sandbox {
    /// A sandbox whose ports nobody uses.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Held together until all are known, so that no two are the same.
        let held: Vec<TcpListener> = (0..=SECTIONS.len())
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let ports: Vec<u16> = held
            .iter()
            .map(|listener| listener.local_addr().unwrap().port())
            .collect();
        let mut text = format!(
            "[global]\ndata_dir = \"{}\"\ndrain_ms = 3000\n[global.endpoints]\n",
            folder.path().join("data").display()
        );
        for (section, port) in SECTIONS.iter().zip(&ports) {
            text.push_str(&format!("{section} = \"http://127.0.0.1:{port}\"\n"));
        }
        for (section, port) in SECTIONS.iter().zip(&ports) {
            text.push_str(&format!("[{section}]\nlisten = \"127.0.0.1:{port}\"\n"));
        }
        text.push_str(&format!("http_listen = \"127.0.0.1:{}\"\n", ports[SECTIONS.len()]));
        // No fake listens there, and somebody on this machine may.
        text.push_str("[gateway.wyoming]\nstt_listen = \"\"\ntts_listen = \"\"\nwake_listen = \"\"\n");
        std::fs::write(folder.path().join("solo.toml"), text).unwrap();
        std::fs::create_dir(folder.path().join("fake")).unwrap();
        #[cfg(unix)]
        {
            let binary = Path::new(env!("CARGO_BIN_EXE_solo"))
                .with_file_name("examples")
                .join("fake_svc");
            assert!(binary.exists(), "{} is not built", binary.display());
            std::fs::create_dir(folder.path().join("bin")).unwrap();
            for section in SECTIONS {
                std::os::unix::fs::symlink(&binary, folder.path().join("bin").join(name(section))).unwrap();
            }
        }
        Self { folder, ports }
    }

    /// A file of the sandbox.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The port of a section.
    pub fn port(&self, section: &str) -> u16 {
        self.ports[SECTIONS.iter().position(|known| *known == section).unwrap()]
    }

    /// Says how a fake is to behave from its next start on.
    pub fn behave(&self, section: &str, behaviour: &str) {
        std::fs::write(self.path("fake").join(name(section)), behaviour).unwrap();
    }

    /// What the fakes noted: "starts", "ends", "children".
    pub fn notes(&self, file: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.path("fake").join(file)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// How many times a fake was started.
    pub fn starts(&self, section: &str) -> usize {
        let prefix = format!("{} ", name(section));
        self.notes("starts")
            .iter()
            .filter(|line| line.starts_with(&prefix))
            .count()
    }

    /// `solo ARGUMENTS` in this sandbox, not yet started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_solo"));
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("SOLO_") {
                command.env_remove(variable);
            }
        }
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("SOLO_CONFIG", self.path("solo.toml"))
            .env("SOLO_BIN_DIR", self.path("bin"))
            .env("FAKE_DIR", self.path("fake"))
            .stdin(Stdio::null());
        command
    }

    /// Runs `solo ARGUMENTS` to its end.
    pub fn solo(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Starts `solo ARGUMENTS`, its output piped.
    pub fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// `solo ps --json`.
    pub fn ps(&self) -> Vec<Value> {
        let output = self.solo(&["ps", "--json"]);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&output)))
    }

    /// The row of a section, if there is one.
    pub fn row(&self, section: &str) -> Option<Value> {
        self.ps().into_iter().find(|row| row["service"] == name(section))
    }

    /// Waits until all services of the sandbox are serving.
    pub fn until_serving(&self) -> Vec<Value> {
        until("all services serve", || {
            Some(self.ps())
                .filter(|rows| rows.len() == SECTIONS.len() && rows.iter().all(|row| row["state"] == "serving"))
        })
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = self
            .command(&["down"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

/// "stt" is served by "stt-svc", "gateway" by "gateway".
pub fn name(section: &str) -> String {
    if section == "gateway" {
        section.into()
    } else {
        format!("{section}-svc")
    }
}

/// All that a command said, for the messages of tests.
pub fn text(output: &Output) -> String {
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    format!("{}\n--- stdout\n{out}\n--- stderr\n{err}", output.status)
}

/// Waits until something is so.
pub fn until<T>(what: &str, mut is: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = is() {
            return value;
        }
        assert!(begun.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

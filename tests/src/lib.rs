//! A whole Solo for one test: the real binaries under the real runner, on free ports, in a folder of its own. Models come
//! from the folder that everything else uses; what a test remembers and says stays in its own.

pub mod compose;

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// The services, in the order of `solo ps`.
pub const SERVICES: [&str; 7] = [
    "gateway",
    "stt-svc",
    "tts-svc",
    "llm-svc",
    "memory-svc",
    "agent-svc",
    "wake-svc",
];

/// How long a loaded machine may take for one command.
const PATIENCE: Duration = Duration::from_secs(120);

/// A configuration of its own: ports, folders.
pub struct Layout {
    /// Holds configuration, data, logs; goes with the value.
    pub folder: TempDir,
    ports: Vec<u16>,
    http: u16,
    wyoming: [u16; 3],
    binaries: PathBuf,
}

impl Layout {
    /// Free ports and an empty folder; `extra` (TOML) goes into the configuration file.
    pub fn new(extra: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // All are held before any is let go, so that no port is given twice.
        let listeners: Vec<TcpListener> = (0..SERVICES.len() + 4)
            .map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"))
            .collect();
        let mut ports: Vec<u16> = listeners
            .iter()
            .map(|listener| listener.local_addr().expect("bound").port())
            .collect();
        let [http, stt, tts, wake] = *ports.split_off(SERVICES.len()) else {
            unreachable!("four more than services were bound");
        };
        let layout = Self {
            folder,
            ports,
            http,
            wyoming: [stt, tts, wake],
            binaries: built(),
        };
        layout.write(extra);
        layout
    }

    /// The same with the binaries of another build than the caller's.
    pub fn with_binaries(mut self, folder: &Path) -> Self {
        folder.clone_into(&mut self.binaries);
        self
    }

    /// Writes the configuration file anew.
    pub fn write(&self, extra: &str) {
        let mut text = "[global.endpoints]\n".to_owned();
        for (service, port) in SERVICES.iter().zip(&self.ports) {
            writeln!(text, "{} = \"http://127.0.0.1:{port}\"", section(service)).expect("a string");
        }
        std::fs::write(self.config(), format!("{text}{extra}")).expect("a configuration file");
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("solo.toml")
    }

    /// Port of a service's gRPC.
    pub fn port(&self, service: &str) -> u16 {
        let index = SERVICES.iter().position(|name| *name == service).expect("a service");
        self.ports[index]
    }

    /// Port of the gateway's HTTP.
    pub fn http(&self) -> u16 {
        self.http
    }

    /// Ports of the gateway's Wyoming: speech to text, text to speech, wake words.
    pub fn wyoming(&self) -> [u16; 3] {
        self.wyoming
    }

    /// A command that sees this layout and nothing of the person who runs the tests but their models.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program_in(&self.binaries, program));
        for (variable, _) in std::env::vars().filter(|(variable, _)| variable.starts_with("SOLO_")) {
            if variable != "SOLO_MODELS_DIR" {
                command.env_remove(variable);
            }
        }
        command
            .env("SOLO_CONFIG", self.config())
            .env("SOLO_DATA_DIR", self.folder.path().join("data"));
        for (service, port) in SERVICES.iter().zip(&self.ports) {
            let variable = format!("SOLO_{}__LISTEN", section(service).to_uppercase());
            command.env(variable, format!("127.0.0.1:{port}"));
        }
        command.env("SOLO_GATEWAY__HTTP_LISTEN", format!("127.0.0.1:{}", self.http));
        for (what, port) in ["STT", "TTS", "WAKE"].iter().zip(self.wyoming) {
            let variable = format!("SOLO_GATEWAY__WYOMING__{what}_LISTEN");
            command.env(variable, format!("127.0.0.1:{port}"));
        }
        command.current_dir(self.folder.path()).env("NO_COLOR", "1");
        command
    }

    /// Runs `solo ARGS…` to its end.
    pub fn solo(&self, args: &[&str]) -> Output {
        self.command("solo")
            .args(args)
            .stdin(Stdio::null())
            .output()
            .expect("solo runs")
    }
}

/// A running Solo. Dropping it ends the runner, and with it every service.
pub struct Stack {
    /// Where it lives.
    pub layout: Layout,
    runner: Child,
}

impl Stack {
    /// Starts all services and waits until they serve.
    pub fn up() -> Self {
        Self::up_with("")
    }

    /// The same with more configuration.
    pub fn up_with(extra: &str) -> Self {
        Self::up_on(Layout::new(extra))
    }

    /// The same where a layout says.
    pub fn up_on(layout: Layout) -> Self {
        let log = std::fs::File::create(layout.folder.path().join("runner.log")).expect("a log file");
        let runner = layout
            .command("solo")
            .arg("up")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log file"))
            .stderr(log)
            .spawn()
            .expect("solo up runs");
        let mut stack = Self { layout, runner };
        let log = stack.layout.folder.path().join("runner.log");
        wait_until("all services serve", || {
            if let Ok(Some(status)) = stack.runner.try_wait() {
                panic!(
                    "solo up ended ({status}):\n{}",
                    std::fs::read_to_string(&log).unwrap_or_default()
                );
            }
            SERVICES.iter().all(|service| stack.is_serving(service))
        });
        stack
    }

    /// Runs `solo ARGS…` and gives its standard output.
    ///
    /// # Panics
    /// When it fails, with all it said.
    pub fn solo(&self, args: &[&str]) -> String {
        let output = self.layout.solo(args);
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(
            output.status.success(),
            "solo {args:?}: {}\n{out}\n{err}",
            output.status
        );
        out.into_owned()
    }

    /// The same, parsed as JSON.
    pub fn json(&self, args: &[&str]) -> Value {
        let text = self.solo(args);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("solo {args:?} prints no JSON ({error}): {text}"))
    }

    /// What `solo ps --json` says of a service; `None` while the runner does not answer.
    pub fn ps(&self, service: &str) -> Option<Value> {
        let output = self.layout.solo(&["ps", "--json"]);
        let all: Value = serde_json::from_slice(&output.stdout).ok()?;
        all.as_array()?.iter().find(|row| row["service"] == service).cloned()
    }

    /// Process of a service.
    pub fn pid(&self, service: &str) -> u32 {
        let row = self.ps(service).expect("the runner answers");
        row["pid"]
            .as_u64()
            .and_then(|pid| pid.try_into().ok())
            .unwrap_or_else(|| panic!("{service} has no pid: {row}"))
    }

    /// True when a service serves.
    pub fn is_serving(&self, service: &str) -> bool {
        self.ps(service).is_some_and(|row| row["state"] == "serving")
    }

    /// Process of the runner.
    pub fn runner_pid(&self) -> u32 {
        self.runner.id()
    }

    /// Kills the runner as the kernel's out-of-memory killer would.
    pub fn kill_runner(&mut self) {
        kill_9(self.runner.id());
        self.runner.wait().expect("the runner ends");
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.runner.id().cast_signed()) {
            // Already gone is what is wanted.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let ended = Instant::now() + Duration::from_secs(20);
        while Instant::now() < ended {
            if matches!(self.runner.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        // A runner that does not end takes its services with it all the same.
        let _ = self.runner.kill();
        let _ = self.runner.wait();
    }
}

/// Kills a process without asking.
pub fn kill_9(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it runs and is ours");
}

/// True while a process is there.
pub fn is_alive(pid: u32) -> bool {
    // A zombie has ended: it only waits to be reaped.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .trim_start()
            .starts_with('Z')
    })
}

/// Waits for a condition; a machine that is busy gets time, one that never gets there a failure.
///
/// # Panics
/// After two minutes.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let limit = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < limit, "waited {PATIENCE:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A built binary of the profile that the caller was built in.
pub fn binary(name: &str) -> PathBuf {
    program_in(&built(), name)
}

/// Where the binaries of the profile stand that the caller was built in.
pub fn built() -> PathBuf {
    let caller = std::env::current_exe().expect("a running program");
    let folder = caller.parent().expect("a program stands in a folder");
    // Tests stand in target/PROFILE/deps, benchmarks beside the binaries.
    let folder = if folder.ends_with("deps") {
        folder.parent().expect("deps stands in a folder")
    } else {
        folder
    };
    folder.to_owned()
}

fn program_in(folder: &Path, name: &str) -> PathBuf {
    let binary = folder.join(name);
    assert!(binary.exists(), "{} is not built", binary.display());
    binary
}

/// A recording of tests/fixtures/audio.
pub fn fixture(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/audio").join(name);
    assert!(file.exists(), "{} is missing", file.display());
    file.display().to_string()
}

/// A service's section in the configuration.
pub fn section(service: &str) -> &str {
    service.trim_end_matches("-svc")
}

/// Lower-case words without punctuation: what was said, not how it was written.
pub fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric() && c != '\'')
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// Word error rate: the edit distance between the words of two texts, over the number of words of the first.
pub fn word_error_rate(reference: &str, hypothesis: &str) -> f64 {
    let (reference, hypothesis) = (words(reference), words(hypothesis));
    let mut row: Vec<usize> = (0..=hypothesis.len()).collect();
    for (i, word) in reference.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in hypothesis.iter().enumerate() {
            let substitution = diagonal + usize::from(word != other);
            diagonal = row[j + 1];
            row[j + 1] = substitution.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[hypothesis.len()] as f64 / reference.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn word_error_rate_counts_words() {
        assert_eq!(word_error_rate("Paris is it.", "paris, is it"), 0.0);
        assert_eq!(word_error_rate("one two three four", "one two four"), 0.25);
        assert_eq!(word_error_rate("one", ""), 1.0);
    }
}

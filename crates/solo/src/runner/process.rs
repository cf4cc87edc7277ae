//! One process of a service: how it is started, asked to end, and made to end. All of the runner's system calls.
//!
//! A service gets its own process group (so that what *it* starts ends with it), no terminal, one pipe for all that it
//! writes, and the read end of the runner's life pipe: when the runner is gone, however it went, the system closes the
//! write end and every service sees it. (PR_SET_PDEATHSIG would not do: it follows the thread that forked.)

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};

/// Environment variable that tells a service the number of its end of the life pipe.
pub const LIFE_PIPE: &str = "SOLO_RUNNER_PIPE_FD";

/// The pipe whose write end only the runner holds. Nothing is ever written to it.
pub struct LifePipe {
    read: OwnedFd,
    _write: OwnedFd,
}

impl LifePipe {
    /// A pipe of which no end is inherited by itself (close-on-exec).
    pub fn new() -> io::Result<Self> {
        let (read, write) = io::pipe()?;
        Ok(Self {
            read: read.into(),
            _write: write.into(),
        })
    }
}

/// How to start a service.
#[derive(Debug, Clone)]
pub struct Program {
    /// The binary.
    pub binary: PathBuf,
    /// What it is told to read; none: its defaults and the environment.
    pub config: Option<PathBuf>,
    /// `section.key` and value: what the command line overrides.
    pub flags: Vec<(String, String)>,
}

/// A service that was started.
pub struct Started {
    /// Its process.
    pub child: Child,
    /// All that it writes, standard output and standard error in order.
    pub output: pipe::Receiver,
    /// Its process identifier, which is its process group's too.
    pub pid: u32,
}

impl Program {
    /// Starts it: `BINARY run [--config FILE] [--set KEY=VALUE]…`, with this process's environment.
    pub fn start(&self, life: &LifePipe) -> io::Result<Started> {
        let (output, written) = io::pipe()?;
        let mut command = Command::new(&self.binary);
        command.arg("run");
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        for (key, value) in &self.flags {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        let life_fd = life.read.as_raw_fd();
        command
            .stdin(Stdio::null())
            .stdout(written.try_clone()?)
            .stderr(written)
            .env(LIFE_PIPE, life_fd.to_string())
            .process_group(0);
        // SAFETY: the closure runs in the child between fork and exec, makes one async-signal-safe call and allocates
        // nothing; the descriptor is open there, because `life` outlives this function and fork copies it.
        unsafe {
            command.pre_exec(move || {
                let end = BorrowedFd::borrow_raw(life_fd);
                Ok(rustix::io::fcntl_setfd(end, rustix::io::FdFlags::empty())?)
            });
        }
        let child = command.spawn()?;
        let pid = child.id().ok_or_else(|| io::Error::other("it ended before it began"))?;
        Ok(Started {
            child,
            output: pipe::Receiver::from_owned_fd(output.into())?,
            pid,
        })
    }
}

/// Asks a process to finish what is running and end.
pub fn ask_to_end(pid: u32) {
    if let Some(pid) = known(pid) {
        // It may have ended by itself just now; then there is nobody to ask.
        let _ = rustix::process::kill_process(pid, Signal::TERM);
    }
}

/// Ends a process group at once: the service and whatever it started.
pub fn end_group(pid: u32) {
    if let Some(pid) = known(pid) {
        let _ = rustix::process::kill_process_group(pid, Signal::KILL);
    }
}

fn known(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().filter(|pid| *pid > 1).and_then(Pid::from_raw)
}

/// How a process ended, in words.
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => format!("was killed by signal {}", signal_name(signal)),
        (None, None) => "ended".into(),
    }
}

fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        15 => "SIGTERM",
        _ => return signal.to_string(),
    };
    format!("{signal} ({name})")
}

/// Starts this very program again in the background: a new session, no terminal, its output appended to `log`.
pub fn start_in_background(arguments: &[std::ffi::OsString], log: &Path) -> io::Result<std::process::Child> {
    use std::os::unix::process::CommandExt;
    let log = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .env_remove(LIFE_PIPE);
    // SAFETY: setsid is async-signal-safe and the closure does nothing else.
    unsafe {
        command.pre_exec(|| Ok(rustix::process::setsid().map(|_| ())?));
    }
    command.spawn()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_are_told_in_words() {
        assert_eq!(describe(ExitStatus::from_raw(66 << 8)), "exited with code 66");
        assert_eq!(describe(ExitStatus::from_raw(9)), "was killed by signal 9 (SIGKILL)");
    }

    #[test]
    fn no_signal_ever_goes_to_everybody() {
        assert_eq!(known(0), None);
        assert_eq!(known(1), None);
        assert_eq!(known(u32::MAX), None);
    }
}

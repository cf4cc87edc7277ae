//! How a command fails: an exit code that programs switch on, a sentence that says what is wrong, and the remedy.
//!
//! Every command returns a [`Failure`]; `main` alone prints it (`error: …`, `  help: …`, on standard error). It crosses
//! the runner's control socket as JSON, so that `solo up --detach` shows what the runner in the background found.

use std::fmt;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use solo_service::{ErrorCode, ServiceError, UpstreamError};
use tonic::Status;

/// The exit codes of `solo`, as `solo exit-codes` explains them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// It did not work; the message says why.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The configuration is wrong (sysexits' EX_USAGE).
    Configuration = 64,
    /// A model is not installed (sysexits' EX_NOINPUT).
    MissingModel = 66,
    /// A service does not answer (sysexits' EX_UNAVAILABLE).
    Unavailable = 69,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// What `solo help exit-codes` and `solo --help` say.
pub const EXIT_CODES: &str = "\
Exit codes:
   0  done
   1  failed; the message says why
   2  the command line is wrong
  64  the configuration is wrong: `solo config check` names every fault
  66  a model is not installed: `solo models pull` fetches it
  69  a service does not answer: `solo up` starts Solo, `solo ps` shows how the services are";

/// Why a command ended without doing what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What is wrong. Empty: there is nobody to tell (the reader of our output went away).
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Failure {
    /// A failure with its exit code.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            help: None,
        }
    }

    /// Exit code 1.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// The reader of our standard output went away (`solo logs | head`): the command ends, quietly and well.
    pub fn closed_output() -> Self {
        Self::new(Exit::Ok, "")
    }

    /// Adds the remedy.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// What `service` answered. A status that names another culprit is that one's failure.
    pub fn from_status(service: &str, status: &Status) -> Self {
        let error = UpstreamError::from_status(service, status);
        let culprit = error.service().unwrap_or(service).to_owned();
        let exit = exit_of(error.code());
        let failure = Self::new(exit, format!("{culprit}: {}", error.message()));
        match exit {
            Exit::Unavailable => failure.help(format!(
                "see how it is with `solo ps`, and why with `solo logs {culprit}`"
            )),
            _ if error.code() == ErrorCode::Internal => failure.help(format!("`solo logs {culprit}` has the details")),
            _ => failure,
        }
    }
}

/// The exit code for an error of a service.
pub fn exit_of(code: ErrorCode) -> Exit {
    match code {
        ErrorCode::Unavailable => Exit::Unavailable,
        _ => Exit::Failed,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Errors of the libraries below arrive as chains; people read them on one line.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<Failure>() {
            Ok(failure) => failure,
            Err(error) if closed_pipe(&error) => Self::closed_output(),
            Err(error) => Self::failed(format!("{error:#}")),
        }
    }
}

fn closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_service_is_named_with_the_remedy() {
        let failure = Failure::from_status("stt-svc", &Status::unavailable("starting"));
        assert_eq!(failure.exit, Exit::Unavailable);
        assert_eq!(failure.message, "stt-svc: starting");
        assert!(failure.help.unwrap().contains("solo logs stt-svc"));
    }

    #[test]
    fn a_refusal_is_no_outage() {
        let failure = Failure::from_status(
            "tts-svc",
            &Status::invalid_argument("speed 9 is out of range: 0.5 to 2.0"),
        );
        assert_eq!((failure.exit, failure.help), (Exit::Failed, None));
    }

    #[test]
    fn the_documented_codes_are_the_codes() {
        for exit in [
            Exit::Ok,
            Exit::Failed,
            Exit::Usage,
            Exit::Configuration,
            Exit::MissingModel,
            Exit::Unavailable,
        ] {
            let line = format!("{:>4}  ", exit as u8);
            assert!(EXIT_CODES.contains(&line), "{line:?} is not explained");
        }
    }

    #[test]
    fn a_chain_is_one_line_and_a_failure_stays_itself() {
        let chained = anyhow::anyhow!("disk full").context("cannot write reply.wav");
        assert_eq!(Failure::from(chained).message, "cannot write reply.wav: disk full");
        let own = Failure::new(Exit::MissingModel, "x").help("y");
        assert_eq!(Failure::from(anyhow::Error::new(own.clone())), own);
    }
}

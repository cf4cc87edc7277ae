//! Why a service is not started again, and what to do about it: the explanations, in one place.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use super::board::{Entry, Trouble};
use super::crashes::{LIMIT, WINDOW};
use super::process::{self, Program};
use crate::failure::{Exit, Failure};
use crate::services::Service;

/// Lines of a service that are shown when it fails.
const SHOWN: usize = 8;

/// The trouble of a service that said that it cannot work: 64, its configuration; 66, a model. Starting it again would
/// not help.
pub fn refusal(service: &Service, program: &Program, status: ExitStatus, lines: &[String]) -> Option<Trouble> {
    let name = service.name;
    match status.code()? {
        64 => {
            let file = program.config.as_ref().map_or_else(
                || "the environment (`SOLO_…` variables, `.env`)".to_owned(),
                |file| format!("`{}`", file.display()),
            );
            Some(Trouble {
                exit: Exit::Configuration,
                what: "exited with code 64: its configuration is wrong".into(),
                lines: last_words(lines),
                help: format!("correct {file}, check it with `solo config check`, then start {name} again"),
            })
        }
        66 => {
            let pulls = pull_commands(lines);
            let help = if pulls.is_empty() {
                "see what is missing with `solo models list`".into()
            } else {
                pulls.join("\n")
            };
            Some(Trouble {
                exit: Exit::MissingModel,
                what: "exited with code 66: a model is missing".into(),
                lines: last_words(lines),
                help,
            })
        }
        _ => None,
    }
}

/// The trouble of a service that crashes again and again.
pub fn crash_loop(service: &Service, status: ExitStatus, lines: &[String]) -> Trouble {
    let exit = if status.code() == Some(69) {
        Exit::Unavailable
    } else {
        Exit::Failed
    };
    let name = service.name;
    let hint = match status.signal() {
        Some(4) => "this processor lacks instructions that the binary was built for; build Solo on this machine\n",
        Some(9) => "somebody or the system killed it: is there enough memory? `solo doctor` looks\n",
        _ => "",
    };
    Trouble {
        exit,
        what: format!(
            "crashed {LIMIT} times within {} s; the last time it {}",
            WINDOW.as_secs(),
            process::describe(status)
        ),
        lines: last_words(lines),
        help: format!("{hint}`solo logs {name}` has more; `solo restart {name}` tries again"),
    }
}

/// The trouble of a binary that cannot be run.
pub fn not_started(program: &Program, error: &std::io::Error) -> Trouble {
    Trouble {
        exit: Exit::Failed,
        what: format!("cannot be started from {}: {error}", program.binary.display()),
        lines: Vec::new(),
        help: "build it, or set SOLO_BIN_DIR to the folder of the services' binaries".into(),
    }
}

/// The trouble of a service that was to be started again while Solo stops.
pub fn stopping(service: &Service) -> Trouble {
    Trouble {
        exit: Exit::Failed,
        what: format!("{} was stopped before it was serving again", service.name),
        lines: Vec::new(),
        help: "start Solo with `solo up`".into(),
    }
}

/// All that went wrong at a start, as one failure. `None` when nothing did.
pub fn summary(entries: &[Entry]) -> Option<Failure> {
    let failed: Vec<(&Entry, &Trouble)> = entries
        .iter()
        .filter_map(|entry| Some((entry, entry.trouble.as_ref()?)))
        .collect();
    let exit = [Exit::Configuration, Exit::MissingModel, Exit::Unavailable, Exit::Failed]
        .into_iter()
        .find(|exit| failed.iter().any(|(_, trouble)| trouble.exit == *exit))?;
    let mut message = format!(
        "Solo did not start: {} of {} services failed",
        failed.len(),
        entries.len()
    );
    let mut help: Vec<String> = Vec::new();
    for (entry, trouble) in failed {
        message.push_str(&format!("\n  {} {}", entry.service.name, trouble.what));
        for line in &trouble.lines {
            message.push_str(&format!("\n    | {line}"));
        }
        for line in trouble.help.lines().map(str::to_owned) {
            if !help.contains(&line) {
                help.push(line);
            }
        }
    }
    Some(Failure::new(exit, message).help(help.join("\n")))
}

/// A single service's trouble as a failure.
pub fn failure(service: &Service, trouble: &Trouble) -> Failure {
    let mut message = format!("{} {}", service.name, trouble.what);
    for line in &trouble.lines {
        message.push_str(&format!("\n    | {line}"));
    }
    Failure::new(trouble.exit, message).help(&trouble.help)
}

/// The last lines; from the last error on, where the service marked one.
fn last_words(lines: &[String]) -> Vec<String> {
    let spoken: Vec<&String> = lines.iter().filter(|line| !line.trim().is_empty()).collect();
    let tail = &spoken[spoken.len().saturating_sub(SHOWN)..];
    let from = tail.iter().position(|line| line.starts_with("error:")).unwrap_or(0);
    tail[from..].iter().map(|line| (*line).clone()).collect()
}

/// The commands that a service named to fetch what it lacks, each once.
fn pull_commands(lines: &[String]) -> Vec<String> {
    const PULL: &str = "solo models pull ";
    let mut commands: Vec<String> = Vec::new();
    for line in lines {
        for (start, _) in line.match_indices(PULL) {
            let rest = &line[start + PULL.len()..];
            let id: String = rest
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
                .collect();
            let command = format!("`{PULL}{}`", id.trim_end_matches('.'));
            if !id.is_empty() && !commands.contains(&command) {
                commands.push(command);
            }
        }
    }
    commands
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::runner::board::{Board, State};
    use crate::services;

    fn program() -> Program {
        Program {
            binary: "/opt/solo/stt-svc".into(),
            config: Some("/etc/solo.toml".into()),
            flags: Vec::new(),
        }
    }

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_missing_model_names_the_command_once() {
        let said = lines(
            "loading\nerror: model \"whisper-base\" is not installed: run `solo models pull whisper-base`.\nerror: `solo models pull whisper-base`",
        );
        let trouble = refusal(
            services::find("stt").unwrap(),
            &program(),
            ExitStatus::from_raw(66 << 8),
            &said,
        )
        .unwrap();
        assert_eq!(trouble.exit, Exit::MissingModel);
        assert_eq!(trouble.help, "`solo models pull whisper-base`");
        assert_eq!(trouble.lines.len(), 2, "from the first error on: {:?}", trouble.lines);
    }

    #[test]
    fn wrong_configuration_names_the_file() {
        let trouble = refusal(
            services::find("stt").unwrap(),
            &program(),
            ExitStatus::from_raw(64 << 8),
            &[],
        )
        .unwrap();
        assert_eq!(trouble.exit, Exit::Configuration);
        assert!(trouble.help.contains("/etc/solo.toml"), "{}", trouble.help);
    }

    #[test]
    fn other_ends_are_crashes() {
        assert_eq!(
            refusal(services::find("stt").unwrap(), &program(), ExitStatus::from_raw(9), &[]),
            None
        );
        assert_eq!(
            refusal(
                services::find("stt").unwrap(),
                &program(),
                ExitStatus::from_raw(1 << 8),
                &[]
            ),
            None
        );
    }

    #[test]
    fn all_failures_are_told_together() {
        let (stt, tts, llm) = (
            services::find("stt").unwrap(),
            services::find("tts").unwrap(),
            services::find("llm").unwrap(),
        );
        let board = Board::new([stt, tts, llm].map(|service| (service, String::new())));
        assert_eq!(summary(&board.entries()), None);
        let missing = |id: &str| Trouble {
            exit: Exit::MissingModel,
            what: "exited with code 66: a model is missing".into(),
            lines: lines("error: not installed"),
            help: format!("`solo models pull {id}`"),
        };
        for (service, id) in [(stt, "whisper-base"), (tts, "piper-en-us-joe")] {
            board.update(service, |entry| {
                entry.state = State::Failed;
                entry.ready = Some(Duration::ZERO);
                entry.trouble = Some(missing(id));
            });
        }
        let failure = summary(&board.entries()).unwrap();
        assert_eq!(failure.exit, Exit::MissingModel);
        assert!(
            failure
                .message
                .starts_with("Solo did not start: 2 of 3 services failed\n  stt-svc exited"),
            "{failure}"
        );
        assert_eq!(
            failure.help.unwrap(),
            "`solo models pull whisper-base`\n`solo models pull piper-en-us-joe`"
        );
    }
}

//! `solo doctor`: looks at everything that Solo needs, in the order in which it is needed, and says how to mend what is
//! wrong. It changes nothing.

#[cfg(unix)]
mod compose;
mod machine;
mod models;
mod running;

use serde::Serialize;
use solo_service::config::Inputs;

use super::config::check_binaries;
use crate::failure::{Exit, Failure};
use crate::settings::{Settings, invalid};
use crate::terminal::{self, BAD, FAINT, GOOD, paint};

/// One thing that was looked at: a line of `solo doctor --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: String,
    /// Whether it is well; null when it could not matter (nothing runs, so nothing is serving).
    pub ok: Option<bool>,
    /// What was found.
    pub found: String,
    /// The remedy. Null when none is needed.
    pub help: Option<String>,
}

impl Finding {
    fn good(check: &str, found: impl Into<String>) -> Self {
        Self {
            check: check.into(),
            ok: Some(true),
            found: found.into(),
            help: None,
        }
    }

    fn bad(check: &str, found: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            check: check.into(),
            ok: Some(false),
            found: found.into(),
            help: Some(help.into()),
        }
    }

    fn idle(check: &str, found: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            check: check.into(),
            ok: None,
            found: found.into(),
            help: Some(help.into()),
        }
    }
}

/// Looks at everything; exit code 1 when something is wrong.
pub async fn run(inputs: Inputs, json: bool, offline: bool) -> Result<Exit, Failure> {
    let mut findings = vec![machine::processor(), machine::memory()];
    let settings = match Settings::load(inputs.clone(), json, offline) {
        Ok(settings) => settings,
        Err(failure) => {
            // Everything else needs to know where things are.
            findings.push(Finding::bad(
                "configuration",
                failure.message,
                failure.help.unwrap_or_default(),
            ));
            return report(&findings, json);
        }
    };
    findings.extend(machine::disks(&settings));
    findings.extend(configuration(&settings).await?);
    findings.extend(models::installed(&settings));
    findings.push(models::espeak_data(&settings));
    findings.extend(machine::package_tools());
    findings.extend(running::all(&settings).await?);
    report(&findings, json)
}

/// Looks at Solo in containers; exit code 1 when something is wrong.
#[cfg(unix)]
pub fn compose(inputs: &Inputs, json: bool) -> Result<Exit, Failure> {
    report(&compose::all(&inputs.environment), json)
}

/// Permissions and ports are looked at as Unix has them.
#[cfg(not(unix))]
pub fn compose(_: &Inputs, _: bool) -> Result<Exit, Failure> {
    Err(Failure::failed("`solo doctor --compose` does not run on this system").help("run it inside WSL"))
}

async fn configuration(settings: &Settings) -> Result<Vec<Finding>, Failure> {
    let file = settings
        .file
        .as_ref()
        .map_or_else(|| "defaults, no file".to_owned(), |file| file.display().to_string());
    let checked = check_binaries(&settings.inputs, settings.file.as_deref()).await?;
    let faults: Vec<Finding> = checked
        .iter()
        .filter(|checked| !checked.ok)
        .map(|checked| {
            let help = "`solo config check` names every fault, `solo config set KEY VALUE` corrects one";
            Finding::bad(
                "configuration",
                format!("{}: {}", checked.service, checked.message),
                help,
            )
        })
        .collect();
    Ok(if faults.is_empty() {
        vec![Finding::good(
            "configuration",
            format!("valid for all services ({file})"),
        )]
    } else {
        faults
    })
}

fn report(findings: &[Finding], json: bool) -> Result<Exit, Failure> {
    if json {
        terminal::json(&findings)?;
    } else {
        for finding in findings {
            terminal::line(line(finding))?;
        }
    }
    let bad = findings.iter().filter(|finding| finding.ok == Some(false)).count();
    if !json {
        let verdict = match bad {
            0 => paint(GOOD, "nothing is wrong"),
            1 => paint(BAD, "one thing is wrong"),
            bad => paint(BAD, format_args!("{bad} things are wrong")),
        };
        terminal::line(verdict)?;
    }
    Ok(if bad == 0 { Exit::Ok } else { Exit::Failed })
}

fn line(finding: &Finding) -> String {
    let mark = match finding.ok {
        Some(true) => paint(GOOD, "✓"),
        Some(false) => paint(BAD, "✗"),
        None => paint(FAINT, "–"),
    };
    let mut text = format!(
        "{mark} {:<14} {}",
        finding.check,
        finding.found.replace('\n', "\n                 ")
    );
    for help in finding.help.iter().flat_map(|help| help.lines()) {
        text.push_str(&format!("\n                 {} {help}", paint(GOOD, "help:")));
    }
    text
}

/// Faults of a section as a finding.
fn faulty(check: &str, faults: &solo_service::Faults) -> Finding {
    let failure = invalid(faults);
    Finding::bad(check, failure.message, failure.help.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_comes_with_its_remedy() {
        let finding = Finding::bad(
            "models",
            "whisper-base is not installed",
            "`solo models pull whisper-base`",
        );
        let text = anstream::adapter::strip_str(&line(&finding)).to_string();
        assert_eq!(
            text,
            "✗ models         whisper-base is not installed\n                 help: `solo models pull whisper-base`"
        );
        let json = serde_json::to_string(&Finding::good("memory", "24 GB")).unwrap();
        assert_eq!(json, r#"{"check":"memory","ok":true,"found":"24 GB","help":null}"#);
    }
}

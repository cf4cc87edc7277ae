//! Why Porcupine does not listen, each with its remedy. What Porcupine 4.0 answers was seen from the library itself; its
//! statuses are coarse (a bad key, a keyword of another system and a wrong device are all INVALID_ARGUMENT), so the words of
//! its error stack decide. It repeats an AccessKey that it cannot read: nothing of the stack leaves here unredacted.

use std::fmt;
use std::path::{Path, PathBuf};

use solo_service::{ErrorCode, StartupError};

use super::library::{Failure, Keyword};
use crate::config::{PorcupineConfig, WHERE};

const CONSOLE: &str = "https://console.picovoice.ai";
const WITHOUT: &str = "wake.engine = \"micro-wake-word\" needs no key and no network";

/// A file that the configuration names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// `wake.porcupine.library`.
    Library,
    /// `wake.porcupine.parameters`.
    Parameters,
    /// One of `wake.porcupine.keyword_files`.
    Keyword,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Library => "wake.porcupine.library",
            Self::Parameters => "wake.porcupine.parameters",
            Self::Keyword => "wake.porcupine.keyword_files",
        })
    }
}

/// Why Porcupine does not listen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Refusal {
    #[error(
        "Porcupine wants an AccessKey and {variable} holds none: get one at {CONSOLE} and set {variable}; {WITHOUT}"
    )]
    NoKey { variable: String },
    #[error("{setting} names {}, which is not there: correct the path; {WHERE}", path.display())]
    Missing { setting: Setting, path: PathBuf },
    #[error("wake.porcupine.library: {} cannot be loaded ({problem}): take the one for this system and processor; {WHERE}", path.display())]
    NoLibrary { path: PathBuf, problem: String },
    #[error("wake.porcupine.library: {} is not the library that Solo knows how to use ({problem}); {WHERE}", path.display())]
    ForeignLibrary { path: PathBuf, problem: String },
    #[error("Porcupine has no keyword \"{keyword}\": name its file in wake.porcupine.keyword_files")]
    NoFile { keyword: String },
    #[error("{setting}: {} was made for another system than this one, or is damaged: make or take it for this system at {CONSOLE}", path.display())]
    OtherSystem { setting: Setting, path: PathBuf },
    #[error("{setting}: {} was made for another version of Porcupine than the library's, {version} ({detail}): take both of the same version", path.display())]
    OtherVersion {
        setting: Setting,
        path: PathBuf,
        version: String,
        detail: String,
    },
    #[error("{setting}: {} cannot be read as what it should be: {detail}", path.display())]
    Damaged {
        setting: Setting,
        path: PathBuf,
        detail: String,
    },
    #[error("wake.porcupine.device: Porcupine does not know \"{device}\"; \"cpu:1\", \"best\" or \"gpu:0\" is wanted")]
    Device { device: String },
    #[error("{variable} holds no valid AccessKey: copy it from {CONSOLE} once more, whole and without quotes")]
    BadKey { variable: String },
    #[error(
        "the AccessKey in {variable} is not for this kind of machine ({detail}): ask Picovoice, or use another key; {WITHOUT}"
    )]
    KeyOfOtherPlatform { variable: String, detail: String },
    #[error(
        "Picovoice refused the AccessKey in {variable} ({detail}): see whether it is still valid at {CONSOLE}; {WITHOUT}"
    )]
    KeyRefused { variable: String, detail: String },
    #[error(
        "the AccessKey in {variable} is used up ({detail}): its plan allows no more devices or hours, see {CONSOLE}; {WITHOUT}"
    )]
    KeyUsedUp { variable: String, detail: String },
    #[error(
        "Picovoice was asked about the AccessKey in {variable} too often ({detail}): wait a few minutes and start again"
    )]
    Throttled { variable: String, detail: String },
    #[error(
        "Porcupine could not be activated ({detail}): mostly this machine is offline, or a firewall keeps it from Picovoice, whom Porcupine asks when it starts and every few days; connect it and start again; {WITHOUT}"
    )]
    NotActivated { detail: String },
    #[error("Porcupine does not start ({status}): {detail}")]
    Other { status: String, detail: String },
}

impl Refusal {
    /// The code of the wire.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::NoFile { .. } => ErrorCode::NotFound,
            Self::NotActivated { .. } | Self::Throttled { .. } => ErrorCode::Unavailable,
            Self::Other { .. } => ErrorCode::Internal,
            _ => ErrorCode::FailedPrecondition,
        }
    }

    /// The reason of the wire.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::NoKey { .. } => "PORCUPINE_NO_KEY",
            Self::Missing { .. } | Self::NoFile { .. } => "PORCUPINE_FILE_MISSING",
            Self::NoLibrary { .. } | Self::ForeignLibrary { .. } => "PORCUPINE_LIBRARY",
            Self::OtherSystem { .. } | Self::OtherVersion { .. } | Self::Damaged { .. } => "PORCUPINE_FILE_UNUSABLE",
            Self::Device { .. } => "PORCUPINE_DEVICE",
            Self::BadKey { .. } | Self::KeyOfOtherPlatform { .. } | Self::KeyRefused { .. } => "PORCUPINE_KEY_REFUSED",
            Self::KeyUsedUp { .. } => "PORCUPINE_KEY_USED_UP",
            Self::Throttled { .. } => "PORCUPINE_THROTTLED",
            Self::NotActivated { .. } => "PORCUPINE_NOT_ACTIVATED",
            Self::Other { .. } => "PORCUPINE_FAILED",
        }
    }
}

impl From<Refusal> for StartupError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            // These may pass by themselves: it is worth starting again.
            Refusal::NotActivated { .. } | Refusal::Throttled { .. } | Refusal::Other { .. } => Self::other(refusal),
            Refusal::Missing { .. } | Refusal::NoLibrary { .. } | Refusal::Damaged { .. } => Self::MissingModel {
                message: refusal.to_string(),
            },
            // All else is for a person to mend.
            _ => Self::Config(refusal.to_string()),
        }
    }
}

/// What the library answered, as what is wrong.
pub(super) fn from_failure(
    failure: Failure,
    key: &str,
    config: &PorcupineConfig,
    keywords: &[Keyword],
    version: &str,
) -> Refusal {
    let stack: Vec<String> = failure.stack.iter().map(|line| redacted(line, key)).collect();
    // Searched as it came: what redaction replaced may have been part of the words.
    let line_with = |words: &str| {
        let index = failure.stack.iter().position(|line| line.contains(words))?;
        stack.get(index).map(|line| words_of(line))
    };
    let detail = details(&failure.status, &stack);
    let variable = config.access_key_env.clone();
    // It names the keyword file that it failed on, and the parameters not at all.
    let (setting, path) = keywords
        .iter()
        .find(|keyword| {
            failure
                .stack
                .iter()
                .any(|line| line.contains(&*keyword.path.to_string_lossy()))
        })
        .map_or((Setting::Parameters, config.parameters.as_path()), |keyword| {
            (Setting::Keyword, keyword.path.as_path())
        });
    let path = Path::to_owned(path);
    match failure.status.as_str() {
        "ACTIVATION_ERROR" => return Refusal::NotActivated { detail },
        "ACTIVATION_LIMIT_REACHED" => return Refusal::KeyUsedUp { variable, detail },
        "ACTIVATION_THROTTLED" => return Refusal::Throttled { variable, detail },
        "ACTIVATION_REFUSED" => return Refusal::KeyRefused { variable, detail },
        _ => {}
    }
    if let Some(detail) = line_with("License is expired") {
        return Refusal::KeyRefused { variable, detail };
    }
    if let Some(detail) = line_with("Platform is not supported") {
        return Refusal::KeyOfOtherPlatform { variable, detail };
    }
    if line_with("AccessKey").is_some() {
        return Refusal::BadKey { variable };
    }
    if let Some(detail) = line_with("different version") {
        let version = version.to_owned();
        return Refusal::OtherVersion {
            setting,
            path,
            version,
            detail,
        };
    }
    if line_with("different platform").is_some() {
        return Refusal::OtherSystem { setting, path };
    }
    if line_with("device string").is_some() || line_with("GPU device").is_some() {
        return Refusal::Device {
            device: config.device.clone(),
        };
    }
    if line_with("Loading parameters failed").is_some() || setting == Setting::Keyword {
        return Refusal::Damaged { setting, path, detail };
    }
    Refusal::Other {
        status: failure.status,
        detail,
    }
}

fn redacted(line: &str, key: &str) -> String {
    line.replace(key, "(the key)")
}

/// "5fe5c79 000001C3: AccessKey is invalid." → "AccessKey is invalid": the rest means something to Picovoice alone.
fn words_of(line: &str) -> String {
    let words = line.split_once(": ").map_or(line, |(_, words)| words);
    words.trim_end_matches('.').to_owned()
}

/// What may help Picovoice's support: the status, and the codes of its stack.
fn details(status: &str, stack: &[String]) -> String {
    if stack.is_empty() {
        return status.to_owned();
    }
    format!("{status}; {}", stack.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "c2VjcmV0LXNlY3JldA==";

    fn refusal(status: &str, stack: &[&str]) -> Refusal {
        let config = PorcupineConfig {
            access_key_env: "PICOVOICE_ACCESS_KEY".into(),
            library: "/p/libpv_porcupine.so".into(),
            parameters: "/p/porcupine_params.pv".into(),
            keyword_files: Vec::new(),
            device: "gpux".into(),
        };
        let keywords = ["/p/jarvis_mac.ppn", "/p/alexa_linux.ppn"].map(|path| Keyword {
            path: path.into(),
            sensitivity: 0.5,
        });
        let failure = Failure {
            status: status.into(),
            stack: stack.iter().map(|line| (*line).to_owned()).collect(),
        };
        from_failure(failure, KEY, &config, &keywords, "4.0.0")
    }

    /// The stacks are those that pvporcupine 4.0.3 gave on Linux, but for the statuses of activation, which want a real key.
    #[test]
    fn each_answer_has_its_own_remedy() {
        let bad_key = [
            "5fe5c79 000001C3: AccessKey is invalid.",
            "5fe5c79 00000190: Failed to parse AccessKey `c2VjcmV0LXNlY3JldA==`.",
            "5fe5c79 00000136: ee6ef30",
        ];
        let unreadable_key = [
            "5fe5c79 0000006F: Picovoice Error.",
            "5fe5c79 00000190: Failed to parse AccessKey `c2VjcmV0LXNlY3JldA==`.",
        ];
        let other_system = [
            "5fe5c79 00000069: Keyword file (.ppn) file has incorrect format or belongs to a different platform.",
            "5fe5c79 00000136: 28fcd9b",
            "5fe5c79 000001FE: Loading keyword file at `/p/jarvis_mac.ppn` failed with `INVALID_ARGUMENT`.",
        ];
        let old_keyword = [
            "5fe5c79 0000006A: Keyword file (.ppn) file belongs to a different version of the library. File is `3.0.0` while \
             library is `4.0.0`.",
            "5fe5c79 000001FE: Loading keyword file at `/p/alexa_linux.ppn` failed with `INVALID_ARGUMENT`.",
        ];
        let old_parameters = [
            "5fe5c79 0000006A: Model (.pv) file belongs to a different version of the library. File is `3.0.0` while library \
             is `4.0.0`.",
            "5fe5c79 000000CC: Loading parameters failed with `INVALID_ARGUMENT`.",
        ];
        let damaged = [
            "5fe5c79 000000CC: Loading parameters failed with `IO_ERROR`.",
            "5fe5c79 0000012C: Picovoice Error.",
        ];
        let opaque = ["d3ff828 00000136: e390eff"];
        let cases: [(&str, &[&str], &str, &[&str]); 13] = [
            (
                "INVALID_ARGUMENT",
                &bad_key,
                "PORCUPINE_KEY_REFUSED",
                &["no valid AccessKey"],
            ),
            (
                "INVALID_ARGUMENT",
                &unreadable_key,
                "PORCUPINE_KEY_REFUSED",
                &["no valid AccessKey"],
            ),
            (
                "INVALID_ARGUMENT",
                &other_system,
                "PORCUPINE_FILE_UNUSABLE",
                &["/p/jarvis_mac.ppn", "another system"],
            ),
            (
                "INVALID_ARGUMENT",
                &old_keyword,
                "PORCUPINE_FILE_UNUSABLE",
                &["/p/alexa_linux.ppn", "File is `3.0.0`"],
            ),
            (
                "INVALID_ARGUMENT",
                &old_parameters,
                "PORCUPINE_FILE_UNUSABLE",
                &["/p/porcupine_params.pv", "4.0.0"],
            ),
            (
                "IO_ERROR",
                &damaged,
                "PORCUPINE_FILE_UNUSABLE",
                &["/p/porcupine_params.pv", "cannot be read"],
            ),
            (
                "INVALID_ARGUMENT",
                &["5fe5c79 00000322: gpux is not a valid device string"],
                "PORCUPINE_DEVICE",
                &["\"gpux\""],
            ),
            (
                "ACTIVATION_ERROR",
                &opaque,
                "PORCUPINE_NOT_ACTIVATED",
                &["offline", "micro-wake-word"],
            ),
            (
                "ACTIVATION_REFUSED",
                &opaque,
                "PORCUPINE_KEY_REFUSED",
                &["refused the AccessKey"],
            ),
            (
                "ACTIVATION_LIMIT_REACHED",
                &opaque,
                "PORCUPINE_KEY_USED_UP",
                &["used up"],
            ),
            ("ACTIVATION_THROTTLED", &opaque, "PORCUPINE_THROTTLED", &["wait"]),
            (
                "INVALID_ARGUMENT",
                &["a: Platform is not supported by this AccessKey."],
                "PORCUPINE_KEY_REFUSED",
                &["not for this kind of machine"],
            ),
            ("OUT_OF_MEMORY", &[], "PORCUPINE_FAILED", &["OUT_OF_MEMORY"]),
        ];
        for (status, stack, reason, words) in cases {
            let refusal = refusal(status, stack);
            let text = refusal.to_string();
            assert_eq!(refusal.reason(), reason, "{text}");
            for words in words {
                assert!(text.contains(words), "{words}: {text}");
            }
            assert!(!format!("{refusal:?} {text}").contains(KEY), "{text}");
        }
    }

    #[test]
    fn only_what_may_pass_by_itself_is_tried_again() {
        let again = |status: &str| matches!(StartupError::from(refusal(status, &[])), StartupError::Engine(_));
        assert!(again("ACTIVATION_ERROR") && again("ACTIVATION_THROTTLED"));
        assert!(!again("ACTIVATION_REFUSED") && !again("ACTIVATION_LIMIT_REACHED"));
    }
}

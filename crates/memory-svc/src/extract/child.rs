//! The process that reads one untrusted document: this very program, started again with [`SUBCOMMAND`]. It gets the document
//! on its standard input, says what it read on its standard output, and can do nothing else: its memory and its time are
//! limited, and on Linux it may open no file and reach no network (Landlock, where the kernel has it).

use std::io::{Read, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};
use solo_documents::{Extracted, Format, Language, MediaType, Refusal, STACK_BYTES};
use solo_service::{Extra, cpu};

/// What the program is called with to read a document.
pub const SUBCOMMAND: &str = "read-document";
const TASK: &str = "TASK";
/// Panics that are told on standard error: a parser may give up on each of a thousand pages.
const TOLD_PANICS: usize = 3;

/// What the child is asked, as JSON in its argument.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Task {
    /// [`MediaType::as_str`].
    media_type: String,
    /// Name of the declared character set.
    charset: Option<String>,
    /// Programming language of source code.
    language: Option<Language>,
    /// Longest text, in bytes.
    max_text_bytes: usize,
    /// Memory that it may take, the document itself included, in bytes.
    memory_bytes: u64,
    /// Processor time that it may take, in seconds.
    cpu_s: u64,
}

impl Task {
    pub(super) fn new(format: Format, max_text_bytes: usize, memory_bytes: u64, cpu_s: u64) -> Self {
        Self {
            media_type: format.media_type.as_str().to_owned(),
            charset: format.charset.map(|charset| charset.name().to_owned()),
            language: format.language,
            max_text_bytes,
            memory_bytes,
            cpu_s,
        }
    }

    fn format(&self) -> Option<Format> {
        let media_type = MediaType::ALL
            .into_iter()
            .find(|known| known.as_str() == self.media_type)?;
        let charset = self.charset.as_ref();
        Some(Format {
            media_type,
            charset: charset.and_then(|name| encoding_rs::Encoding::for_label(name.as_bytes())),
            language: self.language,
        })
    }
}

/// What the child answers.
pub(super) type Answer = Result<Extracted, Refusal>;

/// The child's command line, which nobody types.
pub fn command() -> Extra {
    Extra {
        command: clap::Command::new(SUBCOMMAND)
            .hide(true)
            .arg(clap::Arg::new(TASK).required(true)),
        run: |arguments| {
            let task = arguments.get_one::<String>(TASK).map_or("", String::as_str);
            match run(task) {
                Ok(()) => ExitCode::SUCCESS,
                Err(problem) => {
                    eprintln!("{problem}");
                    ExitCode::FAILURE
                }
            }
        },
    }
}

fn run(task: &str) -> Result<(), String> {
    let task: Task =
        serde_json::from_str(task).map_err(|error| format!("{SUBCOMMAND} wants a task in JSON: {error}"))?;
    let format = task
        .format()
        .ok_or_else(|| format!("`{}` is no format that is read", task.media_type))?;
    limit(&task)?;
    cpu::let_others_go_first();
    quieten_panics();
    let parse = move || {
        let mut content = Vec::new();
        let read = std::io::stdin().lock().read_to_end(&mut content);
        read.map_err(|error| format!("the document cannot be read: {error}"))?;
        Ok::<Answer, String>(solo_documents::extract(format, content, task.max_text_bytes))
    };
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(parse);
    let thread = thread.map_err(|error| format!("no thread to read with: {error}"))?;
    let answer: Answer = match thread.join() {
        Ok(answer) => answer?,
        // The hook has told it.
        Err(_) => return Err("the parser gave up".into()),
    };
    let answer = serde_json::to_vec(&answer).map_err(|error| error.to_string())?;
    let mut output = std::io::stdout().lock();
    output
        .write_all(&answer)
        .and_then(|()| output.flush())
        .map_err(|error| error.to_string())
}

/// Gives up what a parser does not need.
#[cfg(unix)]
fn limit(task: &Task) -> Result<(), String> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let set = |resource, value| {
        let limit = Rlimit {
            current: Some(value),
            maximum: Some(value),
        };
        setrlimit(resource, limit).map_err(|error| format!("the limit {resource:?} cannot be set: {error}"))
    };
    set(Resource::Data, task.memory_bytes + STACK_BYTES as u64)?;
    set(Resource::Cpu, task.cpu_s)?;
    set(Resource::Core, 0)?;
    set(Resource::Fsize, 0)?;
    #[cfg(target_os = "linux")]
    {
        use landlock::{ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr};
        // What the kernel knows of these is forbidden, and nothing is allowed; older ones know less.
        Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(ABI::V5))
            .and_then(|rules| rules.handle_access(AccessNet::from_all(ABI::V5)))
            .and_then(Ruleset::create)
            .and_then(landlock::RulesetCreated::restrict_self)
            .map_err(|error| format!("files cannot be put out of reach: {error}"))?;
    }
    Ok(())
}

/// Elsewhere the parent's clock is the only limit.
#[cfg(not(unix))]
fn limit(_: &Task) -> Result<(), String> {
    Ok(())
}

/// Panics are told in a line: where the parser stands is of no use to whoever wrote the document.
fn quieten_panics() {
    static TOLD: AtomicUsize = AtomicUsize::new(0);
    std::panic::set_hook(Box::new(|panic| {
        if TOLD.fetch_add(1, Ordering::Relaxed) < TOLD_PANICS {
            let message = panic.payload_as_str().unwrap_or("it panicked");
            eprintln!("{}", solo_documents::one_line(message, 200));
        }
    }));
}

//! The commands, one file each, and the way from what was typed to the one that does it.

pub mod ask;
pub mod chat;
pub mod completions;
pub mod config;
pub mod doctor;
#[cfg(unix)]
pub mod down;
pub mod forget;
pub mod logs;
pub mod memory;
mod memory_service;
#[cfg(unix)]
pub mod ps;
pub mod quantize;
pub mod remember;
#[cfg(unix)]
pub mod restart;
pub mod say;
pub mod search;
pub mod status;
pub mod talk;
pub mod transcribe;
pub mod up;
pub mod wake;
pub mod watch;

use std::io::Read;
use std::process::ExitCode;

use solo_service::config::Inputs;

use crate::cli::{Cli, Command, Common};
use crate::failure::{EXIT_CODES, Exit, Failure};
use crate::settings::Settings;
use crate::{models, terminal};

/// Runs what was typed.
pub async fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let Common {
        config,
        set,
        json,
        offline,
        endpoint,
    } = cli.common;
    // These need no configuration, and must work when it is wrong.
    match cli.command {
        Command::Completions(arguments) => return completions::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::ExitCodes => return terminal::line(EXIT_CODES).map(|()| ExitCode::SUCCESS),
        Command::Version => return version(json).map(|()| ExitCode::SUCCESS),
        _ => {}
    }
    let mut inputs = Inputs::from_process();
    inputs.file = config.or(inputs.file);
    inputs.flags = set;
    if let Command::Config(command) = cli.command {
        return config::run(&command, &inputs, json).await.map(ExitCode::from);
    }
    if let Command::Doctor { compose } = cli.command {
        if compose {
            return doctor::compose(&inputs, json).map(ExitCode::from);
        }
        return doctor::run(inputs, json, offline).await.map(ExitCode::from);
    }
    let mut settings = Settings::load(inputs, json, offline)?;
    if let Some(endpoint) = endpoint {
        settings.gateway = endpoint;
    }
    match cli.command {
        Command::Up(arguments) => up::run(&settings, &arguments).await?,
        #[cfg(unix)]
        Command::Down => down::run(&settings).await?,
        #[cfg(unix)]
        Command::Ps => ps::run(&settings).await?,
        #[cfg(unix)]
        Command::Restart { service, timeout } => restart::run(&settings, service, timeout).await?,
        #[cfg(not(unix))]
        Command::Down | Command::Ps | Command::Restart { .. } => return Err(up::unsupported()),
        Command::Logs(arguments) => logs::run(&settings, &arguments).await?,
        Command::Talk(arguments) => talk::run(&settings, &arguments).await?,
        Command::Chat(arguments) => chat::run(&settings, &arguments).await?,
        Command::Ask(arguments) => ask::run(&settings, &arguments).await?,
        Command::Say(arguments) => say::run(&settings, &arguments).await?,
        Command::Transcribe(arguments) => transcribe::run(&settings, &arguments).await?,
        Command::Remember(arguments) => remember::run(&settings, &arguments).await?,
        Command::Search(arguments) => search::run(&settings, &arguments).await?,
        Command::Wake(command) => wake::run(&settings, &command).await?,
        Command::Forget(arguments) => forget::run(&settings, &arguments).await?,
        Command::Memory(command) => memory::run(&settings, &command).await?,
        Command::Watch(command) => watch::run(&settings, &command).await?,
        Command::Quantize(arguments) => quantize::run(&settings, &arguments).await?,
        Command::Status => return status::run(&settings).await.map(ExitCode::from),
        Command::Models(command) => {
            let models = models::Settings {
                models_dir: settings.global.models_dir.clone(),
                config_file: Settings::writable_file(&settings.inputs),
                inputs: settings.inputs.clone(),
                json,
                offline,
            };
            return Ok(models::run(command, &models).await?);
        }
        // Done above.
        Command::Completions(_)
        | Command::ExitCodes
        | Command::Version
        | Command::Config(_)
        | Command::Doctor { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn version(json: bool) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    if json {
        let target = format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH);
        return terminal::json(&serde_json::json!({"name": "solo", "version": version, "target": target}));
    }
    terminal::line(format_args!("solo {version}"))
}

/// Text from the command line; `-` is standard input. Empty text is refused here, where the remedy is known.
pub fn text_of(words: &[String]) -> Result<String, Failure> {
    let text = if words == ["-"] {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .map_err(|e| Failure::failed(format!("standard input cannot be read as text: {e}")))?;
        text
    } else {
        words.join(" ")
    };
    let text = text.trim();
    if text.is_empty() {
        return Err(
            Failure::new(Exit::Usage, "there is no text").help("give it in quotes, or `-` to read standard input")
        );
    }
    Ok(text.to_owned())
}

/// The bytes of a file; `-` is standard input.
pub fn bytes_of(path: &std::path::Path) -> Result<Vec<u8>, Failure> {
    let read = if path.as_os_str() == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(path)
    };
    read.map_err(|e| Failure::failed(format!("{} cannot be read: {e}", path.display())))
}

/// Writes a file; `-` is standard output.
pub fn write_file(path: &std::path::Path, bytes: &[u8]) -> Result<(), Failure> {
    if path.as_os_str() == "-" {
        return terminal::bytes(bytes);
    }
    std::fs::write(path, bytes).map_err(|e| Failure::failed(format!("{} cannot be written: {e}", path.display())))
}

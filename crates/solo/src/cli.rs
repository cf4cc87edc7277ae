//! What can be typed. Each command's own arguments stand in its file under `commands/`.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::commands::{
    ask, chat, completions, config, forget, logs, memory, quantize, remember, say, search, talk, transcribe, up, wake,
    watch,
};
use crate::failure::EXIT_CODES;
use crate::models;
use crate::services::{self, Service};

/// Solo, a private voice assistant: nothing leaves this machine.
#[derive(Debug, Parser)]
#[command(name = "solo", version, after_help = EXIT_CODES, arg_required_else_help = true, max_term_width = 110)]
pub struct Cli {
    /// Flags of all commands.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of all commands.
#[derive(Debug, Clone, clap::Args)]
pub struct Common {
    /// Configuration file [default: solo/solo.toml in your configuration folder]
    #[arg(long, global = true, value_name = "FILE", env = "SOLO_CONFIG", hide_env = true)]
    pub config: Option<PathBuf>,
    /// Overrides one key, as in `--set stt.threads=2`; may be given several times
    #[arg(long, global = true, value_name = "SECTION.KEY=VALUE", value_parser = key_value)]
    pub set: Vec<(String, String)>,
    /// JSON instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// Touch no network beyond this machine (only `solo models pull` ever does)
    #[arg(long, global = true, env = "SOLO_OFFLINE", hide_env = true, value_parser = clap::builder::FalseyValueParser::new())]
    pub offline: bool,
    /// gRPC address of the gateway, wherever it runs [default: global.endpoints.gateway]
    #[arg(long, global = true, value_name = "URL", env = "SOLO_ENDPOINT", hide_env = true)]
    pub endpoint: Option<String>,
}

/// What `solo` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start all services and watch over them
    Up(up::Arguments),
    /// Stop all services
    Down,
    /// Show the services: state, process, model, memory
    Ps,
    /// Restart a service; the running turn finishes
    Restart {
        /// For instance stt-svc, or just stt
        #[arg(value_name = "SERVICE", value_parser = services::parse)]
        service: &'static Service,
        /// Seconds to wait until it serves again
        #[arg(long, value_name = "SECONDS", default_value_t = 120)]
        timeout: u64,
    },
    /// Show what services have logged
    Logs(logs::Arguments),
    /// Talk with Solo, on a microphone and a loudspeaker or out of a recording
    Talk(talk::Arguments),
    /// Write with Solo, line by line
    Chat(chat::Arguments),
    /// Ask one question
    Ask(ask::Arguments),
    /// Turn text into speech
    Say(say::Arguments),
    /// Turn speech into text
    Transcribe(transcribe::Arguments),
    /// Tell Solo something to remember
    Remember(remember::Arguments),
    /// Keep folders in Solo's memory
    #[command(subcommand)]
    Watch(watch::Command),
    /// Take something out of Solo's memory, for good
    Forget(forget::Arguments),
    /// Look after what Solo remembers
    #[command(subcommand)]
    Memory(memory::Command),
    /// Search what Solo remembers
    Search(search::Arguments),
    /// List, show, fetch, check, remove and choose models
    #[command(subcommand)]
    Models(models::Command),
    /// List the wake words, and measure how well they are heard
    #[command(subcommand)]
    Wake(wake::Command),
    /// Store a model's weights in fewer bits
    Quantize(quantize::Arguments),
    /// Read and change the configuration
    #[command(subcommand)]
    Config(config::Command),
    /// Show all services as the gateway sees them
    Status,
    /// Look for what keeps Solo from working, and say how to mend it
    Doctor {
        /// Look at Solo in containers instead: engine, images, ports, what each container says
        #[arg(long)]
        compose: bool,
    },
    /// Print the completions for a shell
    Completions(completions::Arguments),
    /// Explain the exit codes
    #[command(long_about = EXIT_CODES)]
    ExitCodes,
    /// Print the version
    Version,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("SECTION.KEY=VALUE is wanted")?;
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn exit_codes_are_in_the_help() {
        let help = Cli::command().render_help().to_string();
        assert!(help.contains("66  a model is not installed"), "{help}");
    }

    #[test]
    fn a_mistyped_flag_gets_a_hint() {
        let error = Cli::try_parse_from(["solo", "up", "--detatch"])
            .unwrap_err()
            .to_string();
        assert!(error.contains("--detach"), "{error}");
        let error = Cli::try_parse_from(["solo", "restart", "sst"]).unwrap_err().to_string();
        assert!(error.contains("stt-svc"), "{error}");
    }

    #[test]
    fn json_may_stand_anywhere() {
        assert!(Cli::try_parse_from(["solo", "--json", "ps"]).unwrap().common.json);
        assert!(Cli::try_parse_from(["solo", "ps", "--json"]).unwrap().common.json);
    }
}

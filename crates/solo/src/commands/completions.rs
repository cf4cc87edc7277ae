//! `solo completions SHELL`.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::failure::Failure;
use crate::terminal;

/// What `solo completions` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// bash, zsh, fish, elvish or powershell
    pub shell: Shell,
}

/// Prints the script, made in memory first: the generator panics when it cannot write.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "solo", &mut script);
    terminal::bytes(&script)
}

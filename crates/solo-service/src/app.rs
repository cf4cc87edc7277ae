//! The command line that every service binary has: `run`, `check-config`, `probe`; and whatever commands of its own a
//! service brings along.

use std::future::Future;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use tokio_util::sync::CancellationToken;

use crate::config::{self, GlobalConfig, Inputs, ServiceConfig};
use crate::server::{self, Control};
use crate::service::{Context, Definition, Service, StartupError, exit};
use crate::telemetry::Telemetry;
use crate::{cpu, environment, error, parent, probe};

/// What a service may still take when its runner is gone.
const ORPHAN_GRACE: Duration = Duration::from_secs(2);

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    source: Source,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Args)]
struct Source {
    /// Configuration file
    #[arg(long, global = true, value_name = "FILE", env = "SOLO_CONFIG")]
    config: Option<PathBuf>,
    /// Overrides one key, as in `--set stt.threads=2`; may be given several times
    #[arg(long, global = true, value_name = "SECTION.KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
}

#[derive(Subcommand, Clone, Copy)]
enum Command {
    /// Runs the service (what happens without a command)
    Run,
    /// Checks the configuration and names everything that is wrong with it
    CheckConfig,
    /// Asks the running service whether it is SERVING: exit code 0 if so
    Probe {
        /// Where the last one found it SERVING, ask on for so long, and end early only when it is not any more
        #[arg(long, value_name = "SECONDS", default_value_t = 0)]
        hold: u64,
    },
}

/// A command of a service's own, beside those that all have. It is told its arguments and nothing else: no configuration
/// is read for it.
pub struct Extra {
    /// What can be typed.
    pub command: clap::Command,
    /// Does it.
    pub run: fn(&clap::ArgMatches) -> ExitCode,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("SECTION.KEY=VALUE is wanted")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// The whole of a service's `main`.
pub fn main<C, F, Fut>(definition: Definition, build: F) -> ExitCode
where
    C: ServiceConfig,
    F: FnOnce(C, Context) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Service, StartupError>> + Send,
{
    main_with(definition, Vec::new(), build)
}

/// [`main`] with commands of the service's own.
pub fn main_with<C, F, Fut>(definition: Definition, extras: Vec<Extra>, build: F) -> ExitCode
where
    C: ServiceConfig,
    F: FnOnce(C, Context) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Service, StartupError>> + Send,
{
    let missing = cpu::missing_features();
    if !missing.is_empty() {
        eprintln!(
            "error: this build of {} needs a CPU with {}; build it on this machine, or take the baseline build",
            definition.name,
            missing.join(", ")
        );
        return ExitCode::from(exit::UNAVAILABLE);
    }
    cpu::become_best();
    let command = Cli::command()
        .name(definition.name)
        .bin_name(definition.name)
        .version(definition.version)
        .subcommands(extras.iter().map(|extra| extra.command.clone()));
    let matches = command.get_matches();
    if let Some((name, arguments)) = matches.subcommand()
        && let Some(extra) = extras.iter().find(|extra| extra.command.get_name() == name)
    {
        return (extra.run)(arguments);
    }
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let command = cli.command.unwrap_or(Command::Run);
    if matches!(command, Command::Run) {
        environment::settle(definition.environment);
    }
    let mut inputs = Inputs::from_process();
    inputs.file = cli.source.config.or(inputs.file);
    inputs.flags = cli.source.set;
    let (global, config) = match config::load::<C>(definition.section, definition.defaults, &inputs) {
        Ok(loaded) => loaded,
        Err(faults) => {
            complain(format_args!("{faults}"));
            return ExitCode::from(exit::CONFIG);
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(format_args!("no asynchronous runtime: {error}"));
            return ExitCode::from(exit::UNAVAILABLE);
        }
    };
    match command {
        Command::CheckConfig => {
            let file = inputs.resolved_file();
            let from = file.map_or_else(|| "embedded defaults".into(), |file| file.display().to_string());
            println!("{}: the configuration is valid ({from})", definition.name);
            ExitCode::SUCCESS
        }
        Command::Probe { hold } => {
            let hold = Duration::from_secs(hold);
            runtime.block_on(probe::probe(definition.name, &global, config.listen(), hold))
        }
        Command::Run => run(&runtime, definition, global, config, build),
    }
}

fn run<C, F, Fut>(
    runtime: &tokio::runtime::Runtime,
    definition: Definition,
    global: GlobalConfig,
    config: C,
    build: F,
) -> ExitCode
where
    C: ServiceConfig,
    F: FnOnce(C, Context) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Service, StartupError>> + Send,
{
    let stop = CancellationToken::new();
    let orphaned = stop.clone();
    let runner_gone = move || {
        orphaned.cancel();
        std::thread::sleep(ORPHAN_GRACE);
        std::process::exit(0);
    };
    if let Err(error) = parent::watch(runner_gone) {
        complain(format_args!("the runner cannot be watched: {error}"));
        return ExitCode::from(exit::UNAVAILABLE);
    }
    let (outcome, telemetry) = runtime.block_on(async {
        let telemetry = match Telemetry::install(definition.name, &global) {
            Ok(telemetry) => telemetry,
            Err(error) => return (Err(StartupError::Engine(error)), None),
        };
        if let Err(error) = stop_on_signal(stop.clone()) {
            return (Err(StartupError::other(error)), Some(telemetry));
        }
        let listen = config.listen();
        let control = Control { stop, bound: None };
        let outcome = server::run(definition, global, listen, control, |context| build(config, context)).await;
        (outcome, Some(telemetry))
    });
    let code = match &outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(format_args!("{}", error::chain(error)));
            ExitCode::from(error.exit_code())
        }
    };
    // The exporter's own tasks need the runtime until it has sent what is left.
    let _entered = runtime.enter();
    if let Some(telemetry) = telemetry {
        telemetry.flush();
    }
    code
}

/// Says what went wrong, if anybody is left to read it: `eprintln!` would panic on a closed stderr.
pub(crate) fn complain(what: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "error: {what}");
}

/// SIGTERM and Ctrl-C drain; a second one ends at once.
fn stop_on_signal(stop: CancellationToken) -> std::io::Result<()> {
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::spawn(async move {
        loop {
            #[cfg(unix)]
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            #[cfg(not(unix))]
            let _ = tokio::signal::ctrl_c().await;
            if stop.is_cancelled() {
                std::process::exit(130);
            }
            stop.cancel();
        }
    });
    Ok(())
}

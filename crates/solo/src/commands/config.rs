//! `solo config`: what counts, and one key at a time. Comments in the file survive; a change that a service would refuse
//! is not written.

mod check;
mod edit;

use solo_service::config::Inputs;
use toml::Value;

pub use check::{Checked, check_binaries};

use crate::failure::{Exit, Failure};
use crate::sections;
use crate::settings::{Settings, invalid};
use crate::terminal::{self, BAD, FAINT, GOOD, paint};

/// What `solo config` can do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Print what counts: a key, a section, or everything
    Get {
        /// For instance llm.model, or llm
        #[arg(value_name = "KEY")]
        key: Option<String>,
    },
    /// Change a key in the file
    Set {
        /// For instance llm.model
        #[arg(value_name = "KEY")]
        key: String,
        /// The new value; a list as `a,b` or `["a", "b"]`
        #[arg(value_name = "VALUE", allow_hyphen_values = true)]
        value: String,
    },
    /// Take a key out of the file: its default counts again
    Unset {
        /// For instance llm.model
        #[arg(value_name = "KEY")]
        key: String,
    },
    /// Print the file's path
    Path,
    /// Let every service check the configuration
    Check,
}

/// Runs one of them.
pub async fn run(command: &Command, inputs: &Inputs, json: bool) -> Result<Exit, Failure> {
    let file = Settings::writable_file(inputs);
    match command {
        Command::Get { key } => get(key.as_deref(), inputs, json)?,
        Command::Path if json => {
            terminal::json(&serde_json::json!({"path": file, "exists": file.exists()}))?;
        }
        Command::Path => terminal::line(file.display())?,
        Command::Set { key, value } => {
            let value = edit::parse(&sections::default_of(key)?, key, value)?;
            let remark = edit::change(&file, inputs, key, Some(&value)).await?;
            changed(json, key, Some(&value), remark.as_deref())?;
        }
        Command::Unset { key } => {
            sections::default_of(key)?;
            let remark = edit::change(&file, inputs, key, None).await?;
            changed(json, key, None, remark.as_deref())?;
        }
        Command::Check => return check(inputs, json).await,
    }
    Ok(Exit::Ok)
}

/// Changes a key in the file because of what another command did.
pub(super) async fn write(inputs: &Inputs, key: &str, value: &Value) -> Result<(), Failure> {
    let file = Settings::writable_file(inputs);
    if let Some(remark) = edit::change(&file, inputs, key, Some(value)).await? {
        terminal::remark(remark);
    }
    Ok(())
}

fn get(key: Option<&str>, inputs: &Inputs, json: bool) -> Result<(), Failure> {
    let wanted: Vec<&str> = match key {
        Some(key) => {
            sections::default_of(key)?;
            vec![key.split('.').next().unwrap_or(key)]
        }
        None => solo_service::config::SECTIONS.to_vec(),
    };
    let mut all = toml::Table::new();
    for section in wanted {
        let table = sections::effective(section, inputs).map_err(|faults| invalid(&faults))?;
        all.insert(section.to_owned(), Value::Table(table));
    }
    let all = Value::Table(all);
    let value = match key {
        Some(key) => sections::at(&all, key)
            .cloned()
            .ok_or_else(|| Failure::failed(format!("{key} has no value")))?,
        None => all,
    };
    if json {
        return terminal::json(&value);
    }
    match (&value, key) {
        (Value::String(text), Some(_)) => terminal::line(text),
        (Value::Table(_), _) => {
            let mut lines = Vec::new();
            sections::leaves(&value, key.unwrap_or_default().to_owned(), &mut |key, value| {
                lines.push(format!("{key} = {value}"))
            });
            terminal::line(lines.join("\n"))
        }
        (value, _) => terminal::line(value),
    }
}

fn changed(json: bool, key: &str, value: Option<&Value>, remark: Option<&str>) -> Result<(), Failure> {
    if let Some(remark) = remark {
        terminal::remark(remark);
    }
    let section = key.split('.').next().unwrap_or(key);
    if json {
        return terminal::json(&serde_json::json!({"key": key, "value": value}));
    }
    match value {
        Some(value) => terminal::line(format_args!("{key} = {value}"))?,
        None => terminal::line(format_args!("{key} has its default again"))?,
    }
    let who = crate::services::find(section).map_or_else(
        || "`solo down`, then `solo up`, makes".to_owned(),
        |service| format!("`solo restart {}` makes", service.name),
    );
    terminal::remark(paint(FAINT, format_args!("{who} a running Solo use it")));
    Ok(())
}

async fn check(inputs: &Inputs, json: bool) -> Result<Exit, Failure> {
    let checked = check_binaries(inputs, inputs.resolved_file().as_deref()).await?;
    let good = checked.iter().all(|checked| checked.ok);
    if json {
        terminal::json(&checked)?;
    } else {
        for Checked { service, ok, message } in &checked {
            let mark = if *ok { paint(GOOD, "✓") } else { paint(BAD, "✗") };
            terminal::line(format_args!(
                "{mark} {service:<10} {}",
                message.replace('\n', "\n             ")
            ))?;
        }
    }
    Ok(if good { Exit::Ok } else { Exit::Configuration })
}

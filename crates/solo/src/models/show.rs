//! `solo models show`: what a model file says of itself, what it takes, and whether this machine can hold it.
//!
//! Only the header is read, and with distrust (`solo_models::gguf`): the file may come from anywhere.

mod card;
mod machine;
mod view;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use solo_models::gguf::{Facts, GgufError, Header};
use solo_models::{MissingModel, locate};

use super::Settings;
use crate::failure::{Exit, Failure};
use crate::terminal;

/// What `solo models show` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A model of `solo models list`, or a GGUF file
    #[arg(value_name = "ID|FILE")]
    model: String,
    /// Print the chat template as it stands in the file, and nothing else
    #[arg(long)]
    template: bool,
    /// Tokens of context to plan for [default: 4096, or what the model was trained for if that is less]
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..=1 << 30))]
    context: Option<u32>,
}

pub(super) fn show(arguments: &Arguments, settings: &Settings) -> anyhow::Result<ExitCode> {
    let path = find(&arguments.model, settings)?;
    let (header, facts) = open(&path)?;
    if arguments.template {
        let Some(template) = &facts.chat_template else {
            let message = format!("{} has no chat template", path.display());
            return Err(Failure::failed(message)
                .help("such a model only continues text: the services answer with models that have one")
                .into());
        };
        if settings.json {
            terminal::json(&serde_json::json!({ "chat_template": template }))?;
        } else {
            terminal::line(template)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let context = arguments.context.unwrap_or(facts.trained_context.min(4096));
    let card = card::Card::of(&path, &header, &facts, context, &machine::budgets());
    if settings.json {
        terminal::json(&card)?;
    } else {
        terminal::line(view::text(&card))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The file that is meant: whatever looks like a path is one.
fn find(model: &str, settings: &Settings) -> Result<PathBuf, Failure> {
    let path = Path::new(model);
    let is_path = path.components().count() > 1
        || path.is_absolute()
        || path
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"));
    if is_path || path.is_file() {
        return match std::fs::metadata(path) {
            Ok(found) if found.is_dir() => Err(Failure::failed(format!("{model} is a folder"))
                .help("name the .gguf file in it; `solo quantize` makes one of a folder of safetensors")),
            // A pipe or a device has no length to hold its header against.
            Ok(found) if !found.is_file() => Err(Failure::failed(format!("{model} is no ordinary file"))),
            Ok(_) => Ok(path.to_owned()),
            Err(error) => Err(Failure::failed(format!("{model} cannot be read: {error}"))),
        };
    }
    locate(&settings.models_dir, model, "model").map_err(|missing| match missing {
        MissingModel::NotInstalled { .. } => Failure::new(
            Exit::MissingModel,
            format!(
                "model \"{model}\" is not installed in {}",
                settings.models_dir.display()
            ),
        )
        .help(format!("run `solo models pull {model}`")),
        other => Failure::failed(other.to_string()).help("a file is named by its path, for instance ./model.gguf"),
    })
}

fn open(path: &Path) -> Result<(Header, Facts), Failure> {
    let read = Header::open(path).and_then(|header| Ok((Facts::of(&header)?, header)));
    let (facts, header) = read.map_err(|error| {
        let failure = Failure::failed(format!("{} is no model that can be shown: {error}", path.display()));
        match error {
            GgufError::NotGguf => failure.help("only language models in GGUF files have a header to show"),
            GgufError::CutShort { .. } => failure.help("fetch it again: it was not fetched whole, or is damaged"),
            _ => failure,
        }
    })?;
    Ok((header, facts))
}

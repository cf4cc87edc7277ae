//! `solo models rm`: frees the space of models, or of interrupted downloads.

use std::fs;
use std::process::ExitCode;

use anyhow::Context;
use serde_json::json;
use solo_models::Manifest;

use super::Settings;
use super::store::{Store, size_of};
use crate::failure::{Exit, Failure};
use crate::terminal::{self, human_bytes};

/// What `solo models rm` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Models to remove
    #[arg(value_name = "ID", required_unless_present = "partial")]
    ids: Vec<String>,
    /// Remove what interrupted downloads left
    #[arg(long)]
    partial: bool,
}

pub(super) fn remove(arguments: &Arguments, settings: &Settings) -> anyhow::Result<ExitCode> {
    let manifest = Manifest::embedded();
    // All are looked at before any is removed.
    for id in &arguments.ids {
        let model = manifest.require(id)?;
        if !settings.models_dir.join(&model.id).is_dir() {
            let message = format!("model \"{id}\" is not installed in {}", settings.models_dir.display());
            return Err(Failure::new(Exit::MissingModel, message)
                .help("`solo models list` shows what is")
                .into());
        }
    }
    let store = Store::open(&settings.models_dir)?;
    let mut freed = 0;
    let mut folders: Vec<_> = arguments.ids.iter().map(|id| store.dir().join(id)).collect();
    if arguments.partial {
        folders.push(store.staging());
    }
    for folder in folders.iter().filter(|folder| folder.exists()) {
        let bytes = size_of(folder);
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        freed += bytes;
    }
    if settings.json {
        terminal::json(&json!({ "removed": arguments.ids, "freed_bytes": freed }))?;
    } else {
        terminal::line(format!("{} freed", human_bytes(freed)))?;
    }
    for model in manifest
        .models
        .iter()
        .filter(|model| settings.models_dir.join(&model.id).is_dir())
    {
        for gone in model
            .requires
            .iter()
            .filter(|required| arguments.ids.contains(required))
        {
            terminal::remark(format!(
                "{} is still installed and needs {gone}: `solo models pull {gone}`",
                model.id
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}

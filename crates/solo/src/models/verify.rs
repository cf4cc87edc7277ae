//! `solo models verify`: are installed files still what they should be?

use std::process::ExitCode;

use serde::Serialize;
use solo_models::{Manifest, Model, check};

use super::Settings;
use super::progress::Progress;
use crate::failure::{Exit, Failure};
use crate::terminal::{self, human_bytes};

/// A checked model as programs read it.
#[derive(Debug, Serialize)]
struct Row<'a> {
    id: &'a str,
    ok: bool,
    /// What is wrong, each with its remedy.
    faults: Vec<String>,
}

pub(super) fn verify(ids: &[String], settings: &Settings) -> anyhow::Result<ExitCode> {
    let manifest = Manifest::embedded();
    let models: Vec<&Model> = if ids.is_empty() {
        // A model of which only some files are left is one to complain about.
        manifest
            .models
            .iter()
            .filter(|model| settings.models_dir.join(&model.id).is_dir())
            .collect()
    } else {
        ids.iter().map(|id| manifest.require(id)).collect::<Result<_, _>>()?
    };
    if models.is_empty() {
        let message = format!("no model is installed in {}", settings.models_dir.display());
        return Err(Failure::new(Exit::MissingModel, message)
            .help("run `solo models pull`")
            .into());
    }

    let mut rows = Vec::new();
    for model in models {
        let progress = Progress::new(&model.id, model.bytes);
        let faults = check(&settings.models_dir, model, |bytes| progress.add(bytes));
        drop(progress);
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        if !settings.json {
            match faults.as_slice() {
                [] => terminal::line(format!("ok       {} ({})", model.id, human_bytes(model.bytes)))?,
                faults => faults
                    .iter()
                    .try_for_each(|fault| terminal::line(format!("not ok   {}: {fault}", model.id)))?,
            }
        }
        rows.push(Row {
            id: &model.id,
            ok: faults.is_empty(),
            faults,
        });
    }
    if settings.json {
        terminal::json(&rows)?;
    }
    Ok(if rows.iter().all(|row| row.ok) {
        ExitCode::SUCCESS
    } else {
        Exit::Failed.into()
    })
}

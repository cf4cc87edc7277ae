//! `solo models list`: every model as a table or as JSON.

use std::path::PathBuf;
use std::process::ExitCode;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;
use solo_models::{Manifest, Model, is_installed};

use super::Settings;
use crate::terminal::{self, human_bytes};

/// One model as programs read it.
#[derive(Debug, Serialize)]
struct Row<'a> {
    id: &'a str,
    kind: &'static str,
    title: &'a str,
    bytes: u64,
    installed: bool,
    default: bool,
    /// The better chat model for this machine's memory.
    recommended: bool,
    licence: &'a str,
    home: &'a str,
    path: PathBuf,
}

pub(super) fn list(settings: &Settings) -> anyhow::Result<ExitCode> {
    let manifest = Manifest::embedded();
    let recommended = recommended(manifest).map(|model| model.id.as_str());
    let available = manifest.models.iter().filter(|model| !model.files.is_empty());
    let rows: Vec<Row> = available
        .map(|model| Row {
            id: &model.id,
            kind: model.kind.as_str(),
            title: &model.title,
            bytes: model.bytes,
            installed: is_installed(&settings.models_dir, model),
            default: manifest.is_default(&model.id),
            recommended: recommended == Some(model.id.as_str()),
            licence: &model.licence,
            home: &model.home,
            path: settings.models_dir.join(&model.id),
        })
        .collect();
    if settings.json {
        terminal::json(&rows)?;
    } else {
        terminal::line(table(&rows))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The better chat model for this machine, if there is one.
pub(super) fn recommended(manifest: &Manifest) -> Option<&Model> {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    manifest.recommended_chat(system.total_memory())
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["MODEL", "KIND", "SIZE", "INSTALLED", "DEFAULT", "LICENCE", "WHAT IT IS"]);
    for row in rows {
        let default = match (row.default, row.recommended) {
            (true, _) => "yes",
            (false, true) => "better",
            (false, false) => "",
        };
        let installed = if row.installed { "yes" } else { "" };
        table.add_row([
            row.id,
            row.kind,
            &human_bytes(row.bytes),
            installed,
            default,
            row.licence,
            row.title,
        ]);
    }
    if let Some(size) = table.column_mut(2) {
        size.set_cell_alignment(CellAlignment::Right);
    }
    table
}

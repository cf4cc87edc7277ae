//! `solo watch`: folders whose files Solo knows, and goes on knowing as they change.

use std::path::{Path, PathBuf};
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use solo_proto::memory::v1::{self as memory, AddWatchRequest, ListWatchesRequest, RemoveWatchRequest, WatchState};

use super::memory_service::MemoryService;
use crate::failure::Failure;
use crate::settings::Settings;
use crate::terminal::{self, BAD, FAINT, GOOD, STRONG, WARN, paint};

const BAR: &str = "{bar:24} {pos:>6}/{len:6} files {eta:>5} {wide_msg:.dim}";
/// How often a new watch is asked how far it is.
const ASK: Duration = Duration::from_millis(250);
/// Failures of a folder that are shown before "and so many more".
const SHOWN: usize = 10;

/// What `solo watch` can do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Take a folder in, and every change of it from now on
    Add {
        /// The folder; a `.soloignore` in it says what to leave out, as `.gitignore` does
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
        /// Collection that its documents go to
        #[arg(long, value_name = "NAME", default_value = "default")]
        collection: String,
        /// Do not wait until the folder is taken in
        #[arg(long)]
        detach: bool,
    },
    /// Stop watching a folder, and forget what it brought
    Rm {
        /// The folder, or the watch's identifier
        #[arg(value_name = "FOLDER")]
        folder: String,
        /// Keep in memory what it brought
        #[arg(long)]
        keep: bool,
    },
    /// List the watched folders, and what could not be taken in
    List,
}

/// A watch as programs read it.
#[derive(Debug, Serialize)]
struct Row<'a> {
    id: &'a str,
    path: &'a str,
    collection: &'a str,
    state: &'static str,
    files: u64,
    done: u64,
    total: u64,
    unsupported: u64,
    failures: Vec<Failed<'a>>,
    problem: &'a str,
}

/// A file that was not taken in.
#[derive(Debug, Serialize)]
struct Failed<'a> {
    path: &'a str,
    reason: &'a str,
}

impl<'a> From<&'a memory::Watch> for Row<'a> {
    fn from(watch: &'a memory::Watch) -> Self {
        let failures = watch.failures.iter().map(|failure| Failed {
            path: &failure.path,
            reason: &failure.reason,
        });
        Self {
            id: &watch.id,
            path: &watch.path,
            collection: &watch.collection,
            state: state(watch).0,
            files: watch.files,
            done: watch.done,
            total: watch.total,
            unsupported: watch.unsupported,
            failures: failures.collect(),
            problem: &watch.problem,
        }
    }
}

fn state(watch: &memory::Watch) -> (&'static str, anstyle::Style) {
    match watch.state() {
        WatchState::Following => ("following", GOOD),
        WatchState::Waiting => ("waiting", BAD),
        WatchState::Scanning => ("scanning", WARN),
        WatchState::Unspecified => ("unknown", WARN),
    }
}

/// The watched folders.
async fn watches(service: &mut MemoryService) -> Result<Vec<memory::Watch>, Failure> {
    let list = service.client.list_watches(ListWatchesRequest {}).await;
    Ok(list.map_err(service.failed())?.into_inner().watches)
}

/// Does what was asked for.
pub async fn run(settings: &Settings, command: &Command) -> Result<(), Failure> {
    let mut service = MemoryService::connect(settings).await?;
    match command {
        Command::Add {
            folder,
            collection,
            detach,
        } => add(settings, &mut service, folder, collection, *detach).await,
        Command::Rm { folder, keep } => remove(settings, &mut service, folder, *keep).await,
        Command::List => {
            let watches = watches(&mut service).await?;
            show(settings, &watches)
        }
    }
}

async fn add(
    settings: &Settings,
    service: &mut MemoryService,
    folder: &Path,
    collection: &str,
    detach: bool,
) -> Result<(), Failure> {
    let path = std::path::absolute(folder)
        .map_err(|error| Failure::failed(format!("{} is no path: {error}", folder.display())))?;
    let path = path.to_str().ok_or_else(|| {
        Failure::failed(format!("{} is not UTF-8", path.display())).help("give the folder another name")
    })?;
    let request = AddWatchRequest {
        path: path.to_owned(),
        collection: collection.to_owned(),
    };
    let added = service.client.add_watch(request).await.map_err(service.failed())?;
    let mut watch = added.into_inner().watch.unwrap_or_default();
    if !detach {
        watch = taken_in(service, watch).await?;
    }
    show(settings, &[watch])
}

/// Waits until the folder is taken in, or something is in the way. Whoever does not want to wait presses Ctrl-C; the service
/// goes on.
async fn taken_in(service: &mut MemoryService, added: memory::Watch) -> Result<memory::Watch, Failure> {
    let bar = terminal::bar(BAR).with_message("Ctrl-C: it goes on without you");
    loop {
        let watches = watches(service).await?;
        let Some(watch) = watches.into_iter().find(|watch| watch.id == added.id) else {
            bar.finish_and_clear();
            return Err(Failure::failed("the watch was removed meanwhile"));
        };
        bar.set_length(watch.total);
        bar.set_position(watch.done);
        if watch.state() != WatchState::Scanning {
            bar.finish_and_clear();
            return Ok(watch);
        }
        tokio::time::sleep(ASK).await;
    }
}

async fn remove(settings: &Settings, service: &mut MemoryService, named: &str, keep: bool) -> Result<(), Failure> {
    let path = std::path::absolute(named).unwrap_or_default();
    let resolved = path.canonicalize().unwrap_or_else(|_| path.clone());
    let watches = watches(service).await?;
    let is_named = |watch: &&memory::Watch| {
        watch.id == named || Path::new(&watch.path) == path || Path::new(&watch.path) == resolved
    };
    let Some(watch) = watches.iter().find(is_named) else {
        return Err(Failure::failed(format!("{named} is not watched")).help("`solo watch list` shows what is"));
    };
    let request = RemoveWatchRequest {
        id: watch.id.clone(),
        keep_documents: keep,
    };
    let removed = service.client.remove_watch(request).await.map_err(service.failed())?;
    let documents = removed.into_inner().documents;
    if settings.json {
        return terminal::json(&serde_json::json!({ "path": watch.path, "documents": documents }));
    }
    let forgotten = match (keep, documents) {
        (true, _) => "what it brought is kept".to_owned(),
        (false, 1) => "1 document is forgotten".to_owned(),
        (false, documents) => format!("{documents} documents are forgotten"),
    };
    terminal::line(format_args!("{} is not watched any more; {forgotten}", watch.path))
}

fn show(settings: &Settings, watches: &[memory::Watch]) -> Result<(), Failure> {
    if settings.json {
        return terminal::json(&watches.iter().map(Row::from).collect::<Vec<_>>());
    }
    if watches.is_empty() {
        terminal::remark("no folder is watched; `solo watch add FOLDER` begins");
        return Ok(());
    }
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(["FOLDER", "COLLECTION", "STATE", "FILES", "OTHER FORMATS", "REFUSED"]);
    for watch in watches {
        let (state, style) = state(watch);
        let state = if watch.state() == WatchState::Scanning && watch.total > 0 {
            format!("{state} {}/{}", watch.done, watch.total)
        } else {
            state.to_owned()
        };
        table.add_row([
            watch.path.clone(),
            watch.collection.clone(),
            terminal::allowed(&paint(style, state)),
            watch.files.to_string(),
            watch.unsupported.to_string(),
            watch.failures.len().to_string(),
        ]);
    }
    terminal::line(table)?;
    for watch in watches {
        if !watch.problem.is_empty() {
            terminal::line(format_args!(
                "\n{}\n  {}",
                paint(STRONG, &watch.path),
                paint(BAD, &watch.problem)
            ))?;
        }
        if !watch.failures.is_empty() {
            terminal::line(format_args!(
                "\n{}: not taken in, or only in part",
                paint(STRONG, &watch.path)
            ))?;
        }
        for failure in watch.failures.iter().take(SHOWN) {
            let inside = Path::new(&failure.path).strip_prefix(&watch.path);
            let name = inside.map_or(failure.path.as_str(), |inside| inside.to_str().unwrap_or(&failure.path));
            terminal::line(format_args!(
                "  {}  {}",
                name.escape_debug(),
                paint(FAINT, &failure.reason)
            ))?;
        }
        if watch.failures.len() > SHOWN {
            let more = watch.failures.len() - SHOWN;
            terminal::line(format_args!("  and {more} more (--json names them all)"))?;
        }
    }
    Ok(())
}

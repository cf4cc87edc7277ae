//! `solo forget`: takes something out of Solo's memory, for good.

use std::io::{IsTerminal, Write};

use solo_proto::agent::v1::DeleteDialoguesRequest;
use solo_proto::agent::v1::agent_service_client::AgentServiceClient;
use solo_proto::agent::v1::delete_dialogues_request::Selector as Dialogues;
use solo_proto::memory::v1::memory_service_client::MemoryServiceClient;
use solo_proto::memory::v1::{
    DeleteDocumentsRequest, Fact, ForgetRequest, HitKind, ListFactsRequest, SearchFilter, SearchRequest,
    forget_request, search_request,
};
use tonic::Code;
use tonic::transport::Channel;

use super::text_of;
use crate::connection;
use crate::failure::{Exit, Failure};
use crate::services;
use crate::settings::Settings;
use crate::terminal::{self, FAINT, paint};

/// Hits of a search among which one chooses.
const SHOWN: u32 = 5;
/// Facts of a page.
const PAGE: u32 = 1000;

/// What `solo forget` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The identifier of a document or fact, as `solo search --json` and `solo forget --list` name them; or words, to see what
    /// would be meant
    #[arg(required_unless_present_any = ["all", "list"], conflicts_with_all = ["all", "list"], value_name = "WHAT")]
    pub what: Vec<String>,
    /// Everything: documents, facts, collections, watched folders, conversations
    #[arg(long, conflicts_with = "list")]
    pub all: bool,
    /// List the facts that were learnt in conversations
    #[arg(long)]
    pub list: bool,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}

/// Does what was asked for.
pub async fn run(settings: &Settings, arguments: &Arguments) -> Result<(), Failure> {
    let memory = services::parse("memory").map_err(Failure::failed)?;
    let failed = |status: tonic::Status| Failure::from_status(memory.name, &status);
    let mut client = MemoryServiceClient::new(connection::to(settings, memory).await?);
    if arguments.list {
        return list(settings, &mut client).await.map_err(failed)?;
    }
    if arguments.all {
        return everything(settings, &mut client, arguments.yes).await;
    }
    let what = text_of(&arguments.what)?;
    if uuid::Uuid::try_parse(what.trim()).is_ok() {
        let id = what.trim();
        if forget_one(&mut client, id).await.map_err(failed)? {
            return done(settings, id);
        }
        return Err(Failure::failed(format!("there is no document or fact {id}"))
            .help("`solo search` and `solo forget --list` show what there is"));
    }
    let request = SearchRequest {
        query: Some(search_request::Query::Text(what)),
        limit: SHOWN,
        filter: Some(SearchFilter {
            kind: HitKind::Unspecified.into(),
            ..SearchFilter::default()
        }),
        ..SearchRequest::default()
    };
    let hits = client.search(request).await.map_err(failed)?.into_inner().hits;
    if hits.is_empty() {
        terminal::remark("nothing found");
        return Ok(());
    }
    for hit in hits {
        let citation = hit.citation.unwrap_or_default();
        terminal::line(format_args!("{}  {}", citation.document, paint(FAINT, citation.title)))?;
        terminal::line(format_args!("  {}", hit.text.lines().next().unwrap_or_default()))?;
    }
    terminal::remark("nothing is forgotten yet: `solo forget IDENTIFIER` does it");
    Ok(())
}

/// Forgets a document or a fact; false: there is neither.
async fn forget_one(client: &mut MemoryServiceClient<Channel>, id: &str) -> Result<bool, tonic::Status> {
    let ids = vec![id.to_owned()];
    match client.delete_documents(DeleteDocumentsRequest { ids }).await {
        Ok(_) => return Ok(true),
        Err(status) if status.code() == Code::NotFound => {}
        Err(status) => return Err(status),
    }
    let selector = Some(forget_request::Selector::FactId(id.to_owned()));
    match client.forget(ForgetRequest { selector }).await {
        Ok(_) => Ok(true),
        Err(status) if status.code() == Code::NotFound => Ok(false),
        Err(status) => Err(status),
    }
}

fn done(settings: &Settings, id: &str) -> Result<(), Failure> {
    if settings.json {
        return terminal::json(&serde_json::json!({ "forgotten": id }));
    }
    terminal::line(format_args!("forgotten: {id}"))
}

async fn list(
    settings: &Settings,
    client: &mut MemoryServiceClient<Channel>,
) -> Result<Result<(), Failure>, tonic::Status> {
    let mut facts: Vec<Fact> = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListFactsRequest {
            page_size: PAGE,
            page_token,
            include_past: false,
        };
        let page = client.list_facts(request).await?.into_inner();
        facts.extend(page.facts);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    Ok(show(settings, &facts))
}

fn show(settings: &Settings, facts: &[Fact]) -> Result<(), Failure> {
    if settings.json {
        let rows: Vec<_> = facts
            .iter()
            .map(|fact| serde_json::json!({ "id": fact.id, "text": fact.text, "provenance": fact.provenance }))
            .collect();
        return terminal::json(&rows);
    }
    if facts.is_empty() {
        terminal::remark("no facts were learnt yet");
    }
    for fact in facts {
        terminal::line(format_args!("{}  {}", paint(FAINT, &fact.id), fact.text))?;
    }
    Ok(())
}

async fn everything(settings: &Settings, client: &mut MemoryServiceClient<Channel>, yes: bool) -> Result<(), Failure> {
    if !yes && !confirmed()? {
        return Err(Failure::failed("nothing is forgotten"));
    }
    let (memory, agent) = (
        services::parse("memory").map_err(Failure::failed)?,
        services::parse("agent").map_err(Failure::failed)?,
    );
    // The way to both, before anything is deleted.
    let mut dialogues = AgentServiceClient::new(connection::to(settings, agent).await?);
    let selector = Some(forget_request::Selector::Everything(true));
    let forgotten = client
        .forget(ForgetRequest { selector })
        .await
        .map_err(|status| Failure::from_status(memory.name, &status))?
        .into_inner();
    let selector = Some(Dialogues::All(true));
    let deleted = dialogues
        .delete_dialogues(DeleteDialoguesRequest { selector })
        .await
        .map_err(|status| Failure::from_status(agent.name, &status))?
        .into_inner();
    if settings.json {
        return terminal::json(&serde_json::json!({
            "documents": forgotten.documents,
            "facts": forgotten.facts,
            "dialogues": deleted.deleted,
        }));
    }
    terminal::line(format_args!(
        "forgotten: {} documents, {} facts, {} conversations",
        forgotten.documents, forgotten.facts, deleted.deleted
    ))
}

fn confirmed() -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(Exit::Usage, "nobody can be asked here").help("--yes says that you mean it"));
    }
    let _ = write!(
        std::io::stderr(),
        "This deletes all documents, facts and conversations, for good. Type “yes” to do it: "
    );
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .map_err(|error| Failure::failed(format!("the answer cannot be read: {error}")))?;
    Ok(answer.trim() == "yes")
}

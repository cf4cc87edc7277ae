//! `solo search "…"`: what Solo remembers about something.

use serde::Serialize;
use solo_proto::memory::v1::memory_service_client::MemoryServiceClient;
use solo_proto::memory::v1::search_request::Query;
use solo_proto::memory::v1::{Hit, SearchRequest};

use super::text_of;
use crate::connection;
use crate::failure::Failure;
use crate::services;
use crate::settings::Settings;
use crate::terminal::{self, FAINT, STRONG, paint};
use crate::turn::shortest;

/// What `solo search` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// What to search for; `-` reads it from standard input
    #[arg(required = true, value_name = "TEXT")]
    pub text: Vec<String>,
    /// Most hits to show, 1 to 100
    #[arg(long, short = 'n', value_name = "HITS", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub limit: u32,
}

/// One hit of `solo search --json`: exactly these fields.
#[derive(Debug, Serialize)]
struct Found<'a> {
    id: &'a str,
    text: &'a str,
    score: f64,
    source: &'a str,
    document: &'a str,
    page: u32,
    heading: &'a str,
    start: u64,
    end: u64,
}

impl<'a> From<&'a Hit> for Found<'a> {
    fn from(hit: &'a Hit) -> Self {
        let source = hit
            .citation
            .as_ref()
            .map_or("", |c| if c.title.is_empty() { &c.uri } else { &c.title });
        let citation = hit.citation.as_ref();
        let range = citation.and_then(|citation| citation.range).unwrap_or_default();
        Self {
            id: &hit.id,
            text: &hit.text,
            score: shortest(hit.score),
            source,
            document: citation.map_or("", |citation| &citation.document),
            page: citation.map_or(0, |citation| citation.page),
            heading: citation.map_or("", |citation| &citation.heading),
            start: range.start,
            end: range.end,
        }
    }
}

/// Searches, best hit first.
pub async fn run(settings: &Settings, arguments: &Arguments) -> Result<(), Failure> {
    let text = text_of(&arguments.text)?;
    let memory = services::parse("memory").map_err(Failure::failed)?;
    let channel = connection::to(settings, memory).await?;
    let request = SearchRequest {
        query: Some(Query::Text(text)),
        limit: arguments.limit,
        ..SearchRequest::default()
    };
    let response = MemoryServiceClient::new(channel).search(request).await;
    let hits = response
        .map_err(|status| Failure::from_status(memory.name, &status))?
        .into_inner()
        .hits;
    let found: Vec<Found<'_>> = hits.iter().map(Found::from).collect();
    if settings.json {
        return terminal::json(&found);
    }
    if found.is_empty() {
        terminal::remark("nothing found");
    }
    for Found {
        text,
        score,
        source,
        page,
        ..
    } in found
    {
        terminal::line(format_args!(
            "{} {}  {}",
            paint(FAINT, format_args!("{score:.2}")),
            paint(STRONG, source_and_page(source, page)),
            text.trim()
        ))?;
    }
    Ok(())
}

fn source_and_page(source: &str, page: u32) -> String {
    match page {
        0 => source.to_owned(),
        page => format!("{source}, page {page}"),
    }
}

#[cfg(test)]
mod tests {
    use solo_proto::memory::v1::{Citation, TextRange};

    use super::*;

    #[test]
    fn the_json_is_exactly_as_documented() {
        let citation = Citation {
            title: "bike".into(),
            uri: "note:1".into(),
            document: "d1".into(),
            page: 3,
            heading: "Things".into(),
            range: Some(TextRange { start: 5, end: 22 }),
            ..Citation::default()
        };
        let hit = Hit {
            id: "c1".into(),
            text: "My bike is green.".into(),
            score: 0.61,
            citation: Some(citation),
            ..Hit::default()
        };
        let wanted = r#"[{"id":"c1","text":"My bike is green.","score":0.61,"source":"bike","document":"d1","page":3,"heading":"Things","start":5,"end":22}]"#;
        assert_eq!(serde_json::to_string(&[Found::from(&hit)]).unwrap(), wanted);
        let bare = Hit {
            citation: Some(Citation {
                uri: "note:1".into(),
                ..Citation::default()
            }),
            ..hit
        };
        assert_eq!(Found::from(&bare).source, "note:1");
    }
}

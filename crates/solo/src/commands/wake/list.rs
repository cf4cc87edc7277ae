//! `solo wake list`: the keywords of the running wake-svc.

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use solo_proto::wake::v1::Keyword;

use crate::failure::Failure;
use crate::settings::Settings;
use crate::terminal;

/// A keyword as programs read it.
#[derive(Debug, Serialize)]
struct Row {
    keyword: String,
    phrase: String,
    engine: String,
    licence: String,
    active: bool,
    installed: bool,
}

impl From<Keyword> for Row {
    fn from(keyword: Keyword) -> Self {
        Self {
            keyword: keyword.keyword,
            phrase: keyword.phrase,
            engine: keyword.engine,
            licence: keyword.licence,
            active: keyword.active,
            installed: keyword.installed,
        }
    }
}

/// Prints the keywords.
pub(super) async fn run(settings: &Settings) -> Result<(), Failure> {
    let (_, channel) = super::service(settings).await?;
    let rows: Vec<Row> = super::keywords(channel).await?.into_iter().map(Row::from).collect();
    if settings.json {
        return terminal::json(&rows);
    }
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header([
            "KEYWORD",
            "WHAT TO SAY",
            "ENGINE",
            "LISTENED FOR",
            "INSTALLED",
            "LICENCE",
        ]);
    let yes = |it: bool| if it { "yes" } else { "" };
    for row in &rows {
        table.add_row([
            &row.keyword,
            &row.phrase,
            &row.engine,
            yes(row.active),
            yes(row.installed),
            &row.licence,
        ]);
    }
    terminal::line(table)
}

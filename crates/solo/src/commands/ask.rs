//! `solo ask "…"`: one question in writing, answered as it is made; with `--raw`, by the model alone.

mod files;
mod numbers;
mod raw;

use std::time::Duration;

use solo_proto::agent::v1::ListDialoguesRequest;
use solo_proto::agent::v1::agent_service_client::AgentServiceClient;
use solo_proto::gateway::v1::OpenSession;
use solo_proto::gateway::v1::converse_response::Payload;

use super::text_of;
use crate::connection;
use crate::failure::{Exit, Failure};
use crate::services;
use crate::session::{self, Session};
use crate::settings::Settings;
use crate::terminal::{self, FAINT, WARN, paint};
use crate::turn::{Citation, Turn};

/// How long a reply may make no progress at all: a large model reads a long prompt for a while.
pub const SILENCE: Duration = Duration::from_secs(180);

/// What `solo ask` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The question; `-` reads it from standard input
    #[arg(required = true, value_name = "QUESTION")]
    pub question: Vec<String>,
    /// Go on with this dialogue
    #[arg(long, value_name = "ID", conflicts_with = "last")]
    pub dialogue: Option<String>,
    /// Go on with the latest dialogue
    #[arg(long)]
    pub last: bool,
    /// Ask the language model itself: no memory, no dialogue
    #[arg(long, conflicts_with_all = ["dialogue", "last"])]
    pub raw: bool,
    /// What `--raw` takes.
    #[command(flatten)]
    pub of_raw: raw::RawArguments,
}

/// Asks, and prints the reply while it comes.
pub async fn run(settings: &Settings, arguments: &Arguments) -> Result<(), Failure> {
    if arguments.raw {
        return raw::run(settings, &arguments.question, &arguments.of_raw).await;
    }
    let question = text_of(&arguments.question)?;
    let dialogue = match &arguments.dialogue {
        Some(id) => id.clone(),
        None if arguments.last => last_dialogue(settings).await?,
        None => String::new(),
    };
    let open = OpenSession {
        dialogue_id: dialogue,
        time_zone: time_zone(),
        ..OpenSession::default()
    };
    let mut session = Session::open(settings, open).await?;
    if !session.sender().text(&question).await {
        return Err(session::cut_off());
    }
    let mut turn = Turn::default();
    let show = !settings.json;
    while turn.summary.is_none() && turn.error.is_none() {
        let next = tokio::time::timeout(SILENCE, session.next())
            .await
            .map_err(|_| silent())??;
        let payload = next.ok_or_else(session::cut_off)?;
        if let (Payload::Reply(reply), true) = (&payload, show) {
            terminal::write(&reply.delta)?;
        }
        if let Payload::Action(action) = &payload {
            // Nobody is asked here, so nothing is done.
            terminal::remark(format_args!("{} was not approved: `solo chat` asks you", action.tool));
            session.sender().decide(&action.action_id, false).await;
        }
        turn.take(&payload);
    }
    if show && !turn.reply.is_empty() {
        terminal::line("")?;
    }
    if let Some(failure) = turn.failure() {
        return Err(failure);
    }
    if settings.json {
        return terminal::json(&turn.written());
    }
    show_sources(&turn)
}

/// What the reply rests on: below it for a person, on standard error for a pipe that wants the reply alone.
pub fn show_sources(turn: &Turn) -> Result<(), Failure> {
    for cited in &turn.citations {
        let citation = Citation::from(cited);
        let line = paint(
            FAINT,
            format_args!("[{}] {} {}", citation.number, citation.source(), quote(citation.text)),
        );
        if terminal::is_interactive() {
            terminal::line(line)?;
        } else {
            terminal::remark(line);
        }
    }
    Ok(())
}

fn quote(text: &str) -> String {
    const SHOWN: usize = 70;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN) {
        Some((cut, _)) => format!("“{}…”", &line[..cut]),
        None if line.is_empty() => String::new(),
        None => format!("“{line}”"),
    }
}

/// The latest dialogue of this person.
async fn last_dialogue(settings: &Settings) -> Result<String, Failure> {
    let agent = services::parse("agent").map_err(Failure::failed)?;
    let channel = connection::to(settings, agent).await?;
    let request = ListDialoguesRequest {
        page_size: 1,
        page_token: String::new(),
    };
    let response = AgentServiceClient::new(channel).list_dialogues(request).await;
    let page = response
        .map_err(|status| Failure::from_status(agent.name, &status))?
        .into_inner();
    let latest = page.dialogues.into_iter().next();
    latest.map(|dialogue| dialogue.id).ok_or_else(|| {
        Failure::failed("there is no dialogue to go on with").help("leave `--last` out: a new one is begun")
    })
}

/// The machine's time zone by its IANA name; empty where it has none, then the agent takes its own.
pub fn time_zone() -> String {
    jiff::tz::TimeZone::system().iana_name().unwrap_or_default().to_owned()
}

/// What is said when nothing comes any more.
pub fn silent() -> Failure {
    let text = format!("gateway: no word for {} s", SILENCE.as_secs());
    Failure::new(Exit::Unavailable, text)
        .help("see how the services are with `solo ps`, and what they say with `solo logs`")
}

/// A remark that a reply was interrupted.
pub fn show_interrupted(turn: &Turn) -> Result<(), Failure> {
    if turn.summary.as_ref().is_some_and(|summary| summary.interrupted) {
        terminal::line(paint(WARN, "(interrupted)"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_one_short_line() {
        assert_eq!(quote("my bike\n  is green"), "“my bike is green”");
        assert_eq!(quote(""), "");
        assert!(quote(&"wörter ".repeat(40)).chars().count() < 80);
    }
}

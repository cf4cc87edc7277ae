//! Turns: begun before anything is done for them, ended with what became of them, cut to what was heard.

use sqlx::FromRow;

use super::{Store, now, timestamp};
use crate::dialogue::{Exchange, Finish, Key, Source, Turn, TurnState, Usage, title_of};
use crate::error::Error;

/// Characters of a dialogue's title.
const TITLE_CHARS: usize = 60;

/// What became of a turn that ran.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Its state: anything but running.
    pub state: TurnState,
    /// The reply as far as it went.
    pub reply: String,
    /// Bytes of it that the model wrote; what follows was added.
    pub written: usize,
    /// What the reply rests on.
    pub sources: Vec<Source>,
    /// Why it failed; empty unless it did.
    pub failure: String,
    /// Model that answered.
    pub model: String,
    /// Why the reply ended.
    pub finish: Option<Finish>,
    /// What it took.
    pub usage: Usage,
}

#[derive(FromRow)]
pub(super) struct TurnRow {
    pub(super) dialogue: String,
    id: String,
    text: String,
    reply: String,
    state: String,
    citations: String,
    created_at: i64,
}

impl TurnRow {
    pub(super) fn decode(self) -> Result<Turn, Error> {
        let sources = serde_json::from_str(&self.citations).map_err(|error| Error::Corrupt {
            what: "citation",
            source: error.into(),
        })?;
        Ok(Turn {
            id: self.id,
            text: self.text,
            reply: self.reply,
            state: decode_state(&self.state)?,
            sources,
            created_at: timestamp(self.created_at)?,
        })
    }
}

fn decode_state(name: &str) -> Result<TurnState, Error> {
    TurnState::from_name(name).ok_or_else(|| Error::Corrupt {
        what: "turn",
        source: format!("its state is \"{name}\"").into(),
    })
}

impl Store {
    /// Writes a turn down as running. The first turn gives the dialogue its title.
    pub async fn begin_turn(&self, key: &Key, id: &str, text: &str) -> Result<(), Error> {
        let mut transaction = self.write().await?;
        let inserted = sqlx::query(
            "INSERT INTO turns (principal, dialogue, id, text, state, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, 'running', ?5, ?5)",
        )
        .bind(&key.principal)
        .bind(&key.dialogue)
        .bind(id)
        .bind(text)
        .bind(now())
        .execute(&mut *transaction)
        .await;
        inserted.map_err(|error| match error.as_database_error() {
            Some(fault) if fault.is_unique_violation() => Error::TurnExists(id.to_owned()),
            Some(fault) if fault.is_foreign_key_violation() => Error::DialogueNotFound(key.dialogue.clone()),
            _ => error.into(),
        })?;
        sqlx::query(
            "UPDATE dialogues SET title = CASE title WHEN '' THEN ?3 ELSE title END, updated_at = max(updated_at, ?4)
             WHERE principal = ?1 AND id = ?2",
        )
        .bind(&key.principal)
        .bind(&key.dialogue)
        .bind(title_of(text, TITLE_CHARS))
        .bind(now())
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }

    /// True when the dialogue has a turn of that identifier.
    pub async fn has_turn(&self, key: &Key, id: &str) -> Result<bool, Error> {
        let found: Option<(i64,)> =
            sqlx::query_as("SELECT position FROM turns WHERE principal = ?1 AND dialogue = ?2 AND id = ?3")
                .bind(&key.principal)
                .bind(&key.dialogue)
                .bind(id)
                .fetch_optional(&self.pool)
                .await?;
        Ok(found.is_some())
    }

    /// Writes down what became of a running turn. One that was deleted meanwhile stays deleted.
    pub async fn end_turn(&self, key: &Key, id: &str, outcome: &Outcome) -> Result<(), Error> {
        let citations = serde_json::to_string(&outcome.sources).map_err(|error| Error::Corrupt {
            what: "citation",
            source: error.into(),
        })?;
        sqlx::query(
            "UPDATE turns SET state = ?4, reply = ?5, citations = ?6, failure = ?7, model = ?8, finish_reason = ?9,
                    prompt_tokens = ?10, cached_tokens = ?11, completion_tokens = ?12, prefill_ms = ?13,
                    decode_ms = ?14, updated_at = ?15, written_bytes = ?16
             WHERE principal = ?1 AND dialogue = ?2 AND id = ?3 AND state = 'running'",
        )
        .bind(&key.principal)
        .bind(&key.dialogue)
        .bind(id)
        .bind(outcome.state.as_str())
        .bind(&outcome.reply)
        .bind(citations)
        .bind(&outcome.failure)
        .bind(&outcome.model)
        .bind(outcome.finish.map_or("", Finish::as_str))
        .bind(outcome.usage.prompt_tokens)
        .bind(outcome.usage.cached_tokens)
        .bind(outcome.usage.completion_tokens)
        .bind(outcome.usage.prefill_ms)
        .bind(outcome.usage.decode_ms)
        .bind(now())
        .bind(i64::try_from(outcome.written).unwrap_or(i64::MAX))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Notes how much of a reply was heard. An interrupted reply is cut there; one heard to its end is confirmed. True
    /// when the reply that later prompts will carry has changed by it.
    pub async fn heard(&self, key: &Key, id: &str, bytes: usize, interrupted: bool) -> Result<bool, Error> {
        let mut transaction = self.write().await?;
        let found: Option<(String, String)> =
            sqlx::query_as("SELECT reply, state FROM turns WHERE principal = ?1 AND dialogue = ?2 AND id = ?3")
                .bind(&key.principal)
                .bind(&key.dialogue)
                .bind(id)
                .fetch_optional(&mut *transaction)
                .await?;
        let (reply, state) = found.ok_or_else(|| Error::TurnNotFound(id.to_owned()))?;
        let state = decode_state(&state)?;
        let kept = if interrupted { heard_part(&reply, bytes) } else { &reply };
        let state = match state {
            TurnState::Failed | TurnState::Running => state,
            _ if interrupted => TurnState::Interrupted,
            TurnState::Unconfirmed if bytes >= reply.len() => TurnState::Heard,
            _ => state,
        };
        sqlx::query(
            "UPDATE turns SET reply = ?4, state = ?5, heard_bytes = max(heard_bytes, ?6), updated_at = ?7
             WHERE principal = ?1 AND dialogue = ?2 AND id = ?3",
        )
        .bind(&key.principal)
        .bind(&key.dialogue)
        .bind(id)
        .bind(kept)
        .bind(state.as_str())
        .bind(i64::try_from(bytes.min(reply.len())).unwrap_or(i64::MAX))
        .bind(now())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(interrupted)
    }

    /// The turns of a dialogue, oldest first.
    pub async fn turns(&self, key: &Key) -> Result<Vec<Turn>, Error> {
        let rows: Vec<TurnRow> =
            sqlx::query_as("SELECT * FROM turns WHERE principal = ?1 AND dialogue = ?2 ORDER BY position")
                .bind(&key.principal)
                .bind(&key.dialogue)
                .fetch_all(&self.pool)
                .await?;
        rows.into_iter().map(TurnRow::decode).collect()
    }

    /// The newest exchanges that have ended, oldest first: what a prompt may carry. Of replies, only what the model wrote:
    /// it would imitate the rest, and name sources that it does not have.
    pub async fn history(&self, key: &Key, limit: u32) -> Result<Vec<Exchange>, Error> {
        let rows: Vec<(String, String, i64, String)> = sqlx::query_as(
            "SELECT text, reply, written_bytes, state FROM turns
             WHERE principal = ?1 AND dialogue = ?2 AND state <> 'running' AND NOT (state = 'failed' AND reply = '')
             ORDER BY position DESC LIMIT ?3",
        )
        .bind(&key.principal)
        .bind(&key.dialogue)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        let exchange = |(text, reply, written, state): (String, String, i64, String)| {
            let interrupted = matches!(decode_state(&state)?, TurnState::Interrupted | TurnState::Failed);
            let reply = heard_part(&reply, usize::try_from(written).unwrap_or(0)).to_owned();
            Ok(Exchange {
                text,
                reply,
                interrupted,
            })
        };
        rows.into_iter().rev().map(exchange).collect()
    }
}

/// The start of a reply, at most `bytes` long, cut between characters.
fn heard_part(reply: &str, bytes: usize) -> &str {
    &reply[..reply.floor_char_boundary(bytes.min(reply.len()))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_never_cut_within_a_character() {
        let reply = "Grüße 👋 aus Köln";
        for bytes in 0..=reply.len() + 3 {
            let part = heard_part(reply, bytes);
            assert!(part.len() <= bytes && reply.starts_with(part));
        }
        assert_eq!(heard_part("größer", 3), "gr");
        assert_eq!(heard_part("größer", 4), "grö");
    }
}

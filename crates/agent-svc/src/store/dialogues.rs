//! Dialogues as wholes: made, found, listed, deleted.

use std::str::FromStr;

use jiff::Timestamp;
use sqlx::FromRow;

use super::turns::TurnRow;
use super::{Store, now, timestamp};
use crate::dialogue::{Dialogue, Key, Turn};
use crate::error::Error;

/// A page of dialogues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The dialogues, newest first.
    pub dialogues: Vec<Dialogue>,
    /// Where the next page starts; `None`: this was the last.
    pub next: Option<PageToken>,
}

/// The last dialogue of a page: the next page holds what is older. Stable while dialogues are added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageToken {
    updated_at: i64,
    id: String,
}

impl std::fmt::Display for PageToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}.{}", self.updated_at, self.id)
    }
}

impl FromStr for PageToken {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parsed = text
            .split_once('.')
            .and_then(|(updated_at, id)| Some((updated_at.parse().ok()?, id.to_owned())));
        let (updated_at, id) = parsed.ok_or_else(|| {
            let problem = "is not one that ListDialogues gave out; leave it empty for the first page";
            Error::invalid("page_token", "BAD_PAGE_TOKEN", problem)
        })?;
        Ok(Self { updated_at, id })
    }
}

#[derive(FromRow)]
struct DialogueRow {
    id: String,
    title: String,
    turns: i64,
    created_at: i64,
    updated_at: i64,
}

impl DialogueRow {
    fn decode(self) -> Result<Dialogue, Error> {
        Ok(Dialogue {
            id: self.id,
            title: self.title,
            turns: u32::try_from(self.turns).unwrap_or(u32::MAX),
            created_at: timestamp(self.created_at)?,
            updated_at: timestamp(self.updated_at)?,
        })
    }
}

impl Store {
    /// Makes a dialogue without turns. It is listed once it has one.
    pub async fn create(&self, key: &Key) -> Result<(), Error> {
        sqlx::query("INSERT INTO dialogues (principal, id, created_at, updated_at) VALUES (?1, ?2, ?3, ?3)")
            .bind(&key.principal)
            .bind(&key.dialogue)
            .bind(now())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// One dialogue.
    pub async fn dialogue(&self, key: &Key) -> Result<Dialogue, Error> {
        let row: Option<DialogueRow> = sqlx::query_as(
            "SELECT id, title, created_at, updated_at,
                    (SELECT count(*) FROM turns WHERE principal = ?1 AND dialogue = ?2) AS turns
             FROM dialogues WHERE principal = ?1 AND id = ?2",
        )
        .bind(&key.principal)
        .bind(&key.dialogue)
        .fetch_optional(&self.pool)
        .await?;
        row.ok_or_else(|| Error::DialogueNotFound(key.dialogue.clone()))?
            .decode()
    }

    /// The dialogues in which something was said, newest first.
    pub async fn list(&self, principal: &str, limit: u32, after: Option<&PageToken>) -> Result<Page, Error> {
        let rows: Vec<DialogueRow> = sqlx::query_as(
            "SELECT id, title, created_at, updated_at,
                    (SELECT count(*) FROM turns WHERE principal = ?1 AND dialogue = dialogues.id) AS turns
             FROM dialogues
             WHERE principal = ?1 AND title <> '' AND (?2 IS NULL OR (updated_at, id) < (?2, ?3))
             ORDER BY updated_at DESC, id DESC LIMIT ?4",
        )
        .bind(principal)
        .bind(after.map(|token| token.updated_at))
        .bind(after.map(|token| token.id.as_str()))
        .bind(i64::from(limit) + 1)
        .fetch_all(&self.pool)
        .await?;
        let more = rows.len() > limit as usize;
        let mut dialogues = Vec::with_capacity(rows.len());
        let mut next = None;
        for row in rows.into_iter().take(limit as usize) {
            next = Some(PageToken {
                updated_at: row.updated_at,
                id: row.id.clone(),
            });
            dialogues.push(row.decode()?);
        }
        Ok(Page {
            dialogues,
            next: next.filter(|_| more),
        })
    }

    /// The newest turns in which all of the words occur, in what was said or answered.
    pub async fn search(&self, principal: &str, words: &str, limit: u32) -> Result<Vec<(Dialogue, Turn)>, Error> {
        let Some(query) = full_text_query(words) else {
            return Ok(Vec::new());
        };
        let rows: Vec<TurnRow> = sqlx::query_as(
            "SELECT turns.* FROM turns_words JOIN turns ON turns.position = turns_words.rowid
             WHERE turns_words MATCH ?1 AND turns.principal = ?2
             ORDER BY turns.position DESC LIMIT ?3",
        )
        .bind(query)
        .bind(principal)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        let mut hits = Vec::with_capacity(rows.len());
        for row in rows {
            let key = Key {
                principal: principal.to_owned(),
                dialogue: row.dialogue.clone(),
            };
            // A dialogue that was deleted meanwhile takes its turns with it.
            match self.dialogue(&key).await {
                Ok(dialogue) => hits.push((dialogue, row.decode()?)),
                Err(Error::DialogueNotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(hits)
    }

    /// Deletes a dialogue with its turns.
    pub async fn delete(&self, key: &Key) -> Result<(), Error> {
        let deleted = sqlx::query("DELETE FROM dialogues WHERE principal = ?1 AND id = ?2")
            .bind(&key.principal)
            .bind(&key.dialogue)
            .execute(&self.pool)
            .await?
            .rows_affected();
        if deleted == 0 {
            Err(Error::DialogueNotFound(key.dialogue.clone()))
        } else {
            Ok(())
        }
    }

    /// Deletes all dialogues of a principal but the one that a turn of it runs in, and of that everything but the turn; how many
    /// dialogues that were.
    pub async fn delete_all_but(&self, key: &Key, turn: &str) -> Result<u64, Error> {
        let mut transaction = self.write().await?;
        let deleted = sqlx::query("DELETE FROM dialogues WHERE principal = ?1 AND id <> ?2")
            .bind(&key.principal)
            .bind(&key.dialogue)
            .execute(&mut *transaction)
            .await?
            .rows_affected();
        sqlx::query("DELETE FROM turns WHERE principal = ?1 AND dialogue = ?2 AND id <> ?3")
            .bind(&key.principal)
            .bind(&key.dialogue)
            .bind(turn)
            .execute(&mut *transaction)
            .await?;
        sqlx::query("UPDATE dialogues SET title = '' WHERE principal = ?1 AND id = ?2")
            .bind(&key.principal)
            .bind(&key.dialogue)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(deleted)
    }

    /// Deletes everybody's dialogues whose last turn began before a time; how many there were.
    pub async fn delete_older(&self, before: Timestamp) -> Result<u64, Error> {
        let deleted = sqlx::query("DELETE FROM dialogues WHERE updated_at < ?1")
            .bind(before.as_millisecond())
            .execute(&self.pool)
            .await?;
        Ok(deleted.rows_affected())
    }

    /// Deletes all dialogues of a principal; how many there were.
    pub async fn delete_all(&self, principal: &str) -> Result<u64, Error> {
        let deleted = sqlx::query("DELETE FROM dialogues WHERE principal = ?1")
            .bind(principal)
            .execute(&self.pool)
            .await?;
        Ok(deleted.rows_affected())
    }
}

/// A query of FTS5 that finds all of the words, whatever signs stand between them; `None` when there is no word.
fn full_text_query(words: &str) -> Option<String> {
    let quoted: Vec<String> = words
        .split(|character: char| !character.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| format!("\"{word}\""))
        .collect();
    (!quoted.is_empty()).then(|| quoted.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_tokens_survive_being_text() {
        let token = PageToken {
            updated_at: 1_795_000_000_123,
            id: "0193.a-b".into(),
        };
        assert_eq!(token.to_string().parse::<PageToken>().expect("its own text"), token);
        assert!("next".parse::<PageToken>().is_err());
    }

    #[test]
    fn no_sign_reaches_the_query_language() {
        assert_eq!(
            full_text_query("blue \"tin\" OR -x*").as_deref(),
            Some(r#""blue" "tin" "OR" "x""#)
        );
        assert_eq!(full_text_query(" ?! "), None);
    }
}

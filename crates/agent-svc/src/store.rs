//! The dialogues and their turns, in SQLite.
//!
//! A turn is written down as `running` before anything is done for it, and what became of it when it ends; so a process
//! that was killed leaves a turn that says so, and [`Store::open`] marks it as failed. Every statement names the
//! principal. Writes that read first begin as writers (`BEGIN IMMEDIATE`), since SQLite refuses to promote a reader while
//! another writes.

mod dialogues;
mod turns;

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, Transaction};

use crate::error::Error;

pub use dialogues::{Page, PageToken};
pub use turns::Outcome;

/// Longest wait for another writer.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// An open dialogue in which nobody ever said anything is forgotten after this time.
const EMPTY_DIALOGUES_STAY: Duration = Duration::from_secs(24 * 3600);
/// What is said of turns that were running when the process was killed.
const KILLED: &str = "agent-svc stopped before the reply was complete";

/// The database. Clones share its connections.
#[derive(Clone)]
pub struct Store {
    pool: SqlitePool,
}

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its folder cannot be made.
    #[error(
        "the folder {folder} for the database of dialogues cannot be made; set agent.database or global.data_dir to a place that can be written"
    )]
    Folder {
        /// The folder.
        folder: String,
        /// Why not.
        source: std::io::Error,
    },
    /// It cannot be opened.
    #[error("the database of dialogues {file} cannot be opened; if it is damaged, move it away and a new one is made")]
    Open {
        /// The file.
        file: String,
        /// Why not.
        source: sqlx::Error,
    },
    /// Its schema cannot be brought up to date.
    #[error(
        "the database of dialogues {file} does not fit this version of agent-svc; use a newer one, or move the file away"
    )]
    Migrate {
        /// The file.
        file: String,
        /// Why not.
        source: sqlx::migrate::MigrateError,
    },
}

impl Store {
    /// Opens or makes the database, brings its schema up to date, and closes what a killed process left open.
    pub async fn open(file: &Path) -> Result<Self, OpenError> {
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder).map_err(|source| OpenError::Folder {
                folder: folder.display().to_string(),
                source,
            })?;
        }
        let name = file.display().to_string();
        let cannot_open = |source| OpenError::Open {
            file: name.clone(),
            source,
        };
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            // Survives a killed process; only a power cut can lose the newest turns, never the database.
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(BUSY_TIMEOUT);
        let pool = SqlitePoolOptions::new()
            .max_connections(4)
            .connect_with(options)
            .await
            .map_err(cannot_open)?;
        sqlx::migrate!("./migrations")
            .run(&pool)
            .await
            .map_err(|source| OpenError::Migrate {
                file: name.clone(),
                source,
            })?;
        let store = Self { pool };
        store.recover().await.map_err(cannot_open)?;
        Ok(store)
    }

    /// Closes the database: the write-ahead log is folded into its file.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    async fn recover(&self) -> Result<(), sqlx::Error> {
        let killed =
            sqlx::query("UPDATE turns SET state = 'failed', failure = ?1, updated_at = ?2 WHERE state = 'running'")
                .bind(KILLED)
                .bind(now())
                .execute(&self.pool)
                .await?
                .rows_affected();
        if killed > 0 {
            tracing::warn!(
                turns = killed,
                "turns that a killed process left running are marked as failed"
            );
        }
        let stale = now() - i64::try_from(EMPTY_DIALOGUES_STAY.as_millis()).unwrap_or(i64::MAX);
        sqlx::query("DELETE FROM dialogues WHERE title = '' AND updated_at < ?1")
            .bind(stale)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Dialogues and turns of everybody, for the status page.
    pub async fn counts(&self) -> Result<(i64, i64), Error> {
        let counts = sqlx::query_as("SELECT (SELECT count(*) FROM dialogues), (SELECT count(*) FROM turns)");
        Ok(counts.fetch_one(&self.pool).await?)
    }

    async fn write(&self) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
        self.pool.begin_with("BEGIN IMMEDIATE").await
    }
}

/// The time as the database keeps it, in ms.
fn now() -> i64 {
    Timestamp::now().as_millisecond()
}

/// A time from the database.
fn timestamp(milliseconds: i64) -> Result<Timestamp, Error> {
    Timestamp::from_millisecond(milliseconds).map_err(|error| Error::Corrupt {
        what: "time",
        source: error.into(),
    })
}

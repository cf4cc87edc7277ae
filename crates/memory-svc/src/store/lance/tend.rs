//! Looking after the tables: sweeping what a crash left, joining small files, removing old ones.

use std::collections::HashSet;
use std::time::Duration;

use uuid::Uuid;

use super::Inner;
use super::predicate::Predicate;
use super::rows::rows;
use super::table::Table;
use crate::store::{Backlog, StoreError};

impl Inner {
    /// Notes a write for the upkeep; `erased`: something must leave the disk.
    pub(super) fn note_write(&self, erased: bool) {
        self.counts.clear();
        self.backlog.send_modify(|backlog| {
            backlog.writes += 1;
            backlog.erased |= erased;
        });
    }

    /// Removes chunks that belong to no document: a crash between two commits left them. Called before anybody reads.
    pub(super) async fn sweep(&self) -> Result<(), StoreError> {
        let documents = self
            .documents
            .collect(self.documents.scan(None, &["generation"]).await?)
            .await?;
        let mut wanted = HashSet::new();
        for row in rows(&documents) {
            wanted.insert(row.id("generation")?);
        }
        // Each generation has a first chunk, for its chunks were appended in one commit.
        let firsts = self
            .chunks
            .read(&Predicate::of_everybody_number("ordinal", 0), &["generation"])
            .await?;
        let mut strays: Vec<Uuid> = Vec::new();
        for row in rows(&firsts) {
            let generation = row.id("generation")?;
            if !wanted.remove(&generation) {
                strays.push(generation);
            }
        }
        if !wanted.is_empty() {
            tracing::error!(documents = wanted.len(), "documents without chunks: put them again");
        }
        if !strays.is_empty() {
            tracing::info!(
                generations = strays.len(),
                "chunks that an interrupted write left are removed"
            );
            self.drop_chunks(&strays).await?;
            self.note_write(true);
        }
        Ok(())
    }

    fn tables(&self) -> [&Table; 5] {
        [
            &self.documents,
            &self.chunks,
            &self.facts,
            &self.collections,
            &self.watches,
        ]
    }

    pub(super) async fn compact(&self) -> Result<(), StoreError> {
        let _writing = self.writing.lock().await;
        // No write runs, so whatever is hidden now is what a failed one left.
        let strays: Vec<Uuid> = self.hidden.read().await.iter().copied().collect();
        self.drop_chunks(&strays).await?;
        let done = *self.backlog.borrow();
        let erase = done.erased || !strays.is_empty();
        for table in self.tables() {
            table.compact(erase).await?;
        }
        // Writes wait for the lock, so none came meanwhile.
        self.backlog.send_modify(|backlog| *backlog = Backlog::default());
        Ok(())
    }

    pub(super) async fn prune(&self, retain: Duration) -> Result<(), StoreError> {
        let _writing = self.writing.lock().await;
        for table in self.tables() {
            table.prune(retain).await?;
        }
        Ok(())
    }
}

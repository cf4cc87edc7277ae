//! Looking after the tables: sweeping what a crash left, joining small files, removing old ones.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use uuid::Uuid;

use super::Inner;
use super::facts::read_fact;
use super::nearest::FACT_COLUMNS;
use super::piece::{PIECE_COLUMNS, Piece};
use super::predicate::Predicate;
use super::resident::Held;
use super::rows::{Row, corrupt, rows};
use super::sharing::{KEPT, Shared};
use super::table::Table;
use crate::names::Principal;
use crate::store::{Backlog, Statistics, StoreError};

impl Inner {
    /// Notes a write for the upkeep; `erased`: something must leave the disk.
    pub(super) fn note_write(&self, erased: bool) {
        self.counts.clear();
        self.backlog.send_modify(|backlog| {
            backlog.writes += 1;
            backlog.erased |= erased;
        });
    }

    /// Removes chunks that belong to no document: a crash between two commits left them, or a deletion that others were in the way
    /// of. Called before anybody reads, or where nobody sees them.
    pub(super) async fn sweep(&self) -> Result<(), StoreError> {
        // Each generation has a first chunk, for its chunks were appended in one commit.
        let first = Predicate::of_everybody_number("ordinal", 0);
        let (documents, firsts) = {
            // While it is held both are of states that fit together, whoever looks for newer ones meanwhile.
            let _state = self.hidden.read().await;
            (
                self.documents.scan(None, &["generation"]).await?,
                self.chunks.scan(Some(&first), &["generation"]).await?,
            )
        };
        let mut wanted = HashSet::new();
        for row in rows(&self.documents.collect(documents).await?) {
            wanted.insert(row.id("generation")?);
        }
        let mut strays: Vec<Uuid> = Vec::new();
        for row in rows(&self.chunks.collect(firsts).await?) {
            let generation = row.id("generation")?;
            if !wanted.remove(&generation) && !self.may_be_under_way(generation) {
                strays.push(generation);
            }
        }
        if !wanted.is_empty() {
            tracing::error!(documents = wanted.len(), "documents without chunks: put them again");
        }
        if !strays.is_empty() {
            let chunks = self.drop_chunks(&strays).await?;
            self.note_write(true);
            // Of an interrupted write, or of a deletion that could not remove them then: nobody knows by now.
            tracing::info!(
                generations = strays.len(),
                chunks,
                "chunks that belonged to no document were removed"
            );
        }
        Ok(())
    }

    /// True: another process may be about to make a document of these chunks.
    pub(super) fn may_be_under_way(&self, generation: Uuid) -> bool {
        self.shared.is_some() && Shared::may_be_under_way(generation)
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
        let _turn = self.turn()?;
        let _writing = self.writing.lock().await;
        if self.shared.is_some() {
            // Other processes may have died since this one began.
            self.follow().await?;
            self.sweep().await?;
        }
        // No write runs, so whatever is hidden now is what a failed one left.
        let strays: Vec<Uuid> = self.hidden.read().await.iter().copied().collect();
        self.drop_chunks(&strays).await?;
        let done = *self.backlog.borrow();
        let erase = done.erased || !strays.is_empty();
        let mut busy = false;
        for table in self.tables() {
            match table.compact(erase).await {
                // Another process wrote to the same files meanwhile.
                Err(StoreError::Busy) => busy = true,
                done => done?,
            }
        }
        if busy {
            return Err(StoreError::Busy);
        }
        // Writes wait for the lock, so none came meanwhile.
        self.backlog.send_modify(|backlog| *backlog = Backlog::default());
        Ok(())
    }

    pub(super) async fn index(&self) -> Result<(), StoreError> {
        let _turn = self.turn()?;
        // Beside writes: appending and indexing do not get in each other's way, and indexing takes long.
        let (from, vectors) = (self.indexing.vectors_from, !self.resident.is_held());
        self.chunks.index(from, vectors).await?;
        self.facts.index(from, vectors).await
    }

    pub(super) async fn know_new_words(&self) -> Result<bool, StoreError> {
        let language = &self.indexing.language;
        let mut any = false;
        for table in [&self.chunks, &self.facts] {
            // Where there is nothing to do nobody's turn is taken.
            if table.has_new_words(language).await? {
                let _turn = self.turn()?;
                any |= table.know_new_words(language).await?;
            }
        }
        Ok(any)
    }

    pub(super) async fn statistics(&self) -> Result<Statistics, StoreError> {
        let (documents, chunks, facts) = futures::try_join!(self.documents.len(), self.chunks.len(), self.facts.len())?;
        Ok(Statistics {
            documents,
            chunks,
            facts,
        })
    }

    /// Reads what searches by meaning need into memory, if it has room there.
    pub(super) async fn hold(&self) -> Result<(), StoreError> {
        let _writing = self.writing.lock().await;
        let rows_there = self.chunks.len().await? + self.facts.len().await?;
        if self.resident.is_held() || !self.resident.has_room_for(rows_there) {
            return Ok(());
        }
        let started = Instant::now();
        self.resident.expect_no_room_for(rows_there);
        let mut held = Held::default();
        let complete = self.read_pieces(&mut held).await? && self.read_facts(&mut held).await?;
        let (pieces, facts, bytes) = held.size();
        if complete {
            self.resident.hold(held);
        }
        let (took_ms, megabytes) = (started.elapsed().as_millis(), bytes >> 20);
        if complete {
            tracing::info!(pieces, facts, megabytes, took_ms, "searches are answered from memory");
        } else {
            tracing::info!(
                megabytes,
                "memory.search.resident_mb has no room for the store: searches read it from the disk"
            );
        }
        Ok(())
    }

    /// False: there is no room.
    async fn read_pieces(&self, held: &mut Held) -> Result<bool, StoreError> {
        let columns = [&PIECE_COLUMNS[..], &["principal", "generation", "vector"]].concat();
        let hidden = self.hidden.read().await.clone();
        let mut pieces = self.chunks.scan(None, &columns).await?;
        while let Some(batch) = pieces.try_next().await.map_err(self.chunks.failed("read rows"))? {
            let mut before = None;
            for row in rows(&[batch]) {
                let generation = row.id("generation")?;
                if hidden.contains(&generation) {
                    continue;
                }
                let piece = Piece::read(row, before.as_ref())?;
                before = Some(piece.clone());
                if !self
                    .resident
                    .add_piece(held, &read_principal(row)?, generation, piece, &row.vector()?)
                {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// False: there is no room.
    async fn read_facts(&self, held: &mut Held) -> Result<bool, StoreError> {
        let columns = [&FACT_COLUMNS[..], &["created_at", "principal", "vector"]].concat();
        let lasting = Predicate::of_everybody_not_ended();
        for row in rows(&self.facts.read(&lasting, &columns).await?) {
            let (principal, id) = (read_principal(row)?, row.id("row")?);
            if !self
                .resident
                .add_fact(held, &principal, id, read_fact(row)?, &row.vector()?)
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Makes better lists of what is held where they are worth it. Must not be cancelled: nothing may change meanwhile.
    pub(super) async fn rearrange(self: &Arc<Self>) -> Result<(), StoreError> {
        let _writing = self.writing.lock().await;
        let inner = Arc::clone(self);
        let arranged = tokio::task::spawn_blocking(move || inner.resident.rearrange()).await;
        arranged.map_err(|error| StoreError::Backend {
            doing: "put its vectors in order",
            source: error.into(),
        })
    }

    /// Changes what is held as the tables were changed. Where there is no room any more, upkeep makes indexes instead.
    pub(super) fn change_held(&self, change: impl FnOnce(&mut Held) -> bool) {
        if !self.resident.change(change) {
            self.note_write(true);
        }
    }

    pub(super) async fn prune(&self, retain: Duration) -> Result<(), StoreError> {
        let retain = if self.shared.is_some() {
            retain.max(KEPT)
        } else {
            retain
        };
        let _nobody_reads = self.reading.write().await;
        let _writing = self.writing.lock().await;
        // Last: other processes need not wait for whoever reads here.
        let _turn = self.turn()?;
        for table in self.tables() {
            table.prune(retain).await?;
        }
        Ok(())
    }
}

pub(super) fn read_principal(row: Row<'_>) -> Result<Principal, StoreError> {
    Principal::new(row.text("principal")?).map_err(|error| corrupt(error.to_string()))
}

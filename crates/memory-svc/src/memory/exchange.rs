//! Somebody's whole memory out of the store into a file ([`solo_snapshot`]); [`super::import`] is the way back.

use std::fs::File;
use std::io;

use futures::TryStreamExt;
use solo_snapshot::{CollectionRecord, DocumentRecord, FactRecord, PieceRecord, Record, Writer};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Memory;
use crate::error::Error;
use crate::names::Principal;
use crate::snapshot;
use crate::store::{Snapshot, StoreError};

/// Records that wait for the disk, or for the store.
pub(super) const AHEAD: usize = 16;
/// How far an export or import has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchanged {
    /// Documents done.
    pub done: u64,
    /// Documents in all.
    pub total: u64,
}

/// A file that was written.
#[derive(Debug)]
pub struct Exported {
    /// It stands at its beginning, and is gone when it is closed.
    pub file: File,
    /// Documents in it.
    pub documents: u64,
    /// Versions of facts in it.
    pub facts: u64,
}

impl Memory {
    /// Writes all that somebody has into a file. `progress` hears of each step that it has room for.
    pub async fn export(&self, principal: &Principal, progress: mpsc::Sender<Exchanged>) -> Result<Exported, Error> {
        let current = self.current();
        let Snapshot {
            collections,
            facts,
            documents: total,
            mut contents,
        } = current.store.snapshot(principal).await?;
        let no_room = |source| Error::Spool { source };
        let file = tempfile::tempfile_in(self.spool()).map_err(no_room)?;
        let (records, waiting) = mpsc::channel(AHEAD);
        let writing = tokio::task::spawn_blocking(move || write(file, waiting));
        let count = facts.len() as u64;
        let sending = async {
            let manifest = snapshot::manifest(current.embeddings.identity(), total);
            send(&records, Record::Manifest(manifest)).await?;
            for collection in collections {
                send(&records, Record::Collection(CollectionRecord::from(collection))).await?;
            }
            for fact in facts {
                send(&records, Record::Fact(Box::new(FactRecord::from(fact)))).await?;
            }
            let mut done = 0;
            while let Some((document, chunks)) = contents.try_next().await.map_err(Ended::Store)? {
                send(&records, Record::Document(Box::new(DocumentRecord::from(document)))).await?;
                for chunk in chunks {
                    send(&records, Record::Piece(PieceRecord::from(chunk))).await?;
                }
                done += 1;
                let _ = progress.try_send(Exchanged { done, total });
            }
            Ok(())
        };
        let sent = sending.await;
        drop(records);
        let file = joined(writing, "writing the file").await?;
        match sent {
            // Whoever writes says why it stopped.
            Ok(()) | Err(Ended::Written) => Ok(Exported {
                file: file.map_err(no_room)?,
                documents: total,
                facts: count,
            }),
            Err(Ended::Store(error)) => Err(error.into()),
        }
    }
}

/// Why no more records are sent.
enum Ended {
    /// Nobody writes any more.
    Written,
    Store(StoreError),
}

async fn send(records: &mpsc::Sender<Record>, record: Record) -> Result<(), Ended> {
    records.send(record).await.map_err(|_| Ended::Written)
}

pub(super) async fn joined<T>(task: JoinHandle<T>, doing: &'static str) -> Result<T, Error> {
    task.await.map_err(|_| Error::Panicked { doing })
}

/// Writes what comes; gives the file back at its beginning.
fn write(file: File, mut records: mpsc::Receiver<Record>) -> io::Result<File> {
    let mut writer = Writer::new(file);
    while let Some(record) = records.blocking_recv() {
        writer.write(&record)?;
    }
    writer.finish()
}

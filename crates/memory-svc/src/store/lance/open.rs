//! Opening the store.

use std::path::Path;
use std::sync::Arc;

use lancedb::{Connection, ObjectStoreRegistry, Session};
use solo_service::StartupError;
use tokio::sync::{Mutex, RwLock, watch};
use tokio_util::task::TaskTracker;

use super::resident::Resident;
use super::shared_table::key;
use super::sharing::{Attempts, Shared, Sharing, lock};
use super::table::Table;
use super::{Indexing, Inner, LanceStore, failure, identity, nearest, schema};
use crate::embedding::Identity;
use crate::store::{Backlog, StoreError};

impl LanceStore {
    /// Opens the store in the folder `path`, or makes one there, and sweeps what a crash left. No other process has it.
    ///
    /// # Errors
    /// A store that was made with another embedding model or by a newer version, that is open in another process, or that
    /// cannot be read or written.
    pub async fn open(path: &Path, embedding: &Identity, indexing: Indexing) -> Result<Self, StartupError> {
        Self::start(path, embedding, indexing, None).await
    }

    /// Opens the store in `path`, a folder or the URL of a place in a bucket, as one of several processes.
    ///
    /// # Errors
    /// As [`Self::open`]; in a folder every process must share it.
    pub async fn open_shared(
        path: &Path,
        embedding: &Identity,
        indexing: Indexing,
        sharing: Sharing,
    ) -> Result<Self, StartupError> {
        let indexing = Indexing {
            // What others write would have to be followed there.
            resident_bytes: 0,
            ..indexing
        };
        tracing::info!(
            refresh_ms = sharing.refresh.as_millis(),
            "the store is shared with other processes: searches read it from the disk"
        );
        Self::start(path, embedding, indexing, Some(sharing)).await
    }

    async fn start(
        path: &Path,
        embedding: &Identity,
        indexing: Indexing,
        sharing: Option<Sharing>,
    ) -> Result<Self, StartupError> {
        let bucket = sharing.as_ref().and_then(|sharing| sharing.bucket.clone());
        let locked = match bucket {
            Some(_) => None,
            None => {
                std::fs::create_dir_all(path).map_err(|error| {
                    StartupError::other(format!("the folder {} cannot be made: {error}", path.display()))
                })?;
                Some(lock(path, sharing.is_some())?)
            }
        };
        let uri = path
            .to_str()
            .ok_or_else(|| StartupError::Config(format!("memory.path: {} is not UTF-8", path.display())))?;
        let failed = |error: StoreError| StartupError::other(error);
        let database = lancedb::connect(uri)
            .session(caches(indexing.cache_bytes))
            .storage_options(bucket.unwrap_or_default())
            .execute()
            .await
            .map_err(|error| failed(failure::failed(path, "was opened", error)))?;
        let dimension = embedding.dimension;
        let open = async |name, schema, key: &[&str]| {
            let table = Table::open(&database, path, name, schema, sharing.as_ref()).await?;
            if sharing.is_some() {
                table.share(key).await
            } else {
                Ok(table)
            }
        };
        let recorded = identity::check(&database, path, embedding).await?;
        let documents = open("documents", schema::documents(), &key::DOCUMENTS)
            .await
            .map_err(failed)?;
        let chunks = open("chunks", schema::chunks(dimension), &[]).await.map_err(failed)?;
        let inner = Inner {
            documents: apart(documents, &database, "documents").await.map_err(failed)?,
            chunks: apart(chunks, &database, "chunks").await.map_err(failed)?,
            facts: open("facts", schema::facts(dimension), &key::FACTS)
                .await
                .map_err(failed)?,
            collections: open("collections", schema::collections(), &key::COLLECTIONS)
                .await
                .map_err(failed)?,
            watches: open("watches", schema::watches(), &[]).await.map_err(failed)?,
            dimension,
            writing: Mutex::new(()),
            reading: Arc::default(),
            hidden: RwLock::default(),
            resident: Resident::new(dimension, indexing.resident_bytes),
            counts: nearest::Counts::default(),
            backlog: watch::Sender::new(Backlog::default()),
            indexing,
            shared: sharing.as_ref().map(|sharing| Shared::new(path, sharing)),
            #[cfg(test)]
            after_commit: Default::default(),
            _lock: locked,
        };
        if !recorded {
            identity::record(&database, path, embedding, sharing.as_ref())
                .await
                .map_err(failed)?;
            // Another process may have been faster, with another model.
            identity::check(&database, path, embedding).await?;
        }
        let language = inner.indexing.language.clone();
        identity::agree(&database, path, &language, sharing.is_some()).await?;
        for table in [&inner.chunks, &inner.facts] {
            make_words(table, &language).await.map_err(failed)?;
        }
        inner.follow().await.map_err(failed)?;
        inner.sweep().await.map_err(failed)?;
        Ok(Self {
            inner: Arc::new(inner),
            writes: TaskTracker::new(),
        })
    }
}

/// What is kept of files: parts of indexes, mostly, and where things lie in them. Nobody told, Lance keeps 7 GB.
fn caches(bytes: u64) -> Arc<Session> {
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    let descriptions = bytes / 4;
    let registry = Arc::new(ObjectStoreRegistry::default());
    Arc::new(Session::new(bytes - descriptions, descriptions, registry))
}

/// Documents and chunks are read together, so what is written to one must not show before the other does.
async fn apart(table: Table, database: &Connection, name: &str) -> Result<Table, StoreError> {
    if table.shared {
        table.read_apart(database, name).await
    } else {
        Ok(table)
    }
}

/// Another process may make the same index meanwhile.
async fn make_words(table: &Table, language: &str) -> Result<(), StoreError> {
    let mut attempts = Attempts::default();
    loop {
        match table.make_words(language).await {
            Err(StoreError::Busy) if table.shared => attempts.again().await?,
            done => return done,
        }
    }
}

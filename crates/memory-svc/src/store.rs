//! Where documents and facts are kept: the [`Store`] trait, and what can go wrong in one.
//!
//! Every method that touches data takes the principal first; there is no way to ask for another's.

pub mod lance;
mod place;

use std::collections::HashSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use solo_service::{ErrorCode, GlobalConfig, ServiceError, StartupError};
use tokio::sync::watch;
use uuid::Uuid;

use crate::config::{Config, StoreKind};
use crate::document::{ChunkDraft, Collection, Document, DocumentDraft, DocumentFilter, Passage, Put, Stored};
use crate::embedding::Identity;
use crate::fact::{Fact, FactChange, FactVersion, Forgotten, Selector};
use crate::names::{CollectionName, DocumentUri, Principal};
use crate::page::{Page, PageRequest};
use crate::query::{Found, Query};
use crate::retention::Limits;
use crate::watch::Watch;
pub use place::Place;

/// After this time a write that others were faster than again and again is worth another attempt.
const BUSY: std::time::Duration = std::time::Duration::from_secs(1);

/// Keeps documents and facts. What a method acknowledged survives the death of the process.
///
/// Writes are not cancelled with their caller: once begun, one runs to its end.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Creates a collection.
    async fn create_collection(
        &self,
        principal: &Principal,
        name: &CollectionName,
        description: &str,
    ) -> Result<Collection, StoreError>;

    /// Takes a collection over from another store as it is there, without what is in it, unless there is one of that name.
    async fn restore_collection(&self, principal: &Principal, collection: &Collection) -> Result<(), StoreError>;

    /// The collections, by name.
    async fn collections(
        &self,
        principal: &Principal,
        page: &PageRequest<CollectionName>,
    ) -> Result<Page<Collection>, StoreError>;

    /// Deletes a collection with everything in it; says how many documents that were.
    async fn delete_collection(&self, principal: &Principal, name: &CollectionName) -> Result<u64, StoreError>;

    /// The document of a URI in a collection; a collection that does not exist is an error, unless it is the default.
    async fn find_document(
        &self,
        principal: &Principal,
        collection: &CollectionName,
        uri: &DocumentUri,
    ) -> Result<Option<Document>, StoreError>;

    /// Puts documents, each in place of the one with the same URI if there is one; no two have the same. Readers see the
    /// old versions until the new ones are whole; a crash leaves the one or the other of all of them.
    async fn put_documents(&self, principal: &Principal, drafts: Vec<DocumentDraft>) -> Result<Vec<Put>, StoreError>;

    /// Puts documents that a watched folder brought, as [`Store::put_documents`] does. One that is not watched any more, whichever
    /// process ended that, brings none.
    async fn put_watched(&self, watch: &Watch, drafts: Vec<DocumentDraft>) -> Result<Vec<Put>, StoreError>;

    /// What is under a URI's beginning in a collection.
    async fn contents(
        &self,
        principal: &Principal,
        collection: &CollectionName,
        uri_prefix: &str,
    ) -> Result<Vec<Stored>, StoreError>;

    /// A document with this content, in any collection.
    async fn find_content(&self, principal: &Principal, sha256: &[u8; 32]) -> Result<Option<Uuid>, StoreError>;

    /// A document's pieces, in order, with their vectors.
    async fn chunks(&self, principal: &Principal, id: Uuid) -> Result<Vec<ChunkDraft>, StoreError>;

    /// A document.
    async fn document(&self, principal: &Principal, id: Uuid) -> Result<Document, StoreError>;

    /// Documents, newest first.
    async fn documents(
        &self,
        principal: &Principal,
        filter: &DocumentFilter,
        page: &PageRequest<Uuid>,
    ) -> Result<Page<Document>, StoreError>;

    /// Deletes documents, all or none; says how many.
    async fn delete_documents(&self, principal: &Principal, ids: &[Uuid]) -> Result<u64, StoreError>;

    /// The text of a range of a document, widened to whole characters and cut to the text. `range` may begin anywhere up
    /// to the text's end.
    async fn passage(&self, principal: &Principal, id: Uuid, range: Range<u64>) -> Result<Passage, StoreError>;

    /// The pieces that fit best, best first.
    async fn search(&self, principal: &Principal, query: &Query) -> Result<Found, StoreError>;

    /// Facts that hold now, nearest to a vector first, with their cosine similarity.
    async fn near_facts(
        &self,
        principal: &Principal,
        vector: &[f32],
        limit: usize,
    ) -> Result<Vec<(Fact, f32)>, StoreError>;

    /// Changes facts, all or none. The facts as they are afterwards, retracted ones as they were, in the changes' order.
    async fn apply_facts(&self, principal: &Principal, changes: Vec<FactChange>) -> Result<Vec<Fact>, StoreError>;

    /// Facts, newest first; `past`: superseded, retracted and expired ones too.
    async fn facts(&self, principal: &Principal, past: bool, page: &PageRequest<Uuid>) -> Result<FactPage, StoreError>;

    /// Forgets, for good: what is forgotten leaves the disk with the next upkeep.
    async fn forget(&self, principal: &Principal, selector: &Selector) -> Result<Forgotten, StoreError>;

    /// All that somebody has, but the watched folders, as it is now.
    async fn snapshot(&self, principal: &Principal) -> Result<Snapshot, StoreError>;

    /// Documents with their pieces; one that is gone, or is being replaced just now, is left out.
    async fn whole_documents(
        &self,
        principal: &Principal,
        ids: &[Uuid],
    ) -> Result<Vec<(Document, Vec<ChunkDraft>)>, StoreError>;

    /// All versions of all facts, those of a fact together and in order.
    async fn fact_histories(&self, principal: &Principal) -> Result<Vec<FactVersion>, StoreError>;

    /// Takes facts over from another store, each with all its versions: those that are here, too, stay if they have as many.
    /// How many versions were stored. Documents are taken over by [`Store::put_documents`].
    async fn restore_facts(&self, principal: &Principal, versions: Vec<FactVersion>) -> Result<u64, StoreError>;

    /// The watched folders of everybody.
    async fn watches(&self) -> Result<Vec<Watch>, StoreError>;

    /// Keeps a watched folder.
    async fn add_watch(&self, watch: &Watch) -> Result<(), StoreError>;

    /// Forgets a watched folder, not what it brought.
    async fn remove_watch(&self, principal: &Principal, id: Uuid) -> Result<(), StoreError>;

    /// Forgets, for good, what is too old.
    async fn expire(&self, limits: &Limits) -> Result<Forgotten, StoreError>;

    /// Everybody who has something here.
    async fn principals(&self) -> Result<HashSet<Principal>, StoreError>;

    /// How much there is, of all principals together.
    async fn statistics(&self) -> Result<Statistics, StoreError>;

    /// What has piled up since the last [`Store::compact`].
    fn backlog(&self) -> watch::Receiver<Backlog>;

    /// Joins small files and writes deleted rows out of those that remain.
    async fn compact(&self) -> Result<(), StoreError>;

    /// Brings the indexes up to date. Searches are right without, only slower.
    async fn index(&self) -> Result<(), StoreError>;

    /// Brings the indexes by words alone up to date, if there are more than a few rows that they do not know. True: there were.
    async fn know_new_words(&self) -> Result<bool, StoreError>;

    /// Reads what searches need into memory.
    async fn warm(&self) -> Result<(), StoreError>;

    /// Holds every row against the store's own rules.
    async fn verify(&self) -> Result<Verification, StoreError>;

    /// Removes the files of states older than `retain`.
    async fn prune(&self, retain: std::time::Duration) -> Result<(), StoreError>;

    /// Waits until the writes that were begun have ended: without, the next to open the store may find it still in use.
    async fn settle(&self);
}

/// A page of facts; its token names a version, not a fact.
pub type FactPage = Page<Fact>;

/// All that somebody has at one moment.
pub struct Snapshot {
    /// The collections.
    pub collections: Vec<Collection>,
    /// The facts, all versions of each together.
    pub facts: Vec<FactVersion>,
    /// Number of documents.
    pub documents: u64,
    /// The documents with their pieces.
    pub contents: BoxStream<'static, Result<(Document, Vec<ChunkDraft>), StoreError>>,
}

/// How much there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Documents.
    pub documents: u64,
    /// Chunks.
    pub chunks: u64,
    /// Facts, every version counted.
    pub facts: u64,
}

/// What a look at every row found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verification {
    /// Documents.
    pub documents: u64,
    /// Pieces of documents.
    pub chunks: u64,
    /// Facts, every version counted.
    pub facts: u64,
    /// What should not be, in sentences; none: all is well.
    pub problems: Vec<String>,
}

/// What upkeep has to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Writes since the last compaction.
    pub writes: u64,
    /// True when something was deleted that must leave the disk.
    pub erased: bool,
}

/// A store, and the place that it is in.
pub struct Opened {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Its folder.
    pub folder: PathBuf,
    /// Where another may take its place; `None`: nowhere.
    pub place: Option<Place>,
}

/// The store that the configuration names.
///
/// # Errors
/// A store that belongs to another model, to another process, or that cannot be opened.
pub async fn from_config(config: &Config, global: &GlobalConfig, identity: &Identity) -> Result<Opened, StartupError> {
    let root = config.folder(global);
    let place = Place::new(root.clone());
    let cannot = |error: std::io::Error| StartupError::other(format!("the store in {}: {error}", root.display()));
    let folder = place.current().map_err(cannot)?;
    let store = open(config, &folder, identity).await?;
    if config.is_shared() {
        // Documents wait in the store's own folder otherwise.
        std::fs::create_dir_all(config.spool(global)).map_err(cannot)?;
    } else {
        place.remove_others().map_err(cannot)?;
    }
    Ok(Opened {
        store,
        folder,
        // Others would not hear that another store has taken its place.
        place: (!config.is_shared()).then_some(place),
    })
}

/// The store in a folder.
///
/// # Errors
/// As [`from_config`].
pub async fn open(config: &Config, folder: &Path, identity: &Identity) -> Result<Arc<dyn Store>, StartupError> {
    match config.store {
        StoreKind::Lance => {
            let indexing = config.indexing();
            let opened = match config.sharing()? {
                Some(sharing) => lance::LanceStore::open_shared(folder, identity, indexing, sharing).await?,
                None => lance::LanceStore::open(folder, identity, indexing).await?,
            };
            Ok(Arc::new(opened))
        }
    }
}

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is none of that name.
    #[error("there is no {what} {name}")]
    NotFound {
        /// Kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// There is one of that name.
    #[error("there is a collection {name} already")]
    CollectionExists {
        /// Its name.
        name: CollectionName,
    },
    /// Another change came first.
    #[error("fact {id} has version {found}, not {expected}: read it again and decide anew")]
    FactChanged {
        /// The fact.
        id: Uuid,
        /// The version that the caller knows.
        expected: u32,
        /// The version that it has.
        found: u32,
    },
    /// It was retracted.
    #[error("fact {id} was retracted and cannot be changed: add it anew")]
    FactEnded {
        /// The fact.
        id: Uuid,
    },
    /// No room.
    #[error("the disk is full: make room for {} and try again; what was stored before is safe", path.display())]
    DiskFull {
        /// The store's folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database failed.
    #[error("the store failed while it {doing}")]
    Backend {
        /// What it was doing.
        doing: &'static str,
        /// What it said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Other processes wrote to it meanwhile, again and again.
    #[error("other processes are writing to the store: try again in a moment")]
    Busy,
    /// It holds something that this version did not write.
    #[error("the store holds a row that cannot be read: {problem}")]
    Corrupt {
        /// What is wrong with it.
        problem: String,
    },
}

impl StoreError {
    /// True when the database failed, perhaps half-way; otherwise nothing was changed.
    pub fn is_of_the_database(&self) -> bool {
        matches!(
            self,
            Self::DiskFull { .. } | Self::Backend { .. } | Self::Corrupt { .. }
        )
    }
}

impl ServiceError for StoreError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound { .. } => ErrorCode::NotFound,
            Self::CollectionExists { .. } => ErrorCode::AlreadyExists,
            Self::FactChanged { .. } | Self::FactEnded { .. } => ErrorCode::FailedPrecondition,
            Self::DiskFull { .. } => ErrorCode::ResourceExhausted,
            Self::Busy => ErrorCode::Unavailable,
            Self::Backend { .. } | Self::Corrupt { .. } => ErrorCode::Internal,
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::NotFound { what: "collection", .. } => "COLLECTION_NOT_FOUND",
            Self::NotFound { what: "fact", .. } => "FACT_NOT_FOUND",
            Self::NotFound { what: "watch", .. } => "WATCH_NOT_FOUND",
            Self::NotFound { .. } => "DOCUMENT_NOT_FOUND",
            Self::CollectionExists { .. } => "COLLECTION_EXISTS",
            Self::FactChanged { .. } => "FACT_CHANGED",
            Self::FactEnded { .. } => "FACT_ENDED",
            Self::DiskFull { .. } => "DISK_FULL",
            Self::Busy => "STORE_BUSY",
            Self::Backend { .. } => "STORE_FAILED",
            Self::Corrupt { .. } => "STORE_CORRUPT",
        }
    }

    fn retry_after(&self) -> Option<std::time::Duration> {
        matches!(self, Self::Busy).then_some(BUSY)
    }
}

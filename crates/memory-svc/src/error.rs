//! What a request can meet, and what callers hear of it.

use solo_documents::Refusal;
use solo_service::{ErrorCode, ServiceError, StartupError, WorkerError};
use solo_snapshot::SnapshotError;

use crate::embedding::EmbeddingError;
use crate::rerank::RerankError;
use crate::store::StoreError;

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request is wrong, whatever the store holds.
    #[error("{message}")]
    Invalid {
        /// The field at fault.
        field: &'static str,
        /// What programs switch on.
        reason: &'static str,
        /// What is wrong and what was expected.
        message: String,
    },
    /// The document is larger than the configuration allows.
    #[error("the document is larger than {limit} bytes; raise memory.max_document_bytes or split it")]
    DocumentTooLarge {
        /// Bytes allowed.
        limit: u64,
    },
    /// The file is larger than the configuration allows.
    #[error("the file is larger than {limit} bytes; raise memory.max_import_bytes")]
    ImportTooLarge {
        /// Bytes allowed.
        limit: u64,
    },
    /// Another process keeps watched folders.
    #[error(
        "this memory-svc shares its store and does not keep watched folders: set memory.watch.keeper = true for one of those \
         that share it, and watch there"
    )]
    WatchesElsewhere,
    /// Other processes would go on with the old vectors.
    #[error(
        "the store is shared, and others would go on with the old vectors: stop them and give it to one with \
         memory.shared = false meanwhile; of a store in a bucket, `solo memory export` and import into a new one"
    )]
    SharedStore,
    /// An exported file.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// It cannot be read.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No process to read it with.
    #[error("the document cannot be read: {problem}")]
    Reader {
        /// What went wrong.
        problem: String,
    },
    /// Its bytes cannot be kept while it is read or written.
    #[error("it cannot be kept in the data folder meanwhile: make room there and try again")]
    Spool {
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A text could not be embedded.
    #[error(transparent)]
    Embedding(#[from] EmbeddingError),
    /// What was found could not be reranked.
    #[error(transparent)]
    Rerank(#[from] RerankError),
    /// The engine's queue or thread.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// Another embedding model cannot be used.
    #[error(transparent)]
    Model(#[from] StartupError),
    /// The vectors are made anew.
    #[error("all vectors are being made anew with the model \"{model}\": wait until that is done")]
    Reembedding {
        /// The model.
        model: String,
    },
    /// The vectors were not made anew.
    #[error("the vectors are as they were: {problem}")]
    NotReembedded {
        /// Why.
        problem: String,
        /// What kind of failure that is.
        code: ErrorCode,
    },
    /// Work on another thread ended by a panic.
    #[error("{doing} panicked")]
    Panicked {
        /// What was being done.
        doing: &'static str,
    },
}

impl Error {
    /// A request that is wrong in `field`.
    pub fn invalid(field: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self::Invalid {
            field,
            reason,
            message: message.into(),
        }
    }
}

impl ServiceError for Error {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid { .. } | Self::Refused(_) | Self::Snapshot(_) => ErrorCode::InvalidArgument,
            Self::DocumentTooLarge { .. } | Self::ImportTooLarge { .. } | Self::Spool { .. } => {
                ErrorCode::ResourceExhausted
            }
            Self::Model(_) | Self::Reembedding { .. } | Self::SharedStore | Self::WatchesElsewhere => {
                ErrorCode::FailedPrecondition
            }
            Self::NotReembedded { code, .. } => *code,
            Self::Store(error) => error.code(),
            Self::Worker(error) => error.code(),
            Self::Embedding(EmbeddingError::Cancelled) | Self::Rerank(RerankError::Cancelled) => ErrorCode::Cancelled,
            Self::Embedding(EmbeddingError::Engine(_))
            | Self::Rerank(RerankError::Engine(_))
            | Self::Panicked { .. }
            | Self::Reader { .. } => ErrorCode::Internal,
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::Invalid { reason, .. } => reason,
            Self::Refused(refusal) => refusal.reason(),
            Self::Reader { .. } => "READER_FAILED",
            Self::Spool { .. } => "DISK_FULL",
            Self::ImportTooLarge { .. } => "IMPORT_TOO_LARGE",
            Self::WatchesElsewhere => "WATCHES_ELSEWHERE",
            Self::SharedStore => "STORE_SHARED",
            Self::Snapshot(SnapshotError::Newer { .. }) => "NEWER_VERSION",
            Self::Snapshot(_) => "BAD_SNAPSHOT",
            Self::DocumentTooLarge { .. } => "DOCUMENT_TOO_LARGE",
            Self::Model(_) => "MODEL_UNAVAILABLE",
            Self::Reembedding { .. } => "REEMBEDDING",
            Self::NotReembedded { .. } => "NOT_REEMBEDDED",
            Self::Store(error) => error.reason(),
            Self::Worker(error) => error.reason(),
            Self::Embedding(EmbeddingError::Cancelled) | Self::Rerank(RerankError::Cancelled) => "CANCELLED",
            Self::Embedding(EmbeddingError::Engine(_)) => "EMBEDDING_FAILED",
            Self::Rerank(RerankError::Engine(_)) => "RERANKING_FAILED",
            Self::Panicked { .. } => "PANICKED",
        }
    }

    fn field(&self) -> Option<&str> {
        match self {
            Self::Invalid { field, .. } => Some(field),
            Self::Refused(refusal) => Some(refusal.field()),
            Self::DocumentTooLarge { .. } | Self::ImportTooLarge { .. } | Self::Snapshot(_) => Some("data"),
            _ => None,
        }
    }

    fn retry_after(&self) -> Option<std::time::Duration> {
        match self {
            Self::Worker(error) => error.retry_after(),
            Self::Store(error) => error.retry_after(),
            _ => None,
        }
    }
}

//! What a request can meet, and what callers hear of it.

use solo_service::{ErrorCode, ServiceError, WorkerError};

use crate::embedding::EmbeddingError;
use crate::extract::Refusal;
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
    /// It cannot be read.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No process to read it with.
    #[error("the document cannot be read: {problem}")]
    Reader {
        /// What went wrong.
        problem: String,
    },
    /// Its bytes cannot be kept while it is read.
    #[error("the document cannot be kept while it is read: make room in the data folder and put it again")]
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
    /// The engine's queue or thread.
    #[error(transparent)]
    Worker(#[from] WorkerError),
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
            Self::Invalid { .. } | Self::Refused(_) => ErrorCode::InvalidArgument,
            Self::DocumentTooLarge { .. } | Self::Spool { .. } => ErrorCode::ResourceExhausted,
            Self::Store(error) => error.code(),
            Self::Worker(error) => error.code(),
            Self::Embedding(EmbeddingError::Cancelled) => ErrorCode::Cancelled,
            Self::Embedding(EmbeddingError::Engine(_)) | Self::Panicked { .. } | Self::Reader { .. } => {
                ErrorCode::Internal
            }
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::Invalid { reason, .. } => reason,
            Self::Refused(refusal) => refusal.reason(),
            Self::Reader { .. } => "READER_FAILED",
            Self::Spool { .. } => "DISK_FULL",
            Self::DocumentTooLarge { .. } => "DOCUMENT_TOO_LARGE",
            Self::Store(error) => error.reason(),
            Self::Worker(error) => error.reason(),
            Self::Embedding(EmbeddingError::Cancelled) => "CANCELLED",
            Self::Embedding(EmbeddingError::Engine(_)) => "EMBEDDING_FAILED",
            Self::Panicked { .. } => "PANICKED",
        }
    }

    fn field(&self) -> Option<&str> {
        match self {
            Self::Invalid { field, .. } => Some(field),
            Self::Refused(refusal) => Some(refusal.field()),
            Self::DocumentTooLarge { .. } => Some("data"),
            _ => None,
        }
    }

    fn retry_after(&self) -> Option<std::time::Duration> {
        match self {
            Self::Worker(error) => error.retry_after(),
            _ => None,
        }
    }
}
